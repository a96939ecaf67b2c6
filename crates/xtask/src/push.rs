//! `cargo xtask push`: the image for all platforms and the chart, in a registry.

mod chart;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use images::{Archive, Platform, Reference, programs};
use lab::debian;
use lab::tools::{Program, Tools};
use serde::Deserialize;

use crate::image;

/// Where to push to.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Where the image goes, as REGISTRY/NAME[:TAG]; the tag is this version's unless it is given. The chart goes into the
    /// folder `charts` beside it
    to: String,
    /// Platforms: linux/amd64, linux/arm64, linux/arm/v7
    #[arg(long, value_delimiter = ',', default_values_t = Platform::ALL)]
    platform: Vec<Platform>,
    /// Push what `cargo xtask image --platform` has written, and build nothing
    #[arg(long, value_name = "FILE", conflicts_with = "platform")]
    archive: Option<PathBuf>,
    /// The address of the project's page, which the chart then names
    #[arg(long, value_name = "URL")]
    home: Option<String>,
    /// Add the names and digests of image and chart to this file, as lines `image=NAME` and `image-digest=DIGEST`
    #[arg(long, value_name = "FILE")]
    outputs: Option<PathBuf>,
    /// The registry speaks HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

/// Builds and pushes, with the credentials of `skopeo login` and `helm registry login`.
pub(crate) fn run(arguments: &PushArgs) -> Result<()> {
    let to = destination(&arguments.to)?;
    debian::ensure(debian::FOR_PUSHING)?;
    let tools = Tools::ensure(&[Program::Helm])?;
    let archive = match &arguments.archive {
        Some(path) => Archive::open(path)?,
        None => image::build_index(&arguments.platform)?,
    };
    let (_, digest) = archive.images.first_key_value().context("the image has no name")?;
    let registry = Registry { helm: tools.path(Program::Helm), plain_http: arguments.plain_http };
    registry.push_image(&archive.path, &to)?;
    let name = format!("{}/{}", to.registry(), to.repository());
    println!("{name}:{}@{digest}", to.tag());
    let folder = programs::workspace().join("charts/ferrolb");
    let chart = registry.push_chart(&folder, &to, arguments.home.as_deref())?;
    println!("oci://{} --version {}", chart.name, env!("CARGO_PKG_VERSION"));
    if let Some(file) = &arguments.outputs {
        let platforms = registry.platforms(&format!("{name}@{digest}"))?;
        let lines = outputs((&name, digest), (&chart.name, &chart.digest), &platforms);
        let lines: String = lines.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let opened = OpenOptions::new().create(true).append(true).open(file);
        let written = opened.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

/// What was pushed, for a workflow's next steps: name and digest of the image and of the chart, and the digest of each
/// platform's image.
pub(crate) fn outputs(
    image: (&str, &str),
    chart: (&str, &str),
    platforms: &[(String, String)],
) -> Vec<(String, String)> {
    let named = [("image", image), ("chart", chart)].into_iter().flat_map(|(what, (name, digest))| {
        [(what.to_owned(), name.to_owned()), (format!("{what}-digest"), digest.to_owned())]
    });
    let of_platforms =
        platforms.iter().map(|(platform, digest)| (format!("{platform}-digest"), digest.clone()));
    named.chain(of_platforms).collect()
}

/// The name of the image, with this version's tag unless another one is given.
fn destination(to: &str) -> Result<Reference> {
    let last = to.rsplit('/').next().unwrap_or(to);
    if !to.contains('/') {
        bail!("`{to}` names no registry: write REGISTRY/NAME[:TAG]");
    }
    let tagged =
        if last.contains(':') { to.to_owned() } else { format!("{to}:v{}", env!("CARGO_PKG_VERSION")) };
    Ok(tagged.parse()?)
}

/// How a registry is talked to.
struct Registry<'a> {
    helm: &'a Path,
    plain_http: bool,
}

/// A chart in a registry.
struct PushedChart {
    /// Where it is, without a tag.
    name: String,
    /// That of its manifest.
    digest: String,
}

/// As much of an index of images as tells them apart. The image of one platform has none.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    platform: Runs,
}

#[derive(Deserialize)]
struct Runs {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Registry<'_> {
    /// Pushes all that an archive has of an image, byte for byte, so that its digest stays what it is.
    fn push_image(&self, archive: &Path, to: &Reference) -> Result<()> {
        let mut skopeo = Command::new("skopeo");
        // Whether images must be signed to be read is a question for whoever runs them.
        skopeo.args(["--insecure-policy", "copy", "--all", "--preserve-digests"]);
        skopeo.args(self.plain_http.then_some("--dest-tls-verify=false"));
        run_quietly(skopeo.arg(format!("oci-archive:{}", archive.display())).arg(format!("docker://{to}")))?;
        Ok(())
    }

    /// The digest of each platform's image in an index, by the platform's name in file names.
    fn platforms(&self, index: &str) -> Result<Vec<(String, String)>> {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "inspect", "--no-tags", "--raw"]);
        skopeo.args(self.plain_http.then_some("--tls-verify=false")).arg(format!("docker://{index}"));
        let output = skopeo.output().context("starting skopeo")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "skopeo: {}", said.trim());
        let index: Index = serde_json::from_slice(&output.stdout).context("reading the index of images")?;
        let named = index.manifests.into_iter().map(|Manifest { digest, platform }| {
            let Runs { os, architecture, variant } = platform;
            (format!("{os}-{architecture}{}", variant.unwrap_or_default()), digest)
        });
        Ok(named.collect())
    }

    /// Pushes the chart, which asks for that image unless it is told otherwise.
    fn push_chart(&self, chart: &Path, image: &Reference, home: Option<&str>) -> Result<PushedChart> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let copy = folder.path().join("ferrolb");
        run_quietly(Command::new("cp").arg("-r").arg(chart).arg(&copy))?;
        chart::publish(&copy, image, home)?;
        let mut package = Command::new(self.helm);
        package.args(["package", "--app-version", image.tag(), "--destination"]).arg(folder.path());
        run_quietly(package.arg(&copy))?;
        let archive = folder.path().join(format!("ferrolb-{}.tgz", env!("CARGO_PKG_VERSION")));
        let (registry, repository) = (image.registry(), image.repository());
        let beside = repository.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        let to = format!("{registry}/{beside}charts");
        let mut push = Command::new(self.helm);
        push.arg("push").args(self.plain_http.then_some("--plain-http"));
        let said = run_quietly(push.arg(&archive).arg(format!("oci://{to}")))?;
        let digest = said.lines().find_map(|line| line.trim().strip_prefix("Digest: "));
        let digest = digest.with_context(|| format!("helm names no digest: {}", said.trim()))?.to_owned();
        Ok(PushedChart { name: format!("{to}/ferrolb"), digest })
    }
}

/// Runs a program, whose words are shown where it fails and returned where it does not.
fn run_quietly(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(said)
}

#[cfg(test)]
mod tests {
    use images::{Config, ImageSpec, Tree, registry, write_index};

    use super::*;

    #[test]
    fn the_tag_is_that_of_this_version_unless_another_is_given() {
        let of_version = format!("ghcr.io/x/ferrolb:v{}", env!("CARGO_PKG_VERSION"));
        for (written, full) in [
            ("ghcr.io/x/ferrolb", of_version.as_str()),
            ("127.0.0.1:5000/ferrolb:edge", "127.0.0.1:5000/ferrolb:edge"),
        ] {
            assert_eq!(destination(written).unwrap().to_string(), full);
        }
        assert!(destination("ferrolb").is_err() && destination("ghcr.io/X").is_err());
    }

    #[test]
    fn an_index_keeps_its_digest_in_the_registry_and_the_chart_asks_for_it_there() {
        debian::ensure(debian::FOR_PUSHING).unwrap();
        let tools = Tools::ensure(&[Program::Helm]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let host = listener.local_addr().unwrap();
        runtime.spawn(registry::serve_and_take(listener, folder.path().to_owned()));

        let images = Platform::ALL.map(|platform| {
            let mut files = Tree::new();
            files.file("/platform", 0o444, platform.to_string());
            let names = vec!["ferrolb/ferrolb:v1".parse().unwrap()];
            (platform, ImageSpec { names, files, config: Config::default() })
        });
        // Where the registry does not look for archives.
        let elsewhere = tempfile::tempdir().unwrap();
        let archive = write_index(&images, &elsewhere.path().join("index.tar")).unwrap();
        let to: Reference = format!("{host}/x/ferrolb:edge").parse().unwrap();
        let pusher = Registry { helm: tools.path(Program::Helm), plain_http: true };
        pusher.push_image(&archive.path, &to).unwrap();
        let inspect = |arguments: &[&str]| {
            let mut skopeo = Command::new("skopeo");
            skopeo.args(["--insecure-policy", "inspect", "--no-tags", "--tls-verify=false"]).args(arguments);
            let output = skopeo.arg(format!("docker://{to}")).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let digest = archive.images.values().next().unwrap();
        assert_eq!(inspect(&["--format", "{{.Digest}}"]).trim(), digest);
        let in_index = pusher.platforms(&format!("{host}/x/ferrolb@{digest}")).unwrap();
        let names: Vec<&str> = in_index.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["linux-amd64", "linux-arm64", "linux-armv7"]);
        for (name, digest) in &in_index {
            assert!(inspect(&["--raw"]).contains(digest.as_str()), "{name}: {digest}");
        }

        let chart = programs::workspace().join("charts/ferrolb");
        let chart = pusher.push_chart(&chart, &to, Some("https://example.com/lb")).unwrap();
        assert_eq!(chart.name, format!("{host}/x/charts/ferrolb"));
        // By its digest, which is what is signed.
        let name = format!("oci://{}@{}", chart.name, chart.digest);
        let helm = |arguments: &[&str]| {
            let mut helm = Command::new(tools.path(Program::Helm));
            let output = helm.args(arguments).args(["--plain-http", &name]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let shown = helm(&["show", "chart"]);
        assert!(
            shown.contains("home: https://example.com/lb") && shown.contains("appVersion: edge"),
            "{shown}"
        );
        assert!(shown.contains(&format!("{host}/x/ferrolb:edge")) && !shown.contains("docker.io"), "{shown}");
        let rendered = helm(&["template", "ferrolb"]);
        assert!(rendered.contains(&format!("image: \"{host}/x/ferrolb:edge\"")), "{rendered}");
        assert!(!rendered.contains("docker.io/ferrolb"), "{rendered}");
    }
}

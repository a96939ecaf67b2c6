//! `cargo xtask push`: the image for all platforms and the chart, in a registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use images::{Platform, Reference, programs};
use lab::debian;
use lab::tools::{Program, Tools};

use crate::image;

/// What the chart asks for unless it is told otherwise.
const REPOSITORY: &str = "repository: docker.io/ferrolb/ferrolb\n";

/// Where to push to.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// Where the image goes, as REGISTRY/NAME[:TAG]; the tag is this version's unless it is given. The chart goes into the
    /// folder `charts` beside it
    to: String,
    /// Platforms: linux/amd64, linux/arm64, linux/arm/v7
    #[arg(long, value_delimiter = ',', default_values_t = Platform::ALL)]
    platform: Vec<Platform>,
    /// The registry speaks HTTP without TLS
    #[arg(long)]
    plain_http: bool,
}

/// Builds and pushes, with the credentials of `skopeo login` and `helm registry login`.
pub(crate) fn run(arguments: &PushArgs) -> Result<()> {
    let to = destination(&arguments.to)?;
    debian::ensure(debian::FOR_PUSHING)?;
    let tools = Tools::ensure(&[Program::Helm])?;
    let archive = image::build_index(&arguments.platform)?;
    let (_, digest) = archive.images.first_key_value().context("the image has no name")?;
    let registry = Registry { helm: tools.path(Program::Helm), plain_http: arguments.plain_http };
    registry.push_image(&archive.path, &to)?;
    println!("{}/{}:{}@{digest}", to.registry(), to.repository(), to.tag());
    let chart = registry.push_chart(&programs::workspace().join("charts/ferrolb"), &to)?;
    println!("{chart}");
    Ok(())
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

impl Registry<'_> {
    /// Pushes all that an archive has of an image, byte for byte, so that its digest stays what it is.
    fn push_image(&self, archive: &Path, to: &Reference) -> Result<()> {
        let mut skopeo = Command::new("skopeo");
        // Whether images must be signed to be read is a question for whoever runs them.
        skopeo.args(["--insecure-policy", "copy", "--all", "--preserve-digests"]);
        skopeo.args(self.plain_http.then_some("--dest-tls-verify=false"));
        run_quietly(skopeo.arg(format!("oci-archive:{}", archive.display())).arg(format!("docker://{to}")))
    }

    /// Pushes the chart, which asks for that image unless it is told otherwise. Returns where it is.
    fn push_chart(&self, chart: &Path, image: &Reference) -> Result<String> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let copy = folder.path().join("ferrolb");
        run_quietly(Command::new("cp").arg("-r").arg(chart).arg(&copy))?;
        let values = copy.join("values.yaml");
        let text = fs::read_to_string(&values).with_context(|| format!("reading {}", values.display()))?;
        ensure!(text.matches(REPOSITORY).count() == 1, "{} says once where the image is", values.display());
        let (registry, repository) = (image.registry(), image.repository());
        let text = text.replace(REPOSITORY, &format!("repository: {registry}/{repository}\n"));
        fs::write(&values, text).with_context(|| format!("writing {}", values.display()))?;
        let mut package = Command::new(self.helm);
        package.args(["package", "--app-version", image.tag(), "--destination"]).arg(folder.path());
        run_quietly(package.arg(&copy))?;
        let archive = folder.path().join(format!("ferrolb-{}.tgz", env!("CARGO_PKG_VERSION")));
        let beside = repository.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        let to = format!("oci://{registry}/{beside}charts");
        let mut push = Command::new(self.helm);
        push.arg("push").args(self.plain_http.then_some("--plain-http"));
        run_quietly(push.arg(&archive).arg(&to))?;
        Ok(format!("{to}/ferrolb --version {}", env!("CARGO_PKG_VERSION")))
    }
}

/// Runs a program, whose words are shown where it fails.
fn run_quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
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
        assert_eq!(inspect(&["--raw"]).matches("\"architecture\"").count(), 3);

        let chart = pusher.push_chart(&programs::workspace().join("charts/ferrolb"), &to).unwrap();
        assert!(chart.starts_with(&format!("oci://{host}/x/charts/ferrolb --version ")), "{chart}");
        let mut helm = Command::new(tools.path(Program::Helm));
        helm.args(["template", "ferrolb", "--plain-http"]).args(chart.split(' '));
        let rendered = helm.output().unwrap();
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        let rendered = String::from_utf8(rendered.stdout).unwrap();
        assert!(rendered.contains(&format!("image: \"{host}/x/ferrolb:edge\"")), "{rendered}");
        assert!(!rendered.contains("docker.io/ferrolb"), "{rendered}");
    }
}

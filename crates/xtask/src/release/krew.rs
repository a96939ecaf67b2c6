//! `ferrolb.yaml`, by which `kubectl krew install` installs the plugin.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::plugins::{TARGETS, Target};
use super::{checksums, save};

/// Krew wants the file to be named as the plugin.
const MANIFEST: &str = "ferrolb.yaml";

/// Where the archives will be.
#[derive(Debug, Args)]
pub(crate) struct KrewArgs {
    /// The address of the project's page
    #[arg(long, value_name = "URL")]
    home: String,
    /// The address of the folder that the archives are downloaded from
    #[arg(long, value_name = "URL")]
    downloads: String,
    /// Leave out platforms whose archives are missing, to try it on one machine
    #[arg(long)]
    partial: bool,
}

/// Writes the manifest, with the checksums of the archives in the same folder.
pub(super) fn write(arguments: &KrewArgs, assets: &Path) -> Result<()> {
    let (there, missing): (Vec<Target>, Vec<Target>) =
        TARGETS.into_iter().partition(|target| assets.join(target.archive()).exists());
    let names: Vec<String> = missing.into_iter().map(Target::archive).collect();
    ensure!(
        names.is_empty() || arguments.partial && !there.is_empty(),
        "these archives are missing in {}: {}",
        assets.display(),
        names.join(", ")
    );
    let summed = there.into_iter().map(|target| {
        let sum = checksums::of(&assets.join(target.archive()))?;
        Ok((target, sum))
    });
    let manifest = manifest(arguments, &summed.collect::<Result<Vec<_>>>()?);
    let text = serde_saphyr::to_string(&manifest).context("writing YAML")?;
    save(&assets.join(MANIFEST), format!("{}\n", text.trim_end()).as_bytes())
}

fn manifest(arguments: &KrewArgs, archives: &[(Target, String)]) -> Value {
    let folder = arguments.downloads.trim_end_matches('/');
    let platforms = archives.iter().map(|(target, sum)| {
        json!({
            "selector": {"matchLabels": {"os": target.os, "arch": target.arch}},
            "uri": format!("{folder}/{}", target.archive()),
            "sha256": sum,
            "bin": target.program(),
        })
    });
    json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "ferrolb"},
        "spec": {
            "version": format!("v{}", env!("CARGO_PKG_VERSION")),
            "homepage": arguments.home,
            "shortDescription": "Explain LoadBalancer Services of FerroLB",
            "description": "Says why a Service has no address, pool by pool, and why nobody announces it, node by\n\
                node; and what a drain, a deleted pool or a manifest would change. It works with your own rights and\n\
                runs nothing in the cluster.\n",
            "platforms": platforms.collect::<Vec<_>>(),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn arguments(partial: bool) -> KrewArgs {
        let (home, downloads) = ("https://example.com/lb".into(), "https://example.com/lb/v1/".into());
        KrewArgs { home, downloads, partial }
    }

    #[test]
    fn every_platform_has_its_archive_with_its_checksum() {
        let assets = tempfile::tempdir().unwrap();
        for target in TARGETS {
            fs::write(assets.path().join(target.archive()), target.name).unwrap();
        }
        write(&arguments(false), assets.path()).unwrap();
        let text = fs::read_to_string(assets.path().join(MANIFEST)).unwrap();
        let manifest: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(manifest["metadata"]["name"].as_str().unwrap().to_owned() + ".yaml", MANIFEST);
        let short = manifest["spec"]["shortDescription"].as_str().unwrap();
        assert!(short.len() <= 50 && !short.contains('\n'), "krew shows one short line: {short}");
        let platforms = manifest["spec"]["platforms"].as_array().unwrap();
        assert_eq!(platforms.len(), TARGETS.len());
        for (platform, target) in platforms.iter().zip(TARGETS) {
            assert_eq!(platform["uri"], format!("https://example.com/lb/v1/{}", target.archive()));
            let sum = checksums::of(&assets.path().join(target.archive())).unwrap();
            assert!(sum.len() == 64 && platform["sha256"] == sum.as_str(), "{platform}");
            assert_eq!(platform["selector"]["matchLabels"], json!({"os": target.os, "arch": target.arch}));
            assert_eq!(platform["bin"], target.program());
        }
    }

    #[test]
    fn a_missing_archive_is_named_unless_a_part_will_do() {
        let assets = tempfile::tempdir().unwrap();
        assert!(write(&arguments(true), assets.path()).is_err(), "a plugin for no platform is none");
        let [linux, ..] = TARGETS;
        fs::write(assets.path().join(linux.archive()), "").unwrap();
        let error = write(&arguments(false), assets.path()).unwrap_err().to_string();
        assert!(error.contains("kubectl-ferrolb-windows-amd64.tar.gz"), "{error}");
        assert!(!error.contains(&linux.archive()), "{error}");
        write(&arguments(true), assets.path()).unwrap();
        let text = fs::read_to_string(assets.path().join(MANIFEST)).unwrap();
        assert_eq!(text.matches("uri:").count(), 1, "{text}");
    }
}

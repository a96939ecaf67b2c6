//! `cargo xtask release`: what a release has besides the image and the chart, step by step as the release workflow makes
//! it. All files come into `target/release-assets` of the workspace.

mod checksums;
mod krew;
mod plugins;
mod sbom;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Subcommand;
use images::programs;

/// One step of a release.
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Check that the tag, Cargo.toml, the chart and the changelog tell of one version.
    Check {
        /// The tag, as v0.2.0.
        tag: String,
    },
    /// Print what the changelog says of this version.
    Notes,
    /// Pack the programs of the kubectl plugin, one archive for each platform.
    Plugins {
        /// The folder that has them, named as `cargo xtask plugin --platform` names them.
        #[arg(default_value = "target/plugin")]
        programs: PathBuf,
    },
    /// Write the bills of materials of the image's program and of the plugin.
    Sbom,
    /// Write the manifest that krew installs the plugin by, for the archives that are there.
    Krew(krew::KrewArgs),
    /// Write the checksums of all files.
    Checksums,
}

pub(crate) fn run(release: &Release) -> Result<()> {
    let assets = assets()?;
    match release {
        Release::Check { tag } => versions::check(tag),
        Release::Notes => versions::notes().map(|notes| println!("{notes}")),
        Release::Plugins { programs } => plugins::pack(programs, &assets),
        Release::Sbom => sbom::write(&assets),
        Release::Krew(arguments) => krew::write(arguments, &assets),
        Release::Checksums => checksums::write(&assets),
    }
}

/// The targets, as Rust names them, that anything is released for.
pub(crate) fn triples() -> impl Iterator<Item = &'static str> {
    plugins::TARGETS.into_iter().map(|target| target.triple)
}

/// The folder of all that is attached to a release.
fn assets() -> Result<PathBuf> {
    let folder = programs::workspace().join("target/release-assets");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Writes one of these files and says so.
fn save(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

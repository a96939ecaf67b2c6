//! `cargo xtask plugin`: `kubectl-ferrolb` as one static program, for machines without Rust.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use images::{Platform, programs};

use crate::image;

const NAME: &str = "kubectl-ferrolb";

/// What to build the plugin for.
#[derive(Debug, Args)]
pub(crate) struct PluginArgs {
    /// Platforms: linux/amd64, linux/arm64, linux/arm/v7; their programs have them in their names [default: this machine's]
    #[arg(long, value_delimiter = ',')]
    platform: Vec<Platform>,
}

/// Builds the plugin and says where it is, and how large.
pub(crate) fn run(arguments: &PluginArgs) -> anyhow::Result<()> {
    let wanted: Vec<(Platform, String)> = match arguments.platform.as_slice() {
        [] => vec![(Platform::HOST, NAME.to_owned())],
        platforms => platforms.iter().map(|platform| (*platform, name_for(*platform))).collect(),
    };
    for (platform, name) in wanted {
        let program = build(platform, &name)?;
        let size = fs::metadata(&program).with_context(|| format!("reading {}", program.display()))?.len();
        println!("{}: {:.1} MB", program.display(), image::megabytes(size));
    }
    Ok(())
}

/// As `kubectl-ferrolb-linux-armv7`.
pub(crate) fn name_for(platform: Platform) -> String {
    format!("{NAME}-{}", platform.to_string().replace("/v", "v").replace('/', "-"))
}

/// Builds `kubectl-ferrolb` as the image's program is built and puts it into `target/plugin/` of the workspace.
fn build(platform: Platform, name: &str) -> anyhow::Result<PathBuf> {
    image::ensure_compiler(platform)?;
    let [built] = programs::build_for(platform, NAME, [NAME])?;
    let directory = programs::workspace().join("target/plugin");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let program = directory.join(name);
    // A program that runs cannot be written over, but another can take its place.
    let new = directory.join(format!(".{name}"));
    fs::copy(&built, &new).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, &program).with_context(|| format!("writing {}", program.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_for_other_machines_are_told_apart_by_their_names() {
        let expected =
            ["kubectl-ferrolb-linux-amd64", "kubectl-ferrolb-linux-arm64", "kubectl-ferrolb-linux-armv7"];
        assert_eq!(Platform::ALL.map(name_for), expected);
    }
}

//! `cargo xtask plugin`: `kubectl-ferrolb` as one static program, for machines without Rust.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use images::programs;

use crate::image;

const NAME: &str = "kubectl-ferrolb";

/// Builds the plugin and says where it is, and how large.
pub(crate) fn run() -> anyhow::Result<()> {
    let program = build()?;
    let size = fs::metadata(&program).with_context(|| format!("reading {}", program.display()))?.len();
    println!("{}: {:.1} MB", program.display(), image::megabytes(size));
    Ok(())
}

/// Builds `kubectl-ferrolb` as the image's program is built and puts it into `target/plugin/` of the workspace.
fn build() -> anyhow::Result<PathBuf> {
    image::ensure_musl_compiler()?;
    let [built] = programs::build(NAME, [NAME])?;
    let directory = programs::workspace().join("target/plugin");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let program = directory.join(NAME);
    // A program that runs cannot be written over, but another can take its place.
    let new = directory.join(format!(".{NAME}"));
    fs::copy(&built, &new).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, &program).with_context(|| format!("writing {}", program.display()))?;
    Ok(program)
}

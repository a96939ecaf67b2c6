//! `cargo xtask soak`: a bad month in an hour.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use images::programs;

use crate::image;

/// What to pass on.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SoakArgs {
    /// See `cargo xtask soak --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds the image that ships and what makes the faults, and starts that.
pub(crate) fn run(SoakArgs { arguments }: SoakArgs) -> Result<()> {
    // Before cargo puts a newer program in the place of this one.
    let program = env::current_exe().context("finding this program")?;
    lab::debian::ensure_installed(None)?;
    let image = image::build()?.path;
    let mut soak: Command = programs::cargo();
    soak.args(["run", "--quiet", "--package", "soak", "--", "--image"]).arg(image).args(arguments);
    let status = soak.env(lab::roles::PROGRAM_VARIABLE, program).status().context("starting cargo")?;
    ensure!(status.success(), "the soak has found something");
    Ok(())
}

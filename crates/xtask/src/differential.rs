//! `cargo xtask differential`: whether FerroLB's controller does what MetalLB's does.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use images::programs;

/// What to pass on.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct DifferentialArgs {
    /// See `cargo xtask differential --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds both programs in the same folder, where the one finds the other, and compares.
pub(crate) fn run(DifferentialArgs { arguments }: DifferentialArgs) -> Result<()> {
    succeed(programs::cargo().args(["build", "--package", "ferrolb", "--package", "differential"]))?;
    succeed(programs::cargo().args(["run", "--quiet", "--package", "differential", "--"]).args(arguments))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "`cargo` ended with {status}");
    Ok(())
}

//! `cargo xtask test`: every test there is, from cheap to dear.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::tools::{Program, Tools};

use crate::image;

/// Which tests to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Only the end-to-end tests whose names contain this.
    #[arg(long, value_name = "NAME")]
    e2e: Option<String>,
}

/// Prepares the machine, then runs the tests of all crates, then the end-to-end tests.
pub(crate) fn run(arguments: &TestArgs) -> Result<()> {
    // Before cargo puts a newer program in the place of this one.
    let program = env::current_exe().context("finding this program")?;
    lab::debian::ensure_installed()?;
    lab::preflight::check(3)?;
    // Before the tests, which would otherwise each wait for the same builds and show no progress.
    Tools::ensure(&Program::ALL)?;
    if arguments.e2e.is_none() {
        cargo(&program, &["test", "--workspace", "--exclude", "e2e"])?;
    }
    image::build()?;
    // One lab at a time: two would only slow each other down.
    let filter = arguments.e2e.as_deref().unwrap_or_default();
    cargo(&program, &["test", "--package", "e2e", "--", "--test-threads=1", filter])
}

fn cargo(program: &Path, arguments: &[&str]) -> Result<()> {
    let arguments: Vec<_> = arguments.iter().filter(|argument| !argument.is_empty()).collect();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(&arguments).env(lab::roles::PROGRAM_VARIABLE, program);
    let status = cargo.status().context("starting cargo")?;
    ensure!(status.success(), "`{}` failed", format_command(&arguments));
    Ok(())
}

fn format_command(arguments: &[&&str]) -> String {
    arguments.iter().fold("cargo".to_owned(), |text, argument| text + " " + argument)
}

//! `cargo xtask test`: every test there is, from cheap to dear.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::audit::{self, Record};
use lab::tools::{Program, Tools};

use crate::fuzz::{self, FuzzArgs};
use crate::image;

/// Which tests to run.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Only the end-to-end tests whose names contain this.
    #[arg(long, value_name = "NAME")]
    e2e: Option<String>,
}

/// Prepares the machine, then runs the tests of all crates and the fuzz targets, then the end-to-end tests.
pub(crate) fn run(arguments: &TestArgs) -> Result<()> {
    // Before cargo puts a newer program in the place of this one.
    let program = env::current_exe().context("finding this program")?;
    lab::debian::ensure_installed()?;
    lab::preflight::check(3)?;
    // Before the tests, which would otherwise each wait for the same builds and show no progress.
    Tools::ensure(&[&Program::ALL[..], &Program::FOR_TESTS].concat())?;
    if arguments.e2e.is_none() {
        cargo(&program, &["test", "--workspace", "--exclude", "e2e"])?;
        fuzz::run(&FuzzArgs::IN_TESTS)?;
    }
    image::build()?;
    // One lab at a time: two would only slow each other down.
    let end_to_end = ["test", "--package", "e2e", "--", "--test-threads=1"];
    if let Some(name) = &arguments.e2e {
        return cargo(&program, &[&end_to_end[..], &[name]].concat());
    }
    let record = images::programs::workspace().join("target/e2e-rights.json");
    run_cargo(images::programs::cargo().env(audit::RECORD_VARIABLE, &record), &program, &end_to_end)?;
    every_right_was_used(&record)
}

/// A right that nothing needed in all the end-to-end tests is one too many, or lacks a test.
fn every_right_was_used(record: &Path) -> Result<()> {
    let text = fs::read_to_string(record).with_context(|| format!("reading {}", record.display()))?;
    let record: Record = serde_json::from_str(&text).context("reading what FerroLB may and did ask")?;
    let unused: Vec<String> = record.unused().iter().map(ToString::to_string).collect();
    ensure!(
        unused.is_empty(),
        "these rights were not used in any end-to-end test:\n  {}",
        unused.join("\n  ")
    );
    Ok(())
}

fn cargo(program: &Path, arguments: &[&str]) -> Result<()> {
    run_cargo(&mut images::programs::cargo(), program, arguments)
}

fn run_cargo(cargo: &mut Command, program: &Path, arguments: &[&str]) -> Result<()> {
    cargo.args(arguments).env(lab::roles::PROGRAM_VARIABLE, program);
    let status = cargo.status().context("starting cargo")?;
    ensure!(status.success(), "`{}` failed", format_command(arguments));
    Ok(())
}

fn format_command(arguments: &[&str]) -> String {
    arguments.iter().fold("cargo".to_owned(), |text, argument| text + " " + argument)
}

//! `cargo xtask test`: every test there is, from cheap to dear.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clap::Args;
use images::programs;
use lab::audit::{self, Record};
use lab::debian;
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

/// The tests that need BIRD, FRR, GoBGP, OpenBGPD, avahi or dnsmasq, which are not everywhere where crates are tested one by
/// one; without the one that measures, for which nothing else should run.
const WITH_OTHERS: [&str; 18] = [
    "test",
    "--package",
    "speaker",
    "--package",
    "ferrolb",
    "--test",
    "bgp",
    "--test",
    "mdns",
    "--test",
    "lan",
    "--test",
    "speaker_bgp",
    "--",
    "--ignored",
    "--test-threads=1",
    "--skip",
    "it_is_found_in_time",
];

/// Prepares the machine, then runs the tests of all crates and the fuzz targets, then the end-to-end tests.
pub(crate) fn run(arguments: &TestArgs) -> Result<()> {
    // Before cargo puts a newer program in the place of this one.
    let program = env::current_exe().context("finding this program")?;
    prepare(arguments)?;
    if arguments.e2e.is_none() {
        cargo(&program, &["test", "--workspace", "--exclude", "e2e"])?;
        cargo(&program, &WITH_OTHERS)?;
        fuzz::run(&FuzzArgs::IN_TESTS)?;
    }
    image::build()?;
    // One lab at a time: two would only slow each other down.
    let end_to_end = ["test", "--package", "e2e", "--", "--test-threads=1"];
    if let Some(name) = &arguments.e2e {
        return cargo(&program, &[&end_to_end[..], &[name]].concat());
    }
    let record = programs::workspace().join("target/e2e-rights.json");
    run_cargo(programs::cargo().env(audit::RECORD_VARIABLE, &record), &program, &end_to_end)?;
    every_right_was_used(&record)
}

/// Whatever any of the tests needs and this machine lacks: it is installed, fetched and built now, not when its turn comes
/// a quarter of an hour later.
fn prepare(arguments: &TestArgs) -> Result<()> {
    let fuzzes = arguments.e2e.is_none();
    let for_fuzzing = if fuzzes { debian::FOR_FUZZING } else { &[] };
    debian::ensure(
        &[
            debian::FOR_LABS,
            debian::FOR_BUILDING,
            debian::FOR_POLICIES,
            debian::FOR_PAGES,
            debian::FOR_PUSHING,
            debian::FOR_ROUTERS,
            debian::FOR_NAMES,
            debian::FOR_DHCP,
            for_fuzzing,
        ]
        .concat(),
    )?;
    lab::preflight::check(3, None)?;
    programs::ensure_target()?;
    let workspaces = [Some("Cargo.toml"), fuzzes.then_some("tests/fuzz/Cargo.toml")];
    for manifest in workspaces.into_iter().flatten() {
        let mut fetch = programs::cargo();
        fetch.args(["fetch", "--locked", "--manifest-path"]).arg(programs::workspace().join(manifest));
        let status = fetch.status().context("starting cargo")?;
        ensure!(status.success(), "the crates of {manifest} are not to be had");
    }
    // The tests would otherwise each wait for the same builds, and show no progress.
    let tools = Tools::ensure(&[&Program::ALL[..], &Program::FOR_TESTS].concat())?;
    lab::images::ensure(&tools)?;
    // Its sources, which have its chart.
    lab::metallb::chart().map(drop)
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
    run_cargo(&mut programs::cargo(), program, arguments)
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

//! `cargo xtask bench`: how fast it is, and how much it takes.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use images::programs;

use crate::image;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure the controller beside MetalLB's, each with an API server of its own
    #[command(disable_help_flag = true)]
    Controller {
        /// See `cargo xtask bench controller --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure the speaker beside MetalLB's, each in a lab of its own
    #[command(disable_help_flag = true)]
    Speaker {
        /// See `cargo xtask bench speaker --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure what the speaker tells routers, how fast, and what that takes, beside MetalLB's
    #[command(disable_help_flag = true)]
    Bgp {
        /// See `cargo xtask bench bgp --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure what attacks on the web server of a speaker and of the leading controller cost
    #[command(disable_help_flag = true)]
    Http {
        /// See `cargo xtask bench speaker --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure how long an allocation takes
    Ipam,
    /// Measure how long it takes to follow a change of a large cluster
    Placement,
    /// Measure how long it takes a speaker to decide what follows from an event in a large cluster
    Core,
}

/// Builds what is to be measured, and measures it.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Controller { arguments } => beside_an_api_server("bench-controller", arguments),
        Bench::Speaker { arguments } => speaker(arguments),
        Bench::Bgp { arguments } => beside_an_api_server("bench-bgp", arguments),
        Bench::Http { arguments } => speaker(["--attacks".into()].into_iter().chain(arguments)),
        Bench::Ipam => crate_bench("ipam"),
        Bench::Placement => crate_bench("placement"),
        Bench::Core => crate_bench("speaker-core"),
    }
}

/// The benches that a crate has itself.
fn crate_bench(package: &str) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    succeed(Command::new(cargo).args(["bench", "--package", package]))
}

/// The program that ships, and the bench in the same profile and for the same target.
fn beside_an_api_server(bench: &str, arguments: Vec<OsString>) -> Result<()> {
    image::ensure_musl_compiler()?;
    let [ferrolb] = programs::build("ferrolb", ["ferrolb"])?;
    let [bench] = programs::build("bench", [bench])?;
    succeed(Command::new(bench).arg("--ferrolb").arg(ferrolb).args(arguments))
}

/// The image that ships, and the bench in the same profile.
fn speaker(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    // Before cargo puts a newer program in the place of this one.
    let program = env::current_exe().context("finding this program")?;
    lab::debian::ensure_installed(None)?;
    let image = image::build()?.path;
    let [bench] = programs::build("bench", ["bench-speaker"])?;
    let mut bench = Command::new(bench);
    bench.arg("--image").arg(image).args(arguments).env(lab::roles::PROGRAM_VARIABLE, program);
    succeed(&mut bench)
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "`{program}` failed");
    Ok(())
}

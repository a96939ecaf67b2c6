//! `cargo xtask`: everything about this repository that is not a plain cargo command.

mod advisories;
mod bench;
mod crds;
mod deny;
mod dependencies;
mod differential;
mod emulate;
mod fuzz;
mod image;
mod manifests;
mod plugin;
mod push;
mod release;
mod soak;
mod test;
#[cfg(test)]
mod workflows;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run a real cluster on this machine, without Docker.
    Lab(lab::cli::LabArgs),
    /// Run all tests, the end-to-end tests in a lab included.
    Test(test::TestArgs),
    /// Measure speed and memory.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Compare the controller's outcomes with those of MetalLB's, for random manifests and changes.
    Differential(differential::DifferentialArgs),
    /// Play a bad month in a lab: faults by a script made of a seed, while somebody outside watches.
    Soak(soak::SoakArgs),
    /// Feed every parser with what it has not seen.
    Fuzz(fuzz::FuzzArgs),
    /// Run the programs for other processors by emulation, and what reads the network in them.
    Emulate(emulate::EmulateArgs),
    /// Hold what FerroLB is made of and tested with to .deny.toml.
    Deny,
    /// Build FerroLB's container image.
    Image(image::ImageArgs),
    /// Build the kubectl plugin, one static program.
    Plugin(plugin::PluginArgs),
    /// Build the image for all platforms, and push it and the chart to a registry.
    Push(push::PushArgs),
    /// Make what a release has besides, step by step.
    #[command(subcommand)]
    Release(release::Release),
    /// Generate the custom resource definitions, in crds/ and in the chart.
    Crds,
    /// Generate what is made from the chart: plain manifests, the table of its values, and examples rendered.
    Manifests,
}

fn main() -> ExitCode {
    lab::roles::run_if_asked();
    match Cli::parse().task {
        Task::Lab(arguments) => lab::cli::run(arguments),
        Task::Test(arguments) => report(test::run(&arguments)),
        Task::Bench(bench) => report(bench::run(bench)),
        Task::Differential(arguments) => report(differential::run(arguments)),
        Task::Soak(arguments) => report(soak::run(arguments)),
        Task::Fuzz(arguments) => report(fuzz::run(&arguments)),
        Task::Emulate(arguments) => report(emulate::run(&arguments)),
        Task::Deny => report(deny::run()),
        Task::Image(arguments) => report(image::run(&arguments)),
        Task::Push(arguments) => report(push::run(&arguments)),
        Task::Release(release) => report(release::run(&release)),
        Task::Plugin(arguments) => report(plugin::run(&arguments)),
        Task::Crds => report(crds::run()),
        Task::Manifests => report(manifests::run()),
    }
}

fn report(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! FerroLB: a bare-metal load balancer for Kubernetes.
//!
//! One program with two roles. The controller gives Services addresses; a speaker on every node answers
//! for them on the LAN.

mod check;
mod cli;
#[cfg(target_env = "musl")]
mod memory;

use clap::Parser;

fn main() -> anyhow::Result<()> {
    cli::run(cli::Cli::parse())
}

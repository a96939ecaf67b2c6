//! FerroLB: a bare-metal load balancer for Kubernetes.
//!
//! One program with two roles. The controller gives Services addresses; a speaker on every node answers
//! for them on the LAN.

mod check;
mod cli;

use clap::Parser;

/// The allocator of musl's libc is slow under load.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    cli::run(cli::Cli::parse())
}

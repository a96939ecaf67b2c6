//! FerroLB's controller beside MetalLB's, in one run: speed, memory, and what they ask of the API server.
//!
//! Each contender meets API servers of its own, fresh and with the same objects. How fast an API server takes
//! status patches is measured first, from here, with the client and the concurrency that FerroLB has.
//! `cargo xtask bench controller` builds everything and starts this.

mod cluster;
mod observer;
mod report;
mod requests;
mod scenario;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::contender::Contender;
use clap::Parser;
use lab::tools::{Program, Tools};
use scenario::{Plan, Scenario};

/// The allocator of musl's libc is slow under load.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure FerroLB's controller beside MetalLB's.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench controller")]
struct Cli {
    /// The program `ferrolb` to measure
    #[arg(long, value_name = "PATH", hide = true)]
    ferrolb: PathBuf,
    /// How many Services wait when a controller starts; several numbers are several runs, and the last
    /// one is what all else is measured with
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1000, 5000], value_parser = clap::value_parser!(u32).range(2..=30_000))]
    services: Vec<u32>,
    /// A smoke test: few Services, and no idle minute
    #[arg(long)]
    quick: bool,
    /// Leave MetalLB out
    #[arg(long)]
    alone: bool,
}

const QUICK: u32 = 300;

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    tokio::select! {
        result = compare(cli) => result,
        stop = kubekit::stop_requested() => {
            stop.context("waiting for signals")?;
            // By now everything that was started has been dropped, which ends it.
            bail!("interrupted")
        }
    }
}

async fn compare(cli: Cli) -> Result<()> {
    let plan = Plan { services: if cli.quick { vec![QUICK] } else { cli.services }, idle: !cli.quick };
    let ferrolb = Scenario::new(Contender::FerroLb(cli.ferrolb), &plan).run().await?;
    if cli.alone {
        println!("{}", report::table(&ferrolb, None));
        return Ok(());
    }
    let tools = Tools::ensure(&[Program::MetallbController])?;
    let program = tools.path(Program::MetallbController).to_owned();
    let metallb = Scenario::new(Contender::MetalLb(program), &plan).run().await;
    println!("{}", report::table(&ferrolb, metallb.as_ref().ok()));
    metallb.map(drop)
}

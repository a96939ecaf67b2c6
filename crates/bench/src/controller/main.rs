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
mod strain;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::contender::Contender;
use clap::{Parser, ValueEnum};
use lab::tools::{Program, Tools};
use scenario::{Plan, Scenario};
use strain::Strain;

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
    /// Measure only this; several are several times this option
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
}

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What a usual cluster asks of a controller
    Usual,
    /// 40 pools of 500 entries are created, then a Service
    Entries,
    /// 1000 pools are created, then a Service
    Pools,
    /// 10 000 Services with one sharing key wait when the controller starts
    Sharing,
    /// The pool is deleted that 1000 Services have their addresses from
    Deletion,
}

impl Part {
    fn strain(self) -> Option<Strain> {
        match self {
            Self::Usual => None,
            Self::Entries => Some(Strain::Entries),
            Self::Pools => Some(Strain::Pools),
            Self::Sharing => Some(Strain::Sharing),
            Self::Deletion => Some(Strain::Deletion),
        }
    }
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
    let parts = match (cli.only.is_empty(), cli.quick) {
        (false, _) => cli.only,
        (true, true) => vec![Part::Usual],
        (true, false) => Part::value_variants().to_vec(),
    };
    let plan = Plan {
        services: if cli.quick { vec![QUICK] } else { cli.services },
        idle: !cli.quick,
        usual: parts.contains(&Part::Usual),
        strains: parts.into_iter().filter_map(Part::strain).collect(),
    };
    // Built now, if it must be, and not when FerroLB has had its turn.
    let tools = if cli.alone { None } else { Some(Tools::ensure(&[Program::MetallbController])?) };
    let ferrolb = Scenario::new(Contender::FerroLb(cli.ferrolb), &plan).run().await?;
    let Some(tools) = tools else {
        println!("{}", report::table(&ferrolb, None));
        return Ok(());
    };
    let program = tools.path(Program::MetallbController).to_owned();
    let metallb = Scenario::new(Contender::MetalLb(program), &plan).run().await;
    println!("{}", report::table(&ferrolb, metallb.as_ref().ok()));
    metallb.map(drop)
}

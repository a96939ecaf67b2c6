//! What FerroLB's speaker tells routers beside MetalLB's, which speaks BGP by itself here: how fast, in how many messages, what
//! that takes, and whether it stays when other things change.
//!
//! Each contender meets an API server of its own, with the same objects, and four routers that take whatever they are told
//! ([`router`]): what goes over the wire is measured there, from the request to the API server on. All of it is in a network
//! namespace of its own. How long a router forwards to a node that is gone is seen in the kernel of one that runs BIRD
//! ([`afar`]). `cargo xtask bench bgp` builds everything and starts this.

mod afar;
mod report;
mod router;
mod scenario;
mod site;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::contender::Contender;
use clap::Parser;
use lab::debian;
use lab::tools::{Program, Tools};
use scenario::{Figures, Plan};

/// The allocator of musl's libc is slow under load.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure what FerroLB's speaker tells routers, beside MetalLB's.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench bgp")]
struct Cli {
    /// The program `ferrolb` to measure
    #[arg(long, value_name = "PATH", hide = true)]
    ferrolb: PathBuf,
    /// How many Services are announced
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    services: u32,
    /// A smoke test: few Services, few changes, each fault once
    #[arg(long)]
    quick: bool,
    /// Leave MetalLB out
    #[arg(long)]
    alone: bool,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    // Built now, if it must be, and not when FerroLB has had its turn, nor in a network without the world.
    let metallb = if cli.alone {
        None
    } else {
        let tools = Tools::ensure(&[Program::MetallbSpeaker])?;
        Some(Contender::MetalLb(tools.path(Program::MetallbSpeaker).to_owned()))
    };
    Tools::ensure(&[Program::KubeApiserver, Program::Etcd])?;
    // Before there are threads, which are to be there too.
    site::isolate()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = compare(cli, metallb) => result,
            stop = kubekit::stop_requested() => {
                stop.context("waiting for signals")?;
                // By now everything that was started has been dropped, which ends it.
                bail!("interrupted")
            }
        }
    })
}

async fn compare(cli: Cli, metallb: Option<Contender>) -> Result<()> {
    let missing = debian::missing(debian::for_router(Some(lab::Router::Bird)));
    if !missing.is_empty() {
        eprintln!("BFD is left out: the Debian package {} is missing", missing.join(", "));
    }
    let plan = if cli.quick {
        Plan { services: 300, endpoints: 3, changes: 40, losses: 1 }
    } else {
        Plan { services: cli.services, endpoints: 40, changes: 1000, losses: 10 }
    };
    let plan = if missing.is_empty() { plan } else { Plan { losses: 0, ..plan } };
    let mut figures = [Figures::default(), Figures::default()];
    let contenders = [Some(Contender::FerroLb(cli.ferrolb)), metallb];
    let mut routers = site::routers()?;
    let mut result = Ok(());
    for (contender, figures) in contenders.into_iter().flatten().zip(&mut figures) {
        let measured = scenario::run(&contender, plan, &mut routers, figures).await;
        result = result.and(measured.with_context(|| contender.to_string()));
    }
    // Also when something failed: what was measured until then took its time.
    let [ferrolb, metallb] = &figures;
    println!("{}", report::table(plan, ferrolb, metallb));
    result
}

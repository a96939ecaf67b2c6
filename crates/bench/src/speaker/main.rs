//! FerroLB's speaker beside MetalLB's, in one run: how long an address is gone when its announcer is, what a
//! speaker takes, and what it says.
//!
//! Each contender has a lab of its own, with the same objects, one after the other. What is measured is measured
//! at the client of the lab, from here: who answers for an address, asked every few milliseconds by a host that is
//! none of the lab's ([`asker`]), and whether a new connection to it succeeds ([`visitor`]). The Pods behind the
//! addresses are on nodes to which nothing happens, so that a dead node costs its addresses and nothing else.
//! `cargo xtask bench speaker` builds everything and starts this.

mod asker;
mod attack;
mod fault;
mod idle;
mod outage;
mod product;
mod recovery;
mod report;
mod scenario;
mod site;
mod visitor;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fault::Fault;
use lab::tools::{Program, Tools};
use product::Product;
use scenario::{Figures, Plan};

/// Measure FerroLB's speaker beside MetalLB's.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench speaker")]
struct Cli {
    /// The image of FerroLB to measure
    #[arg(long, value_name = "PATH", hide = true)]
    image: PathBuf,
    /// How often each fault is made
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure these faults only
    #[arg(long, value_name = "FAULT", value_delimiter = ',', conflicts_with = "quick")]
    only: Vec<Fault>,
    /// Measure what attacks on the web server cost, and nothing else
    #[arg(long, conflicts_with = "only")]
    attacks: bool,
    /// A smoke test: each fault once, few addresses, and a short idle minute
    #[arg(long)]
    quick: bool,
    /// Leave MetalLB out
    #[arg(long)]
    alone: bool,
}

/// How long each attack lasts.
const ATTACKED: Duration = Duration::from_secs(30);
const ATTACKED_QUICKLY: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let Cli { image, rounds, only, attacks, quick, alone } = Cli::parse();
    if attacks {
        let time = if quick { ATTACKED_QUICKLY } else { ATTACKED };
        println!("{}", attack::run(Product::FerroLb { image }, time)?);
        return Ok(());
    }
    let plan = match only {
        _ if quick => Plan::quick(),
        only if only.is_empty() => Plan::new(rounds),
        only => Plan::only(only, rounds),
    };
    if !alone {
        // Built now, if it must be, and not when FerroLB has had its turn.
        Tools::ensure(&Program::METALLB)?;
    }
    let mut figures = [Figures::default(), Figures::default()];
    let products = [Some(Product::FerroLb { image }), (!alone).then_some(Product::MetalLb)];
    let measured = products.into_iter().flatten().zip(&mut figures).try_for_each(|(product, figures)| {
        let name = product.to_string();
        scenario::run(product, &plan, figures).context(name)
    });
    // Also when something failed: what was measured until then took its time.
    let [ferrolb, metallb] = &figures;
    println!("{}", report::table(ferrolb, metallb));
    measured
}

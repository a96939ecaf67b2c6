//! FerroLB's speaker beside MetalLB's, in one run: how long an address is gone when its announcer is, what a
//! speaker takes, and what it says.
//!
//! Each contender has a lab of its own, with the same objects, one after the other. What is measured is measured
//! at the client of the lab, from here: who answers for an address, asked every few milliseconds by a host that is
//! none of the lab's ([`asker`]), and whether a new connection to it succeeds ([`visitor`]). The Pods behind the
//! addresses are on nodes to which nothing happens, so that a dead node costs its addresses and nothing else.
//! `cargo xtask bench speaker` builds everything and starts this.

mod asker;
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

use anyhow::{Context, Result};
use clap::Parser;
use fault::Fault;
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
    /// A smoke test: each fault once, few addresses, and a short idle minute
    #[arg(long)]
    quick: bool,
    /// Leave MetalLB out
    #[arg(long)]
    alone: bool,
}

fn main() -> Result<()> {
    let Cli { image, rounds, only, quick, alone } = Cli::parse();
    let plan = match only {
        _ if quick => Plan::quick(),
        only if only.is_empty() => Plan::new(rounds),
        only => Plan::only(only, rounds),
    };
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

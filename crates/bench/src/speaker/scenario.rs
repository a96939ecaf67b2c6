//! What a contender goes through, and the figures that come of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::fault::Fault;
use crate::idle::{self, Answering, Idle};
use crate::outage::{self, Round};
use crate::product::{Failover, Product};
use crate::recovery;
use crate::site::{MOST, Site};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How often each fault is made.
    rounds: u32,
    /// Which.
    faults: Vec<Fault>,
    /// How many addresses a speaker has that is looked at; the first number is for everything else too.
    sizes: Vec<usize>,
    /// How long it is looked at, if it is.
    idle: Option<Duration>,
}

const FEW: usize = 10;
/// With how many addresses a node is switched off.
pub(crate) const MANY: usize = 300;
/// Faults that are made with the preset `fast` too: those that take as long as a death is found out.
const FAST: [Fault; 2] = [Fault::PowerOff, Fault::Cable];

impl Plan {
    /// Everything.
    pub(crate) fn new(rounds: u32) -> Self {
        Self {
            rounds,
            faults: Fault::value_variants().to_vec(),
            sizes: vec![FEW, MANY, MOST],
            idle: Some(Duration::from_mins(1)),
        }
    }

    /// Whatever shows that the bench works.
    pub(crate) fn quick() -> Self {
        Self { sizes: vec![FEW], idle: Some(Duration::from_secs(10)), ..Self::new(1) }
    }

    /// Some faults and nothing else.
    pub(crate) fn only(faults: Vec<Fault>, rounds: u32) -> Self {
        Self { faults, sizes: vec![FEW], idle: None, ..Self::new(rounds) }
    }
}

/// All figures of one contender.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rounds: BTreeMap<(Failover, Fault), Vec<Round>>,
    /// How long [`MANY`] addresses took to move.
    pub(crate) moves: Vec<Duration>,
    /// How long requests failed after a node was lost that had an endpoint.
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) answering: Option<Answering>,
    pub(crate) idle: Vec<Idle>,
}

/// Takes all measurements. Those taken before one fails stay in `figures`.
pub(crate) fn run(product: Product, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let mut site = Site::start(product)?;
    for &size in &plan.sizes {
        progress(&site, &format!("{size} addresses"));
        match site.serve(size) {
            // FerroLB must not take that long; MetalLB is not waited for any longer.
            Err(late) if site.product == Product::MetalLb && size > MANY => {
                progress(&site, &format!("{late:#}"));
                break;
            }
            served => served?,
        }
        if let Some(time) = plan.idle {
            progress(&site, "idle");
            let idle = idle::measure(&site, time)?;
            progress(&site, &format!("{idle:?}"));
            figures.idle.push(idle);
        }
        if size == FEW {
            progress(&site, "answering questions");
            figures.answering = Some(idle::answering(&site)?);
            faults(&site, plan, figures)?;
            if plan.faults.contains(&Fault::PowerOff) {
                site.product.recover_endpoints(&site.lab)?;
                for round in 1..=plan.rounds {
                    let last = recovery::last_failure(&site)?;
                    progress(
                        &site,
                        &format!("power-off with an endpoint, {round}: requests fail for {last:?}"),
                    );
                    figures.recoveries.push(last);
                }
                site.product.reset(&site.lab)?;
            }
        }
        if size == MANY {
            for round in 1..=plan.rounds {
                let took = outage::move_all(&site)?;
                progress(&site, &format!("power-off with {size} addresses, {round}: {took:?}"));
                figures.moves.push(took);
            }
        }
    }
    Ok(())
}

fn faults(site: &Site, plan: &Plan, figures: &mut Figures) -> Result<()> {
    for &failover in site.product.failovers() {
        let faults = plan.faults.iter().copied();
        let faults: Vec<Fault> =
            faults.filter(|fault| failover == Failover::Default || FAST.contains(fault)).collect();
        if failover != Failover::Default && !faults.is_empty() {
            site.product.set_failover(&site.lab, failover)?;
            site.wait_until_announced()?;
        }
        for fault in faults {
            for number in 1..=plan.rounds {
                let began = Instant::now();
                let what = format!("{} ({failover}), {number} of {}", fault.name(), plan.rounds);
                let round = outage::round(site, fault).with_context(|| what.clone())?;
                progress(site, &format!("{what}: {round} ({:.1?} in all)", began.elapsed()));
                figures.rounds.entry((failover, fault)).or_default().push(round);
            }
        }
    }
    site.product.set_failover(&site.lab, Failover::Default)
}

fn progress(site: &Site, what: &str) {
    eprintln!("{}: {what}", site.product);
}

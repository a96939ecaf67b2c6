//! What a contender goes through, and the figures that come of it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::contender::{Contender, Process};
use bench::table::{count, seconds};
use lab::wait_until;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::afar::Afar;
use crate::router::{Router, Told};
use crate::site::{self, Site};

/// When nothing has come for so long, all has.
const QUIET: Duration = Duration::from_secs(1);
/// MetalLB takes minutes.
const DEADLINE: Duration = Duration::from_mins(20);
/// Between two changes: a whole rollout has them faster, an operator slower.
const APART: Duration = Duration::from_millis(20);
/// How long a session by which a node is lost was well before.
const SETTLED: Duration = Duration::from_secs(2);

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How many Services there are, of one prefix each.
    pub(crate) services: u32,
    /// How often an endpoint comes and goes.
    pub(crate) endpoints: u32,
    /// How many changes are made of which no session and no route is to go.
    pub(crate) changes: u32,
    /// How often the node is lost, for each interval of BFD.
    pub(crate) losses: u32,
}

/// How often BFD looks, in milliseconds. A node is lost after three times that.
pub(crate) const INTERVALS: [u32; 2] = [100, 300];

/// All figures of one contender.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// From the advertisement until the last UPDATE of a router, for each.
    pub(crate) announced: Vec<f64>,
    /// How many UPDATEs that were, for each.
    pub(crate) updates: Vec<f64>,
    /// From endpoints until the UPDATE of the last router, each time.
    pub(crate) endpoint: Vec<f64>,
    /// The same when they go.
    pub(crate) endpoint_gone: Vec<f64>,
    /// Memory before anything is about BGP, once all is announced, and after the changes.
    pub(crate) memory: Vec<f64>,
    /// Sessions that were lost by changes, and prefixes that were withdrawn.
    pub(crate) flaps: Option<(f64, f64)>,
    /// From the last sign of life until the kernel of the router forwards no more to the node, by interval of BFD.
    pub(crate) lost: [Vec<f64>; 2],
}

/// Takes all measurements.
pub(crate) async fn run(
    contender: &Contender,
    plan: Plan,
    routers: &mut [Router],
    figures: &mut Figures,
) -> Result<()> {
    let progress = |what: &str| eprintln!("{contender}: {what}");
    progress(&format!("making {} Services", plan.services));
    let site = Site::start(plan.services).await?;
    let speaker = site.start_speaker(contender)?;
    speaker.quiet().await?;
    figures.memory.push(memory(&speaker)?);

    progress("announcing them");
    site.create_peers().await?;
    until(routers, "all sessions", Router::is_established).await?;
    quiet(routers).await;
    let begun = Instant::now();
    site.announce().await?;
    let prefixes = usize::try_from(plan.services)?;
    for told in told(routers, prefixes).await? {
        figures.announced.push(seconds(told.last - begun));
        figures.updates.push(count(told.updates));
    }
    speaker.quiet().await?;
    figures.memory.push(memory(&speaker)?);

    progress("endpoints come and go");
    site.create_service(plan.services).await?;
    for _ in 0..plan.endpoints {
        let begun = Instant::now();
        site.create_endpoints(plan.services).await?;
        figures.endpoint.push(last(told(routers, prefixes + 1).await?, begun));
        let begun = Instant::now();
        site.delete_endpoints(plan.services).await?;
        figures.endpoint_gone.push(last(told(routers, prefixes).await?, begun));
    }

    progress(&format!("{} changes", plan.changes));
    let before = troubles(routers);
    for number in 0..plan.changes {
        site.change(number, plan.services).await?;
        sleep(APART).await;
    }
    speaker.quiet().await?;
    quiet(routers).await;
    let after = troubles(routers);
    figures.flaps = Some((count(after.0 - before.0), count(after.1 - before.1)));
    figures.memory.push(memory(&speaker)?);

    // MetalLB has no BFD without FRR.
    if matches!(contender, Contender::FerroLb(_)) && plan.losses > 0 {
        for (interval, lost) in INTERVALS.into_iter().zip(&mut figures.lost) {
            progress(&format!("the node is lost, BFD every {interval} ms"));
            lose(&site, &speaker, interval, plan.losses, lost).await?;
        }
    }
    Ok(())
}

/// The node falls silent at once, as one does whose power goes: nothing is said, and no cable goes down.
async fn lose(site: &Site, speaker: &Process, interval: u32, losses: u32, lost: &mut Vec<f64>) -> Result<()> {
    let router = Afar::start(interval)?;
    let (number, address) = (0, site::prefix(0));
    site.announce_afar(number, interval).await?;
    for _ in 0..losses {
        wait_until("the route", Duration::from_mins(1), || {
            router.has(&address)?.then_some(()).context("there is none")
        })?;
        sleep(SETTLED).await;
        ensure!(router.has(&address)?, "the session does not stay");
        let following = router.routes()?;
        // It is to have begun to follow.
        sleep(SETTLED / 4).await;
        let begun = Instant::now();
        speaker.signal(Signal::SIGSTOP)?;
        let gone = following.wait_for_loss(&address);
        speaker.signal(Signal::SIGCONT)?;
        lost.push(seconds(gone? - begun));
    }
    site.withdraw_afar().await
}

/// Waits until all routers know so many prefixes, and nothing comes any more. What the last of that was, for each.
async fn told(routers: &mut [Router], prefixes: usize) -> Result<Vec<Told>> {
    let mut all: Vec<Option<Told>> = vec![None; routers.len()];
    let deadline = Instant::now() + DEADLINE;
    loop {
        ensure!(Instant::now() < deadline, "not all routers know {prefixes} prefixes after {DEADLINE:?}");
        quiet_for(routers, QUIET / 4).await;
        for (router, all) in routers.iter_mut().zip(&mut all) {
            let Some(Told { last, updates }) = router.read() else { continue };
            *all = Some(Told { last, updates: updates + all.map_or(0, |before| before.updates) });
        }
        if routers.iter().all(|router| router.prefixes() == prefixes) {
            return all.into_iter().collect::<Option<_>>().context("a router was told nothing");
        }
    }
}

/// From `begun` until the last of them.
fn last(told: Vec<Told>, begun: Instant) -> f64 {
    told.into_iter().map(|told| seconds(told.last - begun)).fold(0.0, f64::max)
}

async fn until(routers: &mut [Router], what: &str, met: fn(&Router) -> bool) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        routers.iter_mut().for_each(|router| _ = router.read());
        if routers.iter().all(met) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "waited {DEADLINE:?} for {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until nothing comes any more, and reads it.
async fn quiet(routers: &mut [Router]) {
    quiet_for(routers, QUIET).await;
    routers.iter_mut().for_each(|router| _ = router.read());
}

/// Waits until nothing has come for so long. Nothing is read meanwhile, which would take from the time of the speaker.
async fn quiet_for(routers: &[Router], time: Duration) {
    let begun = Instant::now();
    loop {
        let latest = routers.iter().filter_map(Router::unread).max().unwrap_or(begun).max(begun);
        let left = (latest + time).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

fn troubles(routers: &[Router]) -> (u64, u64) {
    let each = routers.iter().map(Router::troubles);
    each.fold((0, 0), |(lost, withdrawn), it| (lost + it.0, withdrawn + it.1))
}

fn memory(speaker: &Process) -> Result<f64> {
    Ok(count(speaker.memory()?.resident))
}

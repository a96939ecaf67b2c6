//! Tells the same story to both controllers and compares what they make of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::contender::Contender;
use futures::try_join;
use tokio::time::sleep;

use crate::generate::Scenario;
use crate::outcome::{About, Difference, Ingress, Outcome, Served};
use crate::side::Side;

/// Both controllers, each with an API server.
pub(crate) struct Arena {
    ferrolb: Side,
    metallb: Side,
}

/// How a comparison ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// The same outcome after every step.
    Same,
    /// It cannot go on after this step: MetalLB chose among equals at random, or does not come to rest.
    Chance { at: usize, why: &'static str },
    /// Different outcomes after this step.
    Different { at: usize, differences: Vec<Difference> },
}

/// How long nothing may have changed before it counts as the outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Where both have the same.
    pub(crate) equal: Duration,
    /// Where they have not.
    pub(crate) different: Duration,
}

impl Patience {
    pub(crate) const NORMAL: Self =
        Self { equal: Duration::from_millis(300), different: Duration::from_secs(2) };
    /// To be certain of a difference.
    pub(crate) const LONG: Self =
        Self { equal: Duration::from_millis(800), different: Duration::from_secs(4) };
}

/// A controller that is busy for so long will be so for ever.
const REST_WITHIN: Duration = Duration::from_secs(20);

/// What both have, once that does not change any more.
enum Rest {
    Same,
    Different {
        ferrolb: Outcome,
        metallb: Outcome,
    },
    /// MetalLB goes on and on.
    Never,
}

impl Arena {
    /// Starts two API servers.
    pub(crate) async fn start(ferrolb: Contender, metallb: Contender) -> Result<Self> {
        let (ferrolb, metallb) = try_join!(Side::start(ferrolb), Side::start(metallb))?;
        Ok(Self { ferrolb, metallb })
    }

    /// Compares after every step. Also says how often MetalLB had to be woken.
    pub(crate) async fn play(&mut self, scenario: &Scenario, patience: Patience) -> Result<(Verdict, usize)> {
        try_join!(self.ferrolb.reset(scenario.class), self.metallb.reset(scenario.class))?;
        let mut woken = 0;
        for (at, step) in scenario.steps.iter().enumerate() {
            try_join!(self.ferrolb.take(step), self.metallb.take(step))?;
            loop {
                let (ferrolb, metallb) = match self.rest(patience).await? {
                    Rest::Same => break,
                    Rest::Never => {
                        return Ok((Verdict::Chance { at, why: "MetalLB does not come to rest" }, woken));
                    }
                    Rest::Different { ferrolb, metallb } => (ferrolb, metallb),
                };
                let differences = ferrolb.differences(&metallb);
                let asleep = asleep(&ferrolb, &metallb, &differences);
                if asleep.is_empty() {
                    let verdict = if by_chance(&ferrolb, &metallb, &differences) {
                        Verdict::Chance { at, why: "equals were served in another order" }
                    } else {
                        Verdict::Different { at, differences }
                    };
                    return Ok((verdict, woken));
                }
                woken += 1;
                for service in asleep {
                    try_join!(self.ferrolb.touch(&service), self.metallb.touch(&service))?;
                }
                let Rest::Different { ferrolb, metallb } = self.rest(patience).await? else { break };
                let left = ferrolb.differences(&metallb);
                if left == differences {
                    return Ok((Verdict::Different { at, differences }, woken));
                }
            }
        }
        Ok((Verdict::Same, woken))
    }

    async fn rest(&self, patience: Patience) -> Result<Rest> {
        let start = Instant::now();
        let mut before = (Outcome::default(), Outcome::default());
        let (mut ours_since, mut theirs_since) = (start, start);
        loop {
            let (mut ferrolb, mut metallb) = try_join!(self.ferrolb.outcome(), self.metallb.outcome())?;
            ferrolb.level(&mut metallb);
            let now = Instant::now();
            if ferrolb != before.0 {
                ours_since = now;
            }
            if metallb != before.1 {
                theirs_since = now;
            }
            let resting = now - ours_since.max(theirs_since);
            if ferrolb == metallb && resting > patience.equal {
                return Ok(Rest::Same);
            }
            if ferrolb != metallb && resting > patience.different {
                return Ok(Rest::Different { ferrolb, metallb });
            }
            if now - start > REST_WITHIN {
                ensure!(now - ours_since > patience.equal, "FerroLB does not come to rest");
                return Ok(Rest::Never);
            }
            before = (ferrolb, metallb);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Services that wait in vain with MetalLB, if that is all there is to it.
fn asleep(ferrolb: &Outcome, metallb: &Outcome, differences: &[Difference]) -> Vec<String> {
    let services = services(differences);
    let asleep = |name: &&String| {
        let empty =
            |outcome: &Outcome| outcome.services.get(*name).is_none_or(|served| served.ingress.is_empty());
        empty(metallb) && !empty(ferrolb)
    };
    if services.iter().all(asleep) { services.into_iter().cloned().collect() } else { Vec::new() }
}

/// Whether several Services have the same addresses among them, only in another order.
fn by_chance(ferrolb: &Outcome, metallb: &Outcome, differences: &[Difference]) -> bool {
    let services = services(differences);
    let held = |outcome: &Outcome| {
        let served = services.iter().filter_map(|name| outcome.services.get(*name));
        let mut held: Vec<Ingress> = served.flat_map(|Served { ingress, .. }| ingress.clone()).collect();
        held.sort();
        held
    };
    let held = (held(ferrolb), held(metallb));
    services.len() > 1 && !held.0.is_empty() && held.0 == held.1
}

fn services(differences: &[Difference]) -> Vec<&String> {
    let about = differences.iter().map(|difference| &difference.about);
    about
        .filter_map(|about| match about {
            About::Service(name) => Some(name),
            About::Pool(_) => None,
        })
        .collect()
}

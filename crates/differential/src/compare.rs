//! Tells the same story to both controllers and compares what they make of it.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench::contender::Contender;
use futures::try_join;
use tokio::time::sleep;

use crate::excused::Excused;
use crate::generate::Scenario;
use crate::outcome::{About, Difference, Ingress, Outcome, Served};
use crate::parting::{Parting, Since};
use crate::side::Side;
use crate::step::{Id, Kind, Step};

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

/// How often what is wanted was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// MetalLB had to be woken.
    pub(crate) woken: usize,
    /// FerroLB gave back what a Service had.
    pub(crate) given_back: usize,
    /// FerroLB left a Service that is being deleted as it was.
    pub(crate) deleting: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.woken += other.woken;
        self.given_back += other.given_back;
        self.deleting += other.deleting;
    }
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
    // FerroLB takes a deleted pool for one that is being replaced for two seconds, and nothing changes meanwhile.
    pub(crate) const NORMAL: Self =
        Self { equal: Duration::from_millis(300), different: Duration::from_secs(3) };
    /// To be certain of a difference.
    pub(crate) const LONG: Self =
        Self { equal: Duration::from_millis(800), different: Duration::from_secs(5) };
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

    /// Compares after every step.
    pub(crate) async fn play(&mut self, scenario: &Scenario, patience: Patience) -> Result<(Verdict, Tally)> {
        try_join!(self.ferrolb.reset(scenario.class), self.metallb.reset(scenario.class))?;
        let mut tally = Tally::default();
        let mut excused = Excused::default();
        let mut before = Outcome::default();
        for (at, step) in scenario.steps.iter().enumerate() {
            try_join!(self.ferrolb.take(step), self.metallb.take(step))?;
            // Those that are there under the names of these are others.
            let now = self.ferrolb.outcome().await?;
            for name in step.deleted().into_iter().map(Id::key) {
                if now.services.get(&name).is_none_or(|service| !service.deleting) {
                    excused.forget(&name);
                    before.services.remove(&name);
                }
            }
            let edited = excused.edited(step);
            excused.take(step, &before);
            let early = match step {
                Step::Replace { old: _, new } => Some(new.id.name.as_str()),
                _ => None,
            };
            let since = Since { before: &before, edited: edited.as_deref(), early };
            if let Some(verdict) = self.compare(at, since, &mut excused, patience, &mut tally).await? {
                return Ok((verdict, tally));
            }
            before = self.ferrolb.outcome().await?;
        }
        Ok((Verdict::Same, tally))
    }

    /// Compares until both have the same, or there is a verdict.
    async fn compare(
        &mut self,
        at: usize,
        since: Since<'_>,
        excused: &mut Excused,
        patience: Patience,
        tally: &mut Tally,
    ) -> Result<Option<Verdict>> {
        let mut last = Vec::new();
        loop {
            let (ferrolb, metallb) = match self.rest(patience, excused).await? {
                Rest::Same => return Ok(None),
                Rest::Never => {
                    return Ok(Some(Verdict::Chance { at, why: "MetalLB does not come to rest" }));
                }
                Rest::Different { ferrolb, metallb } => (ferrolb, metallb),
            };
            let differences = ferrolb.differences(&metallb);
            if differences == last {
                return Ok(Some(Verdict::Different { at, differences }));
            }
            let asleep = asleep(since.before, &ferrolb, &metallb, &differences);
            let parting = Parting::new(since, &ferrolb, &metallb, services(&differences));
            if !asleep.is_empty() {
                tally.woken += 1;
                for service in asleep {
                    try_join!(self.ferrolb.touch(&service), self.metallb.touch(&service))?;
                }
            } else if parting.is_wanted() {
                tally.given_back += parting.given_back.len();
                tally.deleting += parting.deleting.len();
                excused.part(parting.services());
                self.join(&parting).await?;
            } else if by_chance(since.before, &ferrolb, &metallb, &differences) {
                return Ok(Some(Verdict::Chance { at, why: "equals were served in another order" }));
            } else {
                return Ok(Some(Verdict::Different { at, differences }));
            }
            last = differences;
        }
    }

    /// Goes on from what FerroLB has made of it: what it has given back MetalLB gets as a fact, what is being deleted
    /// goes, and everything else follows from that.
    async fn join(&mut self, parting: &Parting) -> Result<()> {
        for name in &parting.deleting {
            let (namespace, name) = name.split_once('/').context("a Service is in a namespace")?;
            let id = Id { kind: Kind::Service, namespace: namespace.to_owned(), name: name.to_owned() };
            let release = Step::Release(id);
            try_join!(self.ferrolb.take(&release), self.metallb.take(&release))?;
        }
        self.metallb.settle_on(&parting.held()).await
    }

    async fn rest(&self, patience: Patience, excused: &Excused) -> Result<Rest> {
        let start = Instant::now();
        let mut before = (Outcome::default(), Outcome::default());
        let (mut ours_since, mut theirs_since) = (start, start);
        loop {
            let (mut ferrolb, mut metallb) = try_join!(self.ferrolb.outcome(), self.metallb.outcome())?;
            ferrolb.level(&mut metallb, excused);
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

/// Services that wait in vain with MetalLB, if that is all there is to it. What is being deleted waits for nothing,
/// nor does what has lost the address of one family and kept the other.
fn asleep(before: &Outcome, ferrolb: &Outcome, metallb: &Outcome, differences: &[Difference]) -> Vec<String> {
    let services = services(differences);
    let asleep = |name: &&String| {
        let empty =
            |outcome: &Outcome| outcome.services.get(*name).is_none_or(|served| served.ingress.is_empty());
        let deleting = ferrolb.services.get(*name).is_some_and(|served| served.deleting);
        let ours = ferrolb.services.get(*name);
        let keeps = ours.zip(before.services.get(*name)).is_some_and(|(ours, before)| {
            !ours.previous.is_empty() && ours.ips().all(|ip| before.ips().any(|had| had == ip))
        });
        empty(metallb) && !empty(ferrolb) && !deleting && !keeps
    };
    if services.iter().all(asleep) { services.into_iter().cloned().collect() } else { Vec::new() }
}

/// Whether several Services have the same addresses among them, only in another order, and FerroLB has moved none that
/// stayed with MetalLB.
fn by_chance(before: &Outcome, ferrolb: &Outcome, metallb: &Outcome, differences: &[Difference]) -> bool {
    let services = services(differences);
    let moved = |name: &&String| {
        let [before, theirs] = [before, metallb].map(|outcome| outcome.services.get(*name));
        before
            .zip(theirs)
            .is_some_and(|(before, theirs)| !before.ingress.is_empty() && before.ingress == theirs.ingress)
    };
    if services.iter().any(moved) {
        return false;
    }
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

//! One of several replicas leads: an election on a Lease.
//!
//! The Lease is watched, so that followers cost the API server nothing. Every write is a PUT that carries
//! the version it replaces: of two that reach for the Lease at the same time, one gets a conflict. Whoever gets one
//! reads the Lease afresh and believes what it reads, also where versions are older than before, as in a cluster that
//! was restored from a backup.

mod campaign;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub use campaign::Timing;
use campaign::{Campaign, Claim, From, Heard, Record, Step};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info};

use crate::http::Readiness;
use crate::write::{Answer, Failure, Intent, Object, Writes};
use crate::{Change, Progress, Source, Version, Watchdog};

/// What `/readyz` says while the API server refuses this participant the Lease: it can never lead.
const FORBIDDEN: &str = "permission on leases (see the log)";
/// What it says while the Lease is refused for another reason.
const REFUSED: &str = "the API server to take the Lease (see the log)";
/// The longest pause after a refusal. A new Service waits while nobody leads, so a right that was granted should be
/// found out soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// When the Lease has not been listed within this, a request of our own tells why.
const UNINFORMED: Duration = Duration::from_secs(2);
/// How long a look at the Lease may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// An election to take part in.
#[derive(Debug, Clone)]
pub struct Election {
    /// Where the Lease is.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The name of this participant, which no other has.
    pub me: String,
    /// What it belongs to, see [`installation`](crate::Identity::installation): the Lease goes when that goes.
    pub owner: Option<OwnerReference>,
    /// The labels of the Lease.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The intervals.
    pub timing: Timing,
}

/// Whether this participant leads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leads {
    /// Until when; without an election, for ever.
    until: Option<watch::Receiver<Option<Instant>>>,
    /// Whether it may, where it takes more than the Lease.
    allowed: Option<watch::Receiver<bool>>,
}

/// A running candidacy.
#[derive(Debug)]
pub struct Leadership {
    leads: Leads,
    resign: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Leads {
    /// Whoever takes part in no election leads.
    pub fn always() -> Self {
        Self { until: None, allowed: None }
    }

    /// The same, and only while this is true.
    #[must_use]
    pub fn only_while(self, allowed: watch::Receiver<bool>) -> Self {
        Self { allowed: Some(allowed), ..self }
    }

    /// Whether this participant leads at `now`. To be asked before each act that only a leader may do: a
    /// program that was stopped for a while does not know that it was.
    pub fn leads(&self, now: Instant) -> bool {
        self.until.as_ref().is_none_or(|until| until.borrow().is_some_and(|until| now < until))
            && self.allowed.as_ref().is_none_or(|allowed| *allowed.borrow())
    }

    /// Waits until this participant may have begun or ceased to lead.
    pub async fn changed(&mut self) {
        tokio::select! {
            () = changed(&mut self.until) => {}
            () = changed(&mut self.allowed) => {}
        }
    }
}

/// Waits for a change; for ever, where there will be none.
async fn changed<T>(of: &mut Option<watch::Receiver<T>>) {
    let ended = match of {
        Some(of) => of.changed().await.is_err(),
        None => true,
    };
    if ended {
        std::future::pending::<()>().await;
    }
}

impl Leadership {
    /// Whether this participant leads, to look at.
    pub fn leads(&self) -> Leads {
        self.leads.clone()
    }

    /// Ceases to lead and lets the next one begin at once.
    pub async fn resign(self) {
        if self.resign.send(()).is_ok() {
            _ = self.task.await;
        }
    }
}

impl Election {
    /// Takes part, in a task of its own. `readiness` is lost while the API server refuses the Lease, so that this
    /// participant can't lead. The watchdog watches the task.
    pub fn start(
        self,
        client: Client,
        writes: Writes,
        readiness: Readiness,
        watchdog: &Watchdog,
    ) -> Leadership {
        let (publish, until) = watch::channel(None);
        let (resign, resigned) = oneshot::channel();
        let candidate = Candidate {
            api: Api::namespaced(client, &self.namespace),
            campaign: Campaign::new(self.me.clone(), self.timing),
            object: Object::new("Lease", &*self.namespace, &*self.name),
            list: Object::new("LeaseList", &*self.namespace, &*self.name),
            election: self,
            publish,
            writes,
            readiness,
            progress: watchdog.task("election"),
        };
        Leadership {
            leads: Leads { until: Some(until), allowed: None },
            resign,
            task: tokio::spawn(candidate.run(resigned)),
        }
    }
}

struct Candidate {
    api: Api<Lease>,
    object: Object,
    /// The list that it is looked up in, which may be refused by itself.
    list: Object,
    election: Election,
    campaign: Campaign,
    publish: watch::Sender<Option<Instant>>,
    writes: Writes,
    readiness: Readiness,
    progress: Progress,
}

impl Candidate {
    async fn run(mut self, mut resigned: oneshot::Receiver<()>) {
        let mut changes = crate::watch(Source::named(self.api.clone(), &self.election.name)).boxed();
        let mut look_at = Instant::now() + UNINFORMED;
        loop {
            let beat = self.progress.beat();
            let now = Instant::now();
            self.show(now);
            if !self.campaign.is_informed() && now >= look_at {
                look_at = self.look().await.map_or(now + UNINFORMED, |failure| soon(&failure));
                continue;
            }
            match self.campaign.step(now) {
                Step::Create => self.write(None, now).await,
                Step::Write(claim) => self.write(Some(claim), now).await,
                Step::Wait(until) => {
                    let ends = self.campaign.leads_until().filter(|ends| *ends > now);
                    let looks = Some(look_at).filter(|_| !self.campaign.is_informed());
                    let wake = ends.into_iter().chain(looks).fold(until, Instant::min);
                    tokio::select! {
                        Some(change) = changes.next() => self.observe(change).await,
                        () = sleep_until(wake.into()) => {}
                        () = beat => {}
                        // An end without a word is the end of the program.
                        _ = &mut resigned => return self.resign().await,
                    }
                }
            }
        }
    }

    async fn observe(&mut self, change: Change<Lease>) {
        let (lease, from) = match change {
            Change::Reset(mut list) => (list.pop(), From::List),
            Change::Apply(lease) => (Some(lease), From::Watch),
            Change::Delete(_) => (None, From::Watch),
        };
        match self.campaign.observe(lease.as_ref().map(read), from, Instant::now()) {
            // Another replica may write the Lease, and all have the same rights.
            Heard::News if self.campaign.is_anothers() => self.accepted(),
            Heard::News | Heard::Known => {}
            Heard::Doubtful => _ = self.look().await,
        }
    }

    /// Reads the Lease afresh and believes what it says. Returns why that failed.
    async fn look(&mut self) -> Option<Failure> {
        // A list, which needs no right that the watch does not.
        let named = ListParams::default().fields(&format!("metadata.name={}", self.election.name));
        let request = self.api.list(&named);
        match self.writes.perform(&self.list, Intent::Read, LOOK_TIMEOUT, request).await {
            Answer::Done(mut list) => {
                self.campaign.believe(list.items.pop().as_ref().map(read), Instant::now());
                None
            }
            // Neither is an answer to a list.
            Answer::Conflict | Answer::Gone => None,
            Answer::Refused(failure) => {
                self.refused(&failure);
                Some(failure)
            }
            Answer::Unavailable(failure) => Some(failure),
        }
    }

    async fn write(&mut self, claim: Option<Claim>, sent: Instant) {
        let lease = self.lease(claim.as_ref());
        let parameters = PostParams::default();
        let intent = if claim.is_some() { Intent::Change } else { Intent::Create };
        let request = async {
            match claim {
                None => self.api.create(&parameters, &lease).await,
                Some(_) => self.api.replace(&self.election.name, &parameters, &lease).await,
            }
        };
        let Timing { renew, give_up, .. } = self.election.timing;
        let answer = self.writes.perform(&self.object, intent, give_up.saturating_sub(renew), request).await;
        // At random, so that two who failed together do not go on doing so.
        let pause = renew.mul_f64(rand::random_range(0.2..0.6));
        match answer {
            Answer::Done(lease) => {
                self.accepted();
                self.campaign.written(read(&lease), sent, Instant::now());
            }
            // Somebody else was quicker, or the Lease is not what it was thought to be at all.
            Answer::Conflict | Answer::Gone => {
                debug!(lease = self.election.name, "lease not written, it has changed");
                self.campaign.failed(Instant::now() + pause);
                _ = self.look().await;
            }
            Answer::Refused(failure) => {
                self.refused(&failure);
                self.campaign.failed(soon(&failure));
            }
            Answer::Unavailable(_) => self.campaign.failed(Instant::now() + pause),
        }
    }

    fn accepted(&self) {
        self.readiness.reached(FORBIDDEN);
        self.readiness.reached(REFUSED);
    }

    fn refused(&self, failure: &Failure) {
        let (lost, other) = if failure.is_forbidden() { (FORBIDDEN, REFUSED) } else { (REFUSED, FORBIDDEN) };
        self.readiness.lost(lost);
        self.readiness.reached(other);
    }

    /// The Lease in our name.
    fn lease(&self, claim: Option<&Claim>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let acquired = claim.and_then(|claim| claim.acquired.clone());
        Lease {
            metadata: ObjectMeta {
                name: Some(self.election.name.clone()),
                namespace: Some(self.election.namespace.clone()),
                resource_version: claim.map(|claim| claim.version.as_str().to_owned()),
                owner_references: self.election.owner.clone().map(|owner| vec![owner]),
                labels: Some(self.election.labels.clone()).filter(|labels| !labels.is_empty()),
                annotations: Some(self.election.annotations.clone()).filter(|all| !all.is_empty()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.election.me.clone()),
                lease_duration_seconds: i32::try_from(self.election.timing.duration.as_secs()).ok(),
                lease_transitions: Some(claim.map_or(0, |claim| claim.transitions)),
                acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Tells who asks whether we lead, and the log when that changes.
    fn show(&self, now: Instant) {
        let until = self.campaign.leads_until().filter(|until| *until > now);
        let before = self.publish.send_replace(until);
        match (before.is_some(), until.is_some()) {
            (false, true) => info!(lease = self.election.name, "leading"),
            (true, false) => info!(lease = self.election.name, "no longer leading"),
            (true, true) | (false, false) => {}
        }
    }

    async fn resign(self) {
        self.publish.send_replace(None);
        let Some(claim) = self.campaign.release() else { return };
        let mut lease = self.lease(Some(&claim));
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        let parameters = PostParams::default();
        let request = self.api.replace(&self.election.name, &parameters, &lease);
        match timeout(Duration::from_secs(1), request).await {
            Ok(Ok(_)) => info!(lease = self.election.name, "lease released"),
            Ok(Err(error)) => debug!(%error, "lease not released"),
            Err(_) => debug!("lease not released: no answer in time"),
        }
    }
}

/// When to try again what was refused.
fn soon(failure: &Failure) -> Instant {
    failure.again.min(Instant::now() + LONGEST_PAUSE)
}

fn read(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: seconds.map_or(Timing::default().duration, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or(0),
        acquired: spec.acquire_time,
        version: Version::of(lease),
    }
}

#[cfg(test)]
mod tests;

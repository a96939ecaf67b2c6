//! Conflicting load balancers: MetalLB in the same namespace, and another FerroLB in the cluster ([`Precedence`]). Two that
//! serve the same Services would fight over them, so one waits.

mod class;
#[cfg(fuzzing)]
pub mod fuzzing;
mod pod;
mod precedence;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client, Resource, ResourceExt};
use kubekit::events::{Notice, Publisher};
use kubekit::http::Readiness;
use kubekit::{Change, Identity, Source, watch};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::pod::{Part, Pod};
pub use crate::precedence::{Elder, LeaseName, Precedence, Standing, marks};

/// What `/readyz` says while we wait.
pub const WAITING_FOR: &str = "MetalLB to be gone";

/// Where to look for MetalLB: at the Pods of its chart, whatever that is called, and of its manifests. Neither is
/// evidence, see [`Pod::serves`].
const LABELS: [&str; 2] = [
    "app.kubernetes.io/component in (controller,speaker),app.kubernetes.io/name!=ferrolb",
    "app=metallb,app.kubernetes.io/name!=ferrolb",
];

/// How long after the end of its grace period a Pod that is deleted may go on, as far as anybody can tell. A Pod whose
/// node is lost stays in the API for minutes, or until somebody deletes it.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// Which of MetalLB's programs are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// All of them.
    MetalLb,
    /// The speakers. Until one runs, addresses go unanswered if ours make way for a controller alone.
    Speakers,
}

/// What to do while MetalLB serves the same Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BesideMetalLb {
    /// Wait until it is gone.
    Wait,
    /// Go on: whoever wants this knows that the two leave each other alone.
    GoOn,
}

/// MetalLB's programs that serve the same class of Services, as far as they run in our namespace, which is where they
/// have the same configuration as we.
pub struct Conflicts {
    sought: Sought,
    changes: BoxStream<'static, (usize, Change<Pod>)>,
    /// By the labels that they were found by and their name; `None` until a list is complete.
    pods: [Option<BTreeMap<String, Conflict>>; LABELS.len()],
    /// Whether it was said that there are some.
    told: bool,
}

/// What counts.
struct Sought {
    of: Of,
    /// The class that we serve, `None` being that of Services that name none.
    class: Option<String>,
    /// Our own Pod, which never counts.
    own_pod: Option<String>,
}

/// A Pod that serves the same Services.
#[derive(Debug, Clone)]
struct Conflict {
    about: ObjectReference,
    /// When it should have ended, if it is being deleted.
    deleted: Option<SystemTime>,
}

impl Conflicts {
    /// Looks for them from now on. `class` is ours, `None` being that of Services that name none.
    pub fn watch(
        of: Of,
        client: &Client,
        identity: &Identity,
        class: Option<String>,
        beside: BesideMetalLb,
    ) -> Self {
        let sought = Sought { of, class, own_pod: identity.pod_name.clone() };
        match beside {
            BesideMetalLb::Wait => {}
            BesideMetalLb::GoOn => {
                let none = [const { Some(BTreeMap::new()) }; LABELS.len()];
                return Self { sought, changes: stream::pending().boxed(), pods: none, told: false };
            }
        }
        let found_by = |(index, labels): (usize, &str)| {
            let api = Api::namespaced(client.clone(), &identity.namespace);
            watch(Source::labelled(api, labels)).map(move |change| (index, change)).boxed()
        };
        let changes = stream::select_all(LABELS.into_iter().enumerate().map(found_by)).boxed();
        Self { sought, changes, pods: [const { None }; LABELS.len()], told: false }
    }

    /// Waits until there are none, and says so once while there are some. One that is being deleted counts until it is gone.
    /// Cancel safe.
    pub async fn wait_until_gone(&mut self, readiness: &Readiness, publisher: &Publisher) {
        while !self.gone(SystemTime::now()) {
            if let Some(about) = self.one().filter(|_| !self.told).cloned() {
                self.told = true;
                let pod = about.name.as_deref().unwrap_or_default();
                warn!(pod, "MetalLB serves the same Services, waiting until it is gone");
                let message = "FerroLB is installed beside this and serves the same Services: it waits until \
                               MetalLB is removed";
                publisher.publish(about, Notice::warning("FerroLBWaits", message));
            }
            tokio::select! {
                () = self.next() => {}
                // Nothing may happen to a Pod whose node is lost.
                () = sleep(LOST_AFTER) => {}
            }
        }
        if std::mem::take(&mut self.told) {
            info!("MetalLB is gone");
        }
        readiness.reached(WAITING_FOR);
    }

    /// Waits until there is one that is there to stay.
    pub async fn wait_for_one(&mut self) {
        while !self.conflicts().any(|conflict| conflict.deleted.is_none()) {
            self.next().await;
        }
    }

    /// Whether one is known of now.
    pub fn is_one(&self) -> bool {
        self.one().is_some()
    }

    fn gone(&self, now: SystemTime) -> bool {
        self.pods.iter().all(Option::is_some) && self.conflicts().all(|conflict| conflict.is_lost(now))
    }

    fn one(&self) -> Option<&ObjectReference> {
        self.conflicts().next().map(|conflict| &conflict.about)
    }

    fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.pods.iter().flatten().flat_map(BTreeMap::values)
    }

    async fn next(&mut self) {
        let Some((index, change)) = self.changes.next().await else { return std::future::pending().await };
        let (sought, pods) = (&self.sought, &mut self.pods[index]);
        match change {
            Change::Reset(list) => *pods = Some(list.iter().filter_map(|pod| sought.conflict(pod)).collect()),
            Change::Apply(pod) => {
                let pods = pods.get_or_insert_default();
                pods.remove(&pod.name_any());
                pods.extend(sought.conflict(&pod));
            }
            Change::Delete(pod) => _ = pods.get_or_insert_default().remove(&pod.name_any()),
        }
    }
}

impl Sought {
    /// A Pod under its name, if it serves what we serve. One that is about to go still does.
    fn conflict(&self, pod: &Pod) -> Option<(String, Conflict)> {
        let counts = match (self.of, pod.serves(self.class.as_deref())?) {
            (Of::MetalLb, Part::Controller | Part::Speaker) | (Of::Speakers, Part::Speaker) => true,
            (Of::Speakers, Part::Controller) => false,
        };
        let name = pod.name_any();
        let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0.into());
        (counts && self.own_pod.as_ref() != Some(&name))
            .then(|| (name, Conflict { about: pod.object_ref(&()), deleted }))
    }
}

impl Conflict {
    /// Whether it is being deleted, and should have ended long ago: its node is lost.
    fn is_lost(&self, now: SystemTime) -> bool {
        self.deleted.and_then(|end| now.duration_since(end).ok()).is_some_and(|late| late >= LOST_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, component: &str, deleted: Option<&str>) -> Pod {
        let labels = json!({"app": "metallb", "component": component});
        let pod = json!({
            "metadata": {"name": name, "labels": labels, "deletionTimestamp": deleted},
            "spec": {"containers": [{"name": component, "args": ["--lb-class", "x"]}]},
            "status": {"phase": "Running"},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn sought(of: Of) -> Sought {
        Sought { of, class: Some("x".to_owned()), own_pod: Some("own".to_owned()) }
    }

    fn after(changes: Vec<(usize, Change<Pod>)>) -> Conflicts {
        let changes = stream::iter(changes).chain(stream::pending()).boxed();
        let pods = [const { None }; LABELS.len()];
        Conflicts { sought: sought(Of::MetalLb), changes, pods, told: false }
    }

    async fn take(conflicts: &mut Conflicts, changes: usize) {
        for _ in 0..changes {
            conflicts.next().await;
        }
    }

    #[test]
    fn a_speaker_is_in_the_way_of_all_and_a_controller_only_of_controllers() {
        let counts = |of, pod: &Pod| sought(of).conflict(pod).is_some();
        let (controller, speaker) = (pod("a", "controller", None), pod("b", "speaker", None));
        assert!(counts(Of::MetalLb, &controller) && counts(Of::MetalLb, &speaker));
        assert!(!counts(Of::Speakers, &controller) && counts(Of::Speakers, &speaker));
        assert!(!counts(Of::MetalLb, &pod("own", "speaker", None)), "our own Pod never counts");
    }

    #[tokio::test]
    async fn none_is_there_when_both_lists_say_so() {
        let (now, speaker) = (SystemTime::now(), pod("s", "speaker", None));
        let mut conflicts = after(vec![
            (0, Change::Reset(vec![])),
            (1, Change::Reset(vec![speaker.clone()])),
            (1, Change::Delete(speaker)),
        ]);
        take(&mut conflicts, 1).await;
        assert!(!conflicts.gone(now), "the other list is not complete");
        take(&mut conflicts, 1).await;
        assert!(!conflicts.gone(now));
        take(&mut conflicts, 1).await;
        assert!(conflicts.gone(now));
    }

    #[tokio::test]
    async fn one_is_known_of_as_soon_as_a_list_has_it_and_until_it_is_gone() {
        let (speaker, deleted) =
            (pod("s", "speaker", None), pod("s", "speaker", Some("2026-01-01T00:00:00Z")));
        let mut conflicts = after(vec![
            (0, Change::Reset(vec![speaker.clone()])),
            (0, Change::Apply(deleted)),
            (0, Change::Delete(speaker)),
        ]);
        let mut is_one = vec![conflicts.is_one()];
        for _ in 0..3 {
            take(&mut conflicts, 1).await;
            is_one.push(conflicts.is_one());
        }
        assert_eq!(is_one, [false, true, true, false]);
    }

    #[tokio::test]
    async fn a_pod_that_is_deleted_counts_until_it_is_gone_or_its_node_is_lost() {
        let end = "2026-01-01T00:00:00Z";
        let deleted = pod("s", "speaker", Some(end));
        let mut conflicts = after(vec![(0, Change::Reset(vec![])), (1, Change::Reset(vec![deleted]))]);
        take(&mut conflicts, 2).await;
        let end = conflicts.conflicts().next().and_then(|conflict| conflict.deleted).unwrap();
        assert!(!conflicts.gone(end - Duration::from_secs(1)));
        assert!(!conflicts.gone(end + LOST_AFTER / 2));
        assert!(conflicts.gone(end + LOST_AFTER));
        let arrives = tokio::time::timeout(Duration::ZERO, conflicts.wait_for_one()).await;
        assert!(arrives.is_err(), "nobody makes way for what is about to go");
    }
}

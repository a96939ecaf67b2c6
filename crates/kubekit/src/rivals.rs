//! MetalLB in the same namespace: two that serve the same Services would fight over them, so one waits.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client, Resource, ResourceExt};
use tracing::{info, warn};

use crate::events::{Notice, Publisher};
use crate::http::Readiness;
use crate::slim::Pod;
use crate::{Change, Source, watch};

/// What `/readyz` says while we wait.
pub const WAITING_FOR: &str = "MetalLB to be gone";

/// The labels of MetalLB's Pods, as its chart and as its manifests have them.
const LABELS: [&str; 2] = ["app.kubernetes.io/name=metallb", "app=metallb"];
/// Those of its speakers.
const SPEAKER_LABELS: [&str; 2] =
    ["app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker", "app=metallb,component=speaker"];

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

/// MetalLB's programs that serve the same class of Services, as far as they run in our namespace, which is
/// where they have the same configuration as we.
pub struct Rivals {
    class: Option<String>,
    changes: BoxStream<'static, (usize, Change<Pod>)>,
    /// By the labels that they were found by and their name; `None` until a list is complete.
    pods: [Option<BTreeMap<String, ObjectReference>>; LABELS.len()],
}

impl Rivals {
    /// Looks for them from now on. `class` is ours, `None` being that of Services that name none.
    pub fn watch(
        of: Of,
        client: &Client,
        namespace: &str,
        class: Option<String>,
        beside: BesideMetalLb,
    ) -> Self {
        match beside {
            BesideMetalLb::Wait => {}
            BesideMetalLb::GoOn => {
                let none = [const { Some(BTreeMap::new()) }; LABELS.len()];
                return Self { class, changes: stream::pending().boxed(), pods: none };
            }
        }
        let found_by = |(index, labels): (usize, &str)| {
            let api = Api::namespaced(client.clone(), namespace);
            watch(Source::labelled(api, labels)).map(move |change| (index, change)).boxed()
        };
        let labels = match of {
            Of::MetalLb => LABELS,
            Of::Speakers => SPEAKER_LABELS,
        };
        let changes = stream::select_all(labels.into_iter().enumerate().map(found_by)).boxed();
        Self { class, changes, pods: [const { None }; LABELS.len()] }
    }

    /// Waits until there are none, and says so while there are some.
    pub async fn wait_until_gone(&mut self, readiness: &Readiness, publisher: &Publisher) {
        let mut told = false;
        while !self.gone() {
            if let Some(rival) = self.one().filter(|_| !std::mem::replace(&mut told, true)) {
                let pod = rival.name.as_deref().unwrap_or_default();
                warn!(pod, "MetalLB serves the same Services, waiting until it is gone");
                let message = "FerroLB is installed beside this and serves the same Services: it waits until \
                               MetalLB is removed";
                publisher.publish(rival.clone(), Notice::warning("FerroLBWaits", message));
            }
            self.next().await;
        }
        if told {
            info!("MetalLB is gone");
        }
        readiness.reached(WAITING_FOR);
    }

    /// Waits until there is one.
    pub async fn wait_for_one(&mut self) {
        while self.one().is_none() {
            self.next().await;
        }
    }

    fn gone(&self) -> bool {
        self.pods.iter().all(|pods| pods.as_ref().is_some_and(BTreeMap::is_empty))
    }

    fn one(&self) -> Option<&ObjectReference> {
        self.pods.iter().flatten().flat_map(BTreeMap::values).next()
    }

    async fn next(&mut self) {
        let Some((index, change)) = self.changes.next().await else { return std::future::pending().await };
        let class = self.class.as_deref();
        let pods = &mut self.pods[index];
        match change {
            Change::Reset(list) => *pods = Some(list.iter().filter_map(|pod| rival(pod, class)).collect()),
            Change::Apply(pod) => {
                let pods = pods.get_or_insert_default();
                pods.remove(&pod.name_any());
                pods.extend(rival(&pod, class));
            }
            Change::Delete(pod) => _ = pods.get_or_insert_default().remove(&pod.name_any()),
        }
    }
}

/// A Pod under its name, if it runs and serves `class`. A Pod that is about to go still does; one that waits for its
/// start may never have one, such as a speaker whose port is ours.
fn rival(pod: &Pod, class: Option<&str>) -> Option<(String, ObjectReference)> {
    let mut arguments = pod.spec.containers.iter().flat_map(|container| &container.args);
    let theirs =
        arguments.find_map(|argument| argument.strip_prefix("--lb-class=")).filter(|it| !it.is_empty());
    (theirs == class && pod.status.phase == "Running").then(|| (pod.name_any(), pod.object_ref(&())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn serves(args: &[&str], phase: &str, class: Option<&str>) -> bool {
        let pod = json!({
            "metadata": {"name": "speaker-1"},
            "spec": {"containers": [{"args": ["--port=7472"]}, {"args": args}]},
            "status": {"phase": phase},
        });
        rival(&serde_json::from_value(pod).unwrap(), class).is_some()
    }

    #[test]
    fn a_pod_is_a_rival_when_it_runs_and_serves_the_same_class() {
        assert!(serves(&[], "Running", None));
        assert!(serves(&["--lb-class="], "Running", None));
        assert!(serves(&["--lb-class=a"], "Running", Some("a")));
        assert!(!serves(&[], "Pending", None));
        assert!(!serves(&["--lb-class=a"], "Running", None));
        assert!(!serves(&[], "Running", Some("a")));
        assert!(!serves(&["--lb-class=b"], "Running", Some("a")));
        assert!(!serves(&[], "Failed", None));
    }
}

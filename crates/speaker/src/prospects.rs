//! Whether we shall be back: what the others are told when we are asked to stop.

use gossip::Absence;
use kubekit::slim;

/// What is known of our Pod and our node.
#[derive(Debug, Default)]
pub(crate) struct Prospects {
    pod: Option<PodState>,
    node: Option<NodeState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodState {
    /// No other one would be put in its place.
    Unmanaged,
    /// When it goes, another one will be put in its place.
    Managed,
    /// It is on its way out, and so it will be.
    Replaced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NodeState {
    InUse,
    /// Somebody wants it to be empty, maybe to switch it off.
    Vacated,
}

impl Prospects {
    /// Our Pod is new or different.
    pub(crate) fn pod(&mut self, pod: &slim::Pod) {
        self.pod = Some(match (pod.is_of_a_daemon_set(), &pod.metadata.deletion_timestamp) {
            (false, _) => PodState::Unmanaged,
            (true, None) => PodState::Managed,
            (true, Some(_)) => PodState::Replaced,
        });
    }

    /// Our node is new or different.
    pub(crate) fn node(&mut self, node: &slim::Node) {
        let vacated = node.spec.unschedulable || node.spec.taints.iter().any(|it| it.effect == "NoExecute");
        self.node = Some(if vacated { NodeState::Vacated } else { NodeState::InUse });
    }

    /// What our goodbye would be for, if we were asked to stop now. `None` if that cannot be told: kubelet stops the
    /// containers of a Pod that is deleted, maybe before we know of that, but also one that fails its probes, and
    /// all of them when the node is shut down.
    pub(crate) fn absence(&self) -> Option<Absence> {
        match (self.pod, self.node) {
            (Some(PodState::Replaced), Some(NodeState::InUse)) => Some(Absence::Brief),
            (Some(PodState::Managed), Some(NodeState::InUse)) => None,
            (_, Some(NodeState::Vacated) | None) | (Some(PodState::Unmanaged) | None, _) => {
                Some(Absence::Open)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(owner: &str, deleted: Option<&str>) -> slim::Pod {
        let owner = json!({"apiVersion": "v1", "kind": owner, "name": "it", "uid": "7", "controller": true});
        let metadata = json!({"name": "s", "ownerReferences": [owner], "deletionTimestamp": deleted});
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn node(spec: &Value) -> slim::Node {
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": spec})).unwrap()
    }

    #[test]
    fn we_shall_be_back_when_a_daemon_set_replaces_our_pod_on_a_node_that_goes_on() {
        let deleted = Some("2026-01-01T00:00:00Z");
        let tainted = |effect: &str| json!({"taints": [{"key": "a", "effect": effect}]});
        let (usual, cordoned) = (json!({}), json!({"unschedulable": true}));
        for (pod, spec, expected) in [
            (pod("DaemonSet", deleted), &usual, Some(Absence::Brief)),
            (pod("DaemonSet", deleted), &tainted("NoSchedule"), Some(Absence::Brief)),
            (pod("DaemonSet", deleted), &tainted("NoExecute"), Some(Absence::Open)),
            (pod("DaemonSet", deleted), &cordoned, Some(Absence::Open)),
            (pod("DaemonSet", None), &usual, None),
            (pod("Job", deleted), &usual, Some(Absence::Open)),
        ] {
            let mut prospects = Prospects::default();
            prospects.pod(&pod);
            assert_eq!(prospects.absence(), Some(Absence::Open), "nothing is known of the node yet");
            prospects.node(&node(spec));
            assert_eq!(prospects.absence(), expected, "{pod:?} {spec}");
        }
    }
}

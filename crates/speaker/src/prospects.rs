//! Whether we shall be back: what the others are told when we are asked to stop.

use gossip::Absence;
use kubekit::slim;

/// What is known of our Pod and our node.
#[derive(Debug)]
pub(crate) struct Prospects {
    /// Whether our Pod is on its way out, and another one will be put in its place.
    replaced: bool,
    /// Whether somebody wants the node to be empty, maybe to switch it off.
    vacated: bool,
}

impl Default for Prospects {
    fn default() -> Self {
        Self { replaced: false, vacated: true }
    }
}

impl Prospects {
    /// Our Pod is new or different.
    pub(crate) fn pod(&mut self, pod: &slim::Pod) {
        self.replaced = pod.metadata.deletion_timestamp.is_some() && pod.is_of_a_daemon_set();
    }

    /// Our node is new or different.
    pub(crate) fn node(&mut self, node: &slim::Node) {
        self.vacated = node.spec.unschedulable || node.spec.taints.iter().any(|it| it.effect == "NoExecute");
    }

    /// What our goodbye would be for, if we were asked to stop now. Kubelet also stops a container that fails its probes,
    /// and all of them when the node is shut down: then our Pod stays, and nobody knows.
    pub(crate) fn absence(&self) -> Absence {
        if self.replaced && !self.vacated { Absence::Brief } else { Absence::Open }
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
            (pod("DaemonSet", deleted), &usual, Absence::Brief),
            (pod("DaemonSet", deleted), &tainted("NoSchedule"), Absence::Brief),
            (pod("DaemonSet", deleted), &tainted("NoExecute"), Absence::Open),
            (pod("DaemonSet", deleted), &cordoned, Absence::Open),
            (pod("DaemonSet", None), &usual, Absence::Open),
            (pod("Job", deleted), &usual, Absence::Open),
        ] {
            let mut prospects = Prospects::default();
            prospects.pod(&pod);
            assert_eq!(prospects.absence(), Absence::Open, "nothing is known of the node yet");
            prospects.node(&node(spec));
            assert_eq!(prospects.absence(), expected, "{pod:?} {spec}");
        }
    }
}

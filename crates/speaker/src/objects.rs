//! What Pods and Nodes mean for the departure of a speaker. What Services, slices and nodes mean for placement is in the
//! crate `translation`.

use speaker_core::{NodeState, PodState};
pub(crate) use translation::{LoadBalancerClass, Names, SeenService, SeenSlice, read_node};

/// Whether another Pod would be put in the place of this one.
pub(crate) fn pod_state(pod: &slim::Pod) -> PodState {
    match (pod.is_of_a_daemon_set(), &pod.metadata.deletion_timestamp) {
        (false, _) => PodState::Unmanaged,
        (true, None) => PodState::Managed,
        (true, Some(_)) => PodState::Replaced,
    }
}

/// Whether somebody wants a node to be empty.
pub(crate) fn node_state(node: &slim::Node) -> NodeState {
    let vacated = node.spec.unschedulable || node.spec.taints.iter().any(|it| it.effect == "NoExecute");
    if vacated { NodeState::Vacated } else { NodeState::InUse }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_is_replaced_when_a_daemon_set_lets_it_go() {
        let pod = |owner: &str, deleted: Option<&str>| {
            let owner =
                json!({"apiVersion": "v1", "kind": owner, "name": "it", "uid": "7", "controller": true});
            let metadata = json!({"name": "s", "ownerReferences": [owner], "deletionTimestamp": deleted});
            pod_state(&serde_json::from_value(json!({ "metadata": metadata })).unwrap())
        };
        let deleted = Some("2026-01-01T00:00:00Z");
        assert_eq!(pod("DaemonSet", deleted), PodState::Replaced);
        assert_eq!(pod("DaemonSet", None), PodState::Managed);
        assert_eq!(pod("Job", deleted), PodState::Unmanaged);
    }

    #[test]
    fn a_node_is_vacated_when_it_is_cordoned_or_its_pods_must_go() {
        let node = |spec: Value| {
            node_state(&serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": spec})).unwrap())
        };
        let tainted = |effect: &str| json!({"taints": [{"key": "a", "effect": effect}]});
        assert_eq!(node(json!({})), NodeState::InUse);
        assert_eq!(node(tainted("NoSchedule")), NodeState::InUse);
        assert_eq!(node(tainted("NoExecute")), NodeState::Vacated);
        assert_eq!(node(json!({"unschedulable": true})), NodeState::Vacated);
    }
}

//! Whether the demo's Pod is ready, and what keeps it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus, Pod};
use kube::ResourceExt;

use super::manifests::{LABEL_OF_NAME, NAME, TARGET_PORT};

/// How the Pods of the demo are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pods {
    /// This one is ready, as people are told.
    Ready(String),
    /// None is, and what to do.
    Waiting { why: String, remedy: String },
}

/// How they are, by their Deployment and themselves. Those of another image are of an earlier demo.
pub(super) fn judge(deployment: Option<&Deployment>, pods: &[Pod], image: &str, namespace: &str) -> Pods {
    let current = |pod: &&Pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let has_image = |it: &k8s_openapi::api::core::v1::Container| it.image.as_deref() == Some(image);
        pod.metadata.deletion_timestamp.is_none() && containers.into_iter().any(has_image)
    };
    let pods: Vec<&Pod> = pods.iter().filter(current).collect();
    if let Some(pod) = pods.iter().find(|pod| is_true(pod, "Ready")) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("a node");
        return Pods::Ready(format!("{} is ready on node {node}", pod.name_any()));
    }
    match pods.last() {
        Some(pod) => of_pod(pod, image, namespace),
        None => of_deployment(deployment, namespace),
    }
}

fn is_true(pod: &Pod, condition: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == condition && it.status == "True")
}

/// Why a Deployment has no Pod.
fn of_deployment(deployment: Option<&Deployment>, namespace: &str) -> Pods {
    let status = deployment.and_then(|it| it.status.as_ref());
    let mut conditions = status.into_iter().flat_map(|it| it.conditions.iter().flatten());
    let refused = conditions.find(|it| it.type_ == "ReplicaFailure" && it.status == "True");
    let Some(refused) = refused else {
        return Pods::Waiting {
            why: "the Deployment has no Pod yet".to_owned(),
            remedy: format!(
                "see whether kube-controller-manager runs, and what it says: kubectl describe deployment {NAME} -n {namespace}"
            ),
        };
    };
    let why = refused.message.clone().or_else(|| refused.reason.clone()).unwrap_or_default();
    let remedy = if why.contains("exceeded quota") || why.contains("failed quota") {
        format!(
            "take another namespace (-n), or see the quota: kubectl describe resourcequota -n {namespace}"
        )
    } else if why.contains("forbidden") {
        format!(
            "something that admits Pods refuses it: change that for namespace {namespace}, or take another (-n)"
        )
    } else {
        format!("kubectl describe replicaset -n {namespace} -l {LABEL_OF_NAME}={NAME}")
    };
    Pods::Waiting { why: format!("no Pod can be created: {why}"), remedy }
}

/// Why a Pod is not ready.
fn of_pod(pod: &Pod, image: &str, namespace: &str) -> Pods {
    let name = pod.name_any();
    let describe = format!("kubectl describe pod {name} -n {namespace}");
    let waiting = |why: String, remedy: String| Pods::Waiting { why: format!("Pod {name} {why}"), remedy };
    let Some(status) = pod.status.as_ref() else {
        return waiting("was just made".to_owned(), describe);
    };
    if status.phase.as_deref() == Some("Failed") {
        let why = status.message.as_ref().or(status.reason.as_ref()).map_or("", String::as_str);
        return waiting(format!("has failed: {why}"), describe);
    }
    let unscheduled =
        status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(unscheduled) = unscheduled {
        let why = unscheduled.message.as_deref().unwrap_or("no reason is said");
        let remedy = "free some CPU and memory, or see the taints of the nodes: kubectl describe nodes";
        return waiting(format!("cannot be scheduled: {why}"), remedy.to_owned());
    }
    let Some(container) = status.container_statuses.iter().flatten().next() else {
        let on_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        return match on_node {
            Some(node) => waiting(format!("waits for the kubelet of node {node}"), describe),
            None => {
                waiting("waits for a node".to_owned(), format!("see whether kube-scheduler runs; {describe}"))
            }
        };
    };
    let state = container.state.as_ref();
    if let Some(why) = state.and_then(|state| state.waiting.as_ref()) {
        return of_container(container, why, image, &waiting, &describe, namespace, &name);
    }
    let to_do = format!("{describe}; kubectl logs {name} -n {namespace}{}", unlike(image));
    if state.is_some_and(|state| state.terminated.is_some()) {
        return waiting("has ended".to_owned(), to_do);
    }
    waiting(format!("runs, and does not answer on port {TARGET_PORT}"), to_do)
}

fn of_container(
    container: &ContainerStatus,
    state: &ContainerStateWaiting,
    image: &str,
    waiting: &impl Fn(String, String) -> Pods,
    describe: &str,
    namespace: &str,
    pod: &str,
) -> Pods {
    let reason = state.reason.as_deref().unwrap_or("waits");
    let message = state.message.as_deref().unwrap_or_default();
    let said = if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") };
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => waiting(
            format!("does not get its image {image}: {said}"),
            format!(
                "name an image that the nodes can pull (--demo-image), of a web server that serves on port {TARGET_PORT} and is not root"
            ),
        ),
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
            let code = last.map_or(String::new(), |last| format!(" with exit status {}", last.exit_code));
            waiting(
                format!("ends again and again{code}"),
                format!("kubectl logs {pod} -n {namespace} --previous{}", unlike(image)),
            )
        }
        "ContainerCreating" | "PodInitializing" => {
            waiting(format!("is being started, for which {image} may have to be pulled"), describe.to_owned())
        }
        _ => waiting(format!("does not start: {said}"), describe.to_owned()),
    }
}

/// What an image that is not the default has to be.
fn unlike(image: &str) -> String {
    if super::manifests::text("", image).is_some() {
        String::new()
    } else {
        format!("; {image} is to serve HTTP on port {TARGET_PORT} and not to need root")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const IMAGE: &str = "hashicorp/http-echo:1.0";

    fn pod(image: &str, status: &Value) -> Pod {
        let pod = json!({
            "metadata": {"name": "ferrolb-demo-1"}, "status": status,
            "spec": {"nodeName": "n1", "containers": [{"name": "web", "image": image}]},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn waits(state: &Value) -> Value {
        let container = json!({
            "name": "web", "image": IMAGE, "imageID": "", "ready": false, "restartCount": 0, "state": state,
            "lastState": {"terminated": {"exitCode": 2}},
        });
        json!({"phase": "Pending", "containerStatuses": [container]})
    }

    fn ready() -> Value {
        json!({"conditions": [{"type": "Ready", "status": "True"}]})
    }

    #[test]
    fn a_ready_pod_is_named_with_its_node_unless_it_goes_or_is_of_an_earlier_demo() {
        let judged = judge(None, &[pod(IMAGE, &ready())], IMAGE, "default");
        assert_eq!(judged, Pods::Ready("ferrolb-demo-1 is ready on node n1".to_owned()));
        let mut going = pod(IMAGE, &ready());
        going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        for pods in [vec![], vec![going], vec![pod("other", &ready())]] {
            let Pods::Waiting { why, .. } = judge(None, &pods, IMAGE, "default") else { panic!("{pods:?}") };
            assert!(why.contains("no Pod yet"), "{why}");
        }
    }

    #[test]
    fn what_keeps_a_pod_is_named_with_what_to_do() {
        let unscheduled = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."},
        ]});
        let pull = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}});
        let secret = json!({"waiting": {"reason": "CreateContainerConfigError", "message": "no such user"}});
        for (status, part, to_do) in [
            (Value::Null, "was just made", "describe pod ferrolb-demo-1 -n shop"),
            (json!({"phase": "Pending"}), "waits for the kubelet of node n1", "describe pod"),
            (unscheduled, "cannot be scheduled: 0/3 nodes", "kubectl describe nodes"),
            (waits(&pull), "image hashicorp/http-echo:1.0: ImagePullBackOff: Back-off", "--demo-image"),
            (waits(&secret), "does not start: CreateContainerConfigError: no such user", "describe pod"),
            (waits(&json!({"waiting": {"reason": "CrashLoopBackOff"}})), "with exit status 2", "--previous"),
            (waits(&json!({"waiting": {"reason": "ContainerCreating"}})), "being started", "describe pod"),
            (waits(&json!({"running": {}})), "does not answer on port 8080", "kubectl logs"),
            (waits(&json!({"terminated": {"exitCode": 0}})), "has ended", "kubectl logs"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "has failed: Evicted", "describe pod"),
        ] {
            let judged = judge(None, &[pod(IMAGE, &status)], IMAGE, "shop");
            let Pods::Waiting { why, remedy } = judged else { panic!("{status}: {judged:?}") };
            assert!(why.starts_with("Pod ferrolb-demo-1 ") && why.contains(part), "{status}: {why}");
            assert!(remedy.contains(to_do) && !remedy.contains("is to serve HTTP"), "{status}: {remedy}");
        }
        let other = [pod("nginx", &waits(&json!({"running": {}})))];
        let Pods::Waiting { remedy, .. } = judge(None, &other, "nginx", "shop") else { panic!() };
        assert!(remedy.contains("nginx is to serve HTTP on port 8080"), "{remedy}");
    }

    #[test]
    fn what_keeps_a_deployment_from_having_a_pod_is_named() {
        for (message, to_do) in [
            (
                "pods \"a\" is forbidden: exceeded quota: few, requested: pods=1",
                "describe resourcequota -n shop",
            ),
            ("pods \"a\" is forbidden: violates something", "admits Pods"),
            ("Internal error", "describe replicaset"),
        ] {
            let condition = json!({"type": "ReplicaFailure", "status": "True", "message": message});
            let deployment = json!({"metadata": {"name": NAME}, "status": {"conditions": [condition]}});
            let deployment: Deployment = serde_json::from_value(deployment).unwrap();
            let Pods::Waiting { why, remedy } = judge(Some(&deployment), &[], IMAGE, "shop") else {
                panic!()
            };
            assert!(why.contains(message) && remedy.contains(to_do), "{why}: {remedy}");
        }
    }
}

//! What helps a Service behind which nobody serves.

use kube::ResourceExt;
use objects::{NamespacedName, ServiceKey};

use crate::snapshot::Snapshot;

/// What helps: that depends on whether there are Pods at all, and who would find them.
pub(super) fn remedy(service: &ServiceKey, snapshot: &Snapshot) -> String {
    let NamespacedName { namespace, name } = &**service;
    let slices = snapshot.slices.iter().filter(|slice| {
        slice.namespace().is_some_and(|it| *it == **namespace) && slice.service_name() == Some(&**name)
    });
    let endpoints: usize = slices.map(|slice| slice.endpoints.len()).sum();
    let object = snapshot.services.iter().find(|it| translation::service_key(it) == *service);
    if let Some(held) = object.filter(|it| it.metadata.deletion_timestamp.is_some()) {
        let by = match held.finalizers() {
            [] => "something".to_owned(),
            finalizers => format!("finalizers ({})", finalizers.join(", ")),
        };
        return format!(
            "it has been deleted and is held by {by}, with its address, until whoever set them takes them off: kubectl get service -n {namespace} {name} -o yaml"
        );
    }
    let selector: Vec<String> = object
        .iter()
        .flat_map(|it| &it.spec.selector)
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let selector = selector.join(",");
    let slices = format!("kubectl get endpointslices -n {namespace} -l kubernetes.io/service-name={name}");
    match (object.is_some(), selector.is_empty(), endpoints) {
        (true, false, 0) => format!(
            "no Pod with the labels of its spec.selector runs: correct that, or start such Pods; if there are some, see why they wait: kubectl get pods -n {namespace} -l {selector}"
        ),
        (true, false, some) => {
            let none =
                if some == 1 { "its Pod is not ready" } else { &format!("none of its {some} Pods is ready") };
            format!("{none}: kubectl describe pods -n {namespace} -l {selector} says why of each")
        }
        (true, true, 0) => format!(
            "it has no spec.selector, so give it one, or make an EndpointSlice with the label kubernetes.io/service-name: {name}"
        ),
        (true, true, _) | (false, _, _) => format!("make an endpoint of it ready: {slices}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{service, snapshot};

    /// What helps `default/web`, with this selector and these endpoints.
    fn helps(selector: Value, endpoints: usize) -> String {
        let mut web = service("web", Some("192.0.2.1"));
        web["spec"]["selector"] = selector;
        let mut snapshot = snapshot(&[web], &["n1", "n2", "n3"], &[]);
        snapshot.slices[0].endpoints.truncate(endpoints);
        remedy(&ServiceKey::new("default", "web"), &snapshot)
    }

    #[test]
    fn whoever_is_held_by_a_finalizer_hears_of_that_and_not_of_pods() {
        let mut web = service("web", Some("192.0.2.1"));
        web["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        web["metadata"]["finalizers"] = json!(["example.com/hold"]);
        let said = remedy(&ServiceKey::new("default", "web"), &snapshot(&[web], &[], &[]));
        assert!(
            said.starts_with("it has been deleted and is held by finalizers (example.com/hold)"),
            "{said}"
        );
    }

    #[test]
    fn whose_pods_are_not_there_hears_something_else_than_whose_pods_are_not_ready() {
        let selector = || json!({"app": "web", "tier": "front"});
        for (selector, endpoints, part) in [
            (selector(), 0, "no Pod with the labels of its spec.selector runs: correct that"),
            (selector(), 0, "kubectl get pods -n default -l app=web,tier=front"),
            (selector(), 1, "its Pod is not ready: kubectl describe pods -n default -l app=web,tier=front"),
            (selector(), 3, "none of its 3 Pods is ready"),
            (json!({}), 0, "it has no spec.selector"),
            (json!({}), 2, "make an endpoint of it ready: kubectl get endpointslices -n default"),
        ] {
            let said = helps(selector, endpoints);
            assert!(said.contains(part), "{said}");
        }
    }
}

//! What kubelets say of Pods that they cannot start.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;

use crate::cluster::Cluster;
use crate::events::happened_at;
use crate::look::Look;

/// The last warning about each Pod whose container does not run, by Pod. Nothing of those that cannot be read: they are
/// there for comfort.
pub(super) async fn events(cluster: &Cluster, look: &Look) -> BTreeMap<String, String> {
    let mut programs = look.controllers.iter().chain(&look.speakers).map(|told| &told.program);
    if programs.all(|program| program.down.is_none()) {
        return BTreeMap::new();
    }
    let events = cluster.of_namespace::<Event>(&cluster.system).await.unwrap_or_default();
    let mut programs = look.controllers.iter().chain(&look.speakers).map(|told| &told.program);
    let mut down = BTreeMap::new();
    programs.by_ref().filter(|it| it.down.is_some()).for_each(|program| {
        down.extend(last_warning(&program.pod, &events).map(|said| (program.pod.clone(), said)));
    });
    down
}

/// What helps where a kubelet says this of a Pod, if that is known.
pub(super) fn remedy(said: &str) -> Option<String> {
    let secret = said.contains("secret \"") && said.contains("not found");
    secret.then(|| {
        "make the Secret again: helm upgrade does, or kubectl create secret generic; the controller fills that of the gossip"
            .to_owned()
    })
}

/// The last warning about a Pod.
fn last_warning(pod: &str, events: &[Event]) -> Option<String> {
    let of_pod = events.iter().filter(|event| {
        let about = &event.involved_object;
        about.kind.as_deref() == Some("Pod")
            && about.name.as_deref() == Some(pod)
            && event.type_.as_deref() == Some("Warning")
            // That it is not ready, or starts again and again, is known.
            && !matches!(event.reason.as_deref(), Some("Unhealthy" | "BackOff"))
    });
    let said = of_pod.max_by_key(|event| happened_at(event))?.message.as_deref()?;
    Some(said.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|said| !said.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn of_each_pod_the_last_warning_counts_that_says_something_new() {
        let event = |pod: &str, kind: &str, reason: &str, at: &str, message: &str| -> Value {
            json!({
                "metadata": {"name": at}, "involvedObject": {"kind": "Pod", "name": pod}, "type": kind,
                "reason": reason, "message": message, "lastTimestamp": at,
            })
        };
        let events = [
            event("s-1", "Warning", "FailedMount", "2026-05-10T12:00:00Z", "secret \"a\" not\n found"),
            event("s-1", "Warning", "FailedMount", "2026-05-10T11:00:00Z", "earlier"),
            event("s-1", "Warning", "Unhealthy", "2026-05-10T13:00:00Z", "probe failed"),
            event("s-1", "Warning", "BackOff", "2026-05-10T13:00:00Z", "back-off"),
            event("s-1", "Normal", "Pulled", "2026-05-10T13:00:00Z", "pulled"),
            event("s-2", "Warning", "Failed", "2026-05-10T13:00:00Z", "another Pod"),
        ];
        let events: Vec<Event> =
            events.into_iter().map(|event| serde_json::from_value(event).unwrap()).collect();
        assert_eq!(last_warning("s-1", &events).as_deref(), Some("secret \"a\" not found"));
        assert_eq!(last_warning("s-3", &events), None);
        assert!(remedy("secret \"ferrolb-gossip\" not found").unwrap().contains("make the Secret again"));
        assert_eq!(remedy("image not found"), None);
    }
}

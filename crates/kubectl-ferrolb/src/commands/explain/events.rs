//! What FerroLB's programs have said of a Service, for those whose rights reach no further than its namespace.

use std::collections::BTreeMap;

use ipam::ServiceKey;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use crate::cluster::Cluster;
use crate::events::happened_at;

/// The names that the programs have in events.
const SOURCES: [&str; 2] = ["metallb-controller", "metallb-speaker"];
/// More are not looked at.
const MOST: u32 = 500;
/// So many are told.
const TOLD: usize = 4;

/// The last of each kind, the latest first, one sentence each. None where events may not be listed either: that they are
/// missing is told already.
pub(super) async fn last(cluster: &Cluster, key: &ServiceKey, uid: Option<&str>) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &key.namespace);
    let fields = format!("involvedObject.kind=Service,involvedObject.name={}", key.name);
    match events.list(&ListParams::default().fields(&fields).limit(MOST)).await {
        Ok(events) => told(&events.items, uid),
        Err(_) => vec![],
    }
}

fn told(events: &[Event], uid: Option<&str>) -> Vec<String> {
    let mut last: BTreeMap<&str, (Timestamp, &Event)> = BTreeMap::new();
    // Events outlive their objects, and one of the same name may have been made since.
    let of_another =
        |event: &Event| matches!((&event.involved_object.uid, uid), (Some(of), Some(uid)) if of != uid);
    for event in events.iter().filter(|event| is_ours(event) && !of_another(event)) {
        let (Some(at), Some(reason)) = (happened_at(event), event.reason.as_deref()) else { continue };
        if last.get(reason).is_none_or(|(then, _)| *then <= at) {
            last.insert(reason, (at, event));
        }
    }
    let mut last: Vec<(&str, (Timestamp, &Event))> = last.into_iter().collect();
    last.sort_by_key(|(_, (at, _))| std::cmp::Reverse(*at));
    let text = |(reason, (at, event)): (&str, (Timestamp, &Event))| {
        format!("{reason} at {at}: {}", event.message.as_deref().unwrap_or_default())
    };
    last.into_iter().take(TOLD).map(text).collect()
}

fn is_ours(event: &Event) -> bool {
    let source = event.source.as_ref().and_then(|it| it.component.as_deref());
    source.or(event.reporting_component.as_deref()).is_some_and(|it| SOURCES.contains(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_event_of_each_kind_is_told_and_none_of_others() {
        let event = |component: &str, reason: &str, at: &str, message: &str| -> Event {
            let it = json!({
                "metadata": {"name": at}, "involvedObject": {"kind": "Service", "name": "web"}, "reason": reason,
                "source": {"component": component}, "message": message, "lastTimestamp": at,
            });
            serde_json::from_value(it).unwrap()
        };
        let mut former =
            event("metallb-speaker", "addressConflict", "2026-05-10T11:30:00Z", "of the one before");
        former.involved_object.uid = Some("1".to_owned());
        let mut events = vec![
            former,
            event("metallb-controller", "AllocationFailed", "2026-05-10T10:00:00Z", "exhausted"),
            event("metallb-controller", "AllocationFailed", "2026-05-10T12:00:00Z", "quota"),
            event("metallb-speaker", "nodeAssigned", "2026-05-10T11:00:00Z", "announcing from node \"n1\""),
            event("service-controller", "EnsuringLoadBalancer", "2026-05-10T13:00:00Z", "Ensuring"),
        ];
        events[1].involved_object.uid = Some("2".to_owned());
        assert_eq!(told(&events, None).len(), 3);
        assert_eq!(
            told(&events, Some("2")),
            [
                "AllocationFailed at 2026-05-10T12:00:00Z: quota",
                "nodeAssigned at 2026-05-10T11:00:00Z: announcing from node \"n1\"",
            ]
        );
    }
}

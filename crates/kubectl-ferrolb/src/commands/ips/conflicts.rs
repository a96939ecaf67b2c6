//! Since when other hosts have addresses, by the events of the Services.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::IpRow;
use crate::client::{Failure, Why};
use crate::cluster::Cluster;
use crate::events::happened_at;

/// The events that tell of another host, by the state that the address is in.
const REASONS: [(&str, &str); 2] = [("conflict", "addressConflict"), ("not heard", "peerUnheard")];
/// More are not looked at.
const MOST: u32 = 1000;

/// Says of each address in conflict since when it is, as far as the API server still has the event. Returns why that cannot
/// be told.
pub(super) async fn since_of_conflicts(cluster: &Cluster, rows: &mut [IpRow]) -> Option<String> {
    for (state, reason) in REASONS {
        if rows.iter().all(|row| row.state != state) {
            continue;
        }
        let events: Api<Event> = Api::all(cluster.client.clone());
        let those =
            ListParams::default().fields(&format!("involvedObject.kind=Service,reason={reason}")).limit(MOST);
        let events = match events.list(&those).await {
            Ok(events) => events.items,
            Err(error) => {
                let (resource, why) = ("events".to_owned(), Why::of(&error));
                return Some(Failure { verb: "list", resource, namespace: None, why }.to_string());
            }
        };
        for row in rows.iter_mut().filter(|row| row.state == state) {
            row.since = since(row, &events).map(|since| since.to_string());
        }
    }
    None
}

/// The last event tells, as one is sent for each change: of one of its Services, with the address and who has it.
fn since(row: &IpRow, events: &[Event]) -> Option<Timestamp> {
    let mac = row.mac.as_ref()?;
    let told = |event: &&Event| {
        let object = &event.involved_object;
        let service = format!(
            "{}/{}",
            object.namespace.clone().unwrap_or_else(|| event.namespace().unwrap_or_default()),
            object.name.as_deref().unwrap_or_default()
        );
        let message = event.message.as_deref().unwrap_or_default();
        let words = || message.split(|letter: char| letter.is_whitespace() || letter == ',');
        row.services.contains(&service)
            && words().any(|word| word == row.ip)
            && mac.split(", ").all(|mac| words().any(|word| word == mac))
    };
    events.iter().filter(told).filter_map(happened_at).max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_event_of_this_address_and_host_tells_since_when() {
        let event = |service: &str, at: &str, message: &str| -> Event {
            serde_json::from_value(json!({
                "metadata": {}, "reason": "addressConflict", "message": message, "eventTime": at,
                "involvedObject": {"kind": "Service", "namespace": "default", "name": service},
            }))
            .unwrap()
        };
        let said = |mac: &str, ip: &str| {
            format!(
                "not announcing from node \"n1\": {mac} on eth0 has the address {ip} already. Take it away"
            )
        };
        let (early, late) = ("2026-05-10T11:00:00.000000Z", "2026-05-10T11:30:00.000000Z");
        let later = "2026-05-10T11:50:00.000000Z";
        let events = [
            event("web", early, &said("02:00:00:00:00:02", "192.0.2.1")),
            event("web", late, &said("02:00:00:00:00:02", "192.0.2.1")),
            event("web", later, &said("02:00:00:00:00:02", "192.0.2.11")),
            event("web", later, &said("02:00:00:00:00:03", "192.0.2.1")),
            event("other", later, &said("02:00:00:00:00:02", "192.0.2.1")),
        ];
        let row = |mac: Option<&str>| IpRow {
            ip: "192.0.2.1".to_owned(),
            pool: "lan".to_owned(),
            state: "conflict",
            services: vec!["default/web".to_owned()],
            node: None,
            mac: mac.map(str::to_owned),
            since: None,
            note: None,
        };
        assert_eq!(since(&row(Some("02:00:00:00:00:02")), &events), late.parse().ok());
        assert_eq!(since(&row(Some("02:00:00:00:00:09")), &events), None, "of that host nothing was told");
        assert_eq!(since(&row(None), &events), None);
    }
}

//! Which controller decides.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;

use crate::ask::Told;
use crate::client;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::programs::Part;

/// Who decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leader {
    /// This Pod.
    Pod(String),
    /// Nobody, and how that is known.
    Nobody(String),
    /// It is not known, and why where there is something to say.
    Unknown(Option<String>),
}

/// The Pod that decides, by its own word, else by the Lease.
pub(super) async fn leader(cluster: &Cluster, look: &Look) -> Leader {
    let leads = |told: &&Told| told.controller().is_some_and(|status| status.leads);
    if let Some(told) = look.controllers.iter().find(leads) {
        return Leader::Pod(told.program.pod.clone());
    }
    let Some(controller) = cluster.of_part(Part::Controller).next() else { return Leader::Unknown(None) };
    // That is told, with whom they wait for.
    if look.controllers.iter().any(|told| told.controller().is_some_and(|status| status.waits_for.is_some()))
    {
        return Leader::Unknown(None);
    }
    if look.controllers.iter().all(|told| told.controller().is_some()) {
        return Leader::Nobody("no replica leads, so nobody gets an address".to_owned());
    }
    let Some(name) = &controller.lease else { return Leader::Unknown(None) };
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.system);
    match client::get(&leases, &cluster.system, name).await {
        Ok(lease) => {
            let pods: Vec<&str> = cluster.of_part(Part::Controller).map(|it| it.pod.as_str()).collect();
            by_lease(name, lease.and_then(|lease| lease.spec).as_ref(), &pods, Timestamp::now())
        }
        Err(failure) => Leader::Unknown(Some(failure.to_string())),
    }
}

/// Who decides by what the Lease says, where nobody says so.
fn by_lease(name: &str, lease: Option<&LeaseSpec>, pods: &[&str], now: Timestamp) -> Leader {
    /// Clocks differ.
    const TOLERATED: i32 = 15;
    let nobody = |why: &str| Leader::Nobody(format!("no replica leads, so nobody gets an address: {why}"));
    let holder = lease.and_then(|lease| lease.holder_identity.clone()).filter(|holder| !holder.is_empty());
    let (Some(lease), Some(holder)) = (lease, holder) else {
        return nobody(&format!("none has taken the Lease {name}"));
    };
    let duration = lease.lease_duration_seconds.unwrap_or(0);
    let Some(renewed) = lease.renew_time.as_ref().map(|time| time.0) else {
        return nobody(&format!("{holder} has never renewed the Lease {name}"));
    };
    let since = now.duration_since(renewed).as_secs();
    if since > i64::from(duration.saturating_add(TOLERATED)) {
        return nobody(&format!("the Lease {name} has not been renewed for {since} s, by {holder}"));
    }
    // Whoever has gone may be named for some seconds.
    if pods.contains(&holder.as_str()) { Leader::Pod(holder) } else { Leader::Unknown(None) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_that_nobody_renews_any_more_makes_nobody_a_leader() {
        let now: Timestamp = "2026-05-10T12:00:00Z".parse().unwrap();
        let by = |lease: serde_json::Value| {
            let lease: Option<LeaseSpec> = serde_json::from_value(lease).unwrap();
            by_lease("it", lease.as_ref(), &["c-1", "c-2"], now)
        };
        let held = |by: &str, renewed: &str| json!({"holderIdentity": by, "leaseDurationSeconds": 15, "renewTime": format!("2026-05-10T{renewed}.000000Z")});
        assert_eq!(by(held("c-1", "11:59:50")), Leader::Pod("c-1".to_owned()));
        assert_eq!(by(held("c-1", "12:00:07")), Leader::Pod("c-1".to_owned()), "clocks differ");
        assert_eq!(by(held("c-0", "11:59:50")), Leader::Unknown(None), "somebody is about to take over");
        for (lease, part) in [
            (held("c-1", "11:55:00"), "not been renewed for 300 s, by c-1"),
            (held("c-0", "10:00:00"), "not been renewed for 7200 s, by c-0"),
            (json!({"holderIdentity": "c-1"}), "never renewed"),
            (json!({"holderIdentity": ""}), "none has taken the Lease it"),
            (json!(null), "none has taken the Lease it"),
        ] {
            let leader = by(lease.clone());
            assert!(matches!(&leader, Leader::Nobody(why) if why.contains(part)), "{lease}: {leader:?}");
        }
    }
}

//! etcd is restored from a backup under running controllers: versions go backwards.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::fixture::{Cluster, run, wait, wait_within};

/// Enough writes that nothing catches up with the versions of before soon.
const WRITES: usize = 400;

/// What the Lease was in the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Ours,
    Missing,
    HeldBySomebodyLongGone,
}

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.client.clone(), "metallb-system")
}

async fn holder(cluster: &Cluster) -> Option<String> {
    leases(cluster).get_opt("ferrolb-controller").await.ok()??.spec?.holder_identity
}

async fn restored(then: Then) {
    let mut cluster = Cluster::start().await;
    cluster.pool("lan", &["192.0.2.0/28"]).await;
    if then == Then::HeldBySomebodyLongGone {
        let gone = cluster.controller("long-gone", &[]);
        wait("a leader", async || (holder(&cluster).await? == "long-gone").then_some(())).await;
        gone.kill();
    }
    cluster.service("kept", json!({})).await;
    if then != Then::Ours {
        cluster.server.back_up().unwrap();
    }
    let controller = cluster.controller("c", &[]);
    wait("the first address", async || (!cluster.addresses("kept").await.is_empty()).then_some(())).await;
    if then == Then::Ours {
        for (name, ip) in [("low", "192.0.2.1"), ("high", "192.0.2.2")] {
            cluster.service(name, json!({})).await;
            cluster.wait_for_addresses(name, &[ip]).await;
        }
        cluster.services().delete("low", &DeleteParams::default()).await.unwrap();
        cluster.server.back_up().unwrap();
        // The lists of the restored state come one after the other: nobody is decided by a pool of now.
        cluster.pool("lan", &["192.0.2.9/32", "198.51.100.0/28"]).await;
        wait("another address", async || (cluster.addresses("high").await != ["192.0.2.2"]).then_some(()))
            .await;
    }
    for number in 0..WRITES {
        cluster
            .patch("kept", json!({"metadata": {"annotations": {"example.org/n": number.to_string()}}}))
            .await;
    }
    cluster.service("lost", json!({})).await;
    wait("an address", async || (!cluster.addresses("lost").await.is_empty()).then_some(())).await;

    cluster.server.restore().unwrap();
    let within = Duration::from_mins(1);
    wait_within(within, "the Lease to be renewed", async || {
        let lease = leases(&cluster).get_opt("ferrolb-controller").await.ok()??;
        let before = lease.spec.clone()?.renew_time;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let spec = leases(&cluster).get_opt("ferrolb-controller").await.ok()??.spec?;
        (spec.holder_identity? == "c" && spec.renew_time != before).then_some(())
    })
    .await;
    if then == Then::Ours {
        cluster.wait_for_addresses("high", &["192.0.2.2"]).await;
    }
    // A Service whose version is lower than the one that the controller knows is served as it says now.
    wait_within(within, "the address that is asked for", async || {
        let annotation = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "192.0.2.9"}}});
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(annotation));
        cluster.services().patch("kept", &parameters, &patch).await.ok()
    })
    .await;
    wait_within(within, "the new address", async || {
        (cluster.addresses("kept").await == ["192.0.2.9"]).then_some(())
    })
    .await;
    // One that was forgotten holds nothing any more.
    cluster.service("next", json!({"loadBalancerIP": "192.0.2.1"})).await;
    wait_within(within, "the address of a forgotten Service", async || {
        (cluster.addresses("next").await == ["192.0.2.1"]).then_some(())
    })
    .await;
    if then == Then::Ours {
        assert_eq!(cluster.addresses("high").await, ["192.0.2.2"]);
        let events = cluster.events("high").await;
        let given = events.iter().filter(|event| event.contains("IPAllocated"));
        assert!(given.count() <= 1, "since the backup was put back nobody has moved: {events:?}");
    }
    wait_within(within, "the report", async || cluster.report().await).await;
    assert_eq!(controller.exit_status(), None);
}

#[test]
fn a_leader_goes_on_after_a_restore() {
    run(restored(Then::Ours));
}

#[test]
fn a_leader_goes_on_after_a_restore_to_a_time_without_a_lease() {
    run(restored(Then::Missing));
}

#[test]
fn a_leader_goes_on_after_a_restore_to_a_time_when_somebody_else_led() {
    run(restored(Then::HeldBySomebodyLongGone));
}

#[test]
fn a_lease_that_somebody_deletes_is_made_again() {
    run(async {
        let cluster = Cluster::start().await;
        let _controller = cluster.controller("c", &[]);
        for _ in 0..3 {
            wait("its Lease", async || (holder(&cluster).await? == "c").then_some(())).await;
            leases(&cluster).delete("ferrolb-controller", &DeleteParams::default()).await.unwrap();
        }
        wait("its Lease", async || (holder(&cluster).await? == "c").then_some(())).await;
    });
}

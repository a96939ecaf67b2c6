//! What users see: addresses, events and statuses.

use kube::api::ListParams;
use serde_json::json;

use crate::fixture::{Cluster, run, wait};

#[test]
fn services_get_addresses_in_order_and_say_which_pool_they_are_from() {
    run(async {
        let cluster = Cluster::start().await;
        let _controller = cluster.controller("c", &[]);
        cluster.pool("lan", &["192.0.2.8/31", "192.0.2.1-192.0.2.2", "2001:db8::/64"]).await;
        let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
        let v6 = json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"});
        for (name, spec, expected) in [
            ("a", json!({}), vec!["192.0.2.8"]),
            ("b", dual, vec!["192.0.2.9", "2001:db8::"]),
            ("c", v6, vec!["2001:db8::1"]),
            ("d", json!({}), vec!["192.0.2.1"]),
        ] {
            cluster.service(name, spec).await;
            cluster.wait_for_addresses(name, &expected).await;
        }
        let service = cluster.services().get("a").await.unwrap();
        assert_eq!(service.metadata.annotations.unwrap()["metallb.io/ip-allocated-from-pool"], "lan");
        cluster.wait_for_event("a", "IPAllocated: Assigned IP [\"192.0.2.8\"]").await;
        let full = json!({
            "assignedIPv4": 3, "availableIPv4": 1, "assignedIPv6": 2, "availableIPv6": i64::MAX - 2,
        });
        wait("the counters of the pool", async || {
            let mut status = cluster.pool_status("lan").await;
            status.as_object_mut()?.remove("conditions");
            (status == full).then_some(())
        })
        .await;

        cluster.delete("a").await;
        cluster.service("e", json!({})).await;
        cluster.wait_for_addresses("e", &["192.0.2.8"]).await;
        cluster.patch("e", json!({"spec": {"type": "ClusterIP"}})).await;
        cluster.wait_for_addresses("e", &[]).await;
        cluster.service("f", json!({})).await;
        cluster.wait_for_addresses("f", &["192.0.2.8"]).await;
        cluster.default_space().has_no_annotations("e").await;
    });
}

#[test]
fn whoever_waits_is_told_why_and_served_as_soon_as_there_is_something() {
    run(async {
        let cluster = Cluster::start().await;
        let _controller = cluster.controller("c", &[]);
        cluster.service("first", json!({})).await;
        cluster.wait_for_event("first", "there is no IPAddressPool").await;
        cluster.pool("tiny", &["192.0.2.1/32"]).await;
        cluster.wait_for_addresses("first", &["192.0.2.1"]).await;
        cluster.service("second", json!({})).await;
        cluster.wait_for_event("second", "pool tiny: exhausted (1 of 1)").await;
        let accepted = async |name: &str| {
            let status = cluster.pool_status(name).await;
            let condition = &status["conditions"][0];
            Some((condition["status"].as_str()?.to_owned(), condition["reason"].as_str()?.to_owned()))
        };
        let becomes = async |name: &str, status: &str, reason: &str| {
            let expected = (status.to_owned(), reason.to_owned());
            wait(&format!("{name} to be {expected:?}"), async || {
                (accepted(name).await? == expected).then_some(())
            })
            .await;
        };
        // Of two that are created within one second, the one that says so was first.
        becomes("tiny", "True", "Valid").await;
        cluster.pool("overlapping", &["192.0.2.0/24"]).await;
        cluster.wait_for_event("overlapping", "overlaps 192.0.2.1 of IPAddressPool tiny").await;
        becomes("overlapping", "False", "Overlap").await;
        becomes("tiny", "True", "ValidWithWarnings").await;
        wait("the report to name it", async || {
            let summary = cluster.report().await?["errorSummary"].as_str()?.to_owned();
            summary.starts_with("IPAddressPool overlapping: ").then_some(())
        })
        .await;
        cluster.delete_pool("tiny").await;
        wait("the report to be good", async || (cluster.report().await?["result"] == "Valid").then_some(()))
            .await;
        becomes("overlapping", "True", "Valid").await;
        cluster.wait_for_addresses("second", &["192.0.2.0"]).await;
        assert_eq!(cluster.addresses("first").await, ["192.0.2.1"], "it passes to the other pool");
    });
}

#[test]
fn services_of_other_types_and_classes_are_never_written_to() {
    run(async {
        let cluster = Cluster::start().await;
        let _controller = cluster.controller("c", &[]);
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let others = [
            ("cluster-ip", json!({"type": "ClusterIP"})),
            ("headless", json!({"type": "ClusterIP", "clusterIP": "None"})),
            ("node-port", json!({"type": "NodePort"})),
            ("external-name", json!({"type": "ExternalName", "externalName": "example.com"})),
            ("other-class", json!({"loadBalancerClass": "example.com/other"})),
        ];
        let version =
            async |name: &str| cluster.services().get(name).await.unwrap().metadata.resource_version;
        let mut before = Vec::new();
        for (name, spec) in &others {
            cluster.service(name, spec.clone()).await;
            before.push(version(name).await);
        }
        // Served after all of them were seen.
        cluster.service("ours", json!({})).await;
        cluster.wait_for_addresses("ours", &["192.0.2.0"]).await;
        for ((name, _), before) in others.iter().zip(before) {
            assert_eq!(version(name).await, before, "{name}");
            assert!(cluster.addresses(name).await.is_empty(), "{name}");
        }
    });
}

#[test]
fn a_restart_keeps_every_address_and_writes_nothing() {
    run(async {
        let cluster = Cluster::start().await;
        cluster.pool("lan", &["192.0.2.0/28"]).await;
        let controller = cluster.controller("c", &[]);
        for name in ["a", "b", "c"] {
            cluster.service(name, json!({})).await;
            wait("an address", async || (!cluster.addresses(name).await.is_empty()).then_some(())).await;
        }
        cluster.delete("a").await;
        controller.kill();
        let before = cluster.services().list(&ListParams::default()).await.unwrap();
        let _controller = cluster.controller("c", &[]);
        cluster.service("d", json!({})).await;
        cluster.wait_for_addresses("d", &["192.0.2.0"]).await;
        for service in before {
            let name = service.metadata.name.unwrap();
            let now = cluster.services().get(&name).await.unwrap();
            assert_eq!(now.metadata.resource_version, service.metadata.resource_version, "{name}");
        }
    });
}

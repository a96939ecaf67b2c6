//! Which pool is used, and what becomes of Services when pools, namespaces and Services change.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, wait};
use crate::space::{Space, in_space};

async fn label_namespace(space: &Space<'_>, labels: Value) {
    let api: Api<Namespace> = Api::all(space.cluster.client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    api.patch(&space.namespace, &PatchParams::default(), &patch).await.unwrap();
}

#[test]
fn pinned_pools_are_tried_by_priority_and_zero_is_last() {
    in_space(async |space| {
        for (name, priority) in [("a-last", 0), ("second", 20), ("first", 10)] {
            let third = priority;
            let addresses = json!([format!("10.N.{third}.1/32")]);
            space
                .pool(name, json!({"addresses": addresses, "serviceAllocation": {"priority": priority}}))
                .await;
        }
        for (name, expected) in [("a", "10.N.10.1"), ("b", "10.N.20.1"), ("c", "10.N.0.1")] {
            space.gets(name, json!({}), &[expected]).await;
        }
        space.service("d", json!({})).await;
        space.hears("d", "pool NS-a-last: exhausted (1 of 1); pool NS-first: exhausted (1 of 1)").await;
    });
}

#[test]
fn namespace_and_service_must_both_be_selected_and_of_each_list_one_entry_is_enough() {
    in_space(async |space| {
        let allocation = json!({
            "namespaces": ["somewhere-else"],
            "namespaceSelectors": [{"matchLabels": {"NS": "none"}}, {"matchLabels": {"NS": "gold"}}],
            "serviceSelectors": [
                {"matchLabels": {"app": "none"}},
                {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]},
            ],
        });
        space.pool("p", json!({"addresses": ["10.N.0.0/24"], "serviceAllocation": allocation})).await;
        let labelled = |app: &str| json!({"metadata": {"labels": {"app": app}}});
        space.service("web", labelled("web")).await;
        space.service("db", labelled("db")).await;
        space.hears("web", "pool NS-p: namespace NS is not selected").await;
        label_namespace(space, json!({&space.namespace: "gold"})).await;
        space.has("web", &["10.N.0.0"]).await;
        space.hears("db", "pool NS-p: the labels are not selected").await;
        let naming = json!({"metadata": {"labels": {"app": "db"}, "annotations": {"metallb.io/address-pool": "NS-p"}}});
        space.service("named", naming).await;
        space.hears("named", "pool NS-p does not select the labels of this service").await;
        space.patch("db", labelled("api")).await;
        space.has("db", &["10.N.0.1"]).await;
        space.patch("web", labelled("other")).await;
        space.has("web", &[]).await;
        space.hears("web", "ClearAssignment: ").await;
        label_namespace(space, json!({&space.namespace: null})).await;
        space.has("db", &[]).await;
    });
}

#[test]
fn when_a_pool_goes_shrinks_or_is_replaced_services_follow() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/30"]})).await;
        for (name, ip) in [("a", "10.N.0.0"), ("b", "10.N.0.1"), ("c", "10.N.0.2")] {
            space.gets(name, json!({}), &[ip]).await;
        }
        space.pool("p", json!({"addresses": ["10.N.0.1/32", "10.N.9.0/24"]})).await;
        space.has("a", &["10.N.9.0"]).await;
        space.has("b", &["10.N.0.1"]).await;
        space.has("c", &["10.N.9.1"]).await;
        space.hears("a", "ClearAssignment: current IP for \"NS/a\" not allowed by config").await;
        space.hears_times("b", "ClearAssignment", 0).await;
        // The new one overlaps, so that it waits until the old one is gone.
        space.pool("q", json!({"addresses": ["10.N.9.0/24"]})).await;
        space.delete_pool("p").await;
        space.has("b", &["10.N.9.2"]).await;
        space.has("a", &["10.N.9.0"]).await;
        wait("the annotation to name the new pool", async || {
            let annotations = space.services().get("a").await.unwrap().metadata.annotations.unwrap();
            (annotations["metallb.io/ip-allocated-from-pool"] == space.fill("NS-q")).then_some(())
        })
        .await;
        space.pool("q", json!({"addresses": ["10.N.9.0/25"], "autoAssign": false})).await;
        space.counts("q", [3, 0, 125, 0]).await;
        space.service("late", json!({})).await;
        space.hears("late", "pool NS-q: autoAssign is off").await;
        space.has("a", &["10.N.9.0"]).await;
        space.delete_pool("q").await;
        space.has("a", &[]).await;
    });
}

#[test]
fn buggy_addresses_are_left_out_and_not_counted() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.254-10.N.1.1"], "avoidBuggyIPs": true})).await;
        space.gets("a", json!({}), &["10.N.0.254"]).await;
        space.gets("b", json!({}), &["10.N.1.1"]).await;
        space.counts("p", [2, 0, 0, 0]).await;
        space.service("c", json!({"spec": {"loadBalancerIP": "10.N.0.255"}})).await;
        space.hears("c", "10.N.0.255 is in no IPAddressPool").await;
    });
}

#[test]
fn a_type_change_gives_the_address_back_and_a_hand_that_writes_status_is_corrected() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/31"]})).await;
        space.gets("a", json!({}), &["10.N.0.0"]).await;
        space.gets("b", json!({}), &["10.N.0.1"]).await;
        space.service("waiting", json!({})).await;
        space.hears("waiting", "exhausted (2 of 2)").await;
        for theirs in [&["10.N.0.1"][..], &["203.0.113.1"], &["10.N.0.0", "10.N.0.1"], &[]] {
            space.edit_status("a", theirs).await;
            space.has("a", &["10.N.0.0"]).await;
        }
        space.patch("a", json!({"spec": {"type": "NodePort"}})).await;
        space.has("waiting", &["10.N.0.0"]).await;
        space.has_no_annotations("a").await;
        space.delete("b").await;
        space.patch("a", json!({"spec": {"type": "LoadBalancer"}})).await;
        space.has("a", &["10.N.0.1"]).await;
        space.delete("waiting").await;
        space.edit_status("a", &["10.N.0.0"]).await;
        space.gets("new", json!({}), &["10.N.0.1"]).await;
        space.has("a", &["10.N.0.0"]).await;
    });
}

#[test]
fn only_services_of_its_class_are_served_and_one_that_leaves_it_is_cleared() {
    run(async {
        let cluster = Cluster::start().await;
        let _controller = cluster.controller("class", &["--lb-class=example.com/lb"]);
        let space = cluster.default_space();
        cluster.pool("p", &["10.0.0.0/31"]).await;
        let class = |class: &str| json!({"spec": {"loadBalancerClass": class}});
        space.service("none", json!({})).await;
        space.service("other", class("example.com/other")).await;
        space.gets("ours", class("example.com/lb"), &["10.0.0.0"]).await;
        assert!(space.addresses("none").await.is_empty() && space.addresses("other").await.is_empty());
        space.patch("ours", json!({"spec": {"type": "ClusterIP", "loadBalancerClass": null}})).await;
        space.gets("next", class("example.com/lb"), &["10.0.0.0"]).await;
        space.has_no_annotations("ours").await;
        // It comes back as one that is for anybody else.
        space.patch("ours", json!({"spec": {"type": "LoadBalancer"}})).await;
        space.gets("last", class("example.com/lb"), &["10.0.0.1"]).await;
        assert!(space.addresses("ours").await.is_empty());
    });
}

//! Server-side apply by several field managers: the last one's list stands, as with upstream's definitions.

use serde_json::{Value, json};

use crate::fixture::Cluster;

#[tokio::test]
async fn the_last_list_stands() {
    let lists = [
        ("v1beta1 IPAddressPool", json!({}), "addresses", json!(["192.0.2.0/28"]), json!(["192.0.2.0/29"])),
        (
            "v1beta1 IPAddressPool",
            json!({"addresses": ["192.0.2.0/24"]}),
            "serviceAllocation",
            json!({"namespaces": ["a"]}),
            json!({"namespaces": ["b"]}),
        ),
        ("v1beta1 L2Advertisement", json!({}), "ipAddressPools", json!(["a"]), json!(["b"])),
        ("v1beta1 L2Advertisement", json!({}), "interfaces", json!(["a"]), json!(["b"])),
        (
            "v1beta1 L2Advertisement",
            json!({}),
            "nodeSelectors",
            json!([selector("a")]),
            json!([selector("b")]),
        ),
        (
            "v1beta1 L2Advertisement",
            json!({}),
            "preferredNodeSelectors",
            json!([{"weight": 1, "preference": selector("a")}]),
            json!([{"weight": 1, "preference": selector("b")}]),
        ),
        ("v1beta1 BGPAdvertisement", json!({}), "communities", json!(["1:1"]), json!(["1:2"])),
        ("v1beta1 BGPAdvertisement", json!({}), "peers", json!(["a"]), json!(["b"])),
        (
            "v1beta1 Community",
            json!({}),
            "communities",
            json!([{"name": "a", "value": "1:1"}]),
            json!([{"name": "b", "value": "1:2"}]),
        ),
        (
            "v1beta2 BGPPeer",
            json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"}),
            "passwordSecret",
            json!({"name": "a", "namespace": "a"}),
            json!({"name": "b"}),
        ),
    ];
    let cluster = Cluster::join().await;
    for (index, (type_, mut spec, field, first, last)) in lists.into_iter().enumerate() {
        let (version, kind) = type_.split_once(' ').unwrap();
        let name = format!("merged-{index}");
        for (manager, value) in [("one", &first), ("two", &last)] {
            spec[field] = value.clone();
            let manifest = json!({
                "apiVersion": format!("metallb.io/{version}"), "kind": kind,
                "metadata": {"name": name}, "spec": spec,
            });
            cluster.apply_as(manager, manifest).await.unwrap();
        }
        let stored = cluster.get(version, kind, &name, "spec").await;
        assert_eq!(stored[field], last, "{kind} {field}");
    }
}

fn selector(zone: &str) -> Value {
    json!({"matchLabels": {"zone": zone}})
}

/// As with upstream's definitions, in which nothing is nullable: the API server takes every null out of what is
/// created, and out of what is applied by server-side apply where there is a default.
#[tokio::test]
async fn a_null_is_no_value() {
    let cluster = Cluster::join().await;
    let pool = |name: &str, spec: &Value| {
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name}, "spec": spec,
        })
    };
    let with_nulls = json!({"addresses": ["192.0.2.0/24"], "autoAssign": null, "avoidBuggyIPs": null});
    // A second time too, when the fields have an owner.
    for _ in 0..2 {
        cluster.apply(pool("null-applied", &with_nulls)).await.unwrap();
    }
    let stored = json!({"addresses": ["192.0.2.0/24"], "autoAssign": true, "avoidBuggyIPs": false});
    assert_eq!(cluster.get("v1beta1", "IPAddressPool", "null-applied", "spec").await, stored);
    for allocation in [
        json!(null),
        json!({"priority": null, "namespaces": null}),
        json!({"serviceSelectors": [{"matchLabels": null}]}),
    ] {
        let mut spec = stored.clone();
        spec["serviceAllocation"] = allocation;
        cluster.try_create(pool("null-created", &spec)).await.unwrap();
        let refusal = cluster.apply(pool("null-applied", &spec)).await.unwrap_err();
        assert!(refusal.contains("in body must be of type"), "{spec}: {refusal}");
    }
    let refusal = cluster.try_create(pool("null-created", &json!({"addresses": null}))).await.unwrap_err();
    assert!(refusal.contains("spec.addresses: Required value"), "{refusal}");
}

//! Large objects: there is a limit only where the rules need one, and it is out of people's reach.

use serde_json::{Value, json};

use crate::fixture::Cluster;

/// `count` different texts.
fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(text).collect()
}

async fn accepts(kind: &str, spec: Value) {
    let manifest = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": {"name": "large"}, "spec": spec,
    });
    let cluster = Cluster::join().await;
    if let Err(refusal) = cluster.try_create(manifest).await {
        panic!("{kind}: {}", &refusal[..refusal.len().min(2000)]);
    }
}

#[tokio::test]
async fn a_pool_may_have_thousands_of_entries() {
    let [a, b] = [|n: usize| n / 250, |n: usize| n % 250];
    for count in [16, 1100, 4096] {
        accepts(
            "IPAddressPool",
            json!({"addresses": numbered(count, |n| format!("10.{}.{}.0/24", a(n), b(n)))}),
        )
        .await;
        let ranges = numbered(count, |n| format!("110.{}.{}.100 - 110.{}.{}.200", a(n), b(n), a(n), b(n)));
        accepts("IPAddressPool", json!({"addresses": ranges})).await;
        let ranges = numbered(count, |n| {
            format!("fd00:1111:2222:3333:4444:5555:6666:{n:x}-fd00:1111:2222:3333:4444:5555:6666:{n:x}")
        });
        accepts("IPAddressPool", json!({"addresses": ranges})).await;
    }
    let allocation = json!({"namespaces": numbered(4096, |n| format!("team-of-a-rather-long-name-{n}"))});
    accepts("IPAddressPool", json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": allocation})).await;
}

#[tokio::test]
async fn names_may_be_as_many_and_as_long_as_anybody_has() {
    for (count, length) in [(16, 253), (300, 253), (4096, 100)] {
        let names = numbered(count, |n| format!("{n:0length$}"));
        accepts("L2Advertisement", json!({"ipAddressPools": names, "interfaces": names})).await;
        accepts("BGPAdvertisement", json!({"ipAddressPools": names, "peers": names, "communities": names}))
            .await;
        let allocation = json!({"namespaces": names});
        accepts("IPAddressPool", json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": allocation}))
            .await;
        let aliases: Vec<Value> =
            names.iter().map(|name| json!({"name": name, "value": "large:1:2:3"})).collect();
        accepts("Community", json!({"communities": aliases})).await;
    }
    let communities = numbered(4096, |n| format!("large:4294967295:4294967295:{n}"));
    accepts("BGPAdvertisement", json!({"communities": communities})).await;
}

#[tokio::test]
async fn selectors_have_no_limit() {
    let selectors: Vec<Value> = (0..5000)
        .map(
            |n| json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": [format!("z{n}")]}]}),
        )
        .collect();
    accepts("L2Advertisement", json!({"nodeSelectors": selectors})).await;
    let values = numbered(20_000, |n| format!("z{n}"));
    let selector = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": values}]});
    accepts("L2Advertisement", json!({"serviceSelectors": [selector]})).await;
}

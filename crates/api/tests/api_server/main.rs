//! What a real API server makes of the CRDs: that it takes them at all, which manifests it accepts, and what
//! it says to those that it refuses.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod conversion;
mod fixture;
mod limits;
mod merging;
mod refused;

use fixture::Cluster;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[tokio::test]
async fn manifests_written_for_metallb_are_accepted() {
    let cluster = Cluster::join().await;
    for manifest in accepted() {
        if let Err(refusal) = cluster.try_apply(manifest.clone()).await {
            panic!("{refusal}, for {manifest:#}");
        }
    }
}

/// Where a rule is stricter than upstream's, whoever changes something else has to correct an old object first.
#[tokio::test]
async fn a_label_can_be_given_to_whatever_upstream_takes() {
    let cluster = Cluster::join().await;
    for mut manifest in accepted() {
        let [kind, name] = ["/kind", "/metadata/name"]
            .map(|path| manifest.pointer(path).unwrap().as_str().unwrap().to_owned());
        let name = format!("labelled-{name}");
        manifest["metadata"]["name"] = json!(name);
        let version = manifest["apiVersion"].as_str().unwrap().trim_start_matches("metallb.io/").to_owned();
        cluster.apply(manifest).await.unwrap();
        cluster.label(&version, &kind, &name).await.unwrap();
    }
}

#[test]
fn the_types_read_what_is_accepted() {
    fn reads<T: DeserializeOwned>(manifest: &Value) -> Result<(), serde_json::Error> {
        T::deserialize(manifest).map(drop)
    }
    for manifest in accepted() {
        let read = match manifest["kind"].as_str().unwrap() {
            "BFDProfile" => reads::<api::BFDProfile>,
            "BGPAdvertisement" => reads::<api::BGPAdvertisement>,
            "BGPPeer" => reads::<api::BGPPeer>,
            "Community" => reads::<api::Community>,
            "ConfigurationState" => reads::<api::ConfigurationState>,
            "IPAddressPool" => reads::<api::IPAddressPool>,
            "L2Advertisement" => reads::<api::L2Advertisement>,
            "ServiceBGPStatus" => reads::<api::ServiceBGPStatus>,
            "ServiceL2Status" => reads::<api::ServiceL2Status>,
            other => panic!("{other} is no kind of ours"),
        };
        if let Err(error) = read(&manifest) {
            panic!("{error}, for {manifest:#}");
        }
    }
}

#[tokio::test]
async fn a_wrong_manifest_is_refused_with_what_to_write_instead() {
    let cluster = Cluster::join().await;
    let tables = [
        refused::pools(),
        refused::node_address_pools(),
        refused::address_reservations(),
        refused::l2_advertisements(),
        refused::bgp_advertisements(),
        refused::bgp_peers(),
        refused::old_bgp_peers(),
        refused::bfd_profiles(),
        refused::communities(),
    ];
    let mut surprises = Vec::new();
    for (type_, spec, expected) in tables.into_iter().flatten() {
        let (version, kind) = type_.split_once(' ').unwrap();
        let manifest = json!({
            "apiVersion": format!("{}/{version}", group_of(kind)), "kind": kind,
            "metadata": {"name": "wrong"}, "spec": spec,
        });
        match cluster.try_create(manifest).await {
            Ok(()) => surprises.push(format!("{kind} {spec} was accepted")),
            // One mistake, one sentence: the next one would begin with its field.
            Err(refusal) if refusal.contains(expected) && !refusal.contains(", spec") => {}
            Err(refusal) => surprises.push(format!("{kind} {spec} was refused with: {refusal}")),
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[tokio::test]
async fn a_pool_of_nodes_can_say_all_or_nothing() {
    let cluster = Cluster::join().await;
    let every_field = json!({
        "nodeSelectors": [{"matchLabels": {"edge": "true"}}], "addresses": "Internal", "autoAssign": false,
        "serviceAllocation": {"priority": 1, "namespaces": ["prod"]},
        "protectedPorts": ["22", "UDP/8000-8010"], "protectListeners": false, "k3sLabels": true,
    });
    for (name, spec) in [("empty", json!({})), ("full", every_field)] {
        let pool = json!({
            "apiVersion": "ferrolb.io/v1alpha1", "kind": "NodeAddressPool",
            "metadata": {"name": name}, "spec": spec,
        });
        cluster.apply(pool).await.unwrap();
        let spec = cluster.get("v1alpha1", "NodeAddressPool", name, "spec").await;
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let (_, unreadable) = serde_json::from_value::<api::NodeAddressPool>(object).unwrap().read();
        assert!(unreadable.is_empty(), "{unreadable:?}");
    }
    let filled_in = cluster.get("v1alpha1", "NodeAddressPool", "empty", "spec").await;
    assert_eq!(filled_in["protectedPorts"][0], "TCP/22", "people see what is protected: {filled_in}");
}

#[tokio::test]
async fn a_reservation_keeps_its_pool_and_its_families_for_life() {
    let cluster = Cluster::join().await;
    let reservation = |name: &str, spec: Value| {
        json!({
            "apiVersion": "ferrolb.io/v1alpha1", "kind": "AddressReservation",
            "metadata": {"name": name}, "spec": spec,
        })
    };
    let both =
        json!({"addresses": ["192.0.2.1", "2001:db8::1"], "serviceSelectors": [{"matchLabels": {"a": "b"}}]});
    cluster.apply(reservation("named", both)).await.unwrap();
    cluster.apply(reservation("chosen", json!({"pool": "lan"}))).await.unwrap();
    let moved = json!({"pool": "dmz"});
    let refusal = cluster.apply(reservation("chosen", moved)).await.unwrap_err();
    assert!(refusal.contains("the pool stays, for its address is chosen once"), "{refusal}");
    cluster.apply(reservation("chosen", json!({"pool": "lan"}))).await.unwrap();
    for (name, families) in [("chosen", json!(["IPv4"])), ("six", json!(["IPv6", "IPv4"]))] {
        if name != "chosen" {
            let six = json!({"pool": "lan", "ipFamilies": ["IPv6"]});
            cluster.apply(reservation(name, six)).await.unwrap();
        }
        let other = json!({"pool": "lan", "ipFamilies": families});
        let refusal = cluster.apply(reservation(name, other)).await.unwrap_err();
        assert!(refusal.contains("ipFamilies stays beside a pool"), "{refusal}");
    }
}

fn group_of(kind: &str) -> String {
    api::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap().spec.group
}

#[tokio::test]
async fn both_versions_of_a_peer_show_and_keep_all_of_it() {
    let cluster = Cluster::join().await;
    let mut spec = json!({
        "myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "peerPort": 1790, "vrf": "red",
        "connectTime": "10s", "disableMP": false, "dualStackAddressFamily": true,
    });
    cluster.apply(peer("v1beta2", "both", &spec)).await.unwrap();
    assert_eq!(cluster.get("v1beta1", "BGPPeer", "both", "spec").await, spec);

    spec["peerAddress"] = json!("192.0.2.2");
    cluster.change("v1beta1", "BGPPeer", "both", json!({"peerAddress": "192.0.2.2"})).await;
    assert_eq!(cluster.get("v1beta2", "BGPPeer", "both", "spec").await, spec);
}

#[tokio::test]
async fn a_peer_written_in_the_old_version_gets_the_defaults_of_the_new() {
    let cluster = Cluster::join().await;
    let mut spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "holdTime": "90s"});
    cluster.apply(peer("v1beta1", "old", &spec)).await.unwrap();
    spec["peerPort"] = json!(179);
    spec["disableMP"] = json!(false);
    spec["dualStackAddressFamily"] = json!(false);
    assert_eq!(cluster.get("v1beta2", "BGPPeer", "old", "spec").await, spec);
}

#[tokio::test]
async fn graceful_restart_is_immutable() {
    let cluster = Cluster::join().await;
    let restart = |on: bool| {
        let spec = json!({"myASN": 1, "peerASN": 2, "peerAddress": "192.0.2.1", "enableGracefulRestart": on});
        peer("v1beta2", "restart", &spec)
    };
    cluster.apply(restart(true)).await.unwrap();
    let refusal = cluster.apply(restart(false)).await.unwrap_err();
    assert!(refusal.contains("spec.enableGracefulRestart: Invalid value"), "{refusal}");
    assert!(refusal.contains("the field is immutable: delete the object"), "{refusal}");
}

#[tokio::test]
async fn what_a_status_is_about_is_immutable() {
    let cluster = Cluster::join().await;
    let list = [
        ("ServiceL2Status", json!({"interfaces": [{"name": "eth0"}]})),
        ("ServiceBGPStatus", json!({"peers": ["tor"]})),
    ];
    for (kind, change) in list {
        let object = json!({"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": {"name": "web"}});
        cluster.apply(object).await.unwrap();
        let mut status = json!({"node": "a", "serviceName": "web", "serviceNamespace": "default"});
        cluster.change_status(kind, "web", status.clone()).await.unwrap();
        cluster.change_status(kind, "web", change.clone()).await.unwrap();
        status.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(cluster.get("v1beta1", kind, "web", "status").await, status);

        for field in ["node", "serviceName", "serviceNamespace"] {
            let refusal = cluster.change_status(kind, "web", json!({field: "other"})).await.unwrap_err();
            assert!(refusal.contains(&format!("status.{field}: Invalid value")), "{kind}: {refusal}");
            assert!(refusal.contains("the field is immutable: delete the object"), "{kind}: {refusal}");
        }
    }
}

fn accepted() -> Vec<Value> {
    let documents = [include_str!("accepted.yaml"), include_str!("odd.yaml")];
    documents
        .into_iter()
        .flat_map(|text| text.split("\n---\n"))
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

fn peer(version: &str, name: &str, spec: &Value) -> Value {
    let version = format!("{}/{version}", api::GROUP);
    json!({"apiVersion": version, "kind": "BGPPeer", "metadata": {"name": name}, "spec": spec})
}

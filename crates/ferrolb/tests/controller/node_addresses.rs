//! Services that get the addresses of nodes.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, wait};

const POOLS: &[&str] = &["--node-address-pools"];

/// A node that is ready or not.
async fn node(cluster: &Cluster, name: &str, address: &str, labels: Value, ready: bool) {
    let api: Api<Node> = Api::all(cluster.client.clone());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    let apply = PatchParams::apply("test").force();
    api.patch(name, &apply, &Patch::Apply(node)).await.unwrap();
    let ready = if ready { "True" } else { "Unknown" };
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
        "conditions": [{"type": "Ready", "status": ready}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

fn api_of(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("ferrolb.io", "v1alpha1", "NodeAddressPool");
    let resource = ApiResource::from_gvk_with_plural(&kind, "nodeaddresspools");
    Api::namespaced_with(cluster.client.clone(), "metallb-system", &resource)
}

async fn pool(cluster: &Cluster, spec: Value) {
    let pool = json!({
        "apiVersion": "ferrolb.io/v1alpha1", "kind": "NodeAddressPool",
        "metadata": {"name": "nodes"}, "spec": spec,
    });
    let apply = PatchParams::apply("test").force();
    wait("the pool to be taken", async || {
        api_of(cluster).patch("nodes", &apply, &Patch::Apply(&pool)).await.ok()
    })
    .await;
}

/// Where the ready endpoints of a Service are.
async fn endpoints(cluster: &Cluster, service: &str, nodes: &[&str]) {
    let endpoint =
        |node: &&str| json!({"addresses": ["10.244.0.9"], "nodeName": node, "conditions": {"ready": true}});
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
    });
    let api: Api<EndpointSlice> = Api::default_namespaced(cluster.client.clone());
    let apply = PatchParams::apply("test").force();
    api.patch(service, &apply, &Patch::Apply(slice)).await.unwrap();
}

async fn two_nodes() -> Cluster {
    let cluster = Cluster::start().await;
    node(&cluster, "n1", "10.9.0.1", json!({}), true).await;
    node(&cluster, "n2", "10.9.0.2", json!({}), true).await;
    cluster
}

#[test]
fn services_get_the_addresses_of_the_nodes_that_serve_them() {
    run(async {
        let cluster = two_nodes().await;
        let _controller = cluster.controller("a", POOLS);
        pool(&cluster, json!({})).await;
        cluster.service("web", json!({})).await;
        cluster.wait_for_addresses("web", &["10.9.0.1", "10.9.0.2"]).await;
        let service = cluster.services().get("web").await.unwrap();
        let annotations = service.metadata.annotations.unwrap();
        assert_eq!(annotations["metallb.io/ip-allocated-from-pool"], "nodes");
        assert_eq!(annotations["ferrolb.io/node-addresses"], "true");
        let status = wait("the status of the pool", async || {
            let status = api_of(&cluster).get("nodes").await.unwrap().data["status"].clone();
            (status["services"] == 1).then_some(status)
        })
        .await;
        assert_eq!(status["nodes"], 2);
        assert_eq!(status["conditions"][0]["status"], "True");

        // A node goes, the port is asked for again, and endpoints move.
        node(&cluster, "n2", "10.9.0.2", json!({}), false).await;
        cluster.wait_for_addresses("web", &["10.9.0.1"]).await;
        cluster.service("again", json!({})).await;
        cluster.wait_for_event("again", "port TCP/80 of node n1 is in use by default/web").await;
        let local = json!({"externalTrafficPolicy": "Local", "ports": [{"port": 81}]});
        endpoints(&cluster, "local", &["n1"]).await;
        cluster.service("local", local).await;
        cluster.wait_for_addresses("local", &["10.9.0.1"]).await;
        endpoints(&cluster, "local", &[]).await;
        cluster.wait_for_addresses("local", &[]).await;
        cluster.service("shell", json!({"ports": [{"port": 22}]})).await;
        cluster.wait_for_event("shell", "port TCP/22 of nodes is protected").await;

        cluster.delete("web").await;
        cluster.wait_for_addresses("again", &["10.9.0.1"]).await;
        api_of(&cluster).delete("nodes", &DeleteParams::default()).await.unwrap();
        cluster.wait_for_addresses("again", &[]).await;
        let service = cluster.services().get("again").await.unwrap();
        let annotations = service.metadata.annotations.unwrap_or_default();
        assert!(!annotations.contains_key("ferrolb.io/node-addresses"), "{annotations:?}");
    });
}

#[test]
fn labels_of_k3s_choose_and_what_servicelb_wrote_stays() {
    run(async {
        let cluster = two_nodes().await;
        let serves = json!({"svccontroller.k3s.cattle.io/enablelb": "true"});
        node(&cluster, "n2", "10.9.0.2", serves, true).await;
        cluster.service("web", json!({})).await;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.9.0.2"}]}}});
        let api = cluster.services();
        api.patch_status("web", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        pool(&cluster, json!({"k3sLabels": true})).await;
        let _controller = cluster.controller("a", POOLS);
        wait("the pool to be recorded", async || {
            let annotations = api.get("web").await.unwrap().metadata.annotations.unwrap_or_default();
            annotations.get("ferrolb.io/node-addresses").cloned()
        })
        .await;
        assert_eq!(cluster.addresses("web").await, ["10.9.0.2"]);
        assert!(!cluster.events("web").await.iter().any(|event| event.contains("IPAllocated")));
    });
}

#[test]
fn a_pool_is_made_where_there_is_none_and_left_alone_from_then_on() {
    const DEFAULT: &[&str] = &["--node-address-pools", "--default-node-address-pool={\"k3sLabels\":true}"];
    run(async {
        let cluster = two_nodes().await;
        let controller = cluster.controller("a", DEFAULT);
        cluster.service("web", json!({})).await;
        cluster.wait_for_addresses("web", &["10.9.0.1", "10.9.0.2"]).await;
        let pool_of = async |name: &str| api_of(&cluster).get(name).await.map(|it| it.data["spec"].clone());
        assert_eq!(pool_of("nodes").await.unwrap()["k3sLabels"], true);
        drop(controller);
        pool(&cluster, json!({"k3sLabels": false, "addresses": "Internal"})).await;
        let _controller = cluster.controller("b", DEFAULT);
        cluster.service("other", json!({"ports": [{"port": 81}]})).await;
        cluster.wait_for_addresses("other", &["10.9.0.1", "10.9.0.2"]).await;
        assert_eq!(pool_of("nodes").await.unwrap()["addresses"], "Internal");
    });
}

#[test]
fn nothing_is_given_where_a_speaker_reports_ipvs() {
    run(async {
        let cluster = two_nodes().await;
        let labels = json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"});
        let condition = json!({
            "type": "KubeProxyIPVS", "status": "True", "reason": "InterfaceFound", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let state = json!({"metadata": {"name": "speaker-n1", "labels": labels}});
        let reports: Api<api::ConfigurationState> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let state = serde_json::from_value(state).unwrap();
        reports.create(&PostParams::default(), &state).await.unwrap();
        let status = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        reports.patch_status("speaker-n1", &PatchParams::default(), &status).await.unwrap();
        pool(&cluster, json!({})).await;
        let _controller = cluster.controller("a", POOLS);
        cluster.service("web", json!({})).await;
        cluster.wait_for_event("web", "kube-proxy runs in IPVS mode on node n1").await;
        assert!(cluster.addresses("web").await.is_empty());
        reports.delete("speaker-n1", &DeleteParams::default()).await.unwrap();
        cluster.wait_for_addresses("web", &["10.9.0.1", "10.9.0.2"]).await;
    });
}

#[test]
fn a_port_that_a_speaker_reports_is_not_given_there() {
    run(async {
        let cluster = two_nodes().await;
        let reports: Api<api::ConfigurationState> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let labels = json!({"metallb.io/component-type": "speaker", "metallb.io/node-name": "n1"});
        let state = json!({"metadata": {"name": "speaker-n1", "labels": labels}});
        reports.create(&PostParams::default(), &serde_json::from_value(state).unwrap()).await.unwrap();
        let condition = json!({
            "type": "ListeningPorts", "status": "True", "reason": "Seen", "message": "TCP/22 TCP/80@0.0.0.0",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        reports.patch_status("speaker-n1", &PatchParams::default(), &status).await.unwrap();
        pool(&cluster, json!({})).await;
        let _controller = cluster.controller("a", POOLS);
        cluster.service("web", json!({})).await;
        cluster.wait_for_addresses("web", &["10.9.0.2"]).await;
        cluster.wait_for_event("web", "port TCP/80 of node n1 is in use by a program").await;
        // Until the reports are listed, it may name both.
        wait("the condition of the pool to name the node that reports nothing", async || {
            let status = api_of(&cluster).get("nodes").await.unwrap().data["status"].clone();
            let conditions = status["conditions"].as_array()?.clone();
            let known = conditions.into_iter().find(|it| it["type"] == "ListenersKnown")?;
            let message = known["message"].as_str()?;
            (known["status"] == "False" && message.contains("on n2: there, only")).then_some(())
        })
        .await;
    });
}

#[test]
fn without_the_option_pools_of_nodes_mean_nothing() {
    run(async {
        let cluster = two_nodes().await;
        pool(&cluster, json!({})).await;
        let _controller = cluster.controller("a", &[]);
        cluster.service("web", json!({})).await;
        cluster.wait_for_event("web", "there is no IPAddressPool").await;
        assert!(cluster.addresses("web").await.is_empty());
    });
}

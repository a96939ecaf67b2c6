//! `quickstart --demo`: what it makes, what it says is in the way, and what `--demo-delete` removes.

use std::net::IpAddr;
use std::path::Path;

use api::IPAddressPool;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::site::{Answers, document, leader, program};
use super::{SYSTEM, account, advertise, endpoints, node, own_address, plugin, plugin_as, viewer};
use crate::fixture::{Cluster, run, wait};

const DEMO: &str = "quickstart --demo --yes --demo-timeout 1 -n default";

/// One node, which announces the only address of the only pool: one of this machine, so that a request to it stays here.
async fn cluster(prefix: &str) -> Cluster {
    let cluster = Cluster::start().await;
    account(&cluster, SYSTEM, "ferrolb").await;
    account(&cluster, "default", "default").await;
    node(&cluster, "n1", json!({}), "10.0.0.1").await;
    program(&cluster, "c-1", "controller", "n1", leader()).await;
    let (ip, mac) = (own_address(), "02:00:00:00:00:01");
    let interface = json!({"name": "eth0", "mac": mac, "arp": "Used", "ndp": "Used", "prefixes": [prefix]});
    let address =
        json!({"ip": ip, "services": ["default/ferrolb-demo"], "state": "Announced", "interfaces": ["eth0"]});
    let status = json!({
        "node": "n1", "gossip": {"settled": true, "members": 1},
        "interfaces": {"items": [interface]}, "addresses": {"items": [address]},
    });
    let place = json!({"interface": "eth0", "mac": mac, "asked": true, "here": true, "answers": []});
    let trace = json!({"node": "n1", "ip": ip, "places": [place]});
    let speaker = Answers::With(document("SpeakerStatus", status), document("Trace", trace));
    program(&cluster, "s-1", "speaker", "n1", speaker).await;
    cluster.pool("lan", &[&format!("{ip}/32")]).await;
    advertise(&cluster, json!({})).await;
    cluster
}

/// What the controller would do.
async fn give_address(cluster: &Cluster, ip: IpAddr) {
    let from = json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "lan"}}});
    cluster.patch("ferrolb-demo", from).await;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    let services = cluster.services();
    services.patch_status("ferrolb-demo", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// What kube-controller-manager and a kubelet would do: a Pod of the Deployment that is so.
async fn pod(cluster: &Cluster, status: Value) {
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let template = deployments.get("ferrolb-demo").await.unwrap().spec.unwrap().template;
    let mut pod = serde_json::to_value(template).unwrap();
    pod["metadata"]["name"] = json!("ferrolb-demo-1");
    pod["spec"]["nodeName"] = json!("n1");
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    become_so(cluster, status).await;
}

async fn become_so(cluster: &Cluster, status: Value) {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    let status = Patch::Merge(json!({"status": status}));
    pods.patch_status("ferrolb-demo-1", &PatchParams::default(), &status).await.unwrap();
}

/// The names of the Deployments and Services in the namespace.
async fn names(cluster: &Cluster) -> Vec<String> {
    let deployments: Api<Deployment> = Api::default_namespaced(cluster.client.clone());
    let services: Api<Service> = cluster.services();
    let (deployments, services) = (
        deployments.list(&ListParams::default()).await.unwrap(),
        services.list(&ListParams::default()).await.unwrap(),
    );
    let deployments = deployments.into_iter().filter_map(|it| it.metadata.name);
    deployments.chain(services.into_iter().filter_map(|it| it.metadata.name)).collect()
}

#[test]
fn the_demo_says_what_is_in_the_way_of_each_step_until_it_is_reached() {
    run(async {
        let ip = own_address();
        let cluster = cluster("203.0.113.0/24").await;
        let shown = plugin(&cluster, "quickstart --demo --dry-run -o yaml -n default").await;
        assert!(shown.code == 0 && shown.stdout.contains("runAsNonRoot: true"), "{shown:?}");
        let unasked = plugin(&cluster, "quickstart --demo -n default").await;
        assert!(unasked.code == 1 && unasked.stdout.contains("Nothing was applied"), "{unasked:?}");
        assert_eq!(names(&cluster).await, ["kubernetes"], "it was only shown");

        let no_address = plugin(&cluster, DEMO).await;
        let made = ["default/ferrolb-demo created", "--demo-delete -n default", "about to write"];
        assert!(no_address.code == 1, "{no_address:?}");
        made.iter().for_each(|part| assert!(no_address.stdout.contains(part), "{part}: {no_address:?}"));

        give_address(&cluster, ip).await;
        let no_pod = plugin(&cluster, DEMO).await;
        for part in ["default/ferrolb-demo is there already", "no Pod yet", "kube-controller-manager"] {
            assert!(no_pod.code == 1 && no_pod.stdout.contains(part), "{part}: {no_pod:?}");
        }

        let container = json!({
            "name": "web", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}},
        });
        pod(&cluster, json!({"phase": "Pending", "containerStatuses": [container]})).await;
        let no_image = plugin(&cluster, DEMO).await;
        for part in ["hashicorp/http-echo:1.0: ErrImagePull: no such host", "--demo-image"] {
            assert!(no_image.code == 1 && no_image.stdout.contains(part), "{part}: {no_image:?}");
        }

        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        become_so(&cluster, ready).await;
        endpoints(&cluster, "ferrolb-demo", &["n1"]).await;
        // Nobody listens there, and this machine is on another LAN than the node.
        let reached = plugin(&cluster, DEMO).await;
        assert_eq!((reached.code, reached.stderr.as_str()), (0, ""), "{reached:?}");
        let (by, at) = (format!("{ip} by node n1 on eth0"), format!("this machine, at {ip}"));
        for part in
            ["ferrolb-demo-1 is ready on node n1", &by, "one host: node n1", &at, "no failure of FerroLB"]
        {
            assert!(reached.stdout.contains(part), "{part}: {reached:?}");
        }

        let deleted = plugin(&cluster, "quickstart --demo-delete -n default").await;
        assert_eq!((deleted.code, deleted.stderr.as_str()), (0, ""), "{deleted:?}");
        assert_eq!(names(&cluster).await, ["kubernetes"]);
        let pools: Api<IPAddressPool> = Api::namespaced(cluster.client.clone(), SYSTEM);
        assert_eq!(pools.list(&ListParams::default()).await.unwrap().items.len(), 1, "the pool stays");
        let again = plugin(&cluster, "quickstart --demo-delete -n default").await;
        assert!(again.code == 0 && again.stdout.matches("is not there").count() == 2, "{again:?}");
    });
}

#[test]
fn a_full_pool_is_why_there_is_no_address_and_silence_on_the_own_lan_is_a_problem() {
    run(async {
        let ip = own_address();
        let cluster = cluster(&format!("{ip}/24")).await;
        // Somebody has the only address.
        cluster.service("a", json!({})).await;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
        cluster.services().patch_status("a", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let full = plugin(&cluster, DEMO).await;
        let explained = plugin(&cluster, "explain default/ferrolb-demo").await;
        let why = explained.stdout.lines().find(|line| line.starts_with("No address")).unwrap();
        assert!(
            full.code == 1 && full.stdout.contains(why.trim_start_matches("No address").trim()),
            "{full:?}"
        );

        cluster.delete("a").await;
        give_address(&cluster, ip).await;
        pod(&cluster, json!({"conditions": [{"type": "Ready", "status": "True"}]})).await;
        endpoints(&cluster, "ferrolb-demo", &["n1"]).await;
        let silent = plugin(&cluster, DEMO).await;
        assert!(silent.code == 1 && silent.stdout.contains("see whether kube-proxy runs"), "{silent:?}");
    });
}

#[test]
fn what_somebody_else_has_made_is_neither_changed_nor_deleted() {
    run(async {
        let cluster = cluster("203.0.113.0/24").await;
        cluster.service("ferrolb-demo", json!({})).await;
        let refused = plugin(&cluster, DEMO).await;
        assert!(refused.code == 1 && refused.stdout.contains("has not made it"), "{refused:?}");
        assert_eq!(names(&cluster).await, ["ferrolb-demo", "kubernetes"], "no Deployment is made beside it");
        let kept = plugin(&cluster, "quickstart --demo-delete -n default").await;
        assert!(kept.code == 1 && kept.stdout.contains("was not made by this command"), "{kept:?}");
        assert_eq!(names(&cluster).await, ["ferrolb-demo", "kubernetes"]);
        let nowhere = plugin(&cluster, "quickstart --demo --yes -n nowhere").await;
        assert!(
            nowhere.code == 1 && nowhere.stdout.contains("kubectl create namespace nowhere"),
            "{nowhere:?}"
        );
    });
}

#[test]
fn a_right_that_the_demo_lacks_is_named() {
    run(async {
        let cluster = cluster("203.0.113.0/24").await;
        let read = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}]);
        let (_folder, reader) = viewer(&cluster, "reader", read).await;
        lacks(&reader, DEMO, "create deployments.apps").await;
        let made = plugin(&cluster, DEMO).await;
        assert_eq!(made.code, 1, "{made:?}");
        lacks(&reader, DEMO, "patch deployments.apps").await;
        lacks(&reader, "quickstart --demo-delete -n default", "delete services").await;
        assert_eq!(names(&cluster).await, ["ferrolb-demo", "ferrolb-demo", "kubernetes"]);
    });
}

/// Waits for it: rights that were just given are not there at once.
async fn lacks(kubeconfig: &Path, line: &str, right: &str) {
    let right = format!("missing right: you may not {right} in namespace default");
    wait(&right, async || {
        let said = plugin_as(kubeconfig, line).await;
        (said.code == 2 && said.stderr.contains(&right)).then_some(())
    })
    .await;
}

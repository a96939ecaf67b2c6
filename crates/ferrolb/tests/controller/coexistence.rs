//! MetalLB in the same namespace, and another FerroLB in the cluster, as far as an API server shows them.

use std::time::Duration;

use api::IPAddressPool;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, start, wait};
use crate::told::{free_address, get};

/// Makes a Pod that runs, though no kubelet runs it.
async fn running(pods: &Api<Pod>, name: &str, labels: Value, container: Value) {
    let pod = json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [container], "automountServiceAccountToken": false},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let runs = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status(name, &PatchParams::default(), &runs).await.unwrap();
}

/// Makes a namespace with a pool of this range.
async fn installation(cluster: &Cluster, namespace: &str, range: &str) {
    let object = json!({"metadata": {"name": namespace}});
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let pools: Api<IPAddressPool> = Api::namespaced(cluster.client.clone(), namespace);
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "spec": {"addresses": [range]},
        "metadata": {"name": "lan"},
    });
    pools.patch("lan", &PatchParams::apply("test"), &Patch::Apply(pool)).await.unwrap();
}

/// Whom a controller waits for, as it says.
async fn waits_for(bind: &str) -> Option<Value> {
    let status: Value = serde_json::from_str(&get(bind, "/status").await?).ok()?;
    Some(status["waitsFor"].clone())
}

#[test]
fn of_two_installations_the_one_that_came_first_serves_until_it_is_uninstalled() {
    run(async {
        let cluster = Cluster::start().await;
        installation(&cluster, "young", "198.51.100.0/24").await;
        installation(&cluster, "classy", "203.0.113.0/24").await;
        cluster.pool("lan", &["192.0.2.0/24"]).await;
        let first = cluster.controller("a", &[]);
        cluster.service("first", json!({})).await;
        cluster.wait_for_addresses("first", &["192.0.2.0"]).await;

        // The Lease of the other is a second younger at least.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let bind = free_address();
        let (http, uid) = (format!("--http-bind={bind}"), "--pod-uid=1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        let start = |pod: &str, options: &[&str]| start(&cluster.kubeconfig(), pod, options);
        let _second = start("b", &[&http, uid, "--namespace=young"]);
        let _replica = start("c", &["--http-bind=127.0.0.1:0", "--namespace=young"]);
        let _of_class =
            start("d", &["--http-bind=127.0.0.1:0", "--namespace=classy", "--lb-class=example.com/x"]);
        let elder =
            wait("the second to wait", async || waits_for(&bind).await.filter(Value::is_object)).await;
        assert_eq!(elder["namespace"], "metallb-system", "{elder}");
        cluster
            .wait_for_event("b", "FerroLBWaits: FerroLB in namespace metallb-system serves the same Services")
            .await;
        // A rollout is not to wait for it.
        wait("it to be ready", async || (get(&bind, "/readyz").await? == "ok\n").then_some(())).await;
        cluster.service("second", json!({})).await;
        cluster.wait_for_addresses("second", &["192.0.2.1"]).await;
        cluster.service("of-class", json!({"loadBalancerClass": "example.com/x"})).await;
        cluster.wait_for_addresses("of-class", &["203.0.113.0"]).await;

        // The first one is replaced: that is nobody else's turn.
        drop(first);
        let first = cluster.controller("a2", &[]);
        cluster.service("third", json!({})).await;
        cluster.wait_for_addresses("third", &["192.0.2.2"]).await;
        assert_eq!(cluster.addresses("first").await, ["192.0.2.0"]);

        // It is uninstalled, and its Lease goes with what it belonged to.
        drop(first);
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let lease = elder["lease"].as_str().unwrap();
        leases.delete(lease, &DeleteParams::default()).await.unwrap();
        cluster.wait_for_addresses("first", &["198.51.100.0"]).await;
        wait("the second to serve", async || waits_for(&bind).await.filter(Value::is_null)).await;
    });
}

#[test]
fn it_waits_for_metallb_alone_and_not_for_what_only_looks_like_it() {
    run(async {
        let cluster = Cluster::start().await;
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let account = json!({"metadata": {"name": "default"}});
        let account = serde_json::from_value(account).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "metallb-system");
        let charts =
            |part: &str| json!({"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": part});
        let image = "quay.io/metallb/speaker:v0.16.1";

        // Our own speaker, with labels of the user's.
        let labels = json!({"app.kubernetes.io/name": "ferrolb", "app.kubernetes.io/component": "speaker",
            "app": "metallb", "component": "speaker"});
        let ours = json!({"name": "speaker", "image": "registry.example/lb:v1", "args": ["speaker"]});
        running(&pods, "ours", labels, ours).await;
        // MetalLB for another class, and a part of it that serves no Services.
        let other = json!({"name": "speaker", "image": image, "args": ["--port=7472", "--lb-class", "x"]});
        running(&pods, "other-class", charts("speaker"), other).await;
        running(&pods, "frr-k8s", charts("frr-k8s"), json!({"name": "frr", "image": image})).await;
        // Something else that has a controller.
        let labels =
            json!({"app.kubernetes.io/name": "ingress", "app.kubernetes.io/component": "controller"});
        running(&pods, "else", labels, json!({"name": "controller", "image": "registry.example/ingress:v1"}))
            .await;

        cluster.pool("lan", &["192.0.2.0/24"]).await;
        cluster.service("first", json!({})).await;
        let _serves = cluster.controller("a", &[]);
        cluster.wait_for_addresses("first", &["192.0.2.0"]).await;

        // MetalLB, its chart under another name.
        let labels = json!({"app.kubernetes.io/name": "lb", "app.kubernetes.io/component": "speaker"});
        running(&pods, "same-class", labels, json!({"name": "speaker", "image": image})).await;
        let _waits = cluster.controller("b", &[]);
        cluster.wait_for_event("same-class", "FerroLBWaits").await;
        cluster.service("second", json!({})).await;
        pods.delete("same-class", &DeleteParams::default().grace_period(0)).await.unwrap();
        wait("the Pod to be gone", async || {
            pods.get_opt("same-class").await.unwrap().is_none().then_some(())
        })
        .await;
        cluster.wait_for_addresses("second", &["192.0.2.1"]).await;
    });
}

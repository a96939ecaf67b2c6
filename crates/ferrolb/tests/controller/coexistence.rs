//! MetalLB in the same namespace, as far as an API server shows it.

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{Cluster, run, wait};

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

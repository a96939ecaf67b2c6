//! `kubectl ferrolb` against a real API server, with a real controller where one is needed.

mod answers;
mod around;
mod degraded;
mod demo;
mod foretold;
mod from_others;
mod page;
mod quickstart;
mod rights;
mod routers;
mod site;
mod skew;

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use kubectl_ferrolb::{Said, say};
use serde_json::{Value, json};

use crate::fixture::Cluster;

const SYSTEM: &str = "metallb-system";

/// Runs the plugin, with the rights of this kubeconfig.
async fn plugin_as(kubeconfig: &Path, line: &str) -> Said {
    let kubeconfig = kubeconfig.display().to_string();
    let words = ["kubectl-ferrolb", "--kubeconfig", &kubeconfig].into_iter().chain(line.split(' '));
    Box::pin(say(words.map(str::to_owned))).await
}

/// Runs the plugin with every right, and does not wait for Pods that do not answer: an API server goes on trying for long.
async fn plugin_soon(cluster: &Cluster, line: &str) -> Said {
    plugin(cluster, &format!("{line} --pod-timeout 1")).await
}

/// Runs the plugin with every right.
async fn plugin(cluster: &Cluster, line: &str) -> Said {
    plugin_as(&cluster.server.kubeconfig(), line).await
}

/// What it answers as JSON.
fn answered(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// An address of this machine that the API server may reach Pods at: it may not at a loopback address.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent; the kernel chooses an address.
    socket.connect("198.51.100.1:9").expect("this test wants a network interface with a route");
    socket.local_addr().unwrap().ip()
}

/// Creates something of the core or of `metallb.io`.
async fn create(cluster: &Cluster, (group, version, kind, plural): (&str, &str, &str, &str), object: Value) {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or(SYSTEM).to_owned();
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &namespace, &resource);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// Creates an `L2Advertisement`.
async fn advertise(cluster: &Cluster, spec: Value) {
    let object = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "all"}, "spec": spec,
    });
    create(cluster, ("metallb.io", "v1beta1", "L2Advertisement", "l2advertisements"), object).await;
}

/// Creates a service account.
async fn account(cluster: &Cluster, namespace: &str, name: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
}

/// Creates a Pod that runs and is ready, as kubelet would tell.
async fn pod(cluster: &Cluster, name: &str, component: &str, node: &str, ip: IpAddr, arguments: &[String]) {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), SYSTEM);
    let pod = json!({
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/name": "ferrolb", "app.kubernetes.io/component": component,
        }},
        "spec": {
            "nodeName": node, "serviceAccountName": "ferrolb", "automountServiceAccountToken": false,
            "containers": [{"name": component, "image": "ferrolb:test", "args": arguments}],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Creates a node with an address.
async fn node(cluster: &Cluster, name: &str, labels: Value, ip: &str) {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = json!({"metadata": {"name": name, "labels": labels}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}]}});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

/// Tells that a Service has a serving endpoint on each of these nodes.
async fn endpoints(cluster: &Cluster, service: &str, nodes: &[&str]) {
    let endpoints: Vec<Value> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            json!({"addresses": [format!("10.244.0.{}", index + 1)], "nodeName": node, "conditions": {"ready": true}})
        })
        .collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "metadata": {
            "name": format!("{service}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
    });
    create(cluster, ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"), slice).await;
}

/// A kubeconfig of a user who may do this in all namespaces, and nothing else.
async fn viewer(cluster: &Cluster, name: &str, allowed: Value) -> (tempfile::TempDir, PathBuf) {
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let role = json!({"metadata": {"name": name}, "rules": allowed});
    roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(cluster.client.clone());
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    user(cluster, name, &[]).await
}

/// A kubeconfig of a user who may do this, in each of the namespaces that are named, and nothing else.
async fn user(cluster: &Cluster, name: &str, rights: &[(&str, Value)]) -> (tempfile::TempDir, PathBuf) {
    account(cluster, "default", name).await;
    for (namespace, allowed) in rights {
        let roles: Api<Role> = Api::namespaced(cluster.client.clone(), namespace);
        let role = json!({"metadata": {"name": name}, "rules": allowed});
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        let bindings: Api<RoleBinding> = Api::namespaced(cluster.client.clone(), namespace);
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        });
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), "default");
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap();
    let mut kubeconfig =
        serde_json::to_value(Kubeconfig::read_from(cluster.server.kubeconfig()).unwrap()).unwrap();
    for user in kubeconfig["users"].as_array_mut().unwrap() {
        user["user"] = json!({"token": made.status.as_ref().unwrap().token});
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    (folder, path)
}

/// The names of all Services.
async fn names(cluster: &Cluster) -> Vec<String> {
    let list = cluster.services().list(&kube::api::ListParams::default()).await.unwrap();
    list.iter().map(ResourceExt::name_any).collect()
}

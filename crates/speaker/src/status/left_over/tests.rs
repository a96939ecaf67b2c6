use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use kube::{Client, Config};
use lab::apiserver::ApiServer;
use objects::BgpPeerName;
use placement::{Interfaces, NodeName, ServiceKey};
use serde_json::json;

use super::*;
use crate::status::routed::{self, Routed};
use crate::status::{Reported, name, status};

/// Longer than anything here should take.
const DEADLINE: Duration = Duration::from_secs(30);

fn left_over(services: &[&str], alive: &[&str]) -> LeftOver {
    LeftOver {
        services: services.iter().map(|name| ServiceKey::new("prod", *name)).collect(),
        routed: false,
        alive: alive.iter().map(|name| NodeName::from(*name)).collect(),
    }
}

fn report(node: &str, service: &str) -> ServiceL2Status {
    let (node, service) = (node.into(), ServiceKey::new("prod", service));
    let name = name(&node, &service);
    status(&name, &node, None, &Reported { service, interfaces: Interfaces::All })
}

#[test]
fn reports_are_told_apart_by_their_labels() {
    let (long, longer) = ("n".repeat(70), "n".repeat(71));
    let suspects = left_over(&["a"], &["n1", &long]);
    let is_left_over = |node: &str, service: &str| is_left_over(&report(node, service), &suspects);
    assert!(is_left_over("n3", "a") && is_left_over(&longer, "a"));
    assert!(!is_left_over("n1", "a") && !is_left_over(&long, "a") && !is_left_over("n3", "b"));
    let mut unlabelled = report("n3", "a");
    unlabelled.metadata.labels = None;
    assert!(!super::is_left_over(&unlabelled, &suspects));
}

#[test]
fn few_services_are_asked_for_by_name_and_many_all_at_once() {
    let label = names::SERVICE_NAME;
    assert_eq!(selector(&left_over(&["a", "b"], &[])), format!("{label} in (a,b)"));
    let many: Vec<String> = (0..=BY_NAME).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(selector(&left_over(&many, &[])), label);
}

fn routed_report(node: &str) -> ServiceBGPStatus {
    let (node, service) = (node.into(), ServiceKey::new("prod", "a"));
    let peers = std::sync::Arc::new([BgpPeerName::from("router")].into());
    routed::status(&routed::name(&node, &service), &node, None, &Routed { service, peers })
}

async fn with_crds(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in ["ServiceL2Status", "ServiceBGPStatus"] {
        let crd = api::crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap();
        let name = crd.name_any();
        let established = await_condition(crds.clone(), &name, is_crd_established());
        tokio::time::timeout(DEADLINE, established).await.unwrap().unwrap();
    }
    client
}

async fn nodes_and_services<K>(statuses: &Api<K>) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let list = statuses.list(&ListParams::default()).await.unwrap();
    let labels = |it: &K| -> BTreeMap<String, String> { it.labels().clone() };
    let mut all: Vec<_> = list
        .items
        .iter()
        .map(labels)
        .map(|it| format!("{} {}", it[names::ANNOUNCING_NODE], it[names::SERVICE_NAME]))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn who_takes_over_removes_what_a_dead_node_reported_and_nothing_of_a_live_one() {
    let server = tokio::task::spawn_blocking(|| ApiServer::launch().unwrap()).await.unwrap();
    let client = with_crds(&server).await;
    let statuses: Api<ServiceL2Status> = Api::namespaced(client.clone(), "default");
    let of_routers: Api<ServiceBGPStatus> = Api::namespaced(client.clone(), "default");
    for node in ["n1", "n3"] {
        of_routers.create(&PostParams::default(), &routed_report(node)).await.unwrap();
    }
    for (node, service) in [("n1", "a"), ("n2", "a"), ("n3", "a"), ("n3", "b")] {
        let report = report(node, service);
        statuses.create(&PostParams::default(), &report).await.unwrap();
        let patch = Patch::Merge(json!({"status": report.status}));
        statuses.patch_status(&report.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }
    let (say, to_remove) = mpsc::channel(1);
    let (results, mut removed) = mpsc::channel(1);
    let removing =
        tokio::spawn(remove_all(client, "default".to_owned(), to_remove, results, Writes::default()));
    let mut remove_routed = async |services: &[&str], routed, alive: &[&str]| {
        say.send(LeftOver { routed, ..left_over(services, alive) }).await.unwrap();
        assert_eq!(tokio::time::timeout(DEADLINE, removed.recv()).await.unwrap(), Some(None));
    };
    remove_routed(&[], true, &["n1", "n2", "n3"]).await;
    assert_eq!(nodes_and_services(&of_routers).await, ["n1 a", "n3 a"], "all are alive");
    remove_routed(&[], true, &["n1", "n2"]).await;
    assert_eq!(nodes_and_services(&of_routers).await, ["n1 a"]);
    assert_eq!(nodes_and_services(&statuses).await.len(), 4, "of which nothing was said");
    let mut remove = async |alive: &[&str]| remove_routed(&["a"], false, alive).await;
    remove(&["n1", "n2", "n3"]).await;
    assert_eq!(nodes_and_services(&statuses).await, ["n1 a", "n2 a", "n3 a", "n3 b"], "all are alive");
    remove(&["n1", "n2"]).await;
    assert_eq!(nodes_and_services(&statuses).await, ["n1 a", "n2 a", "n3 b"]);

    // What has changed since it was listed is somebody's who lives.
    let (name, stale) =
        (report("n3", "b").name_any(), statuses.get(&report("n3", "b").name_any()).await.unwrap());
    let patch = Patch::Merge(json!({"status": {"interfaces": [{"name": "eth0"}]}}));
    statuses.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    let removed = remove_one(&statuses, &stale, &Writes::default()).await;
    assert!(matches!(removed, Answer::Conflict), "{removed:?}");
    assert_eq!(nodes_and_services(&statuses).await, ["n1 a", "n2 a", "n3 b"]);
    drop(say);
    removing.await.unwrap();
}

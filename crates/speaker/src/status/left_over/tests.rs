use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::runtime::wait::conditions::is_crd_established;
use kube::{Client, Config};
use lab::apiserver::ApiServer;
use placement::Interfaces;
use serde_json::json;

use super::*;
use crate::status::status;

/// Longer than anything here should take.
const DEADLINE: Duration = Duration::from_secs(30);

fn known(announced: &[&str], alive: &[&str]) -> Known {
    Known {
        announced: announced.iter().map(|name| ServiceKey::new("prod", *name)).collect(),
        alive: alive.iter().map(|name| NodeName::from(*name)).collect(),
    }
}

fn report(node: &str, service: &str) -> ServiceL2Status {
    status(&node.into(), None, &ServiceKey::new("prod", service), &Interfaces::All).1
}

fn looks_at(suspects: &Suspects) -> Vec<&str> {
    suspects.services.iter().map(|service| &*service.name).collect()
}

#[test]
fn what_has_come_here_is_looked_at_once_and_everything_when_a_node_dies() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    suspects.follow(Some(&known(&["a", "b"], &["n1", "n2"])), now);
    assert_eq!((looks_at(&suspects), suspects.due), (vec!["a", "b"], Some(now + SETTLE)));
    suspects.looked(None);
    suspects.follow(Some(&known(&["a", "b", "c"], &["n1", "n2", "n3"])), now);
    assert_eq!(looks_at(&suspects), ["c"]);
    suspects.follow(Some(&known(&["a", "b"], &["n1", "n2", "n3"])), now);
    assert_eq!((looks_at(&suspects), suspects.due), (vec![], None));
    suspects.follow(Some(&known(&["a", "b"], &["n1", "n2"])), now);
    assert_eq!(looks_at(&suspects), ["a", "b"]);
}

#[test]
fn nothing_is_looked_at_while_nothing_is_known_of_the_others() {
    let (mut suspects, now) = (Suspects::default(), Instant::now());
    suspects.follow(Some(&known(&["a"], &["n1", "n2"])), now);
    suspects.follow(None, now);
    assert_eq!(suspects.due, None);
    suspects.follow(Some(&known(&["a"], &["n1", "n2"])), now);
    assert_eq!((looks_at(&suspects), suspects.due), (vec!["a"], Some(now + SETTLE)));
}

#[test]
fn only_reports_of_nodes_that_are_gone_on_services_that_came_here_are_left_over() {
    let long = "n".repeat(70);
    let mut suspects = Suspects::default();
    suspects.follow(Some(&known(&["a"], &["n1", "n2", &long])), Instant::now());
    let left_over = |node: &str, service: &str| suspects.is_left_over(&report(node, service));
    assert!(left_over("n3", "a"));
    assert!(left_over(&"n".repeat(71), "a"));
    for (node, service) in [("n1", "a"), ("n2", "a"), (&long, "a"), ("n3", "b")] {
        assert!(!left_over(node, service), "{node} {service}");
    }
    let mut unlabelled = report("n3", "a");
    unlabelled.metadata.labels = None;
    assert!(!suspects.is_left_over(&unlabelled));
}

async fn with_crd(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = api::crds().into_iter().find(|crd| crd.spec.names.kind == "ServiceL2Status").unwrap();
    crds.create(&PostParams::default(), &crd).await.unwrap();
    let name = crd.name_any();
    let established = await_condition(crds, &name, is_crd_established());
    tokio::time::timeout(DEADLINE, established).await.unwrap().unwrap();
    client
}

async fn nodes_and_services(statuses: &Api<ServiceL2Status>) -> Vec<String> {
    let list = statuses.list(&ListParams::default()).await.unwrap();
    let labels = |it: &ServiceL2Status| -> BTreeMap<String, String> { it.labels().clone() };
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
    let statuses: Api<ServiceL2Status> = Api::namespaced(with_crd(&server).await, "default");
    for (node, service) in [("n1", "a"), ("n2", "a"), ("n3", "a"), ("n3", "b")] {
        let report = report(node, service);
        statuses.create(&PostParams::default(), &report).await.unwrap();
        let patch = Patch::Merge(json!({"status": report.status}));
        statuses.patch_status(&report.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }
    let (now_known, mut receiver) = watch::channel(Some(known(&["a"], &["n1", "n2", "n3"])));
    receiver.mark_unchanged();
    let removing = tokio::spawn(remove(statuses.clone(), receiver, Writes::default()));
    tokio::time::sleep(2 * SETTLE).await;
    assert_eq!(nodes_and_services(&statuses).await, ["n1 a", "n2 a", "n3 a", "n3 b"], "all are alive");

    now_known.send_replace(Some(known(&["a"], &["n1", "n2"])));
    let end = Instant::now() + DEADLINE;
    while nodes_and_services(&statuses).await != ["n1 a", "n2 a", "n3 b"] {
        assert!(Instant::now() < end, "{:?}", nodes_and_services(&statuses).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // What has changed since it was listed is somebody's who lives.
    let (name, stale) =
        (report("n3", "b").name_any(), statuses.get(&report("n3", "b").name_any()).await.unwrap());
    let patch = Patch::Merge(json!({"status": {"interfaces": [{"name": "eth0"}]}}));
    statuses.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    let removed = remove_one(&statuses, &stale, &Writes::default()).await;
    assert!(matches!(removed, Answer::Conflict), "{removed:?}");
    assert_eq!(nodes_and_services(&statuses).await, ["n1 a", "n2 a", "n3 b"]);
    drop(now_known);
    removing.await.unwrap();
}

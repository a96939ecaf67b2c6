//! Addresses stay where they are, whatever else changes: stories that are told to a controller that runs all the
//! time, to replicas of which the leader is killed after each change, and to one that sees each change only afterwards.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lab::process::Running;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixture::{Cluster, DEADLINE, run};
use crate::space::Space;
use crate::stability::stories::Step::{Delete, Has, NoNode, NoPool, Patch as Change, Pool, Service, Status};
use crate::stability::stories::{Phase, Step, annotated, stories};

mod stories;

/// How the stories are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    /// A controller looks on.
    Live,
    /// Of two replicas, the leader is killed after each phase.
    LeaderKilled,
    /// There is no controller while something changes.
    Afterwards,
}

async fn act(space: &Space<'_>, step: &Step) {
    let nodes: Api<Node> = Api::all(space.cluster.client.clone());
    let node = format!("n-{}", space.number);
    match step {
        Pool(name, spec) => space.pool(name, spec.clone()).await,
        NoPool(name) => space.delete_pool(name).await,
        Service(name, overlay) => space.service(name, overlay.clone()).await,
        Change(name, patch) => space.patch(name, patch.clone()).await,
        Delete(name) => space.delete(name).await,
        Status(name, ingress) => {
            let text = space.fill(&json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string());
            let patch: Value = serde_json::from_str(&text).unwrap();
            space.services().patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
        Step::Node(addresses) => {
            let object = serde_json::from_value(json!({"metadata": {"name": node}})).unwrap();
            nodes.create(&PostParams::default(), &object).await.unwrap();
            let kind = |text: &str| if text.contains("example") { "Hostname" } else { "InternalIP" };
            let entry = |text: &&str| json!({"type": kind(text), "address": space.fill(text)});
            let addresses: Vec<Value> = addresses.iter().map(entry).collect();
            let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
            nodes.patch_status(&node, &PatchParams::default(), &patch).await.unwrap();
        }
        NoNode => _ = nodes.delete(&node, &DeleteParams::default()).await.unwrap(),
        Has(..) => {}
    }
}

/// Waits until the controller has seen and written all that was done before.
async fn settle(cluster: &Cluster, phase: usize) {
    tokio::time::sleep(Duration::from_millis(150)).await;
    let name = format!("settled-{phase}");
    let spec = json!({"addresses": [format!("192.0.2.{phase}/32")], "autoAssign": false});
    cluster.write_pool(&name, spec).await.unwrap();
    let space = cluster.default_space();
    let request = annotated("metallb.io/address-pool", &json!(name));
    space.gets(&name, request, &[&format!("192.0.2.{phase}")]).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
}

fn end(controller: &Running) {
    controller.signal(Signal::SIGTERM);
    assert!(controller.wait(DEADLINE).is_some());
}

async fn tell(telling: Telling) {
    let cluster = Cluster::start().await;
    let mut controllers = Vec::new();
    let mut stories = stories();
    if telling == Telling::Afterwards {
        stories.retain(|(name, _)| {
            !["spoilt", "annotation removed", "annotation forged", "backup"].contains(name)
        });
    }
    let mut spaces = Vec::new();
    for (number, _) in (1..).zip(&stories) {
        let space = Space { cluster: &cluster, namespace: format!("space-{number}"), number };
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": space.namespace}})).unwrap();
        Api::all(cluster.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        spaces.push(space);
    }
    let mut wrong = Vec::new();
    let last = stories.iter().map(|(_, phases)| phases.len()).max().unwrap();
    for phase in 0..last {
        if telling == Telling::Afterwards {
            controllers.drain(..).for_each(|controller| end(&controller));
        }
        let replicas = if telling == Telling::LeaderKilled { 2 } else { 1 };
        let start = |n| cluster.controller(&format!("c-{phase}-{n}"), &[]);
        if telling != Telling::Afterwards {
            while controllers.len() < replicas {
                controllers.push(start(controllers.len()));
            }
        }
        for (space, (_, phases)) in spaces.iter().zip(&stories) {
            for step in phases.get(phase).into_iter().flatten() {
                act(space, step).await;
            }
        }
        if telling == Telling::Afterwards {
            controllers.push(start(0));
        }
        settle(&cluster, 2 * phase).await;
        check(&mut wrong, phase, &spaces, &stories).await;
        if telling == Telling::LeaderKilled {
            controllers.remove(0).kill();
            settle(&cluster, 2 * phase + 1).await;
            check(&mut wrong, phase, &spaces, &stories).await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

async fn check(wrong: &mut Vec<String>, phase: usize, spaces: &[Space<'_>], stories: &[(&str, Vec<Phase>)]) {
    for (space, (story, phases)) in spaces.iter().zip(stories) {
        for step in phases.get(phase).into_iter().flatten() {
            let Has(name, expected) = step else { continue };
            let expected: Vec<String> = expected.iter().map(|ip| space.fill(ip)).collect();
            let has = space.addresses(name).await;
            if has != expected {
                wrong.push(format!("{story}, phase {phase}: {name} has {has:?}, not {expected:?}"));
            }
        }
    }
}

#[test]
fn addresses_stay_while_pools_services_and_nodes_change() {
    run(tell(Telling::Live));
}

#[test]
fn addresses_stay_when_the_leader_is_killed_after_each_change() {
    run(tell(Telling::LeaderKilled));
}

#[test]
fn addresses_stay_when_changes_are_seen_only_afterwards() {
    run(tell(Telling::Afterwards));
}

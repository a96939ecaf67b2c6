//! Addresses stay where they are, whatever else changes: stories that are told to a controller that runs all the
//! time, to replicas of which the leader is killed after each change, and to one that sees each change only afterwards.

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lab::process::Running;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::fixture::{Cluster, DEADLINE, run, within};
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
        Pool(name, spec) => space.write_pool(name, json!({}), spec.clone()).await,
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

/// Waits until the controller has seen the pools and Services that were changed before, for it hears of each kind in order,
/// and until what it wrote at once should be there: then one more is served.
async fn settle(cluster: &Cluster, phase: usize) {
    let pool = format!("settled-{phase}");
    let spec = json!({"addresses": [format!("192.0.2.{}/31", 2 * phase)], "autoAssign": false});
    cluster.write_pool(&pool, spec).await.unwrap();
    let space = cluster.default_space();
    for number in 0..2 {
        let request = annotated("metallb.io/address-pool", &json!(pool));
        let address = format!("192.0.2.{}", 2 * phase + number);
        space.gets(&format!("{pool}-{number}"), request, &[&address]).await;
    }
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
        check(phase, &spaces, &stories).await;
        if telling == Telling::LeaderKilled {
            controllers.remove(0).kill();
            settle(&cluster, 2 * phase + 1).await;
            check(phase, &spaces, &stories).await;
        }
    }
}

/// Waits until everything is as it is to be after a phase, for what is decided takes a moment until it is written.
async fn check(phase: usize, spaces: &[Space<'_>], stories: &[(&str, Vec<Phase>)]) {
    let mut wrong = Vec::new();
    let right = within(DEADLINE, async || {
        wrong = differences(phase, spaces, stories).await;
        wrong.is_empty().then_some(())
    });
    assert!(right.await.is_some(), "{wrong:#?}");
}

async fn differences(phase: usize, spaces: &[Space<'_>], stories: &[(&str, Vec<Phase>)]) -> Vec<String> {
    let mut wrong = Vec::new();
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
    wrong
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

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

/// One change, or what has to be so after the changes before it.
#[derive(Debug)]
enum Step {
    Pool(&'static str, Value),
    NoPool(&'static str),
    Service(&'static str, Value),
    Patch(&'static str, Value),
    Status(&'static str, Value),
    Delete(&'static str),
    Node(&'static [&'static str]),
    NoNode,
    Has(&'static str, &'static [&'static str]),
}

use Step::{Delete, Has, NoNode, NoPool, Patch as Change, Pool, Service, Status};

/// What is done at once, and what is to be seen then.
type Phase = Vec<Step>;

fn listing(addresses: &[&str]) -> Value {
    json!({"addresses": addresses})
}

/// One that only Services may use that there are none of.
fn for_nobody(addresses: &[&str]) -> Value {
    json!({"addresses": addresses, "serviceAllocation": {"namespaces": ["nobody"]}})
}

fn annotated(key: &str, value: &Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn dual(policy: &str) -> Value {
    json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": ["IPv4", "IPv6"]}})
}

fn sharing(port: u16) -> Value {
    let annotations = json!({"metallb.io/allow-shared-ip": "k"});
    json!({"metadata": {"annotations": annotations}, "spec": {"ports": [{"port": port}]}})
}

const POOL: &str = "metallb.io/ip-allocated-from-pool";
const PREVIOUS: &str = "ferrolb.io/previous-ips";

fn stories() -> Vec<(&'static str, Vec<Phase>)> {
    let spoilt = [
        json!([]),
        json!([{"hostname": "a.example"}]),
        json!([{"ip": "203.0.113.1"}]),
        json!([{"ip": "203.0.113.1"}, {"ip": "203.0.113.2"}]),
    ];
    let one_and_two = || {
        vec![
            vec![Pool("p", listing(&["10.N.0.0/30"])), Service("one", json!({})), Has("one", &["10.N.0.0"])],
            vec![Service("two", json!({})), Has("two", &["10.N.0.1"])],
        ]
    };
    // A status that is spoilt while nobody looks is all that is known.
    let mut closed = one_and_two();
    closed.push(vec![
        Pool("p", json!({"addresses": ["10.N.0.0/30"], "autoAssign": false})),
        Has("two", &["10.N.0.1"]),
    ]);
    let mut misspelt = one_and_two();
    misspelt.push(vec![
        Change("two", annotated("metallb.io/loadBalancerIPs", &json!("10.N.0.l"))),
        Delete("one"),
        Has("two", &["10.N.0.1"]),
    ]);
    let mut renamed = one_and_two();
    renamed.extend([
        vec![Delete("one"), NoPool("p"), Pool("q", listing(&["10.N.0.0/30"])), Has("two", &["10.N.0.1"])],
        vec![Pool("r", listing(&["10.N.0.1/32"])), Has("two", &["10.N.0.1"])],
        vec![NoPool("q"), Has("two", &["10.N.0.1"])],
    ]);
    let mut split = one_and_two();
    split.extend([
        vec![Delete("one"), Pool("low", listing(&["10.N.0.0/31"])), Pool("high", listing(&["10.N.0.2/31"]))],
        vec![Pool("p", listing(&["10.N.7.0/32"])), Has("two", &["10.N.0.1"])],
        vec![NoPool("p"), Has("two", &["10.N.0.1"])],
    ]);
    // Two hold an address that an older pool, which is for others, lists as well.
    let contested = |then: Vec<Phase>| {
        let mut story = vec![
            vec![Pool("a", for_nobody(&["10.N.1.0/30"]))],
            vec![
                Pool("b", listing(&["10.N.0.0/30", "fd00:N::/126"])),
                Service("v4", annotated("metallb.io/address-pool", &json!("NS-b"))),
                Has("v4", &["10.N.0.0"]),
            ],
            vec![Service("both", dual("RequireDualStack")), Has("both", &["10.N.0.1", "fd00:N::"])],
            vec![
                Pool("a", for_nobody(&["10.N.0.0/30"])),
                Has("v4", &["10.N.0.0"]),
                Has("both", &["10.N.0.1", "fd00:N::"]),
            ],
        ];
        story.extend(then);
        story
    };
    let still = |change: Value| {
        vec![
            Change("v4", change.clone()),
            Change("both", change),
            Has("v4", &["10.N.0.0"]),
            Has("both", &["10.N.0.1", "fd00:N::"]),
        ]
    };
    let mut backup = one_and_two();
    backup.push(vec![
        Status("two", json!([{"ip": "10.N.0.0"}])),
        Has("one", &["10.N.0.0"]),
        Has("two", &["10.N.0.1"]),
    ]);
    let mut node = one_and_two();
    node.extend([
        vec![
            Step::Node(&["n-N.example", "10.N.0.0", "fd00:N::1"]),
            Has("one", &["10.N.0.2"]),
            Has("two", &["10.N.0.1"]),
        ],
        vec![NoNode, Has("one", &["10.N.0.2"]), Has("two", &["10.N.0.1"])],
    ]);
    let families = |policy: &str, alone: &'static [&'static str]| {
        vec![
            vec![
                Pool("p", listing(&["10.N.0.0/30", "fd00:N::/126"])),
                Service("first", dual("RequireDualStack")),
                Has("first", &["10.N.0.0", "fd00:N::"]),
            ],
            vec![Service("a", dual(policy)), Has("a", &["10.N.0.1", "fd00:N::1"])],
            vec![Delete("first"), Pool("p", listing(&["10.N.0.0/30"])), Has("a", alone)],
            vec![Pool("p", listing(&["10.N.0.0/30", "fd00:N::/126"])), Has("a", &["10.N.0.1", "fd00:N::1"])],
            vec![Change("a", dual("PreferDualStack")), Has("a", &["10.N.0.1", "fd00:N::1"])],
            vec![
                Change("a", json!({"spec": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}})),
                Has("a", &["10.N.0.1"]),
            ],
        ]
    };
    vec![
        ("closed", closed),
        ("misspelt", misspelt),
        ("renamed", renamed),
        ("split", split),
        ("annotation removed", contested(vec![still(annotated(POOL, &Value::Null))])),
        (
            "annotation forged",
            contested(vec![still(annotated(POOL, &json!("NS-a"))), still(annotated(POOL, &json!("?\n")))]),
        ),
        ("previous forged", contested(vec![still(annotated(PREVIOUS, &json!("10.N.0.2,?,fd00:N::2")))])),
        ("backup", backup),
        ("node", node),
        ("preferred", families("PreferDualStack", &["10.N.0.1"])),
        ("required", families("RequireDualStack", &[])),
        (
            "rotation",
            vec![
                vec![
                    Pool("a", listing(&["10.N.0.0/30"])),
                    Service("one", json!({})),
                    Has("one", &["10.N.0.0"]),
                ],
                vec![
                    Pool("a", listing(&["10.N.0.0/30"])),
                    Pool("b", listing(&["10.N.1.0/30"])),
                    Pool("c", listing(&["10.N.2.0/30"])),
                ],
                vec![
                    Service("two", annotated("metallb.io/loadBalancerIPs", &json!("10.N.1.1"))),
                    Service("three", annotated("metallb.io/loadBalancerIPs", &json!("10.N.2.1"))),
                    Has("two", &["10.N.1.1"]),
                    Has("three", &["10.N.2.1"]),
                ],
                vec![
                    Pool("a", listing(&["10.N.1.0/30"])),
                    Has("one", &["10.N.0.0"]),
                    Has("two", &["10.N.1.1"]),
                    Has("three", &["10.N.2.1"]),
                ],
                vec![
                    Pool("b", listing(&["10.N.2.0/30"])),
                    Has("one", &["10.N.0.0"]),
                    Has("two", &["10.N.1.1"]),
                    Has("three", &["10.N.2.1"]),
                ],
                vec![
                    Pool("c", listing(&["10.N.0.0/30"])),
                    Has("one", &["10.N.0.0"]),
                    Has("two", &["10.N.1.1"]),
                    Has("three", &["10.N.2.1"]),
                ],
            ],
        ),
        (
            "replaced while closed",
            vec![
                vec![
                    Pool("p", listing(&["10.N.0.0/30"])),
                    Service("one", json!({})),
                    Has("one", &["10.N.0.0"]),
                ],
                vec![
                    Pool("p", json!({"addresses": ["10.N.0.0/30"], "autoAssign": false})),
                    Has("one", &["10.N.0.0"]),
                ],
                vec![
                    NoPool("p"),
                    Pool("p", json!({"addresses": ["10.N.0.0/30"], "autoAssign": false})),
                    Has("one", &["10.N.0.0"]),
                ],
            ],
        ),
        (
            "shared",
            vec![
                vec![
                    Pool("p", listing(&["10.N.0.0/30"])),
                    Service("a80", sharing(80)),
                    Has("a80", &["10.N.0.0"]),
                ],
                vec![Service("b80", sharing(80)), Has("b80", &["10.N.0.1"])],
                vec![Service("a81", sharing(81)), Has("a81", &["10.N.0.0"])],
                vec![Service("b81", sharing(81)), Has("b81", &["10.N.0.1"])],
                vec![
                    Delete("a80"),
                    Has("a81", &["10.N.0.0"]),
                    Has("b80", &["10.N.0.1"]),
                    Has("b81", &["10.N.0.1"]),
                ],
                vec![
                    Pool("q", listing(&["10.N.0.1/32"])),
                    Pool("p", listing(&["10.N.0.0/32"])),
                    Has("a81", &["10.N.0.0"]),
                    Has("b80", &["10.N.0.1"]),
                    Has("b81", &["10.N.0.1"]),
                ],
            ],
        ),
        (
            "deleting",
            vec![
                vec![
                    Pool("p", listing(&["10.N.0.0/32"])),
                    Service("going", json!({"metadata": {"finalizers": ["example.org/held"]}})),
                    Has("going", &["10.N.0.0"]),
                ],
                vec![
                    Service("waiting", json!({})),
                    Delete("going"),
                    Has("going", &["10.N.0.0"]),
                    Has("waiting", &[]),
                ],
                vec![
                    Pool("p", listing(&["10.N.0.0/32", "10.N.3.0/32"])),
                    Has("waiting", &["10.N.3.0"]),
                    Has("going", &["10.N.0.0"]),
                ],
                vec![
                    Change("going", json!({"spec": {"type": "NodePort"}})),
                    Service("next", json!({})),
                    Has("next", &["10.N.0.0"]),
                ],
                vec![
                    Change("going", json!({"metadata": {"finalizers": null}})),
                    Has("next", &["10.N.0.0"]),
                    Has("waiting", &["10.N.3.0"]),
                ],
            ],
        ),
        (
            "copied",
            vec![
                vec![
                    Pool("other", for_nobody(&["10.N.1.0/30"])),
                    Pool("p", listing(&["10.N.0.0/30"])),
                    Pool("shy", json!({"addresses": ["10.N.2.0/30"], "autoAssign": false})),
                    Service("a", json!({})),
                    Has("a", &["10.N.0.0"]),
                ],
                vec![
                    Service(
                        "copy",
                        json!({"metadata": {"annotations": {POOL: "NS-other", PREVIOUS: "10.N.0.0"}}}),
                    ),
                    Has("copy", &["10.N.0.1"]),
                ],
                vec![
                    Service("foreign", annotated(PREVIOUS, &json!("10.N.1.0"))),
                    Has("foreign", &["10.N.0.2"]),
                ],
                vec![
                    Service("junk", annotated(PREVIOUS, &json!("x,,\n::ffff:10.N.0.0,999.1.1.1"))),
                    Has("junk", &["10.N.0.3"]),
                ],
            ],
        ),
        // Only who looks on knows what a spoilt status was.
        ("spoilt", {
            let mut story = vec![
                vec![
                    Pool("p", listing(&["10.N.0.0/30"])),
                    Service("one", json!({})),
                    Has("one", &["10.N.0.0"]),
                ],
                vec![Service("two", json!({})), Has("two", &["10.N.0.1"])],
                vec![
                    Change("two", annotated("metallb.io/loadBalancerIPs", &json!("10.N.0.l"))),
                    Has("two", &["10.N.0.1"]),
                ],
                vec![
                    Pool("p", json!({"addresses": ["10.N.0.0/30"], "autoAssign": false})),
                    Has("one", &["10.N.0.0"]),
                ],
            ];
            story.extend(spoilt.map(|status| {
                vec![
                    Status("one", status.clone()),
                    Status("two", status),
                    Has("one", &["10.N.0.0"]),
                    Has("two", &["10.N.0.1"]),
                ]
            }));
            story
        }),
    ]
}

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
    let mut stories: Vec<_> = stories();
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

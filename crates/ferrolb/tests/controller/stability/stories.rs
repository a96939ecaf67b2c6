//! The stories: what is changed, and where every address has to be then.

use serde_json::{Value, json};

/// One change, or what has to be so after the changes before it.
#[derive(Debug)]
pub(crate) enum Step {
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
pub(crate) type Phase = Vec<Step>;

fn listing(addresses: &[&str]) -> Value {
    json!({"addresses": addresses})
}

/// One that only Services may use that there are none of.
fn for_nobody(addresses: &[&str]) -> Value {
    json!({"addresses": addresses, "serviceAllocation": {"namespaces": ["nobody"]}})
}

pub(super) fn annotated(key: &str, value: &Value) -> Value {
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

pub(crate) fn stories() -> Vec<(&'static str, Vec<Phase>)> {
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
            // Whoever does so a fourth time has to wait.
            story.extend(spoilt[1..].iter().map(|status| {
                vec![
                    Status("one", status.clone()),
                    Status("two", status.clone()),
                    Has("one", &["10.N.0.0"]),
                    Has("two", &["10.N.0.1"]),
                ]
            }));
            story
        }),
    ]
}

//! What the NetworkPolicies let through, with all values that change them. The end-to-end tests let some be enforced.

use chart::{Helm, documents};
use serde_json::{Value, json};

/// A connection of a Pod with any other host. Policies that name peers would want those here.
struct Connection {
    direction: &'static str,
    protocol: &'static str,
    port: u16,
}

const API_SERVER: Connection = Connection { direction: "Egress", protocol: "TCP", port: 6443 };
const SCRAPE: Connection = Connection { direction: "Ingress", protocol: "TCP", port: 9120 };
/// Kubelets are not exempt everywhere.
const PROBE: Connection = Connection { direction: "Ingress", protocol: "TCP", port: 17472 };
const GOSSIP: [Connection; 2] = [
    Connection { direction: "Ingress", protocol: "UDP", port: 7946 },
    Connection { direction: "Egress", protocol: "UDP", port: 7946 },
];
const ANYTHING_ELSE: [Connection; 3] = [
    Connection { direction: "Ingress", protocol: "TCP", port: 22 },
    Connection { direction: "Egress", protocol: "TCP", port: 443 },
    Connection { direction: "Egress", protocol: "UDP", port: 53 },
];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn selects(policy: &Value, pod: &Value) -> bool {
    let selector = &policy["spec"]["podSelector"];
    assert!(selector["matchExpressions"].is_null(), "not evaluated here: {selector}");
    let mut wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.all(|(label, value)| pod["metadata"]["labels"][label] == *value)
}

/// The number of a port that a policy may name as the container does.
fn number(port: &Value, pod: &Value) -> Option<u64> {
    let named = |declared: &&Value| declared["name"] == *port;
    port.as_u64().or_else(|| {
        let containers = list(&pod["spec"]["containers"]);
        containers.flat_map(|it| list(&it["ports"])).find(named)?["containerPort"].as_u64()
    })
}

/// Whether a Pod may have a connection: all may that no policy selects for its direction, and otherwise what some rule
/// allows.
fn allowed(policies: &[Value], pod: &Value, connection: &Connection) -> bool {
    let Connection { direction, protocol, port } = connection;
    let governs = |policy: &&Value| {
        selects(policy, pod) && list(&policy["spec"]["policyTypes"]).any(|it| it == direction)
    };
    let mut governing = policies.iter().filter(governs).peekable();
    if governing.peek().is_none() {
        return true;
    }
    let mut rules = governing.flat_map(|policy| list(&policy["spec"][direction.to_lowercase()]));
    rules.any(|rule| {
        assert!(rule["from"].is_null() && rule["to"].is_null(), "peers are not evaluated here: {rule}");
        let allows =
            |it: &Value| it["protocol"] == *protocol && number(&it["port"], pod) == Some((*port).into());
        rule["ports"].is_null() || list(&rule["ports"]).any(allows)
    })
}

/// The policies of these values, and the Pods as they come of the templates.
fn rendered(values: &[&str]) -> (Vec<Value>, [Value; 3]) {
    let values = [&["--set=networkpolicies.enabled=true", "--set=crds.enabled=false"], values].concat();
    let all = documents(&Helm::find().unwrap().template(values).unwrap()).unwrap();
    let one = |kind| all.iter().find(|object| object["kind"] == kind).unwrap().clone();
    let template = |kind| one(kind)["spec"]["template"].clone();
    let pods = [template("Deployment"), template("DaemonSet"), one("Pod")];
    (all.into_iter().filter(|object| object["kind"] == "NetworkPolicy").collect(), pods)
}

#[test]
fn policies_allow_what_is_needed_and_nothing_else() {
    for deny in ["--set=networkpolicies.defaultDeny=false", "--set=networkpolicies.defaultDeny=true"] {
        for (value, gossips) in [
            ("--set=controller.recoverEndpoints=false", false),
            ("--set=controller.recoverEndpoints=true", true),
            ("--set=controller.nodeAddressPools.enabled=true", true),
        ] {
            let (policies, [controller, speaker, test]) = rendered(&[deny, value]);
            for needed in [&API_SERVER, &SCRAPE, &PROBE] {
                assert!(allowed(&policies, &controller, needed), "{} {}", needed.direction, needed.port);
            }
            for gossip in &GOSSIP {
                assert_eq!(allowed(&policies, &controller, gossip), gossips, "{value} {}", gossip.direction);
            }
            for else_ in &ANYTHING_ELSE {
                assert!(!allowed(&policies, &controller, else_), "{} {}", else_.direction, else_.port);
            }
            // Policies don't govern Pods in the node's network.
            assert_eq!(speaker["spec"]["hostNetwork"], true);
            // `helm test` serves a request to itself, by way of an address that nobody knows before.
            for needed in [
                &API_SERVER,
                &Connection { direction: "Ingress", protocol: "TCP", port: 8080 },
                &Connection { direction: "Egress", protocol: "TCP", port: 80 },
            ] {
                assert!(allowed(&policies, &test, needed), "{} {}", needed.direction, needed.port);
            }
            let stranger = json!({"metadata": {"labels": {"app": "other"}}});
            assert_eq!(allowed(&policies, &stranger, &API_SERVER), deny.ends_with("false"));
        }
    }
}

#[test]
fn policies_follow_the_ports_in_the_values() {
    let ports = [
        "--set=networkpolicies.apiPort=443",
        "--set=prometheus.metricsPort=9100",
        "--set=controller.livenessProbe.port=9101",
        "--set=speaker.memberlist.mlBindPort=7999",
        "--set=controller.recoverEndpoints=true",
    ];
    let (policies, [controller, ..]) = rendered(&ports);
    for (direction, protocol, port, expected) in [
        ("Egress", "TCP", 443, true),
        ("Egress", "TCP", 6443, false),
        ("Ingress", "TCP", 9100, true),
        ("Ingress", "TCP", 9120, false),
        ("Ingress", "TCP", 9101, true),
        ("Ingress", "TCP", 17472, false),
        ("Egress", "UDP", 7999, true),
        ("Ingress", "UDP", 7946, false),
    ] {
        let connection = Connection { direction, protocol, port };
        assert_eq!(allowed(&policies, &controller, &connection), expected, "{direction} {protocol} {port}");
    }
}

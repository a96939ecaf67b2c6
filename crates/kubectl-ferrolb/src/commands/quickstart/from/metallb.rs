//! MetalLB: its objects in another namespace than FerroLB's, or its ConfigMap of before version 0.13.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::carried::{Carried, text};

/// The same objects for FerroLB's namespace. Those that are in it are read as they are.
pub(super) fn convert(objects: &[Value], system: &str) -> Carried {
    let key = |it: &Value| (text(it, "/kind").to_owned(), text(it, "/metadata/name").to_owned());
    let is_ours = |it: &&Value| text(it, "/metadata/namespace") == system;
    let mut taken: BTreeSet<_> = objects.iter().filter(is_ours).map(key).collect();
    let mut carried = Carried::default();
    for object in objects.iter().filter(|it| !is_ours(it)) {
        let (kind, name) = key(object);
        let what = format!("{kind} {name} in namespace {}", text(object, "/metadata/namespace"));
        if let Some(secret) = object.pointer("/spec/passwordSecret/name").and_then(Value::as_str) {
            carried.lose(
                &format!("Secret {secret} of {what}"),
                format!("copy it into namespace {system}; until it is there, the speakers do not connect to that router"),
            );
        }
        if taken.insert((kind.clone(), name.clone())) {
            let mut metadata = json!({"name": name});
            // Advertisements select pools by these.
            if let Some(labels) = object.pointer("/metadata/labels") {
                metadata["labels"] = labels.clone();
            }
            carried.objects.push(json!({
                "apiVersion": version_of(&kind), "kind": object["kind"], "metadata": metadata,
                "spec": object.get("spec").cloned().unwrap_or_else(|| json!({})),
            }));
        } else {
            carried.lose(&what, format!("there is one of that name for namespace {system} already"));
        }
    }
    carried
}

/// The version in which an object of a kind says all that it can.
fn version_of(kind: &str) -> &'static str {
    if kind == "BGPPeer" { "metallb.io/v1beta2" } else { "metallb.io/v1beta1" }
}

/// What FerroLB makes of those objects of its namespace that are about BGP, which MetalLB may have served before: it reads
/// them as they are.
pub(super) fn about_bgp(objects: &[Value], system: &str) -> Vec<String> {
    let ours = objects.iter().filter(|it| text(it, "/metadata/namespace") == system);
    let mut told = Vec::new();
    for peer in ours.filter(|it| it["kind"] == "BGPPeer") {
        let number = |field: &str| peer["spec"][field].as_u64();
        let asn = |field: &str| number(field).map_or_else(|| "?".to_owned(), |asn| asn.to_string());
        let to = match (text(peer, "/spec/peerAddress"), text(peer, "/spec/interface")) {
            ("", interface) => format!("the router on {interface}"),
            (address, _) => format!("{address}:{}", number("peerPort").unwrap_or(179)),
        };
        let theirs = match text(peer, "/spec/dynamicASN") {
            "" => format!("AS {}", asn("peerASN")),
            dynamic => format!("any {dynamic} AS"),
        };
        let graceful = peer["spec"]["enableGracefulRestart"] == true;
        told.push(format!(
            "BGPPeer {}: each node connects to {to} as AS {} to {theirs}, as MetalLB's does; {}",
            text(peer, "/metadata/name"),
            asn("myASN"),
            if graceful {
                "the router keeps the routes while the sessions move (enableGracefulRestart)"
            } else {
                "its routes are gone for the seconds that a session takes to move: spec.enableGracefulRestart, which cannot be changed afterwards, avoids that"
            }
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_about_bgp_that_stay_are_told_with_what_comes_of_them() {
        let peer = |name: &str, namespace: &str, spec: Value| json!({"kind": "BGPPeer", "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let told = about_bgp(
            &[
                peer("a", "lb", json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"})),
                peer(
                    "b",
                    "lb",
                    json!({"myASN": 64512, "dynamicASN": "external", "interface": "eth0", "enableGracefulRestart": true}),
                ),
                peer("c", "elsewhere", json!({"myASN": 64512})),
            ],
            "lb",
        );
        let [first, second] = &told[..] else { panic!("{told:?}") };
        assert!(
            first.starts_with("BGPPeer a: each node connects to 192.0.2.1:179 as AS 64512 to AS 64513"),
            "{first}"
        );
        assert!(first.contains("gone for the seconds"), "{first}");
        assert!(second.contains("the router on eth0 as AS 64512 to any external AS"), "{second}");
        assert!(second.ends_with("(enableGracefulRestart)"), "{second}");
    }

    #[test]
    fn objects_of_another_namespace_are_copied_and_those_of_ferrolbs_are_let_alone() {
        let object = |kind: &str, namespace: &str, name: &str| {
            json!({
                "kind": kind, "spec": {"a": 1}, "status": {"b": 2},
                "metadata": {"name": name, "namespace": namespace, "uid": "u", "labels": {"zone": "a"}},
            })
        };
        let it = convert(
            &[
                object("IPAddressPool", "lb", "here"),
                object("IPAddressPool", "metallb-system", "lan"),
                object("IPAddressPool", "metallb-system", "here"),
                object("L2Advertisement", "metallb-system", "lan"),
                json!({
                    "kind": "BGPPeer", "metadata": {"name": "router", "namespace": "metallb-system"},
                    "spec": {"myASN": 64512, "passwordSecret": {"name": "secret"}},
                }),
            ],
            "lb",
        );
        assert_eq!(it.objects.len(), 3);
        assert_eq!(it.objects[2]["apiVersion"], "metallb.io/v1beta2");
        assert_eq!(
            it.objects[0],
            json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": {"name": "lan", "labels": {"zone": "a"}}, "spec": {"a": 1},
            })
        );
        assert!(it.lost[0].contains("IPAddressPool here"), "{it:?}");
        assert!(
            it.lost[1].starts_with("Secret secret of BGPPeer router") && it.lost[1].contains("lb"),
            "{it:?}"
        );
        assert_eq!(convert(&[object("IPAddressPool", "lb", "here")], "lb"), Carried::default());
    }
}

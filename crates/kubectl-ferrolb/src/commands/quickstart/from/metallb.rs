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
        if kind != "IPAddressPool" && kind != "L2Advertisement" {
            carried.lose(&what, format!("copy it into namespace {system} by hand if you need it"));
        } else if taken.insert((kind, name.clone())) {
            let mut metadata = json!({"name": name});
            // Advertisements select pools by these.
            if let Some(labels) = object.pointer("/metadata/labels") {
                metadata["labels"] = labels.clone();
            }
            carried.objects.push(json!({
                "apiVersion": "metallb.io/v1beta1", "kind": object["kind"], "metadata": metadata,
                "spec": object.get("spec").cloned().unwrap_or_else(|| json!({})),
            }));
        } else {
            carried.lose(&what, format!("there is one of that name for namespace {system} already"));
        }
    }
    carried
}

#[cfg(test)]
mod tests {
    use super::*;

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
                object("BGPPeer", "metallb-system", "router"),
            ],
            "lb",
        );
        assert_eq!(it.objects.len(), 2);
        assert_eq!(
            it.objects[0],
            json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                "metadata": {"name": "lan", "labels": {"zone": "a"}}, "spec": {"a": 1},
            })
        );
        assert!(it.lost[0].contains("IPAddressPool here") && it.lost[1].contains("BGPPeer router"), "{it:?}");
        assert_eq!(convert(&[object("IPAddressPool", "lb", "here")], "lb"), Carried::default());
    }
}

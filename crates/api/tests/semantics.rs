//! What server-side apply and the limits make of each list and map: the same as with upstream's definitions,
//! or two field managers would get another result here than there.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use serde_json::Value;

/// Every list and map that says how it is merged. What is not here is left at the default: lists are atomic,
/// maps are merged field by field.
const MERGED: &[&str] = &[
    "AddressReservation v1alpha1 .spec.serviceSelectors[] atomic map",
    "AddressReservation v1alpha1 .status.conditions map list by type",
    "BGPAdvertisement v1beta1 .spec.ipAddressPoolSelectors[] atomic map",
    "BGPAdvertisement v1beta1 .spec.nodeSelectors[] atomic map",
    "BGPAdvertisement v1beta1 .spec.serviceSelectors[] atomic map",
    "BGPAdvertisement v1beta1 .status.conditions map list by type",
    "BGPPeer v1beta1 .spec.passwordSecret atomic map",
    "BGPPeer v1beta1 .status.conditions map list by type",
    "BGPPeer v1beta2 .spec.nodeSelectors[] atomic map",
    "BGPPeer v1beta2 .spec.passwordSecret atomic map",
    "BGPPeer v1beta2 .status.conditions map list by type",
    "ConfigurationState v1beta1 .status.conditions map list by type",
    "IPAddressPool v1beta1 .spec.serviceAllocation.namespaceSelectors[] atomic map",
    "IPAddressPool v1beta1 .spec.serviceAllocation.serviceSelectors[] atomic map",
    "IPAddressPool v1beta1 .status.conditions map list by type",
    "L2Advertisement v1beta1 .spec.ipAddressPoolSelectors[] atomic map",
    "L2Advertisement v1beta1 .spec.nodeSelectors[] atomic map",
    "L2Advertisement v1beta1 .spec.preferredNodeSelectors[].preference atomic map",
    "L2Advertisement v1beta1 .spec.serviceSelectors[] atomic map",
    "L2Advertisement v1beta1 .status.conditions map list by type",
    "NodeAddressPool v1alpha1 .spec.nodeSelectors[] atomic map",
    "NodeAddressPool v1alpha1 .spec.serviceAllocation.namespaceSelectors[] atomic map",
    "NodeAddressPool v1alpha1 .spec.serviceAllocation.serviceSelectors[] atomic map",
    "NodeAddressPool v1alpha1 .status.conditions map list by type",
];

/// Every value that the API server fills in, which is part of what is stored and merged.
const DEFAULTS: &[&str] = &[
    "BGPAdvertisement v1beta1 .spec.aggregationLength 32",
    "BGPAdvertisement v1beta1 .spec.aggregationLengthV6 128",
    "BGPPeer v1beta2 .spec.disableMP false",
    "BGPPeer v1beta2 .spec.dualStackAddressFamily false",
    "BGPPeer v1beta2 .spec.peerPort 179",
    "IPAddressPool v1beta1 .spec.autoAssign true",
    "IPAddressPool v1beta1 .spec.avoidBuggyIPs false",
    r#"NodeAddressPool v1alpha1 .spec.addresses "Auto""#,
    "NodeAddressPool v1alpha1 .spec.autoAssign true",
    "NodeAddressPool v1alpha1 .spec.k3sLabels false",
    "NodeAddressPool v1alpha1 .spec.protectListeners true",
    r#"NodeAddressPool v1alpha1 .spec.protectedPorts ["TCP/22","TCP/179","TCP/2379-2382","UDP/4789","TCP/6443-6444","TCP/7472","7946","UDP/8472","TCP/9345","TCP/10248-10260"]"#,
];

/// Every list with a limit. Upstream has none; here they are what lets the rules be judged.
const LIMITS: &[&str] = &[
    "AddressReservation v1alpha1 .spec.addresses 2",
    "AddressReservation v1alpha1 .spec.ipFamilies 2",
    "AddressReservation v1alpha1 .spec.serviceSelectors 64",
    "BGPAdvertisement v1beta1 .spec.communities 4096",
    "BGPAdvertisement v1beta1 .spec.ipAddressPools 4096",
    "BGPAdvertisement v1beta1 .spec.peers 4096",
    "Community v1beta1 .spec.communities 4096",
    "IPAddressPool v1beta1 .spec.addresses 4096",
    "IPAddressPool v1beta1 .spec.serviceAllocation.namespaces 4096",
    "L2Advertisement v1beta1 .spec.ipAddressPools 4096",
    "NodeAddressPool v1alpha1 .spec.protectedPorts 256",
    "NodeAddressPool v1alpha1 .spec.serviceAllocation.namespaces 4096",
];

/// What `tell` says of each part of every schema, one line each, with kind, version and path before it.
fn lines(tell: impl Fn(&str, &Value) -> Option<String>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for crd in api::crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            let schema = serde_json::to_value(schema).unwrap();
            for (path, part) in parts(String::new(), &schema) {
                let line = tell(&path, part);
                lines.extend(
                    line.map(|line| format!("{} {} {path} {line}", crd.spec.names.kind, version.name)),
                );
            }
        }
    }
    lines
}

fn parts(path: String, schema: &Value) -> Vec<(String, &Value)> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut parts: Vec<_> = fields.flat_map(|(name, field)| parts(format!("{path}.{name}"), field)).collect();
    if schema["items"].is_object() {
        parts.extend(self::parts(format!("{path}[]"), &schema["items"]));
    }
    parts.push((path, schema));
    parts
}

fn assert_same(found: &BTreeSet<String>, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    let [extra, missing] = [found - &expected, &expected - found];
    assert!(extra.is_empty() && missing.is_empty(), "not expected: {extra:#?}, missing: {missing:#?}");
}

#[test]
fn lists_and_maps_are_merged_as_upstream_does() {
    let merged = |path: &str, part: &Value| {
        if let Some(type_) = part["x-kubernetes-map-type"].as_str() {
            return Some(format!("{type_} map"));
        }
        let type_ = part["x-kubernetes-list-type"].as_str()?;
        let keys = part["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
        let keys: String = keys.map(|key| format!(" by {}", key.as_str().unwrap())).collect();
        // The lists within a selector, which is atomic as a whole.
        let within_selector = path.ends_with(".matchExpressions") || path.ends_with(".values");
        (!within_selector || type_ != "atomic").then(|| format!("{type_} list{keys}"))
    };
    assert_same(&lines(merged), MERGED);
}

#[test]
fn defaults_are_upstream_s_where_it_has_the_kind() {
    assert_same(&lines(|_, part| part.get("default").map(Value::to_string)), DEFAULTS);
}

#[test]
fn a_list_takes_thousands_of_entries() {
    assert_same(&lines(|_, part| part.get("maxItems").map(Value::to_string)), LIMITS);
}

#[test]
fn null_stands_for_no_field() {
    assert_same(&lines(|_, part| part.get("nullable").map(Value::to_string)), &[]);
}

#[test]
fn every_label_selector_takes_any_label() {
    let labels = |path: &str, part: &Value| {
        path.ends_with(".matchLabels").then(|| part["additionalProperties"]["type"].to_string())
    };
    let found = lines(labels);
    assert_eq!(found.len(), 15, "{found:#?}");
    assert!(found.iter().all(|line| line.ends_with(" \"string\"")), "{found:#?}");
}

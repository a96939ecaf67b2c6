use serde_json::{Value, json};

use crate::AddressEntry;

use super::*;

fn pool(spec: &Value) -> Vec<String> {
    read::<IPAddressPool>(spec).warnings()
}

fn advertisement(spec: &Value) -> Vec<String> {
    read::<L2Advertisement>(spec).warnings()
}

fn read<T: serde::de::DeserializeOwned>(spec: &Value) -> T {
    serde_json::from_value(json!({"metadata": {"name": "it"}, "spec": spec})).unwrap()
}

fn community(name: &str, aliases: &[&str]) -> Community {
    let communities: Vec<Value> = aliases.iter().map(|name| json!({"name": name, "value": "1:1"})).collect();
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"communities": communities}})).unwrap()
}

/// What is said to one node selector.
fn selecting(selector: &Value) -> Vec<String> {
    advertisement(&json!({"nodeSelectors": [selector]}))
}

#[test]
fn ordinary_objects_give_no_warning() {
    let manifests = include_str!("../../tests/api_server/accepted.yaml");
    for manifest in manifests.split("\n---\n") {
        let manifest: Value = serde_saphyr::from_str(manifest).unwrap();
        let warnings = match manifest["kind"].as_str().unwrap() {
            "IPAddressPool" => serde_json::from_value::<IPAddressPool>(manifest.clone()).unwrap().warnings(),
            "L2Advertisement" => {
                serde_json::from_value::<L2Advertisement>(manifest.clone()).unwrap().warnings()
            }
            "BGPAdvertisement" => {
                serde_json::from_value::<BGPAdvertisement>(manifest.clone()).unwrap().warnings()
            }
            "BGPPeer" => serde_json::from_value::<BGPPeer>(manifest.clone()).unwrap().warnings(),
            "Community" => serde_json::from_value::<Community>(manifest.clone()).unwrap().warnings(),
            _ => continue,
        };
        // One entry of these manifests is written with host bits, on purpose.
        let unexpected: Vec<_> =
            warnings.iter().filter(|warning| !warning.contains("\"10.2.0.7/24\"")).collect();
        assert!(unexpected.is_empty(), "{unexpected:?} for {manifest:#}");
    }
}

#[test]
fn a_network_written_with_a_host_s_address_is_pointed_out() {
    let meant =
        |entry: &str| AddressEntry(entry.to_owned()).network_meant().map(|network| network.to_string());
    for (entry, expected) in [
        ("192.168.100.200/28", Some("192.168.100.192/28")),
        ("fd00::5/120", Some("fd00::/120")),
        ("192.168.100.192/28", None),
        ("192.168.100.200/32", None),
        ("192.168.100.200-192.168.100.207", None),
        ("192.168.100.200", None),
        ("nonsense/28", None),
    ] {
        assert_eq!(meant(entry).as_deref(), expected, "{entry}");
    }
    assert_eq!(
        pool(&json!({"addresses": ["10.0.0.0/24", "192.168.100.200/28"]})),
        [
            "spec.addresses[1] \"192.168.100.200/28\" means 192.168.100.192-192.168.100.207, all of the network: write \"192.168.100.192/28\" if that is meant, else a range"
        ]
    );
}

#[test]
fn a_pool_s_allocation_is_checked() {
    let allocation =
        |allocation: Value| pool(&json!({"addresses": ["10.0.0.0/24"], "serviceAllocation": allocation}));
    let only = |allocation: Value, expected: &str| {
        let warnings = only(pool(&json!({"addresses": ["10.0.0.0/24"], "serviceAllocation": allocation})));
        assert!(warnings.starts_with(&format!("spec.serviceAllocation.{expected}")), "{warnings}");
    };
    only(json!({"priority": -1}), "priority -1 is below zero: write 1");
    only(json!({"namespaces": ["a", "b", "a"]}), "namespaces[2] \"a\" is the same as [0]: keep one");
    only(json!({"namespaces": [""]}), "namespaces[0] \"\" is empty: write at most 63");
    only(json!({"namespaces": ["Team"]}), "namespaces[0] \"Team\" is no name that a namespace can have");
    only(json!({"namespaces": ["a.b"]}), "namespaces[0] \"a.b\" is no name that a namespace can have");
    only(
        json!({"serviceSelectors": [{"matchLabels": {"a": "b c"}}]}),
        "serviceSelectors[0].matchLabels[\"a\"]: no label",
    );
    only(
        json!({"namespaceSelectors": [{"matchLabels": {"a": "b"}}, {"matchLabels": {"a": "b"}}]}),
        "namespaceSelectors[1] is the same as [0]: keep one",
    );
    assert!(allocation(json!({"namespaces": ["a", "b"], "priority": 0})).is_empty());
}

fn only(mut warnings: Vec<String>) -> String {
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings.remove(0)
}

#[test]
fn names_that_nothing_can_have_are_pointed_out() {
    let only = |spec: Value, expected: &str| {
        let warning = only(advertisement(&spec));
        assert!(warning.starts_with(expected), "{warning}");
    };
    only(json!({"ipAddressPools": ["gold", ""]}), "spec.ipAddressPools[1] \"\" is empty: write a name");
    only(
        json!({"ipAddressPools": ["Gold"]}),
        "spec.ipAddressPools[0] \"Gold\" is no name that an object can have",
    );
    only(json!({"ipAddressPools": ["a", "a"]}), "spec.ipAddressPools[1] \"a\" is the same as [0]: keep one");
    only(
        json!({"interfaces": ["enp0s31f6.1234567"]}),
        "spec.interfaces[0] \"enp0s31f6.1234567\" has 17 bytes",
    );
    only(json!({"interfaces": ["a/b"]}), "spec.interfaces[0] \"a/b\" is no name that an interface can have");
    only(json!({"interfaces": ["eth0 "]}), "spec.interfaces[0] \"eth0 \" is no name");
    only(json!({"interfaces": ["eth0:1"]}), "spec.interfaces[0] \"eth0:1\" is no name");
    only(json!({"interfaces": [""]}), "spec.interfaces[0] \"\" is empty");
    only(json!({"interfaces": ["eth0", "eth0"]}), "spec.interfaces[1] \"eth0\" is the same as [0]");
    assert!(advertisement(&json!({"interfaces": ["enp0s31f6.12345", "br-lan", "bond0.12"]})).is_empty());
}

#[test]
fn a_selector_that_can_match_nothing_is_pointed_out() {
    let expressions = |list: Value| selecting(&json!({"matchExpressions": list}));
    let nothing = |list: Value, why: &str| {
        assert_eq!(
            only(expressions(list)),
            format!(
                "spec.nodeSelectors[0] can match nothing, for \"zone\" {why}: remove one of its requirements"
            )
        );
    };
    let expression =
        |operator: &str, values: &[&str]| json!({"key": "zone", "operator": operator, "values": values});
    let no_value = "has no value left that all of its requirements allow";
    nothing(json!([expression("In", &["a"]), expression("NotIn", &["a", "b"])]), no_value);
    nothing(json!([expression("In", &["a", "b"]), expression("In", &["c"])]), no_value);
    let both = "must be there and must be missing";
    nothing(json!([expression("Exists", &[]), expression("DoesNotExist", &[])]), both);
    nothing(json!([expression("In", &["a"]), expression("DoesNotExist", &[])]), both);
    assert_eq!(
        only(selecting(
            &json!({"matchLabels": {"zone": "a"}, "matchExpressions": [expression("NotIn", &["a"])]})
        )),
        format!(
            "spec.nodeSelectors[0] can match nothing, for \"zone\" {no_value}: remove one of its requirements"
        )
    );
    assert!(expressions(json!([expression("In", &["a", "b"]), expression("NotIn", &["a"])])).is_empty());
    assert!(expressions(json!([expression("NotIn", &["a"]), expression("DoesNotExist", &[])])).is_empty());
}

#[test]
fn labels_that_cannot_exist_are_pointed_out() {
    let long = "x".repeat(64);
    for key in ["", "a b", "/a", "a/", "a/b/c", "Example.com/a", "-a", "a_", &long] {
        let warning = only(selecting(&json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})));
        let expected =
            format!("spec.nodeSelectors[0].matchExpressions[0].key: no label can have the key {key:?}");
        assert!(warning.starts_with(&expected), "{warning}");
    }
    for value in ["a b", "-", "a/b", "_a", &long] {
        let list = json!([{"key": "zone", "operator": "In", "values": ["a", value]}]);
        let warning = only(selecting(&json!({"matchExpressions": list})));
        let expected = format!(
            "spec.nodeSelectors[0].matchExpressions[0].values[1]: no label can have the value {value:?}"
        );
        assert!(warning.starts_with(&expected), "{warning}");
    }
    for (key, value) in [("a", ""), ("A.b_c-d", "A.b_c-d"), ("kubernetes.io/hostname", "n1"), ("9", "9")] {
        assert!(selecting(&json!({"matchLabels": {key: value}})).is_empty(), "{key} {value}");
    }
}

#[test]
fn what_a_selector_says_twice_is_pointed_out() {
    let twice = json!([
        {"key": "zone", "operator": "In", "values": ["a", "b"]},
        {"key": "zone", "operator": "In", "values": ["b", "a"]},
    ]);
    assert_eq!(
        only(selecting(&json!({"matchExpressions": twice}))),
        "spec.nodeSelectors[0].matchExpressions[1] is the same as [0]: keep one"
    );
    let values = json!([{"key": "zone", "operator": "In", "values": ["a", "b", "a"]}]);
    assert_eq!(
        only(selecting(&json!({"matchExpressions": values}))),
        "spec.nodeSelectors[0].matchExpressions[0].values[2] \"a\" is the same as [0]: keep one"
    );
    let selector = json!({"matchLabels": {"zone": "a", "rack": "b"}});
    assert_eq!(
        only(advertisement(
            &json!({"serviceSelectors": [selector, {"matchLabels": {"zone": "b"}}, selector]})
        )),
        "spec.serviceSelectors[2] is the same as [0]: keep one"
    );
    let empty = only(advertisement(&json!({"ipAddressPoolSelectors": [{}, selector]})));
    assert!(empty.starts_with("spec.ipAddressPoolSelectors[0] is empty and matches everything"), "{empty}");
    assert!(advertisement(&json!({"ipAddressPoolSelectors": [{}]})).is_empty());
}

#[test]
fn preferences_are_checked() {
    let prefer =
        |weight: i32, labels: Value| json!({"weight": weight, "preference": {"matchLabels": labels}});
    let warning = |list: Value| only(advertisement(&json!({"preferredNodeSelectors": list})));
    assert_eq!(
        warning(json!([prefer(0, json!({"zone": "a"}))])),
        "spec.preferredNodeSelectors[0].weight 0 is out of range: write 1 to 100"
    );
    let empty = warning(json!([prefer(1, json!({}))]));
    assert!(empty.starts_with("spec.preferredNodeSelectors[0].preference is empty"), "{empty}");
    let same = warning(json!([prefer(1, json!({"zone": "a"})), prefer(2, json!({"zone": "a"}))]));
    assert!(same.starts_with("spec.preferredNodeSelectors[1].preference is the same as [0]"), "{same}");
    let key = warning(json!([prefer(1, json!({"zone!": "a"}))]));
    assert!(key.starts_with("spec.preferredNodeSelectors[0].preference.matchLabels: no label"), "{key}");
}

#[test]
fn communities_are_checked() {
    let listed = |list: Value| read::<BGPAdvertisement>(&json!({"communities": list})).warnings();
    assert_eq!(
        only(listed(json!(["64512:1", "no-export", "064512:01"]))),
        "spec.communities[2] \"064512:01\" is the same as [0] \"64512:1\": keep one"
    );
    assert!(only(listed(json!([""]))).starts_with("spec.communities[0] is empty"));
    assert!(listed(json!(["0:0", "0:00001", "large:1:2:3", "a", "0a"])).is_empty());

    let defined = |aliases: &[&str]| community("c", aliases).warnings();
    assert!(only(defined(&[""])).starts_with("spec.communities[0].name is empty"));
    assert!(
        only(defined(&["a", "1:1"])).starts_with("spec.communities[1].name \"1:1\" is a community by itself")
    );
    assert_eq!(
        only(defined(&["a", "b", "a"])),
        "spec.communities[2].name \"a\" is the same as [0]: keep one"
    );
}

#[test]
fn names_of_communities_are_compared_across_objects() {
    let objects =
        [community("one", &["a", "b"]), community("two", &["c", "b"]), community("three", &["d", "d"])];
    let warnings = aliases_defined_twice(&objects);
    let objects_named: Vec<&str> = warnings.keys().map(String::as_str).collect();
    assert_eq!(objects_named, ["one", "two"]);
    assert_eq!(
        warnings["one"],
        ["spec.communities[1].name \"b\" is defined by Community two too: keep one of them"]
    );
    let spec = json!({"communities": ["a", "x", "64512:1"]});
    assert_eq!(
        undefined_aliases(&read(&spec), &objects),
        [
            "spec.communities[1] \"x\" is defined by no Community: write one that defines it, or correct the name"
        ]
    );
}

#[test]
fn a_peer_is_checked() {
    let peer = |fields: Value| only(read::<BGPPeer>(&fields).warnings());
    let both = peer(json!({"myASN": 1, "password": "p", "passwordSecret": {"name": "s"}}));
    assert_eq!(both, "spec.password and spec.passwordSecret \"s\" exclude each other: keep one");
    assert!(peer(json!({"myASN": 1, "interface": "a/b"})).starts_with("spec.interface \"a/b\" is no name"));
}

#[test]
fn thousands_of_entries_are_checked_at_once() {
    let names: Vec<String> = (0..20_000).map(|n| format!("pool-{n}")).collect();
    let selectors: Vec<Value> =
        (0..5_000).map(|n| json!({"matchLabels": {"pool": format!("p{n}")}})).collect();
    let before = std::time::Instant::now();
    assert!(advertisement(&json!({"ipAddressPools": names, "ipAddressPoolSelectors": selectors})).is_empty());
    // All pairs would take minutes.
    assert!(before.elapsed() < std::time::Duration::from_secs(5), "{:?}", before.elapsed());
}

#[test]
fn addresses_that_no_client_reaches_are_told_with_what_they_are() {
    for (entry, expected) in [
        ("224.0.0.0/24", "224.0.0.0/4 (multicast)"),
        ("127.0.0.1/32", "127.0.0.0/8 (loopback)"),
        ("0.0.0.0/0", "0.0.0.0/8 (none of hosts)"),
        ("255.255.255.0-255.255.255.255", "255.255.255.255/32 (broadcast)"),
        ("169.254.7.0/24", "169.254.0.0/16 (link-local)"),
        ("fe80::1-fe80::5", "fe80::/10 (link-local)"),
        ("ff02::1/128", "ff00::/8 (multicast)"),
        ("::1/128", "::/127 (none of hosts)"),
    ] {
        let said = pool(&json!({"addresses": [entry]}));
        assert!(said.iter().any(|it| it.contains(expected)), "{entry}: {said:?}");
    }
    for entry in ["10.0.0.0/8", "240.0.0.0/24", "2001:db8::/64", "fd00::1-fd00::9", "1.0.0.0/24", "typo"] {
        assert_eq!(pool(&json!({"addresses": [entry]})), [""; 0], "{entry}");
    }
}

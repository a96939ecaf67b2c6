//! Manifests that are refused, each with a part of the sentence that people get to read.

use serde_json::{Value, json};

/// Version and kind, spec, and what the refusal says.
pub(crate) type Refused = (&'static str, Value, &'static str);

pub(crate) fn pools() -> Vec<Refused> {
    let pool =
        |addresses: Value, message| ("v1beta1 IPAddressPool", json!({"addresses": addresses}), message);
    let allocation = |allocation: Value, message| {
        let spec = json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": allocation});
        ("v1beta1 IPAddressPool", spec, message)
    };
    vec![
        ("v1beta1 IPAddressPool", json!({}), "spec.addresses: Required value"),
        pool(json!([]), "a pool needs at least one entry: write a range"),
        pool(json!(["192.0.2.7"]), "192.0.2.7 is a single address: write 192.0.2.7/32"),
        pool(json!(["fd00::7"]), "fd00::7 is a single address: write fd00::7/128"),
        pool(json!(["192.0.2.0/33"]), "192.0.2.0/33 is not a CIDR"),
        pool(json!(["192.0.2/24"]), "192.0.2/24 is not a CIDR"),
        pool(json!([""]), " is not a CIDR"),
        pool(json!(["192.0.2.1-"]), "192.0.2.1- is not a range"),
        pool(json!(["192.0.2.1-192.0.2.x"]), "192.0.2.1-192.0.2.x is not a range"),
        pool(
            json!(["192.0.2.9-192.0.2.1"]),
            "192.0.2.9-192.0.2.1 ends before it starts: write 192.0.2.1-192.0.2.9",
        ),
        pool(json!(["192.0.2.1-fd00::1"]), "192.0.2.1-fd00::1 goes from one address family to the other"),
        pool(
            json!(["192.0.2.0/24", "198.51.100.0/24", "192.0.2.0/24"]),
            "entry 192.0.2.0/24 is listed more than once: keep one",
        ),
        pool(json!(["10.0.0.0/33", "::ffff:10.0.0.0/104"]), "10.0.0.0/33 is not a CIDR"),
        pool(json!(["::ffff:10.0.0.7"]), "::ffff:10.0.0.7 is not a CIDR"),
        allocation(json!({"namespaces": ["a", "b", "a"]}), "namespace a is listed more than once: keep one"),
        allocation(json!({"serviceSelectors": [unknown_operator()]}), "operator: Unsupported value: \"Is\""),
    ]
}

pub(crate) fn node_address_pools() -> Vec<Refused> {
    let pool = |spec: Value, message| ("v1alpha1 NodeAddressPool", spec, message);
    vec![
        pool(json!({"protectedPorts": ["ssh"]}), "spec.protectedPorts[0]: Invalid value"),
        pool(json!({"protectedPorts": ["tcp/22"]}), "spec.protectedPorts[0]: Invalid value"),
        pool(json!({"addresses": "Public"}), "spec.addresses: Unsupported value: \"Public\""),
        pool(json!({"nodeSelectors": [unknown_operator()]}), "operator: Unsupported value: \"Is\""),
    ]
}

pub(crate) fn address_reservations() -> Vec<Refused> {
    let reservation = |spec: Value, message| ("v1alpha1 AddressReservation", spec, message);
    let of = |addresses: Value, message| reservation(json!({"addresses": addresses}), message);
    vec![
        reservation(json!({}), "nothing to reserve: write addresses like [192.168.1.230]"),
        reservation(
            json!({"addresses": ["192.0.2.1"], "pool": "lan"}),
            "addresses and pool exclude each other: name the addresses",
        ),
        reservation(
            json!({"addresses": ["192.0.2.1"], "ipFamilies": ["IPv4"]}),
            "ipFamilies says what to choose from a pool",
        ),
        reservation(json!({"pool": "lan", "ipFamilies": ["IPv4", "IPv4"]}), "one family twice: keep one"),
        reservation(
            json!({"pool": "lan", "ipFamilies": ["IPv5"]}),
            "spec.ipFamilies[0]: Unsupported value: \"IPv5\"",
        ),
        reservation(
            json!({"pool": "lan", "serviceSelectors": [unknown_operator()]}),
            "operator: Unsupported value: \"Is\"",
        ),
        of(json!(["192.0.2.0/24"]), "not an IP address: write addresses without a prefix length"),
        of(json!(["web"]), "not an IP address"),
        of(json!(["192.0.2.1", "192.0.2.2"]), "two addresses of one family: write at most one of each"),
    ]
}

pub(crate) fn l2_advertisements() -> Vec<Refused> {
    let advertisement = |spec: Value, message| ("v1beta1 L2Advertisement", spec, message);
    vec![
        advertisement(json!({"ipAddressPools": ["a", "a"]}), "pool a is listed more than once: keep one"),
        advertisement(json!({"nodeSelectors": [unknown_operator()]}), "operator: Unsupported value: \"Is\""),
        advertisement(
            json!({"preferredNodeSelectors": [{"weight": 101, "preference": {}}]}),
            "spec.preferredNodeSelectors[0].weight: Invalid value: 101: spec.preferredNodeSelectors[0].weight in body should be less than or equal to 100",
        ),
    ]
}

pub(crate) fn bgp_advertisements() -> Vec<Refused> {
    let advertisement = |spec: Value, message| ("v1beta1 BGPAdvertisement", spec, message);
    let selector = json!([{"matchLabels": {"app": "web"}}]);
    vec![
        advertisement(json!({"aggregationLength": 0}), "should be greater than or equal to 1"),
        advertisement(json!({"aggregationLength": 33}), "should be less than or equal to 32"),
        advertisement(json!({"aggregationLengthV6": 129}), "should be less than or equal to 128"),
        advertisement(
            json!({"aggregationLength": 24, "serviceSelectors": selector}),
            "serviceSelectors choose single addresses, so they exclude aggregation",
        ),
        advertisement(
            json!({"aggregationLengthV6": 64, "serviceSelectors": selector}),
            "serviceSelectors choose single addresses, so they exclude aggregation",
        ),
        advertisement(json!({"localPref": -1}), "should be greater than or equal to 0"),
        advertisement(json!({"communities": ["65536:1"]}), "65536:1 is not a community: write two numbers"),
        advertisement(json!({"communities": ["no-export", "64512:x"]}), "64512:x is not a community"),
        advertisement(json!({"communities": ["1:2:3"]}), "1:2:3 is not a community"),
        advertisement(json!({"communities": ["big:1:2:3"]}), "big:1:2:3 is not a community"),
        advertisement(
            json!({"communities": ["large:4294967296:1:1"]}),
            "large:4294967296:1:1 is not a community",
        ),
        advertisement(
            json!({"communities": ["1:1", "a", "1:1"]}),
            "community 1:1 is listed more than once: keep one",
        ),
        advertisement(json!({"ipAddressPools": ["a", "a"]}), "pool a is listed more than once: keep one"),
        advertisement(json!({"peers": ["a", "a"]}), "peer a is listed more than once: keep one"),
        advertisement(json!({"nodeSelectors": [unknown_operator()]}), "operator: Unsupported value: \"Is\""),
    ]
}

pub(crate) fn bgp_peers() -> Vec<Refused> {
    // A peer that would be accepted, with some fields changed, those that are null taken out.
    let peer = |changes: Value, message| {
        let mut spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1"});
        spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        ("v1beta2 BGPPeer", spec, message)
    };
    let no_duration = "is not a duration: write a number with its unit";
    vec![
        peer(json!({"myASN": null}), "spec.myASN: Required value"),
        peer(json!({"myASN": 0}), "0 is not an AS number: write the one of this end"),
        peer(json!({"myASN": 4_294_967_296_i64}), "should be less than or equal to 4294967295"),
        peer(json!({"localASN": 0}), "should be greater than or equal to 1"),
        peer(json!({"peerASN": null}), "the AS number of the peer is missing: write peerASN, or dynamicASN"),
        peer(json!({"peerASN": 0}), "the AS number of the peer is missing: write peerASN, or dynamicASN"),
        peer(json!({"dynamicASN": "internal"}), "peerASN and dynamicASN exclude each other: keep one"),
        peer(json!({"peerASN": null, "dynamicASN": "any"}), "spec.dynamicASN: Unsupported value: \"any\""),
        peer(json!({"peerAddress": null}), "the way to the peer is missing: write peerAddress, or interface"),
        peer(json!({"interface": "eth0"}), "peerAddress and interface exclude each other: keep one"),
        peer(json!({"peerAddress": "router"}), "router is not an IP address: write one like 192.168.1.1"),
        peer(json!({"sourceAddress": "192.0.2.0/24"}), "192.0.2.0/24 is not an IP address"),
        peer(json!({"routerID": "1"}), "1 is not an IP address: write one like 192.168.1.10"),
        peer(json!({"peerPort": 0}), "should be greater than or equal to 1"),
        peer(json!({"peerPort": 16385}), "should be less than or equal to 16384"),
        peer(json!({"peerASN": 64500, "ebgpMultiHop": true}), "ebgpMultiHop is for a peer in another AS"),
        peer(json!({"holdTime": "90"}), no_duration),
        peer(json!({"holdTime": ""}), no_duration),
        peer(json!({"keepaliveTime": "often"}), no_duration),
        peer(json!({"connectTime": "10 s"}), no_duration),
        peer(json!({"holdTime": "2999ms"}), "2999ms is too short: write 3s or more, or 0s"),
        peer(json!({"holdTime": "-3s"}), "-3s is too short: write 3s or more, or 0s"),
        peer(
            json!({"holdTime": "30s", "keepaliveTime": "31s"}),
            "keepaliveTime 31s is longer than holdTime 30s: write a third of holdTime",
        ),
        peer(
            json!({"keepaliveTime": "999ms"}),
            "keepaliveTime 999ms gives a holdTime of three times as much",
        ),
        peer(json!({"connectTime": "500ms"}), "500ms is out of range: write 1s to 65535s"),
        peer(json!({"connectTime": "65536s"}), "65536s is out of range: write 1s to 65535s"),
        peer(json!({"connectTime": "1500ms"}), "1500ms has a fraction of a second: write whole seconds"),
        peer(json!({"nodeSelectors": [unknown_operator()]}), "operator: Unsupported value: \"Is\""),
    ]
}

pub(crate) fn old_bgp_peers() -> Vec<Refused> {
    let peer = |spec: Value, message| ("v1beta1 BGPPeer", spec, message);
    let valueless = json!([{"matchExpressions": [{"key": "rack", "operator": "Exists"}]}]);
    vec![
        peer(json!({"myASN": 64500, "peerAddress": "192.0.2.1"}), "spec.peerASN: Required value"),
        peer(json!({"myASN": 64500, "peerASN": 64501}), "spec.peerAddress: Required value"),
        peer(
            json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "nodeSelectors": valueless}),
            "spec.nodeSelectors[0].matchExpressions[0].values: Required value",
        ),
        peer(
            json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "192.0.2.1", "holdTime": "1s"}),
            "1s is too short: write 3s or more, or 0s",
        ),
    ]
}

pub(crate) fn bfd_profiles() -> Vec<Refused> {
    let profile = |spec: Value, message| ("v1beta1 BFDProfile", spec, message);
    vec![
        profile(json!({"receiveInterval": 9}), "should be greater than or equal to 10"),
        profile(json!({"transmitInterval": 60001}), "should be less than or equal to 60000"),
        profile(json!({"echoInterval": 9}), "should be greater than or equal to 10"),
        profile(json!({"detectMultiplier": 1}), "should be greater than or equal to 2"),
        profile(json!({"detectMultiplier": 256}), "should be less than or equal to 255"),
        profile(json!({"minimumTtl": 0}), "should be greater than or equal to 1"),
        profile(json!({"minimumTtl": 255}), "should be less than or equal to 254"),
    ]
}

pub(crate) fn communities() -> Vec<Refused> {
    let community =
        |communities: Value, message| ("v1beta1 Community", json!({"communities": communities}), message);
    vec![
        community(json!([{"name": "a"}]), "the value is missing: write two numbers like 64512:100"),
        community(json!([{"name": "a", "value": "1"}]), "1 is not a community: write two numbers"),
        community(json!([{"name": "a", "value": "65536:1"}]), "65536:1 is not a community"),
        community(json!([{"name": "a", "value": "1:-1"}]), "1:-1 is not a community"),
        community(
            json!([{"name": "a", "value": "large:1:2:4294967296"}]),
            "large:1:2:4294967296 is not a community",
        ),
    ]
}

fn unknown_operator() -> Value {
    json!({"matchExpressions": [{"key": "zone", "operator": "Is", "values": ["a"]}]})
}

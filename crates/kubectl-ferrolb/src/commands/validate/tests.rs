use serde_json::json;

use super::*;

/// What is found in a manifest without a cluster, as `SEVERITY message`.
fn found(yaml: &str) -> Vec<String> {
    let manifests = manifests::parse(yaml, "f").unwrap();
    let all: Vec<&Manifest> = manifests.iter().collect();
    let mut findings = Vec::new();
    all.iter().for_each(|it| check_alone(it, &mut findings));
    check_together(&all, vec![], &BTreeMap::new(), None, &mut findings);
    findings.iter().map(|it| format!("{:?} {}", it.severity, it.message)).collect()
}

fn pool(spec: &str) -> String {
    format!("{{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {{name: p}}, spec: {spec}}}")
}

#[test]
fn what_is_right_is_not_complained_of() {
    let advertisement = "{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: a}}";
    let yaml = format!("{}\n---\n{advertisement}\n", pool("{addresses: [10.0.0.0/28, fd00::/120]}"));
    assert_eq!(found(&yaml), [] as [String; 0]);
}

#[test]
fn each_fault_of_one_object_is_named_with_its_field() {
    for (spec, expected) in [
        (
            "{addresses: [10.0.0.1]}",
            "Error spec.addresses[0] \"10.0.0.1\": a single address needs its prefix length",
        ),
        ("{addresses: [10.0.0.9-10.0.0.1]}", "ends before it starts: write 10.0.0.1-10.0.0.9"),
        ("{addresses: [x]}", "not a CIDR"),
        ("{addresses: []}", "spec.addresses is empty"),
        ("{addresses: 10.0.0.0/28}", "Error spec.addresses is a text, and a list is wanted"),
        (
            "{addresses: [10.0.0.0/28], autoassign: false}",
            "Error spec.autoassign is no field: there are addresses, autoAssign",
        ),
        (
            "{addresses: [10.0.0.0/28], autoAssign: 'no'}",
            "Error spec.autoAssign is a text, and true or false is wanted",
        ),
        ("{addresses: [10.0.0.0/28, 10.0.0.4/30]}", "overlaps spec.addresses[0]"),
        ("{addresses: [10.0.0.1/28]}", "Warning spec.addresses[0] \"10.0.0.1/28\" means 10.0.0.0-10.0.0.15"),
    ] {
        let found = found(&pool(spec));
        assert!(found.iter().any(|it| it.contains(expected)), "{spec}: {found:?}");
    }
}

#[test]
fn pools_of_nodes_are_checked_by_the_definition_of_their_kind() {
    let of = |version: &str, kind: &str, spec: &str| {
        found(&format!(
            "{{apiVersion: ferrolb.io/{version}, kind: {kind}, metadata: {{name: nodes}}, spec: {spec}}}"
        ))
    };
    let pool = |spec| of("v1alpha1", "NodeAddressPool", spec);
    assert_eq!(pool("{k3sLabels: true, protectedPorts: [TCP/22]}"), [] as [String; 0]);
    let example = std::fs::read_to_string("../../examples/node-addresses.yaml").unwrap();
    let (pool_of_example, _) = example.split_once("\n---\n").unwrap();
    assert_eq!(found(pool_of_example), [] as [String; 0]);
    assert!(pool("{k3slabels: true}")[0].contains("spec.k3slabels is no field"));
    assert!(pool("{protectedPorts: [TCP/30-20]}")[0].starts_with("Error spec.protectedPorts[0]"));
    assert!(of("v1", "NodeAddressPool", "{}")[0].contains("write ferrolb.io/v1alpha1"));
    assert!(of("v1alpha1", "NodePool", "{}")[0].contains("NodeAddressPool"));
    let manifest = |yaml: &str| manifests::parse(yaml, "f").unwrap().remove(0);
    assert!(is_ours(&manifest(
        "{apiVersion: ferrolb.io/v1alpha1, kind: NodeAddressPool, metadata: {name: nodes}}"
    )));
    assert!(!is_ours(&manifest("{apiVersion: v1, kind: Service, metadata: {name: nodes}}")));
}

#[test]
fn reservations_are_checked_and_belong_to_any_namespace() {
    let reservation = |namespace: &str, spec: &str| {
        format!(
            "{{apiVersion: ferrolb.io/v1alpha1, kind: AddressReservation, metadata: {{name: r, namespace: {namespace}}}, spec: {spec}}}"
        )
    };
    let of = |spec: &str| found(&reservation("shop", spec));
    for fine in ["{addresses: [192.0.2.1, 'fd00::1']}", "{pool: lan, ipFamilies: [IPv6]}"] {
        assert_eq!(of(fine), [] as [String; 0], "{fine}");
    }
    assert!(of("{addresses: [192.0.2.1, 192.0.2.2]}")[0].starts_with("Error spec.addresses[1]"));
    assert!(of("{addresses: [192.0.2.1], pool: lan}")[0].contains("keep one of the two"));
    assert!(of("{adresses: [192.0.2.1]}")[0].contains("spec.adresses is no field"));
    let two = [reservation("shop", "{pool: lan}"), reservation("other", "{pool: lan}")].join("\n---\n");
    assert_eq!(found(&two), [] as [String; 0]);
    let manifest = manifests::parse(&reservation("shop", "{pool: lan}"), "f").unwrap().remove(0);
    assert_eq!(in_vain(&manifest, Some("metallb-system")), None);
}

#[test]
fn a_kind_or_version_that_there_is_not_is_named_with_those_that_there_are() {
    let of = |version: &str, kind: &str| {
        found(&format!(
            "{{apiVersion: metallb.io/{version}, kind: {kind}, metadata: {{name: a}}, spec: {{}}}}"
        ))
    };
    assert!(of("v1beta1", "AddressPool")[0].contains("IPAddressPool and L2Advertisement took its place"));
    assert!(of("v1beta1", "IPAddresspool")[0].ends_with("no kind \"IPAddresspool\": write IPAddressPool"));
    assert!(of("v1beta1", "L2Advertisment")[0].ends_with(": did you mean L2Advertisement?"));
    assert!(of("v1beta9", "IPAddressPool")[0].contains("is not served: write metallb.io/v1beta1"));
}

#[test]
fn what_is_in_a_namespace_that_ferrolb_does_not_read_is_warned_of() {
    let both = |first: &str, second: &str| {
        let [pool, advertisement] = [("IPAddressPool", first), ("L2Advertisement", second)].map(|(kind, place)| {
            manifests::parse(&format!(
                "{{apiVersion: metallb.io/v1beta1, kind: {kind}, metadata: {{name: a{place}}}, spec: {{addresses: [10.0.0.1/32]}}}}"
            ), "f").unwrap().remove(0)
        });
        [pool, advertisement]
    };
    let told = |manifests: &[Manifest; 2], system| {
        let mut findings = Vec::new();
        check_together(
            &manifests.iter().collect::<Vec<_>>(),
            vec![],
            &BTreeMap::new(),
            system,
            &mut findings,
        );
        findings.into_iter().map(|it| format!("{}: {}", it.object, it.message)).collect::<Vec<_>>()
    };
    let wrong = both(", namespace: default", ", namespace: default");
    let found = told(&wrong, Some("lb"));
    assert_eq!(found.len(), 2, "the pool and the advertisement: {found:?}");
    assert!(found.iter().all(|it| it.contains("which reads lb only")), "{found:?}");
    assert!(told(&wrong, None).is_empty(), "it may run there");
    assert!(told(&wrong, Some("default")).is_empty());
    assert!(told(&both("", ""), Some("lb")).is_empty());
    let [found] = &told(&both(", namespace: lb", ", namespace: default"), None)[..] else {
        panic!("one warning")
    };
    assert!(
        found.starts_with("L2Advertisement a: it is in namespace default, and others are in lb"),
        "{found}"
    );
}

#[test]
fn two_pools_that_overlap_are_told_of_the_later_one() {
    let other = pool("{addresses: [10.0.0.8/30]}").replace("name: p", "name: q");
    let found = found(&format!("{}\n---\n{other}\n", pool("{addresses: [10.0.0.0/28]}")));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("overlaps 10.0.0.8-10.0.0.11 of IPAddressPool p"), "{found:?}");
}

#[test]
fn an_advertisement_that_cannot_be_read_is_an_error() {
    let found = found(
        "{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: a}, spec: {nodeSelectors: [{matchExpressions: [{key: a, operator: Is}]}]}}",
    );
    assert!(
        found.iter().any(|it| it.starts_with("Error spec.nodeSelectors[0]") && it.contains("Is")),
        "{found:?}"
    );
}

#[test]
fn the_address_of_a_node_in_a_pool_is_pointed_out() {
    let manifests = manifests::parse(&pool("{addresses: [10.0.0.0/28]}"), "f").unwrap();
    let all: Vec<&Manifest> = manifests.iter().collect();
    let reserved = BTreeMap::from([
        ("10.0.0.3".parse().unwrap(), "n1".into()),
        ("10.0.1.3".parse().unwrap(), "n2".into()),
    ]);
    let mut findings = Vec::new();
    check_together(&all, vec![], &reserved, Some("metallb-system"), &mut findings);
    let [found] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.message.contains("10.0.0.3, an address of node n1"), "{found:?}");
}

/// What is found of objects about BGP beside a cluster with three nodes, a pool "lan" and a router "r1".
fn beside_a_cluster(yaml: &str) -> Vec<String> {
    let manifests = manifests::parse(yaml, "f").unwrap();
    let mut snapshot = crate::fixtures::snapshot(&[], &[], &[]);
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
    let r1 = json!({"metadata": {"name": "r1", "namespace": "metallb-system"}, "spec": spec});
    snapshot.bgp.peers = vec![serde_json::from_value(r1).unwrap()];
    let mut findings = Vec::new();
    manifests.iter().for_each(|it| check_alone(it, &mut findings));
    check_routers(snapshot, &manifests, &Cluster::silent(vec![]), &mut findings);
    findings.iter().map(|it| format!("{:?} {}: {}", it.severity, it.object, it.message)).collect()
}

fn about_routers(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("{{apiVersion: metallb.io/{version}, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}")
}

#[tokio::test]
async fn objects_about_bgp_are_checked_beside_those_of_the_cluster() {
    let peer = |spec: &str| about_routers("v1beta2", "BGPPeer", "r2", spec);
    let advertisement = |spec: &str| about_routers("v1beta1", "BGPAdvertisement", "all", spec);
    let router = "myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.253";
    for (yaml, expected) in [
        (advertisement("{peers: [r3]}"), "Warning BGPAdvertisement all: spec.peers names \"r3\""),
        (
            advertisement("{ipAddressPools: [lna]}"),
            "Warning BGPAdvertisement all: spec.ipAddressPools names \"lna\"",
        ),
        (advertisement("{communities: [nobody]}"), "Error BGPAdvertisement all: spec.communities[0]"),
        (
            peer(&format!("{{{router}, bfdProfile: fast}}")),
            "Error BGPPeer r2: spec.bfdProfile: there is no BFDProfile fast",
        ),
        (
            peer(&format!("{{{router}, nodeSelectors: [{{matchLabels: {{zone: nowhere}}}}]}}")),
            "Warning BGPPeer r2: its spec.nodeSelectors select no node",
        ),
        (peer(&format!("{{{router}}}")), "Warning BGPPeer r2: there is a BGPPeer and no BGPAdvertisement"),
    ] {
        let found = beside_a_cluster(&yaml);
        assert!(found.iter().any(|it| it.starts_with(expected)), "{yaml}: {found:?}");
    }
    let both = [peer(&format!("{{{router}}}")), advertisement("{peers: [r1, r2], ipAddressPools: [lan]}")];
    assert_eq!(beside_a_cluster(&both.join("\n---\n")), [] as [String; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_an_object_that_is_in_the_cluster_is_not_told_of_others() {
    let found = beside_a_cluster(&about_routers("v1beta1", "BGPAdvertisement", "all", "{peers: [r1]}"));
    assert_eq!(found, [] as [String; 0]);
    // What one object shows by itself is told once.
    let router = "{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1, keepaliveTime: 90s, holdTime: 30s}";
    let yaml = about_routers("v1beta2", "BGPPeer", "r1", router);
    let advertisement = about_routers("v1beta1", "BGPAdvertisement", "all", "{}");
    let found = beside_a_cluster(&format!("{yaml}\n---\n{advertisement}"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("Error BGPPeer r1") && found[0].contains("the keepalive time 90s is longer"),
        "{found:?}"
    );
}

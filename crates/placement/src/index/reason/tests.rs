use objects::{Labels, Requirement, Selector};

use crate::fixtures::*;
use crate::{
    EXCLUDE_LABEL, ExcludeLabel, Network, Node, NodeName, Placement, Pools, Service, ServiceKey, Sharing,
    SliceKey, TrafficPolicy,
};

fn cluster(nodes: usize) -> Placement {
    let mut it = Placement::new("n1".into(), ExcludeLabel::Honoured);
    let names: Vec<NodeName> = (1..=nodes).map(|number| format!("n{number}").into()).collect();
    for name in &names {
        it.set_node(node(name.as_str()));
    }
    it.set_members(names.into_iter().collect());
    it.set_pools(pools([pool("lan", "10.0.0.0/24")]));
    it.set_advertisement(crate::Advertisement { pools: ["lan".into()].into(), ..advertisement("ad") });
    add(&mut it, service("web", "10.0.0.1"));
    it
}

fn add(it: &mut Placement, service: Service) {
    let slice = SliceKey::new("default", &*service.key.name);
    it.set_endpoints(&slice, &service.key, serving(&["n1"]));
    it.set_service(service);
}

fn reason(it: &mut Placement, name: &str) -> Option<String> {
    it.settle();
    it.reason(&ServiceKey::new("default", name), ip("10.0.0.1"))
}

fn zone() -> Selector {
    Selector::from_iter([Requirement::equals("zone", "x")])
}

fn exclude(it: &mut Placement, name: &str) {
    it.set_node(Node { labels: labels(&[(EXCLUDE_LABEL, "")]), ..node(name) });
}

#[test]
fn what_is_announced_or_unknown_has_no_reason() {
    let mut it = cluster(3);
    assert_eq!(reason(&mut it, "web"), None);
    assert_eq!(reason(&mut it, "other"), None);
}

#[test]
fn what_is_missing_is_named() {
    let mut it = cluster(3);
    let ad = crate::Advertisement { pools: ["dmz".into()].into(), ..advertisement("ad") };
    it.set_advertisement(ad);
    assert_eq!(reason(&mut it, "web").unwrap(), "no L2Advertisement selects pool lan");
    it.set_advertisement(crate::Advertisement { service_selectors: vec![zone()], ..advertisement("ad") });
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "its labels match no serviceSelectors of L2Advertisement ad, which select pool lan"
    );
    let labels: Labels = labels(&[("zone", "x")]);
    it.set_service(Service { labels, sharing: Sharing::Shared, ..service("web", "10.0.0.1") });
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "its address can be shared, for which serviceSelectors of L2Advertisement ad are not allowed"
    );
    it.remove_advertisement(&"ad".into());
    assert_eq!(reason(&mut it, "web").unwrap(), "there is no L2Advertisement");
    it.remove_endpoints(&SliceKey::new("default", "web"));
    assert_eq!(reason(&mut it, "web").unwrap(), "no EndpointSlice of it has a serving endpoint");
    it.set_pools(Pools::default());
    assert_eq!(reason(&mut it, "web").unwrap(), "no IPAddressPool contains 10.0.0.1");
}

#[test]
fn nodes_that_are_out_are_named_by_reason() {
    let mut it = cluster(4);
    exclude(&mut it, "n1");
    exclude(&mut it, "n2");
    it.set_node(Node { network: Network::Unavailable, ..node("n3") });
    it.set_abilities("n4".into(), able(&[("eth0", false, true)]));
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "all 4 nodes are out: label node.kubernetes.io/exclude-from-external-load-balancers on n1, n2; \
         condition NetworkUnavailable on n3; no interface that can announce by ARP on n4"
    );
    it.set_members(["n1", "n2", "n3"].map(NodeName::from).into());
    assert!(reason(&mut it, "web").unwrap().ends_with("; no live speaker on n4"));
    it.set_away([NodeName::from("n4")].into());
    it.set_abilities("n4".into(), crate::Abilities::Unknown);
    assert!(reason(&mut it, "web").unwrap().ends_with("; the speaker is being restarted on n4"));
}

#[test]
fn selectors_and_the_traffic_policy_are_named() {
    let mut it = cluster(1);
    it.set_advertisement(crate::Advertisement { interfaces: only(&["eth1"]), ..advertisement("ad") });
    it.set_abilities("n1".into(), able(&[("eth0", true, true)]));
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "the only node is out: none of the interfaces eth1 can announce by ARP on n1"
    );
    it.set_advertisement(crate::Advertisement { node_selectors: vec![zone()], ..advertisement("ad") });
    assert_eq!(reason(&mut it, "web").unwrap(), "the only node is out: nodeSelectors do not match on n1");
    it.set_advertisement(advertisement("ad"));
    it.set_endpoints(
        &SliceKey::new("default", "web"),
        &ServiceKey::new("default", "web"),
        serving(&["elsewhere"]),
    );
    it.set_service(Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") });
    assert!(reason(&mut it, "web").unwrap().contains("(externalTrafficPolicy is Local) on n1"));
    it.remove_node(&"n1".into());
    assert_eq!(reason(&mut it, "web").unwrap(), "the cluster has no Node");
}

#[test]
fn the_service_that_has_the_address_is_named() {
    let mut it = cluster(2);
    let local = |name, created| Service {
        traffic_policy: TrafficPolicy::Local,
        created: Some(created),
        sharing: Sharing::Shared,
        ..service(name, "10.0.0.1")
    };
    add(&mut it, local("web", 2));
    it.set_service(local("dns", 1));
    let dns = ServiceKey::new("default", "dns");
    it.set_endpoints(&SliceKey::new("default", "dns"), &dns, serving(&["n2"]));
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "10.0.0.1 is shared with default/dns, which is older, and no node may announce the address for both"
    );
    assert_eq!(reason(&mut it, "dns"), None);
}

#[test]
fn a_service_of_another_namespace_is_not_named() {
    let mut it = cluster(2);
    let local = |namespace, created| Service {
        key: ServiceKey::new(namespace, "web"),
        traffic_policy: TrafficPolicy::Local,
        created: Some(created),
        sharing: Sharing::Shared,
        ..service("web", "10.0.0.1")
    };
    add(&mut it, local("default", 2));
    it.set_service(local("tenant-of-secret-name", 1));
    let other = ServiceKey::new("tenant-of-secret-name", "web");
    it.set_endpoints(&SliceKey::new("tenant-of-secret-name", "web"), &other, serving(&["n2"]));
    assert_eq!(
        reason(&mut it, "web").unwrap(),
        "10.0.0.1 is shared with a Service of another namespace, which is older, and no node may announce the address \
         for both"
    );
}

#[test]
fn a_reason_is_short_however_many_nodes_there_are_and_however_long_their_names() {
    let mut it = cluster(300);
    for number in 1..=300 {
        exclude(&mut it, &format!("n{number}"));
    }
    let text = reason(&mut it, "web").unwrap();
    assert!(text.starts_with("all 300 nodes are out: label ") && text.ends_with(", 297 more"), "{text}");
    for number in 0..4 {
        exclude(&mut it, &format!("{number}{}", "x".repeat(250)));
    }
    let text = reason(&mut it, "web").unwrap();
    assert!(text.len() <= super::MOST && text.starts_with("all 304 nodes"), "{text}");
}

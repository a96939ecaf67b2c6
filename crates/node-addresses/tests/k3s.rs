//! The rules of ServiceLB of K3s, outcome by outcome, and those that are ours.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipam::{AddressRequest, Families, Port, Protocol, Request, Sharing};
use node_addresses::{
    AddressKind, Applicant, Decision, EXCLUDE_LABEL, K3sLabels, Listener, Listening, Node, NodeAddresses,
    NodePool, Owner, ProtectedPorts, RETURN_AFTER, Refusal,
};
use objects::{Labels, NodeName, PoolName, Selector, ServiceKey, SliceKey};
use pools::Family;

const ENABLE: &str = "svccontroller.k3s.cattle.io/enablelb";
const LB_POOL: &str = "svccontroller.k3s.cattle.io/lbpool";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn node(internal: &[&str], external: &[&str]) -> Node {
    Node { labels: Labels::new(), internal: ips(internal), external: ips(external), ready: true }
}

fn labelled(node: Node, pairs: &[(&str, &str)]) -> Node {
    Node { labels: labels(pairs), ..node }
}

/// A Service as the tests ask for it.
#[derive(Clone)]
struct Wants {
    key: ServiceKey,
    request: Request,
    primary: Family,
}

fn service(name: &str, ports: &[u16]) -> Wants {
    let port = |number: &u16| Port { protocol: Protocol::Tcp, number: *number };
    Wants {
        key: ServiceKey::new("ns", name),
        request: Request {
            labels: Labels::new(),
            families: Families::Single(Family::V4),
            addresses: AddressRequest::Anything,
            sharing: Sharing::default(),
            ports: ports.iter().map(port).collect(),
        },
        primary: Family::V4,
    }
}

impl Wants {
    fn local(mut self) -> Self {
        self.request.sharing.backend = "ns/a=b".into();
        self
    }

    fn dual(mut self, primary: Family) -> Self {
        self.request.families = Families::PreferDual { primary };
        self.primary = primary;
        self
    }

    fn with(mut self, pairs: &[(&str, &str)]) -> Self {
        self.request.labels = labels(pairs);
        self
    }
}

/// A cluster with one pool.
struct Cluster {
    all: NodeAddresses,
    now: Instant,
}

impl Cluster {
    fn new(pool: NodePool, nodes: &[(&str, Node)]) -> Self {
        let mut cluster = Self { all: NodeAddresses::default(), now: Instant::now() };
        cluster.all.set_pools([pool]);
        nodes.iter().for_each(|(name, node)| cluster.set(name, node.clone()));
        cluster
    }

    fn set(&mut self, name: &str, node: Node) {
        self.all.set_node(&name.into(), Some(node), self.now);
    }

    fn endpoints(&mut self, service: &str, nodes: &[&str]) {
        let nodes: BTreeSet<NodeName> = nodes.iter().map(|node| (*node).into()).collect();
        let slice = SliceKey::new("ns", service);
        self.all.set_endpoints(&slice, Some((ServiceKey::new("ns", service), nodes)));
    }

    fn decide(&mut self, wants: &Wants) -> Decision {
        let Wants { key, request, primary } = wants;
        let applicant = Applicant { key, namespace_labels: &Labels::new(), request, primary: *primary };
        self.all.assign(&applicant, &pool_name())
    }

    fn listed(&mut self, wants: &Wants) -> Vec<String> {
        let grant = self.decide(wants).outcome.unwrap();
        grant.ips.iter().map(ToString::to_string).collect()
    }

    fn refusal(&mut self, wants: &Wants) -> String {
        self.decide(wants).outcome.unwrap_err().to_string()
    }
}

fn pool_name() -> PoolName {
    "nodes".into()
}

fn pool() -> NodePool {
    NodePool::new("nodes")
}

fn k3s() -> NodePool {
    NodePool { k3s_labels: K3sLabels::Honoured, ..pool() }
}

/// Labels.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// The labels of three nodes and of a Service, and the addresses that it gets.
type Case<'a> = ([Pairs<'a>; 3], Pairs<'a>, &'a [&'a str]);

/// Nodes by name with their labels, and the internal address 10.0.0.N of the Nth.
fn numbered(nodes: &[(&'static str, Pairs<'_>)]) -> Vec<(&'static str, Node)> {
    let node = |(at, (name, pairs)): (usize, &(&'static str, Pairs<'_>))| {
        (*name, labelled(node(&[&format!("10.0.0.{}", at + 1)], &[]), pairs))
    };
    nodes.iter().enumerate().map(node).collect()
}

#[test]
fn labels_choose_as_with_servicelb() {
    let (on, off): (&[_], &[_]) = (&[(ENABLE, "true")], &[(ENABLE, "false")]);
    let east: &[_] = &[(ENABLE, "true"), (LB_POOL, "east")];
    let only_pool: &[_] = &[(LB_POOL, "east")];
    let all = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let cases: [Case<'_>; 7] = [
        ([&[], &[], &[]], &[], &all),
        ([on, &[], off], &[], &all[..1]),
        ([on, east, &[]], &[], &all[..2]),
        ([on, east, &[]], &[(LB_POOL, "east")], &all[1..2]),
        ([on, east, &[]], &[(LB_POOL, "")], &all[..2]),
        // Without enablelb on any node, lbpool means nothing.
        ([&[], only_pool, &[]], &[(LB_POOL, "east")], &all),
        ([on, only_pool, &[]], &[], &all[..1]),
    ];
    for (nodes, of_service, expected) in cases {
        let nodes = numbered(&[("n1", nodes[0]), ("n2", nodes[1]), ("n3", nodes[2])]);
        let wants = service("web", &[80]).with(of_service);
        assert_eq!(Cluster::new(k3s(), &nodes).listed(&wants), expected, "{nodes:?} {of_service:?}");
        assert_eq!(Cluster::new(pool(), &nodes).listed(&wants), all, "they mean nothing unless asked for");
    }
    let nobody = numbered(&[("n1", off)]);
    assert!(Cluster::new(k3s(), &nobody).refusal(&service("web", &[80])).contains("no node is selected"));
}

#[test]
fn external_addresses_are_listed_where_a_node_that_serves_has_any() {
    let nodes =
        [("n1", node(&["10.0.0.1", "fd00::1"], &[])), ("n2", node(&["10.0.0.2", "fd00::2"], &["192.0.2.2"]))];
    let mut cluster = Cluster::new(pool(), &nodes);
    assert_eq!(cluster.listed(&service("web", &[80])), ["192.0.2.2"]);
    // The kind is chosen before the family, as with ServiceLB: no internal IPv6 address beside an external IPv4 one.
    assert_eq!(cluster.listed(&service("web", &[80]).dual(Family::V6)), ["192.0.2.2"]);
    cluster.endpoints("local", &["n1"]);
    assert_eq!(cluster.listed(&service("local", &[81]).local()), ["10.0.0.1"]);
    cluster.endpoints("local", &["n1", "n2"]);
    assert_eq!(cluster.listed(&service("local", &[81]).local()), ["192.0.2.2"]);
    for (addresses, expected) in
        [(AddressKind::Internal, &["10.0.0.1", "10.0.0.2"][..]), (AddressKind::External, &["192.0.2.2"])]
    {
        let mut cluster = Cluster::new(NodePool { addresses, ..pool() }, &nodes);
        assert_eq!(cluster.listed(&service("web", &[80])), expected);
    }
    cluster.all.set_lost(["n2".into()].into(), cluster.now);
    assert_eq!(cluster.listed(&service("web", &[80])), ["10.0.0.1"], "a dead node chooses for no other");
    cluster.all.set_lost(["n1".into(), "n2".into()].into(), cluster.now);
    assert_eq!(cluster.listed(&service("web", &[80])), ["192.0.2.2"]);
    let mut cluster = Cluster::new(NodePool { addresses: AddressKind::External, ..pool() }, &nodes[..1]);
    assert!(
        cluster.refusal(&service("web", &[80])).contains("no selected node has an ExternalIP of family IPv4")
    );
}

#[test]
fn addresses_come_by_family_and_sorted_as_text() {
    let nodes = [("n1", node(&["10.0.0.10", "fd00::2"], &[])), ("n2", node(&["10.0.0.9", "fd00::1"], &[]))];
    let mut cluster = Cluster::new(pool(), &nodes);
    let web = service("web", &[80]);
    assert_eq!(cluster.listed(&web), ["10.0.0.10", "10.0.0.9"]);
    assert_eq!(
        cluster.listed(&web.clone().dual(Family::V4)),
        ["10.0.0.10", "10.0.0.9", "fd00::1", "fd00::2"]
    );
    assert_eq!(cluster.listed(&web.dual(Family::V6)), ["fd00::1", "fd00::2", "10.0.0.10", "10.0.0.9"]);
}

#[test]
fn policy_local_follows_the_ready_endpoints() {
    let nodes = numbered(&[("n1", &[]), ("n2", &[]), ("n3", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    let web = service("web", &[80]).local();
    assert!(cluster.refusal(&web).contains("no selected node has a ready endpoint"));
    cluster.endpoints("web", &["n3", "n1", "elsewhere"]);
    assert_eq!(cluster.listed(&web), ["10.0.0.1", "10.0.0.3"]);
    cluster.endpoints("web", &["n2"]);
    assert_eq!(cluster.listed(&web), ["10.0.0.2"]);
}

#[test]
fn selectors_and_the_exclude_label_choose_among_the_nodes() {
    let nodes =
        numbered(&[("n1", &[("edge", "yes")]), ("n2", &[]), ("n3", &[("edge", "yes"), (EXCLUDE_LABEL, "")])]);
    let edge = Selector::from_iter([objects::Requirement::equals("edge", "yes")]);
    let selective = NodePool { node_selectors: vec![edge], ..pool() };
    assert_eq!(Cluster::new(selective, &nodes).listed(&service("web", &[80])), ["10.0.0.1"]);
    assert_eq!(Cluster::new(pool(), &nodes).listed(&service("web", &[80])), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_dead_node_is_taken_out_at_once_and_listed_again_after_a_while() {
    let nodes = numbered(&[("n1", &[]), ("n2", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    let web = service("web", &[80]);
    assert_eq!(cluster.listed(&web), ["10.0.0.1", "10.0.0.2"]);
    assert!(cluster.all.set_lost(["n1".into()].into(), cluster.now));
    assert!(
        !cluster.all.set_node(&"n1".into(), Some(nodes[0].1.clone()), cluster.now),
        "kubelet's last word"
    );
    assert_eq!(cluster.listed(&web), ["10.0.0.2"]);
    assert!(!cluster.all.set_lost(BTreeSet::new(), cluster.now), "it is not alive yet");
    assert_eq!(cluster.listed(&web), ["10.0.0.2"]);
    let back = cluster.all.next_timeout().unwrap();
    assert_eq!(back, cluster.now + RETURN_AFTER);
    assert!(!cluster.all.pass_time(cluster.now + RETURN_AFTER / 2));
    assert!(cluster.all.pass_time(back));
    assert_eq!(cluster.listed(&web), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(cluster.all.next_timeout(), None);
    let unready = Node { ready: false, ..nodes[1].1.clone() };
    assert!(cluster.all.set_node(&"n2".into(), Some(unready.clone()), back));
    assert_eq!(cluster.listed(&web), ["10.0.0.1"]);
    assert!(!cluster.all.set_node(&"n2".into(), Some(unready), back), "nothing new");
}

#[test]
fn when_no_node_is_well_all_stay() {
    let nodes = numbered(&[("n1", &[]), ("n2", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    cluster.all.set_lost(["n1".into(), "n2".into()].into(), cluster.now);
    assert_eq!(cluster.listed(&service("web", &[80])), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_port_of_a_node_has_one_owner_who_keeps_it_while_the_node_is_dead() {
    let nodes = numbered(&[("n1", &[]), ("n2", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    cluster.endpoints("one", &["n1"]);
    let (one, two) = (service("one", &[80, 81]).local(), service("two", &[81, 82]));
    assert_eq!(cluster.listed(&one), ["10.0.0.1"]);
    let grant = cluster.decide(&two).outcome.unwrap();
    assert_eq!(grant.ips, ips(&["10.0.0.2"]));
    assert_eq!(grant.taken.unwrap().to_string(), "port TCP/81 of node n1 is in use by ns/one");
    cluster.all.set_lost(["n1".into()].into(), cluster.now);
    assert!(cluster.decide(&two).outcome.unwrap().taken.is_some(), "one has it again when n1 is back");
    // Where its endpoints are gone it wants nothing any more.
    cluster.endpoints("one", &[]);
    assert!(cluster.decide(&one).freed);
    assert_eq!(cluster.decide(&two).outcome.unwrap().taken, None);
    cluster.endpoints("one", &["n1", "n2"]);
    let refused = cluster.decide(&one).outcome.unwrap_err();
    assert!(
        matches!(&refused, Refusal::Taken(taken) if taken.owner == Owner::Service(Some(two.key.clone()))),
        "{refused}"
    );
    assert!(cluster.all.release(&two.key) && !cluster.all.release(&two.key));
    assert_eq!(cluster.decide(&one).outcome.unwrap().taken, None);
    // Another protocol, another port; and other tenants are not named.
    let mut udp = service("udp", &[]);
    udp.request.ports = [Port { protocol: Protocol::Udp, number: 80 }].into();
    assert!(cluster.decide(&udp).outcome.is_ok());
    let stranger = Wants { key: ServiceKey::new("other", "web"), ..service("web", &[80]) };
    assert!(cluster.refusal(&stranger).ends_with("in use by a Service of another namespace"));
}

#[test]
fn an_address_that_nodes_share_has_one_owner_per_port() {
    let nodes = [("n1", node(&[], &["192.0.2.1"])), ("n2", node(&[], &["192.0.2.1"]))];
    let mut cluster = Cluster::new(pool(), &nodes);
    cluster.endpoints("one", &["n1"]);
    cluster.endpoints("two", &["n2"]);
    assert_eq!(cluster.listed(&service("one", &[80]).local()), ["192.0.2.1"]);
    assert!(cluster.refusal(&service("two", &[80]).local()).contains("in use by ns/one"));
}

#[test]
fn ports_of_the_node_of_kubernetes_and_of_other_services_are_refused() {
    let nodes = numbered(&[("n1", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    for port in [22, 6443, 10_250] {
        let refusal = cluster.refusal(&service("bad", &[80, port]));
        assert!(
            refusal.contains(&format!("port TCP/{port} of nodes is protected by protectedPorts")),
            "{refusal}"
        );
    }
    let open = NodePool { protected: ProtectedPorts::from_iter([]), ..pool() };
    assert_eq!(Cluster::new(open, &nodes).listed(&service("ssh", &[22])), ["10.0.0.1"]);
    let (plex, own) = (service("plex", &[32_400]), ServiceKey::new("ns", "plex"));
    let port = [Port { protocol: Protocol::Tcp, number: 32_400 }];
    cluster.all.set_node_ports(&own, &[], &port);
    assert_eq!(cluster.listed(&plex), ["10.0.0.1"], "its own node port");
    cluster.all.set_node_ports(&ServiceKey::new("ns", "other"), &[], &port);
    assert_eq!(cluster.listed(&plex), ["10.0.0.1"], "who has a port keeps it");
    cluster.all.release(&own);
    assert!(cluster.refusal(&plex).contains("is the node port of ns/other"));
    assert!(cluster.all.set_node_ports(&ServiceKey::new("ns", "other"), &port, &[]));
    assert_eq!(cluster.listed(&plex), ["10.0.0.1"]);
}

#[test]
fn a_port_that_a_program_listens_on_is_not_given_at_that_node() {
    let listens = |texts: &[&str]| Some(texts.iter().map(|text| text.parse::<Listener>().unwrap()).collect());
    let nodes = numbered(&[("n1", &[]), ("n2", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    let web = service("web", &[8080]);
    assert_eq!(cluster.all.unwatched(&pool()), [NodeName::from("n1"), "n2".into()]);
    assert!(cluster.all.set_listeners(&"n1".into(), listens(&["TCP/8080", "UDP/81", "TCP/82@10.0.0.9"])));
    assert!(cluster.all.set_listeners(&"n2".into(), listens(&[])));
    assert!(!cluster.all.set_listeners(&"n2".into(), listens(&[])), "nothing new");
    assert!(cluster.all.unwatched(&pool()).is_empty());
    let grant = cluster.decide(&web).outcome.unwrap();
    assert_eq!(grant.ips, ips(&["10.0.0.2"]));
    let taken = grant.taken.unwrap().to_string();
    assert_eq!(taken, "port TCP/8080 of node n1 is in use by a program that listens there");
    assert_eq!(cluster.listed(&service("other", &[81, 82])), ["10.0.0.1", "10.0.0.2"]);
    // Who has a port keeps it, also where the program comes later.
    cluster.all.set_listeners(&"n2".into(), listens(&["TCP/8080"]));
    assert_eq!(cluster.listed(&web), ["10.0.0.2"]);
    cluster.all.release(&web.key);
    assert!(cluster.refusal(&web).contains("port TCP/8080 of node n1 is in use by a program"));
    let Wants { key, request, primary } = &web;
    let applicant = Applicant { key, namespace_labels: &Labels::new(), request, primary: *primary };
    cluster.all.adopt(&applicant, &pool_name(), &ips(&["10.0.0.1"]));
    assert_eq!(cluster.listed(&web), ["10.0.0.1"], "a restart takes nothing away");
    // A node that is gone takes with it what was known of it, and a pool may ignore all of it.
    cluster.all.release(&web.key);
    cluster.all.set_node(&"n1".into(), None, cluster.now);
    cluster.set("n1", nodes[0].1.clone());
    assert_eq!(cluster.all.unwatched(&pool()), [NodeName::from("n1")]);
    assert_eq!(cluster.listed(&web), ["10.0.0.1"]);
    let careless = NodePool { listeners: Listening::Ignored, ..pool() };
    assert!(cluster.all.unwatched(&careless).is_empty());
    cluster.all.set_pools([careless]);
    assert_eq!(cluster.listed(&web), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn nothing_is_given_while_kube_proxy_uses_ipvs() {
    let mut cluster = Cluster::new(pool(), &numbered(&[("n1", &[]), ("n2", &[])]));
    assert!(cluster.all.set_ipvs(["n2".into()].into()));
    assert!(cluster.refusal(&service("web", &[80])).starts_with("kube-proxy runs in IPVS mode on node n2"));
    assert!(cluster.all.set_ipvs(BTreeSet::new()));
    assert!(cluster.decide(&service("web", &[80])).outcome.is_ok());
}

#[test]
fn at_a_start_everybody_keeps_the_nodes_of_its_status() {
    let nodes = numbered(&[("n1", &[]), ("n2", &[])]);
    let mut cluster = Cluster::new(pool(), &nodes);
    let (older, younger) = (service("older", &[80]), service("younger", &[80]));
    let mut adopt = |wants: &Wants, listed: &[&str]| {
        let Wants { key, request, primary } = wants;
        let applicant = Applicant { key, namespace_labels: &Labels::new(), request, primary: *primary };
        cluster.all.adopt(&applicant, &pool_name(), &ips(listed));
    };
    adopt(&older, &["10.0.0.1"]);
    adopt(&younger, &["10.0.0.1", "10.0.0.2"]);
    assert_eq!(cluster.listed(&older), ["10.0.0.1"]);
    assert_eq!(cluster.listed(&younger), ["10.0.0.2"]);
}

#[test]
fn who_names_no_pool_gets_the_first_that_is_for_it() {
    let allocation = |priority, namespace: &str| pools::Allocation {
        priority,
        namespaces: [namespace.to_owned()].into(),
        ..pools::Allocation::default()
    };
    let pinned = |name: &str, priority, namespace| NodePool {
        allocation: Some(allocation(priority, namespace)),
        ..NodePool::new(name)
    };
    let mut all = NodeAddresses::default();
    let key = ServiceKey::new("ns", "web");
    all.set_pools([
        NodePool::new("a"),
        NodePool { auto_assign: false, ..pinned("named", 1, "ns") },
        pinned("last", 0, "ns"),
        pinned("first", 7, "ns"),
        pinned("others", 1, "other"),
    ]);
    let automatic = |all: &NodeAddresses| all.automatic(&key, &Labels::new(), &Labels::new()).cloned();
    assert_eq!(automatic(&all), Some("first".into()));
    all.set_pools([NodePool::new("b"), NodePool::new("a")]);
    assert_eq!(automatic(&all), Some("a".into()));
    all.set_pools([pinned("others", 1, "other")]);
    assert_eq!(automatic(&all), None);
}

//! Addresses that are spread evenly, and addresses that do not go back, as nodes fail and come back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::Labels;
use placement::{
    Advertisement, Endpoints, ExcludeLabel, Failback, Network, Node, NodeName, Placement, Pools, Service,
    ServiceKey, Sharing, SliceKey, Spread, TrafficPolicy,
};
use pools::PoolSpec;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Who announces each address.
type Announcers = BTreeMap<IpAddr, NodeName>;

fn name(number: usize) -> NodeName {
    format!("node-{number}").as_str().into()
}

fn names(count: usize) -> BTreeSet<NodeName> {
    (0..count).map(name).collect()
}

fn service(host: u16) -> Service {
    let [high, low] = host.to_be_bytes();
    Service {
        key: ServiceKey::new("default", format!("service-{host}")),
        labels: Labels::new(),
        vips: vec![[198, 18, high, low].into()],
        // Not in the order of their addresses.
        created: Some(i64::from(host.reverse_bits())),
        recorded_pool: None,
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    }
}

fn add_service(placement: &mut Placement, host: u16) {
    let service = service(host);
    let slice = SliceKey::new("default", format!("slice-{host}"));
    placement.set_endpoints(&slice, &service.key, std::iter::once(None).collect::<Endpoints>());
    placement.set_service(service);
}

/// What `me` knows of so many nodes that are all alive, before it has settled.
fn placement(me: NodeName, nodes: usize, hosts: &BTreeSet<u16>, spread: Spread) -> Placement {
    let mut placement = Placement::new(me, ExcludeLabel::Honoured);
    placement.set_spread(spread);
    placement.set_pools(Pools::new([PoolSpec::new("pool", &["198.18.0.0/16"])]));
    placement.set_advertisement(Advertisement::new("all"));
    for name in names(nodes) {
        placement.set_node(Node { name, labels: Labels::new(), network: Network::Available });
    }
    hosts.iter().for_each(|host| add_service(&mut placement, *host));
    placement.set_members(names(nodes));
    placement
}

fn announcers(placement: &Placement, hosts: &BTreeSet<u16>) -> Announcers {
    let services = hosts.iter().map(|host| service(*host).key);
    let of = |key: ServiceKey| -> Vec<_> {
        let outcomes = placement.assignments(&key);
        outcomes.filter_map(|(vip, it)| Some((vip, it.as_ref().ok()?.announcer.clone()))).collect()
    };
    services.flat_map(of).collect()
}

/// How many addresses the node has that has most.
fn most(announcers: &Announcers) -> usize {
    let mut loads: BTreeMap<&NodeName, usize> = BTreeMap::new();
    announcers.values().for_each(|node| *loads.entry(node).or_default() += 1);
    loads.into_values().max().unwrap_or_default()
}

/// The even share of so many nodes, and a quarter more where it is more than eight.
fn bound(addresses: usize, nodes: usize) -> usize {
    let share = addresses.div_ceil(nodes);
    if share <= 8 { share } else { share + share / 4 }
}

/// It answers for all that it is to announce, and keeps what follows.
fn answer(placement: &mut Placement) {
    placement.settle();
    let vips: Vec<_> = placement.announcements().keys().copied().collect();
    vips.into_iter().for_each(|vip| placement.set_answered(vip, true));
    placement.settle();
}

/// The speakers of a cluster, that tell each other at once what they keep.
struct Speakers {
    nodes: usize,
    hosts: BTreeSet<u16>,
    spread: Spread,
    alive: BTreeMap<NodeName, Placement>,
    /// All that each has seen alive since it started.
    seen: BTreeMap<NodeName, BTreeSet<NodeName>>,
}

impl Speakers {
    fn new(nodes: usize, hosts: BTreeSet<u16>, spread: Spread) -> Self {
        let (alive, seen) = (BTreeMap::new(), BTreeMap::new());
        let mut this = Self { nodes, hosts, spread, alive, seen };
        names(nodes).into_iter().for_each(|name| this.start(name));
        this.settle();
        this
    }

    fn start(&mut self, name: NodeName) {
        let mut fresh = placement(name.clone(), self.nodes, &self.hosts, self.spread);
        fresh.set_failback(Failback::Never);
        for (other, it) in &self.alive {
            fresh.set_kept(other, it.kept());
        }
        self.seen.insert(name.clone(), BTreeSet::new());
        self.alive.insert(name, fresh);
    }

    fn stop(&mut self, name: &NodeName) {
        self.alive.remove(name);
        for it in self.alive.values_mut() {
            it.set_kept(name, &BTreeSet::new());
        }
    }

    fn settle(&mut self) {
        let members: BTreeSet<NodeName> = self.alive.keys().cloned().collect();
        for (name, it) in &mut self.alive {
            it.set_members(members.clone());
            answer(it);
            self.seen.entry(name.clone()).or_default().extend(members.iter().cloned());
        }
        let kept: Vec<_> = self.alive.iter().map(|(name, it)| (name.clone(), it.kept().clone())).collect();
        for (me, it) in &mut self.alive {
            kept.iter().filter(|(other, _)| other != me).for_each(|(other, vips)| it.set_kept(other, vips));
            answer(it);
        }
    }

    /// What each of them says.
    fn announcers(&self) -> Vec<Announcers> {
        self.alive.values().map(|it| announcers(it, &self.hosts)).collect()
    }
}

fn spread() -> impl Strategy<Value = Spread> {
    select(vec![Spread::ByHash, Spread::Evenly])
}

#[test]
fn what_is_kept_already_stays_when_more_is_taken_over_than_can_be_kept() {
    const MOST: usize = 256;
    let hosts: BTreeSet<u16> = (100..800).collect();
    let mut one = placement(name(0), 2, &hosts, Spread::Evenly);
    one.set_failback(Failback::Never);
    one.set_members(names(2));
    answer(&mut one);
    assert!(one.kept().is_empty());
    one.set_members(names(1));
    one.settle();
    assert!(one.kept().is_empty(), "nothing of it is answered for");
    answer(&mut one);
    let kept = one.kept().clone();
    assert_eq!(kept.len(), MOST);
    one.set_members(names(2));
    answer(&mut one);
    one.set_members(names(1));
    (0..100).for_each(|host| add_service(&mut one, host));
    answer(&mut one);
    assert_eq!(*one.kept(), kept);
}

#[test]
fn what_is_kept_no_longer_goes_to_a_node_that_is_new() {
    let hosts: BTreeSet<u16> = (0..60).collect();
    let both = |other: usize| BTreeSet::from([name(0), name(other)]);
    let mut one = placement(name(0), 3, &hosts, Spread::ByHash);
    one.set_failback(Failback::Never);
    for members in [both(1), [name(0)].into()] {
        one.set_members(members);
        answer(&mut one);
    }
    assert!(!one.kept().is_empty());
    one.remove_node(&name(1));
    one.settle();
    assert!(one.kept().is_empty(), "there is nobody to keep it from");
    one.set_members(both(2));
    one.settle();
    let mut fresh = placement(name(0), 3, &hosts, Spread::ByHash);
    fresh.remove_node(&name(1));
    fresh.set_members(both(2));
    fresh.settle();
    assert_eq!(announcers(&one, &hosts), announcers(&fresh, &hosts));
}

#[test]
fn endpoints_that_come_and_go_move_only_addresses_with_the_policy_local() {
    let hosts: BTreeSet<u16> = (0..60).collect();
    let mut all = placement(name(0), 5, &hosts, Spread::Evenly);
    let local = ServiceKey::new("default", "service-0");
    all.set_service(Service { traffic_policy: TrafficPolicy::Local, ..service(0) });
    all.settle();
    let of_others = |all: &Placement| {
        let mut announcers = announcers(all, &hosts);
        announcers.retain(|vip, _| !service(0).vips.contains(vip));
        announcers
    };
    let before = of_others(&all);
    assert_eq!(before.len(), 59);
    let slice = |host: u16| SliceKey::new("default", format!("slice-{host}"));
    for node in names(5) {
        all.set_endpoints(&slice(0), &local, std::iter::once(Some(node.clone())).collect::<Endpoints>());
        all.settle();
        assert_eq!(of_others(&all), before, "{node} has the endpoint");
    }
    for host in 1..60 {
        all.remove_endpoints(&slice(host));
        all.settle();
        let now = of_others(&all);
        assert_eq!(now.len(), 58, "{host}");
        assert!(now.iter().all(|(vip, node)| before[vip] == *node), "{host} has no endpoint");
        all.set_endpoints(&slice(host), &service(host).key, std::iter::once(None).collect::<Endpoints>());
        all.settle();
    }
}

proptest! {
    #[test]
    fn no_node_has_more_than_its_share_allows(nodes in 1..9usize, hosts in btree_set(any::<u16>(), 0..150)) {
        let mut all = placement(name(0), nodes, &hosts, Spread::Evenly);
        all.settle();
        let announcers = announcers(&all, &hosts);
        prop_assert_eq!(announcers.len(), hosts.len());
        prop_assert!(most(&announcers) <= bound(hosts.len(), nodes));
    }

    #[test]
    fn what_a_lost_node_had_is_spread_over_the_others(
        nodes in 2..9usize,
        hosts in btree_set(any::<u16>(), 0..150),
        lost in any::<Index>(),
    ) {
        let mut all = placement(name(0), nodes, &hosts, Spread::Evenly);
        let lost = name(lost.index(nodes));
        all.set_members(names(nodes).into_iter().filter(|it| *it != lost).collect());
        all.settle();
        let announcers = announcers(&all, &hosts);
        prop_assert_eq!(announcers.len(), hosts.len());
        let share = bound(hosts.len(), nodes);
        prop_assert!(most(&announcers) <= share + bound(share, nodes - 1));
    }

    #[test]
    fn only_what_a_lost_node_had_moves(
        nodes in 2..9usize,
        hosts in btree_set(any::<u16>(), 1..60),
        order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
        spread in spread(),
    ) {
        let mut all = placement(name(0), nodes, &hosts, spread);
        all.settle();
        let mut members = names(nodes);
        for lost in order.into_iter().filter(|it| *it < nodes).take(nodes - 1).map(name) {
            let before = announcers(&all, &hosts);
            members.remove(&lost);
            all.set_members(members.clone());
            all.settle();
            let after = announcers(&all, &hosts);
            for (vip, node) in &before {
                prop_assert_eq!(*node == lost, after[vip] != *node, "{} of {}", vip, node);
            }
        }
    }

    #[test]
    fn the_order_in_which_things_become_known_makes_no_difference(
        nodes in 1..6usize,
        hosts in btree_set(any::<u16>(), 1..40),
        order in vec(any::<Index>(), 40),
        gone in btree_set(any::<u16>(), 0..10),
    ) {
        let mut all = placement(name(0), nodes, &hosts, Spread::Evenly);
        all.settle();
        let mut other = placement(name(nodes - 1), 0, &BTreeSet::new(), Spread::ByHash);
        let gone: Vec<u16> = gone.difference(&hosts).copied().collect();
        gone.iter().for_each(|host| add_service(&mut other, *host));
        let mut rest = hosts.iter().copied().collect::<Vec<_>>();
        for (number, at) in order.into_iter().enumerate().take(rest.len()) {
            if number < nodes {
                let node = Node {
                    name: name(nodes - 1 - number), labels: Labels::new(), network: Network::Available,
                };
                other.set_node(node);
            }
            other.settle();
            add_service(&mut other, rest.swap_remove(at.index(rest.len())));
            if number == 0 {
                other.set_spread(Spread::Evenly);
            }
        }
        for name in names(nodes) {
            other.set_node(Node { name, labels: Labels::new(), network: Network::Available });
        }
        other.settle();
        gone.iter().for_each(|host| other.remove_service(&service(*host).key));
        other.set_members(names(nodes));
        other.settle();
        prop_assert_eq!(announcers(&other, &hosts), announcers(&all, &hosts));
    }

    #[test]
    fn without_failback_nothing_moves_to_a_node_that_was_seen_before(
        nodes in 2..6usize,
        hosts in btree_set(any::<u16>(), 1..25),
        events in vec(any::<Index>(), 1..20),
        spread in spread(),
    ) {
        let mut speakers = Speakers::new(nodes, hosts, spread);
        for event in events {
            let node = name(event.index(nodes));
            let before = speakers.announcers().remove(0);
            let seen = speakers.seen.clone();
            let lost = speakers.alive.contains_key(&node);
            if lost && speakers.alive.len() == 1 {
                continue;
            }
            if lost { speakers.stop(&node) } else { speakers.start(node.clone()) }
            speakers.settle();
            let said = speakers.announcers();
            prop_assert!(said.iter().all(|it| *it == said[0]), "all agree");
            prop_assert_eq!(said[0].len(), speakers.hosts.len());
            for (vip, former) in &before {
                let moved = said[0][vip] != *former;
                if lost {
                    prop_assert_eq!(moved, *former == node, "{} of {} when {} is lost", vip, former, node);
                } else if moved {
                    prop_assert!(!seen[former].contains(&node), "{} of {} moves to {}", vip, former, node);
                }
            }
        }
    }
}

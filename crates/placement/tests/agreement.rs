//! Whatever happens in a cluster, and in whichever order: a node that follows it step by step knows the same
//! as one that looks at it now, and all nodes agree on one announcer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::{Labels, Requirement, Selector};
use placement::{
    Abilities, Ability, Advertisement, ByProtocol, Change, EXCLUDE_LABEL, Endpoints, ExcludeLabel,
    Interfaces, Network, Node, NodeName, Placement, Pools, Service, ServiceKey, Sharing, SliceKey, Spread,
    TrafficPolicy,
};
use pools::PoolSpec;
use proptest::prelude::*;
use proptest::sample::select;

const NODES: [&str; 3] = ["a", "b", "c"];

/// One thing that happens; `None` means that the object goes away. Objects are few, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    Service(u8, Option<(Vec<u8>, TrafficPolicy, Sharing)>),
    Slice(u8, Option<(u8, Endpoints)>),
    Node(&'static str, Option<(Network, Labels)>),
    Members(BTreeSet<NodeName>),
    /// The nodes whose speaker is about to be back.
    Away(BTreeSet<NodeName>),
    /// The pools, each with its one range, or with none that can be read.
    Pools(Vec<Option<(u8, u8)>>),
    Advertisement(u8, Option<(Option<u8>, Option<&'static str>, Option<&'static str>)>),
    /// On which of the two interfaces a node can announce, if it has said.
    Abilities(&'static str, Option<(Ability, Ability)>),
    Settle,
}

/// A cluster in which everything works. What happens next is then seldom without effect.
fn beginning() -> Vec<Step> {
    let everywhere: Endpoints = NODES.map(|node| Some(node.into())).into_iter().collect();
    let mut steps = vec![
        Step::Members(NODES.map(NodeName::from).into()),
        Step::Pools(vec![Some((0, 3))]),
        Step::Advertisement(0, Some((None, None, None))),
    ];
    steps.extend(NODES.map(|node| Step::Node(node, Some((Network::Available, Labels::new())))));
    for i in 0..3 {
        steps.push(Step::Service(i, Some((vec![i], TrafficPolicy::Cluster, Sharing::Sole))));
        steps.push(Step::Slice(i, Some((i, everywhere.clone()))));
    }
    steps
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use proptest::option::of;
    let nodes = || proptest::sample::subsequence(NODES.to_vec(), 0..=NODES.len());
    let policy = select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local]);
    let sharing = select(vec![Sharing::Sole, Sharing::Shared]);
    let labels = select(vec![vec![], vec![("zone", "x")], vec![(EXCLUDE_LABEL, "")]]);
    let labels = labels.prop_map(|all| all.into_iter().map(|(k, v)| (k.into(), v.into())).collect());
    let network = select(vec![Network::Available, Network::Available, Network::Unavailable]);
    let addresses = proptest::sample::subsequence(vec![0, 1, 2, 3], 1..=2).prop_shuffle();
    let interface = select(vec!["eth0", "eth1"]);
    let ability = || select(vec![Ability::Unable, Ability::Lost, Ability::Able]);
    let step = prop_oneof![
        4 => (0..3u8, of((addresses, policy, sharing))).prop_map(|(name, it)| Step::Service(name, it)),
        4 => (0..3u8, of((0..3u8, nodes()))).prop_map(|(name, it)| {
            let places = |nodes: Vec<&str>| nodes.into_iter().map(|node| Some(node.into())).collect();
            Step::Slice(name, it.map(|(service, nodes)| (service, places(nodes))))
        }),
        1 => (select(NODES.to_vec()), of((network, labels))).prop_map(|(name, it)| Step::Node(name, it)),
        1 => nodes().prop_map(|nodes| Step::Members(nodes.into_iter().map(NodeName::from).collect())),
        1 => nodes().prop_map(|nodes| Step::Away(nodes.into_iter().map(NodeName::from).collect())),
        1 => proptest::collection::vec(of((0..4u8, 0..4u8)), 0..3).prop_map(Step::Pools),
        1 => (0..2u8, of((of(0..2u8), of(Just("x")), of(interface))))
            .prop_map(|(name, it)| Step::Advertisement(name, it)),
        2 => (select(NODES.to_vec()), of((ability(), ability()))).prop_map(|(name, it)| Step::Abilities(name, it)),
        6 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..40).prop_map(|steps| [beginning(), steps].concat())
}

fn spread() -> impl Strategy<Value = Spread> {
    select(vec![Spread::ByHash, Spread::Evenly])
}

fn vip(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn pool((number, range): (usize, Option<(u8, u8)>)) -> PoolSpec {
    let entry = range.map_or_else(String::new, |(a, b)| format!("{}-{}", vip(a.min(b)), vip(a.max(b))));
    PoolSpec::new(format!("pool-{number}"), &[&entry])
}

fn service(name: u8) -> ServiceKey {
    ServiceKey::new("default", format!("service-{name}"))
}

fn tell(placement: &mut Placement, step: Step) {
    match step {
        Step::Service(name, Some((addresses, traffic_policy, sharing))) => placement.set_service(Service {
            key: service(name),
            labels: Labels::new(),
            vips: addresses.into_iter().map(vip).collect(),
            // Not in the order of their names.
            created: Some(-i64::from(name)),
            recorded_pool: None,
            traffic_policy,
            sharing,
        }),
        Step::Service(name, None) => placement.remove_service(&service(name)),
        Step::Slice(name, it) => {
            let slice = SliceKey::new("default", format!("slice-{name}"));
            match it {
                Some((of, endpoints)) => placement.set_endpoints(&slice, &service(of), endpoints),
                None => placement.remove_endpoints(&slice),
            }
        }
        Step::Node(name, Some((network, labels))) => {
            placement.set_node(Node { name: name.into(), labels, network });
        }
        Step::Node(name, None) => placement.remove_node(&name.into()),
        Step::Members(members) => placement.set_members(members),
        Step::Away(nodes) => placement.set_away(nodes),
        Step::Pools(ranges) => placement.set_pools(Pools::new(ranges.into_iter().enumerate().map(pool))),
        Step::Advertisement(name, it) => {
            let name = format!("ad-{name}").into();
            match it {
                Some((pool, zone, interface)) => placement.set_advertisement(Advertisement {
                    pools: pool.map(|pool| format!("pool-{pool}").into()).into_iter().collect(),
                    node_selectors: zone
                        .map(|zone| Selector::from_iter([Requirement::equals("zone", zone)]))
                        .into_iter()
                        .collect(),
                    interfaces: interface.map_or(Interfaces::All, |it| Interfaces::only([it.into()])),
                    ..Advertisement::new(name)
                }),
                None => placement.remove_advertisement(&name),
            }
        }
        Step::Abilities(name, None) => placement.set_abilities(name.into(), Abilities::Unknown),
        Step::Abilities(name, Some(able)) => {
            let on = |name: &str, arp| (name.into(), ByProtocol { arp, ndp: Ability::Unable });
            let known = Abilities::Known([on("eth0", able.0), on("eth1", able.1)].into());
            placement.set_abilities(name.into(), known);
        }
        Step::Settle => {}
    }
}

/// Addresses and where to announce them, without the history that takeovers carry.
fn announced(placement: &Placement) -> BTreeMap<IpAddr, Interfaces> {
    placement.announcements().iter().map(|(vip, it)| (*vip, it.interfaces.clone())).collect()
}

/// The Services announced by a node, as its changes tell.
fn follow(mine: &mut BTreeMap<ServiceKey, Vec<IpAddr>>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Assigned { service, vips } => assert_eq!(mine.insert(service, vips), None),
            Change::Released { service, vips, .. } => assert_eq!(mine.remove(&service), Some(vips)),
        }
    }
}

proptest! {
    #[test]
    fn step_by_step_and_all_at_once_come_to_the_same(steps in steps(), spread in spread()) {
        let mut incremental = Placement::new("a".into(), ExcludeLabel::Honoured);
        incremental.set_spread(spread);
        let mut mine = BTreeMap::new();
        for so_far in 1..=steps.len() {
            let step = steps[so_far - 1].clone();
            let settle = matches!(step, Step::Settle) || so_far == steps.len();
            tell(&mut incremental, step);
            if !settle {
                continue;
            }
            follow(&mut mine, incremental.settle());
            let mut fresh = Placement::new("a".into(), ExcludeLabel::Honoured);
            fresh.set_spread(spread);
            for step in &steps[..so_far] {
                tell(&mut fresh, step.clone());
            }
            let mut expected = BTreeMap::new();
            follow(&mut expected, fresh.settle());
            prop_assert_eq!(announced(&incremental), announced(&fresh));
            prop_assert_eq!(&mine, &expected);
            prop_assert!(incremental.settle().is_empty(), "settling twice finds nothing new");
        }
    }

    #[test]
    fn every_address_has_one_announcer_and_all_nodes_know_which(steps in steps(), spread in spread()) {
        let nodes = NODES.map(|name| {
            let mut placement = Placement::new(name.into(), ExcludeLabel::Honoured);
            placement.set_spread(spread);
            for step in &steps {
                tell(&mut placement, step.clone());
            }
            let mut mine = BTreeMap::new();
            follow(&mut mine, placement.settle());
            (NodeName::from(name), placement, mine)
        });
        let mut announcers: BTreeMap<IpAddr, BTreeSet<NodeName>> = BTreeMap::new();
        for key in (0..3).map(service) {
            let [first, others @ ..] = nodes.each_ref().map(|(_, it, _)| it.assignments(&key).collect::<Vec<_>>());
            prop_assert!(others.iter().all(|other| *other == first));
            for (vip, outcome) in first {
                let elected = outcome.as_ref().ok().map(|assignment| assignment.announcer.clone());
                let announces = |mine: &BTreeMap<ServiceKey, Vec<IpAddr>>| {
                    mine.get(&key).is_some_and(|vips| vips.contains(&vip))
                };
                let announcing = nodes.iter().filter(|(.., mine)| announces(mine)).map(|(name, ..)| name.clone());
                prop_assert_eq!(announcing.collect::<Vec<_>>(), Vec::from_iter(elected.clone()));
                announcers.entry(vip).or_default().extend(elected);
            }
        }
        for (vip, announcers) in announcers {
            prop_assert!(announcers.len() <= 1, "one for all Services of {}: {:?}", vip, announcers);
            let announced = nodes.iter().filter(|(_, it, _)| it.announcements().contains_key(&vip));
            let announced: BTreeSet<_> = announced.map(|(name, ..)| name.clone()).collect();
            prop_assert_eq!(announced, announcers);
        }
    }
}

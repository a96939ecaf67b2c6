//! The rules once more, as simply as they can be written: everything from scratch, each rule where it is applied. A
//! placement that follows a cluster step by step must come to the same after every step, on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::{Labels, Requirement, Selector};
use placement::{
    Abilities, Ability, Advertisement, ByProtocol, EXCLUDE_LABEL, Endpoints, ExcludeLabel, Interfaces,
    Network, Node, NodeName, Placement, Pools, Preference, Service, ServiceKey, Sharing, SliceKey,
    TrafficPolicy,
};
use pools::PoolSpec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use sha2::{Digest, Sha256};

const NODES: [&str; 4] = ["a", "b", "c", "d"];
/// Those of the first and those of the second pool, and one of none.
const VIPS: [&str; 6] =
    ["192.0.2.1", "192.0.2.2", "2001:db8::1", "198.51.100.1", "2001:db8:1::1", "203.0.113.1"];
const POOLS: [(&str, [&str; 2]); 2] =
    [("lan", ["192.0.2.0/24", "2001:db8::/120"]), ("dmz", ["198.51.100.0/24", "2001:db8:1::/120"])];

/// What there is, as plain as it was told.
#[derive(Debug, Clone, Default)]
struct Cluster {
    services: BTreeMap<ServiceKey, Service>,
    /// Per slice its Service and the nodes of its endpoints.
    slices: BTreeMap<SliceKey, (ServiceKey, Vec<Option<NodeName>>)>,
    nodes: BTreeMap<NodeName, Node>,
    members: BTreeSet<NodeName>,
    away: BTreeSet<NodeName>,
    /// The names of those of [`POOLS`] that exist.
    pools: BTreeSet<&'static str>,
    advertisements: BTreeMap<String, Advertisement>,
    abilities: BTreeMap<NodeName, Abilities>,
}

/// Who announces an address, for which Services and where; and whether somebody away ranks before.
type Announced = (NodeName, BTreeMap<ServiceKey, BTreeSet<String>>, Option<NodeName>);

const EVERYWHERE: &str = "*";

impl Cluster {
    fn endpoints(&self, service: &Service) -> Vec<&Option<NodeName>> {
        let slices = self.slices.values().filter(|(of, _)| *of == service.key);
        slices.flat_map(|(_, nodes)| nodes).collect()
    }

    fn pool(&self, service: &Service) -> Option<&'static str> {
        let listed = |pool: &&(&str, [&str; 2]), vip: &IpAddr| {
            let prefix = pool.1[usize::from(vip.is_ipv6())]
                .split('/')
                .next()
                .expect("it has a beginning")
                .trim_end_matches('0');
            vip.to_string().starts_with(prefix)
        };
        let pools = POOLS.iter().filter(|(name, _)| self.pools.contains(name));
        let mut pools = pools.filter(|pool| service.vips.iter().all(|vip| listed(pool, vip)));
        pools.next().map(|(name, _)| *name)
    }

    fn advertisements(&self, service: &Service) -> Vec<&Advertisement> {
        let Some(pool) = self.pool(service) else { return vec![] };
        if self.endpoints(service).is_empty() {
            return vec![];
        }
        let of_pool = |ad: &&Advertisement| ad.pools.is_empty() || ad.pools.contains(&pool.into());
        let of_service = |ad: &&Advertisement| {
            ad.service_selectors.is_empty()
                || ad.service_selectors.iter().any(|it| it.matches(&service.labels))
        };
        let matching: Vec<_> = self.advertisements.values().filter(of_pool).filter(of_service).collect();
        let selected = matching.iter().any(|ad| !ad.service_selectors.is_empty());
        if selected && service.sharing == Sharing::Shared { vec![] } else { matching }
    }

    /// The score of `name` for a Service, and the interfaces on which it may announce it, if it may.
    fn eligible(&self, service: &Service, name: &NodeName) -> Option<(u32, BTreeSet<String>)> {
        let node = self.nodes.get(name)?;
        let alive = self.members.contains(name) || self.away.contains(name);
        let available = node.network == Network::Available && !node.labels.contains_key(EXCLUDE_LABEL);
        let local = self.endpoints(service).contains(&&Some(name.clone()));
        if !alive || !available || (service.traffic_policy == TrafficPolicy::Local && !local) {
            return None;
        }
        let selects = |ad: &&Advertisement| {
            ad.node_selectors.is_empty() || ad.node_selectors.iter().any(|it| it.matches(&node.labels))
        };
        let ads: Vec<_> = self.advertisements(service).into_iter().filter(selects).collect();
        let preferences = ads.iter().flat_map(|ad| &ad.preferences);
        let score = preferences.filter(|it| it.selector.matches(&node.labels)).map(|it| it.weight).sum();
        let interfaces = ads.iter().flat_map(|ad| match &ad.interfaces {
            Interfaces::All => vec![EVERYWHERE.to_owned()],
            Interfaces::Only(names) => names.iter().map(ToString::to_string).collect(),
        });
        (!ads.is_empty()).then(|| (score, interfaces.collect()))
    }

    fn can(&self, node: &NodeName, vip: IpAddr, interfaces: &BTreeSet<String>) -> bool {
        match self.abilities.get(node) {
            None | Some(Abilities::Unknown) => true,
            Some(Abilities::Known(by_name)) => by_name.iter().any(|(name, ability)| {
                let allowed = interfaces.contains(EVERYWHERE) || interfaces.contains(name.as_str());
                allowed && ability.of(vip) == Ability::Able
            }),
        }
    }

    fn candidates(&self, service: &Service, vip: IpAddr) -> BTreeSet<NodeName> {
        let can = |node: &&NodeName| {
            self.eligible(service, node).is_some_and(|(_, interfaces)| self.can(node, vip, &interfaces))
        };
        self.nodes.keys().filter(can).cloned().collect()
    }

    /// Without those that have lost an interface on which somebody else can announce, if somebody is left.
    fn without_losers(
        &self,
        vip: IpAddr,
        served: &[&Service],
        common: BTreeSet<NodeName>,
    ) -> BTreeSet<NodeName> {
        let having = |node: &NodeName, ability: Ability| -> BTreeSet<String> {
            let Some(Abilities::Known(by_name)) = self.abilities.get(node) else { return BTreeSet::new() };
            let allowed: BTreeSet<String> =
                served.iter().filter_map(|it| self.eligible(it, node)).flat_map(|(_, names)| names).collect();
            let names =
                by_name.iter().filter(|(_, it)| it.of(vip) == ability).map(|(name, _)| name.to_string());
            names.filter(|name| allowed.contains(EVERYWHERE) || allowed.contains(name)).collect()
        };
        let live = common.intersection(&self.members);
        let there: BTreeSet<String> = live.flat_map(|node| having(node, Ability::Able)).collect();
        let complete = |node: &&NodeName| having(node, Ability::Lost).is_disjoint(&there);
        let rest: BTreeSet<NodeName> = common.iter().filter(complete).cloned().collect();
        if self.some_live(&rest) { rest } else { common }
    }

    fn some_live(&self, nodes: &BTreeSet<NodeName>) -> bool {
        !nodes.is_disjoint(&self.members)
    }

    fn announced(&self, vip: IpAddr) -> Option<Announced> {
        let mut users: Vec<&Service> = self.services.values().filter(|it| it.vips.contains(&vip)).collect();
        users.sort_by_key(|it| (it.created, &it.key));
        let mut common: BTreeSet<NodeName> = self.nodes.keys().cloned().collect();
        let mut served: Vec<&Service> = vec![];
        for service in &users {
            let both: BTreeSet<_> = self.candidates(service, vip).intersection(&common).cloned().collect();
            if self.some_live(&both) {
                common = both;
                served.push(service);
            }
        }
        common = self.without_losers(vip, &served, common);
        let first = users.first()?.vips[0];
        let by = *served.first()?;
        let place = |node: &&NodeName| {
            let (score, _) = self.eligible(by, node).expect("it is a candidate");
            (u32::MAX - score, Sha256::digest(format!("{node}#{first}")).to_vec())
        };
        let best = common.iter().min_by_key(place)?;
        let announcer = common.iter().filter(|node| self.members.contains(*node)).min_by_key(place)?;
        let interfaces = |service: &&Service| {
            let (_, names) = self.eligible(service, announcer).expect("it is a candidate");
            let all = BTreeSet::from([EVERYWHERE.to_owned()]);
            (service.key.clone(), if names.contains(EVERYWHERE) { all } else { names })
        };
        let absent = (best != announcer).then(|| best.clone());
        Some((announcer.clone(), served.iter().map(interfaces).collect(), absent))
    }
}

/// Says what has changed to the cluster and to each node's placement.
#[derive(Debug, Clone)]
enum Step {
    Service(u8, Option<Service>),
    Slice(u8, Option<(u8, Vec<Option<NodeName>>)>),
    Node(&'static str, Option<(Network, Labels)>),
    Members(BTreeSet<NodeName>),
    Away(BTreeSet<NodeName>),
    Pools(BTreeSet<&'static str>),
    Advertisement(u8, Option<Advertisement>),
    Abilities(&'static str, Abilities),
}

fn key(number: u8) -> ServiceKey {
    ServiceKey::new("default", format!("service-{number}"))
}

fn take(step: Step, cluster: &mut Cluster, placements: &mut [Placement]) {
    match step {
        Step::Service(number, None) => {
            cluster.services.remove(&key(number));
            placements.iter_mut().for_each(|it| it.remove_service(&key(number)));
        }
        Step::Service(_, Some(service)) => {
            placements.iter_mut().for_each(|it| it.set_service(service.clone()));
            cluster.services.insert(service.key.clone(), service);
        }
        Step::Slice(number, it) => {
            let slice = SliceKey::new("default", format!("slice-{number}"));
            match it {
                None => {
                    placements.iter_mut().for_each(|it| it.remove_endpoints(&slice));
                    cluster.slices.remove(&slice);
                }
                Some((of, nodes)) => {
                    let endpoints = Endpoints::from_iter(nodes.clone());
                    placements
                        .iter_mut()
                        .for_each(|it| it.set_endpoints(&slice, &key(of), endpoints.clone()));
                    cluster.slices.insert(slice, (key(of), nodes));
                }
            }
        }
        Step::Node(name, None) => {
            placements.iter_mut().for_each(|it| it.remove_node(&name.into()));
            cluster.nodes.remove(&name.into());
        }
        Step::Node(name, Some((network, labels))) => {
            let node = Node { name: name.into(), labels, network };
            placements.iter_mut().for_each(|it| it.set_node(node.clone()));
            cluster.nodes.insert(name.into(), node);
        }
        Step::Members(members) => {
            placements.iter_mut().for_each(|it| it.set_members(members.clone()));
            cluster.members = members;
        }
        Step::Away(away) => {
            placements.iter_mut().for_each(|it| it.set_away(away.clone()));
            cluster.away = away;
        }
        Step::Pools(names) => {
            let specs = POOLS.iter().filter(|(name, _)| names.contains(name));
            let pools = Pools::new(specs.map(|(name, entries)| PoolSpec::new(*name, entries)));
            placements.iter_mut().for_each(|it| it.set_pools(pools.clone()));
            cluster.pools = names;
        }
        Step::Advertisement(number, it) => {
            let name = format!("ad-{number}");
            match it {
                None => {
                    placements.iter_mut().for_each(|it| it.remove_advertisement(&name.clone().into()));
                    cluster.advertisements.remove(&name);
                }
                Some(ad) => {
                    placements.iter_mut().for_each(|it| it.set_advertisement(ad.clone()));
                    cluster.advertisements.insert(name, ad);
                }
            }
        }
        Step::Abilities(name, abilities) => {
            placements.iter_mut().for_each(|it| it.set_abilities(name.into(), abilities.clone()));
            cluster.abilities.insert(name.into(), abilities);
        }
    }
}

fn labels(pairs: Vec<(&str, &str)>) -> Labels {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn zone(value: &str) -> Selector {
    Selector::from_iter([Requirement::equals("zone", value)])
}

fn names(nodes: Vec<&str>) -> BTreeSet<NodeName> {
    nodes.into_iter().map(NodeName::from).collect()
}

fn some_service() -> impl Strategy<Value = Service> {
    let vips = subsequence(VIPS.to_vec(), 1..=2).prop_shuffle();
    let vips = prop_oneof![
        3 => Just(vec!["192.0.2.1", "2001:db8::1"]),
        3 => Just(vec!["192.0.2.2", "2001:db8::1"]),
        2 => vips
    ];
    let zones = select(vec![vec![], vec![("zone", "x")]]);
    let policy = select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local]);
    let sharing = select(vec![Sharing::Sole, Sharing::Shared]);
    (0..4u8, vips, zones, policy, sharing, 0..3i64).prop_map(|(name, vips, zones, policy, sharing, age)| {
        Service {
            key: key(name),
            labels: labels(zones),
            vips: vips.into_iter().map(|vip| vip.parse().expect("it is an address")).collect(),
            created: Some(age),
            recorded_pool: None,
            traffic_policy: policy,
            sharing,
        }
    })
}

fn some_advertisement() -> impl Strategy<Value = Advertisement> {
    let few = |name: &'static str| prop_oneof![2 => Just(vec![]), 1 => Just(vec![zone("x")]), 1 => Just(vec![zone("y"), zone(name)])];
    let pools = subsequence(vec!["lan", "dmz"], 0..=2);
    let interfaces = subsequence(vec!["eth0", "eth1"], 0..=2);
    let preference = proptest::option::of((1..3u32, select(vec!["x", "y"])));
    (0..3u8, pools, few("x"), few(""), preference, interfaces).prop_map(
        |(name, pools, service_selectors, node_selectors, preference, interfaces)| Advertisement {
            name: format!("ad-{name}").into(),
            pools: pools.into_iter().map(Into::into).collect(),
            pool_selectors: vec![],
            service_selectors,
            node_selectors,
            preferences: preference
                .map(|(weight, value)| Preference { weight, selector: zone(value) })
                .into_iter()
                .collect(),
            interfaces: if interfaces.is_empty() {
                Interfaces::All
            } else {
                Interfaces::only(interfaces.into_iter().map(Into::into))
            },
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    use proptest::option::weighted;
    let node_labels = vec![vec![], vec![("zone", "x")], vec![("zone", "y")], vec![(EXCLUDE_LABEL, "no")]];
    let network = select(vec![Network::Available, Network::Available, Network::Unavailable]);
    let node = (network, select(node_labels).prop_map(labels));
    let places = proptest::collection::vec(weighted(0.9, select(NODES.to_vec())), 0..3);
    let places = places.prop_map(|nodes| nodes.into_iter().map(|node| node.map(Into::into)).collect());
    let ability = || select(vec![Ability::Unable, Ability::Lost, Ability::Able]);
    let ability = || (ability(), ability()).prop_map(|(arp, ndp)| ByProtocol { arp, ndp });
    let known = (ability(), ability())
        .prop_map(|(one, two)| Abilities::Known([("eth0".into(), one), ("eth1".into(), two)].into()));
    let abilities = prop_oneof![1 => Just(Abilities::Unknown), 3 => known];
    prop_oneof![
        4 => some_service().prop_map(|it| Step::Service(0, Some(it))),
        1 => (0..4u8).prop_map(|name| Step::Service(name, None)),
        3 => (0..5u8, weighted(0.8, (0..4u8, places))).prop_map(|(name, it)| Step::Slice(name, it)),
        2 => (select(NODES.to_vec()), weighted(0.8, node)).prop_map(|(name, it)| Step::Node(name, it)),
        2 => subsequence(NODES.to_vec(), 1..=4).prop_map(|nodes| Step::Members(names(nodes))),
        2 => subsequence(NODES.to_vec(), 0..=2).prop_map(|nodes| Step::Away(names(nodes))),
        1 => subsequence(vec!["lan", "dmz"], 0..=2).prop_map(|pools| Step::Pools(pools.into_iter().collect())),
        2 => some_advertisement().prop_map(|it| Step::Advertisement(
            it.name.as_str()[3..].parse().expect("a number ends it"), Some(it))),
        1 => (0..3u8).prop_map(|name| Step::Advertisement(name, None)),
        3 => (select(NODES.to_vec()), abilities).prop_map(|(name, it)| Step::Abilities(name, it)),
    ]
}

/// A cluster in which everything works: what happens next is then seldom without effect.
fn beginning() -> Vec<Step> {
    let everywhere: Vec<_> = NODES.map(|node| Some(node.into())).into();
    let everything = Advertisement::new("ad-0");
    let mut steps = vec![
        Step::Members(NODES.map(NodeName::from).into()),
        Step::Pools(["lan", "dmz"].into()),
        Step::Advertisement(0, Some(everything)),
    ];
    steps.extend(NODES.map(|node| Step::Node(node, Some((Network::Available, Labels::new())))));
    steps.extend((0..4).map(|number| Step::Slice(number, Some((number, everywhere.clone())))));
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_node_follows_the_rules_after_every_change(steps in proptest::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::default();
        let mut placements = NODES.map(|name| Placement::new(name.into(), ExcludeLabel::Honoured));
        for step in beginning() {
            take(step, &mut cluster, &mut placements);
        }
        for step in steps {
            take(step.clone(), &mut cluster, &mut placements);
            placements.iter_mut().for_each(|it| _ = it.settle());
            let expected: BTreeMap<IpAddr, Option<Announced>> = VIPS
                .map(|vip| vip.parse().unwrap())
                .map(|vip| (vip, cluster.announced(vip)))
                .into();
            for (name, placement) in NODES.iter().zip(&placements) {
                for (vip, expected) in &expected {
                    prop_assert_eq!(&seen(placement, &cluster, *vip), expected, "{} on {} after {:?}", vip, name, step);
                }
                let mine = expected.iter().filter(|(_, it)| it.as_ref().is_some_and(|it| it.0 == (*name).into()));
                let mine: Vec<IpAddr> = mine.map(|(vip, _)| *vip).collect();
                prop_assert_eq!(placement.announcements().keys().copied().collect::<Vec<_>>(), mine, "{}", name);
            }
        }
    }
}

/// What a placement says of an address.
fn seen(placement: &Placement, cluster: &Cluster, vip: IpAddr) -> Option<Announced> {
    let mut seen: Option<Announced> = None;
    for key in cluster.services.keys() {
        let Some((_, outcome)) = placement.assignments(key).find(|(other, _)| *other == vip) else {
            continue;
        };
        let Ok(assignment) = outcome else { continue };
        let interfaces = match &assignment.interfaces {
            Interfaces::All => [EVERYWHERE.to_owned()].into(),
            Interfaces::Only(names) => names.iter().map(ToString::to_string).collect(),
        };
        let first = || (assignment.announcer.clone(), BTreeMap::new(), assignment.stand_in_for.clone());
        let (announcer, services, absent) = seen.get_or_insert_with(first);
        assert_eq!((&*announcer, &*absent), (&assignment.announcer, &assignment.stand_in_for));
        services.insert(key.clone(), interfaces);
    }
    seen
}

//! What the API server knows: Services, endpoints, nodes; and every change of it, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use objects::{InterfaceName, Labels, NodeName, PoolName, ServiceKey, SliceKey};
use placement::{
    Abilities, Ability, Advertisement, ByProtocol, EXCLUDE_LABEL, Endpoints, ExcludeLabel, Interfaces, Kind,
    Network, Node, Placement, Pools, Prefix, Prefixes, Service, Sharing, TrafficPolicy,
};
use pools::PoolSpec;
use speaker_core::{Changes, Input, Seen};

use crate::faults::Edit;
use crate::world::{Setup, Wiring};

/// The pool whose addresses are announced on the second LAN only.
const SECOND: &str = "second";

/// Something new that the API server tells everybody who watches.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Service(Service),
    ServiceGone(ServiceKey),
    Endpoints(ServiceKey, BTreeSet<NodeName>),
    Node(Node),
    Pool(PoolSpec),
    Advertisement(Advertisement),
}

impl Change {
    /// What a speaker learns by it.
    pub(crate) fn input(&self) -> Input {
        fn one<K, V>(key: K, value: Option<V>) -> Changes<K, V> {
            Changes { each: vec![(key, value)], complete: false }
        }
        match self.clone() {
            Self::Service(service) => Input::Services(one(service.key.clone(), Some(service))),
            Self::ServiceGone(key) => Input::Services(one(key, None)),
            Self::Endpoints(service, nodes) => {
                let (slice, endpoints) = slice(&service, nodes);
                Input::Endpoints(one(slice, Some((service, endpoints))))
            }
            Self::Node(node) => Input::Nodes(one(node.name.clone(), Some(node))),
            Self::Pool(pool) => Input::Pools(one(pool.name.clone(), Some(pool))),
            Self::Advertisement(ad) => Input::Advertisements(one(ad.name.clone(), Some((ad, vec![])))),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Service(_) | Self::ServiceGone(_) => Kind::Services,
            Self::Endpoints(..) => Kind::EndpointSlices,
            Self::Node(_) => Kind::Nodes,
            Self::Pool(_) => Kind::Pools,
            Self::Advertisement(_) => Kind::Advertisements,
        }
    }

    fn tell(&self, placement: &mut Placement) {
        match self.clone() {
            Self::Service(service) => placement.set_service(service),
            Self::ServiceGone(key) => placement.remove_service(&key),
            Self::Endpoints(service, nodes) => {
                let (slice, endpoints) = slice(&service, nodes);
                placement.set_endpoints(&slice, &service, endpoints);
            }
            Self::Node(node) => placement.set_node(node),
            // All of them come at once.
            Self::Pool(_) => {}
            Self::Advertisement(advertisement) => placement.set_advertisement(advertisement),
        }
    }
}

/// The only slice of endpoints of a Service.
fn slice(service: &ServiceKey, nodes: BTreeSet<NodeName>) -> (SliceKey, Endpoints) {
    (SliceKey::new("default", format!("{service}-1")), nodes.into_iter().map(Some).collect())
}

/// Some changes that follow each other.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    /// How many came before.
    pub(crate) before: usize,
    pub(crate) changes: Vec<Change>,
}

impl Episode {
    /// How much a speaker has seen of each kind after these; the version of a change is its number. One that has just listed
    /// everything knows that it has missed nothing.
    pub(crate) fn seen(&self, listed: bool) -> Vec<Input> {
        let version = |number: usize| u64::try_from(number).expect("there are not that many");
        let mut newest: BTreeMap<Kind, u64> = BTreeMap::new();
        for (number, change) in (self.before + 1..).zip(&self.changes) {
            newest.insert(change.kind(), version(number));
        }
        let last = version(self.before + self.changes.len());
        let seen =
            |(kind, newest)| Input::Seen(kind, Seen { complete: if listed { last } else { newest }, newest });
        newest.into_iter().map(seen).collect()
    }
}

/// What a speaker learns when all lists are complete.
pub(crate) fn complete() -> [Input; 5] {
    fn none<K, V>() -> Changes<K, V> {
        Changes { each: vec![], complete: true }
    }
    [
        Input::Services(none()),
        Input::Endpoints(none()),
        Input::Nodes(none()),
        Input::Pools(none()),
        Input::Advertisements(none()),
    ]
}

/// What a node can do with each of its interfaces.
pub(crate) type Carriers = Vec<Ability>;

/// A node that is alive: where it can announce, and what it keeps.
pub(crate) type Alive = (Carriers, BTreeSet<IpAddr>);

/// The truth, and its history.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// All changes so far. Who has seen the first few of them knows the cluster as it was then.
    pub(crate) log: Vec<Change>,
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    endpoints: BTreeMap<ServiceKey, BTreeSet<NodeName>>,
    nodes: BTreeMap<NodeName, Node>,
    /// Every address that is given to a Service.
    vips: Vec<IpAddr>,
    wiring: Wiring,
    sharing: bool,
    /// Sees everything at once.
    oracle: Placement,
    /// What it said since the last change, by who was alive.
    said: BTreeMap<BTreeMap<NodeName, Alive>, Rc<Announcers>>,
}

/// Who should announce an address, and on which interfaces.
pub(crate) type Announcers = BTreeMap<IpAddr, (NodeName, Interfaces)>;

impl Cluster {
    /// Of these nodes and as many Services; every node has an endpoint of each.
    pub(crate) fn new(names: &[NodeName], setup: &Setup) -> Self {
        let mut cluster = Self {
            log: Vec::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            vips: Vec::new(),
            wiring: setup.wiring,
            sharing: setup.sharing,
            oracle: Placement::new("oracle".into(), ExcludeLabel::Honoured),
            said: BTreeMap::new(),
        };
        cluster.oracle.set_spread(setup.spread);
        cluster.oracle.set_failback(setup.failback);
        if setup.prefixes {
            let of = |number: u8| (format!("eth{number}").as_str().into(), prefixes(number));
            let all: Prefixes = [0, 1].map(of).into();
            names.iter().for_each(|name| cluster.oracle.set_prefixes(name.clone(), all.clone()));
        }
        let pools = [
            PoolSpec::new("first", &["198.18.0.0/16", "2001:db8::/112"]),
            PoolSpec::new(SECOND, &["198.19.0.0/16", "2001:db8:1::/112"]),
        ];
        cluster.oracle.set_pools(Pools::new(pools.clone()));
        pools.into_iter().for_each(|pool| cluster.change(Change::Pool(pool)));
        for (pool, interfaces) in [("first", Interfaces::All), (SECOND, Interfaces::only([second()]))] {
            let pools = BTreeSet::from([PoolName::from(pool)]);
            let advertisement = Advertisement { pools, interfaces, ..Advertisement::new(pool) };
            cluster.change(Change::Advertisement(advertisement));
        }
        for name in names {
            let node = Node { name: name.clone(), labels: Labels::new(), network: Network::Available };
            cluster.change(Change::Node(node));
        }
        for number in 0..setup.services {
            cluster.change(Change::Service(cluster.service(number)));
            cluster.change(Change::Endpoints(key(number), names.iter().cloned().collect()));
        }
        cluster
    }

    /// Makes a change true and known to whoever watches.
    pub(crate) fn change(&mut self, change: Change) {
        match change.clone() {
            Change::Service(service) => _ = self.services.insert(service.key.clone(), service),
            Change::ServiceGone(key) => _ = self.services.remove(&key),
            Change::Endpoints(service, nodes) => _ = self.endpoints.insert(service, nodes),
            Change::Node(node) => _ = self.nodes.insert(node.name.clone(), node),
            Change::Pool(_) | Change::Advertisement(_) => {}
        }
        change.tell(&mut self.oracle);
        self.said.clear();
        self.vips = self.services.values().flat_map(|service| service.vips.iter().copied()).collect();
        self.vips.sort_unstable();
        self.vips.dedup();
        self.log.push(change);
    }

    /// What becomes of the objects by an edit; the nodes go by these names.
    pub(crate) fn edit(&mut self, edit: &Edit, names: &[NodeName]) {
        let change = match *edit {
            Edit::ToggleService(number) => match self.services.get(&key(number)) {
                Some(service) => Change::ServiceGone(service.key.clone()),
                None => Change::Service(self.service(number)),
            },
            Edit::Endpoints(number, ref nodes) => {
                Change::Endpoints(key(number), nodes.iter().map(|node| names[*node].clone()).collect())
            }
            Edit::Readdress(number) | Edit::Policy(number, _) | Edit::IrrelevantServiceLabel(number, _) => {
                let Some(service) = self.services.get(&key(number)) else { return };
                Change::Service(self.edited(service.clone(), number, edit))
            }
            Edit::ToggleExclusion(number)
            | Edit::ToggleNetwork(number)
            | Edit::IrrelevantLabel(number, _) => {
                let mut node = self.nodes[&names[number]].clone();
                if let Edit::IrrelevantLabel(_, value) = edit {
                    node.labels.insert("irrelevant".into(), value.to_string());
                } else if let Edit::ToggleNetwork(_) = edit {
                    node.network = match node.network {
                        Network::Available => Network::Unavailable,
                        Network::Unavailable => Network::Available,
                    }
                } else if node.labels.remove(EXCLUDE_LABEL).is_none() {
                    node.labels.insert(EXCLUDE_LABEL.into(), String::new());
                }
                Change::Node(node)
            }
        };
        self.change(change);
    }

    fn edited(&self, mut service: Service, number: u16, edit: &Edit) -> Service {
        match edit {
            Edit::Policy(_, policy) => service.traffic_policy = *policy,
            Edit::IrrelevantServiceLabel(_, value) => {
                service.labels.insert("irrelevant".into(), value.to_string());
            }
            _ => {
                let first = self.service(number);
                if service.vips == first.vips {
                    let other = number + 1000;
                    service.sharing = Sharing::Sole;
                    service.vips =
                        first.vips.iter().map(|vip| self.vip(number, other, vip.is_ipv4())).collect();
                } else {
                    (service.vips, service.sharing) = (first.vips, first.sharing);
                }
            }
        }
        service
    }

    /// Every address that is given to a Service.
    pub(crate) fn vips(&self) -> &[IpAddr] {
        &self.vips
    }

    /// The first address that a Service had at first.
    pub(crate) fn first_vip(&self, number: u16) -> IpAddr {
        self.service(number).vips[0]
    }

    /// Who should announce what, were exactly these alive.
    pub(crate) fn announcers(&mut self, alive: &BTreeMap<NodeName, Alive>) -> Rc<Announcers> {
        if let Some(said) = self.said.get(alive) {
            return Rc::clone(said);
        }
        self.oracle.set_members(alive.keys().cloned().collect());
        for (node, (carriers, kept)) in alive {
            self.oracle.set_kept(node, kept);
            let ability = |(number, it): (usize, &Ability)| {
                (format!("eth{number}").as_str().into(), ByProtocol { arp: *it, ndp: *it })
            };
            let by_name = carriers.iter().enumerate().map(ability);
            self.oracle.set_abilities(node.clone(), Abilities::Known(by_name.collect()));
        }
        self.oracle.settle();
        let mut announcers = Announcers::new();
        for key in self.services.keys() {
            for (vip, outcome) in self.oracle.assignments(key) {
                if let Ok(assignment) = outcome {
                    let nowhere = || Interfaces::only([]);
                    let of_all =
                        announcers.entry(vip).or_insert_with(|| (assignment.announcer.clone(), nowhere()));
                    of_all.1 = std::mem::replace(&mut of_all.1, nowhere()).union(&assignment.interfaces);
                }
            }
        }
        let announcers = Rc::new(announcers);
        self.said.insert(alive.clone(), Rc::clone(&announcers));
        announcers
    }

    /// A Service as it is at first: every third has an IPv4 and an IPv6 address, the others IPv4 only. Where there is a
    /// second LAN, every fourth is announced only there. Where Services share, one after each with both families uses
    /// addresses of that one: all of them, or only the last.
    pub(crate) fn service(&self, number: u16) -> Service {
        let borrows = self.sharing && number % 3 == 2;
        let owner = if borrows { number - 1 } else { number };
        let mut vips = vec![self.vip(owner, owner, true)];
        if owner % 3 == 1 {
            vips.push(self.vip(owner, owner, false));
        }
        if borrows && number.is_multiple_of(2) {
            vips.remove(0);
        }
        let shares = self.sharing && owner % 3 == 1;
        Service {
            key: key(number),
            labels: Labels::new(),
            vips,
            created: Some(number.into()),
            recorded_pool: None,
            traffic_policy: TrafficPolicy::Cluster,
            sharing: if shares { Sharing::Shared } else { Sharing::Sole },
        }
    }

    /// An address of the pool that the Service `number` has its addresses of.
    fn vip(&self, number: u16, host: u16, v4: bool) -> IpAddr {
        let second = u16::from(self.wiring == Wiring::TwoLans && number % 4 == 3);
        let [high, low] = host.to_be_bytes();
        match (v4, second) {
            (true, 0) => Ipv4Addr::new(198, 18, high, low).into(),
            (true, _) => Ipv4Addr::new(198, 19, high, low).into(),
            (false, second) => Ipv6Addr::new(0x2001, 0xdb8, second, 0, 0, 0, 0, host).into(),
        }
    }

    /// Whether `node` passes requests to `vip` on to an endpoint.
    pub(crate) fn serves(&self, node: &NodeName, vip: IpAddr) -> bool {
        let Some(service) = self.services.values().find(|service| service.vips.contains(&vip)) else {
            return false;
        };
        let endpoints = &self.endpoints[&service.key];
        match service.traffic_policy {
            TrafficPolicy::Cluster => !endpoints.is_empty(),
            TrafficPolicy::Local => endpoints.contains(node),
        }
    }
}

/// The name of a Service.
pub(crate) fn key(number: u16) -> ServiceKey {
    ServiceKey::new("default", format!("service-{number}"))
}

/// The prefixes of the interface of this number, where interfaces have any: those of a pool.
pub(crate) fn prefixes(interface: u8) -> BTreeSet<Prefix> {
    let v4 = Ipv4Addr::new(198, 18 + interface, 255, 1).into();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, interface.into(), 0, 0, 0, 0, 0xffff).into();
    [Prefix::of(v4, 16), Prefix::of(v6, 112)].into_iter().flatten().collect()
}

/// The interface of a node with the second LAN.
fn second() -> InterfaceName {
    "eth1".into()
}

//! What the API server knows: Services, endpoints, nodes; and every change of it, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use objects::{Labels, NodeName, ServiceKey, SliceKey};
use placement::{
    Advertisement, Endpoints, ExcludeLabel, Network, Node, Placement, Pools, Service, Sharing, TrafficPolicy,
};
use pools::PoolSpec;
use speaker_core::{Changes, Input};

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

    fn tell(&self, placement: &mut Placement) {
        match self.clone() {
            Self::Service(service) => placement.set_service(service),
            Self::ServiceGone(key) => placement.remove_service(&key),
            Self::Endpoints(service, nodes) => {
                let (slice, endpoints) = slice(&service, nodes);
                placement.set_endpoints(&slice, &service, endpoints);
            }
            Self::Node(node) => placement.set_node(node),
            Self::Pool(pool) => placement.set_pools(Pools::new([pool])),
            Self::Advertisement(advertisement) => placement.set_advertisement(advertisement),
        }
    }
}

/// The only slice of endpoints of a Service.
fn slice(service: &ServiceKey, nodes: BTreeSet<NodeName>) -> (SliceKey, Endpoints) {
    (SliceKey::new("default", format!("{service}-1")), nodes.into_iter().map(Some).collect())
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

/// The truth, and its history.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// All changes so far. Who has seen the first few of them knows the cluster as it was then.
    pub(crate) log: Vec<Change>,
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    pub(crate) endpoints: BTreeMap<ServiceKey, BTreeSet<NodeName>>,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    /// Sees everything at once.
    oracle: Placement,
    /// What it said since the last change, by who was alive.
    said: BTreeMap<BTreeSet<NodeName>, BTreeMap<IpAddr, NodeName>>,
}

impl Cluster {
    /// Of these nodes and as many Services; every node has an endpoint of each.
    pub(crate) fn new(nodes: &[NodeName], services: u16) -> Self {
        let mut cluster = Self {
            log: Vec::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            nodes: BTreeMap::new(),
            oracle: Placement::new("oracle".into(), ExcludeLabel::Honoured),
            said: BTreeMap::new(),
        };
        cluster.change(Change::Pool(PoolSpec::new("pool", &["198.18.0.0/16", "2001:db8::/112"])));
        cluster.change(Change::Advertisement(Advertisement::new("everything")));
        for name in nodes {
            let node = Node { name: name.clone(), labels: Labels::new(), network: Network::Available };
            cluster.change(Change::Node(node));
        }
        for number in 0..services {
            cluster.change(Change::Service(service(number)));
            cluster.change(Change::Endpoints(key(number), nodes.iter().cloned().collect()));
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
        self.log.push(change);
    }

    /// Every address that is given to a Service.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.services.values().flat_map(|service| service.vips.iter().copied())
    }

    /// Who should announce what, were exactly these alive.
    pub(crate) fn announcers(&mut self, alive: &BTreeSet<NodeName>) -> &BTreeMap<IpAddr, NodeName> {
        self.said.entry(alive.clone()).or_insert_with(|| {
            self.oracle.set_members(alive.clone());
            self.oracle.settle();
            let elected = self.services.values().filter_map(|service| {
                let assignment = self.oracle.assignment(&service.key)?.ok()?;
                Some(service.vips.iter().map(move |vip| (*vip, assignment.announcer.clone())))
            });
            elected.flatten().collect()
        })
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

/// A Service as it is at first: every third has an IPv4 and an IPv6 address, the others IPv4 only.
pub(crate) fn service(number: u16) -> Service {
    let vips = if number % 3 == 1 { vec![v4(number), v6(number)] } else { vec![v4(number)] };
    Service {
        key: key(number),
        labels: Labels::new(),
        vips,
        created: None,
        recorded_pool: None,
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    }
}

/// An IPv4 address of the pool.
pub(crate) fn v4(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low).into()
}

/// An IPv6 address of the pool.
pub(crate) fn v6(number: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).into()
}

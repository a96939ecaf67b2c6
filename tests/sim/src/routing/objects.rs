//! The objects of the cluster, and the routes that follow from them: worked out from what the objects mean, without the code
//! that is tried.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bfd::config::Profile;
use bgp::config::{AsNumbers, Asn, PeerAs, RestartTime, Timers, Transport};
use bgp::route::Prefix;
use objects::{BfdProfileName, BgpPeerName, Labels, NodeName, Selector, ServiceKey, SliceKey};
use peering::{Advertisement, Aggregation, Peer};
use placement::{EXCLUDE_LABEL, Endpoints, Network, Node, Service, Sharing, TrafficPolicy};
use pools::PoolSpec;
use speaker_core::announce::bgp::BgpInput;
use speaker_core::{Changes, Input};

/// The label that says in which half of the nodes one is.
const HALF: &str = "half";
/// The AS number of the nodes.
pub(super) const OWN: u32 = 64_512;
/// For how long routers keep routes, in seconds.
const RESTART: u16 = 12;
const PROFILE: &str = "fast";

/// What does not change in a world.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    pub(super) routers: Vec<RouterSetup>,
    /// The hold time that the nodes propose, in seconds.
    pub(super) hold: u64,
    pub(super) services: BTreeMap<u16, ServiceSetup>,
    pub(super) advertisements: BTreeMap<u16, AdvertisementSetup>,
}

/// A router, and the `BGPPeer` for it.
#[derive(Debug, Clone)]
pub(super) struct RouterSetup {
    pub(super) asn: u32,
    pub(super) dual_stack: bool,
    pub(super) graceful_restart: bool,
    pub(super) bfd: bool,
    /// The half of the nodes that connect to it; all.
    pub(super) half: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceSetup {
    pub(super) local: bool,
    pub(super) endpoints: BTreeSet<usize>,
    pub(super) dual_stack: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdvertisementSetup {
    /// The routers that it is for; all when empty.
    pub(super) routers: BTreeSet<usize>,
    pub(super) half: Option<usize>,
    /// Of IPv4 prefixes.
    pub(super) length: u8,
    pub(super) communities: BTreeSet<u16>,
}

/// A change of the objects.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Service(u16, Option<ServiceSetup>),
    Advertisement(u16, Option<AdvertisementSetup>),
    /// A node is excluded, or no longer.
    Exclude(usize),
    /// The hold time that the nodes propose.
    Hold(u64),
}

/// A route as a router is to have it: the communities beside the prefix.
pub(super) type Expected = BTreeMap<Prefix, BTreeSet<u32>>;

#[derive(Debug, Clone)]
pub(super) struct Objects {
    setup: Setup,
    excluded: BTreeSet<usize>,
}

impl Objects {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup, excluded: BTreeSet::new() }
    }

    /// What a speaker learns by a change.
    pub(super) fn edit(&mut self, edit: &Edit) -> Vec<Input> {
        match edit {
            Edit::Service(number, Some(new)) => {
                self.setup.services.insert(*number, new.clone());
                vec![Input::Services(self.services([*number])), Input::Endpoints(self.endpoints([*number]))]
            }
            Edit::Service(number, None) => {
                self.setup.services.remove(number);
                vec![Input::Services(self.services([*number]))]
            }
            Edit::Advertisement(number, new) => {
                match new {
                    Some(new) => _ = self.setup.advertisements.insert(*number, new.clone()),
                    None => _ = self.setup.advertisements.remove(number),
                }
                vec![Input::Bgp(BgpInput::Advertisements(self.advertisements([*number])))]
            }
            Edit::Exclude(node) => {
                if !self.excluded.remove(node) {
                    self.excluded.insert(*node);
                }
                vec![Input::Nodes(self.nodes([*node]))]
            }
            Edit::Hold(hold) => {
                self.setup.hold = *hold;
                vec![Input::Bgp(BgpInput::Peers(self.peers()))]
            }
        }
    }

    /// Everything, as a speaker that starts on a node lists it.
    pub(super) fn list(&self, node: usize) -> Vec<Input> {
        let complete = |input| match input {
            Input::Services(it) => Input::Services(Changes { complete: true, ..it }),
            Input::Endpoints(it) => Input::Endpoints(Changes { complete: true, ..it }),
            Input::Nodes(it) => Input::Nodes(Changes { complete: true, ..it }),
            Input::Bgp(BgpInput::Advertisements(it)) => {
                Input::Bgp(BgpInput::Advertisements(Changes { complete: true, ..it }))
            }
            other => other,
        };
        let spec = PoolSpec::new("pool", &["198.18.0.0/24", "2001:db8::/112"]);
        let all: Vec<u16> = self.setup.services.keys().copied().collect();
        let profile = (BfdProfileName::from(PROFILE), Some(Ok(profile())));
        let inputs = [
            Input::Bgp(BgpInput::NodeAddress(Some(address(node)))),
            Input::Pools(Changes { each: vec![(spec.name.clone(), Some(spec))], complete: true }),
            Input::Advertisements(Changes { each: vec![], complete: true }),
            Input::Nodes(self.nodes(0..self.setup.nodes)),
            Input::Services(self.services(all.clone())),
            Input::Endpoints(self.endpoints(all)),
            Input::Bgp(BgpInput::Profiles(Changes { each: vec![profile], complete: true })),
            Input::Bgp(BgpInput::Communities(Changes { each: vec![], complete: true })),
            Input::Bgp(BgpInput::Advertisements(
                self.advertisements(self.setup.advertisements.keys().copied()),
            )),
            Input::Bgp(BgpInput::Peers(self.peers())),
        ];
        inputs.into_iter().map(complete).collect()
    }

    /// The routes that a router is to have by way of a node whose speaker runs.
    pub(super) fn expected(&self, node: usize, router: usize) -> Expected {
        let mut expected = Expected::new();
        if !self.connects(node, router) || self.excluded.contains(&node) {
            return expected;
        }
        let peer = &self.setup.routers[router];
        for (number, service) in &self.setup.services {
            let serves =
                if service.local { service.endpoints.contains(&node) } else { !service.endpoints.is_empty() };
            for vip in vips(*number, service).into_iter().filter(|_| serves) {
                for advertisement in self.setup.advertisements.values() {
                    let is_for = advertisement.routers.is_empty() || advertisement.routers.contains(&router);
                    let from = advertisement.half.is_none_or(|half| half == node % 2);
                    if !(is_for && from) || vip.is_ipv6() && !peer.dual_stack {
                        continue;
                    }
                    let length = if vip.is_ipv4() { advertisement.length } else { 128 };
                    let prefix = Prefix::containing(vip, length).expect("lengths fit");
                    let communities = advertisement.communities.iter().map(|it| u32::from(*it));
                    expected.entry(prefix).or_default().extend(communities);
                }
            }
        }
        expected
    }

    /// Whether a node has a session with a router.
    pub(super) fn connects(&self, node: usize, router: usize) -> bool {
        self.setup.routers[router].half.is_none_or(|half| half == node % 2)
    }

    /// What does not change, as it is now.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    fn services(&self, numbers: impl IntoIterator<Item = u16>) -> Changes<ServiceKey, Service> {
        let each = numbers.into_iter().map(|number| {
            let service = self.setup.services.get(&number).map(|it| Service {
                key: key(number),
                labels: Labels::new(),
                vips: vips(number, it),
                created: Some(number.into()),
                recorded_pool: Some("pool".into()),
                traffic_policy: if it.local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
                sharing: Sharing::Sole,
            });
            (key(number), service)
        });
        Changes { each: each.collect(), complete: false }
    }

    fn endpoints(
        &self,
        numbers: impl IntoIterator<Item = u16>,
    ) -> Changes<SliceKey, (ServiceKey, Endpoints)> {
        let each = numbers.into_iter().map(|number| {
            let on = self.setup.services[&number].endpoints.iter().map(|node| Some(name(*node)));
            (SliceKey::new("default", format!("{number}-1")), Some((key(number), on.collect())))
        });
        Changes { each: each.collect(), complete: false }
    }

    fn nodes(&self, numbers: impl IntoIterator<Item = usize>) -> Changes<NodeName, Node> {
        let each = numbers.into_iter().map(|number| {
            let mut labels = Labels::from([(HALF.to_owned(), (number % 2).to_string())]);
            if self.excluded.contains(&number) {
                labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
            }
            (name(number), Some(Node { name: name(number), labels, network: Network::Available }))
        });
        Changes { each: each.collect(), complete: false }
    }

    fn advertisements(
        &self,
        numbers: impl IntoIterator<Item = u16>,
    ) -> Changes<placement::AdvertisementName, (Option<Advertisement>, Vec<String>)> {
        let each = numbers.into_iter().map(|number| {
            let name = format!("ad-{number}");
            let advertisement = self.setup.advertisements.get(&number).map(|it| {
                let mut advertisement = Advertisement::new(name.as_str());
                advertisement.scope.node_selectors = half(it.half);
                advertisement.peers = it.routers.iter().map(|router| peer(*router)).collect();
                advertisement.aggregation = Aggregation::new(it.length, 128).expect("it fits");
                advertisement.communities = it.communities.iter().map(|it| format!("0:{it}")).collect();
                (Some(advertisement), vec![])
            });
            (name.as_str().into(), advertisement)
        });
        Changes { each: each.collect(), complete: false }
    }

    fn peers(&self) -> Changes<BgpPeerName, Result<Peer, Vec<String>>> {
        let second = Duration::from_secs(1);
        let hold = second * u32::try_from(self.setup.hold).expect("seconds");
        let timers = Timers::new(Some(hold), None, Some(second * 5)).expect("they fit");
        let each = self.setup.routers.iter().enumerate().map(|(number, it)| {
            let asn = |number: u32| Asn::try_from(number).expect("not 0");
            let asns = AsNumbers { own: asn(OWN), shown: None, peer: PeerAs::Is(asn(it.asn)) };
            let transport = Transport::V4 { peer: router_address(number), source: None };
            let mut new = Peer::new(peer(number), transport, asns);
            new.timers = timers;
            new.node_selectors = half(it.half);
            if it.dual_stack {
                new.families = bgp::config::Families::Both;
            }
            new.graceful_restart = it.graceful_restart.then(restart_time);
            new.bfd = it.bfd.then(|| PROFILE.into());
            (peer(number), Some(Ok(new)))
        });
        Changes { each: each.collect(), complete: true }
    }
}

/// For how long nodes ask routers to keep routes, and routers nodes.
pub(super) fn restart_time() -> RestartTime {
    RestartTime::from_seconds(RESTART).expect("it fits")
}

/// The BFD profile of all who have one.
pub(super) fn profile() -> Profile {
    Profile::default()
}

/// What a node is called.
pub(super) fn name(node: usize) -> NodeName {
    format!("node-{node}").into()
}

/// What a router is called.
pub(super) fn peer(router: usize) -> BgpPeerName {
    format!("router-{router}").into()
}

/// Which router is called that.
pub(super) fn number(peer: &BgpPeerName) -> usize {
    let digits = peer.as_str().strip_prefix("router-");
    digits.and_then(|it| it.parse().ok()).expect("the name of a router")
}

/// Where a node is.
pub(super) fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 1 + u8::try_from(node).expect("there are few"))
}

/// Another address of a node.
pub(super) fn other_address(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1 + u16::try_from(node).expect("there are few"))
}

/// Where a router is.
pub(super) fn router_address(router: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, 201 + u8::try_from(router).expect("there are few"))
}

fn half(of: Option<usize>) -> Vec<Selector> {
    let requirement = of.map(|half| objects::Requirement::equals(HALF, half.to_string()));
    requirement.map(|it| Selector::from_iter([it])).into_iter().collect()
}

fn key(service: u16) -> ServiceKey {
    ServiceKey::new("default", format!("service-{service}"))
}

fn vips(number: u16, service: &ServiceSetup) -> Vec<IpAddr> {
    let host = u8::try_from(number).expect("there are few");
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number);
    let mut vips = vec![Ipv4Addr::new(198, 18, 0, host).into()];
    vips.extend(service.dual_stack.then_some(IpAddr::V6(v6)));
    vips
}

//! The objects about BGP, and what the speakers of these nodes tell routers by them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{BFDProfile, BGPAdvertisement, BGPPeer, Community};
use bgp::route::Prefix;
use kube::ResourceExt;
use objects::{BgpPeerName, Family, NodeName};
use peering::{Objects, PasswordSource};
use placement::{Placement, ServiceKey};
use pools::{Pool, Range};
use speaker_core::announce::bgp::{Foretold, NotAnnounced, Told, foretell};

use crate::routed::why_not;
use crate::survey::list;

/// The objects about BGP.
#[derive(Debug, Clone, Default)]
pub(crate) struct BgpObjects {
    pub(crate) peers: Vec<BGPPeer>,
    pub(crate) advertisements: Vec<BGPAdvertisement>,
    pub(crate) communities: Vec<Community>,
    pub(crate) profiles: Vec<BFDProfile>,
}

/// What the speakers of some nodes tell routers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// What each router is told.
    pub(crate) routes: BTreeMap<(Prefix, BgpPeerName), Route>,
    nodes: BTreeMap<NodeName, BTreeMap<ServiceKey, Result<Told, NotAnnounced>>>,
    /// The addresses of the pools that some advertisement is for, whichever nodes it selects.
    advertised: Vec<Range>,
    /// The families that the sessions with some router carry.
    carried: BTreeSet<Family>,
    /// Objects that are not in force as they stand, with what is wrong.
    pub(crate) faults: BTreeSet<(String, String)>,
}

/// Why no router is told of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unrouted {
    pub(crate) reason: String,
    /// The first of the nodes' reasons; none where they lack a router.
    first: Option<NotAnnounced>,
    /// A family of it that no router is told of, where there are routers for another.
    lacks: Option<Family>,
}

impl Unrouted {
    /// Whether it is for want of endpoints.
    pub(crate) fn is_without_endpoint(&self) -> bool {
        matches!(self.first, Some(NotAnnounced::NoLocalEndpoints | NotAnnounced::NoEndpoints))
    }

    /// What helps; another knows what helps against a want of endpoints.
    pub(crate) fn remedy(&self, of_endpoints: impl FnOnce() -> String) -> String {
        if let Some(family) = self.lacks {
            return format!(
                "set spec.dualStackAddressFamily of a BGPPeer to true, or make a BGPPeer for an {family} address of the router"
            );
        }
        let remedy = match self.first {
            None => {
                "kubectl get bgppeers: make one, or let its spec.nodeSelectors and the spec.peers of the BGPAdvertisement select it"
            }
            Some(NotAnnounced::NotOwner | NotAnnounced::NoMatchingAdvertisement) => {
                "let the spec.serviceSelectors and spec.nodeSelectors of a BGPAdvertisement for its pool select it"
            }
            Some(NotAnnounced::NodeNetworkUnavailable) => {
                "see what sets up the network of the nodes: kubectl describe nodes"
            }
            Some(NotAnnounced::NodeLabeledExcludeBalancers) => {
                "take the label node.kubernetes.io/exclude-from-external-load-balancers off a node"
            }
            Some(NotAnnounced::NoLocalEndpoints | NotAnnounced::NoEndpoints) => return of_endpoints(),
            Some(NotAnnounced::KubeProxyNotReady) => {
                "see whether kube-proxy runs on the nodes of its endpoints"
            }
        };
        remedy.to_owned()
    }
}

/// A prefix that a router is told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// By these nodes.
    pub(crate) nodes: BTreeSet<NodeName>,
    /// For these Services.
    pub(crate) services: BTreeSet<ServiceKey>,
}

impl BgpObjects {
    /// Whether nobody asks for BGP.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.advertisements.is_empty()
    }

    /// As speakers understand them. Passwords have no say in who is told what, and Secrets are not read here.
    fn read(&self) -> Objects {
        let peers = self.peers.iter().map(|it| {
            let read = it.read().map(|peer| peering::Peer { password: PasswordSource::None, ..peer });
            (it.name_any().into(), read)
        });
        let advertisements = self.advertisements.iter().map(|it| (it.name_any().into(), it.read()));
        let communities = self.communities.iter().map(|it| (it.name_any(), it.read()));
        let profiles = self.profiles.iter().map(|it| (it.name_any().into(), it.read()));
        Objects {
            peers: peers.collect(),
            advertisements: advertisements.collect(),
            communities: communities.collect(),
            profiles: profiles.collect(),
            secrets: BTreeMap::new(),
        }
    }

    /// What is wrong with them, as every node sees it.
    pub(crate) fn faults(&self, placement: &Placement) -> Vec<(String, String)> {
        let objects = self.read();
        let of_advertisements = objects.advertisements(placement.pools()).1;
        told("BGPPeer", objects.peer_faults()).chain(told("BGPAdvertisement", of_advertisements)).collect()
    }

    /// What the speakers of these nodes tell routers, by the code that they decide by.
    pub(crate) fn routing(&self, placement: &Placement, nodes: &BTreeSet<NodeName>) -> Routing {
        let mut routing = Routing::default();
        if self.is_empty() {
            return routing;
        }
        let objects = self.read();
        routing.carried = self.peers.iter().flat_map(families).collect();
        let in_force = objects.advertisements(placement.pools()).0;
        let is_for = |pool: &&Pool| in_force.values().any(|it| it.scope.covers(pool));
        let pools = placement.pools().iter().filter(is_for);
        routing.advertised = pools.flat_map(|pool| pool.ranges.iter().copied()).collect();
        for node in nodes {
            let Foretold { routes, services, peer_faults, advertisement_faults } =
                foretell(node, objects.clone(), placement);
            for (router, prefixes) in routes {
                for (prefix, services) in prefixes {
                    let route = routing.routes.entry((prefix, router.clone())).or_default();
                    route.nodes.insert(node.clone());
                    route.services.extend(services);
                }
            }
            routing.nodes.insert(node.clone(), services);
            routing.faults.extend(told("BGPPeer", peer_faults));
            routing.faults.extend(told("BGPAdvertisement", advertisement_faults));
        }
        routing
    }
}

impl Routing {
    /// The nodes that announce an address of a Service to some router.
    pub(crate) fn nodes(&self, key: &ServiceKey, ip: IpAddr) -> BTreeSet<NodeName> {
        let announces = |services: &BTreeMap<ServiceKey, Result<Told, NotAnnounced>>| {
            let told = services.get(key).and_then(|it| it.as_ref().ok());
            told.is_some_and(|told| told.vips.contains(&ip))
        };
        let nodes = self.nodes.iter().filter(|(_, services)| announces(services));
        nodes.map(|(node, _)| node.clone()).collect()
    }

    /// Why no router is told of an address of a Service, though an advertisement is for it.
    pub(crate) fn why_silent(&self, key: &ServiceKey, ip: IpAddr) -> Option<Unrouted> {
        let mut reasons: BTreeMap<NotAnnounced, Vec<&NodeName>> = BTreeMap::new();
        let mut would = Vec::new();
        let mut unselected = Vec::new();
        for (node, services) in &self.nodes {
            match services.get(key) {
                Some(Err(NotAnnounced::NotOwner)) => unselected.push(node),
                None => {}
                Some(Err(why)) => reasons.entry(*why).or_default().push(node),
                Some(Ok(_)) => would.push(node),
            }
        }
        if !would.is_empty() {
            let family = Family::of(ip);
            let lacks = (!self.carried.is_empty() && !self.carried.contains(&family)).then_some(family);
            let why = lacks.map_or_else(
                || format!("no BGPPeer is for the nodes that would ({})", list(&would)),
                |family| format!("no BGPPeer has a session that carries {family} routes"),
            );
            return Some(Unrouted { reason: format!("no router is told of it: {why}"), first: None, lacks });
        }
        // Whom no advertisement selects says nothing where others have reasons, nor where no advertisement is for the pool.
        if reasons.is_empty() && !unselected.is_empty() && self.advertised.iter().any(|it| it.contains(ip)) {
            reasons.insert(NotAnnounced::NotOwner, unselected);
        }
        let first = reasons.keys().next().copied()?;
        let told = reasons.iter().map(|(why, nodes)| format!("{} ({})", why_not(why.as_str()), list(nodes)));
        let reason = format!("no router is told of it: {}", told.collect::<Vec<_>>().join("; "));
        Some(Unrouted { reason, first: Some(first), lacks: None })
    }
}

/// The families that a session with a router carries: that of its address, unless it is to carry both.
fn families(peer: &BGPPeer) -> Vec<Family> {
    let address = peer.spec.peer_address.as_ref().and_then(|ip| ip.trim().parse::<IpAddr>().ok());
    match address.filter(|_| !peer.spec.dual_stack_address_family) {
        Some(ip) => vec![Family::of(ip.to_canonical())],
        None => vec![Family::V4, Family::V6],
    }
}

fn told<K: ToString>(kind: &str, faults: peering::Faults<K>) -> impl Iterator<Item = (String, String)> {
    faults.into_iter().map(move |(name, why)| (format!("{kind} {}", name.to_string()), why.join("; ")))
}

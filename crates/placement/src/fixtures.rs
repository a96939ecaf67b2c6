//! A small cluster to test with.

use std::net::IpAddr;

use objects::Labels;
use pools::PoolSpec;

use crate::{
    Abilities, Ability, Advertisement, ByProtocol, Endpoints, Interfaces, Network, Node, Pools, Service,
    ServiceKey, Sharing, TrafficPolicy,
};

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(crate) fn node(name: &str) -> Node {
    Node { name: name.into(), labels: Labels::new(), network: Network::Available }
}

pub(crate) fn pool(name: &str, entry: &str) -> PoolSpec {
    PoolSpec::new(name, &[entry])
}

pub(crate) fn pools(specs: impl IntoIterator<Item = PoolSpec>) -> Pools {
    Pools::new(specs)
}

pub(crate) fn advertisement(name: &str) -> Advertisement {
    Advertisement::new(name)
}

pub(crate) fn service(name: &str, vip: &str) -> Service {
    Service {
        key: ServiceKey::new("default", name),
        labels: Labels::new(),
        vips: vec![ip(vip)],
        created: None,
        recorded_pool: None,
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    }
}

pub(crate) fn serving(nodes: &[&str]) -> Endpoints {
    nodes.iter().map(|node| Some((*node).into())).collect()
}

pub(crate) fn only(names: &[&str]) -> Interfaces {
    Interfaces::only(names.iter().map(|name| (*name).into()))
}

pub(crate) fn able(interfaces: &[(&str, bool, bool)]) -> Abilities {
    let ability = |able| if able { Ability::Able } else { Ability::Unable };
    let by_protocol = |arp, ndp| ByProtocol { arp: ability(arp), ndp: ability(ndp) };
    Abilities::Known(
        interfaces.iter().map(|(name, arp, ndp)| ((*name).into(), by_protocol(*arp, *ndp))).collect(),
    )
}

/// A node that can announce on the first of these interfaces and has lost the second.
pub(crate) fn one_lost(able: &str, lost: &str) -> Abilities {
    let both = |ability| ByProtocol { arp: ability, ndp: ability };
    Abilities::Known([(able.into(), both(Ability::Able)), (lost.into(), both(Ability::Lost))].into())
}

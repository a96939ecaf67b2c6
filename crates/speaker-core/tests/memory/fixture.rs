//! Thousands of Services, as a speaker is told of them. The bench `handle` has the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use layer2::{Arp, MacAddr};
use objects::PoolName;
use placement::{
    Advertisement, AdvertisementName, Endpoints, Network, Node, NodeName, Service, ServiceKey, Sharing,
    SliceKey, TrafficPolicy,
};
use pools::PoolSpec;
use speaker_core::{Changes, Input, Lan, Link, Purpose, Unfit};

pub(crate) fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number)
}

pub(crate) fn service(number: u32) -> (ServiceKey, Option<Service>) {
    let key = ServiceKey::new("default", format!("service-{number:04}"));
    let service = Service {
        key: key.clone(),
        labels: BTreeMap::new(),
        vips: vec![IpAddr::V4(vip(number))],
        created: Some(number.into()),
        recorded_pool: Some("pool".into()),
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    };
    (key, Some(service))
}

pub(crate) fn endpoints(number: u32, on: NodeName) -> (SliceKey, Option<(ServiceKey, Endpoints)>) {
    let (service, _) = service(number);
    let slice = SliceKey::new("default", format!("{}-abcde", service.name));
    (slice, Some((service, Endpoints::from_iter([Some(on)]))))
}

pub(crate) fn list<K, V>(each: impl IntoIterator<Item = (K, Option<V>)>) -> Changes<K, V> {
    Changes { each: each.into_iter().collect(), complete: true }
}

/// All but the Services, their endpoints and the members: one interface, these nodes, a pool for all Services, and an
/// advertisement for all nodes.
pub(crate) fn surroundings(mac: MacAddr, nodes: impl IntoIterator<Item = NodeName>) -> [Input; 5] {
    let link = Link {
        name: "eth0".into(),
        purpose: Purpose::Lan,
        mac: Some(mac),
        arp: Ok(Arp { mac }),
        ndp: Err(Unfit::NoLinkLocal),
        lan: Lan::default(),
    };
    let node = |name: NodeName| {
        (name.clone(), Some(Node { name, labels: BTreeMap::new(), network: Network::Available }))
    };
    let pool = (PoolName::from("pool"), Some(PoolSpec::new("pool", &["10.0.0.0/16"])));
    let advertisement = (AdvertisementName::from("all"), Some((Advertisement::new("all"), vec![])));
    [
        Input::Interfaces([(1, link)].into()),
        Input::Nodes(list(nodes.into_iter().map(node))),
        Input::Pools(list([pool])),
        Input::Advertisements(list([advertisement])),
        Input::Peers(BTreeMap::new()),
    ]
}

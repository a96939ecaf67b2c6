//! A small cluster for the tests: three nodes with a speaker each, a pool, and Services.

use introspection::{
    Address, AddressState, BgpRoute, BgpSession, Capped, Claimant, Document, Interface, Peer, PeerState,
    SpeakerStatus, Status, Usability,
};
use placement::{ExcludeLabel, Failback, Spread};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use translation::Rules;

use crate::ask::Told;
use crate::programs::{Part, Program};
use crate::snapshot::{BgpObjects, Snapshot, Speakers};

/// Objects of a kind.
fn objects<K: DeserializeOwned>(objects: &[Value]) -> Vec<K> {
    objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

/// A Service `default/NAME` of type `LoadBalancer`, with this address if it has one.
pub(crate) fn service(name: &str, ip: Option<&str>) -> Value {
    let ingress: Vec<Value> = ip.iter().map(|ip| json!({"ip": ip})).collect();
    let annotations = ip.map_or(json!({}), |_| json!({"metallb.io/ip-allocated-from-pool": "lan"}));
    json!({
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// A snapshot with these Services, each of which has an endpoint on each of these nodes.
pub(crate) fn snapshot(services: &[Value], endpoints_on: &[&str], speakers: &[Told]) -> Snapshot {
    let slice = |service: &Value| {
        let name = service["metadata"]["name"].as_str().unwrap();
        let endpoints: Vec<Value> = endpoints_on.iter().map(|node| json!({"nodeName": node})).collect();
        json!({
            "metadata": {
                "name": format!("{name}-1"), "namespace": "default", "labels": {"kubernetes.io/service-name": name},
            },
            "endpoints": endpoints, "ports": [{"port": 8080}],
        })
    };
    let node = |name: &&str| json!({"metadata": {"name": name}});
    Snapshot {
        rules: Rules::default(),
        exclude_label: ExcludeLabel::Honoured,
        spread: Spread::ByHash,
        failback: Failback::Always,
        node_pools: false,
        services: objects(services),
        reservations: vec![],
        pools: objects(&[
            json!({"metadata": {"name": "lan"}, "spec": {"addresses": ["192.0.2.1-192.0.2.2"]}}),
        ]),
        advertisements: objects(&[json!({"metadata": {"name": "all"}})]),
        bgp: BgpObjects::default(),
        namespaces: objects(&[json!({"metadata": {"name": "default"}})]),
        nodes: objects(&["n1", "n2", "n3"].iter().map(node).collect::<Vec<_>>()),
        slices: objects(&services.iter().map(slice).collect::<Vec<_>>()),
        speakers: Speakers::read(Some(&["n1", "n2", "n3"].map(speaker_on)), speakers),
        elsewhere: vec![],
        controller: true,
    }
}

/// The Pod of a speaker that is ready.
pub(crate) fn speaker_on(node: &str) -> Program {
    Program {
        part: Part::Speaker,
        namespace: "lb".to_owned(),
        pod: format!("s-{node}"),
        node: Some(node.to_owned()),
        ready: true,
        leaves: false,
        down: None,
        waits_for: None,
        probes: 17472,
        port: 7472,
        secure: false,
        service_account: "it".to_owned(),
        image: "ferrolb:1".to_owned(),
        class: None,
        shares_within_namespace: false,
        ignores_exclude_label: false,
        spreads: false,
        never_fails_back: false,
        node_address_pools: false,
        lease: Some("ferrolb-controller".to_owned()),
    }
}

/// A speaker that hears the two others and says this of its addresses.
pub(crate) fn told(node: &str, addresses: Vec<Address>) -> Told {
    let used = Interface {
        name: "eth0".to_owned(),
        mac: Some(format!("02:00:00:00:00:0{}", &node[1..])),
        arp: Usability::Used,
        ndp: Usability::Used,
        ..Interface::default()
    };
    let others = ["n1", "n2", "n3"].into_iter().filter(|other| *other != node);
    let peer = |other: &str| Peer {
        node: other.to_owned(),
        state: PeerState::Heard,
        interfaces: Some(vec![used.clone()]),
        ..Peer::default()
    };
    let status = SpeakerStatus {
        node: node.to_owned(),
        peers: others.map(peer).collect(),
        interfaces: Capped { items: vec![used.clone()], more: 0 },
        addresses: addresses.into_iter().collect(),
        ..SpeakerStatus::default()
    };
    let document = Document::new(vec![], Status::SpeakerStatus(status));
    Told { program: speaker_on(node), document: Ok(document) }
}

/// The same, with what it says of its own interfaces changed; that is given its node too.
pub(crate) fn edited(mut told: Told, edit: impl Fn(&str, &mut Vec<Interface>)) -> Told {
    if let Ok(Document { status: Status::SpeakerStatus(status), .. }) = &mut told.document {
        edit(&status.node, &mut status.interfaces.items);
    }
    told
}

/// A session with the router r1 in this state, and why.
pub(crate) fn session(state: &str, reason: &str) -> BgpSession {
    BgpSession {
        peer: "r1".to_owned(),
        state: state.to_owned(),
        reason: reason.to_owned(),
        ..BgpSession::default()
    }
}

/// What that router is to be told of the Service web at 192.0.2.1.
pub(crate) fn route() -> BgpRoute {
    BgpRoute {
        prefix: "192.0.2.1/32".to_owned(),
        services: vec!["default/web".to_owned()],
        peers: vec!["r1".to_owned()],
        ..BgpRoute::default()
    }
}

/// An address that is in this state, on eth0, with these other hosts that have it.
pub(crate) fn address(ip: &str, state: AddressState, claimants: &[(&str, Option<&str>)]) -> Address {
    let claimant = |(mac, node): &(&str, Option<&str>)| Claimant {
        mac: (*mac).to_owned(),
        interface: "eth0".to_owned(),
        node: node.map(str::to_owned),
        last_heard_seconds: None,
    };
    Address {
        ip: Some(ip.parse().unwrap()),
        state,
        interfaces: vec!["eth0".to_owned()],
        conflicts: claimants.iter().map(claimant).collect(),
        ..Address::default()
    }
}

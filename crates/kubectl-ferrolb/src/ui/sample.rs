//! A cluster as there are many, for the tests: six nodes, some pools, two dozen Services, some of which have a problem.

use introspection::{
    Address, AddressState, Bgp, BgpRoute, BgpSession, Claimant, ControllerStatus, Document, Interface, Peer,
    PeerState, SpeakerStatus, Status, Usability,
};
use placement::{ExcludeLabel, Failback, Placement, Spread};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use translation::Rules;

use super::view::{Seen, View};
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::programs::{Part, Program};
use crate::snapshot::{BgpObjects, Snapshot, Speakers};
use crate::survey::Reports;

pub(super) const NODES: [&str; 6] = ["rack1-a", "rack1-b", "rack1-c", "rack2-a", "rack2-b", "rack2-c"];

/// Routers by name and address.
const ROUTERS: [(&str, &str); 2] = [("tor1", "192.168.1.2"), ("tor2", "192.168.1.3")];

/// Namespace, name, pool and address.
const SERVICES: [(&str, &str, &str, &str); 21] = [
    ("ingress", "traefik", "lan", "192.168.1.225"),
    ("ingress", "traefik-internal", "lan", "192.168.1.226"),
    ("media", "jellyfin", "lan", "192.168.1.227"),
    ("media", "navidrome", "lan", "192.168.1.228"),
    ("home", "home-assistant", "lan", "192.168.1.229"),
    ("home", "mosquitto", "lan", "192.168.1.230"),
    ("home", "zigbee2mqtt", "lan", "192.168.1.231"),
    ("git", "forgejo-ssh", "lan", "192.168.1.232"),
    ("git", "forgejo-http", "lan", "192.168.1.233"),
    ("monitoring", "grafana", "lan", "192.168.1.234"),
    ("monitoring", "prometheus", "lan", "192.168.1.235"),
    ("dns", "adguard", "lan", "192.168.1.236"),
    ("storage", "minio", "lan", "192.168.1.238"),
    ("shop", "storefront", "dmz", "203.0.113.17"),
    ("shop", "checkout-api", "dmz", "203.0.113.18"),
    ("shop", "webhooks", "dmz", "203.0.113.19"),
    ("mail", "postfix", "dmz", "203.0.113.20"),
    ("staging", "storefront", "staging", "192.168.1.240"),
    ("staging", "checkout-api", "staging", "192.168.1.241"),
    ("dns", "adguard-v6", "lan6", "2001:db8:5::10"),
    ("ingress", "traefik-v6", "lan6", "2001:db8:5::11"),
];

/// What is out of the ordinary.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample<'a> {
    /// So many Services besides.
    pub(super) more: usize,
    /// Whether some have a problem.
    pub(super) problems: bool,
    /// A node without power.
    pub(super) dead: Option<&'a str>,
    /// A name that somebody has chosen badly.
    pub(super) odd_name: Option<&'a str>,
    /// A list that cannot be had.
    pub(super) failure: Option<&'a str>,
    /// Whether nothing is there at all.
    pub(super) empty: bool,
    /// Whether there are two routers, which alone are told of the pool dmz.
    pub(super) routers: bool,
}

impl Sample<'_> {
    /// What the page shows of it.
    pub(super) async fn view(self) -> View {
        let (cluster, look) = self.look();
        let seen = Seen::of(&cluster, &look).await;
        View { cluster: "homelab".to_owned(), seen: Some(seen), ..View::default() }
    }

    /// A look at it.
    pub(super) fn look(self) -> (Cluster, Look) {
        if self.empty {
            let snapshot = Snapshot { speakers: Speakers::default(), ..self.snapshot(&[]) };
            let failures = self.failure.into_iter().map(str::to_owned).collect();
            let look = Look::new(vec![], vec![], snapshot, Some(Reports::new()), failures);
            return (Cluster::silent(vec![]), look);
        }
        let quiet: Vec<Told> = NODES.iter().map(|node| self.speaker(node, None)).collect();
        let placement = self.snapshot(&quiet).placed_now();
        let speakers: Vec<Told> = NODES.iter().map(|node| self.speaker(node, Some(&placement))).collect();
        let leader = ControllerStatus { leads: true, decides: true, ..ControllerStatus::default() };
        let controllers = ["rack1-a", "rack2-a"].map(|node| {
            let status = ControllerStatus { leads: node == "rack1-a", ..leader.clone() };
            let document = Ok(Document::new(vec![], Status::ControllerStatus(status)));
            Told { program: program(Part::Controller, node), document }
        });
        let programs = controllers.iter().chain(&speakers).map(|told| told.program.clone()).collect();
        let snapshot = self.snapshot(&speakers);
        let failures = self.failure.into_iter().map(str::to_owned).collect();
        let look = Look::new(controllers.to_vec(), speakers, snapshot, Some(Reports::new()), failures);
        (Cluster::silent(programs), look)
    }

    fn services(self) -> Vec<Value> {
        let mut all: Vec<Value> = SERVICES
            .iter()
            .map(|(namespace, name, pool, ip)| service(namespace, name, Some((pool, ip))))
            .collect();
        if self.problems {
            all.push(service("staging", "search", None));
            all.push(service("batch", "importer", Some(("lan", "192.168.1.237"))));
        }
        if let Some(name) = self.odd_name {
            all.push(service(name, name, Some((name, "192.168.1.239"))));
        }
        for number in 0..self.more {
            let (namespace, ip) =
                (format!("team-{:02}", number % 40), format!("10.40.{}.{}", number / 250, number % 250 + 1));
            all.push(service(&namespace, &format!("app-{number:04}"), Some(("apps", &ip))));
        }
        all
    }

    fn snapshot(self, speakers: &[Told]) -> Snapshot {
        let services = if self.empty { vec![] } else { self.services() };
        let endpoints: Vec<Value> = services
            .iter()
            .filter(|it| it["metadata"]["name"] != "importer")
            .enumerate()
            .map(|(number, service)| {
                let (name, namespace) = (&service["metadata"]["name"], &service["metadata"]["namespace"]);
                let on = [NODES[number % 6], NODES[(number + 2) % 6]];
                // One has a single Pod, so a drain hurts.
                let on = if *name == "minio" { &on[..1] } else { &on[..] };
                json!({
                    "metadata": {
                        "name": format!("{}-1", name.as_str().unwrap()), "namespace": namespace,
                        "labels": {"kubernetes.io/service-name": name},
                    },
                    "endpoints": on.iter().map(|node| json!({"nodeName": node})).collect::<Vec<_>>(),
                    "ports": [{"port": 8080}],
                })
            })
            .collect();
        let pools = [
            ("lan", json!({"addresses": ["192.168.1.224-192.168.1.238"]})),
            ("dmz", json!({"addresses": ["203.0.113.16/28"], "autoAssign": false})),
            (
                "staging",
                json!({
                    "addresses": ["192.168.1.240-192.168.1.241"], "serviceAllocation": {"namespaces": ["staging"]},
                }),
            ),
            ("lan6", json!({"addresses": ["2001:db8:5::/112"], "autoAssign": false})),
            ("apps", json!({"addresses": ["10.40.0.0/20"], "autoAssign": false})),
        ];
        let pools = pools.iter().filter(|(name, _)| *name != "apps" || self.more > 0);
        let pools: Vec<Value> =
            pools.map(|(name, spec)| json!({"metadata": {"name": name}, "spec": spec})).collect();
        let nodes = NODES.iter().enumerate().map(|(number, name)| {
            let addresses =
                json!([{"type": "InternalIP", "address": format!("192.168.1.{}", number + 224 - 5)}]);
            json!({"metadata": {"name": name}, "status": {"addresses": addresses}})
        });
        let nodes = if self.empty { vec![] } else { nodes.collect() };
        let names: Vec<Value> = services.iter().map(|it| it["metadata"]["namespace"].clone()).collect();
        let names = names.iter().map(|name| json!({"metadata": {"name": name}})).collect::<Vec<_>>();
        let programs: Vec<Program> = speakers.iter().map(|told| told.program.clone()).collect();
        Snapshot {
            rules: Rules::default(),
            exclude_label: ExcludeLabel::Honoured,
            spread: Spread::ByHash,
            failback: Failback::Always,
            node_pools: false,
            services: objects(&services),
            reservations: vec![],
            pools: if self.empty { vec![] } else { objects(&pools) },
            advertisements: if self.empty {
                vec![]
            } else if self.routers {
                let pools = if self.more > 0 {
                    &["lan", "staging", "lan6", "apps"][..]
                } else {
                    &["lan", "staging", "lan6"]
                };
                objects(&[json!({"metadata": {"name": "lans"}, "spec": {"ipAddressPools": pools}})])
            } else {
                objects(&[json!({"metadata": {"name": "all"}})])
            },
            bgp: self.bgp(),
            namespaces: objects(&names),
            nodes: objects(&nodes),
            slices: objects(&endpoints),
            speakers: Speakers::read(Some(&programs), speakers),
            elsewhere: vec![],
            controller: true,
        }
    }

    fn bgp(self) -> BgpObjects {
        if !self.routers {
            return BgpObjects::default();
        }
        let peer = |(name, address): &(&str, &str)| {
            let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address});
            json!({"metadata": {"name": name}, "spec": spec})
        };
        let advertisement = json!({"metadata": {"name": "dmz"}, "spec": {"ipAddressPools": ["dmz"]}});
        BgpObjects {
            peers: objects(&ROUTERS.iter().map(peer).collect::<Vec<_>>()),
            advertisements: objects(&[advertisement]),
            ..BgpObjects::default()
        }
    }

    /// What a speaker tells routers; a cable is out where there are problems.
    fn told_routers(self, node: &str) -> Bgp {
        if !self.routers {
            return Bgp::default();
        }
        let session = |(name, address): &(&str, &str)| {
            let down = self.problems && node == "rack2-b" && *name == "tor2";
            BgpSession {
                peer: (*name).to_owned(),
                address: format!("{address}:179"),
                state: if down { "Active" } else { "Established" }.to_owned(),
                reason: if down { "no TCP connection" } else { "the peer has accepted our OPEN" }.to_owned(),
                for_seconds: Some(if down { 700 } else { 260_000 }),
                announced: 4,
                ..BgpSession::default()
            }
        };
        let of_dmz = SERVICES.iter().filter(|(_, _, pool, _)| *pool == "dmz");
        let route = |(namespace, name, _, ip): &(&str, &str, &str, &str)| BgpRoute {
            prefix: format!("{ip}/32"),
            services: vec![format!("{namespace}/{name}")],
            peers: ROUTERS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            local_preference: 100,
            ..BgpRoute::default()
        };
        Bgp {
            sessions: ROUTERS.iter().map(session).collect(),
            routes: of_dmz.map(route).collect(),
            ..Bgp::default()
        }
    }

    /// A speaker, which announces what falls to it.
    fn speaker(self, node: &str, placement: Option<&Placement>) -> Told {
        if self.dead == Some(node) {
            let program = Program { ready: false, ..program(Part::Speaker, node) };
            return Told {
                program,
                document: Err("the API server does not reach it (503: timeout)".to_owned().into()),
            };
        }
        let interface = |name: &str, last: u8, arp: Usability| Interface {
            name: name.to_owned(),
            mac: Some(format!("52:54:00:aa:{:02x}:{last:02x}", node.len() + usize::from(node.as_bytes()[4]))),
            arp: arp.clone(),
            ndp: arp,
            ..Interface::default()
        };
        let used = interface("eth0", node.as_bytes()[6], Usability::Used);
        let unused = interface("wg0", 9, Usability::Unfit("it has no Ethernet address".to_owned()));
        let peer = |other: &&str| Peer {
            node: (*other).to_owned(),
            state: if self.dead == Some(*other) { PeerState::Leaving } else { PeerState::Heard },
            interfaces: Some(vec![used.clone()]),
            ..Peer::default()
        };
        let services = self.services();
        let fall_here = services.iter().filter_map(|service| {
            let text = |path: &str| service.pointer(path).and_then(Value::as_str);
            let key = ipam::ServiceKey::new(text("/metadata/namespace")?, text("/metadata/name")?);
            let ip = text("/status/loadBalancer/ingress/0/ip")?.parse().ok()?;
            let elected = crate::predict::assignment(placement?, &key, ip)?.ok()?;
            (elected.announcer.as_str() == node).then(|| address(ip, &key.to_string(), self.problems))
        });
        let status = SpeakerStatus {
            node: node.to_owned(),
            peers: NODES.iter().filter(|other| **other != node).map(peer).collect(),
            interfaces: [used.clone(), unused].into_iter().collect(),
            addresses: fall_here.collect(),
            bgp: Box::new(self.told_routers(node)),
            ..SpeakerStatus::default()
        };
        let document = Ok(Document::new(vec![], Status::SpeakerStatus(status)));
        Told { program: program(Part::Speaker, node), document }
    }
}

/// An address that a speaker announces; one is taken by another host, where there are problems.
fn address(ip: std::net::IpAddr, service: &str, problems: bool) -> Address {
    let taken = problems && service == "home/zigbee2mqtt";
    let printer =
        Claimant { mac: "b8:27:eb:11:22:33".to_owned(), interface: "eth0".to_owned(), ..Claimant::default() };
    Address {
        ip: Some(ip),
        services: vec![service.to_owned()],
        state: if taken { AddressState::Conflict } else { AddressState::Announced },
        interfaces: vec!["eth0".to_owned()],
        conflicts: if taken { vec![printer] } else { vec![] },
        ..Address::default()
    }
}

fn objects<K: DeserializeOwned>(objects: &[Value]) -> Vec<K> {
    objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect()
}

fn service(namespace: &str, name: &str, has: Option<(&str, &str)>) -> Value {
    let ingress: Vec<Value> = has.iter().map(|(_, ip)| json!({"ip": ip})).collect();
    let annotations = has.map_or(json!({}), |(pool, _)| json!({"metallb.io/ip-allocated-from-pool": pool}));
    let v6 = has.is_some_and(|(_, ip)| ip.contains(':'));
    json!({
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "type": "LoadBalancer", "clusterIPs": [if v6 { "fd00::1" } else { "10.96.0.1" }],
            "ports": [{"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

fn program(part: Part, node: &str) -> Program {
    Program {
        part,
        node: Some(node.to_owned()),
        pod: format!("ferrolb-{part:?}-{node}"),
        ..crate::fixtures::speaker_on(node)
    }
}

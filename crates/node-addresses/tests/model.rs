//! Whatever happens in whatever order: one owner per port, no dead node beside a living one, nothing taken from who has it,
//! and after a restart everybody has what it had.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipam::{AddressRequest, Families, Port, Protocol, Request, Sharing};
use node_addresses::{Applicant, Node, NodeAddresses, NodePool, RETURN_AFTER};
use objects::{Labels, NodeName, ServiceKey, SliceKey};
use pools::Family;
use proptest::prelude::*;

const NODES: usize = 4;
const SERVICES: usize = 5;

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A node is well or not.
    Node(usize, bool),
    /// The speakers find these nodes dead, a bit each.
    Lost(u8),
    /// A Service wants these ports, a bit each, from nodes with an endpoint or from all.
    Decide { service: usize, ports: u8, local: bool },
    /// The endpoints of a Service are on these nodes, a bit each.
    Endpoints(usize, u8),
    /// A Service goes.
    Release(usize),
    /// Seconds pass.
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..NODES, any::<bool>()).prop_map(|(node, well)| Step::Node(node, well)),
        (0_u8..16).prop_map(Step::Lost),
        (0..SERVICES, 1_u8..4, any::<bool>()).prop_map(|(service, ports, local)| Step::Decide {
            service,
            ports,
            local
        }),
        (0..SERVICES, 0_u8..16).prop_map(|(service, nodes)| Step::Endpoints(service, nodes)),
        (0..SERVICES).prop_map(Step::Release),
        (1_u64..15).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..60)
}

fn name(node: usize) -> NodeName {
    format!("n{node}").into()
}

fn ip(node: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(node).unwrap()])
}

fn node(at: usize, ready: bool) -> Node {
    Node { internal: vec![ip(at)], ready, ..Node::default() }
}

fn key(service: usize) -> ServiceKey {
    ServiceKey::new("ns", format!("s{service}"))
}

fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..NODES).filter(move |bit| mask & (1 << bit) != 0)
}

fn request(ports: u8, local: bool) -> Request {
    let port = |bit: usize| Port { protocol: Protocol::Tcp, number: [80, 443, 8080][bit] };
    Request {
        labels: Labels::new(),
        families: Families::Single(Family::V4),
        addresses: AddressRequest::Anything,
        sharing: Sharing { backend: if local { "ns/a=b" } else { "" }.into(), ..Sharing::default() },
        ports: bits(ports).filter(|bit| *bit < 3).map(port).collect(),
    }
}

/// A run, with what each Service asked for last and what it was listed with.
struct Run {
    all: NodeAddresses,
    now: Instant,
    listed: BTreeMap<usize, (Request, Vec<IpAddr>)>,
    endpoints: BTreeMap<usize, BTreeSet<usize>>,
}

impl Run {
    fn new() -> Self {
        let mut all = NodeAddresses::default();
        let now = Instant::now();
        all.set_pools([NodePool::new("p")]);
        (0..NODES).for_each(|at| _ = all.set_node(&name(at), Some(node(at, true)), now));
        Self { all, now, listed: BTreeMap::new(), endpoints: BTreeMap::new() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Node(at, ready) => _ = self.all.set_node(&name(at), Some(node(at, ready)), self.now),
            Step::Lost(lost) => _ = self.all.set_lost(bits(lost).map(name).collect(), self.now),
            Step::Decide { service, ports, local } => self.decide(service, &request(ports, local)),
            Step::Endpoints(service, nodes) => {
                self.endpoints.insert(service, bits(nodes).collect());
                let slice = SliceKey::new("ns", format!("s{service}"));
                self.all.set_endpoints(&slice, Some((key(service), bits(nodes).map(name).collect())));
            }
            Step::Release(service) => {
                self.all.release(&key(service));
                self.listed.remove(&service);
            }
            Step::Pass(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.all.pass_time(self.now);
            }
        }
    }

    fn decide(&mut self, service: usize, request: &Request) {
        let key = key(service);
        let applicant =
            Applicant { key: &key, namespace_labels: &Labels::new(), request, primary: Family::V4 };
        let outcome = self.all.assign(&applicant, &"p".into()).outcome;
        let ips = outcome.map(|grant| grant.ips).unwrap_or_default();
        self.listed.insert(service, (request.clone(), ips));
    }

    /// Another that is listed with an address and wants one of these ports.
    fn owner_beside(&self, service: usize, ip: IpAddr, ports: &BTreeSet<Port>) -> Option<usize> {
        let mut others = self.listed.iter().filter(|(other, _)| **other != service);
        let owns =
            |(request, ips): &(Request, Vec<IpAddr>)| ips.contains(&ip) && !request.ports.is_disjoint(ports);
        others.find(|(_, listed)| owns(listed)).map(|(other, _)| *other)
    }

    /// Whether a Service that wants a port that nobody else does would be listed with an address.
    fn is_alive(&mut self, ip: IpAddr) -> bool {
        let (ports, nobody) = (4, SERVICES);
        self.decide(nobody, &request(ports, false));
        let (_, ips) = self.listed.remove(&nobody).unwrap();
        self.all.release(&key(nobody));
        ips.contains(&ip)
    }

    /// Everybody is decided once more, as after a change of nodes.
    fn settle(&mut self) {
        for (service, (request, _)) in self.listed.clone() {
            self.decide(service, &request);
        }
    }
}

proptest! {
    #[test]
    fn a_port_of_an_address_has_one_owner(steps in steps()) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            let mut owners = BTreeMap::new();
            for (service, (request, ips)) in &run.listed {
                for claim in ips.iter().flat_map(|ip| request.ports.iter().map(move |port| (*ip, *port))) {
                    // One that is listed by who was decided before may be dead, and then it is still its own.
                    prop_assert_eq!(owners.insert(claim, *service), None, "{:?} of {}", claim, service);
                }
            }
        }
    }

    #[test]
    fn nobody_loses_a_port_to_another(steps in steps(), other in 0..SERVICES, ports in 1_u8..4) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        run.settle();
        let before = run.listed.clone();
        run.decide(other, &request(ports, false));
        run.settle();
        for (service, (request, ips)) in before.iter().filter(|(service, _)| **service != other) {
            let now = run.listed[service].1.clone();
            // What the other gave up can be of living nodes, and then those serve instead of dead ones.
            prop_assert!(ips.is_empty() || !now.is_empty(), "s{service} had {ips:?} and has nothing");
            for gone in ips.iter().filter(|ip| !now.contains(ip)) {
                let owner = run.owner_beside(*service, *gone, &request.ports);
                prop_assert_eq!(owner, None, "s{} had {:?} and has {:?}", service, ips, now);
                prop_assert!(!run.is_alive(*gone), "s{service} had {ips:?} and has {now:?}");
            }
        }
    }

    #[test]
    fn dead_nodes_are_listed_only_where_no_other_is_left(steps in steps()) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        // All but n0 have been well for long.
        run.all.set_lost([name(0)].into(), run.now);
        (0..NODES).for_each(|at| _ = run.all.set_node(&name(at), Some(node(at, true)), run.now));
        run.all.pass_time(run.now + RETURN_AFTER);
        run.settle();
        for (service, (request, ips)) in &run.listed {
            prop_assert!(!ips.contains(&ip(0)) || *ips == [ip(0)], "s{service}: {ips:?}");
            if !request.sharing.backend.is_empty() {
                let there = run.endpoints.get(service).cloned().unwrap_or_default();
                let there: Vec<IpAddr> = there.into_iter().map(ip).collect();
                prop_assert!(ips.iter().all(|ip| there.contains(ip)), "s{service}: {ips:?} of {there:?}");
            }
        }
    }

    #[test]
    fn a_restart_changes_nothing(steps in steps()) {
        let mut run = Run::new();
        steps.iter().for_each(|step| run.step(step));
        // Everybody is well, so that all that is held is listed, and nobody is left out that could be served.
        run.all.set_lost(BTreeSet::new(), run.now);
        (0..NODES).for_each(|at| _ = run.all.set_node(&name(at), Some(node(at, true)), run.now));
        run.all.pass_time(run.now + RETURN_AFTER);
        run.settle();
        run.settle();
        let before = run.listed.clone();
        run.all.forget_decisions();
        for (service, (request, ips)) in &before {
            let applicant = Applicant {
                key: &key(*service),
                namespace_labels: &Labels::new(),
                request,
                primary: Family::V4,
            };
            run.all.adopt(&applicant, &"p".into(), ips);
        }
        run.settle();
        prop_assert_eq!(run.listed, before);
    }
}

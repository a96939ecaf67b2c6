//! The world: nodes, clients, a LAN and an API server in virtual time.

mod build;
mod lives;
mod look;
mod queue;
mod traffic;
mod trouble;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use layer2::MacAddr;
use members::Preset;
use objects::NodeName;
use placement::{Failback, Spread};
use queue::{Event, Queue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::faults::{Fault, LanId};
use crate::host::Host;
use crate::invariants::{Judge, Violation};
use crate::lan::{Lan, StationId, Weather};
use crate::meetings::Meetings;
use crate::node::Node;
use crate::speaker::Input;
use crate::trace::Trace;

/// How a world begins.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is another thing that a world may have")]
pub struct Setup {
    /// How many nodes, at most 99.
    pub nodes: usize,
    /// How many clients, at most 50; one more is on the second LAN, where there is one.
    pub clients: usize,
    /// How many switches they hang on, in turns.
    pub switches: usize,
    /// How many Services, at most 1000; every third has an IPv6 address as well.
    pub services: u16,
    /// How fast the speakers judge each other.
    pub preset: Preset,
    /// What the LAN is like at first.
    pub weather: Weather,
    /// Whether the speakers seal what they say to each other.
    pub sealed: bool,
    /// How often each client sends a request to each address.
    pub request_interval: Duration,
    /// How the nodes are connected.
    pub wiring: Wiring,
    /// Whether Services share addresses.
    pub sharing: bool,
    /// Whether there is a router that answers for all addresses.
    pub proxy: bool,
    /// Whether foreign hosts that answer count for nothing.
    pub ignore_conflicts: bool,
    /// How nodes are ranked.
    pub spread: Spread,
    /// Whether addresses go back.
    pub failback: Failback,
    /// Whether the switches track who is where, by unicast probes.
    pub tracking: bool,
    /// Whether the clocks of the nodes go at different rates.
    pub drift: bool,
    /// Whether the interfaces have addresses in the prefixes of what is announced: those of the first pool on the first, those
    /// of the second on the second.
    pub prefixes: bool,
}

/// How nodes are connected. The gossip goes through their first interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// By one interface.
    One,
    /// By two, each on a LAN of its own.
    TwoLans,
    /// By two that are on the same LAN.
    TwiceOnOne,
}

impl Wiring {
    /// How many interfaces a node has.
    pub(crate) fn interfaces(self) -> usize {
        match self {
            Self::One => 1,
            Self::TwoLans | Self::TwiceOnOne => 2,
        }
    }
}

impl Default for Setup {
    /// Five nodes and two clients on two switches, one Service, and nothing special.
    fn default() -> Self {
        Self {
            nodes: 5,
            clients: 2,
            switches: 2,
            services: 1,
            preset: Preset::Default,
            weather: Weather::FINE,
            sealed: false,
            request_interval: Duration::from_millis(50),
            wiring: Wiring::One,
            sharing: false,
            proxy: false,
            ignore_conflicts: false,
            spread: Spread::ByHash,
            failback: Failback::Always,
            tracking: false,
            drift: false,
            prefixes: false,
        }
    }
}

/// What became of the requests of all clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// They were sent to a node that passes them on.
    pub served: u64,
    /// They were sent to a node that is gone or has no endpoint.
    pub lost: u64,
    /// Their client did not know where to send them.
    pub waited: u64,
}

/// How often the invariants are looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The whole world.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    random: StdRng,
    start: Instant,
    now: Duration,
    queue: Queue,
    cluster: Cluster,
    lan: Lan,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    hosts: Vec<Host>,
    /// Whose each station is.
    stations: Vec<Station>,
    /// Paths by which the gossip does not arrive, from node to node, and which speakers had met before.
    lost_paths: BTreeMap<(usize, usize), Option<Acquaintance>>,
    meetings: Meetings,
    judge: Judge,
    /// Whether there may be something new to look at.
    changed: bool,
    requests: Requests,
    trace: Trace,
}

/// Two speakers that have heard each other, by how many were started before on either node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acquaintance([u64; 2]);

/// Whose a station is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Station {
    /// An interface of a node.
    Nic {
        node: usize,
        nic: usize,
    },
    Client(usize),
    Host(usize),
}

/// How a world is told and asked.
impl World {
    /// A world in which all nodes boot at the same time.
    pub fn new(setup: Setup, seed: u64) -> Self {
        let lan = Lan::new(setup.switches, setup.weather);
        let nodes: Vec<Node> = (1..).map(Node::new).take(setup.nodes).collect();
        let names: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
        let mut world = Self {
            random: StdRng::seed_from_u64(seed),
            start: Instant::now(),
            now: Duration::ZERO,
            queue: Queue::default(),
            cluster: Cluster::new(&names, &setup),
            lan,
            nodes,
            clients: Vec::new(),
            hosts: Vec::new(),
            stations: Vec::new(),
            lost_paths: BTreeMap::new(),
            meetings: Meetings::default(),
            judge: Judge::new(setup.preset),
            changed: true,
            requests: Requests::default(),
            trace: Trace::default(),
            setup,
        };
        world.build();
        world.rewired();
        for node in 0..world.nodes.len() {
            let after = world.up_to(50);
            world.after(after, Event::Boot(node));
        }
        for client in 0..world.clients.len() {
            let after = world.up_to(100);
            world.after(after, Event::Request { client });
        }
        world.after(LOOK, Event::Look);
        world
    }

    /// What is to happen, and when.
    pub fn plan(&mut self, faults: impl IntoIterator<Item = (Duration, Fault)>) {
        for (at, fault) in faults {
            self.at(at, Event::Fault(fault));
        }
    }

    /// Lets something happen now.
    pub fn happen(&mut self, fault: Fault) {
        self.suffer(fault);
    }

    /// Lets time pass, up to the first violation.
    pub fn run(&mut self, time: Duration) -> Result<(), Violation> {
        let end = self.now + time;
        self.run_until(time, |_| false)?;
        self.now = end;
        Ok(())
    }

    /// Lets time pass, as tests do.
    ///
    /// # Panics
    ///
    /// With the whole story, if an invariant is violated.
    pub fn advance(&mut self, time: Duration) {
        if let Err(violation) = self.run(time) {
            panic!("{}{violation:?}", self.trace());
        }
    }

    /// Lets time pass until `done`; how long that took, or `None` if it takes longer than `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<Option<Duration>, Violation> {
        let start = self.now;
        while !done(self) {
            if self.queue.next().is_none_or(|next| next > start + limit) {
                return Ok(None);
            }
            self.step();
            if let Some(violation) = self.judge.violation() {
                return Err(violation.clone());
            }
        }
        Ok(Some(self.now.saturating_sub(start)))
    }

    /// What has happened.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What became of all requests so far.
    pub fn requests(&self) -> Requests {
        self.requests
    }

    /// The addresses of all Services.
    pub fn vips(&self) -> Vec<IpAddr> {
        self.cluster.vips().to_vec()
    }

    /// The nodes that answer for an address on the first LAN, once for each interface.
    pub fn answerers(&self, vip: IpAddr) -> Vec<usize> {
        self.answerers_on(LanId::First, vip)
    }

    /// The nodes that answer for an address on a LAN, once for each interface.
    pub fn answerers_on(&self, lan: LanId, vip: IpAddr) -> Vec<usize> {
        let nics = self.nodes.iter().enumerate().flat_map(|(number, node)| {
            let answers = move |nic: &usize| node.awake().is_some_and(|speaker| speaker.answers(*nic, vip));
            (0..node.nics.len()).filter(answers).map(move |nic| (number, node.nics[nic].station))
        });
        let there = nics.filter(|(_, station)| self.lan.is_served(*station) && self.lan_of(*station) == lan);
        there.map(|(node, _)| node).collect()
    }

    /// The nodes at which the clients believe an address to be, one for each client that knows.
    pub fn believed(&self, vip: IpAddr) -> Vec<usize> {
        let at = |client: &Client| self.node_with(client.known(vip)?);
        self.clients.iter().filter_map(at).collect()
    }

    /// How often clients found an address at another station than before: the one that did most often.
    pub fn changes(&self, vip: IpAddr) -> usize {
        self.clients.iter().map(|client| client.changes(vip)).max().unwrap_or_default()
    }

    /// Whether a speaker is ready, as far as its gossip goes.
    pub fn is_ready(&self, node: usize) -> bool {
        self.nodes[node].speaker.as_ref().is_some_and(|speaker| !speaker.is_in_trouble())
    }

    /// Whether a speaker runs there.
    pub fn runs(&self, node: usize) -> bool {
        self.nodes[node].speaker.is_some()
    }
}

/// How it goes on.
impl World {
    fn at(&mut self, at: Duration, event: Event) {
        self.queue.push(at, event);
    }

    fn after(&mut self, after: Duration, event: Event) {
        self.at(self.now + after, event);
    }

    /// Up to so many milliseconds.
    fn up_to(&mut self, millis: u64) -> Duration {
        Duration::from_micros(self.random.random_range(0..=millis * 1000))
    }

    /// Which LAN a station is on.
    fn lan_of(&self, station: StationId) -> LanId {
        if self.lan.switch_of(station) == self.lan.second() { LanId::Second } else { LanId::First }
    }

    fn node_with(&self, mac: MacAddr) -> Option<usize> {
        self.nic_with(mac).map(|(node, _)| node)
    }

    /// The node and the number of the interface with this address.
    fn nic_with(&self, mac: MacAddr) -> Option<(usize, usize)> {
        let nics = |(node, it): (usize, &Node)| Some((node, it.nics.iter().position(|nic| nic.mac == mac)?));
        self.nodes.iter().enumerate().find_map(nics)
    }

    /// What people call a station.
    fn name_of(&self, mac: MacAddr) -> String {
        let nic = self.nic_with(mac).map(|(node, nic)| {
            let node = &self.nodes[node];
            if node.nics.len() == 1 {
                node.name.to_string()
            } else {
                format!("{}'s {}", node.name, node.nics[nic].name)
            }
        });
        let host = || self.hosts.iter().find(|host| host.mac == mac).map(|host| host.name.clone());
        nic.or_else(host).unwrap_or_else(|| mac.to_string())
    }

    fn note(&mut self, who: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.trace.note(self.now, who, what);
    }

    fn step(&mut self) {
        let Some((at, event)) = self.queue.pop() else { return };
        self.now = at;
        match event {
            Event::Wake(node) if self.nodes[node].wake == Some(at) => {
                self.nodes[node].wake = None;
                if self.nodes[node].stalled.is_none() {
                    self.feed(node, Input::Timer);
                }
            }
            Event::Wake(_) => {}
            Event::Datagram { to, from, payload } => {
                if self.lan.is_served(self.nodes[to].nics[0].station)
                    && !self.nodes[to].gossip_fault.inbound_blocked
                {
                    self.feed(to, Input::Datagram(from, payload));
                }
            }
            Event::Frame { to, frame } => self.receive(to, frame),
            Event::Send { from, frame } => self.send(from, frame),
            Event::Track(host) => self.track(host),
            Event::Socket(node) => self.tell_socket(node),
            Event::Peers { node, boot } => {
                if self.nodes[node].boots == boot && self.nodes[node].api_cut {
                    self.nodes[node].missed_peers = true;
                } else if self.nodes[node].boots == boot {
                    self.nodes[node].missed_peers = false;
                    let peers = self.nodes.iter().map(|it| (it.name.clone(), it.gossip)).collect();
                    self.feed(node, Input::Peers(peers));
                }
            }
            Event::Changes { node, boot, upto } => self.tell(node, boot, upto),
            Event::Link(node) => self.tell_links(node),
            Event::Boot(node) => self.boot(node),
            Event::Restart(node) => self.restart(node),
            Event::Resume { node, boot, moves } => {
                if moves {
                    self.judge.moved(Some(node), at);
                }
                self.resume(node, boot);
            }
            Event::Exit { node, boot } => self.exit(node, boot),
            Event::Request { client } => self.request(client),
            Event::Look => self.look(),
            Event::Fault(fault) => self.suffer(fault),
        }
    }
}

//! The world: nodes, clients, a LAN and an API server in virtual time.

mod lives;
mod look;
mod queue;
mod traffic;
mod trouble;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use members::Preset;
use objects::NodeName;
use queue::{Event, Queue};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Traffic};
use crate::cluster::Cluster;
use crate::faults::{Fault, Size};
use crate::invariants::{Judge, Violation};
use crate::lan::{Lan, Weather};
use crate::meetings::Meetings;
use crate::node::Node;
use crate::speaker::Input;
use crate::trace::Trace;

/// How a world begins.
#[derive(Debug, Clone)]
pub struct Setup {
    /// How many nodes, at most 99.
    pub nodes: usize,
    /// How many clients, at most 50.
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
    /// The first stations.
    nodes: Vec<Node>,
    /// The other stations.
    clients: Vec<Client>,
    meetings: Meetings,
    judge: Judge,
    requests: Requests,
    trace: Trace,
}

/// How a world is told and asked.
impl World {
    /// A world in which all nodes boot at the same time.
    pub fn new(setup: Setup, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut lan = Lan::new(setup.switches, setup.weather);
        let nodes: Vec<Node> = (1..).map(Node::new).take(setup.nodes).collect();
        let names: Vec<NodeName> = nodes.iter().map(|node| node.name.clone()).collect();
        let clients: Vec<Client> = (1..)
            .zip([Traffic::Confirms, Traffic::OneWay].into_iter().cycle())
            .map(|(number, traffic)| {
                Client::new(number, traffic, Duration::from_secs_f64(random.random_range(15.0..45.0)))
            })
            .take(setup.clients)
            .collect();
        for station in 0..nodes.len() + clients.len() {
            lan.add(station % setup.switches);
        }
        let mut world = Self {
            random,
            start: Instant::now(),
            now: Duration::ZERO,
            queue: Queue::default(),
            cluster: Cluster::new(&names, setup.services),
            lan,
            nodes,
            clients,
            meetings: Meetings::default(),
            judge: Judge::new(setup.preset),
            requests: Requests::default(),
            trace: Trace::default(),
            setup,
        };
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

    /// How much there is for things to happen to.
    pub(crate) fn size(&self) -> Size {
        let Setup { nodes, clients, switches, services, .. } = self.setup;
        Size { nodes, clients, switches, services }
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
        self.cluster.vips().collect()
    }

    /// The nodes that answer for an address.
    pub fn answerers(&self, vip: IpAddr) -> Vec<usize> {
        let answers = |node: &Node| node.power && node.awake().is_some_and(|speaker| speaker.answers(vip));
        (0..self.nodes.len()).filter(|node| answers(&self.nodes[*node])).collect()
    }

    /// The nodes at which the clients believe an address to be, one for each client that knows.
    pub fn believed(&self, vip: IpAddr) -> Vec<usize> {
        let at = |client: &Client| self.node_with(client.known(vip)?);
        self.clients.iter().filter_map(at).collect()
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
                if self.lan.is_plugged(to) {
                    self.feed(to, Input::Datagram(from, payload));
                }
            }
            Event::Frame { to, frame } => self.receive(to, frame),
            Event::Peers { node, boot } => {
                if self.nodes[node].boots == boot {
                    let peers = self.nodes.iter().map(|it| (it.name.clone(), it.gossip)).collect();
                    self.feed(node, Input::Peers(peers));
                }
            }
            Event::Changes { node, boot, upto } => self.tell(node, boot, upto),
            Event::Link(node) => self.tell_link(node),
            Event::Boot(node) => self.boot(node),
            Event::Resume { node, boot, moves } => {
                if moves {
                    self.judge.moved(at);
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

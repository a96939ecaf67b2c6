//! The world: nodes, clients, a LAN and an API server in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use layer2::{MacAddr, Report};
use members::{BootId, Key, LinkState, Preset, Profile};
use objects::NodeName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::client::{Client, Traffic};
use crate::cluster::{self, Change, Cluster};
use crate::faults::{Edit, Fault, Size};
use crate::invariants::{Belief, Judge, Sight, Violation};
use crate::lan::{Lan, StationId, Weather};
use crate::meetings::Meetings;
use crate::node::{AfterDeparture, Node};
use crate::speaker::{Input, Output, Speaker, Start};
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
/// The wall clock at the beginning, in milliseconds since 1970.
const EPOCH: u64 = 1_790_000_000_000;

/// The whole world.
#[derive(Debug)]
pub struct World {
    setup: Setup,
    random: StdRng,
    start: Instant,
    now: Duration,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
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

#[derive(Debug)]
enum Event {
    /// A speaker's time has come.
    Wake(usize),
    Datagram {
        to: usize,
        from: SocketAddr,
        payload: Vec<u8>,
    },
    Frame {
        to: StationId,
        frame: Vec<u8>,
    },
    /// The API server tells a speaker of fellows, and of what has changed.
    Peers {
        node: usize,
        boot: u64,
    },
    Changes {
        node: usize,
        boot: u64,
        upto: Option<usize>,
    },
    /// The kernel tells a speaker of its carrier.
    Link(usize),
    Boot(usize),
    Resume {
        node: usize,
        boot: u64,
        moves: bool,
    },
    Exit {
        node: usize,
        boot: u64,
    },
    Request {
        client: usize,
    },
    Look,
    Fault(Fault),
}

#[derive(Debug)]
struct Entry(Duration, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
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
            queue: BinaryHeap::new(),
            sequence: 0,
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
            if self.queue.peek().is_none_or(|Reverse(next)| next.0 > start + limit) {
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
        self.sequence += 1;
        self.queue.push(Reverse(Entry(at, self.sequence, event)));
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
        let Some(Reverse(Entry(at, _, event))) = self.queue.pop() else { return };
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

    fn feed(&mut self, number: usize, input: Input) {
        let node = &mut self.nodes[number];
        if let Some(inbox) = &mut node.stalled {
            inbox.push(input);
            return;
        }
        let Some(speaker) = &mut node.speaker else { return };
        let outputs = speaker.handle(input, self.start + self.now);
        let next = speaker.poll_timeout().map(|at| at.saturating_duration_since(self.start).max(self.now));
        if let Some(next) = next
            && node.wake.is_none_or(|wake| next < wake)
        {
            node.wake = Some(next);
            self.at(next, Event::Wake(number));
        }
        for output in outputs {
            self.carry_out(number, output);
        }
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        let name = self.nodes[number].name.clone();
        match output {
            Output::Datagram(to, payload) => {
                let to = self.nodes.iter().position(|node| node.gossip == to).expect("all are nodes");
                if self.lan.connected(number, to) {
                    let from = self.nodes[number].gossip;
                    for after in self.lan.weather.fate(&mut self.random) {
                        self.after(after, Event::Datagram { to, from, payload: payload.clone() });
                    }
                }
            }
            Output::Frame(frame) => self.send(number, frame),
            Output::Gossip(event) => self.note(name, format_args!("{event:?}")),
            Output::Lan(report) => {
                self.note(&name, format_args!("{report:?}"));
                match report {
                    Report::Spoken { vip, .. } => self.judge.spoken(number, vip, self.now),
                    Report::Free { .. } => {}
                    Report::Taken { by, .. } | Report::Claimed { by, .. } => {
                        let started: Vec<Duration> = self.nodes.iter().map(|node| node.started).collect();
                        let by = self.node_with(by).expect("only nodes have addresses");
                        if !self.judge.are_strangers(number, by, &started, &self.meetings) {
                            self.judge.violate(format!("{name} took a fellow for a stranger: {report:?}"));
                        }
                    }
                }
            }
            Output::Departed => {
                self.note(name, "departs");
                let after = self.up_to(50);
                let boot = self.nodes[number].boots;
                self.after(after, Event::Exit { node: number, boot });
            }
        }
    }

    /// Sends a frame into the LAN.
    fn send(&mut self, from: StationId, frame: Vec<u8>) {
        let (destination, source) = ends(&frame);
        for to in self.lan.forward(from, source, destination) {
            for after in self.lan.weather.fate(&mut self.random) {
                self.after(after, Event::Frame { to, frame: frame.clone() });
            }
        }
    }

    fn receive(&mut self, to: StationId, frame: Vec<u8>) {
        if !self.lan.is_plugged(to) {
            return;
        }
        let (destination, _) = ends(&frame);
        if let Some(node) = self.nodes.get(to) {
            if node.speaker.as_ref().is_some_and(|speaker| speaker.receives(destination)) {
                self.feed(to, Input::Frame(frame, self.start + self.now));
            }
            return;
        }
        self.clients[to - self.nodes.len()].hear(&frame, self.now);
    }

    /// A client sends a request to each address, and does what else is due.
    fn request(&mut self, number: usize) {
        self.after(self.setup.request_interval, Event::Request { client: number });
        let station = self.nodes.len() + number;
        let mut questions = self.clients[number].poll(self.now);
        for vip in self.cluster.vips().collect::<Vec<_>>() {
            let (to, question) = self.clients[number].request(vip, self.now);
            questions.extend(question);
            match to {
                None => self.requests.waited += 1,
                Some(mac) if self.is_served(station, mac, vip) => {
                    self.requests.served += 1;
                    self.clients[number].answered(vip, self.now);
                }
                Some(_) => self.requests.lost += 1,
            }
        }
        for question in questions {
            self.send(station, question);
        }
    }

    fn is_served(&self, client: StationId, mac: MacAddr, vip: IpAddr) -> bool {
        let node = self.node_with(mac).expect("only nodes say that they have addresses");
        self.lan.connected(client, node) && self.cluster.serves(&self.nodes[node].name, vip)
    }

    fn node_with(&self, mac: MacAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.mac == mac)
    }

    fn look(&mut self) {
        self.after(LOOK, Event::Look);
        if self.lan.weather.loss > 0.0 {
            self.judge.lossy(self.now);
        }
        let nodes = self.nodes.len();
        let stations = nodes + self.clients.len();
        let parts: BTreeSet<usize> = (0..stations).filter_map(|station| self.lan.part(station)).collect();
        for part in parts {
            let here = |station: &usize| self.lan.part(*station) == Some(part);
            let awake: Vec<_> =
                (0..nodes).filter(here).filter_map(|node| Some((node, self.nodes[node].awake()?))).collect();
            let candidates = awake.iter().filter(|(_, speaker)| !speaker.is_stopping());
            let alive: Vec<usize> = candidates.map(|(node, _)| *node).collect();
            let names = alive.iter().map(|node| self.nodes[*node].name.clone()).collect();
            let announcers = self.cluster.announcers(&names).clone();
            let clients: Vec<usize> = (nodes..stations).filter(here).collect();
            let sight = |vip: IpAddr| {
                let announcer = announcers.get(&vip);
                let belief = |station: &usize| {
                    let client = station - nodes;
                    let at = self.node_with(self.clients[client].known(vip)?)?;
                    Some(Belief { client, station: *station, at })
                };
                Sight {
                    part,
                    vip,
                    alive: &alive,
                    should: announcer.and_then(|name| self.nodes.iter().position(|it| it.name == *name)),
                    answer: awake.iter().filter(|(_, it)| it.answers(vip)).map(|(node, _)| *node).collect(),
                    beliefs: clients.iter().filter_map(belief).collect(),
                }
            };
            let sights: Vec<Sight<'_>> = self.cluster.vips().map(sight).collect();
            self.judge.look(part, &sights, &self.meetings, self.now);
        }
    }

    fn boot(&mut self, number: usize) {
        let (seed, boot_id) = (self.random.random(), BootId(self.random.random()));
        let keys =
            if self.setup.sealed { vec![Key::new(b"known to the speakers").expect("long")] } else { vec![] };
        let node = &mut self.nodes[number];
        if !node.power || node.speaker.is_some() {
            return;
        }
        (node.boots, node.started) = (node.boots + 1, self.now);
        node.seen = 0;
        node.link = if node.cable { LinkState::Up } else { LinkState::Down };
        let uptime = u64::try_from(self.now.as_millis()).expect("no world is that old");
        let members = members::Config {
            name: node.name.clone(),
            address: node.gossip,
            boot: boot_id,
            generation: (EPOCH + uptime).saturating_add_signed(node.clock),
            preset: self.setup.preset,
            keys,
            profile: Profile::default(),
        };
        let start = Start { members, arp: node.arp(), ndp: node.ndp(), link: node.link, seed };
        node.speaker = Some(Speaker::new(start, self.start + self.now));
        let (name, boot) = (node.name.clone(), node.boots);
        self.note(name, "its speaker starts");
        self.judge.moved(self.now);
        self.feed(number, Input::Timer);
        let (peers, changes) = (self.up_to(100), self.up_to(200));
        self.after(peers, Event::Peers { node: number, boot });
        self.after(changes, Event::Changes { node: number, boot, upto: None });
    }

    /// Tells a speaker the history of the cluster, up to some moment or to the present one. A speaker that
    /// has just started begins with the present.
    fn tell(&mut self, number: usize, boot: u64, upto: Option<usize>) {
        let node = &mut self.nodes[number];
        if node.boots != boot || (node.seen == 0 && upto.is_some()) {
            return;
        }
        let upto = upto.unwrap_or(self.cluster.log.len());
        if node.seen < upto {
            let changes = self.cluster.log[node.seen..upto].to_vec();
            node.seen = upto;
            self.feed(number, Input::Changes(changes));
        }
    }

    fn tell_link(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let state = if node.cable { LinkState::Up } else { LinkState::Down };
        if node.speaker.is_some() && node.link != state {
            node.link = state;
            self.feed(number, Input::Link(state));
        }
    }

    fn resume(&mut self, number: usize, boot: u64) {
        let node = &mut self.nodes[number];
        if node.boots != boot {
            return;
        }
        let Some(inbox) = node.stalled.take() else { return };
        node.wake = None;
        let name = node.name.clone();
        self.note(name, "goes on");
        self.judge.disturbed(self.now);
        for input in inbox {
            self.feed(number, input);
        }
        self.feed(number, Input::Timer);
    }

    fn exit(&mut self, number: usize, boot: u64) {
        let node = &mut self.nodes[number];
        if node.boots != boot || node.speaker.is_none() {
            return;
        }
        node.kill();
        let (name, after) = (node.name.clone(), node.after_departure);
        self.note(name, "its speaker has gone");
        self.judge.moved(self.now);
        match after {
            AfterDeparture::StartAnother(pause) => self.after(pause, Event::Boot(number)),
            AfterDeparture::PowerOff => self.happen_now(&Fault::PowerOff(number)),
        }
    }
}

/// What happens to it.
impl World {
    fn suffer(&mut self, fault: Fault) {
        self.note("", format_args!("-- {fault}"));
        self.judge.disturbed(self.now);
        if fault.moves_addresses(self.setup.preset) {
            self.judge.moved(self.now);
        }
        self.happen_now(&fault);
    }

    fn happen_now(&mut self, fault: &Fault) {
        match *fault {
            Fault::PowerOff(number) => {
                let node = &mut self.nodes[number];
                node.power = false;
                node.kill();
                self.lan.plug(number, false);
            }
            Fault::PowerOn(number) => {
                let node = &mut self.nodes[number];
                node.power = true;
                let cable = node.cable;
                self.lan.plug(number, cable);
                let after = self.up_to(500);
                self.after(after, Event::Boot(number));
            }
            Fault::Kill(number, pause) => {
                self.nodes[number].kill();
                self.after(pause, Event::Boot(number));
            }
            Fault::Restart(number, pause) => self.stop(number, AfterDeparture::StartAnother(pause)),
            Fault::Drain(number) => self.stop(number, AfterDeparture::PowerOff),
            Fault::Stall(number, time) => {
                let node = &mut self.nodes[number];
                if node.stalled.is_none() && node.speaker.is_some() {
                    node.stalled = Some(Vec::new());
                    let boot = node.boots;
                    self.after(
                        time,
                        Event::Resume { node: number, boot, moves: fault.moves_addresses(self.setup.preset) },
                    );
                }
            }
            Fault::Unplug(number) => self.cable(number, false),
            Fault::Plug(number) => self.cable(number, true),
            Fault::UnplugClient(client) => self.lan.plug(self.nodes.len() + client, false),
            Fault::PlugClient(client) => self.lan.plug(self.nodes.len() + client, true),
            Fault::Cut(switch) => self.lan.join(switch, false),
            Fault::Mend(switch) => self.lan.join(switch, true),
            Fault::Forget(switch) => self.lan.forget(switch),
            Fault::StepClock(number, by) => self.nodes[number].clock += by,
            Fault::Weather(weather) => self.lan.weather = weather,
            Fault::Change(ref edit) => self.edit(edit),
        }
        self.rewired();
    }

    fn stop(&mut self, number: usize, after: AfterDeparture) {
        self.nodes[number].after_departure = after;
        self.feed(number, Input::Stop);
    }

    fn cable(&mut self, number: usize, plugged: bool) {
        let node = &mut self.nodes[number];
        node.cable = plugged;
        let carrier = node.power && plugged;
        self.lan.plug(number, carrier);
        let after = self.up_to(5);
        self.after(after, Event::Link(number));
    }

    /// Something was plugged in or out.
    fn rewired(&mut self) {
        self.meetings.update(&self.lan, self.nodes.len() + self.clients.len(), self.now);
    }

    fn edit(&mut self, edit: &Edit) {
        let names = |numbers: &BTreeSet<usize>| numbers.iter().map(|n| self.nodes[*n].name.clone()).collect();
        let change = match *edit {
            Edit::ToggleService(number) => match self.cluster.services.get(&cluster::key(number)) {
                Some(service) => Change::ServiceGone(service.key.clone()),
                None => Change::Service(cluster::service(number)),
            },
            Edit::Endpoints(number, ref nodes) => Change::Endpoints(cluster::key(number), names(nodes)),
            Edit::Readdress(number) | Edit::Policy(number, _) | Edit::IrrelevantServiceLabel(number, _) => {
                let Some(service) = self.cluster.services.get(&cluster::key(number)) else { return };
                Change::Service(edit.of_service(service.clone()))
            }
            Edit::ToggleExclusion(number)
            | Edit::ToggleNetwork(number)
            | Edit::IrrelevantLabel(number, _) => {
                let node = self.cluster.nodes[&self.nodes[number].name].clone();
                Change::Node(edit.of_node(node))
            }
        };
        self.cluster.change(change);
        let upto = Some(self.cluster.log.len());
        for node in 0..self.nodes.len() {
            let (after, boot) = (self.up_to(30), self.nodes[node].boots);
            self.after(after, Event::Changes { node, boot, upto });
        }
    }
}

/// The destination and the source of a frame.
fn ends(frame: &[u8]) -> (MacAddr, MacAddr) {
    let mac = |at: usize| MacAddr(frame[at..at + 6].try_into().expect("six bytes"));
    (mac(0), mac(6))
}

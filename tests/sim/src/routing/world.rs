//! Moves a world on: what is under way, what is due, and what it comes to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bgp::session::{Farewell, Past};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::objects::{Edit, Objects, Setup, name};
use super::router::{self, Router};
use super::speaker::{Action, Speaker};
use crate::{Trace, Violation};

/// A TCP connection.
pub(super) type ConnectionId = u64;

/// The time that packets take, in microseconds.
const DELAY: std::ops::Range<u64> = 100..5_000;

/// Something that happens to nodes, links and routers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    PowerOff(usize),
    PowerOn(usize),
    /// The speaker of a node is killed, and started again after this.
    Kill(usize, Duration),
    /// It is replaced: it ends for another that starts after this.
    Replace(usize, Duration),
    /// It leaves, for good unless it is started.
    Leave(usize),
    Start(usize),
    /// The link between a node and a router.
    Cut(usize, usize),
    Mend(usize, usize),
    /// A router is switched off and on.
    Restart(usize),
}

#[derive(Debug)]
pub(super) enum Event {
    /// A node opens a connection.
    Syn(ConnectionId),
    /// A router takes it.
    SynAck(ConnectionId),
    Octets(ConnectionId, Side, Vec<u8>),
    /// The other side has closed it, or knows nothing of it.
    Fin(ConnectionId, Side),
    Bfd(usize, usize, Side, [u8; bfd::packet::LENGTH]),
    /// The next program of a node starts.
    Start(usize, Past),
}

/// Where something arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Node,
    Router,
}

#[derive(Debug)]
struct Connection {
    node: usize,
    router: usize,
    /// When the last octets arrive at each side: none overtake others.
    last: BTreeMap<Side, Instant>,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) has_power: bool,
    pub(super) speaker: Option<Speaker>,
}

#[derive(Debug)]
pub(super) struct World {
    start: Instant,
    pub(super) now: Instant,
    random: StdRng,
    pub(super) objects: Objects,
    pub(super) nodes: Vec<Node>,
    pub(super) routers: Vec<Router>,
    /// Links that are cut, with what waits to get through.
    pub(super) cut: BTreeMap<(usize, usize), Vec<Event>>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// When the last BFD packet arrives on each way: on one link none overtakes another.
    datagrams: BTreeMap<(usize, usize, Side), Instant>,
    events: BTreeMap<(Instant, u64), Event>,
    numbers: u64,
    /// Since when each router cannot reach a node, and how long it may take until it knows.
    pub(super) unreachable: BTreeMap<(usize, usize), (Instant, Duration)>,
    trace: Trace,
}

impl World {
    pub(super) fn new(setup: &Setup, seed: u64) -> Self {
        let now = Instant::now();
        let routers = setup.routers.iter().cloned().enumerate();
        let mut world = Self {
            start: now,
            now,
            random: StdRng::seed_from_u64(seed),
            objects: Objects::new(setup.clone()),
            nodes: Vec::new(),
            routers: routers.map(|(number, it)| Router::new(number, it)).collect(),
            cut: BTreeMap::new(),
            connections: BTreeMap::new(),
            datagrams: BTreeMap::new(),
            events: BTreeMap::new(),
            numbers: 0,
            unreachable: BTreeMap::new(),
            trace: Trace::default(),
        };
        for node in 0..setup.nodes {
            world.nodes.push(Node { has_power: true, speaker: None });
            world.configure_routers(node);
            world.start(node, Past::Fresh);
        }
        world
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn note(&mut self, who: impl std::fmt::Display, what: impl std::fmt::Display) {
        self.trace.note(self.now - self.start, who, what);
    }

    /// Lets time pass until then, and looks at the world after each thing that happens.
    pub(super) fn run_until(
        &mut self,
        until: Instant,
        mut look: impl FnMut(&Self) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        loop {
            self.carry_out();
            look(self)?;
            let speakers = self.nodes.iter().filter_map(|it| it.speaker.as_ref()?.poll_timeout());
            let routers = self.routers.iter().filter_map(Router::poll_timeout);
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = speakers.chain(routers).chain(event).min().filter(|at| *at <= until) else {
                self.now = until;
                return Ok(());
            };
            self.now = self.now.max(next);
            while let Some(first) = self.events.first_entry().filter(|it| it.key().0 <= self.now) {
                let event = first.remove();
                self.happen(event);
            }
            let now = self.now;
            self.nodes.iter_mut().filter_map(|it| it.speaker.as_mut()).for_each(|it| it.poll(now));
            self.routers.iter_mut().for_each(|it| it.poll(now));
        }
    }

    /// The objects change.
    pub(super) fn edit(&mut self, edit: &Edit) {
        self.note("objects", format_args!("{edit:?}"));
        let inputs = self.objects.edit(edit);
        for node in &mut self.nodes {
            if let Some(speaker) = &mut node.speaker {
                speaker.learn(inputs.clone(), self.now);
            }
        }
    }

    /// Something fails, or is mended.
    pub(super) fn fault(&mut self, fault: Fault) {
        self.note("fault", format_args!("{fault:?}"));
        match fault {
            Fault::PowerOff(node) => {
                if std::mem::replace(&mut self.nodes[node].has_power, false) {
                    self.nodes[node].speaker = None;
                    self.connections.retain(|_, it| it.node != node);
                    self.events.retain(|_, it| !matches!(it, Event::Start(it, _) if *it == node));
                    (0..self.routers.len()).for_each(|router| self.lose_sight(node, router));
                }
            }
            Fault::PowerOn(node) => {
                if !std::mem::replace(&mut self.nodes[node].has_power, true) {
                    self.start(node, Past::Fresh);
                    (0..self.routers.len()).for_each(|router| self.see_again(node, router));
                }
            }
            Fault::Kill(node, pause) => {
                if self.nodes[node].speaker.take().is_some() {
                    self.kernel_closes(node);
                    self.start_later(node, pause);
                }
            }
            Fault::Replace(node, pause) => {
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.stop(Farewell::Silent, self.now);
                    self.start_later(node, pause);
                }
            }
            Fault::Leave(node) => {
                if let Some(speaker) = &mut self.nodes[node].speaker {
                    speaker.stop(Farewell::Leave, self.now);
                }
            }
            Fault::Start(node) => {
                if self.nodes[node].has_power {
                    self.start(node, Past::Restarted);
                }
            }
            Fault::Cut(node, router) => {
                self.cut.entry((node, router)).or_default();
                self.lose_sight(node, router);
            }
            Fault::Mend(node, router) => {
                let held = self.cut.remove(&(node, router)).unwrap_or_default();
                for event in held {
                    self.happen(event);
                }
                self.see_again(node, router);
            }
            Fault::Restart(router) => {
                let setup = self.objects.setup().routers[router].clone();
                self.routers[router] = Router::new(router, setup);
                (0..self.nodes.len()).for_each(|node| self.configure_routers(node));
            }
        }
    }

    fn configure_routers(&mut self, node: usize) {
        for (number, router) in self.routers.iter_mut().enumerate() {
            if self.objects.connects(node, number) && !router.has_neighbour(node) {
                router.add_neighbour(node, &mut self.random, self.now);
            }
        }
    }

    fn start(&mut self, node: usize, past: Past) {
        self.note(name(node), format_args!("starts, {past:?}"));
        let seed = self.random.random();
        self.nodes[node].speaker = Some(Speaker::start(node, self.objects.list(node), past, seed, self.now));
    }

    fn start_later(&mut self, node: usize, pause: Duration) {
        let at = self.now + pause;
        self.schedule(at, Event::Start(node, Past::Restarted));
    }

    /// From now on a router may take some time to see that a node is gone.
    fn lose_sight(&mut self, node: usize, router: usize) {
        let within = self.routers[router].detection(node, self.now);
        self.unreachable.entry((node, router)).or_insert((self.now, within));
    }

    fn see_again(&mut self, node: usize, router: usize) {
        if self.nodes[node].has_power && !self.cut.contains_key(&(node, router)) {
            self.unreachable.remove(&(node, router));
        }
    }

    /// The program is gone, and the kernel closes what it had open.
    fn kernel_closes(&mut self, node: usize) {
        let of_node = self.connections.iter().filter(|(_, it)| it.node == node);
        let ids: Vec<ConnectionId> = of_node.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.transmit(id, Side::Router, Event::Fin(id, Side::Router)));
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.numbers += 1;
        self.events.insert((at, self.numbers), event);
    }

    /// Puts something on its way that arrives in order.
    fn transmit(&mut self, id: ConnectionId, to: Side, event: Event) {
        let delay = Duration::from_micros(self.random.random_range(DELAY));
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let last = connection.last.get(&to).copied().unwrap_or(self.now);
        let at = last.max(self.now + delay);
        connection.last.insert(to, at);
        self.schedule(at, event);
    }

    fn happen(&mut self, event: Event) {
        let way = match &event {
            Event::Syn(id) | Event::SynAck(id) | Event::Octets(id, ..) | Event::Fin(id, _) => {
                let Some(connection) = self.connections.get(id) else { return };
                (connection.node, connection.router)
            }
            Event::Bfd(node, router, ..) => (*node, *router),
            Event::Start(node, past) => {
                let (node, past) = (*node, *past);
                // The one before may still have been about to end.
                self.kernel_closes(node);
                return self.start(node, past);
            }
        };
        let (node, router) = way;
        if let Some(held) = self.cut.get_mut(&way) {
            if !matches!(event, Event::Bfd(..)) {
                held.push(event);
            }
            return;
        }
        let now = self.now;
        let speaker = self.nodes[node].speaker.as_mut();
        match event {
            Event::Syn(id) => {
                self.routers[router].accept(node, id, now);
                self.transmit(id, Side::Node, Event::SynAck(id));
            }
            Event::SynAck(id) => {
                if !speaker.is_some_and(|it| it.connected(router, id, now)) {
                    self.transmit(id, Side::Router, Event::Fin(id, Side::Router));
                }
            }
            Event::Octets(id, Side::Node, octets) => {
                speaker.into_iter().for_each(|it| it.receive(router, id, &octets, now));
            }
            Event::Octets(id, Side::Router, octets) => {
                self.routers[router].receive(node, id, &octets, now);
            }
            Event::Fin(id, Side::Node) => {
                self.connections.remove(&id);
                speaker.into_iter().for_each(|it| it.closed(router, id, now));
            }
            Event::Fin(id, Side::Router) => {
                self.connections.remove(&id);
                self.routers[router].closed(node, id, now);
            }
            Event::Bfd(_, _, Side::Node, packet) => {
                speaker.into_iter().for_each(|it| it.bfd(router, &packet, now));
            }
            Event::Bfd(_, _, Side::Router, packet) => self.routers[router].bfd(node, &packet, now),
            Event::Start(..) => {}
        }
    }

    /// Does what everybody wants done.
    fn carry_out(&mut self) {
        for node in 0..self.nodes.len() {
            let Some(speaker) = &mut self.nodes[node].speaker else { continue };
            let actions = speaker.take_actions();
            let has_ended = speaker.has_ended();
            for action in actions {
                self.act(node, action);
            }
            if has_ended {
                self.note(name(node), "has ended");
                self.nodes[node].speaker = None;
            }
        }
        for router in 0..self.routers.len() {
            for output in self.routers[router].take_outputs() {
                match output {
                    router::Output::Send(id, octets) => {
                        self.transmit(id, Side::Node, Event::Octets(id, Side::Node, octets));
                    }
                    router::Output::Close(id) => self.transmit(id, Side::Node, Event::Fin(id, Side::Node)),
                    router::Output::Bfd(node, packet) => self.datagram(node, router, Side::Node, packet),
                    router::Output::Note(what) => self.note(format_args!("router-{router}"), what),
                }
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect(router) => {
                self.numbers += 1;
                let id = self.numbers;
                self.connections.insert(id, Connection { node, router, last: BTreeMap::new() });
                self.transmit(id, Side::Router, Event::Syn(id));
            }
            Action::Send(id, octets) => {
                self.transmit(id, Side::Router, Event::Octets(id, Side::Router, octets));
            }
            Action::Close(id) => self.transmit(id, Side::Router, Event::Fin(id, Side::Router)),
            Action::Bfd(router, packet) => self.datagram(node, router, Side::Router, packet),
            Action::Note(what) => self.note(name(node), what),
        }
    }

    fn datagram(&mut self, node: usize, router: usize, to: Side, packet: [u8; bfd::packet::LENGTH]) {
        let delay = Duration::from_micros(self.random.random_range(DELAY));
        let last = self.datagrams.get(&(node, router, to)).copied().unwrap_or(self.now);
        let at = last.max(self.now + delay);
        self.datagrams.insert((node, router, to), at);
        self.schedule(at, Event::Bfd(node, router, to, packet));
    }
}

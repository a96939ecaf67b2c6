//! A router: takes connections, keeps a table for each node, and forgets it as RFC 4271, 4724 and 5882 say, the way FRR does.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bfd::packet::{Packet, State};
use bgp::config::{Asn, Families, HoldTime, RouterId};
use bgp::judge::{self, Told};
use bgp::route::Prefix;
use bgp::wire::header::{HEADER, keepalive};
use bgp::wire::notification::{Code, Notification};
use bgp::wire::open::{Capabilities, GracefulRestart, Multiprotocol, Open};

use rand::RngExt;
use rand::rngs::StdRng;

use super::objects::{RouterSetup, profile, restart_time, router_address};
use super::world::ConnectionId;

/// The hold time that routers propose, in seconds,
const HOLD_SECONDS: u16 = 9;
/// and the longest for which they have routes of who is silent.
const HOLD: Duration = Duration::from_secs(HOLD_SECONDS as u64);

/// What a router does.
#[derive(Debug)]
pub(super) enum Output {
    Send(ConnectionId, Vec<u8>),
    Close(ConnectionId),
    /// A BFD packet for this node.
    Bfd(usize, [u8; bfd::packet::LENGTH]),
    /// For the trace.
    Note(String),
}

#[derive(Debug)]
pub(super) struct Router {
    setup: RouterSetup,
    number: usize,
    neighbours: BTreeMap<usize, Neighbour>,
    outputs: Vec<Output>,
}

/// A node, as a router knows it.
#[derive(Debug)]
struct Neighbour {
    connection: Option<Connection>,
    /// Routes that are kept although there is no session, or not yet their End-of-RIB; and until when.
    stale: BTreeMap<Prefix, Told>,
    stale_until: Option<Instant>,
    bfd: Option<bfd::session::Session>,
    discriminator: NonZeroU32,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    stage: Stage,
    octets: Vec<u8>,
    hold: Duration,
    hold_at: Instant,
    keepalive_at: Instant,
    table: judge::Router,
    keeps: Option<GracefulRestart>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opened,
    Confirmed,
    Established,
}

impl Router {
    pub(super) fn new(number: usize, setup: RouterSetup) -> Self {
        Self { setup, number, neighbours: BTreeMap::new(), outputs: Vec::new() }
    }

    /// What it has to do.
    pub(super) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The routes by way of a node that it forwards by.
    pub(super) fn routes(&self, node: usize) -> BTreeMap<Prefix, &Told> {
        let Some(neighbour) = self.neighbours.get(&node) else { return BTreeMap::new() };
        let table = neighbour.connection.iter().flat_map(|it| &it.table.table);
        neighbour.stale.iter().chain(table).map(|(prefix, told)| (*prefix, told)).collect()
    }

    /// How many prefixes were withdrawn in the present session with a node.
    pub(super) fn withdrawn(&self, node: usize) -> usize {
        let connection = self.neighbours.get(&node).and_then(|it| it.connection.as_ref());
        connection.map_or(0, |it| it.table.withdrawn)
    }

    /// Whether it is configured for a session with this node.
    pub(super) fn has_neighbour(&self, node: usize) -> bool {
        self.neighbours.contains_key(&node)
    }

    /// How long it may have routes by way of a node that is gone from now on.
    pub(super) fn detection(&self, node: usize, now: Instant) -> Duration {
        let Some(neighbour) = self.neighbours.get(&node) else { return Duration::ZERO };
        let kept = neighbour.stale_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let Some(connection) = &neighbour.connection else { return kept };
        match &neighbour.bfd {
            Some(bfd) if bfd.state() == State::Up && connection.stage == Stage::Established => {
                bfd.detection_time()
            }
            _ => kept.max(HOLD),
        }
    }

    /// It is configured for a session with this node.
    pub(super) fn add_neighbour(&mut self, node: usize, random: &mut StdRng, now: Instant) {
        let discriminator = NonZeroU32::MIN.saturating_add(random.random_range(0..1 << 30));
        let (stale, stale_until) = (BTreeMap::new(), None);
        let mut neighbour = Neighbour { connection: None, stale, stale_until, bfd: None, discriminator };
        if self.setup.bfd {
            neighbour.bfd = Some(bfd::session::Session::new(
                profile().over_one_hop(),
                discriminator,
                random.random(),
                now,
            ));
        }
        self.neighbours.insert(node, neighbour);
    }

    /// A node connects.
    pub(super) fn accept(&mut self, node: usize, id: ConnectionId, now: Instant) {
        self.lose(node, now);
        let open = Open {
            asn: Asn::try_from(self.setup.asn).expect("not 0"),
            hold: HoldTime::from_seconds(HOLD_SECONDS).expect("it is long enough"),
            router_id: RouterId::try_from(router_address(self.number)).expect("not 0"),
            capabilities: Capabilities {
                multiprotocol: Multiprotocol::Said(Some(Families::Both)),
                route_refresh: true,
                extended_next_hop: false,
                four_octet_asn: true,
                graceful_restart: self.setup.graceful_restart.then(|| GracefulRestart {
                    restarting: false,
                    time: restart_time(),
                    families: None,
                    has_forwarded: false,
                }),
            },
        };
        self.outputs.push(Output::Send(id, open.emit()));
        let connection = Connection {
            id,
            stage: Stage::Opened,
            octets: Vec::new(),
            hold: HOLD,
            hold_at: now + HOLD,
            keepalive_at: now + HOLD / 3,
            table: judge::Router::default(),
            keeps: None,
        };
        self.neighbours.get_mut(&node).expect("it is configured").connection = Some(connection);
    }

    /// Octets have come.
    pub(super) fn receive(&mut self, node: usize, id: ConnectionId, octets: &[u8], now: Instant) {
        let Some(connection) = self.connection(node, id) else { return };
        connection.octets.extend_from_slice(octets);
        while let Some(message) = self.connection(node, id).and_then(Connection::next_message) {
            self.message(node, &message, now);
        }
    }

    /// A connection is closed by the node, or by its kernel.
    pub(super) fn closed(&mut self, node: usize, id: ConnectionId, now: Instant) {
        if self.connection(node, id).is_some() {
            self.lose(node, now);
        }
    }

    /// A BFD packet has come.
    pub(super) fn bfd(&mut self, node: usize, packet: &[u8], now: Instant) {
        let Ok(packet) = Packet::parse(packet) else { return };
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        // RFC 5880 section 6.8.6: a packet for another session is for nobody.
        let is_for_it = packet.yours.is_none_or(|it| it == neighbour.discriminator);
        let Some(bfd) = neighbour.bfd.as_mut().filter(|_| is_for_it) else { return };
        bfd.handle(bfd::session::Input::Received { packet, ttl: 255 }, now);
        self.follow_bfd(node);
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let each = self.neighbours.values().flat_map(|it| {
            let connection = it.connection.iter().flat_map(|it| [it.hold_at, it.keepalive_at]);
            let bfd = it.bfd.as_ref().and_then(bfd::session::Session::poll_timeout);
            connection.chain(it.stale_until).chain(bfd)
        });
        each.min()
    }

    /// Time has passed.
    pub(super) fn poll(&mut self, now: Instant) {
        let nodes: Vec<usize> = self.neighbours.keys().copied().collect();
        for node in nodes {
            let Some(neighbour) = self.neighbours.get_mut(&node) else { continue };
            if neighbour.stale_until.is_some_and(|at| at <= now) {
                neighbour.forget_stale();
            }
            if let Some(bfd) =
                neighbour.bfd.as_mut().filter(|it| it.poll_timeout().is_some_and(|at| at <= now))
            {
                bfd.handle(bfd::session::Input::Time, now);
                self.follow_bfd(node);
            }
            let Some(connection) = self.neighbours.get_mut(&node).and_then(|it| it.connection.as_mut())
            else {
                continue;
            };
            if connection.hold_at <= now {
                self.end(node, Notification::HOLD_TIMER_EXPIRED);
            } else if connection.keepalive_at <= now {
                connection.keepalive_at = now + connection.hold / 3;
                self.outputs.push(Output::Send(connection.id, keepalive()));
            }
        }
    }

    fn connection(&mut self, node: usize, id: ConnectionId) -> Option<&mut Connection> {
        self.neighbours.get_mut(&node)?.connection.as_mut().filter(|it| it.id == id)
    }

    fn message(&mut self, node: usize, message: &[u8], now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        let Some(connection) = neighbour.connection.as_mut() else { return };
        connection.hold_at = now + connection.hold;
        match (message[HEADER - 1], connection.stage) {
            (1, Stage::Opened) => {
                let open = Open::parse(&message[HEADER..]).expect("it can be read");
                connection.stage = Stage::Confirmed;
                connection.keeps = open.capabilities.graceful_restart.filter(|_| self.setup.graceful_restart);
                if let Some(hold) = open.hold.duration() {
                    connection.hold = hold.min(HOLD);
                    connection.hold_at = now + connection.hold;
                    connection.keepalive_at = now + connection.hold / 3;
                }
                self.outputs.push(Output::Send(connection.id, keepalive()));
            }
            (4, Stage::Confirmed) => {
                connection.stage = Stage::Established;
                // RFC 4724 section 4.2: unless the forwarding state was preserved, the stale routes go.
                if connection.keeps.is_none_or(|it| !it.has_forwarded) {
                    neighbour.forget_stale();
                }
                self.outputs.push(Output::Note(format!("established with node-{node}")));
            }
            (4, Stage::Established) => {}
            (2, Stage::Established) => {
                connection.table.apply(message);
                let ended: BTreeSet<_> = connection.table.ended.clone();
                neighbour.stale.retain(|prefix, _| !ended.contains(&prefix.family()));
                if neighbour.stale.is_empty() {
                    neighbour.stale_until = None;
                }
            }
            (3, _) => {
                let told = Notification::parse(&message[HEADER..]).map(|it| it.code());
                self.outputs.push(Output::Note(format!("told {told:?} by node-{node}")));
                self.outputs.push(Output::Close(connection.id));
                neighbour.connection = None;
                neighbour.forget_stale();
            }
            (kind, stage) => panic!("a message of kind {kind} in {stage:?}"),
        }
    }

    /// The connection to a node is lost without a word.
    fn lose(&mut self, node: usize, now: Instant) {
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        let Some(connection) = neighbour.connection.take() else { return };
        self.outputs.push(Output::Close(connection.id));
        match connection.keeps.filter(|_| connection.stage == Stage::Established) {
            Some(restart) => {
                neighbour.stale.extend(connection.table.table);
                neighbour.stale_until = Some(now + Duration::from_secs(restart.time.seconds().into()));
                self.outputs.push(Output::Note(format!("keeps the routes of node-{node}")));
            }
            None if connection.stage == Stage::Established => neighbour.forget_stale(),
            None => {}
        }
    }

    /// Ends the session with a node, and forgets its routes.
    fn end(&mut self, node: usize, why: Code) {
        let Some(neighbour) = self.neighbours.get_mut(&node) else { return };
        let Some(connection) = neighbour.connection.take() else { return };
        self.outputs.push(Output::Send(connection.id, Notification::new(why).emit()));
        self.outputs.push(Output::Close(connection.id));
        self.outputs.push(Output::Note(format!("ends the session with node-{node}: {why:?}")));
        neighbour.forget_stale();
    }

    /// Does what BFD wants done. FRR takes a session for down that the peer has switched off, too.
    fn follow_bfd(&mut self, node: usize) {
        let mut failed = false;
        if let Some(bfd) = self.neighbours.get_mut(&node).and_then(|it| it.bfd.as_mut()) {
            while let Some(output) = bfd.poll_output() {
                match output {
                    bfd::session::Output::Send(packet) => self.outputs.push(Output::Bfd(node, packet)),
                    bfd::session::Output::SendEcho(_) => {}
                    bfd::session::Output::Changed(transition) => {
                        failed |= transition.from == State::Up;
                        self.outputs.push(Output::Note(format!("BFD with node-{node}: {:?}", transition.to)));
                    }
                }
            }
        }
        if failed {
            self.end(node, Notification::BFD_DOWN);
        }
    }
}

impl Neighbour {
    fn forget_stale(&mut self) {
        self.stale.clear();
        self.stale_until = None;
    }
}

impl Connection {
    fn next_message(&mut self) -> Option<Vec<u8>> {
        let length = u16::from_be_bytes([*self.octets.get(16)?, *self.octets.get(17)?]);
        let length = usize::from(length);
        (self.octets.len() >= length).then(|| self.octets.drain(..length).collect())
    }
}

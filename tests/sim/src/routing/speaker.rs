//! A speaker, as far as routers know it: the core, and a session of each protocol with each router, brought together as the
//! shell does it. No decision is made here.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use bgp::config::SessionConfig;
use bgp::route::Routes;
use bgp::session::{Farewell, Input, Local, Output, Past, Session, State};
use objects::BgpPeerName;
use placement::{ExcludeLabel, Failback, Spread};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use speaker_core::announce::bgp::{Asking, BgpInput, ProxyAnswer};
use speaker_core::{Config, Core, Input as CoreInput, Output as Decision};

use super::objects::{address, name, number, other_address};
use super::world::ConnectionId;

/// What a speaker does.
#[derive(Debug)]
pub(super) enum Action {
    /// Connects to this router.
    Connect(usize),
    Send(ConnectionId, Vec<u8>),
    Close(ConnectionId),
    /// A BFD packet for this router.
    Bfd(usize, [u8; bfd::packet::LENGTH]),
    /// For the trace.
    Note(String),
}

#[derive(Debug)]
pub(super) struct Speaker {
    node: usize,
    core: Core,
    past: Past,
    random: StdRng,
    wanted: BTreeMap<BgpPeerName, SessionConfig>,
    routes: BTreeMap<BgpPeerName, Arc<Routes>>,
    sessions: BTreeMap<usize, Held>,
    /// Once it has been asked to end.
    farewell: Option<Farewell>,
    actions: Vec<Action>,
}

/// The sessions with one router.
#[derive(Debug)]
struct Held {
    session: Session,
    connection: Option<ConnectionId>,
    bfd: Option<bfd::session::Session>,
    discriminator: NonZeroU32,
    /// How often the session has ended.
    ended: usize,
}

impl Speaker {
    /// One that knows these objects.
    pub(super) fn start(node: usize, list: Vec<CoreInput>, past: Past, seed: u64, now: Instant) -> Self {
        let config = Config {
            node: name(node),
            exclude_label: ExcludeLabel::Honoured,
            ignore_conflicts: false,
            spread: Spread::default(),
            failback: Failback::default(),
        };
        let mut new = Self {
            node,
            core: Core::new(config, now),
            past,
            random: StdRng::seed_from_u64(seed),
            wanted: BTreeMap::new(),
            routes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            farewell: None,
            actions: Vec::new(),
        };
        new.learn(list, now);
        new
    }

    /// What it has to do.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// How often sessions have ended.
    pub(super) fn ended(&self) -> usize {
        self.sessions.values().map(|it| it.ended).sum()
    }

    /// Whether the session with a router is established, and all is said in it.
    pub(super) fn is_settled(&self, router: usize) -> bool {
        let session = self.sessions.get(&router).map(|it| &it.session);
        session.is_some_and(|it| it.state() == State::Established && it.rib().is_settled())
    }

    /// Whether it was asked to end, and has nothing left to do.
    pub(super) fn has_ended(&self) -> bool {
        self.farewell.is_some() && self.sessions.values().all(|it| it.session.state() == State::Idle)
    }

    /// It learns of the cluster.
    pub(super) fn learn(&mut self, inputs: Vec<CoreInput>, now: Instant) {
        inputs.into_iter().for_each(|input| self.core.handle(input, now));
        self.follow_core(now);
    }

    /// Somebody asks it to end all sessions.
    pub(super) fn stop(&mut self, farewell: Farewell, now: Instant) {
        self.farewell = Some(farewell);
        let routers: Vec<usize> = self.sessions.keys().copied().collect();
        routers.into_iter().for_each(|router| self.tell(router, Input::Stop(farewell), now));
    }

    /// The connection to a router that was asked for is there.
    pub(super) fn connected(&mut self, router: usize, id: ConnectionId, now: Instant) -> bool {
        let Some(held) = self.sessions.get_mut(&router).filter(|it| it.session.state() == State::Connect)
        else {
            return false;
        };
        held.connection = Some(id);
        let local =
            Local { address: address(self.node).into(), other: Some(other_address(self.node).into()) };
        self.tell(router, Input::Connected(local), now);
        true
    }

    /// Octets have come from a router.
    pub(super) fn receive(&mut self, router: usize, id: ConnectionId, octets: &[u8], now: Instant) {
        if self.sessions.get(&router).is_some_and(|it| it.connection == Some(id)) {
            self.tell(router, Input::Received(octets), now);
        }
    }

    /// A router has closed a connection.
    pub(super) fn closed(&mut self, router: usize, id: ConnectionId, now: Instant) {
        if self.sessions.get(&router).is_some_and(|it| it.connection == Some(id)) {
            self.tell(router, Input::Disconnected, now);
        }
    }

    /// A BFD packet has come.
    pub(super) fn bfd(&mut self, router: usize, packet: &[u8], now: Instant) {
        let Ok(packet) = bfd::packet::Packet::parse(packet) else { return };
        let Some(held) = self.sessions.get_mut(&router) else { return };
        // RFC 5880 section 6.8.6: a packet for another session is for nobody.
        let is_for_it = packet.yours.is_none_or(|it| it == held.discriminator);
        if let Some(bfd) = held.bfd.as_mut().filter(|_| is_for_it) {
            bfd.handle(bfd::session::Input::Received { packet, ttl: 255 }, now);
            self.follow(router, now);
        }
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let each = self.sessions.values().flat_map(|it| {
            let bfd = it.bfd.as_ref().and_then(bfd::session::Session::poll_timeout);
            it.session.poll_timeout().into_iter().chain(bfd)
        });
        each.chain(self.core.poll_timeout()).min()
    }

    /// Time has passed.
    pub(super) fn poll(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.learn(vec![CoreInput::Time], now);
        }
        let routers: Vec<usize> = self.sessions.keys().copied().collect();
        for router in routers {
            let Some(held) = self.sessions.get_mut(&router) else { continue };
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            if due(held.session.poll_timeout()) {
                held.session.handle(Input::Time, now);
            }
            if let Some(bfd) = held.bfd.as_mut().filter(|it| due(it.poll_timeout())) {
                bfd.handle(bfd::session::Input::Time, now);
            }
            self.follow(router, now);
        }
    }

    fn follow_core(&mut self, now: Instant) {
        while let Some(decision) = self.core.poll_output() {
            match decision {
                Decision::BgpSessions(sessions) => {
                    self.routes.retain(|peer, _| sessions.contains_key(peer));
                    self.wanted = sessions;
                }
                Decision::BgpRoutes(peer, routes) => _ = self.routes.insert(peer, routes),
                // kube-proxy is always faster here.
                Decision::AskProxy(service, Asking::Begin) => {
                    self.core.handle(CoreInput::Bgp(BgpInput::Proxy(service, ProxyAnswer::Serves)), now);
                }
                _ => {}
            }
        }
        if self.farewell.is_none() {
            self.follow_wanted(now);
        }
    }

    fn follow_wanted(&mut self, now: Instant) {
        for (peer, config) in self.wanted.clone() {
            let router = number(&peer);
            let wanted = self.routes.get(&peer).cloned().unwrap_or_default();
            let Some(held) = self.sessions.get_mut(&router) else {
                let seed = self.random.random();
                let mut session = Session::new(config.clone(), self.past, seed);
                session.handle(Input::Routes(wanted), now);
                session.handle(Input::RoutesComplete, now);
                session.handle(Input::Start, now);
                let discriminator = NonZeroU32::MIN.saturating_add(self.random.random_range(0..1 << 30));
                let bfd = config.bfd.map(|profile| {
                    bfd::session::Session::new(profile.over_one_hop(), discriminator, seed, now)
                });
                self.sessions
                    .insert(router, Held { session, connection: None, bfd, discriminator, ended: 0 });
                self.follow(router, now);
                continue;
            };
            held.session.handle(Input::Routes(wanted), now);
            if *held.session.config() != config {
                held.session.handle(Input::Configure(Box::new(config)), now);
            }
            self.follow(router, now);
        }
    }

    fn tell(&mut self, router: usize, input: Input<'_>, now: Instant) {
        if let Some(held) = self.sessions.get_mut(&router) {
            held.session.handle(input, now);
        }
        self.follow(router, now);
    }

    /// Does what the sessions with a router want done.
    fn follow(&mut self, router: usize, now: Instant) {
        let Some(held) = self.sessions.get_mut(&router) else { return };
        let Held { session, connection, bfd, ended, discriminator: _ } = held;
        while let Some(output) = bfd.as_mut().and_then(bfd::session::Session::poll_output) {
            match output {
                bfd::session::Output::Send(packet) => self.actions.push(Action::Bfd(router, packet)),
                bfd::session::Output::Changed(transition) if transition.is_failure() => {
                    session.handle(Input::BfdDown, now);
                }
                bfd::session::Output::Changed(_) | bfd::session::Output::SendEcho(_) => {}
            }
        }
        loop {
            while let Some(output) = session.poll_output() {
                match output {
                    Output::Connect => self.actions.push(Action::Connect(router)),
                    Output::Send(message) => {
                        self.actions.extend(connection.map(|id| Action::Send(id, message)));
                    }
                    Output::Close => self.actions.extend(connection.take().map(Action::Close)),
                    Output::Changed(transition) => {
                        if transition.from == State::Established {
                            *ended += 1;
                        }
                        if [transition.from, transition.to].contains(&State::Established) {
                            let (to, why) = (transition.to, transition.why);
                            self.actions.push(Action::Note(format!("router-{router}: {to}: {why}")));
                        }
                    }
                }
            }
            match session.poll_update() {
                Some(message) => self.actions.extend(connection.map(|id| Action::Send(id, message))),
                None if session.has_outputs() => {}
                None => return,
            }
        }
    }
}

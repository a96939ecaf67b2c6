//! One session with one router: when to connect, what to say, when to give up (RFC 4271 section 8).

mod advice;
mod agree;
mod backoff;
mod counters;
mod event;
mod machine;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

pub use counters::{Counters, PerKind};
pub use event::{State, Transition, Why};
use objects::Family;
use rand::SeedableRng;
use rand::rngs::SmallRng;
pub use snapshot::{InvalidSnapshot, Snapshot};
use timers::Timers;

use crate::config::SessionConfig;
use crate::rib_out::{Agreement, NextHops, RibOut};
use crate::route::Routes;
use crate::wire::header::{Assembly, Kind};
use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::{refresh, update};
use agree::Peer;
use backoff::Backoff;
use event::Event;

/// A session. It only connects; nobody listens.
///
/// Tell it what happens by [`Session::handle`], at the latest when [`Session::poll_timeout`] says so. Then do what
/// [`Session::poll_output`] returns until it returns `None`, and write what [`Session::poll_update`] returns as long as
/// there is room for it. `now` never goes back.
///
/// ```text
///            Start                  connected            OPEN              KEEPALIVE
///   Idle ------------> Connect ----------------> OpenSent ---> OpenConfirm ---------> Established
///    ^                  ^   |                       |               |                      |
///    |       retry time |   | failed                +------ any error, NOTIFICATION, ------+
///    |                  |   v                               connection lost
///    +----------------- Active <------------------------------------+
///           Stop
/// ```
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    past: Past,
    state: State,
    timers: Timers<Timer>,
    backoff: Backoff,
    assembly: Assembly,
    local: Option<Local>,
    peer: Option<Peer>,
    rib: RibOut,
    departure: Departure,
    outputs: VecDeque<Output>,
    counters: Counters,
    random: SmallRng,
}

/// What was before this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing that a peer would remember.
    Fresh,
    /// Another process had a session with the peer a moment ago, and the node has forwarded ever since (RFC 4724).
    Restarted,
    /// This process had one, and the node has forwarded ever since.
    Connected,
}

/// The addresses of this end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// That of the connection.
    pub address: IpAddr,
    /// One of the other family by which the peer can reach this node, if there is one.
    pub other: Option<IpAddr>,
}

/// What happens to a session.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// There is to be a session.
    Start,
    /// There is to be none.
    Stop(Farewell),
    /// It is to be like this.
    Configure(Box<SessionConfig>),
    /// The connection that was asked for is there.
    Connected(Local),
    /// It cannot be had, or is lost.
    Disconnected,
    /// The way to the peer is known since now: there is nothing more to wait for.
    Reachable,
    /// The peer says this.
    Received(&'a [u8]),
    /// These routes are wanted, and no others.
    Routes(Arc<Routes>),
    /// Every route that there is now has been named.
    RoutesComplete,
    /// This end has these addresses now. A next hop that was missing may be among them, or one in place of one that is gone.
    Addresses(Local),
    /// Something waits to be written for which there is no room.
    Blocked,
    /// Something that waited was written.
    Written,
    /// The BFD session beside this one has failed.
    BfdDown,
    /// Time has passed.
    Time,
}

/// Why routes of a family are not announced in a session that is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// The peer does not exchange them.
    NotExchanged,
    /// This end has no address that can be their next hop.
    NoNextHop,
}

/// How to end a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Say so: the peer forgets the routes at once.
    Cease,
    /// Give the peer time to find other routes (RFC 8326), then say so.
    Leave,
    /// Say nothing to a peer that knows RFC 4724: it keeps the routes for the next process. Others would forget them at once,
    /// so they are given time as by [`Farewell::Leave`].
    Silent,
}

/// What is to be done, in the order in which it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a TCP connection, and say what came of it.
    Connect,
    /// Write this.
    Send(Vec<u8>),
    /// Close the connection, or stop trying to open it, once everything is written. Nothing is to be said of it any more.
    Close,
    /// For logs and metrics.
    Changed(Transition),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    ConnectRetry,
    Hold,
    Keepalive,
    Depart,
    /// Nothing of what waits to be written could be written for too long.
    SendHold,
    /// The peer may be told everything once more.
    Refresh,
}

/// How far the end of a session that leaves has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    None,
    Leaving,
    Withdrawing,
}

impl Session {
    /// Is idle until it is started. `seed` spreads what many sessions do at the same time.
    pub fn new(config: SessionConfig, past: Past, seed: u64) -> Self {
        Self {
            config,
            past,
            state: State::Idle,
            timers: Timers::default(),
            backoff: Backoff::default(),
            assembly: Assembly::default(),
            local: None,
            peer: None,
            rib: RibOut::default(),
            departure: Departure::None,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The session as another process can go on with it, which has the connection from then on. `None` unless it is
    /// established and there to stay.
    pub fn snapshot(&self, now: Instant) -> Option<Snapshot> {
        Snapshot::of(self, now)
    }

    /// Goes on with the session of another process from where that was. What it announces is wanted until something else is said.
    /// `seed` spreads what many sessions do at the same time.
    pub fn resume(snapshot: Snapshot, seed: u64, now: Instant) -> Result<Self, InvalidSnapshot> {
        snapshot.resume(seed, now)
    }

    /// What it is like.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// How many messages there were.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the peer was told.
    pub fn rib(&self) -> &RibOut {
        &self.rib
    }

    /// What was agreed on with the peer of an established session.
    pub fn agreement(&self) -> Option<Agreement> {
        self.peer.as_ref().filter(|_| self.state == State::Established).map(|peer| peer.agreement)
    }

    /// The next hop that is another address than that of the connection, if one is: it may go while the session lasts.
    pub fn borrowed_next_hop(&self) -> Option<IpAddr> {
        let (agreement, own) = (self.agreement()?, self.local?.address);
        let mut all = agreement.families.iter().filter_map(|family| agreement.next_hops.of(family));
        all.find(|ip| *ip != own)
    }

    /// The families of which there are routes that the peer of an established session is not told, and why.
    pub fn held_back(&self) -> Vec<(Family, HeldBack)> {
        let Some(agreement) = self.agreement() else { return vec![] };
        let why = |family| {
            if !agreement.families.contain(family) {
                Some(HeldBack::NotExchanged)
            } else if agreement.next_hops.of(family).is_none() {
                Some(HeldBack::NoNextHop)
            } else {
                None
            }
        };
        let families = self.config.families.iter().filter(|family| self.rib.has(*family));
        families.filter_map(|family| Some((family, why(family)?))).collect()
    }

    /// Something happens.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Start => self.step(Event::Start, now),
            Input::Stop(farewell) => self.step(Event::Stop(farewell), now),
            Input::Configure(config) => self.configure(*config, now),
            Input::Connected(local) => {
                self.local = Some(local);
                self.step(Event::Connected, now);
            }
            Input::Disconnected => self.step(Event::Disconnected, now),
            Input::Reachable => self.step(Event::Reachable, now),
            Input::Received(octets) => self.receive(octets, now),
            Input::Routes(routes) => self.rib.want(routes),
            Input::RoutesComplete => self.rib.set_complete(),
            Input::Addresses(local) => self.renew_next_hops(local),
            Input::Blocked => self.block(now),
            Input::Written => self.timers.cancel(&Timer::SendHold),
            Input::BfdDown => self.step(Event::Error(Notification::new(Notification::BFD_DOWN)), now),
            Input::Time => {}
        }
        while let Some(timer) = self.timers.pop(now) {
            let event = match timer {
                Timer::ConnectRetry => Event::RetryExpired,
                Timer::Hold => Event::HoldExpired,
                Timer::Keepalive => Event::KeepaliveExpired,
                Timer::Depart => Event::DepartExpired,
                Timer::SendHold => Event::SendHoldExpired,
                Timer::Refresh => Event::RefreshExpired,
            };
            self.step(event, now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is something to do.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// The next octets to write when there is room: what the peer is to know of routes. They go after all that
    /// [`Session::poll_output`] has returned.
    pub fn poll_update(&mut self) -> Option<Vec<u8>> {
        if self.state != State::Established || !self.outputs.is_empty() {
            return None;
        }
        let message = self.rib.poll();
        if message.is_some() {
            self.counters.sent.count(Kind::Update);
        } else if self.departure == Departure::Withdrawing {
            self.stop(Farewell::Cease);
        }
        message
    }

    /// A next hop that is the address of the connection is there as long as the connection is; another one is replaced.
    fn renew_next_hops(&mut self, local: Local) {
        let Some(own) = self.local else { return };
        let Some(peer) = self.peer.as_mut().filter(|_| self.state == State::Established) else { return };
        let found = agree::next_hops(&self.config, peer.agreement.families, local, peer.extended);
        let NextHops { v4, v6 } = peer.agreement.next_hops;
        peer.agreement.next_hops = NextHops {
            v4: v4.filter(|ip| *ip == own.address).or(found.v4).or(v4),
            v6: v6.filter(|ip| *ip == own.address).or(found.v6).or(v6),
        };
        self.local = Some(Local { other: local.other, ..own });
        self.rib.set_next_hops(peer.agreement.next_hops);
    }

    fn configure(&mut self, config: SessionConfig, now: Instant) {
        let same = self.config.makes_same_session(&config);
        self.config = config;
        if !same {
            self.step(Event::Reconfigured, now);
        }
    }

    fn receive(&mut self, mut octets: &[u8], now: Instant) {
        while self.state.is_connected() {
            let mut assembly = std::mem::take(&mut self.assembly);
            let event = assembly.next(&mut octets, |kind, body| {
                self.counters.received.count(kind);
                read(kind, body)
            });
            self.assembly = assembly;
            match event {
                Some(Ok(event)) => self.step(event, now),
                Some(Err(error)) => self.step(Event::Error(error), now),
                None => return,
            }
        }
    }
}

/// What a message means.
fn read(kind: Kind, body: &[u8]) -> Event {
    let bad_length = || Notification::new(Notification::BAD_LENGTH);
    let event = match kind {
        Kind::Open => Open::parse(body).map(|open| Event::Open(Box::new(open))),
        Kind::Update => update::check(body).map(Event::Update),
        Kind::Notification => Notification::parse(body).map(Event::Notification).ok_or_else(bad_length),
        Kind::Keepalive => Ok(Event::Keepalive),
        Kind::RouteRefresh => Ok(Event::RouteRefresh(refresh::parse(body))),
    };
    event.unwrap_or_else(Event::Error)
}

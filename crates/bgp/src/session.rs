//! One session with one router: when to connect, what to say, when to give up (RFC 4271 section 8).

mod advice;
mod agree;
mod backoff;
mod counters;
mod event;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use counters::{Counters, PerKind};
pub use event::{State, Transition, Why};
use objects::Family;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
pub use snapshot::{InvalidSnapshot, Snapshot};
use timers::Timers;

use crate::config::{HoldTime, SessionConfig};
use crate::rib_out::{Agreement, NextHops, RibOut};
use crate::route::Routes;
use crate::wire::attributes::Tenure;
use crate::wire::header::{Assembly, Kind, keepalive};
use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::{refresh, update};
use agree::Peer;
use backoff::Backoff;
use event::Event;

/// A TCP connection that is not there after that is tried for anew: the kernel would ask ever more seldom.
const CONNECT: Duration = Duration::from_secs(5);
/// A router that has taken the connection says at once who it is, and that it agrees. RFC 4271 section 8.2.2 suggests four
/// minutes, all of them without routes, and then the hold time, which may be none.
const OPEN: Duration = Duration::from_secs(30);
/// For how long a router may read nothing of what waits to be written, or for twice the hold time if that is longer (RFC 9687
/// section 6). It may have forgotten the routes or keep them for ever: its own signs of life prove neither.
const SEND_HOLD: Duration = Duration::from_mins(8);
/// All routes are told once more no sooner than that after the last time. A router that asks again meanwhile is answered then.
const REFRESH: Duration = Duration::from_secs(1);
/// For how long routes that are about to go are still there, so that others can be found (RFC 8326).
const LEAVING: Duration = Duration::from_secs(2);
/// And how long a peer may take to read that they are gone.
const WITHDRAWING: Duration = Duration::from_secs(1);

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

    /// RFC 4271 section 8.2.2. Nobody listens, so there are no collisions, and Active only waits.
    #[expect(clippy::match_same_arms, reason = "one event after the other, as the RFC has them")]
    fn step(&mut self, event: Event, now: Instant) {
        use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};
        match (self.state, event) {
            (Idle, Event::Start) => self.connect(Why::Started, now),
            (Connect | Active | OpenSent | OpenConfirm | Established, Event::Start) => {
                self.stay();
            }

            (Idle, Event::Stop(_)) => {}
            (Established, Event::Stop(Farewell::Leave)) => self.leave(now),
            (Established, Event::Stop(Farewell::Silent)) if !self.keeps_routes() => self.leave(now),
            (Connect | Active | OpenSent | OpenConfirm | Established, Event::Stop(farewell)) => {
                self.stop(farewell);
            }

            (Idle, Event::Reconfigured) => {}
            (Connect | Active | OpenSent | OpenConfirm | Established, Event::Reconfigured) => {
                self.reconnect(now);
            }

            (Connect, Event::Connected) => self.open(now),
            (Idle | Active | OpenSent | OpenConfirm | Established, Event::Connected) => {}

            (Connect, Event::Disconnected) => self.back_off(Why::NotConnected, now),
            (OpenSent | OpenConfirm | Established, Event::Disconnected) => {
                self.back_off(Why::ConnectionLost, now);
            }
            (Idle | Active, Event::Disconnected) => {}

            (Active, Event::Reachable) => {
                self.backoff = Backoff::default();
                self.connect(Why::Reachable, now);
            }
            (Idle | Connect | OpenSent | OpenConfirm | Established, Event::Reachable) => {}

            (Connect, Event::RetryExpired) => self.back_off(Why::NotConnected, now),
            (Active, Event::RetryExpired) => self.connect(Why::RetryTime, now),
            (Idle | OpenSent | OpenConfirm | Established, Event::RetryExpired) => {}

            (OpenSent | OpenConfirm | Established, Event::HoldExpired) => {
                self.fail(Notification::new(Notification::HOLD_TIMER_EXPIRED), now);
            }
            (Idle | Connect | Active, Event::HoldExpired) => {}

            (OpenConfirm | Established, Event::KeepaliveExpired) => self.keep_alive(now),
            (Idle | Connect | Active | OpenSent, Event::KeepaliveExpired) => {}

            (Established, Event::DepartExpired) => self.withdraw(now),
            (Idle | Connect | Active | OpenSent | OpenConfirm, Event::DepartExpired) => {}

            (OpenSent | OpenConfirm | Established, Event::SendHoldExpired) => {
                self.fail(Notification::new(Notification::SEND_HOLD_TIMER_EXPIRED), now);
            }
            (Idle | Connect | Active, Event::SendHoldExpired) => {}

            (Established, Event::RefreshExpired) => self.refresh(now),
            (Idle | Connect | Active | OpenSent | OpenConfirm, Event::RefreshExpired) => {}

            (OpenSent, Event::Open(open)) => self.confirm(*open, now),
            (OpenConfirm, Event::Keepalive) => self.establish(now),
            (Established, Event::Keepalive | Event::Update(update::Received::Routes)) => self.heard(now),
            (Established, Event::Update(update::Received::EndOfRib(_))) => self.heard(now),
            (Established, Event::Update(update::Received::TreatedAsWithdrawn)) => {
                self.counters.treated_as_withdrawn += 1;
                self.heard(now);
            }
            (Established, Event::RouteRefresh(family)) => {
                self.rib.ask(family);
                if !self.timers.contains(&Timer::Refresh) {
                    self.refresh(now);
                }
                self.heard(now);
            }
            (OpenSent | OpenConfirm | Established, Event::Notification(notification)) => {
                self.back_off(Why::Received(notification), now);
            }
            (OpenSent | OpenConfirm | Established, Event::Error(error)) => self.fail(error, now),

            (OpenSent, Event::Keepalive | Event::Update(_) | Event::RouteRefresh(_)) => {
                self.fail(Notification::new(Notification::UNEXPECTED_IN_OPEN_SENT), now);
            }
            (OpenConfirm, Event::Open(_) | Event::Update(_) | Event::RouteRefresh(_)) => {
                self.fail(Notification::new(Notification::UNEXPECTED_IN_OPEN_CONFIRM), now);
            }
            (Established, Event::Open(_)) => {
                self.fail(Notification::new(Notification::UNEXPECTED_IN_ESTABLISHED), now);
            }
            (
                Idle | Connect | Active,
                Event::Open(_)
                | Event::Keepalive
                | Event::Update(_)
                | Event::RouteRefresh(_)
                | Event::Notification(_)
                | Event::Error(_),
            ) => {}
        }
    }

    fn connect(&mut self, why: Why, now: Instant) {
        self.timers.set(Timer::ConnectRetry, now + CONNECT.min(self.config.timers.connect()));
        self.outputs.push_back(Output::Connect);
        self.change(State::Connect, why);
    }

    /// Whoever was about to leave is to stay.
    fn stay(&mut self) {
        self.timers.cancel(&Timer::Depart);
        if std::mem::replace(&mut self.departure, Departure::None) != Departure::None {
            self.rib.set_tenure(Tenure::Lasting);
        }
    }

    fn open(&mut self, now: Instant) {
        self.timers.cancel(&Timer::ConnectRetry);
        self.timers.set(Timer::Hold, now + OPEN);
        self.assembly.clear();
        self.send(Kind::Open, agree::open(&self.config, self.past).emit());
        self.change(State::OpenSent, Why::Connected);
    }

    fn confirm(&mut self, open: Open, now: Instant) {
        let Some(local) = self.local else { return };
        match agree::agree(&self.config, local, open) {
            Ok(peer) => {
                let interval = self.config.timers.keepalive(peer.hold);
                let patience = peer.hold.duration().map_or(OPEN, |hold| hold.min(OPEN));
                self.timers.set(Timer::Hold, now + patience);
                self.peer = Some(peer);
                self.send(Kind::Keepalive, keepalive());
                if let Some(interval) = interval {
                    self.set_keepalive(interval, now);
                }
                self.change(State::OpenConfirm, Why::Agreed);
            }
            Err(error) => self.fail(error, now),
        }
    }

    fn establish(&mut self, now: Instant) {
        let Some(agreement) = self.peer.as_ref().map(|peer| peer.agreement) else { return };
        self.past = Past::Connected;
        self.backoff.established(now);
        self.rib.begin(agreement);
        self.heard(now);
        self.change(State::Established, Why::Confirmed);
    }

    fn heard(&mut self, now: Instant) {
        if let Some(hold) = self.peer.as_ref().map(|peer| peer.hold) {
            self.set_hold(hold, now);
        }
    }

    /// Tells the peer everything once more that it has asked for, if it has.
    fn refresh(&mut self, now: Instant) {
        if self.rib.refresh() {
            self.timers.set(Timer::Refresh, now + REFRESH);
        }
    }

    /// RFC 9687, for as long as something waits: a session in which nothing is to be said is not stuck.
    fn block(&mut self, now: Instant) {
        if self.state.is_connected() && !self.timers.contains(&Timer::SendHold) {
            let hold = self.peer.as_ref().and_then(|peer| peer.hold.duration()).unwrap_or_default();
            self.timers.set(Timer::SendHold, now + SEND_HOLD.max(hold * 2));
        }
    }

    fn keep_alive(&mut self, now: Instant) {
        let agreed = self.peer.as_ref().map(|peer| peer.hold);
        if let Some(interval) = agreed.and_then(|hold| self.config.timers.keepalive(hold)) {
            self.send(Kind::Keepalive, keepalive());
            self.set_keepalive(interval, now);
        }
    }

    fn leave(&mut self, now: Instant) {
        if self.departure == Departure::None {
            self.departure = Departure::Leaving;
            self.rib.set_tenure(Tenure::Leaving);
            self.timers.set(Timer::Depart, now + LEAVING);
        }
    }

    fn withdraw(&mut self, now: Instant) {
        match self.departure {
            Departure::None => {}
            Departure::Leaving => {
                self.departure = Departure::Withdrawing;
                self.rib.clear();
                self.timers.set(Timer::Depart, now + WITHDRAWING);
            }
            Departure::Withdrawing => self.stop(Farewell::Cease),
        }
    }

    /// Ends the session, for good as far as this session knows.
    fn stop(&mut self, farewell: Farewell) {
        if self.state.is_connected() && farewell != Farewell::Silent {
            self.notify(&Notification::new(Notification::SHUTDOWN));
        }
        self.disconnect();
        self.backoff = Backoff::default();
        self.change(State::Idle, Why::Stopped);
    }

    /// Ends the session for another with other settings. The peer keeps the routes meanwhile if it can.
    fn reconnect(&mut self, now: Instant) {
        if self.state.is_connected() && !self.keeps_routes() {
            self.notify(&Notification::new(Notification::CONFIGURATION_CHANGE));
        }
        self.disconnect();
        self.backoff = Backoff::default();
        self.connect(Why::Reconfigured, now);
    }

    /// Whether the peer keeps the routes when the connection is lost.
    fn keeps_routes(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.keeps_routes)
    }

    /// Ends the session with an error that the peer is told.
    fn fail(&mut self, error: Notification, now: Instant) {
        self.notify(&error);
        self.back_off(Why::Sent(error), now);
    }

    fn back_off(&mut self, why: Why, now: Instant) {
        self.disconnect();
        if self.departure != Departure::None {
            self.departure = Departure::None;
            self.rib.set_tenure(Tenure::Lasting);
            return self.change(State::Idle, why);
        }
        let delay = self.backoff.next(self.config.timers.connect(), now);
        let delay = delay.mul_f64(self.random.random_range(0.75..=1.0));
        self.timers.set(Timer::ConnectRetry, now + delay);
        self.change(State::Active, why);
    }

    fn disconnect(&mut self) {
        if self.state.is_connected() || self.state == State::Connect {
            self.outputs.push_back(Output::Close);
        }
        self.timers = Timers::default();
        self.assembly.clear();
        self.local = None;
        self.peer = None;
        self.rib.end();
    }

    fn notify(&mut self, notification: &Notification) {
        self.send(Kind::Notification, notification.emit());
    }

    fn send(&mut self, kind: Kind, message: Vec<u8>) {
        self.counters.sent.count(kind);
        self.outputs.push_back(Output::Send(message));
    }

    fn set_hold(&mut self, hold: HoldTime, now: Instant) {
        match hold.duration() {
            Some(hold) => self.timers.set(Timer::Hold, now + hold),
            None => self.timers.cancel(&Timer::Hold),
        }
    }

    /// RFC 4271 section 10: up to a quarter earlier.
    fn set_keepalive(&mut self, interval: Duration, now: Instant) {
        let interval = interval.mul_f64(self.random.random_range(0.75..=1.0));
        self.timers.set(Timer::Keepalive, now + interval);
    }

    fn change(&mut self, to: State, why: Why) {
        let from = std::mem::replace(&mut self.state, to);
        self.outputs.push_back(Output::Changed(Transition { from, to, why }));
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

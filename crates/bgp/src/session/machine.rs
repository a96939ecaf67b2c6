//! The state machine of a session (RFC 4271 section 8.2.2), and what each transition does.

use std::time::{Duration, Instant};

use rand::RngExt;
use timers::Timers;

use super::agree;
use super::backoff::Backoff;
use super::event::{Event, State, Transition, Why};
use super::{Departure, Farewell, Output, Past, Session, Timer};
use crate::config::HoldTime;
use crate::wire::attributes::Tenure;
use crate::wire::header::{Kind, keepalive};
use crate::wire::notification::Notification;
use crate::wire::open::Open;
use crate::wire::update;

/// A TCP connection that is not there after that is tried for anew: the kernel would ask ever more seldom.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// A router that has taken the connection says at once who it is, and that it agrees. RFC 4271 section 8.2.2 suggests four
/// minutes, all of them without routes, and then the hold time, which may be none.
pub(super) const OPEN: Duration = Duration::from_secs(30);
/// For how long a router may read nothing of what waits to be written, or for twice the hold time if that is longer (RFC 9687
/// section 6). It may have forgotten the routes or keep them for ever: its own signs of life prove neither.
pub(super) const SEND_HOLD: Duration = Duration::from_mins(8);
/// All routes are told once more no sooner than that after the last time. A router that asks again meanwhile is answered then.
pub(super) const REFRESH: Duration = Duration::from_secs(1);
/// For how long routes that are about to go are still there, so that others can be found (RFC 8326).
pub(super) const LEAVING: Duration = Duration::from_secs(2);
/// And how long a peer may take to read that they are gone.
pub(super) const WITHDRAWING: Duration = Duration::from_secs(1);

impl Session {
    /// RFC 4271 section 8.2.2. Nobody listens, so there are no collisions, and Active only waits.
    #[expect(clippy::match_same_arms, reason = "one event after the other, as the RFC has them")]
    pub(super) fn step(&mut self, event: Event, now: Instant) {
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
    pub(super) fn block(&mut self, now: Instant) {
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
    pub(super) fn stop(&mut self, farewell: Farewell) {
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

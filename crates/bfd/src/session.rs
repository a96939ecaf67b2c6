//! One session with one router (RFC 5880 section 6).

mod machine;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::num::{NonZeroU8, NonZeroU32};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use timers::Timers;

use crate::config::{Config, Hops, Interval, Role};
use crate::echo::{self, Echo};
use crate::packet::{self, Diagnostic, Packet, State};
use machine::{Event, Step, next};
pub use snapshot::{InvalidSnapshot, Snapshot};

/// At most one packet in this time as long as a session is not up (RFC 5880 section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// A session.
///
/// Tell it what happens by [`Session::handle`], at the latest when [`Session::poll_timeout`] says so, and then do what
/// [`Session::poll_output`] returns until it returns `None`. `now` never goes back. Hand in what has arrived before the
/// time: what was received cannot have been missed, however late it is read.
///
/// Until a session is up it sends once a second, whatever is configured. Intervals that change while it is up are told by
/// a Poll Sequence: packets with the Poll bit, until one comes with the Final bit.
///
/// That there is to be no session is said as often as the peer was spoken to before, for as long as the peer waits for a packet:
/// one that is lost would have it take the path for broken. RFC 5880 section 6.8.3 has the intervals of a session that is not up
/// be a second and more, for sessions that stay like that.
#[derive(Debug)]
pub struct Session {
    config: Config,
    discriminator: NonZeroU32,
    state: State,
    diagnostic: Diagnostic,
    peer: Peer,
    /// Whether a Poll Sequence goes on.
    polling: bool,
    /// By these, and not by what is told to the peer, an end works until the peer knows (RFC 5880 section 6.8.3).
    in_force: InForce,
    heard: Option<Instant>,
    sent: Option<Instant>,
    /// The interval that the timer for control packets was set by.
    pace: Option<Duration>,
    /// The same for echo packets.
    echo_pace: Option<Duration>,
    /// The interval by which the peer of a session that was up is told that there is to be none.
    farewell: Option<Duration>,
    echo_token: u64,
    echo_sequence: u32,
    timers: Timers<Timer>,
    outputs: VecDeque<Output>,
    counters: Counters,
    random: SmallRng,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// This has arrived for the session.
    Received {
        /// What it says.
        packet: Packet,
        /// The TTL or hop limit that it had left.
        ttl: u8,
    },
    /// This has arrived on the echo port.
    EchoReturned(&'a [u8]),
    /// The way to the peer is known to be cut.
    PathDown,
    /// There is to be no session: say so.
    Disable,
    /// There is to be one again.
    Enable,
    /// It is to be like this. Other hops want another session.
    Configure(Config),
    /// Time has passed.
    Time,
}

/// What is to be done, in the order in which it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to the port of control packets.
    Send([u8; packet::LENGTH]),
    /// Send this to the peer's hardware address on the echo port, addressed to this end.
    SendEcho([u8; echo::LENGTH]),
    /// The state is another one.
    Changed(Transition),
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state now.
    pub to: State,
    /// Why, if it is down.
    pub diagnostic: Diagnostic,
    /// What the peer has said that its state is, where that is the reason.
    pub peer: Option<State>,
}

impl Transition {
    /// Whether packets no longer get through that did: who relies on the path has to act (RFC 5882 section 3.2). A session
    /// that either end has switched off tells nothing of the path (RFC 5882 section 4.2).
    pub fn is_failure(&self) -> bool {
        self.from == State::Up && self.to == State::Down && self.peer != Some(State::AdminDown)
    }
}

/// What has happened so often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control packets sent.
    pub sent: u64,
    /// Control packets taken.
    pub received: u64,
    /// Control packets that came from farther away than the peer is.
    pub ttl_too_small: u64,
    /// Echo packets sent.
    pub echo_sent: u64,
    /// Echo packets that came back.
    pub echo_received: u64,
    /// What came on the echo port and was none of them.
    pub echo_foreign: u64,
    /// How often it came up.
    pub up: u64,
    /// How often it was up and went down.
    pub down: u64,
}

/// What the peer has said last.
#[derive(Debug, Clone, Copy)]
struct Peer {
    discriminator: Option<NonZeroU32>,
    multiplier: NonZeroU8,
    desired_transmit: Duration,
    required_receive: Duration,
    required_echo: Duration,
}

#[derive(Debug, Clone, Copy)]
struct InForce {
    transmit: Duration,
    receive: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The next control packet is due.
    Transmit,
    /// The peer was not heard for too long.
    Detection,
    /// The next echo packet is due.
    Echo,
    /// No echo packet came back for too long.
    EchoDetection,
    /// The peer has had time to hear that there is to be no session.
    Farewell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Poll bit in it where a Poll Sequence goes on.
    Plain,
    /// The answer to a Poll bit.
    Final,
}

impl Peer {
    /// One of whom nothing is known (RFC 5880 section 6.8.1).
    const UNKNOWN: Self = Self {
        discriminator: None,
        multiplier: NonZeroU8::MIN,
        desired_transmit: SLOW,
        required_receive: Duration::from_micros(1),
        required_echo: Duration::ZERO,
    };
}

impl Session {
    /// A session that is down. `discriminator` is no other session's of this end; `seed` makes its jitter, and has to be
    /// one that nobody can guess.
    pub fn new(config: Config, discriminator: NonZeroU32, seed: u64, now: Instant) -> Self {
        let mut session = Self::silent(config, discriminator, seed);
        session.in_force.transmit = session.desired_transmit();
        session.follow_pace(now);
        session
    }

    /// One that is down, and has nothing to say yet.
    fn silent(config: Config, discriminator: NonZeroU32, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            config,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            peer: Peer::UNKNOWN,
            polling: false,
            in_force: InForce { transmit: SLOW, receive: config.receive.duration() },
            heard: None,
            sent: None,
            pace: None,
            echo_pace: None,
            farewell: None,
            echo_token: random.random(),
            echo_sequence: 0,
            timers: Timers::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            random,
        }
    }

    /// The session as another process can go on with it at once. `None` unless it is up.
    pub fn snapshot(&self) -> Option<Snapshot> {
        Snapshot::of(self)
    }

    /// Goes on with the session of another process, which is up. The peer has as long to be heard as if it had been heard now.
    /// `seed` as for [`Self::new`].
    pub fn resume(snapshot: Snapshot, seed: u64, now: Instant) -> Result<Self, InvalidSnapshot> {
        snapshot.resume(seed, now)
    }

    /// What its packets are told from those of others by.
    pub fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// How far the peer is.
    pub fn hops(&self) -> Hops {
        self.config.hops
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it was last down.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// What has happened so often.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// After how long without a packet the peer is held to be gone (RFC 5880 section 6.8.4).
    pub fn detection_time(&self) -> Duration {
        let interval = self.in_force.receive.max(self.peer.desired_transmit);
        interval * u32::from(self.peer.multiplier.get())
    }

    /// Whether the peer of a session that was up is being told that there is to be none.
    pub fn is_leaving(&self) -> bool {
        self.farewell.is_some() && self.timers.contains(&Timer::Farewell)
    }

    /// Takes in what happens.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Received { packet, ttl } => self.receive(&packet, ttl, now),
            Input::EchoReturned(bytes) => self.echo_returned(bytes, now),
            Input::PathDown => self.step(Event::PathDown, now),
            Input::Disable => self.step(Event::Disable, now),
            Input::Enable => self.step(Event::Enable, now),
            Input::Configure(config) => self.configure(config, now),
            Input::Time => {
                while let Some(timer) = self.timers.pop(now) {
                    self.on_timer(timer, now);
                    // What is due at once because of that is done at once.
                    self.follow_pace(now);
                    self.follow_echo_pace(now);
                }
            }
        }
        self.follow_pace(now);
        self.follow_echo_pace(now);
    }

    /// When to tell it the time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// RFC 5880 section 6.8.6, as far as it is not in [`Packet::parse`].
    fn receive(&mut self, packet: &Packet, ttl: u8, now: Instant) {
        if ttl < self.config.hops.least_ttl() {
            self.counters.ttl_too_small += 1;
            return;
        }
        self.counters.received += 1;
        self.peer = Peer {
            discriminator: Some(packet.mine),
            multiplier: packet.multiplier,
            desired_transmit: packet.desired_transmit,
            required_receive: packet.required_receive,
            required_echo: packet.required_echo,
        };
        if packet.r#final && self.polling {
            self.polling = false;
            self.in_force =
                InForce { transmit: self.desired_transmit(), receive: self.config.receive.duration() };
        }
        if self.state == State::AdminDown {
            return;
        }
        self.heard = Some(now);
        self.step(Event::Received(packet.state), now);
        self.expect_packet();
        if packet.poll {
            self.send(Kind::Final);
        }
    }

    fn echo_returned(&mut self, bytes: &[u8], now: Instant) {
        let ours = Echo::parse(bytes)
            .is_some_and(|echo| echo.discriminator == self.discriminator && echo.token == self.echo_token);
        if !ours {
            self.counters.echo_foreign += 1;
            return;
        }
        self.counters.echo_received += 1;
        if let Some(pace) = self.echo_pace {
            self.timers.set(Timer::EchoDetection, now + self.losses(pace));
        }
    }

    /// RFC 5880 section 6.8.3: who sends more seldom, or expects more often, does so when the peer knows.
    fn configure(&mut self, config: Config, now: Instant) {
        if config == self.config {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        let told = InForce { transmit: self.desired_transmit(), receive: config.receive.duration() };
        if self.state == State::Up {
            self.polling |= before.transmit != config.transmit || before.receive != config.receive;
            self.in_force.transmit = self.in_force.transmit.min(told.transmit);
            self.in_force.receive = self.in_force.receive.max(told.receive);
        } else {
            self.in_force = told;
        }
        self.expect_packet();
        self.tell(now);
    }

    fn on_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Transmit => self.tell(now),
            Timer::Detection => {
                // The peer may still hear us: it is told which of its sessions is down before that is forgotten.
                self.step(Event::Expired, now);
                self.peer = Peer::UNKNOWN;
                self.heard = None;
            }
            Timer::Echo => {
                if let Some(pace) = self.echo_pace {
                    self.send_echo();
                    let at = now + self.jittered(pace);
                    self.timers.set(Timer::Echo, at);
                }
            }
            Timer::EchoDetection => self.step(Event::EchoFailed, now),
            Timer::Farewell => {}
        }
    }

    fn step(&mut self, event: Event, now: Instant) {
        let (to, diagnostic) = match next(self.state, event) {
            Step::Stay => return,
            Step::Fail(diagnostic) => (State::Down, diagnostic),
            Step::To(State::AdminDown) => (State::AdminDown, Diagnostic::ADMIN_DOWN),
            Step::To(State::Init) => (State::Init, self.diagnostic),
            Step::To(to @ (State::Down | State::Up)) => (to, Diagnostic::NONE),
        };
        let peer = match event {
            Event::Received(state) => Some(state),
            Event::Expired | Event::EchoFailed | Event::PathDown | Event::Disable | Event::Enable => None,
        };
        let from = std::mem::replace(&mut self.state, to);
        let spoken = (from == State::Up && !self.peer.required_receive.is_zero())
            .then(|| self.in_force.transmit.max(self.peer.required_receive));
        self.farewell = spoken.filter(|_| to == State::AdminDown);
        self.diagnostic = diagnostic;
        self.counters.up += u64::from(to == State::Up);
        self.counters.down += u64::from(from == State::Up);
        self.outputs.push_back(Output::Changed(Transition { from, to, diagnostic, peer }));
        // Up: faster at once, which the peer has to learn. Else: slow again, which it knows.
        self.polling = to == State::Up;
        self.in_force =
            InForce { transmit: self.desired_transmit(), receive: self.config.receive.duration() };
        self.timers.cancel(&Timer::Farewell);
        if to == State::AdminDown {
            self.timers.cancel(&Timer::Detection);
            self.heard = None;
            let pace = self.farewell.unwrap_or(self.in_force.transmit.max(self.peer.required_receive));
            let peer_detects = self.losses(pace);
            self.timers.set(Timer::Farewell, now + peer_detects);
        }
        self.tell(now);
    }

    /// Sends a packet, if there may be one, and counts the time to the next from here.
    fn tell(&mut self, now: Instant) {
        if !self.may_send() {
            return;
        }
        self.send(Kind::Plain);
        self.sent = Some(now);
        self.pace = None;
        self.follow_pace(now);
    }

    fn send(&mut self, kind: Kind) {
        let packet = Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && kind == Kind::Plain,
            r#final: kind == Kind::Final,
            control_plane_independent: false,
            demand: false,
            multiplier: self.config.multiplier,
            mine: self.discriminator,
            yours: self.peer.discriminator,
            desired_transmit: self.desired_transmit(),
            required_receive: self.config.receive.duration(),
            required_echo: self.config.echo().map_or(Duration::ZERO, Interval::duration),
        };
        self.counters.sent += 1;
        self.outputs.push_back(Output::Send(packet.emit()));
    }

    fn send_echo(&mut self) {
        self.echo_sequence = self.echo_sequence.wrapping_add(1);
        let echo =
            Echo { discriminator: self.discriminator, sequence: self.echo_sequence, token: self.echo_token };
        self.counters.echo_sent += 1;
        self.outputs.push_back(Output::SendEcho(echo.emit()));
    }

    /// Whether this end has anything to say (RFC 5880 sections 6.8.7 and 6.8.16).
    fn may_send(&self) -> bool {
        let spoken_to = self.config.role == Role::Active || self.peer.discriminator.is_some();
        spoken_to && (self.state != State::AdminDown || self.timers.contains(&Timer::Farewell))
    }

    /// Sets the timer for control packets anew where the interval is another one (RFC 5880 section 6.8.2).
    fn follow_pace(&mut self, now: Instant) {
        let wanted = (self.may_send() && !self.peer.required_receive.is_zero())
            .then(|| self.farewell.unwrap_or(self.in_force.transmit.max(self.peer.required_receive)));
        if wanted == self.pace {
            return;
        }
        self.pace = wanted;
        let Some(pace) = wanted else { return self.timers.cancel(&Timer::Transmit) };
        let jittered = self.jittered(pace);
        let at = self.sent.map_or(now, |sent| (sent + jittered).max(now));
        self.timers.set(Timer::Transmit, at);
    }

    /// Begins and ends echo packets (RFC 5880 section 6.8.9).
    fn follow_echo_pace(&mut self, now: Instant) {
        let takes = self.state == State::Up && !self.peer.required_echo.is_zero();
        let echo = self.config.echo().filter(|_| takes);
        let wanted = echo.map(|echo| echo.duration().max(self.peer.required_echo));
        if wanted == self.echo_pace {
            return;
        }
        self.echo_pace = wanted;
        match wanted {
            None => {
                self.timers.cancel(&Timer::Echo);
                self.timers.cancel(&Timer::EchoDetection);
            }
            Some(pace) => {
                self.timers.set(Timer::Echo, now);
                self.timers.set(Timer::EchoDetection, now + self.losses(pace));
            }
        }
    }

    fn expect_packet(&mut self) {
        if let Some(heard) = self.heard {
            self.timers.set(Timer::Detection, heard + self.detection_time());
        }
    }

    fn desired_transmit(&self) -> Duration {
        let configured = self.config.transmit.duration();
        if self.state == State::Up { configured } else { configured.max(SLOW) }
    }

    /// As long as it takes to lose as many packets as this end allows.
    fn losses(&self, interval: Duration) -> Duration {
        interval * u32::from(self.config.multiplier.get())
    }

    /// Earlier by up to a quarter, so that sessions do not fall into step. Where no packet may be lost, at least by a
    /// tenth, so that none is late (RFC 5880 section 6.8.7).
    fn jittered(&mut self, interval: Duration) -> Duration {
        let most = if self.config.multiplier == NonZeroU8::MIN { 0.90 } else { 1.0 };
        interval.mul_f64(self.random.random_range(0.75..=most))
    }
}

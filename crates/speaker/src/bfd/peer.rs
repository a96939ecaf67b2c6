//! One session, and the socket that it sends from.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Instant;

use bfd::config::{Config, Hops};
use bfd::demux::Path;
use bfd::frame::{Loop, Mac};
use bfd::packet::{Diagnostic, State};
use bfd::session::{Counters, Input, Output, Session, Transition};
use objects::Family;
use tracing::{debug, info, warn};

use super::driver::{Paths, path};
use super::filter::Expected;
use super::handover::{Before, SessionForm};
use super::listener::{Door, Listeners};
use super::route::{Interfaces, index};
use super::sender::{Sender, local_address};
use super::tap::{Place, Taps};
use super::{Distance, Status, Wanted, Way};

/// A peer.
pub(super) struct Peer {
    way: Way,
    wanted: Wanted,
    is_wanted: bool,
    /// Once it is known where packets leave.
    link: Option<Link>,
    failures: u64,
    /// How many packets could not be sent.
    unsent: u64,
    /// The port that its packets arrive at, where that cannot be had.
    refused_port: Option<u16>,
    /// Whether it was said that it is not known where packets leave.
    warned: bool,
    /// Whether something about it was not told yet.
    is_new: bool,
}

struct Link {
    session: Session,
    sender: Sender,
    discriminator: NonZeroU32,
    hops: Hops,
    path: Path,
    echo: Option<EchoPath>,
}

/// The way of echo packets.
#[derive(Debug, Clone, Copy)]
struct EchoPath {
    place: Place,
    own: Mac,
    /// Once the peer was heard.
    peer: Option<Mac>,
}

impl Peer {
    pub(super) fn new(way: Way, wanted: Wanted) -> Self {
        let (link, refused_port) = (None, None);
        Self {
            way,
            wanted,
            is_wanted: true,
            link,
            failures: 0,
            unsent: 0,
            refused_port,
            warned: false,
            is_new: true,
        }
    }

    /// Goes on with a session of another process. Where its peer cannot be found any more, it begins anew.
    pub(super) fn resume(
        &mut self,
        Before { session, sender }: Before,
        interfaces: &Interfaces,
        paths: &mut Paths,
        taps: &mut Taps,
        now: Instant,
    ) {
        let Self { way, wanted, .. } = self;
        let Ok(session) = Session::resume(session, rand::random(), now) else { return };
        let (hops, local, discriminator) = (session.hops(), sender.local(), session.discriminator());
        let interface = match &way.interface {
            Some(name) => index(name.as_str()),
            None => interfaces.towards(way.peer, local),
        };
        let path = path(hops, way.peer, local, interface);
        if paths.claim(path, way, discriminator) != Some(discriminator) {
            return warn!(peer = %way, "a BFD session of the speaker before begins anew");
        }
        let echo = interface.filter(|_| hops == Hops::One && wanted.profile.echo.is_some());
        let echo = echo.and_then(|interface| open_tap(taps, way, interface));
        info!(peer = %way, %local, "BFD session goes on from the speaker before");
        self.link = Some(Link { session, sender, discriminator, hops, path, echo });
        self.is_new = true;
    }

    /// The session and its socket for another process, where it is up.
    pub(super) fn handed_over(&self) -> Option<(SessionForm, OwnedFd)> {
        let Link { session, sender, .. } = self.link.as_ref().filter(|_| self.is_wanted)?;
        let form = SessionForm::of(&self.way, session.snapshot()?);
        Some((form, sender.handed_over().ok()?))
    }

    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    pub(super) fn counters(&self) -> Counters {
        self.link.as_ref().map(|link| *link.session.counters()).unwrap_or_default()
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    pub(super) fn discriminator(&self) -> Option<NonZeroU32> {
        self.link.as_ref().map(|link| link.discriminator)
    }

    /// Whether it is being told that there is to be no session that was up.
    pub(super) fn is_leaving(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.session.is_leaving())
    }

    /// How its packets that arrive at a door can be told from others, if any do.
    pub(super) fn expected(&self, door: &Door) -> Option<Expected> {
        let Link { session, discriminator, hops, .. } = self.link.as_ref()?;
        let is_up = session.state() == State::Up;
        let is_here =
            *door == Door::of(*hops, &self.way) || (self.takes_echo() && *door == Door::of_echo(&self.way));
        // What comes from too far away is counted, and may be a setting: it does no harm until there is something to lose.
        let is_checked = is_up || *hops == Hops::One;
        let least_ttl = if is_checked { hops.least_ttl() } else { 0 };
        let (peer, discriminator) = (self.way.peer, *discriminator);
        is_here.then_some(Expected { peer, least_ttl, discriminator, knows_discriminator: is_up })
    }

    /// Where its packets arrive.
    pub(super) fn doors(&self) -> impl Iterator<Item = Door> {
        self.door().into_iter().chain(self.place().map(|_| Door::of_echo(&self.way)))
    }

    /// Where its control packets arrive.
    fn door(&self) -> Option<Door> {
        self.link.as_ref().map(|link| Door::of(link.hops, &self.way))
    }

    /// Takes in whether its control packets can arrive.
    pub(super) fn follow(&mut self, listeners: &Listeners) {
        let refused_port = self.door().filter(|door| listeners.refuse(door)).map(|door| door.port);
        self.is_new |= refused_port != self.refused_port;
        self.refused_port = refused_port;
    }

    /// Whether echo packets that it sends to this end are sent back.
    pub(super) fn takes_echo(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.echo.is_some() && link.session.state() == State::Up)
    }

    /// Where its echo packets go and come.
    pub(super) fn place(&self) -> Option<Place> {
        Some(self.link.as_ref()?.echo.as_ref()?.place)
    }

    /// The peer has this hardware address.
    pub(super) fn learn(&mut self, mac: Mac) {
        if let Some(echo) = self.link.as_mut().and_then(|link| link.echo.as_mut()) {
            echo.peer = Some(mac);
        }
    }

    /// Whether a packet that has this TTL left is from farther away than the peer.
    pub(super) fn is_too_far(&self, ttl: u8) -> bool {
        self.link.as_ref().is_some_and(|link| ttl < link.hops.least_ttl())
    }

    pub(super) fn status(&self) -> Status {
        let (state, diagnostic, local) = match &self.link {
            Some(Link { session, sender, .. }) => {
                (session.state(), session.diagnostic(), Some(sender.local()))
            }
            None => (State::Down, Diagnostic::NONE, None),
        };
        let Self { failures, refused_port, .. } = *self;
        Status { state, diagnostic, local, refused_port, failures }
    }

    /// The session is to be like this, also where it was about to end.
    pub(super) fn want(&mut self, wanted: Wanted, now: Instant) {
        self.wanted = wanted;
        self.is_wanted = true;
        if let Some(Link { session, hops, echo, .. }) = &mut self.link {
            let config = match hops {
                Hops::One => wanted.profile.over_one_hop(),
                Hops::Many { .. } => wanted.profile.over_many_hops(),
            };
            let config = Config { echo: config.echo.filter(|_| echo.is_some()), ..config };
            *hops = config.hops;
            session.handle(Input::Enable, now);
            session.handle(Input::Configure(config), now);
        }
    }

    /// The peer is told that there is to be no session.
    pub(super) fn end(&mut self, now: Instant) {
        self.is_wanted = false;
        self.handle(Input::Disable, now);
    }

    /// Whether it was told that for long enough.
    pub(super) fn has_ended(&self) -> bool {
        !self.is_wanted && self.poll_timeout().is_none()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.link.as_ref().and_then(|link| link.session.poll_timeout())
    }

    pub(super) fn handle(&mut self, input: Input<'_>, now: Instant) {
        if let Some(link) = &mut self.link {
            link.session.handle(input, now);
        }
    }

    /// Whether where it is may have changed.
    pub(super) fn is_lost(&self) -> bool {
        let lacks_echo =
            |link: &Link| link.hops == Hops::One && link.echo.is_none() && self.wanted.profile.echo.is_some();
        let is_lost = |link: &Link| link.session.state() == State::Down || lacks_echo(link);
        self.is_wanted && self.link.as_ref().is_none_or(is_lost)
    }

    /// Finds out how to reach the peer.
    pub(super) fn locate(
        &mut self,
        interfaces: &Interfaces,
        paths: &mut Paths,
        taps: &mut Taps,
        now: Instant,
    ) {
        match self.try_to_locate(interfaces, paths, taps, now) {
            Ok(()) => self.warned = false,
            Err(problem) if self.warned => debug!(peer = %self.way, problem, "no BFD session"),
            Err(problem) => {
                warn!(peer = %self.way, problem, "no BFD session, which is tried again");
                self.warned = true;
            }
        }
    }

    fn try_to_locate(
        &mut self,
        interfaces: &Interfaces,
        paths: &mut Paths,
        taps: &mut Taps,
        now: Instant,
    ) -> Result<(), String> {
        let Self { way, wanted, link, .. } = self;
        let local = local_address(way).map_err(|error| format!("there is no way to it: {error}"))?;
        let config = match wanted.distance {
            Distance::OneHop => wanted.profile.over_one_hop(),
            Distance::ByAddress if interfaces.are_in_one_network_with(way.peer) => {
                wanted.profile.over_one_hop()
            }
            Distance::ManyHops | Distance::ByAddress => wanted.profile.over_many_hops(),
        };
        let interface = match &way.interface {
            Some(name) => Some(index(name.as_str()).ok_or_else(|| format!("there is no interface {name}"))?),
            None => interfaces.towards(way.peer, local),
        };
        let path = path(config.hops, way.peer, local, interface);
        let echo = interface.filter(|_| config.hops == Hops::One && config.echo.is_some());
        let echo = echo.and_then(|interface| open_tap(taps, way, interface));
        let config = Config { echo: config.echo.filter(|_| echo.is_some()), ..config };
        if let Some(link) = link {
            let same =
                link.path == path && link.hops.port() == config.hops.port() && link.sender.local() == local;
            if same {
                link.hops = config.hops;
                link.echo = link.echo.filter(|_| echo.is_some()).or(echo);
                link.session.handle(Input::Configure(config), now);
            }
            if same || link.session.state() != State::Down {
                return Ok(());
            }
        }
        let (wanted, session) = match link.take() {
            Some(Link { discriminator, session, hops, .. }) => {
                paths.give_up(discriminator);
                (discriminator, Some(session).filter(|_| hops.port() == config.hops.port()))
            }
            None => (rand::random(), None),
        };
        let discriminator = paths
            .claim(path, way, wanted)
            .ok_or("another session goes the same way, from the same address")?;
        let sender = match Sender::open(way, config.hops.port()) {
            Ok(sender) => sender,
            Err(error) => {
                paths.give_up(discriminator);
                return Err(format!("it cannot be sent anything: {error}"));
            }
        };
        debug!(peer = %way, %local, port = config.hops.port(), "BFD session begins");
        let mut session = session.unwrap_or_else(|| Session::new(config, discriminator, rand::random(), now));
        session.handle(Input::Configure(config), now);
        *link = Some(Link { session, sender, discriminator, hops: config.hops, path, echo });
        self.is_new = true;
        Ok(())
    }

    /// Does what the session wants done. True: something has changed, and is told by this.
    pub(super) fn carry_out(&mut self, taps: &Taps) -> bool {
        let mut is_new = std::mem::take(&mut self.is_new);
        let Self { way, link: Some(Link { session, sender, echo, .. }), failures, unsent, .. } = self else {
            return is_new;
        };
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(packet) => {
                    if let Err(error) = sender.send(&packet) {
                        *unsent += 1;
                        debug!(peer = %way, %error, "BFD packet not sent");
                    }
                }
                Output::SendEcho(packet) => {
                    let sent = send_echo(taps, echo.as_ref(), sender, &packet);
                    *unsent += u64::from(sent.is_none());
                }
                Output::Changed(transition) => {
                    is_new = true;
                    *failures += u64::from(transition.is_failure());
                    log(way, sender.local(), transition);
                }
            }
        }
        is_new
    }
}

/// Without the right to, a session goes without echo packets.
fn open_tap(taps: &mut Taps, way: &Way, interface: NonZeroU32) -> Option<EchoPath> {
    let family = if way.peer.is_ipv4() { Family::V4 } else { Family::V6 };
    let place = Place { interface, family };
    match taps.open(place) {
        Ok(own) => Some(EchoPath { place, own, peer: None }),
        Err(error) => {
            debug!(peer = %way, %error, "no echo packets of BFD");
            None
        }
    }
}

fn send_echo(
    taps: &Taps,
    path: Option<&EchoPath>,
    sender: &Sender,
    packet: &[u8; bfd::echo::LENGTH],
) -> Option<()> {
    let EchoPath { place, own, peer } = *path?;
    let frame = Loop { own, peer: peer?, address: sender.local(), port: sender.port() }.emit(packet);
    taps.send(place, &frame).ok()
}

fn log(peer: &Way, local: IpAddr, transition: Transition) {
    let Transition { from, to, diagnostic, peer: _ } = transition;
    if to == State::Up {
        info!(%peer, %local, "BFD session up");
    } else if transition.is_failure() {
        warn!(%peer, %local, reason = %diagnostic, "BFD session down");
    } else if from == State::Up {
        info!(%peer, %local, "BFD session switched off");
    } else {
        debug!(%peer, %local, ?from, ?to, "BFD session");
    }
}

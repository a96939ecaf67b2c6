//! The thread: waits for packets and for what is due, and tells the sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bfd::config::{ECHO_PORT, Hops, SENT_TTL};
use bfd::demux::{Demux, Path};
use bfd::echo::Echo;
use bfd::frame::Heard;
use bfd::packet::Packet;
use bfd::session::Input;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::{oneshot, watch};
use tracing::{debug, trace};

use super::handover::{Before, Incoming, Outgoing};
use super::listener::{Datagram, Door, Fate, Kind, Listeners};
use super::metrics::{BfdMetrics, Discarded};
use super::peer::Peer;
use super::route::Interfaces;
use super::tap::Taps;
use super::{Ending, Order, Statuses, Wanted, Way};
use crate::kernel;

/// The shortest turn that can be asked for.
const SLICE: Duration = Duration::from_micros(100);
/// How often to look whether ports, addresses and interfaces that were missing are there, and to bring metrics up to date.
const LOOK: Duration = Duration::from_secs(1);
/// No peer is told for longer that there are to be no sessions.
const FAREWELL: Duration = Duration::from_secs(1);
/// So long to wait where the kernel refuses to, for want of memory.
const RETRY: Duration = Duration::from_millis(10);

/// What the thread has.
pub(super) struct Driver {
    orders: watch::Receiver<Order>,
    wake: Arc<EventFd>,
    statuses: watch::Sender<Statuses>,
    metrics: BfdMetrics,
    listeners: Listeners,
    taps: Taps,
    paths: Paths,
    peers: BTreeMap<Way, Peer>,
    look_at: Instant,
    /// When the thread ends at the latest, once it is to end.
    ends_at: Option<Instant>,
    /// Sessions of another process that are to go on here.
    taken_over: BTreeMap<Way, Before>,
    /// Asks for all sessions, for another process to go on with.
    questions: Receiver<oneshot::Sender<Outgoing>>,
}

/// Whether the thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    GoesOn,
    Ends,
}

impl Driver {
    pub(super) fn new(
        orders: watch::Receiver<Order>,
        wake: Arc<EventFd>,
        statuses: watch::Sender<Statuses>,
        metrics: BfdMetrics,
        Incoming { sessions: taken_over, listeners }: Incoming,
        questions: Receiver<oneshot::Sender<Outgoing>>,
    ) -> Self {
        Self {
            orders,
            wake,
            statuses,
            metrics,
            listeners: Listeners::resume(listeners),
            taps: Taps::default(),
            paths: Paths::default(),
            peers: BTreeMap::new(),
            look_at: Instant::now(),
            ends_at: None,
            taken_over,
            questions,
        }
    }

    /// Until it is told to end, or nobody is there any more who could.
    pub(super) fn run(mut self) {
        if let Err(error) = kernel::set_slice(SLICE) {
            debug!(%error, "BFD waits its turn on a processor as others do");
        }
        self.orders.mark_changed();
        loop {
            // Everything that has arrived until now is read before anybody is held to be silent until now.
            let now = Instant::now();
            self.receive(now);
            if self.obey(now) == Flow::Ends {
                break;
            }
            while let Ok(asked) = self.questions.try_recv() {
                let sessions = self.peers.values().filter_map(Peer::handed_over).collect();
                _ = asked.send(Outgoing { sessions, listeners: self.listeners.handed_over() });
            }
            if self.look_at <= now {
                self.look(now);
            }
            for peer in self.peers.values_mut() {
                if peer.poll_timeout().is_some_and(|at| at <= now) {
                    peer.handle(Input::Time, now);
                }
            }
            self.tell();
            if self.ends_at.is_some_and(|at| at <= now || !self.peers.values().any(Peer::is_leaving)) {
                break;
            }
            self.guard();
            self.wait();
        }
        self.tell();
        self.peers.values().for_each(|peer| self.metrics.forget(peer));
        self.statuses.send_replace(Statuses::new());
    }

    fn wait(&self) {
        let due = self.peers.values().filter_map(Peer::poll_timeout).chain(self.ends_at);
        let due = due.chain([self.look_at]).min();
        let pause = due.map(|at| TimeSpec::from(at.saturating_duration_since(Instant::now())));
        let sockets = self.listeners.iter().map(AsFd::as_fd).chain(self.taps.iter().map(AsFd::as_fd));
        let mut sources: Vec<_> =
            sockets.chain([self.wake.as_fd()]).map(|it| PollFd::new(it, PollFlags::POLLIN)).collect();
        match ppoll(&mut sources, pause, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                debug!(%error, "BFD cannot wait for packets");
                std::thread::sleep(RETRY);
            }
        }
    }

    fn receive(&mut self, now: Instant) {
        let Self { listeners, taps, paths, peers, metrics, .. } = self;
        taps.receive(|place, heard| {
            let Heard { mac, from, to, port, ttl, payload } = heard;
            if port == ECHO_PORT {
                let way = Echo::parse(payload).and_then(|echo| paths.ways.get(&echo.discriminator));
                if let Some(peer) = way.and_then(|way| peers.get_mut(way)).filter(|_| from == to) {
                    peer.handle(Input::EchoReturned(payload), now);
                }
            } else if ttl == SENT_TTL {
                // Its control packets tell the hardware address of a peer. They arrive by the listener as well.
                let datagram = Datagram { bytes: payload, from, to, interface: place.interface.get(), ttl };
                let found = paths.find(Hops::One, &datagram).ok();
                if let Some(peer) = found.and_then(|(way, _)| peers.get_mut(way)) {
                    peer.learn(mac);
                }
            }
        });
        listeners.receive(|kind, datagram| {
            let ttl = datagram.ttl;
            let hops = match kind {
                Kind::Control(hops) => hops,
                Kind::Echo => {
                    let peer = paths.near(&datagram).and_then(|way| peers.get(way));
                    let is_due = ttl == SENT_TTL && peer.is_some_and(Peer::takes_echo);
                    return if is_due { Fate::SentBack } else { Fate::Taken };
                }
            };
            let found = paths.find(hops, &datagram).and_then(|(way, packet)| {
                let peer = peers.get_mut(way).ok_or(Discarded::Stranger)?;
                if peer.is_too_far(ttl) { Err(Discarded::Ttl) } else { Ok((peer, packet)) }
            });
            match found {
                Ok((peer, packet)) => peer.handle(Input::Received { packet, ttl }, now),
                Err(why) => {
                    trace!(from = %datagram.from, why = why.label(), "BFD packet discarded");
                    metrics.discarded(why);
                }
            }
            Fate::Taken
        });
    }

    fn obey(&mut self, now: Instant) -> Flow {
        // It only says that there may be something to read.
        _ = self.wake.read();
        match self.orders.has_changed() {
            Ok(false) => return Flow::GoesOn,
            Ok(true) => {}
            Err(_) => return Flow::Ends,
        }
        let order = self.orders.borrow_and_update().clone();
        match order {
            Order::Sessions(sessions) => self.follow(sessions, now),
            Order::End(Ending::Silent) => return Flow::Ends,
            Order::End(Ending::AdminDown) => {
                self.peers.values_mut().for_each(|peer| peer.end(now));
                self.ends_at = Some(now + FAREWELL);
            }
        }
        Flow::GoesOn
    }

    fn follow(&mut self, sessions: BTreeMap<Way, Wanted>, now: Instant) {
        for (way, peer) in &mut self.peers {
            if !sessions.contains_key(way) {
                peer.end(now);
            }
        }
        let mut taken_over = std::mem::take(&mut self.taken_over);
        let interfaces = (!taken_over.is_empty()).then(Interfaces::now);
        for (way, wanted) in sessions {
            let before = taken_over.remove(&way);
            let peer = self.peers.entry(way.clone()).or_insert_with(|| Peer::new(way, wanted));
            if let (Some(before), Some(interfaces)) = (before, &interfaces) {
                peer.resume(before, interfaces, &mut self.paths, &mut self.taps, now);
            }
            peer.want(wanted, now);
        }
        self.look_at = now;
    }

    /// What changes outside, or takes time to be over.
    fn look(&mut self, now: Instant) {
        self.look_at = now + LOOK;
        let Self { listeners, taps, paths, peers, metrics, .. } = self;
        peers.retain(|_, peer| {
            let stays = !peer.has_ended();
            if !stays {
                paths.release(peer);
                metrics.forget(peer);
            }
            stays
        });
        if peers.values().any(Peer::is_lost) {
            let interfaces = Interfaces::now();
            peers.values_mut().filter(|peer| peer.is_lost()).for_each(|peer| {
                peer.locate(&interfaces, paths, taps, now);
            });
        }
        taps.retain(&peers.values().filter_map(Peer::place).collect());
        listeners.open(peers.values().flat_map(Peer::doors).collect::<BTreeSet<Door>>());
        peers.values_mut().for_each(|peer| peer.follow(listeners));
        peers.values().for_each(|peer| metrics.show(peer));
        metrics.dropped_by_the_kernel(listeners.dropped());
        self.tell();
    }

    /// Has the kernel drop what is from nobody that is expected, before it takes room or time from what is.
    fn guard(&mut self) {
        self.listeners.expect(self.peers.values());
        self.taps.expect(self.peers.values());
    }

    fn tell(&mut self) {
        let mut changed = false;
        for peer in self.peers.values_mut() {
            if peer.carry_out(&self.taps) {
                changed = true;
                self.metrics.show(peer);
            }
        }
        if changed || self.statuses.borrow().len() != self.peers.len() {
            let statuses = self.peers.iter().map(|(way, peer)| (way.clone(), peer.status())).collect();
            kubekit::send_if_new(&self.statuses, statuses);
        }
    }
}

/// Which peer packets are from.
#[derive(Debug, Default)]
pub(super) struct Paths {
    demux: Demux,
    ways: BTreeMap<NonZeroU32, Way>,
}

impl Paths {
    /// The discriminator of the session on this path from now on, near `wanted`. `None`: there is another session on it.
    pub(super) fn claim(&mut self, path: Path, way: &Way, wanted: NonZeroU32) -> Option<NonZeroU32> {
        let discriminator = self.demux.add(path, wanted);
        let owner = self.ways.entry(discriminator).or_insert_with(|| way.clone());
        (owner == way).then_some(discriminator)
    }

    fn release(&mut self, peer: &Peer) {
        if let Some(discriminator) = peer.discriminator() {
            self.give_up(discriminator);
        }
    }

    /// There is no such session any more.
    pub(super) fn give_up(&mut self, discriminator: NonZeroU32) {
        self.demux.remove(discriminator);
        self.ways.remove(&discriminator);
    }

    /// Who is next door and has sent this.
    fn near(&self, datagram: &Datagram<'_>) -> Option<&Way> {
        let Datagram { from: peer, interface, .. } = *datagram;
        self.ways.get(&self.demux.at(&Path::One { peer, interface })?)
    }

    fn find(&self, hops: Hops, datagram: &Datagram<'_>) -> Result<(&Way, Packet), Discarded> {
        let packet = Packet::parse(datagram.bytes).map_err(Discarded::Malformed)?;
        let Datagram { from: peer, to: local, interface, .. } = *datagram;
        let discriminator = match hops {
            Hops::One => {
                let on = |interface| self.demux.find(&packet, &Path::One { peer, interface });
                on(interface).or_else(|| on(ANY_INTERFACE))
            }
            Hops::Many { .. } => self.demux.find(&packet, &Path::Many { peer, local }),
        };
        let way = discriminator.and_then(|it| self.ways.get(&it)).ok_or(Discarded::Stranger)?;
        Ok((way, packet))
    }
}

/// What stands for the interface of a peer that no network of this node has: its packets may come from each.
const ANY_INTERFACE: u32 = 0;

/// Where packets of a peer come from.
pub(super) fn path(hops: Hops, peer: IpAddr, local: IpAddr, interface: Option<NonZeroU32>) -> Path {
    match hops {
        Hops::One => Path::One { peer, interface: interface.map_or(ANY_INTERFACE, NonZeroU32::get) },
        Hops::Many { .. } => Path::Many { peer, local },
    }
}

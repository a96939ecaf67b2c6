//! One speaker: the core, the members and the ports, brought together as the shell does it, without sockets and tasks.
//! No decision is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer2::{Arp, Begin, Effect, MacAddr, Ndp, Port, Report, Stance, Voice};
use members::{Absence, Event, LinkState, Members, Reporter};
use objects::NodeName;
use placement::ExcludeLabel;
use speaker_core::announce::layer2::{Orders, Place, Ports, Station};
use speaker_core::{Config, Core, Gossip, Input as CoreInput, Link, Output as Decision, Unfit};

use crate::cluster::{Change, complete};

/// How often each address is announced while nothing changes.
const REFRESH: Duration = Duration::from_secs(30);
/// The only interface of a node.
const INTERFACE: &str = "eth0";

/// What reaches a speaker.
#[derive(Debug)]
pub(crate) enum Input {
    /// From a peer.
    Datagram(SocketAddr, Vec<u8>),
    /// From the LAN, and when it came.
    Frame(Vec<u8>, Instant),
    /// The other speakers, by the API server's list of Pods.
    Peers(BTreeMap<NodeName, SocketAddr>),
    /// What has changed in the cluster since the last time. The first time: everything.
    Changes(Vec<Change>),
    /// The interface.
    Link(LinkState),
    /// Somebody asked it to stop.
    Stop(Absence),
    /// Time has passed.
    Timer,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Output {
    Datagram(SocketAddr, Vec<u8>),
    Frame(Vec<u8>),
    /// What happened among the members.
    Gossip(Event),
    /// What happened on the LAN.
    Lan(Report),
    /// It is not needed any more.
    Departed,
}

/// Who a speaker is, and how it starts.
pub(crate) struct Start {
    pub(crate) members: members::Config,
    pub(crate) arp: Arp,
    pub(crate) ndp: Ndp,
    pub(crate) link: LinkState,
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Speaker {
    core: Core,
    members: Members,
    reporter: Reporter,
    arp: Arp,
    ndp: Ndp,
    seed: u64,
    ports: BTreeMap<Place, Running>,
    listed: bool,
    stopping: bool,
    outputs: Vec<Output>,
}

/// The port of a place.
#[derive(Debug)]
struct Running {
    port: Either,
    orders: Arc<Orders>,
    groups: BTreeSet<Ipv6Addr>,
    /// The addresses that the LAN is asked about first.
    probed: BTreeSet<IpAddr>,
}

#[derive(Debug)]
enum Either {
    Arp(Port<Arp>),
    Ndp(Port<Ndp>),
}

impl Speaker {
    pub(crate) fn new(start: Start, now: Instant) -> Self {
        let Start { members, arp, ndp, link, seed } = start;
        let mut wide = [0; 32];
        wide[..8].copy_from_slice(&seed.to_be_bytes());
        let config = Config {
            node: members.name.clone(),
            exclude_label: ExcludeLabel::Honoured,
            ignore_conflicts: false,
        };
        let mut speaker = Self {
            core: Core::new(config, now),
            members: Members::new(members, wide, now),
            reporter: Reporter::default(),
            arp,
            ndp,
            seed,
            ports: BTreeMap::new(),
            listed: false,
            stopping: false,
            outputs: Vec::new(),
        };
        speaker.link(link, now);
        speaker.follow(now);
        speaker
    }

    /// Takes something in; what comes of it.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            // What is refused is counted in the shell, no more.
            Input::Datagram(from, frame) => _ = self.members.handle(from, &frame, now),
            Input::Frame(frame, received) => {
                for running in self.ports.values_mut() {
                    running.port.handle(&frame, received, now);
                }
            }
            Input::Peers(peers) => self.core.handle(CoreInput::Peers(peers), now),
            Input::Changes(changes) => {
                changes.iter().for_each(|change| self.core.handle(change.input(), now));
                if !std::mem::replace(&mut self.listed, true) {
                    complete().into_iter().for_each(|input| self.core.handle(input, now));
                }
            }
            Input::Link(state) => self.link(state, now),
            Input::Stop(absence) => {
                self.stopping = true;
                self.core.handle(CoreInput::Stop, now);
                self.members.leave(absence, now);
            }
            Input::Timer => {}
        }
        if self.members.poll_timeout().is_some_and(|at| at <= now) {
            self.members.poll(now);
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle(CoreInput::Time, now);
        }
        self.follow(now);
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Self::handle`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ports = self.ports.values().filter_map(|running| running.port.poll_timeout());
        ports.chain(self.core.poll_timeout()).chain(self.members.poll_timeout()).min()
    }

    /// Whether who asks for `vip` is answered from here.
    pub(crate) fn answers(&self, vip: IpAddr) -> bool {
        self.ports.values().any(|running| running.answers(vip))
    }

    /// Whether it only answers for `vip`, since clients are still served by who had it before.
    pub(crate) fn stands_in(&self, vip: IpAddr) -> bool {
        let orders = self.ports.values().filter_map(|running| running.orders.vips.get(&vip));
        orders.into_iter().any(|order| order.begin == Begin::Answer)
    }

    /// Whether it has been asked to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether the interface lets a frame for `destination` in.
    pub(crate) fn receives(&self, destination: MacAddr) -> bool {
        destination == self.arp.mac
            || destination == MacAddr::BROADCAST
            || destination == MacAddr::of_group(layer2::ALL_NODES)
            || self
                .ports
                .values()
                .any(|running| running.groups.iter().any(|group| MacAddr::of_group(*group) == destination))
    }

    fn link(&mut self, state: LinkState, now: Instant) {
        let (arp, ndp) = match state {
            LinkState::Up => (Ok(self.arp), Ok(self.ndp)),
            LinkState::Down => (Err(Unfit::NoCarrier), Err(Unfit::NoCarrier)),
        };
        let link = Link { name: INTERFACE.into(), mac: Some(self.arp.mac), arp, ndp };
        let (links, gossip) = ([(1, link)].into(), Some(INTERFACE.into()));
        self.core.handle(CoreInput::Interfaces { links, gossip }, now);
    }

    /// Does what follows, until nothing follows any more.
    fn follow(&mut self, now: Instant) {
        loop {
            if let Some(transmit) = self.members.poll_transmit() {
                self.outputs.push(Output::Datagram(transmit.to, transmit.frame));
            } else if let Some(news) = self.reporter.poll(&mut self.members) {
                self.outputs.extend(news.events.iter().map(|event| match event {
                    Event::Departed { .. } => Output::Departed,
                    event => Output::Gossip(event.clone()),
                }));
                self.core.handle(CoreInput::Members(news), now);
            } else if let Some(decision) = self.core.poll_output() {
                self.carry_out(decision, now);
            } else if let Some(effect) = self.ports.values_mut().find_map(|running| running.poll(now)) {
                self.effect(effect, now);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, decision: Decision, now: Instant) {
        match decision {
            Decision::Ports(ports) => self.follow_ports(&ports, now),
            Decision::Gossip(Gossip::SetPeers(peers)) => self.members.set_peers(peers, now),
            Decision::Gossip(Gossip::SetProfile(profile)) => self.members.set_profile(profile, now),
            Decision::Gossip(Gossip::TakePart) => {
                self.members.take_part(now);
                self.reporter.look_again();
            }
            Decision::Gossip(Gossip::SetLink(state)) => self.members.set_link(state, now),
            Decision::Gossip(Gossip::ConfirmLeave(node)) => self.members.confirm_leave(&node),
            // For people, and for the API server.
            Decision::Moved(_)
            | Decision::Notice(..)
            | Decision::Statuses(_)
            | Decision::LastStatuses
            | Decision::Absence(_)
            | Decision::Members(_)
            | Decision::Reached(_)
            | Decision::Loaded
            | Decision::Trouble(_)
            | Decision::Configuration(_)
            | Decision::Problems(_) => {}
        }
    }

    fn follow_ports(&mut self, ports: &Ports, now: Instant) {
        self.ports.retain(|place, _| ports.contains_key(place));
        for (place, orders) in ports {
            let running = self
                .ports
                .entry(place.clone())
                .or_insert_with(|| Running::new(place.station, self.seed, now));
            running.follow(orders, now);
        }
    }

    fn effect(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Send(sent) => self.outputs.push(Output::Frame(sent.frame)),
            Effect::Report(report) => {
                self.core.handle(CoreInput::Port(INTERFACE.into(), report), now);
                let unheard = matches!(report, Report::Spoken { vip, .. } if self.stands_in(vip));
                if !unheard {
                    self.outputs.push(Output::Lan(report));
                }
            }
            // Done by the interface itself.
            Effect::Join(_) | Effect::Leave(_) => {}
        }
    }
}

impl Running {
    fn new(station: Station, seed: u64, now: Instant) -> Self {
        let port = match station {
            Station::Arp(arp) => Either::Arp(Port::new(arp, Some(REFRESH), seed, now)),
            Station::Ndp(ndp) => Either::Ndp(Port::new(ndp, Some(REFRESH), seed, now)),
        };
        Self { port, orders: Arc::default(), groups: BTreeSet::new(), probed: BTreeSet::new() }
    }

    fn follow(&mut self, orders: &Arc<Orders>, now: Instant) {
        if Arc::ptr_eq(&self.orders, orders) {
            return;
        }
        self.probed.retain(|vip| orders.vips.contains_key(vip));
        for (vip, order) in &orders.vips {
            let begins =
                matches!(order.begin, Begin::Probe | Begin::Ask) && !self.orders.vips.contains_key(vip);
            if begins || order.stance == Stance::Yields {
                self.probed.insert(*vip);
            }
        }
        self.orders = Arc::clone(orders);
        match &mut self.port {
            Either::Arp(port) => orders.give(port, now),
            Either::Ndp(port) => orders.give(port, now),
        }
    }

    fn answers(&self, vip: IpAddr) -> bool {
        self.orders.voice != Voice::Silent
            && self.orders.vips.contains_key(&vip)
            && !self.probed.contains(&vip)
    }

    fn poll(&mut self, now: Instant) -> Option<Effect> {
        let effect = match &mut self.port {
            Either::Arp(port) => port.poll(now),
            Either::Ndp(port) => port.poll(now),
        }?;
        match &effect {
            Effect::Join(group) => _ = self.groups.insert(*group),
            Effect::Leave(group) => _ = self.groups.remove(group),
            Effect::Report(Report::Free { vip }) => _ = self.probed.remove(vip),
            Effect::Report(_) | Effect::Send(_) => {}
        }
        Some(effect)
    }
}

impl Either {
    /// What is ignored is counted in the shell, no more. Each port knows its frames.
    fn handle(&mut self, frame: &[u8], received: Instant, now: Instant) {
        _ = match self {
            Self::Arp(port) => port.handle(frame, received, now),
            Self::Ndp(port) => port.handle(frame, received, now),
        };
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Arp(port) => port.poll_timeout(),
            Self::Ndp(port) => port.poll_timeout(),
        }
    }
}

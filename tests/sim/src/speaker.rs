//! One speaker: the core, the members and the ports, brought together as the shell does it, without sockets and tasks.
//! No decision is made here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer2::{Arp, Begin, Effect, MacAddr, Ndp, Port, Protocol, Report};
use members::{Absence, Event, Keys, LinkState, Members, OtherKeys, Reporter};
use objects::{InterfaceName, NodeName};
use placement::{Ability, ExcludeLabel, Failback, Prefix, Spread};
use speaker_core::announce::layer2::{Orders, PortId, Ports, Responder};
use speaker_core::{
    Config, Core, Gossip, Input as CoreInput, Lan, Link, Links, Output as Decision, Purpose, Trouble, Unfit,
};

use crate::cluster::{Episode, complete};

/// How often each address is announced while nothing changes.
const REFRESH: Duration = Duration::from_secs(30);

/// What reaches a speaker.
#[derive(Debug)]
pub(crate) enum Input {
    /// From a peer.
    Datagram(SocketAddr, Vec<u8>),
    /// From the LAN, by the interface of this number, and when it came.
    Frame(usize, Vec<u8>, Instant),
    /// The other speakers, by the API server's list of Pods.
    Peers(BTreeMap<NodeName, SocketAddr>),
    /// What has changed in the cluster since the last time. The first time: everything.
    Changes(Episode),
    /// The carriers of all interfaces.
    Carriers(Vec<LinkState>),
    /// Whether the socket for the gossip can be had.
    Socket(Socket),
    /// The keys from now on.
    Keys(Keys),
    /// Somebody asked it to stop.
    Stop(Absence),
    /// Time has passed.
    Timer,
}

/// Whether the socket for the gossip can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Bound,
    Refused,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Output {
    Datagram(SocketAddr, Vec<u8>),
    /// Through the interface of this number.
    Frame(usize, Vec<u8>),
    /// What happened among the members.
    Gossip(Event),
    /// Why the gossip does not work, or that it does.
    Trouble(Option<Trouble>),
    /// The interfaces that another node is preferred to, since they failed often.
    Unsteady(Vec<InterfaceName>),
    /// It gives these addresses up.
    Conceded(BTreeSet<IpAddr>),
    /// It asks others to give addresses up.
    Disputed(BTreeMap<NodeName, BTreeSet<IpAddr>>),
    /// What happened on the LAN that is behind the interface of this number.
    Lan(usize, Report),
    /// It is not needed any more.
    Departed,
}

/// An interface of its node.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) name: InterfaceName,
    pub(crate) arp: Arp,
    pub(crate) ndp: Ndp,
    pub(crate) carrier: LinkState,
    pub(crate) prefixes: BTreeSet<Prefix>,
}

/// Who a speaker is, and how it starts.
pub(crate) struct Start {
    pub(crate) members: members::Config,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) socket: Socket,
    pub(crate) ignore_conflicts: bool,
    pub(crate) spread: Spread,
    pub(crate) failback: Failback,
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Speaker {
    core: Core,
    members: Members,
    reporter: Reporter,
    interfaces: Vec<Interface>,
    seed: u64,
    ports: BTreeMap<PortId, Running>,
    socket: Socket,
    /// Since when nothing is received but what is sealed with other keys.
    other_keys: OtherKeys,
    trouble: Option<Trouble>,
    listed: bool,
    stopping: bool,
    /// The interfaces that failed often lately.
    unsteady: Vec<InterfaceName>,
    /// Whether it may answer for other addresses than when it was last asked that.
    changed: bool,
    outputs: Vec<Output>,
}

/// A port, and what it was told.
#[derive(Debug)]
struct Running {
    port: Either,
    orders: Arc<Orders>,
    groups: BTreeSet<Ipv6Addr>,
}

#[derive(Debug)]
enum Either {
    Arp(Port<Arp>),
    Ndp(Port<Ndp>),
}

impl Speaker {
    pub(crate) fn new(start: Start, now: Instant) -> Self {
        let Start { members, interfaces, socket, ignore_conflicts, spread, failback, seed } = start;
        let mut wide = [0; 32];
        wide[..8].copy_from_slice(&seed.to_be_bytes());
        let (node, exclude_label) = (members.name.clone(), ExcludeLabel::Honoured);
        let config = Config { node, exclude_label, ignore_conflicts, spread, failback };
        let mut speaker = Self {
            core: Core::new(config, now),
            members: Members::new(members, wide, now),
            reporter: Reporter::default(),
            interfaces,
            seed,
            ports: BTreeMap::new(),
            socket,
            other_keys: OtherKeys::default(),
            trouble: None,
            listed: false,
            stopping: false,
            unsteady: Vec::new(),
            changed: true,
            outputs: Vec::new(),
        };
        let gossip = speaker.interfaces.first().map(|first| first.name.clone());
        speaker.core.handle(CoreInput::GossipInterface(gossip), now);
        speaker.tell_links(now);
        speaker.report_trouble(now);
        speaker.follow(now);
        speaker
    }

    /// Takes something in; what comes of it.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            Input::Datagram(from, frame) => {
                if self.socket == Socket::Bound {
                    // What is refused is counted in the shell, no more.
                    let result = self.members.handle(from, &frame, now);
                    self.other_keys.received(&result, now);
                }
            }
            Input::Frame(interface, frame, received) => {
                for (_, running) in self.ports.iter_mut().filter(|(port, _)| number(port) == interface) {
                    running.port.handle(&frame, received, now);
                }
            }
            Input::Peers(peers) => {
                let places =
                    peers.iter().map(|(name, address)| (name.clone(), [address.ip()].into())).collect();
                self.core.handle(CoreInput::Addresses(places), now);
                self.core.handle(CoreInput::Peers(peers), now);
            }
            Input::Changes(episode) => {
                let seen = episode.seen(!self.listed);
                episode.changes.iter().for_each(|change| self.core.handle(change.input(), now));
                seen.into_iter().for_each(|input| self.core.handle(input, now));
                if !std::mem::replace(&mut self.listed, true) {
                    complete().into_iter().for_each(|input| self.core.handle(input, now));
                }
            }
            Input::Carriers(states) => {
                for (interface, state) in self.interfaces.iter_mut().zip(states) {
                    interface.carrier = state;
                }
                self.tell_links(now);
            }
            Input::Socket(socket) => self.socket = socket,
            Input::Keys(keys) => self.members.set_keys(keys),
            Input::Stop(absence) => {
                (self.stopping, self.changed) = (true, true);
                self.core.handle(CoreInput::Stop, now);
                self.members.leave(absence, now);
            }
            Input::Timer => {}
        }
        if self.members.poll_timeout().is_some_and(|at| at <= now) {
            self.members.poll(now);
        }
        self.report_trouble(now);
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle(CoreInput::Time, now);
        }
        self.report_unsteady();
        self.follow(now);
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Self::handle`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ports = self.ports.values().filter_map(|running| running.port.poll_timeout());
        ports.chain(self.core.poll_timeout()).chain(self.members.poll_timeout()).min()
    }

    /// Whether who asks for `vip` is answered through the interface of this number.
    pub(crate) fn answers(&self, interface: usize, vip: IpAddr) -> bool {
        self.ports.iter().any(|(port, running)| number(port) == interface && running.answers(vip))
    }

    /// The addresses that it keeps, as it tells the others.
    pub(crate) fn kept(&self) -> &BTreeSet<IpAddr> {
        self.core.kept()
    }

    /// What it tells others of the interface of this number: the same for both protocols.
    pub(crate) fn ability(&self, interface: usize) -> Ability {
        self.core.ability(&self.interfaces[interface].name).arp
    }

    /// Whether it only answers for `vip`, since clients are still served by who had it before.
    pub(crate) fn stands_in(&self, vip: IpAddr) -> bool {
        let orders = self.ports.values().filter_map(|running| running.orders.vips.get(&vip));
        orders.into_iter().any(|order| order.begin == Begin::Answer)
    }

    /// Whether it may answer for other addresses than when this was last asked.
    pub(crate) fn has_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether it has been asked to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether it knows that it cannot gossip, and takes nothing over.
    pub(crate) fn is_in_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Whether it knows whose station that is.
    pub(crate) fn knows(&self, mac: MacAddr) -> bool {
        self.ports.values().any(|running| running.orders.known_macs.contacts.contains_key(&mac))
    }

    /// Whether the interface of this number lets a frame for `destination` in.
    pub(crate) fn receives(&self, interface: usize, destination: MacAddr) -> bool {
        destination == self.interfaces[interface].arp.mac
            || destination == MacAddr::BROADCAST
            || destination == MacAddr::of_group(layer2::ALL_NODES)
            || self.ports.iter().any(|(port, running)| {
                number(port) == interface
                    && running.groups.iter().any(|group| MacAddr::of_group(*group) == destination)
            })
    }

    fn tell_links(&mut self, now: Instant) {
        let link = |Interface { name, arp, ndp, carrier, prefixes }: &Interface| {
            let lan = Lan { prefixes: prefixes.clone(), ..Lan::default() };
            let mac = Some(arp.mac);
            let (arp, ndp) = match carrier {
                LinkState::Up => (Ok(*arp), Ok(*ndp)),
                LinkState::Down => (Err(Unfit::NoCarrier), Err(Unfit::NoCarrier)),
            };
            Link { name: name.clone(), purpose: Purpose::Lan, mac, arp, ndp, lan }
        };
        let links: Links = (1..).zip(self.interfaces.iter().map(link)).collect();
        self.core.handle(CoreInput::Interfaces(links), now);
    }

    /// Says why the gossip does not work, as far as that is to be seen.
    fn report_trouble(&mut self, now: Instant) {
        let trouble = match self.socket {
            Socket::Refused => Some(Trouble::Unbound),
            Socket::Bound => self.other_keys.prevail(now).then_some(Trouble::OtherKey),
        };
        if self.trouble != trouble {
            (self.trouble, self.changed) = (trouble, true);
            self.outputs.push(Output::Trouble(trouble));
            self.core.handle(CoreInput::Trouble(trouble), now);
        }
    }

    fn report_unsteady(&mut self) {
        let names = self.interfaces.iter().map(|interface| &interface.name);
        let is_unsteady = |name: &&InterfaceName| self.core.ability(name).arp == Ability::Unsteady;
        let unsteady: Vec<_> = names.filter(is_unsteady).cloned().collect();
        if self.unsteady != unsteady {
            self.unsteady.clone_from(&unsteady);
            self.outputs.push(Output::Unsteady(unsteady));
        }
    }

    /// Does what follows, until nothing follows any more.
    fn follow(&mut self, now: Instant) {
        loop {
            if let Some(transmit) = self.members.poll_transmit() {
                if self.socket == Socket::Bound {
                    self.outputs.push(Output::Datagram(transmit.to, transmit.frame));
                }
            } else if let Some(news) = self.reporter.poll(&mut self.members) {
                self.outputs.extend(news.events.iter().map(|event| match event {
                    Event::Departed { .. } => Output::Departed,
                    event => Output::Gossip(event.clone()),
                }));
                self.core.handle(CoreInput::Members(news), now);
            } else if let Some(decision) = self.core.poll_output() {
                self.carry_out(decision, now);
            } else if let Some((interface, effect)) = self.poll_ports(now) {
                self.effect(interface, effect, now);
            } else {
                return;
            }
        }
    }

    fn poll_ports(&mut self, now: Instant) -> Option<(usize, Effect)> {
        self.ports.iter_mut().find_map(|(port, running)| Some((number(port), running.poll(now)?)))
    }

    fn carry_out(&mut self, decision: Decision, now: Instant) {
        match decision {
            Decision::Ports(ports) => self.follow_ports(&ports, now),
            Decision::Gossip(Gossip::SetPeers(peers)) => self.members.set_peers(peers, now),
            Decision::Gossip(Gossip::SetAddresses(places)) => self.members.set_addresses(places, now),
            Decision::Gossip(Gossip::SetProfile(profile)) => self.members.set_profile(profile, now),
            Decision::Gossip(Gossip::TakePart) => {
                self.members.take_part(now);
                self.reporter.look_again();
            }
            Decision::Gossip(Gossip::SetLink(state)) => self.members.set_link(state, now),
            Decision::Gossip(Gossip::ConfirmLeave(node)) => self.members.confirm_leave(&node),
            // Always works.
            Decision::LeftOver(_) => self.core.handle(CoreInput::LeftOver(None), now),
            Decision::Conceded(vips) => self.outputs.push(Output::Conceded(vips)),
            Decision::Disputed(by_node) => self.outputs.push(Output::Disputed(by_node)),
            // For people, and for the API server.
            Decision::Moved(_)
            | Decision::Notice(..)
            | Decision::Status { .. }
            | Decision::StatusesComplete
            | Decision::LastStatuses
            | Decision::Absence(_)
            | Decision::Members(_)
            | Decision::Reached(_)
            | Decision::Loaded
            | Decision::Impaired(..)
            | Decision::SameLan(_)
            | Decision::Configuration(_)
            | Decision::Problems(_)
            // No router takes part.
            | Decision::BgpSessions(_)
            | Decision::BgpRoutes(..)
            | Decision::BgpSecrets(_)
            | Decision::AskProxy(..)
            | Decision::ProxyOverdue(_)
            | Decision::BgpStatus { .. }
            | Decision::BgpStatusesComplete => {}
        }
    }

    fn follow_ports(&mut self, ports: &Ports, now: Instant) {
        self.changed = true;
        self.ports.retain(|port, _| ports.contains_key(port));
        for (port, orders) in ports {
            let running = self
                .ports
                .entry(port.clone())
                .or_insert_with(|| Running::new(port.responder, self.seed, now));
            running.follow(orders, now);
        }
    }

    fn effect(&mut self, interface: usize, effect: Effect, now: Instant) {
        match effect {
            Effect::Send(sent) => self.outputs.push(Output::Frame(interface, sent.frame)),
            Effect::Report(report) => {
                self.changed = true;
                let name = self.interfaces[interface].name.clone();
                self.core.handle(CoreInput::Port(name, report), now);
                let unheard = matches!(report, Report::Spoken { vip, .. } if self.stands_in(vip));
                if !unheard {
                    self.outputs.push(Output::Lan(interface, report));
                }
            }
            // Done by the interface itself; and nobody inquires here.
            Effect::Join(_) | Effect::Leave(_) | Effect::Answered(_) => {}
        }
    }
}

/// The number of a port's interface.
fn number(port: &PortId) -> usize {
    usize::try_from(port.index).expect("there are few") - 1
}

impl Running {
    fn new(responder: Responder, seed: u64, now: Instant) -> Self {
        let port = match responder {
            Responder::Arp(arp) => Either::Arp(Port::new(arp, Some(REFRESH), seed, now)),
            Responder::Ndp(ndp) => Either::Ndp(Port::new(ndp, Some(REFRESH), seed, now)),
        };
        Self { port, orders: Arc::default(), groups: BTreeSet::new() }
    }

    fn follow(&mut self, orders: &Arc<Orders>, now: Instant) {
        if Arc::ptr_eq(&self.orders, orders) {
            return;
        }
        self.orders = Arc::clone(orders);
        match &mut self.port {
            Either::Arp(port) => orders.give(port, now),
            Either::Ndp(port) => orders.give(port, now),
        }
    }

    fn answers(&self, vip: IpAddr) -> bool {
        match &self.port {
            Either::Arp(port) => Arp::own(vip).is_some_and(|vip| port.answers(vip)),
            Either::Ndp(port) => Ndp::own(vip).is_some_and(|vip| port.answers(vip)),
        }
    }

    fn poll(&mut self, now: Instant) -> Option<Effect> {
        let effect = match &mut self.port {
            Either::Arp(port) => port.poll(now),
            Either::Ndp(port) => port.poll(now),
        }?;
        match &effect {
            Effect::Join(group) => _ = self.groups.insert(*group),
            Effect::Leave(group) => _ = self.groups.remove(group),
            Effect::Report(_) | Effect::Send(_) | Effect::Answered(_) => {}
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

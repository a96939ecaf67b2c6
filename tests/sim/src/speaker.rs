//! One speaker: the real pure crates, connected as the shell connects them, without sockets and tasks.
//!
//! What is here is the shell's part in small: `crates/speaker` (`cluster.rs`, `fellows.rs`,
//! `lan/interface.rs`) and `crates/gossip`. Where those change, this must follow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use layer2::{Arp, Begin, Effect, Friends, MacAddr, Ndp, Order, Port, Protocol, Report, Voice};
use members::{Absence, Event, LinkState, Members, Profile};
use objects::NodeName;
use placement::{Announcements, ExcludeLabel, Handovers, History, Placement, Takeover};

use crate::cluster::Change;

/// How often each address is announced while nothing changes.
const REFRESH: Duration = Duration::from_secs(30);

/// What reaches a speaker.
#[derive(Debug)]
pub(crate) enum Input {
    /// From a fellow.
    Datagram(SocketAddr, Vec<u8>),
    /// From the LAN, and when it came.
    Frame(Vec<u8>, Instant),
    /// The fellow speakers, by the API server's list of Pods.
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about one that may be in any state"
)]
pub(crate) struct Speaker {
    name: NodeName,
    members: Members,
    placement: Placement,
    arp: Arp,
    ndp: Ndp,
    seed: u64,
    /// None while the interface is down.
    lan: Option<Lan>,
    /// The members as last acted on.
    view: BTreeSet<NodeName>,
    away: BTreeSet<NodeName>,
    /// Whether members and cluster have been settled once.
    settled_once: bool,
    listed: bool,
    stopping: bool,
    handovers: Handovers,
    wanted: Announcements,
    friends: Friends,
    /// Whether something happened among the members since they were last looked at.
    news: bool,
    /// Whether there may be something new to do on the LAN.
    unpublished: bool,
    outputs: Vec<Output>,
}

/// An interface that is up.
#[derive(Debug)]
struct Lan {
    arp: Port<Arp>,
    ndp: Port<Ndp>,
    groups: BTreeSet<Ipv6Addr>,
    /// The addresses that the LAN is asked about first.
    probed: BTreeSet<IpAddr>,
    /// The addresses that are answered for.
    answered: BTreeSet<IpAddr>,
}

impl Speaker {
    pub(crate) fn new(start: Start, now: Instant) -> Self {
        let Start { members, arp, ndp, link, seed } = start;
        let mut wide = [0; 32];
        wide[..8].copy_from_slice(&seed.to_be_bytes());
        let placement = Placement::new(members.name.clone(), ExcludeLabel::Honoured);
        let mut speaker = Self {
            name: members.name.clone(),
            members: Members::new(members, wide, now),
            placement,
            arp,
            ndp,
            seed,
            lan: None,
            view: BTreeSet::new(),
            away: BTreeSet::new(),
            settled_once: false,
            listed: false,
            stopping: false,
            handovers: Handovers::default(),
            wanted: Announcements::new(),
            friends: Friends { known: [arp.mac].into(), unknown: 0 },
            news: false,
            unpublished: false,
            outputs: Vec::new(),
        };
        speaker.members.set_profile(Profile::new(arp.mac.0).expect("six bytes are few"), now);
        speaker.link(link, now);
        speaker
    }

    /// Takes something in; what comes of it.
    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            // What is refused is counted in the shell, no more.
            Input::Datagram(from, frame) => _ = self.members.handle(from, &frame, now),
            Input::Frame(frame, received) => self.hear(&frame, received, now),
            Input::Peers(peers) => self.members.set_peers(peers, now),
            Input::Changes(changes) => self.learn(&changes),
            Input::Link(state) => self.link(state, now),
            Input::Stop(absence) => self.stop(absence, now),
            Input::Timer => {}
        }
        if self.members.poll_timeout().is_some_and(|at| at <= now) {
            self.members.poll(now);
        }
        self.follow(now);
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Self::handle`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lan = self.lan.iter().flat_map(|lan| [lan.arp.poll_timeout(), lan.ndp.poll_timeout()]).flatten();
        lan.chain(self.handovers.deadline()).chain(self.members.poll_timeout()).min()
    }

    /// Whether who asks for `vip` is answered from here.
    pub(crate) fn answers(&self, vip: IpAddr) -> bool {
        self.voice() != Voice::Silent && self.lan.as_ref().is_some_and(|lan| lan.answered.contains(&vip))
    }

    /// Whether it only answers for `vip`, since clients are still served by who had it before.
    pub(crate) fn stands_in(&self, vip: IpAddr) -> bool {
        self.wanted.get(&vip).is_some_and(|announcement| announcement.history == History::Lent)
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
                .lan
                .as_ref()
                .is_some_and(|lan| lan.groups.iter().any(|group| MacAddr::of_group(*group) == destination))
    }

    fn hear(&mut self, frame: &[u8], received: Instant, now: Instant) {
        if let Some(lan) = &mut self.lan {
            // What is ignored is counted in the shell, no more. Each port knows its frames.
            if lan.arp.handle(frame, received, now).is_err() {
                _ = lan.ndp.handle(frame, received, now);
            }
        }
    }

    fn learn(&mut self, changes: &[Change]) {
        let first = !std::mem::replace(&mut self.listed, true);
        // What is known now makes a member of us.
        self.news |= first;
        for change in changes {
            change.tell(&mut self.placement);
            if !first {
                self.settle();
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        if self.listed && self.settled_once {
            self.placement.settle();
            self.unpublished = true;
        }
    }

    fn link(&mut self, state: LinkState, now: Instant) {
        self.members.set_link(state, now);
        match state {
            LinkState::Down => self.lan = None,
            LinkState::Up => {
                let lan = self.lan.insert(Lan {
                    arp: Port::new(self.arp, Some(REFRESH), self.seed, now),
                    ndp: Port::new(self.ndp, Some(REFRESH), self.seed, now),
                    groups: BTreeSet::new(),
                    probed: BTreeSet::new(),
                    answered: BTreeSet::new(),
                });
                lan.give_orders(&self.wanted, &self.friends, now);
            }
        }
    }

    fn stop(&mut self, absence: Absence, now: Instant) {
        self.stopping = true;
        self.placement.set_members(BTreeSet::new());
        self.settle();
        self.members.leave(absence, now);
    }

    /// Does what follows, until nothing follows any more.
    fn follow(&mut self, now: Instant) {
        loop {
            if let Some(transmit) = self.members.poll_transmit() {
                self.outputs.push(Output::Datagram(transmit.to, transmit.frame));
            } else if let Some(event) = self.members.poll_event() {
                self.news = true;
                self.gossip(&event, now);
                self.outputs.push(match event {
                    Event::Departed { .. } => Output::Departed,
                    event => Output::Gossip(event),
                });
            } else {
                self.view(now);
                self.publish(now);
                let voice = self.voice();
                if let Some(lan) = &mut self.lan {
                    lan.arp.set_voice(voice);
                    lan.ndp.set_voice(voice);
                }
                let effect = self.lan.as_mut().and_then(|lan| lan.poll(now));
                if effect.is_none() && !self.confirm(now) {
                    return;
                }
                if let Some(effect) = effect {
                    self.carry_out(effect);
                }
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(sent) => self.outputs.push(Output::Frame(sent.frame)),
            Effect::Report(report) => {
                if let Report::Spoken { takeover, .. } = report {
                    self.handovers.spoken(Takeover(takeover));
                }
                let unheard = matches!(report, Report::Spoken { vip, .. } if self.stands_in(vip));
                if !unheard {
                    self.outputs.push(Output::Lan(report));
                }
            }
            // Done by the interface itself.
            Effect::Join(_) | Effect::Leave(_) => {}
        }
    }

    /// Lets members go that need not wait any longer; whether there was one.
    fn confirm(&mut self, now: Instant) -> bool {
        let names: Vec<NodeName> = self.handovers.complete(now).collect();
        names.iter().for_each(|node| self.members.confirm_leave(node));
        !names.is_empty()
    }

    fn voice(&self) -> Voice {
        match (self.stopping, self.members.settled()) {
            (true, _) => Voice::Answers,
            (false, true) => Voice::Full,
            (false, false) => Voice::Silent,
        }
    }

    /// What is not settled is no ground to act on: what was known before stays.
    fn view(&mut self, now: Instant) {
        if self.news {
            self.meet();
        }
        if !self.members.settled() || (self.settled_once && !self.news) {
            return;
        }
        (self.settled_once, self.news) = (true, false);
        if self.listed {
            self.members.take_part(now);
        }
        self.view.clone_from(self.members.members());
        self.away = self.members.away();
        self.follow_members();
        self.settle();
    }

    /// Whoever was a fellow once is no stranger: who was lost, or is leaving, may speak before it is known that it is
    /// back, or after it has gone.
    fn meet(&mut self) {
        let before = self.friends.clone();
        let mut unknown = self.members.members().clone();
        unknown.remove(&self.name);
        for (node, profile) in self.members.profiles() {
            self.friends.known.extend(profile.as_bytes().try_into().map(MacAddr));
            unknown.remove(node);
        }
        self.friends.unknown = unknown.len();
        self.unpublished |= self.friends != before;
    }

    fn follow_members(&mut self) {
        if !self.stopping {
            self.placement.set_members(self.view.clone());
            self.placement.set_away(self.away.clone());
        }
    }

    fn gossip(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Returned(_) | Event::PresumedDead => {
                self.placement.reassert();
                self.unpublished = true;
            }
            Event::Leaving { node, absence } => {
                self.view.remove(node);
                match absence {
                    Absence::Brief => _ = self.away.insert(node.clone()),
                    Absence::Open => self.away.clear(),
                }
                let before = self.placement.last_takeover();
                self.follow_members();
                self.settle();
                self.handovers.begin(node.clone(), self.placement.takeovers_since(before), now);
            }
            Event::Joined(_)
            | Event::Lost { .. }
            | Event::Confirmed { .. }
            | Event::Profile(_)
            | Event::Replaced(_)
            | Event::Overdue(_)
            | Event::Stalled(_)
            | Event::Departed { .. } => {}
        }
    }

    /// Lets the LAN know what has changed.
    fn publish(&mut self, now: Instant) {
        if !self.listed || !self.settled_once || !std::mem::take(&mut self.unpublished) {
            return;
        }
        let announcements = self.placement.announcements();
        if !self.stopping && *announcements != self.wanted {
            self.wanted.clone_from(announcements);
        }
        if let Some(lan) = &mut self.lan {
            lan.give_orders(&self.wanted, &self.friends, now);
        }
    }
}

impl Lan {
    fn give_orders(&mut self, wanted: &Announcements, friends: &Friends, now: Instant) {
        let orders: BTreeMap<IpAddr, Order> = wanted
            .iter()
            .map(|(vip, announcement)| {
                (*vip, Order { takeover: announcement.takeover.0, begin: begin(announcement.history) })
            })
            .collect();
        self.probed.retain(|vip| orders.contains_key(vip));
        self.answered.retain(|vip| orders.contains_key(vip));
        for (vip, order) in &orders {
            if order.begin == Begin::Probe && !self.answered.contains(vip) {
                self.probed.insert(*vip);
            }
            if !self.probed.contains(vip) {
                self.answered.insert(*vip);
            }
        }
        tell(&mut self.arp, &orders, friends, wanted.len(), now);
        tell(&mut self.ndp, &orders, friends, wanted.len(), now);
    }

    fn poll(&mut self, now: Instant) -> Option<Effect> {
        let effect = self.arp.poll(now).or_else(|| self.ndp.poll(now))?;
        match &effect {
            Effect::Join(group) => _ = self.groups.insert(*group),
            Effect::Leave(group) => _ = self.groups.remove(group),
            Effect::Report(Report::Free { vip }) => {
                self.probed.remove(vip);
                self.answered.insert(*vip);
            }
            Effect::Report(Report::Spoken { .. } | Report::Taken { .. } | Report::Claimed { .. })
            | Effect::Send(_) => {}
        }
        Some(effect)
    }
}

fn begin(history: History) -> Begin {
    match history {
        History::New => Begin::Probe,
        History::Announced => Begin::Announce,
        History::Lent => Begin::Answer,
    }
}

fn tell<P: Protocol>(
    port: &mut Port<P>,
    orders: &BTreeMap<IpAddr, Order>,
    friends: &Friends,
    in_all: usize,
    now: Instant,
) {
    let own: BTreeMap<_, _> = orders.iter().filter_map(|(vip, it)| Some((P::own(*vip)?, *it))).collect();
    port.set_friends(friends.clone());
    port.set_refresh_gap(layer2::refresh_gap(own.len(), in_all));
    port.set_orders(own, now);
}

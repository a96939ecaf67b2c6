//! The state of a speaker, and what changes it.

mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use layer2::{Report, Stance, Voice};
use members::{Absence, Event, LinkState, News, View};
use placement::{
    Advertisement, AdvertisementName, Change, ExcludeLabel, Handovers, InterfaceName, Interfaces, Node,
    NodeName, Placement, PoolName, Pools, ServiceKey, Told as Profile,
};
use pools::PoolSpec;

use crate::announce::layer2::{Conflict, Outcomes, Plan, Rival, Wanted, claimed};
use crate::configuration::{Configuration, ConfigurationNews};
use crate::departure::Departure;
use crate::input::{Changes, Input, List, Trouble};
use crate::interfaces::{Link, Links};
use crate::output::{Gossip, Notice, Output};
use crate::peers::Peers;

/// Who a speaker is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its node.
    pub node: NodeName,
    /// Whether nodes can be excluded by a label.
    pub exclude_label: ExcludeLabel,
    /// Whether foreign hosts that answer for an address count for nothing.
    pub ignore_conflicts: bool,
}

/// All that a speaker knows, and all that it decides.
///
/// Tell it with [`Core::handle`] what happens; then do what [`Core::poll_output`] gives until it gives nothing, and call
/// again no later than [`Core::poll_timeout`].
#[derive(Debug)]
pub struct Core {
    node: NodeName,
    now: Instant,
    /// Lists that are not complete yet.
    missing: BTreeSet<List>,
    placement: Placement,
    pools: BTreeMap<PoolName, PoolSpec>,
    configuration: Configuration,
    departure: Departure,
    /// The members as last acted on.
    view: Arc<View>,
    peers: Peers,
    /// Whether the interface that the gossip goes through can carry anything.
    link: LinkState,
    /// Which interface went down with the gossip that goes through it. Others may have taken over since then there,
    /// and are yet to be heard.
    cut: Option<InterfaceName>,
    /// What we tell of ourselves.
    profile: Profile,
    /// The members as last seen.
    latest: Arc<View>,
    /// Why the gossip does not work, where that can be seen.
    trouble: Option<Trouble>,
    /// How often rivals were overruled.
    insisted: u64,
    handovers: Handovers,
    stopping: bool,
    /// What there is to announce by layer 2, where, and what has come of it.
    wanted: Wanted,
    plan: Plan,
    outcomes: Outcomes,
    outputs: VecDeque<Output>,
    stale: Stale,
    told: Told,
}

/// What is to be published anew.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is about another output")]
struct Stale {
    /// Anything at all.
    any: bool,
    announcements: bool,
    friends: bool,
    ports: bool,
    outcomes: bool,
    problems: bool,
}

/// What was published last.
#[derive(Debug, Default)]
struct Told {
    loaded: bool,
    absence: Option<Absence>,
    peers: Option<BTreeMap<NodeName, SocketAddr>>,
    members: Option<usize>,
    profile: Profile,
    last_statuses: bool,
}

impl Core {
    /// Knows nothing yet.
    pub fn new(config: Config, now: Instant) -> Self {
        let Config { node, exclude_label, ignore_conflicts } = config;
        Self {
            now,
            missing: List::ALL.into(),
            placement: Placement::new(node.clone(), exclude_label),
            pools: BTreeMap::new(),
            configuration: Configuration::default(),
            departure: Departure::default(),
            view: Arc::default(),
            peers: Peers::default(),
            link: LinkState::Up,
            cut: None,
            profile: Profile::default(),
            latest: Arc::default(),
            trouble: None,
            insisted: 0,
            handovers: Handovers::default(),
            stopping: false,
            wanted: Wanted { overrules: ignore_conflicts, ..Wanted::default() },
            plan: Plan::default(),
            outcomes: Outcomes::new(node.clone()),
            outputs: VecDeque::new(),
            stale: Stale {
                any: true,
                announcements: true,
                friends: true,
                ports: true,
                outcomes: true,
                problems: true,
            },
            told: Told { absence: Departure::default().absence(), ..Told::default() },
            node,
        }
    }

    /// Takes something in and settles what follows, so that coming and going is never seen as staying.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = now;
        self.stale.any = true;
        self.stale.announcements |= !matches!(input, Input::Port(..) | Input::Time);
        if let Some(list) = input.completes().filter(|list| *list != List::Members || self.trouble.is_none())
        {
            self.reached(list);
        }
        match input {
            Input::Services(changes) => {
                for (key, service) in changes.each {
                    match service {
                        Some(service) => self.placement.set_service(service),
                        None => self.placement.remove_service(&key),
                    }
                }
            }
            Input::Endpoints(changes) => {
                for (slice, endpoints) in changes.each {
                    match endpoints {
                        Some((service, endpoints)) => {
                            self.placement.set_endpoints(&slice, &service, endpoints);
                        }
                        None => self.placement.remove_endpoints(&slice),
                    }
                }
            }
            Input::Nodes(changes) => self.nodes(changes),
            Input::Pools(changes) => self.pools(changes),
            Input::Advertisements(changes) => self.advertisements(changes),
            Input::Peers(peers) => self.listed(peers),
            Input::OwnPod(state) => self.departure.pod = Some(state),
            Input::OwnNode(state) => self.departure.node = Some(state),
            Input::Members(news) => self.members(news),
            Input::Interfaces { links, gossip } => self.interfaces(links, gossip),
            Input::Port(interface, report) => self.port(interface, report),
            Input::Stop => self.stop(),
            Input::Trouble(trouble) => self.trouble(trouble),
            Input::Time => {}
        }
        self.stale.friends |= self.peers.poll(now);
        self.settle();
    }

    /// When to call [`Self::handle`] with [`Input::Time`], if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.handovers.deadline().into_iter().chain(self.peers.deadline()).min()
    }

    fn reached(&mut self, list: List) {
        if self.missing.remove(&list) {
            self.outputs.push_back(Output::Reached(list));
        }
    }

    fn settle(&mut self) {
        if self.missing.is_empty() {
            for change in self.placement.settle() {
                if let Change::Released { service, .. } = &change {
                    self.outcomes.forget(service);
                }
                self.stale.outcomes = true;
                self.outputs.push_back(Output::Moved(change));
            }
        }
    }

    fn nodes(&mut self, changes: Changes<NodeName, Node>) {
        for (name, node) in changes.each {
            match node {
                Some(node) => self.placement.set_node(node),
                None => {
                    self.placement.remove_node(&name);
                    self.stale.friends |= self.peers.forget(&name);
                }
            }
        }
    }

    fn pools(&mut self, changes: Changes<PoolName, PoolSpec>) {
        let mut different = false;
        for (name, pool) in changes.each {
            different |= match pool {
                Some(pool) => self.pools.insert(name, pool.clone()) != Some(pool),
                None => {
                    let news = self.configuration.valid("IPAddressPool", name.as_str());
                    self.configured(news);
                    self.pools.remove(&name).is_some()
                }
            };
        }
        if different {
            let pools = Pools::new(self.pools.values().cloned());
            for pool in pools.iter() {
                let faults: Vec<_> = pool.faults.iter().map(ToString::to_string).collect();
                let news = self.configuration.assess("IPAddressPool", pool.name.as_str(), &faults);
                self.configured(news);
            }
            self.placement.set_pools(pools);
        }
    }

    fn advertisements(&mut self, changes: Changes<AdvertisementName, (Advertisement, Vec<String>)>) {
        for (name, advertisement) in changes.each {
            let news = match advertisement {
                Some((advertisement, faults)) => {
                    self.placement.set_advertisement(advertisement);
                    self.configuration.assess("L2Advertisement", name.as_str(), &faults)
                }
                None => {
                    self.placement.remove_advertisement(&name);
                    self.configuration.valid("L2Advertisement", name.as_str())
                }
            };
            self.configured(news);
        }
    }

    fn configured(&mut self, news: Option<ConfigurationNews>) {
        self.stale.problems |= news.is_some();
        self.outputs.extend(news.map(Output::Configuration));
    }

    fn listed(&mut self, mut peers: BTreeMap<NodeName, SocketAddr>) {
        peers.remove(&self.node);
        self.stale.friends |= self.peers.set_listed(peers.keys().cloned().collect());
        if self.told.peers.as_ref() != Some(&peers) {
            self.gossip(Gossip::SetPeers(peers.clone()));
            self.told.peers = Some(peers);
        }
    }

    /// What is not settled is no ground to act on: what was known before stays, but nothing is said of it, since the
    /// others may have acted meanwhile. Interfaces that were there all along go on while another one is cut off: the
    /// same switch may have failed for all nodes.
    fn members(&mut self, news: News) {
        let News { events, view } = news;
        self.latest = Arc::clone(&view);
        for event in events {
            self.happened(event, &view);
        }
        self.stale.friends |= self.peers.update(&self.node, &view);
        if view.settled && self.link == LinkState::Up {
            self.cut = None;
        }
        let silent = match &self.cut {
            _ if view.settled || self.stopping => None,
            Some(interface) => Some(Interfaces::Only([interface.clone()].into())),
            None => Some(Interfaces::All),
        };
        if self.wanted.silent != silent {
            self.wanted.silent = silent;
            self.stale.ports = true;
        }
        // Who cannot gossip knows nothing of the others, so nothing falls to it.
        if view.settled && view != self.view && self.trouble.is_none() {
            self.view = view;
            self.follow_members();
        }
    }

    fn trouble(&mut self, trouble: Option<Trouble>) {
        if self.trouble != trouble {
            self.trouble = trouble;
            self.outputs.push_back(Output::Trouble(trouble));
            if trouble.is_none() {
                let view = Arc::clone(&self.latest);
                if view.settled {
                    self.reached(List::Members);
                }
                self.members(News { events: vec![], view });
            }
        }
    }

    fn follow_members(&mut self) {
        if !self.stopping {
            self.placement.set_members(self.view.members.clone());
            self.placement.set_away(self.view.away.clone());
        }
    }

    /// Something happened among the members, who are those of `after` now.
    fn happened(&mut self, event: Event, after: &View) {
        match event {
            Event::Returned(_) | Event::PresumedDead => {
                self.placement.reassert();
                self.stale.announcements = true;
            }
            Event::Leaving { node, absence } => {
                let view = Arc::make_mut(&mut self.view);
                view.members.remove(&node);
                match absence {
                    Absence::Brief => _ = view.away.insert(node.clone()),
                    Absence::Open => view.away.clear(),
                }
                self.peers.leaves(node.clone(), self.now);
                self.stale.friends = true;
                let before = self.placement.last_takeover();
                self.follow_members();
                self.settle();
                let takeovers = self.placement.takeovers_since(before);
                self.hand_over(&takeovers);
                self.handovers.begin(node, takeovers, self.now);
            }
            // It is back already, and what it did in between is not known.
            Event::Lost { node, .. } | Event::Replaced(node)
                if after.settled && after.members.contains(&node) && self.view.members.contains(&node) =>
            {
                Arc::make_mut(&mut self.view).members.remove(&node);
                self.follow_members();
                self.settle();
            }
            // What follows from these is in the view.
            Event::Joined(_)
            | Event::Lost { .. }
            | Event::Replaced(_)
            | Event::Confirmed { .. }
            | Event::Stalled(_)
            | Event::Profile(_)
            | Event::Overdue(_)
            | Event::Departed { .. } => {}
        }
    }

    /// These takeovers follow from a goodbye: who leaves answers until they are done, so the LAN need not be asked, but for
    /// what no peer answers for because a foreign host does.
    fn hand_over(&mut self, takeovers: &BTreeSet<placement::Takeover>) {
        let opened = self.plan.opened();
        for (vip, announcement) in self.placement.announcements() {
            if takeovers.contains(&announcement.takeover) && !self.peers.is_contested(*vip) {
                self.wanted.handed_over.insert(announcement.takeover, opened);
            }
        }
    }

    /// From now on the ports only answer, until the others have taken over; in the reports we have gone already.
    fn stop(&mut self) {
        self.stopping = true;
        (self.wanted.voice, self.wanted.silent) = (Voice::Answers, None);
        self.stale.ports = true;
        self.stale.outcomes = true;
        self.placement.set_members(BTreeSet::new());
    }

    fn interfaces(&mut self, links: Links, gossip: Option<InterfaceName>) {
        let cut = gossip.filter(|name| links.values().any(|link| link.name == *name && link.is_cut()));
        let link = if cut.is_some() { LinkState::Down } else { LinkState::Up };
        self.cut = cut.or(self.cut.take());
        self.profile.macs = links.values().filter_map(Link::announces_with).map(|mac| mac.0).collect();
        if self.link != link {
            self.gossip(Gossip::SetLink(link));
            self.link = link;
        }
        self.outcomes.interfaces(&links);
        self.plan.set_links(links);
        (self.stale.ports, self.stale.outcomes) = (true, true);
    }

    /// What a port says.
    fn port(&mut self, interface: InterfaceName, report: Report) {
        match report {
            Report::Free { vip } => {
                self.outcomes.free(vip, interface);
                self.placement.was_announced(vip);
                // Whoever answered for it does so no more.
                self.stale.ports |= self.wanted.rivals.remove(&vip).is_some();
                (self.stale.announcements, self.stale.outcomes) = (true, true);
            }
            Report::Taken { vip, by } => {
                self.outcomes.taken(Conflict { vip, interface, by });
                self.stale.outcomes = true;
            }
            Report::Held { vip, by } => {
                self.outcomes.held(Conflict { vip, interface, by });
                self.stale.outcomes = true;
            }
            Report::Rival { vip, by } => self.rival(Conflict { vip, interface, by }),
            Report::SameLan { by } => self.stale.ports |= self.plan.heard_own(&interface, by),
            Report::Claimed { vip, by } => {
                let conflict = Conflict { vip, interface, by };
                if self.outcomes.claimed(&conflict) {
                    let holders = self.placement.announced().filter(|(_, vips, _)| vips.contains(&vip));
                    let services: Vec<ServiceKey> = holders.map(|(service, ..)| service.clone()).collect();
                    services.into_iter().for_each(|service| self.notice(service, claimed(&conflict)));
                }
            }
            Report::Spoken { vip: _, takeover } => self.handovers.spoken(placement::Takeover(takeover)),
        }
    }

    /// A peer whose gossip is not heard answers for an address too: the better-ranked of the two goes on. The other finds
    /// the same.
    fn rival(&mut self, conflict: Conflict) {
        let Conflict { vip, by, .. } = conflict;
        let Some(peer) = self.peers.owner(by).cloned() else { return };
        let first = placement::rank(vip, [(&self.node, 0), (&peer, 0)]).next() == Some(&self.node);
        let stance = if first {
            self.insisted += 1;
            Stance::Insists(self.insisted)
        } else {
            self.outcomes.held(conflict);
            self.stale.outcomes = true;
            Stance::Yields
        };
        self.wanted.rivals.insert(vip, Rival { mac: by, stance });
        self.stale.ports = true;
    }

    fn notice(&mut self, service: ServiceKey, notice: Notice) {
        self.outputs.push_back(Output::Notice(service, notice));
    }

    fn gossip(&mut self, instruction: Gossip) {
        self.outputs.push_back(Output::Gossip(instruction));
    }
}

#[cfg(test)]
mod tests;

//! The state of a speaker, and what changes it.

mod bgp;
mod cluster;
mod disputes;
mod gossip;
mod impairments;
mod introspect;
mod lan;
mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer2::TransmitPolicy;
use members::{Absence, LinkState, View};
use objects::pack;
use placement::{
    ByProtocol, Change, ExcludeLabel, Failback, Handovers, InterfaceName, Interfaces, NodeName, NodeProfile,
    Placement, PoolName, Released, ServiceKey, Spread,
};
use pools::PoolSpec;
use timers::Budget;

use crate::announce::bgp::Bgp;
use crate::announce::layer2::{Outcomes, Plan, Wanted};
use crate::configuration::Configuration;
use crate::departure::Departure;
use crate::disputes::Disputes;
use crate::growth::Growth;
use crate::impairments::Impairments;
use crate::input::{Input, List, Trouble};
use crate::interfaces::Memory;
use crate::left_over::Suspects;
use crate::output::{Gossip, Notice, Output};
use crate::peers::Peers;
use crate::same_lan::SameLan;
use crate::unannounced::Unannounced;

/// So often is everything announced afresh at once, as when several come back from a partition one after the other,
const REASSERTS_AT_ONCE: u32 = 6;
/// and then once in this time: so long, at most, clients may go on by what somebody else has said meanwhile.
const REASSERTS_EACH: Duration = Duration::from_secs(3);

/// Who a speaker is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its node.
    pub node: NodeName,
    /// Whether nodes can be excluded by a label.
    pub exclude_label: ExcludeLabel,
    /// Whether foreign hosts that answer for an address count for nothing.
    pub ignore_conflicts: bool,
    /// How nodes are ranked for an address that are preferred alike; the same for all speakers.
    pub spread: Spread,
    /// Whether addresses go back to nodes that come back; the same for all speakers.
    pub failback: Failback,
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
    /// Which interface that is, where that is known.
    gossip_interface: Option<InterfaceName>,
    /// Which interface went down with the gossip that goes through it. Others may have taken over since then there,
    /// and are yet to be heard.
    cut: Option<InterfaceName>,
    /// Where we can announce, and could.
    memory: Memory,
    /// Interfaces of this node that are on one LAN, which people are to know.
    same_lan: SameLan,
    /// What we tell of ourselves.
    profile: NodeProfile,
    /// The members as last seen.
    latest: Arc<View>,
    /// Why the gossip does not work, where that can be seen.
    trouble: Option<Trouble>,
    /// The nodes that are alive, as the API server has it.
    ready_nodes: BTreeSet<NodeName>,
    impairments: Impairments,
    growth: Growth,
    unannounced: Unannounced,
    suspects: Suspects,
    disputes: Disputes,
    /// What was given up when that was last told.
    told_conceded: BTreeSet<IpAddr>,
    /// How often rivals were overruled.
    insisted: u64,
    handovers: Handovers,
    /// When to announce everything afresh, and how often that may be.
    reassert_due: Option<Instant>,
    reasserts: Budget,
    stopping: bool,
    /// What there is to announce by layer 2, where, and what has come of it.
    wanted: Wanted,
    plan: Plan,
    outcomes: Outcomes,
    /// What there is to announce by BGP, and to whom.
    bgp: Bgp,
    /// The Services that are different since that was settled, as long as layer 2 waits for more.
    touched: BTreeSet<ServiceKey>,
    /// How often contested and disputed addresses may be told, and when to tell those that wait.
    profile_budget: Budget,
    tell_profile_at: Option<Instant>,
    outputs: VecDeque<Output>,
    stale: Stale,
    published: Published,
}

/// What is to be published anew.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is about another output")]
struct Stale {
    /// Anything at all.
    any: bool,
    announcements: bool,
    known_macs: bool,
    ports: bool,
    outcomes: bool,
    problems: bool,
}

/// What was published last.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is about another output")]
struct Published {
    loaded: bool,
    absence: Option<Absence>,
    peers: Option<BTreeMap<NodeName, SocketAddr>>,
    addresses: Option<BTreeMap<NodeName, BTreeSet<IpAddr>>>,
    members: Option<usize>,
    profile: NodeProfile,
    /// Of which Services there is a status, and what it says.
    statuses: BTreeMap<ServiceKey, Interfaces>,
    /// When all Services count as named that are announced here, whatever is not known yet by then.
    statuses_due: Option<Instant>,
    statuses_complete: bool,
    last_statuses: bool,
    bgp_complete: bool,
}

impl Core {
    /// Knows nothing yet.
    pub fn new(config: Config, now: Instant) -> Self {
        let Config { node, exclude_label, ignore_conflicts, spread, failback } = config;
        let mut placement = Placement::new(node.clone(), exclude_label);
        placement.set_spread(spread);
        placement.set_failback(failback);
        Self {
            now,
            missing: List::ALL.into(),
            placement,
            pools: BTreeMap::new(),
            configuration: Configuration::default(),
            departure: Departure::default(),
            view: Arc::default(),
            peers: Peers::default(),
            link: LinkState::Up,
            gossip_interface: None,
            cut: None,
            memory: Memory::default(),
            same_lan: SameLan::default(),
            profile: NodeProfile::default(),
            latest: Arc::default(),
            trouble: None,
            ready_nodes: BTreeSet::new(),
            impairments: Impairments::default(),
            growth: Growth::default(),
            unannounced: Unannounced::default(),
            suspects: Suspects::default(),
            disputes: Disputes::default(),
            told_conceded: BTreeSet::new(),
            insisted: 0,
            handovers: Handovers::default(),
            reassert_due: None,
            reasserts: Budget::new(REASSERTS_AT_ONCE, REASSERTS_EACH),
            stopping: false,
            wanted: Wanted { overrules: ignore_conflicts, ..Wanted::default() },
            plan: Plan::default(),
            outcomes: Outcomes::new(node.clone()),
            bgp: Bgp::new(node.clone()),
            touched: BTreeSet::new(),
            profile_budget: Budget::new(publish::TOLD_AT_ONCE, publish::TOLD_EACH),
            tell_profile_at: None,
            outputs: VecDeque::new(),
            stale: Stale {
                any: true,
                announcements: true,
                known_macs: true,
                ports: true,
                outcomes: true,
                problems: true,
            },
            published: Published { absence: Departure::default().absence(), ..Published::default() },
            node,
        }
    }

    /// Takes something in and settles what follows, so that coming and going is never seen as staying.
    pub fn handle(&mut self, input: Input, now: Instant) {
        self.now = now;
        self.stale.any = true;
        self.stale.announcements |=
            !matches!(input, Input::Port(..) | Input::Seen(..) | Input::LeftOver(_) | Input::Time);
        if let Some(list) = input.completes().filter(|list| *list != List::Members || self.trouble.is_none())
        {
            self.reached(list);
        }
        match input {
            Input::Services(changes) => self.services(changes),
            Input::Endpoints(changes) => self.endpoints(changes),
            Input::Nodes(changes) => self.nodes(changes),
            Input::Pools(changes) => self.pools(changes),
            Input::Advertisements(changes) => self.advertisements(changes),
            Input::Bgp(input) => self.bgp.handle(input),
            Input::Seen(kind, seen) => self.disputes.seen(kind, seen),
            Input::Peers(peers) => self.listed(peers),
            Input::Addresses(addresses) => self.addresses(addresses),
            Input::OwnPod(state) => self.departure.pod = Some(state),
            Input::OwnNode(state) => self.departure.node = Some(state),
            Input::Members(news) => self.members(news),
            Input::Interfaces(links) => self.interfaces(links),
            Input::InterfacesFollowed(followed) => self.interfaces_followed(followed),
            Input::GossipInterface(name) => self.gossip_interface(name),
            Input::Port(interface, report) => self.port(interface, report),
            Input::LeftOver(again) => self.suspects.looked(again),
            Input::Stop => self.stop(),
            Input::Trouble(trouble) => self.trouble(trouble),
            Input::ReadyNodes(nodes) => self.ready_nodes = nodes,
            Input::ApiReachable(reachable) => self.api_reachable(reachable),
            Input::Time => {}
        }
        self.stale.known_macs |= self.peers.poll(now);
        if self.memory.poll(now) {
            self.stale.announcements = true;
            self.follow_abilities();
        }
        self.reassert();
        self.outputs.extend(self.same_lan.poll(now).map(Output::SameLan));
        self.settle();
        self.follow_disputes();
        self.tell_given_up();
        self.follow_impairments();
        self.tell_outcomes();
        self.tell_unannounced();
        self.outputs.extend(self.suspects.poll(now).map(Output::LeftOver));
        self.pack_once_calm();
    }

    /// What the others are told of an interface of this node.
    pub fn ability(&self, name: &InterfaceName) -> ByProtocol {
        self.memory.told(name)
    }

    /// The addresses that this node keeps, as the others are told.
    pub fn kept(&self) -> &BTreeSet<IpAddr> {
        &self.profile.kept
    }

    /// When to call [`Self::handle`] with [`Input::Time`], if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let outcomes = self.outcomes.deadline().filter(|_| !self.stopping);
        let statuses = self.published.statuses_due.filter(|_| !self.published.statuses_complete);
        let deadlines = [
            self.handovers.deadline(),
            self.peers.deadline(),
            self.disputes.deadline(),
            self.suspects.deadline(),
            self.memory.deadline(),
            self.same_lan.deadline(),
            self.impairments.deadline(),
            self.growth.deadline(),
            self.unannounced.deadline(),
            self.bgp.deadline(),
            outcomes,
            statuses,
            self.tell_profile_at,
            self.reassert_due,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Where thousands of Services have come, what is kept of them is packed.
    fn pack_once_calm(&mut self) {
        let entries = [self.placement.entries(), self.outcomes.entries(), self.bgp.entries()];
        self.growth.set(entries.into_iter().sum(), self.now);
        if self.growth.poll(self.now) {
            self.placement.pack();
            self.outcomes.pack();
            self.bgp.pack();
            pack(&mut self.wanted.announcements);
            pack(&mut self.published.statuses);
        }
    }

    fn reached(&mut self, list: List) {
        if self.missing.remove(&list) {
            self.outputs.push_back(Output::Reached(list));
        }
    }

    fn settle(&mut self) {
        if self.missing.is_empty() {
            // From now on `placement` tells.
            self.touched = BTreeSet::new();
            for change in self.placement.settle() {
                match &change {
                    Change::Released { service, why: Released::Gone, .. } => self.outcomes.gone(service),
                    Change::Released { service, .. } => self.outcomes.forget(service),
                    Change::Assigned { .. } => {}
                }
                self.stale.outcomes = true;
                self.outputs.push_back(Output::Moved(change));
            }
            let reviewed = self.placement.take_reviewed();
            self.settle_bgp(&reviewed);
            self.unannounced.review(reviewed, &self.placement, self.now);
            self.follow_moved();
        } else if !self.missing.iter().any(|list| list.is_for_bgp()) {
            // Routers are told whatever becomes of the gossip.
            let touched = std::mem::take(&mut self.touched);
            self.settle_bgp(&touched);
        }
    }

    /// Tells what had to wait of the Services that are announced here.
    fn tell_outcomes(&mut self) {
        if !self.stopping {
            let due = self.outcomes.poll(self.now).into_iter();
            self.outputs.extend(due.map(|(service, notice)| Output::Notice(service, notice)));
        }
    }

    /// Tells the owners of Services that nobody announces, if this is the speaker that tells: the first by name.
    fn tell_unannounced(&mut self) {
        let due =
            self.unannounced.poll(&self.placement, self.is_cut_off(), self.disputes.conceded(), self.now);
        if self.view.members.first() == Some(&self.node) && !self.stopping {
            // Whom only advertisements by BGP are for, nobody is to announce by layer 2.
            for (service, notice) in due {
                if !self.is_for_bgp_alone(&service) {
                    self.notice(service, notice);
                }
            }
        }
    }

    /// From now on the ports only answer, until the others have taken over; in the reports we have gone already.
    fn stop(&mut self) {
        self.stopping = true;
        (self.wanted.transmit_policy, self.wanted.muted) = (TransmitPolicy::ReplyOnly, None);
        self.stale.ports = true;
        self.stale.outcomes = true;
        self.placement.set_members(BTreeSet::new());
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

//! The one owner of all state: Services, pools, namespaces, nodes, and who holds which address.
//!
//! Changes go in ([`Index::services`], [`Index::pools`] and the like), and make Services due to be decided anew;
//! [`Index::decide`] decides for some of those that are due, once it has taken in the rest of a long list; writes and notices come out ([`Index::next_write`],
//! [`Index::next_notice`]), and the results of the writes go in again ([`Index::written`]). It does nothing by itself:
//! no task, no socket, and the time is an argument.
//!
//! Until it leads, it only follows. When it leads and every list is complete, those who hold an address are heard
//! first, the older before the younger; then everybody is decided in the same order. From then on a change touches the
//! Services that it is about, and those that wait for an address when one has become free.

mod changes;
mod decide;
mod introspect;
mod node_pools;
mod report;
mod reservations;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipam::{Allocator, ReservationKey, ServiceKey};
use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::Mirror;
use kubekit::events::Notice;
use objects::{Labels, NodeName};
pub(crate) use translation::{Rank, Turn};

use crate::advertisements::Advertisements;
use crate::bgp_objects::BgpObjects;
use crate::entry::{Entry, Source};
use crate::index::changes::Listing;
use crate::index::node_pools::NodePools;
pub(crate) use crate::index::node_pools::ReadySlice;
pub(crate) use crate::index::writes::{Unwritten, Write, Written};
use crate::pool_objects::PoolObjects;
use crate::reservation_objects::ReservationObjects;

/// All state of the controller.
#[derive(Debug)]
pub(crate) struct Index {
    role: Role,
    /// Lists that have to be complete.
    needed: &'static [List],
    /// Lists that are complete.
    lists: BTreeSet<List>,
    /// While lists are taken again after a restore: until when they are waited for.
    restoring: Option<Instant>,
    pools: PoolObjects,
    advertisements: Advertisements,
    bgp: BgpObjects,
    node_pools: NodePools,
    reservations: ReservationObjects,
    /// The Services that name a reservation, whether or not there is one.
    named_by: BTreeMap<ReservationKey, BTreeSet<ServiceKey>>,
    namespaces: Mirror<String>,
    namespace_labels: BTreeMap<String, Labels>,
    nodes: Mirror<NodeName>,
    node_ips: BTreeMap<NodeName, Vec<IpAddr>>,
    /// A full list of Services that is being taken in, a part at a time.
    listing: Option<Listing>,
    services: BTreeMap<ServiceKey, Entry>,
    /// Empty as long as nothing is decided.
    allocator: Allocator,
    /// Services that are yet to be heard, before anything is decided, the older first.
    unheard: VecDeque<ServiceKey>,
    /// Services to be decided anew, in the order of their turns.
    due: BTreeSet<Due>,
    /// Services of ours that are without an address.
    waiting: BTreeSet<Turn>,
    /// Whether something has become free since those who wait were asked.
    freed: bool,
    /// The time of the latest call that came with one.
    now: Instant,
    queue: VecDeque<ServiceKey>,
    retries: BTreeSet<(Instant, ServiceKey)>,
    notices: VecDeque<(ObjectReference, Notice)>,
    /// How often somebody else wrote over a status.
    overwrites: u64,
}

/// A Service to be decided anew.
type Due = (Rank, Turn);

/// Whether this replica decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It remembers what others decide.
    Follower,
    /// It decides, once every list is complete.
    Leader,
}

/// For so long are lists waited for after the first has shown that the API server was restored. Each is taken again as
/// soon as its watch notices, after a pause of at most five seconds; one that has not seen anything newer than what was
/// restored need not notice.
const RESTORED_WITHIN: Duration = Duration::from_secs(15);

/// A list that has to be complete before anything is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    /// Who wants an address, and who has one.
    Services,
    /// The addresses.
    Pools,
    /// Whose labels pools can select.
    Namespaces,
    /// Whose addresses are never given.
    Nodes,
    /// Addresses that are kept for who names them.
    AddressReservations,
    /// The nodes whose addresses are given after all.
    NodeAddressPools,
}

impl List {
    const ALL: [Self; 6] = [
        Self::Services,
        Self::Pools,
        Self::Namespaces,
        Self::Nodes,
        Self::AddressReservations,
        Self::NodeAddressPools,
    ];

    /// Those that are needed where `NodeAddressPool`s are served or not.
    pub(crate) fn needed(node_pools: bool) -> &'static [Self] {
        if node_pools { &Self::ALL } else { &Self::ALL[..5] }
    }

    /// As `/readyz` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Services => "list of Services",
            Self::Pools => "list of IPAddressPools",
            Self::Namespaces => "list of Namespaces",
            Self::Nodes => "list of Nodes",
            Self::AddressReservations => "list of AddressReservations",
            Self::NodeAddressPools => "list of NodeAddressPools",
        }
    }
}

impl Index {
    /// Knows nothing yet, and does not lead. Waits for these lists.
    pub(crate) fn new(needed: &'static [List], now: Instant) -> Self {
        Self {
            role: Role::Follower,
            needed,
            lists: BTreeSet::new(),
            restoring: None,
            pools: PoolObjects::default(),
            advertisements: Advertisements::default(),
            bgp: BgpObjects::default(),
            node_pools: NodePools::default(),
            reservations: ReservationObjects::default(),
            named_by: BTreeMap::new(),
            namespaces: Mirror::default(),
            namespace_labels: BTreeMap::new(),
            nodes: Mirror::default(),
            node_ips: BTreeMap::new(),
            listing: None,
            services: BTreeMap::new(),
            allocator: Allocator::default(),
            unheard: VecDeque::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            freed: false,
            now,
            queue: VecDeque::new(),
            retries: BTreeSet::new(),
            notices: VecDeque::new(),
            overwrites: 0,
        }
    }

    /// Begins or ceases to lead.
    pub(crate) fn set_role(&mut self, role: Role, now: Instant) {
        self.now = now;
        if role == self.role {
            return;
        }
        let deciding = self.decides();
        self.role = role;
        if deciding && !self.decides() {
            self.forget_decisions();
        }
        self.proceed(deciding);
    }

    /// The API server has an older state than before. Nothing is decided until every list is of that state, and then as
    /// at a start: what Services record counts, and no decision of before.
    pub(crate) fn restored(&mut self, now: Instant) {
        self.now = now;
        // One list after the other finds out.
        if self.restoring.is_some() {
            return;
        }
        self.restoring = Some(now + RESTORED_WITHIN);
        self.lists.clear();
        self.forget_decisions();
    }

    /// When [`Self::pass_time`] should be called next.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let nodes = self.node_pools.all.next_timeout();
        [self.next_retry(), self.pools.next_expiry(), self.restoring, nodes].into_iter().flatten().min()
    }

    /// Does what is due: lets go of pools that were deleted and have not come back, waits no longer for lists after a
    /// restore, and tries failed writes again.
    pub(crate) fn pass_time(&mut self, now: Instant) {
        self.now = now;
        self.pools.expire(now);
        if self.node_pools.all.pass_time(now) && self.decides() {
            self.nodes_changed();
        }
        if self.restoring.is_some_and(|until| until <= now) {
            let deciding = self.decides();
            self.restoring = None;
            self.lists.extend(self.needed);
            self.proceed(deciding);
        }
        self.retry(now);
    }

    /// The next thing to tell people. They come in order, and not while statuses wait for their turn to be
    /// written, which matters more.
    pub(crate) fn next_notice(&mut self) -> Option<(ObjectReference, Notice)> {
        if self.has_notice() { self.notices.pop_front() } else { None }
    }

    /// Whether there is something to tell.
    pub(crate) fn has_notice(&self) -> bool {
        self.queue.is_empty() && !self.notices.is_empty()
    }

    /// Whether a list is complete.
    pub(crate) fn has(&self, list: List) -> bool {
        self.lists.contains(&list)
    }

    /// Whether this replica decides, and can.
    pub(crate) fn decides(&self) -> bool {
        self.role == Role::Leader && self.lists.len() == self.needed.len()
    }

    fn seen(&mut self, list: List, source: Source) {
        match source {
            Source::List => _ = self.lists.insert(list),
            Source::Watch => {}
        }
        if self.lists.len() == self.needed.len() {
            self.restoring = None;
        }
    }

    /// After each change: begins to decide when that has become possible, and emits what is new.
    fn proceed(&mut self, was_deciding: bool) {
        if !self.decides() {
            return;
        }
        if !was_deciding {
            self.pools.recorded(self.recorded_pools(), self.now);
            self.pools.work_out();
        }
        // What is wrong with them is not known before they are worked out.
        let pools = if self.pools.have_changed() { Vec::new() } else { self.pools.emit() };
        self.node_pools.objects.assess(|name| self.pools.in_force().get(name).is_some());
        let bgp = if self.pools.have_changed() { Vec::new() } else { self.bgp.emit(self.pools.in_force()) };
        let configuration = pools.into_iter().chain(self.advertisements.emit()).chain(bgp);
        self.notices.extend(configuration.chain(self.node_pools.objects.emit()));
        if !was_deciding {
            self.begin();
        }
    }

    fn forget_decisions(&mut self) {
        self.allocator = Allocator::default();
        self.node_pools.forget_decisions();
        self.reservations.forget_decisions();
        self.unheard.clear();
        self.due.clear();
        self.waiting.clear();
        self.queue.clear();
        self.retries.clear();
        self.services.values_mut().for_each(Entry::forget_decision);
    }
}

#[cfg(test)]
mod tests;

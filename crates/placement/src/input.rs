//! What placement is told about the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Labels, Selector, any_matches};
use pools::Pool;

use crate::{AdvertisementName, InterfaceName, NodeName, PoolName, ServiceKey};

/// A Service that has addresses to announce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which one.
    pub key: ServiceKey,
    /// Its labels, which advertisements may select by.
    pub labels: Labels,
    /// Its addresses in the order of its status. Nodes are ranked by the first, for all of them.
    pub vips: Vec<IpAddr>,
    /// When it was created, in seconds of the API server's clock: of Services that share an address, the oldest comes
    /// first.
    pub created: Option<i64>,
    /// The pool that its annotation names, which is the controller's word.
    pub recorded_pool: Option<PoolName>,
    /// Whether only nodes with an endpoint of their own may announce it.
    pub traffic_policy: TrafficPolicy,
    /// Whether it lets other Services use its addresses.
    pub sharing: Sharing,
}

impl Service {
    /// Orders Services by age: by the time of creation, then by namespace and name.
    pub(crate) fn seniority(&self) -> impl Ord + '_ {
        (self.created, &self.key)
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any node passes traffic on to any endpoint.
    Cluster,
    /// A node serves with its own endpoints only.
    Local,
}

/// Whether a Service carries a sharing key for its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Its addresses are its own.
    Sole,
    /// Other Services may have the same addresses.
    Shared,
}

/// Where the serving endpoints of a Service are: the node of each, in order, or `None` for one whose node is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    serving: Box<[Option<NodeName>]>,
    /// The nodes on which all of them terminate: hardly ever any.
    leaving: Box<[NodeName]>,
}

impl Endpoints {
    /// These are ready, and these serve while they terminate.
    pub fn new(
        ready: impl IntoIterator<Item = Option<NodeName>>,
        terminating: impl IntoIterator<Item = Option<NodeName>>,
    ) -> Self {
        let mut serving: Vec<_> = ready.into_iter().collect();
        serving.sort_unstable();
        // Where some are ready, nothing is sent to others.
        let leaving = terminating.into_iter().filter(|node| serving.binary_search(node).is_err());
        let mut leaving: Vec<_> = leaving.collect();
        serving.extend(leaving.iter().cloned());
        serving.sort_unstable();
        leaving.sort_unstable();
        leaving.dedup();
        Self { serving: serving.into(), leaving: leaving.into_iter().flatten().collect() }
    }

    /// Whether there is a serving endpoint at all.
    pub fn anywhere(&self) -> bool {
        !self.serving.is_empty()
    }

    /// Whether there is a serving endpoint on `node`.
    pub fn on(&self, node: &NodeName) -> bool {
        self.serving.binary_search_by_key(&Some(node), Option::as_ref).is_ok()
    }

    /// Whether there is one on `node` that is ready.
    pub fn ready_on(&self, node: &NodeName) -> bool {
        self.on(node) && !self.leaving.contains(node)
    }

    /// How many serving endpoints there are on `node`: those that are ready, or those that terminate where none is.
    pub fn count_on(&self, node: &NodeName) -> usize {
        let from = self.serving.partition_point(|it| it.as_ref() < Some(node));
        self.serving[from..].partition_point(|it| it.as_ref() == Some(node))
    }
}

/// Collects the places of endpoints that are ready.
impl FromIterator<Option<NodeName>> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Option<NodeName>>>(nodes: I) -> Self {
        Self::new(nodes, [])
    }
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its labels.
    pub labels: Labels,
    /// Its condition `NetworkUnavailable`.
    pub network: Network,
}

/// The condition `NetworkUnavailable` of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The condition is absent, unknown or false.
    Available,
    /// The condition is true.
    Unavailable,
}

/// Which pools' addresses to announce, for which Services, from which nodes and interfaces.
///
/// Wherever a list is empty, it restricts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Its name.
    pub name: AdvertisementName,
    /// Pools by name. These and those of `pool_selectors` add up.
    pub pools: BTreeSet<PoolName>,
    /// Pools by label.
    pub pool_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
    /// Nodes by label.
    pub node_selectors: Vec<Selector>,
    /// Nodes to prefer among those.
    pub preferences: Vec<Preference>,
    /// Where to announce.
    pub interfaces: Interfaces,
}

/// Nodes to prefer, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// What each matching node's score gains.
    pub weight: u32,
    /// The nodes meant.
    pub selector: Selector,
}

impl Advertisement {
    /// One that restricts nothing: all pools and Services, from all nodes, on all interfaces.
    pub fn new(name: impl Into<AdvertisementName>) -> Self {
        Self {
            name: name.into(),
            pools: BTreeSet::new(),
            pool_selectors: vec![],
            service_selectors: vec![],
            node_selectors: vec![],
            preferences: vec![],
            interfaces: Interfaces::All,
        }
    }

    /// Whether it is about the addresses of `pool`.
    pub fn covers(&self, pool: &Pool) -> bool {
        (self.pools.is_empty() && self.pool_selectors.is_empty())
            || self.pools.contains(&pool.name)
            || any_matches(&self.pool_selectors, &pool.labels)
    }

    /// Whether it is about a Service with these labels, if its addresses are covered.
    pub fn selects_service(&self, labels: &Labels) -> bool {
        self.service_selectors.is_empty() || any_matches(&self.service_selectors, labels)
    }

    /// Whether a node with these labels may announce by it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selectors.is_empty() || any_matches(&self.node_selectors, labels)
    }
}

/// On which interfaces of a node an address is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// On every one that can.
    All,
    /// On those with one of these names. Shared, since thousands of addresses may name the same.
    Only(Arc<BTreeSet<InterfaceName>>),
}

impl Interfaces {
    /// Those with these names.
    pub fn only(names: impl IntoIterator<Item = InterfaceName>) -> Self {
        Self::Only(Arc::new(names.into_iter().collect()))
    }

    /// Whether `name` is among them.
    pub fn contains(&self, name: &InterfaceName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }

    /// The interfaces in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.extend(other);
        self
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (Self::Only(_), Self::All) => *self = Self::All,
            (Self::Only(names), Self::Only(others)) if others.is_subset(names) => {}
            (Self::Only(names), Self::Only(others)) if names.is_subset(others) => *self = other.clone(),
            (Self::Only(names), Self::Only(others)) => {
                Arc::make_mut(names).extend(others.iter().cloned());
            }
        }
    }
}

//! Which Service is listed with which nodes.

mod choose;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipam::Port;
use objects::{Labels, NodeName, PoolName, ServiceKey, SliceKey};

use crate::allocator::choose::Wanted;
use crate::claims::Claims;
use crate::endpoints::Endpoints;
use crate::health::Health;
use crate::listeners::Listeners;
use crate::{Applicant, Listener, Listening, Node, NodePool, Refusal, Taken};

/// Which nodes there are, and which Service has which of their ports.
///
/// One Service at a time is decided anew with [`NodeAddresses::assign`]. What a Service has it keeps as long as it wants
/// it; whoever calls sees to it that of two that want the same the older one comes first.
#[derive(Debug, Default)]
pub struct NodeAddresses {
    pools: BTreeMap<PoolName, NodePool>,
    nodes: BTreeMap<NodeName, (Node, Health)>,
    /// Nodes that the speakers have found dead.
    lost: BTreeSet<NodeName>,
    /// Nodes where kube-proxy runs in IPVS mode.
    ipvs: BTreeSet<NodeName>,
    endpoints: Endpoints,
    listeners: Listeners,
    claims: Claims,
    /// Ports that are open on all nodes, each with the Services whose node port it is.
    node_ports: BTreeMap<Port, BTreeSet<ServiceKey>>,
}

/// The addresses that a Service is listed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// In the order of the families of the Service, and within one as ServiceLB sorts them.
    pub ips: Vec<IpAddr>,
    /// On some nodes that it could have, another has one of its ports.
    pub taken: Option<Taken>,
}

/// What became of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What it is listed with, or why with nothing.
    pub outcome: Result<Grant, Refusal>,
    /// Whether a port that it had is there for others now.
    pub freed: bool,
}

impl NodeAddresses {
    /// Replaces all pools. Whether that changes anything.
    pub fn set_pools(&mut self, pools: impl IntoIterator<Item = NodePool>) -> bool {
        let pools = pools.into_iter().map(|pool| (pool.name.clone(), pool)).collect();
        let changed = self.pools != pools;
        self.pools = pools;
        changed
    }

    /// A pool by this name.
    pub fn pool(&self, name: &PoolName) -> Option<&NodePool> {
        self.pools.get(name)
    }

    /// Whether a pool is for a Service.
    pub fn admits(
        &self,
        pool: &PoolName,
        key: &ServiceKey,
        namespace_labels: &Labels,
        labels: &Labels,
    ) -> bool {
        self.pools.get(pool).is_some_and(|pool| pool.admits(key, namespace_labels, labels))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The pool that a Service gets addresses from which names none: the first that is for it.
    pub fn automatic(
        &self,
        key: &ServiceKey,
        namespace_labels: &Labels,
        labels: &Labels,
    ) -> Option<&PoolName> {
        let admits = |pool: &&NodePool| pool.auto_assign && pool.admits(key, namespace_labels, labels);
        self.pools.values().filter(admits).min_by_key(|pool| pool.rank()).map(|pool| &pool.name)
    }

    /// Takes in what a node is now, nothing when it is gone. Whether that changes anything.
    pub fn set_node(&mut self, name: &NodeName, node: Option<Node>, now: Instant) -> bool {
        let Some(node) = node else {
            self.listeners.set(name, None);
            return self.nodes.remove(name).is_some();
        };
        let well = node.ready && !self.lost.contains(name);
        let before = self.nodes.get(name);
        let health = before.map_or_else(|| Health::first(well), |(_, health)| health.seen(well, now));
        let changed = before.is_none_or(|(known, known_health)| {
            health.is_alive() != known_health.is_alive()
                || Node { ready: node.ready, ..known.clone() } != node
        });
        self.nodes.insert(name.clone(), (node, health));
        changed
    }

    /// These are the nodes that the speakers have found dead. Whether that changes anything.
    pub fn set_lost(&mut self, lost: BTreeSet<NodeName>, now: Instant) -> bool {
        self.lost = lost;
        self.reconsider(|name, node, health, lost| health.seen(node.ready && !lost.contains(name), now))
    }

    /// These are the nodes where kube-proxy runs in IPVS mode. Whether that changes anything.
    pub fn set_ipvs(&mut self, ipvs: BTreeSet<NodeName>) -> bool {
        let changed = self.ipvs.first() != ipvs.first();
        self.ipvs = ipvs;
        changed
    }

    /// Takes in what programs on a node listen on, nothing where nobody looks. Whether that changes anything. Who has a port
    /// keeps it.
    pub fn set_listeners(&mut self, node: &NodeName, now: Option<BTreeSet<Listener>>) -> bool {
        self.listeners.set(node, now)
    }

    /// Nobody looks any more which ports programs listen on.
    pub fn forget_listeners(&mut self) {
        self.listeners = Listeners::default();
    }

    /// The nodes that a pool selects where nobody looks which ports programs listen on, though that matters to the pool.
    pub fn unwatched(&self, pool: &NodePool) -> Vec<NodeName> {
        match pool.listeners {
            Listening::Ignored => Vec::new(),
            Listening::Protected => {
                let nobody = Labels::new();
                let names = self.selected(pool, &nobody).map(|(name, ..)| name);
                names.filter(|name| !self.listeners.are_known_of(name)).cloned().collect()
            }
        }
    }

    /// Takes in where the ready endpoints of a slice are, nothing when it is gone. Returns the Services that this changes
    /// something for.
    pub fn set_endpoints(
        &mut self,
        slice: &SliceKey,
        now: Option<(ServiceKey, BTreeSet<NodeName>)>,
    ) -> Vec<ServiceKey> {
        self.endpoints.set(slice, now)
    }

    /// These are the node ports of a Service. Whether one is not any more.
    pub fn set_node_ports(&mut self, key: &ServiceKey, before: &[Port], now: &[Port]) -> bool {
        for port in now {
            self.node_ports.entry(*port).or_default().insert(key.clone());
        }
        let mut freed = false;
        for port in before.iter().filter(|port| !now.contains(port)) {
            if let Some(owners) = self.node_ports.get_mut(port) {
                freed |= owners.remove(key);
                if owners.is_empty() {
                    self.node_ports.remove(port);
                }
            }
        }
        freed
    }

    /// When [`Self::pass_time`] should be called next.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|(_, health)| health.until()).min()
    }

    /// Lists nodes again that have been well for long enough. Whether that changes anything.
    pub fn pass_time(&mut self, now: Instant) -> bool {
        self.reconsider(|_, _, health, _| health.later(now))
    }

    /// How many nodes a pool selects for a Service without labels, and how many of those take traffic.
    pub fn serving(&self, pool: &NodePool) -> (usize, usize) {
        let nobody = Labels::new();
        let selected: Vec<_> = self.selected(pool, &nobody).collect();
        (selected.len(), selected.iter().filter(|(_, _, health)| health.is_alive()).count())
    }

    /// Decides anew what a Service of a pool is listed with.
    pub fn assign(&mut self, applicant: &Applicant<'_>, pool: &PoolName) -> Decision {
        self.decide(applicant, pool, &Wanted::All)
    }

    /// Gives a Service the ports of the nodes that its status lists, as far as it may have them, and no others: this is how
    /// a restart begins, the older Services first.
    pub fn adopt(&mut self, applicant: &Applicant<'_>, pool: &PoolName, ips: &[IpAddr]) -> Decision {
        self.decide(applicant, pool, &Wanted::Listed(ips))
    }

    /// The Service has nothing from now on. Whether it had something.
    pub fn release(&mut self, key: &ServiceKey) -> bool {
        self.claims.hold(key, BTreeSet::new())
    }

    /// Nobody has anything from now on; what is known of nodes, pools and endpoints stays.
    pub fn forget_decisions(&mut self) {
        self.claims.clear();
    }

    fn reconsider(
        &mut self,
        health_of: impl Fn(&NodeName, &Node, Health, &BTreeSet<NodeName>) -> Health,
    ) -> bool {
        let mut changed = false;
        for (name, (node, health)) in &mut self.nodes {
            let before = std::mem::replace(health, health_of(name, node, *health, &self.lost));
            changed |= before.is_alive() != health.is_alive();
        }
        changed
    }
}

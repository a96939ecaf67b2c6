//! Services that get the addresses of nodes: the part of the [`Index`] about `NodeAddressPool`s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use api::{ConfigurationState, NodeAddressPool, NodeAddressPoolStatus, names};
use ipam::{AddressRequest, Assignment, PoolName, Request, ServiceKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};
use node_addresses::{Applicant, Listener, NodeAddresses};
use objects::{Labels, NodeName, SliceKey};
use slim::{EndpointSlice, Node, is_true};
use translation::Claim;

use crate::entry::{Goal, Seen};
use crate::index::changes::source;
use crate::index::{Index, List, Turn};
use crate::node_pool_objects::{InUse, NodePoolObjects};

static NO_LABELS: Labels = Labels::new();

/// What there is to know about `NodeAddressPool`s and whom they serve.
#[derive(Debug, Default)]
pub(super) struct NodePools {
    pub(super) objects: NodePoolObjects,
    pub(super) all: NodeAddresses,
    /// Services that are served from such a pool, or would be.
    served: BTreeSet<ServiceKey>,
    slices: Mirror<SliceKey>,
    states: Mirror<String>,
    ipvs: BTreeMap<String, NodeName>,
    /// Whether the lists are complete that are watched only while there is a pool.
    slices_listed: bool,
    states_listed: bool,
}

/// Where a Service's ready endpoints are, by one slice.
#[derive(Debug, Clone)]
pub(crate) struct ReadySlice {
    key: SliceKey,
    ready: Option<(ServiceKey, BTreeSet<NodeName>)>,
}

impl ReadySlice {
    /// Reads a slice. What is about to stop is not ready, though it may go on for a while.
    pub(crate) fn read(slice: &EndpointSlice) -> Self {
        let namespace = slice.namespace().unwrap_or_default();
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        let nodes = ready.filter_map(|endpoint| endpoint.node_name.as_deref().map(NodeName::from)).collect();
        let service = slice.service_name().map(|name| ServiceKey::new(namespace.as_str(), name));
        Self {
            key: SliceKey::new(namespace, slice.name_any()),
            ready: service.map(|service| (service, nodes)),
        }
    }
}

impl NodePools {
    /// Whether all is known that a decision takes.
    fn know_enough(&self) -> bool {
        self.slices_listed && self.states_listed
    }

    /// The Service is not served from here any more. Whether that frees something.
    pub(super) fn release(&mut self, key: &ServiceKey) -> bool {
        self.served.remove(key);
        self.all.release(key)
    }

    pub(super) fn forget_decisions(&mut self) {
        self.served.clear();
        self.all.forget_decisions();
    }
}

impl Index {
    /// Takes in a change of `NodeAddressPool`s.
    pub(crate) fn node_pools(&mut self, change: Change<NodeAddressPool>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.seen(List::NodeAddressPools, source(&change));
        self.node_pools.objects.change(change);
        let pools: Vec<_> = self.node_pools.objects.pools().cloned().collect();
        if self.node_pools.all.set_pools(pools) && deciding {
            self.nodes_changed();
            self.freed = true;
        }
        self.proceed(deciding);
    }

    /// Whether there is a pool, so that endpoints and the reports of the speakers matter.
    pub(crate) fn follows_endpoints(&self) -> bool {
        !self.node_pools.all.is_empty()
    }

    /// Endpoints and the reports of the speakers are not followed any more.
    pub(crate) fn forget_endpoints(&mut self) {
        let gone =
            self.node_pools.slices.update(Change::Reset(Vec::new()), |slice: &ReadySlice| slice.key.clone());
        gone.iter().for_each(|(key, _)| _ = self.node_pools.all.set_endpoints(key, None));
        self.node_pools.states = Mirror::default();
        self.node_pools.ipvs.clear();
        self.node_pools.all.forget_listeners();
        self.node_pools.all.set_ipvs(BTreeSet::new());
        (self.node_pools.slices_listed, self.node_pools.states_listed) = (false, false);
    }

    /// Takes in a change of EndpointSlices.
    pub(crate) fn endpoints(&mut self, change: Change<ReadySlice>, now: Instant) {
        self.now = now;
        let knew_enough = self.node_pools.know_enough();
        self.node_pools.slices_listed |= matches!(change, Change::Reset(_));
        for (key, slice) in self.node_pools.slices.update(change, |slice| slice.key.clone()) {
            let ready = slice.and_then(|slice| slice.ready);
            for service in self.node_pools.all.set_endpoints(&key, ready) {
                if self.decides() && self.node_pools.served.contains(&service) {
                    self.make_due(&service);
                }
            }
        }
        self.surroundings_changed(knew_enough, false);
    }

    /// Takes in a change of what the speakers report of their nodes.
    pub(crate) fn speakers(&mut self, change: Change<ConfigurationState>, now: Instant) {
        self.now = now;
        let knew_enough = self.node_pools.know_enough();
        self.node_pools.states_listed |= matches!(change, Change::Reset(_));
        let mut changed = false;
        for (name, state) in self.node_pools.states.update(change, ResourceExt::name_any) {
            let Some(state) = state else {
                // The programs on a node are still there when its speaker is started again.
                self.node_pools.ipvs.remove(&name);
                continue;
            };
            let node = node_of(&state);
            if uses_ipvs(&state) {
                self.node_pools.ipvs.insert(name, node.clone());
            } else {
                self.node_pools.ipvs.remove(&name);
            }
            changed |= self.node_pools.all.set_listeners(&node, listeners(&state));
        }
        let ipvs = self.node_pools.ipvs.values().cloned().collect();
        changed |= self.node_pools.all.set_ipvs(ipvs);
        self.surroundings_changed(knew_enough, changed);
    }

    /// These are the nodes that the speakers have found dead.
    pub(crate) fn lost_nodes(&mut self, lost: BTreeSet<NodeName>, now: Instant) {
        self.now = now;
        if self.node_pools.all.set_lost(lost, now) && self.decides() {
            self.nodes_changed();
        }
    }

    /// Pools whose status does not say what it should, and what that is.
    pub(crate) fn outdated_node_pool_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, NodeAddressPoolStatus)> {
        if !self.decides() {
            return Vec::new();
        }
        let mut services: BTreeMap<&PoolName, usize> = BTreeMap::new();
        for key in &self.node_pools.served {
            if let Some(Goal::Nodes(assignment)) = self.services.get(key).map(|entry| &entry.goal) {
                *services.entry(&assignment.pool).or_default() += 1;
            }
        }
        let in_use = |pool: &node_addresses::NodePool| InUse {
            nodes: self.node_pools.all.serving(pool).1,
            services: services.get(&pool.name).copied().unwrap_or_default(),
            unwatched: self.node_pools.all.unwatched(pool),
        };
        self.node_pools.objects.outdated(in_use, now)
    }

    /// Takes in what a node is now.
    pub(super) fn set_node(&mut self, name: &NodeName, node: Option<&Node>) -> bool {
        let matters = self.needed.contains(&List::NodeAddressPools);
        matters && self.node_pools.all.set_node(name, node.map(read_node), self.now)
    }

    /// Takes in the node ports of a Service.
    pub(super) fn set_node_ports(&mut self, key: &ServiceKey, seen: Option<&Seen>) {
        let before = self.services.get(key).map(|entry| &entry.node_ports[..]).unwrap_or_default();
        let now = seen.map(|seen| &seen.node_ports[..]).unwrap_or_default();
        if before != now {
            self.freed |= self.node_pools.all.set_node_ports(key, before, now);
        }
    }

    /// Which nodes there are, or how they are, has changed.
    pub(super) fn nodes_changed(&mut self) {
        let served: Vec<ServiceKey> = self.node_pools.served.iter().cloned().collect();
        served.iter().for_each(|key| self.make_due(key));
    }

    /// The pool of nodes that a Service is served from, if it is from one and not from an `IPAddressPool`.
    pub(super) fn node_pool_of(&self, key: &ServiceKey, request: &Request) -> Option<PoolName> {
        let all = &self.node_pools.all;
        if all.is_empty() {
            return None;
        }
        match &request.addresses {
            AddressRequest::From(name) => {
                let address_pool = self.allocator.pools().get(name);
                (address_pool.is_none() && all.pool(name).is_some()).then(|| name.clone())
            }
            AddressRequest::Anything => {
                let (entry, labels) = (self.services.get(key)?, self.labels_around(key));
                let admits = |pool: &PoolName| all.admits(pool, key, labels, &request.labels);
                if let Some(pool) = entry.node_pool().filter(admits) {
                    return Some(pool);
                }
                let record = entry.record();
                let recorded = record.pool.filter(|_| !record.ips.is_empty());
                let is_kept = recorded.is_some_and(|pool| self.allocator.pools().get(&pool).is_some());
                if is_kept || self.allocator.has_pool_for(key, labels, request) {
                    return None;
                }
                all.automatic(key, labels, &request.labels).cloned()
            }
            // Nobody is given an address of a node for having named it.
            AddressRequest::Exactly { .. }
            | AddressRequest::Reserved(_)
            | AddressRequest::Unreadable { .. } => None,
        }
    }

    /// Decides for a Service that a pool of nodes serves. Returns why it has not all that it wants, if so.
    pub(super) fn assign_nodes(&mut self, turn: &Turn, request: &Request, pool: PoolName) -> Option<Notice> {
        let (_, key) = turn;
        self.freed |= self.allocator.release(key).is_some();
        self.node_pools.served.insert(key.clone());
        let entry = self.services.get_mut(key)?;
        if !self.node_pools.know_enough() {
            entry.aim(Goal::Whatever);
            return None;
        }
        entry.previous.clear();
        let namespace_labels = self.namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS);
        let applicant = Applicant { key, namespace_labels, request, primary: entry.primary };
        let decision = self.node_pools.all.assign(&applicant, &pool);
        self.freed |= decision.freed;
        match decision.outcome {
            Ok(grant) => {
                entry.aim(Goal::Nodes(Assignment { ips: grant.ips, pool }));
                let taken = grant.taken?;
                self.waiting.insert(turn.clone());
                Some(Notice::warning("NodePortInUse", format!("not served by all nodes: {taken}")))
            }
            Err(why) => {
                entry.aim(Goal::Nothing);
                self.waiting.insert(turn.clone());
                let message = format!("Failed to allocate IP for \"{key}\": {why}");
                Some(Notice::warning("AllocationFailed", message))
            }
        }
    }

    /// What a Service has of nodes it has, if it may, and gets nothing else. Whether that frees something.
    pub(super) fn adopt_nodes(&mut self, key: &ServiceKey, request: &Request, pool: &PoolName) -> bool {
        self.node_pools.served.insert(key.clone());
        let Some(entry) = self.services.get(key).filter(|_| self.node_pools.know_enough()) else {
            return false;
        };
        let namespace_labels = self.namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS);
        let applicant = Applicant { key, namespace_labels, request, primary: entry.primary };
        let ips: &[IpAddr] = &entry.observed.ips;
        self.node_pools.all.adopt(&applicant, pool, ips).freed
    }

    /// Endpoints or the reports of the speakers have changed. When all of that has become known, everybody is heard first
    /// who has the address of a node, the older before the younger.
    fn surroundings_changed(&mut self, knew_enough: bool, changed: bool) {
        if !self.decides() || !self.node_pools.know_enough() {
            return;
        }
        if !knew_enough {
            let served = self.node_pools.served.iter().filter_map(|key| {
                let entry = self.services.get(key)?;
                let Claim::Ours(request) = &entry.claim else { return None };
                Some(((entry.created, key.clone()), request.clone()))
            });
            let mut served: Vec<(Turn, Box<Request>)> = served.collect();
            served.sort_by(|(turn, _), (other, _)| turn.cmp(other));
            for ((_, key), request) in served {
                if let Some(pool) = self.node_pool_of(&key, &request) {
                    self.adopt_nodes(&key, &request, &pool);
                }
            }
        }
        if changed || !knew_enough {
            self.nodes_changed();
            self.freed = true;
        }
    }

    fn labels_around(&self, key: &ServiceKey) -> &Labels {
        self.namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS)
    }
}

/// What there is to know of a node.
fn read_node(node: &Node) -> node_addresses::Node {
    let addresses = |of: &str| {
        let addresses = node.status.addresses.iter().filter(|address| address.type_ == of);
        let addresses = addresses.filter_map(|address| address.address.parse::<IpAddr>().ok());
        addresses.map(|ip| ip.to_canonical()).filter(is_reachable).collect()
    };
    let conditions = &node.status.conditions;
    node_addresses::Node {
        labels: node.labels().clone(),
        internal: addresses("InternalIP"),
        external: addresses("ExternalIP"),
        ready: is_true(conditions, "Ready") && !is_true(conditions, "NetworkUnavailable"),
    }
}

/// Whether others can reach a host by an address at all. What stands in the status of a Service, kube-proxy takes on every
/// node: one like 127.0.0.1 would take the port from the programs of each.
fn is_reachable(ip: &IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(is_link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The node of a speaker. A label has room for less of its name.
fn node_of(state: &ConfigurationState) -> NodeName {
    let name = state.name_any();
    let by_label = || state.labels().get(names::NODE_NAME).cloned();
    let by_name = name.strip_prefix("speaker-").map(str::to_owned);
    NodeName::from(by_name.or_else(by_label).unwrap_or(name))
}

/// Whether a speaker reports that kube-proxy uses IPVS on its node.
fn uses_ipvs(state: &ConfigurationState) -> bool {
    condition(state, names::KUBE_PROXY_IPVS).is_some_and(|it| it.status == "True")
}

/// The ports that programs on the node of a speaker listen on, if it tells.
fn listeners(state: &ConfigurationState) -> Option<BTreeSet<Listener>> {
    let told = condition(state, names::LISTENING_PORTS)?.message.split_whitespace();
    Some(told.filter_map(|text| text.parse().ok()).collect())
}

fn condition<'a>(state: &'a ConfigurationState, name: &str) -> Option<&'a Condition> {
    state.status.as_ref()?.conditions.iter().find(|it| it.type_ == name)
}

#[cfg(test)]
mod tests;

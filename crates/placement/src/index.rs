//! The index: keeps what it was told, and works out again only what a change can have touched.

mod homes;
mod keeping;
mod query;
mod reason;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::pack;

use crate::abilities::AbilitiesOfNodes;
use crate::election::Outcome;
use crate::eligibility::Eligibility;
use crate::index::homes::HomesOfAll;
pub use crate::index::keeping::Failback;
use crate::index::keeping::Keeping;
use crate::index::settle::Stale;
use crate::takeover::Takeovers;
use crate::{
    Abilities, Advertisement, AdvertisementName, Endpoints, ExcludeLabel, Interfaces, Moved, Node, NodeName,
    Pools, Prefixes, Service, ServiceKey, SliceKey, TrafficPolicy,
};

/// What this node should announce, kept up to date as the cluster changes.
///
/// Tell it what changed, then call [`Placement::settle`]; [`Placement::announcements`] is the answer as of
/// then. A change of one Service costs that Service and those that share its addresses; one of a node (whether it is
/// a member, is away, its labels, where it can announce) costs the addresses that it announces or announced, and for
/// each other address a look at whether it ranks before the announcer; one of pools or advertisements costs all of them.
/// Being told again what is known already costs nothing and changes nothing.
#[derive(Debug)]
pub struct Placement {
    me: NodeName,
    eligibility: Eligibility,
    abilities: AbilitiesOfNodes,
    services: BTreeMap<ServiceKey, Service>,
    /// The Services that have an address, in no order; most have one only.
    users: BTreeMap<IpAddr, Vec<ServiceKey>>,
    /// Per Service its slices; a slice may arrive before its Service.
    endpoints: BTreeMap<ServiceKey, Vec<(SliceKey, Endpoints)>>,
    slice_of: BTreeMap<SliceKey, ServiceKey>,
    /// What became of each address as of the last [`Self::settle`].
    outcomes: BTreeMap<IpAddr, Outcome>,
    stale: Stale,
    /// What this node announces of which Services.
    mine: BTreeMap<ServiceKey, Mine>,
    takeovers: Takeovers,
    /// The Services of which something was worked out again since somebody looked.
    reviewed: BTreeSet<ServiceKey>,
    /// The nodes that have given addresses up, by address.
    conceding: BTreeMap<IpAddr, BTreeSet<NodeName>>,
    /// Where addresses are at home, if they are spread evenly.
    homes: HomesOfAll,
    keeping: Keeping,
    /// What others are to announce since somebody looked.
    moved: Vec<Moved>,
}

#[derive(Debug, PartialEq, Eq)]
struct Mine {
    vips: Vec<IpAddr>,
    interfaces: Interfaces,
}

impl Placement {
    /// Knows nothing and announces nothing yet.
    pub fn new(me: NodeName, exclude_label: ExcludeLabel) -> Self {
        Self {
            me,
            eligibility: Eligibility::new(exclude_label),
            abilities: AbilitiesOfNodes::default(),
            services: BTreeMap::new(),
            users: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            slice_of: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            stale: Stale::nothing(),
            mine: BTreeMap::new(),
            takeovers: Takeovers::new(),
            reviewed: BTreeSet::new(),
            conceding: BTreeMap::new(),
            homes: HomesOfAll::default(),
            keeping: Keeping::default(),
            moved: Vec::new(),
        }
    }

    /// How many entries there are of what there may be thousands of.
    pub fn entries(&self) -> usize {
        self.services.len() + self.slice_of.len() + self.outcomes.len() + self.mine.len()
    }

    /// Packs what there may be thousands of, which takes a moment for each thousand.
    pub fn pack(&mut self) {
        pack(&mut self.services);
        pack(&mut self.users);
        pack(&mut self.endpoints);
        pack(&mut self.slice_of);
        pack(&mut self.outcomes);
        pack(&mut self.mine);
        self.takeovers.pack();
    }

    /// A Service is new or different.
    pub fn set_service(&mut self, service: Service) {
        let former = self.services.get(&service.key);
        if former == Some(&service) {
            return;
        }
        let former = former.map(|former| former.vips.clone()).unwrap_or_default();
        for vip in service.vips.iter().filter(|vip| !former.contains(vip)) {
            let users = self.users.entry(*vip).or_default();
            if users.is_empty() {
                self.takeovers.given(*vip);
            }
            if !users.contains(&service.key) {
                // Most addresses have one user, for ever.
                users.reserve_exact(1);
                users.push(service.key.clone());
            }
        }
        let dropped = former.iter().filter(|vip| !service.vips.contains(vip));
        dropped.for_each(|vip| self.unuse(*vip, &service.key));
        self.homes.stale = true;
        self.stale.add(former.iter().chain(&service.vips).copied());
        self.services.insert(service.key.clone(), service);
    }

    /// A Service is gone, or wants no announcing any more.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.services.remove(key) {
            self.homes.stale = true;
            service.vips.iter().for_each(|vip| self.unuse(*vip, key));
            self.stale.add(service.vips);
        }
    }

    fn unuse(&mut self, vip: IpAddr, key: &ServiceKey) {
        if let Some(users) = self.users.get_mut(&vip) {
            users.retain(|user| user != key);
            if users.is_empty() {
                self.users.remove(&vip);
                self.takeovers.taken_back(vip);
            }
        }
    }

    /// One slice of the serving endpoints of `service` is new or different.
    pub fn set_endpoints(&mut self, slice: &SliceKey, service: &ServiceKey, endpoints: Endpoints) {
        if self.slice_of.get(slice).is_some_and(|former| former != service) {
            self.remove_endpoints(slice);
        }
        self.slice_of.insert(slice.clone(), service.clone());
        let slices = self.endpoints.entry(service.clone()).or_default();
        match slices.iter_mut().find(|(key, _)| key == slice) {
            Some((_, former)) if *former == endpoints => return,
            Some((_, former)) => *former = endpoints,
            None => {
                slices.reserve_exact(1);
                slices.push((slice.clone(), endpoints));
            }
        }
        self.endpoints_changed(service);
    }

    /// A slice is gone.
    pub fn remove_endpoints(&mut self, slice: &SliceKey) {
        let Some(service) = self.slice_of.remove(slice) else { return };
        if let Some(slices) = self.endpoints.get_mut(&service) {
            slices.retain(|(key, _)| key != slice);
            if slices.is_empty() {
                self.endpoints.remove(&service);
            }
        }
        self.endpoints_changed(&service);
    }

    fn endpoints_changed(&mut self, service: &ServiceKey) {
        if let Some(service) = self.services.get(service) {
            self.homes.stale |= service.traffic_policy == TrafficPolicy::Local;
            self.stale.add(service.vips.iter().copied());
        }
    }

    /// A node is new or different.
    pub fn set_node(&mut self, node: Node) {
        let name = node.name.clone();
        if replace(&mut self.eligibility.nodes, name.clone(), node) {
            self.homes.stale = true;
            self.stale.add_nodes([name]);
        }
    }

    /// A node is gone.
    pub fn remove_node(&mut self, name: &NodeName) {
        if self.eligibility.nodes.remove(name).is_some() {
            self.homes.stale = true;
            self.stale.add_nodes([name.clone()]);
        }
    }

    /// The pools are these.
    pub fn set_pools(&mut self, pools: Pools) {
        if self.eligibility.pools != pools {
            self.eligibility.pools = pools;
            self.configuration_changed();
        }
    }

    /// An advertisement is new or different.
    pub fn set_advertisement(&mut self, advertisement: Advertisement) {
        if replace(&mut self.eligibility.advertisements, advertisement.name.clone(), advertisement) {
            self.configuration_changed();
        }
    }

    /// An advertisement is gone.
    pub fn remove_advertisement(&mut self, name: &AdvertisementName) {
        if self.eligibility.advertisements.remove(name).is_some() {
            self.configuration_changed();
        }
    }

    fn configuration_changed(&mut self) {
        self.homes.stale = true;
        self.stale = Stale::Everything;
    }

    /// Where a node can announce, this one included. It is remembered while the node is no member;
    /// [`Abilities::Unknown`] forgets it.
    pub fn set_abilities(&mut self, node: NodeName, abilities: Abilities) {
        if self.abilities.set(&node, abilities) {
            self.stale.add_nodes([node]);
        }
    }

    /// The prefixes of the interfaces of a node; none where it has not told.
    pub fn set_prefixes(&mut self, node: NodeName, prefixes: Prefixes) {
        if self.abilities.set_prefixes(&node, prefixes) {
            self.stale.add_nodes([node]);
        }
    }

    /// A node, which may be this one, gives these addresses up and no others: it is no candidate for them.
    pub fn set_conceded(&mut self, node: &NodeName, vips: &BTreeSet<IpAddr>) {
        let before = |(vip, nodes): (&IpAddr, &BTreeSet<NodeName>)| nodes.contains(node).then_some(*vip);
        let before: BTreeSet<IpAddr> = self.conceding.iter().filter_map(before).collect();
        for vip in before.symmetric_difference(vips) {
            let nodes = self.conceding.entry(*vip).or_default();
            if !nodes.remove(node) {
                nodes.insert(node.clone());
            }
            self.stale.add([*vip]);
        }
        self.conceding.retain(|_, nodes| !nodes.is_empty());
    }

    /// The nodes whose speaker is alive.
    pub fn set_members(&mut self, members: BTreeSet<NodeName>) {
        self.keeping.see(&members);
        let before = std::mem::replace(&mut self.eligibility.members, members);
        self.stale.add_nodes(before.symmetric_difference(&self.eligibility.members).cloned());
    }

    /// Those that are no members at present but will be again in a moment, while their nodes go on. What falls to
    /// this node instead of one of them is [standby](crate::History::Standby); if they are away no more, and no members
    /// either, it is taken over.
    pub fn set_away(&mut self, away: BTreeSet<NodeName>) {
        let before = std::mem::replace(&mut self.eligibility.away, away);
        self.stale.add_nodes(before.symmetric_difference(&self.eligibility.away).cloned());
    }
}

/// Puts `value` in, and says whether that makes a difference.
fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}

#[cfg(test)]
mod tests;

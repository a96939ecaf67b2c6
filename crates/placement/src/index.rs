//! The index: keeps what it was told, and works out again only what a change can have touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::election::{Outcomes, can_announce, elect};
use crate::eligibility::Eligibility;
use crate::takeover::{Takeovers, Tenure};
use crate::{
    Abilities, Advertisement, AdvertisementName, Announcements, Assignment, Endpoints, ExcludeLabel,
    Interfaces, Node, NodeName, Obstacle, Pools, Service, ServiceKey, SliceKey, Takeover, Unadvertised,
    Unannounced,
};

/// A Service that came to this node or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This node announces these addresses of the Service from now on. Others of it may be announced elsewhere.
    Assigned {
        /// Which Service.
        service: ServiceKey,
        /// Its addresses.
        vips: Vec<IpAddr>,
    },
    /// This node announces no longer just these addresses of the Service.
    Released {
        /// Which Service.
        service: ServiceKey,
        /// The addresses it was announced with.
        vips: Vec<IpAddr>,
        /// What became of it.
        why: Released,
    },
}

/// What became of a Service that this node no longer announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It is gone, or wants no announcing any more.
    Gone,
    /// Other addresses of it are announced here now.
    Readdressed,
    /// Another node announces it.
    MovedTo(NodeName),
    /// Nobody does.
    Unannounced(Unannounced),
}

/// What this node should announce, kept up to date as the cluster changes.
///
/// Tell it what changed, then call [`Placement::settle`]; [`Placement::announcements`] is the answer as of
/// then. A change of one Service costs that Service and those that share its addresses, the loss of a member costs
/// the addresses that it announced; any other change of nodes, members, pools or advertisements costs all of them.
/// Being told again what is known already costs nothing and changes nothing.
#[derive(Debug)]
pub struct Placement {
    me: NodeName,
    eligibility: Eligibility,
    /// Of those that have told.
    abilities: BTreeMap<NodeName, Abilities>,
    services: BTreeMap<ServiceKey, Service>,
    /// The Services that have an address.
    users: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
    /// Per Service its slices; a slice may arrive before its Service.
    endpoints: BTreeMap<ServiceKey, BTreeMap<SliceKey, Endpoints>>,
    slice_of: BTreeMap<SliceKey, ServiceKey>,
    /// What became of each address as of the last [`Self::settle`].
    outcomes: BTreeMap<IpAddr, Outcomes>,
    stale: Stale,
    /// What this node announces of which Services.
    mine: BTreeMap<ServiceKey, Mine>,
    takeovers: Takeovers,
}

#[derive(Debug, PartialEq, Eq)]
struct Mine {
    vips: Vec<IpAddr>,
    interfaces: Interfaces,
}

/// What has to be worked out again.
#[derive(Debug)]
enum Stale {
    /// These addresses, and of the others those that somebody announces or might who is a member no more.
    Some {
        vips: BTreeSet<IpAddr>,
        lost: BTreeSet<NodeName>,
    },
    Everything,
}

impl Stale {
    fn nothing() -> Self {
        Self::Some { vips: BTreeSet::new(), lost: BTreeSet::new() }
    }

    fn add(&mut self, more: impl IntoIterator<Item = IpAddr>) {
        match self {
            Self::Some { vips, .. } => vips.extend(more),
            Self::Everything => {}
        }
    }
}

impl Placement {
    /// Knows nothing and announces nothing yet.
    pub fn new(me: NodeName, exclude_label: ExcludeLabel) -> Self {
        Self {
            me,
            eligibility: Eligibility::new(exclude_label),
            abilities: BTreeMap::new(),
            services: BTreeMap::new(),
            users: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            slice_of: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            stale: Stale::nothing(),
            mine: BTreeMap::new(),
            takeovers: Takeovers::new(),
        }
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
            users.insert(service.key.clone());
        }
        let dropped = former.iter().filter(|vip| !service.vips.contains(vip));
        dropped.for_each(|vip| self.unuse(*vip, &service.key));
        self.stale.add(former.iter().chain(&service.vips).copied());
        self.services.insert(service.key.clone(), service);
    }

    /// A Service is gone, or wants no announcing any more.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.services.remove(key) {
            service.vips.iter().for_each(|vip| self.unuse(*vip, key));
            self.stale.add(service.vips);
        }
    }

    fn unuse(&mut self, vip: IpAddr, key: &ServiceKey) {
        if let Some(users) = self.users.get_mut(&vip) {
            users.remove(key);
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
        if replace(self.endpoints.entry(service.clone()).or_default(), slice.clone(), endpoints) {
            self.endpoints_changed(service);
        }
    }

    /// A slice is gone.
    pub fn remove_endpoints(&mut self, slice: &SliceKey) {
        let Some(service) = self.slice_of.remove(slice) else { return };
        if let Some(slices) = self.endpoints.get_mut(&service) {
            slices.remove(slice);
            if slices.is_empty() {
                self.endpoints.remove(&service);
            }
        }
        self.endpoints_changed(&service);
    }

    fn endpoints_changed(&mut self, service: &ServiceKey) {
        if let Some(service) = self.services.get(service) {
            self.stale.add(service.vips.iter().copied());
        }
    }

    /// A node is new or different.
    pub fn set_node(&mut self, node: Node) {
        if replace(&mut self.eligibility.nodes, node.name.clone(), node) {
            self.stale = Stale::Everything;
        }
    }

    /// A node is gone.
    pub fn remove_node(&mut self, name: &NodeName) {
        if self.eligibility.nodes.remove(name).is_some() {
            self.stale = Stale::Everything;
        }
    }

    /// The pools are these.
    pub fn set_pools(&mut self, pools: Pools) {
        if self.eligibility.pools != pools {
            self.eligibility.pools = pools;
            self.stale = Stale::Everything;
        }
    }

    /// An advertisement is new or different.
    pub fn set_advertisement(&mut self, advertisement: Advertisement) {
        if replace(&mut self.eligibility.advertisements, advertisement.name.clone(), advertisement) {
            self.stale = Stale::Everything;
        }
    }

    /// An advertisement is gone.
    pub fn remove_advertisement(&mut self, name: &AdvertisementName) {
        if self.eligibility.advertisements.remove(name).is_some() {
            self.stale = Stale::Everything;
        }
    }

    /// Where a node can announce, this one included. It is remembered while the node is no member;
    /// [`Abilities::Unknown`] forgets it.
    pub fn set_abilities(&mut self, node: NodeName, abilities: Abilities) {
        let changed = match abilities {
            Abilities::Unknown => self.abilities.remove(&node).is_some(),
            Abilities::Known(_) => replace(&mut self.abilities, node, abilities),
        };
        if changed {
            self.stale = Stale::Everything;
        }
    }

    /// The nodes whose speaker is alive.
    pub fn set_members(&mut self, members: BTreeSet<NodeName>) {
        let before = std::mem::replace(&mut self.eligibility.members, members);
        let members = &self.eligibility.members;
        match &mut self.stale {
            Stale::Some { lost, .. } if members.is_subset(&before) => {
                lost.extend(before.difference(members).cloned());
            }
            stale => *stale = Stale::Everything,
        }
    }

    /// Those that are no members at present but will be again in a moment, while their nodes go on. What falls to
    /// this node instead of one of them is [lent](crate::History::Lent); if they are away no more, and no members
    /// either, it is taken over.
    pub fn set_away(&mut self, away: BTreeSet<NodeName>) {
        if self.eligibility.away != away {
            self.eligibility.away = away;
            self.stale = Stale::Everything;
        }
    }

    /// Works out what has changed since the last call, and returns the Services that came and went.
    pub fn settle(&mut self) -> Vec<Change> {
        let mut touched: BTreeSet<ServiceKey> = BTreeSet::new();
        for vip in self.stale_vips() {
            let outcomes = self.elect(vip);
            self.announce(vip, &outcomes);
            let before = if outcomes.is_empty() {
                self.outcomes.remove(&vip)
            } else {
                touched.extend(outcomes.keys().cloned());
                self.outcomes.insert(vip, outcomes)
            };
            touched.extend(before.into_iter().flat_map(Outcomes::into_keys));
        }
        self.takeovers.started();
        let mut changes = Vec::new();
        for key in touched {
            self.follow(key, &mut changes);
        }
        changes
    }

    /// Makes every announcement a new takeover: somebody else may have spoken for these addresses in the
    /// meantime, and the LAN may believe it.
    pub fn reassert(&mut self) {
        self.takeovers.reassert();
    }

    /// This node has begun to announce a new address: it is new no more, should it be announced elsewhere as well.
    pub fn was_announced(&mut self, vip: IpAddr) {
        self.takeovers.was_announced(vip);
    }

    /// The newest takeover so far: those to come are greater.
    pub fn last_takeover(&self) -> Takeover {
        self.takeovers.last()
    }

    /// The takeovers newer than that which are still in force.
    pub fn takeovers_since(&self, last: Takeover) -> BTreeSet<Takeover> {
        self.takeovers.since(last)
    }

    /// The Services that this node announces as of the last [`Self::settle`], with those of their addresses that it
    /// announces, and where.
    pub fn announced(&self) -> impl Iterator<Item = (&ServiceKey, &[IpAddr], &Interfaces)> {
        self.mine.iter().map(|(key, mine)| (key, &mine.vips[..], &mine.interfaces))
    }

    /// What this node should announce, as of the last [`Self::settle`].
    pub fn announcements(&self) -> &Announcements {
        self.takeovers.announcements()
    }

    /// Who announces the first address of a Service and where, or why nobody does, as of the last [`Self::settle`];
    /// `None` for a Service that was not known then.
    pub fn assignment(&self, key: &ServiceKey) -> Option<Result<Assignment, Unannounced>> {
        let first = self.services.get(key)?.vips.first()?;
        self.outcomes.get(first)?.get(key).cloned()
    }

    /// The same for each address of a Service.
    pub fn assignments(
        &self,
        key: &ServiceKey,
    ) -> impl Iterator<Item = (IpAddr, &Result<Assignment, Unannounced>)> {
        let vips = self.services.get(key).into_iter().flat_map(|service| &service.vips);
        vips.filter_map(move |vip| Some((*vip, self.outcomes.get(vip)?.get(key)?)))
    }

    /// Why nodes are no candidates for `vip` as an address of this Service, by name; candidates are not named. `None`
    /// for a Service that is not known. Wants [`Self::settle`] called since the last change.
    pub fn obstacles(
        &self,
        key: &ServiceKey,
        vip: IpAddr,
    ) -> Option<Result<BTreeMap<NodeName, Obstacle>, Unadvertised>> {
        let service = self.services.get(key)?;
        let endpoints = self.endpoints_of(key);
        Some(self.eligibility.eligible(service, &endpoints).and_then(|eligible| {
            let nodes = self.eligibility.nodes.keys().chain(&self.eligibility.members);
            let mut obstacles = BTreeMap::new();
            for node in nodes {
                if let Some(reason) = self.eligibility.ineligible(service, &endpoints, node)? {
                    obstacles.insert(node.clone(), Obstacle::Ineligible(reason));
                } else if let Some(it) = eligible.get(node)
                    && !can_announce(&self.abilities, node, vip, &it.interfaces)
                {
                    obstacles.insert(node.clone(), Obstacle::NoInterface(it.interfaces.clone()));
                }
            }
            Ok(obstacles)
        }))
    }

    /// The addresses to work out again; from now on, none.
    fn stale_vips(&mut self) -> BTreeSet<IpAddr> {
        match std::mem::replace(&mut self.stale, Stale::nothing()) {
            Stale::Everything => {
                self.eligibility.refresh();
                self.users.keys().chain(self.outcomes.keys()).copied().collect()
            }
            Stale::Some { vips, lost } if lost.is_empty() => vips,
            Stale::Some { mut vips, lost } => {
                self.eligibility.refresh();
                let depends = |(_, outcomes): &(&IpAddr, &Outcomes)| depends_on(outcomes, &lost);
                vips.extend(self.outcomes.iter().filter(depends).map(|(vip, _)| *vip));
                vips
            }
        }
    }

    fn elect(&self, vip: IpAddr) -> Outcomes {
        let users = self.users.get(&vip).into_iter().flatten();
        let mut services: Vec<_> = users.map(|key| (&self.services[key], self.endpoints_of(key))).collect();
        services.sort_by(|(a, _), (b, _)| a.seniority().cmp(&b.seniority()));
        elect(vip, &services, &self.eligibility, &self.abilities)
    }

    fn endpoints_of(&self, key: &ServiceKey) -> Endpoints {
        let mut endpoints = Endpoints::default();
        for slice in self.endpoints.get(key).into_iter().flat_map(BTreeMap::values) {
            endpoints.extend(slice);
        }
        endpoints
    }

    /// Brings the announcement of one address in line with its outcome.
    fn announce(&mut self, vip: IpAddr, outcomes: &Outcomes) {
        let mut served = outcomes.values().flatten();
        let Some(Assignment { announcer, interfaces, stands_in_for }) = served.next() else {
            return self.takeovers.nowhere(vip);
        };
        if *announcer != self.me {
            return self.takeovers.elsewhere(vip);
        }
        let interfaces = served.fold(interfaces.clone(), |all, more| all.union(&more.interfaces));
        let tenure = if stands_in_for.is_some() { Tenure::Lent } else { Tenure::Own };
        self.takeovers.here(vip, interfaces, tenure);
    }

    /// Brings what this node announces of one Service in line with the outcomes of its addresses.
    fn follow(&mut self, key: ServiceKey, changes: &mut Vec<Change>) {
        let mut now: Option<Mine> = None;
        for (vip, outcome) in self.assignments(&key) {
            if let Ok(assignment) = outcome
                && assignment.announcer == self.me
            {
                let fresh = || Mine { vips: vec![], interfaces: assignment.interfaces.clone() };
                let mine = now.get_or_insert_with(fresh);
                mine.vips.push(vip);
                mine.interfaces.extend(&assignment.interfaces);
            }
        }
        let before = self.mine.remove(&key);
        let vips_of = |mine: &Option<Mine>| mine.as_ref().map(|mine| mine.vips.clone());
        if vips_of(&before) != vips_of(&now) {
            if let Some(vips) = vips_of(&before) {
                let why = if now.is_some() { Released::Readdressed } else { self.released(&key, &vips) };
                changes.push(Change::Released { service: key.clone(), vips, why });
            }
            if let Some(vips) = vips_of(&now) {
                changes.push(Change::Assigned { service: key.clone(), vips });
            }
        }
        if let Some(now) = now {
            self.mine.insert(key, now);
        }
    }

    /// What became of a Service of which these addresses were announced here, and none is now.
    fn released(&self, key: &ServiceKey, vips: &[IpAddr]) -> Released {
        let former = self.assignments(key).find(|(vip, _)| vips.contains(vip));
        match former.or_else(|| self.assignments(key).next()) {
            None => Released::Gone,
            Some((_, Err(reason))) => Released::Unannounced(reason.clone()),
            Some((_, Ok(assignment))) => Released::MovedTo(assignment.announcer.clone()),
        }
    }
}

/// Whether the outcome of an address can be another when these are members no more. A candidate that did not win
/// makes no difference where all Services of the address are served; where one is not, it may be why.
fn depends_on(outcomes: &Outcomes, lost: &BTreeSet<NodeName>) -> bool {
    outcomes.values().any(|outcome| match outcome {
        Ok(Assignment { announcer, stands_in_for, interfaces: _ }) => {
            lost.contains(announcer) || stands_in_for.as_ref().is_some_and(|absent| lost.contains(absent))
        }
        Err(Unannounced::Unadvertised(_)) => false,
        Err(Unannounced::NoCandidate | Unannounced::NoInterface | Unannounced::SharedElsewhere { .. }) => {
            true
        }
    })
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

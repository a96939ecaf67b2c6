//! The index: keeps what it was told, and works out again only what a change can have touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::election::Electorate;
use crate::{
    Advertisement, AdvertisementName, Assignment, Endpoints, ExcludeLabel, Interfaces, Node, NodeName, Pool,
    PoolName, Service, ServiceKey, SliceKey, Unannounced,
};

/// What this node should announce: the answer, ready to be read at any time.
pub type Announcements = BTreeMap<IpAddr, Announcement>;

/// How this node announces one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where: the union over the Services that have this address.
    pub interfaces: Interfaces,
    /// Which takeover this is. A different one means that the address was gone in between, however
    /// briefly, and that the LAN must be told again.
    pub takeover: Takeover,
}

/// The number of a takeover. No two of one [`Placement`] are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Takeover(pub u64);

/// A Service that came to this node or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This node announces the Service from now on, with these addresses.
    Assigned {
        /// Which Service.
        service: ServiceKey,
        /// Its addresses.
        vips: Vec<IpAddr>,
    },
    /// This node announces the Service no longer with these addresses.
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
    /// It has other addresses now, and stays here.
    Readdressed,
    /// Another node announces it.
    MovedTo(NodeName),
    /// Nobody does.
    Unannounced(Unannounced),
}

/// What this node should announce, kept up to date as the cluster changes.
///
/// Tell it what changed, then call [`Placement::settle`]; [`Placement::announcements`] is the answer as of
/// then. A change of one Service costs that Service; one of members, nodes, pools or advertisements costs
/// all of them. Being told again what is known already costs nothing and changes nothing.
#[derive(Debug)]
pub struct Placement {
    me: NodeName,
    electorate: Electorate,
    services: BTreeMap<ServiceKey, Service>,
    /// Per Service its slices; a slice may arrive before its Service.
    endpoints: BTreeMap<ServiceKey, BTreeMap<SliceKey, Endpoints>>,
    slice_of: BTreeMap<SliceKey, ServiceKey>,
    stale: Stale,
    /// The Services that this node announces.
    mine: BTreeMap<ServiceKey, Mine>,
    /// Which of them have an address, and where each wants it announced.
    holders: BTreeMap<IpAddr, BTreeMap<ServiceKey, Interfaces>>,
    announcements: Announcements,
    takeovers: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Mine {
    vips: Vec<IpAddr>,
    interfaces: Interfaces,
}

/// What has to be worked out again.
#[derive(Debug)]
enum Stale {
    Some(BTreeSet<ServiceKey>),
    Everything,
}

impl Stale {
    fn add(&mut self, service: ServiceKey) {
        match self {
            Self::Some(services) => _ = services.insert(service),
            Self::Everything => {}
        }
    }
}

impl Placement {
    /// Knows nothing and announces nothing yet.
    pub fn new(me: NodeName, exclude_label: ExcludeLabel) -> Self {
        Self {
            me,
            electorate: Electorate::new(exclude_label),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            slice_of: BTreeMap::new(),
            stale: Stale::Some(BTreeSet::new()),
            mine: BTreeMap::new(),
            holders: BTreeMap::new(),
            announcements: BTreeMap::new(),
            takeovers: 0,
        }
    }

    /// A Service is new or different.
    pub fn set_service(&mut self, service: Service) {
        let key = service.key.clone();
        if replace(&mut self.services, key.clone(), service) {
            self.stale.add(key);
        }
    }

    /// A Service is gone, or wants no announcing any more.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        if self.services.remove(key).is_some() {
            self.stale.add(key.clone());
        }
    }

    /// One slice of the serving endpoints of `service` is new or different.
    pub fn set_endpoints(&mut self, slice: &SliceKey, service: &ServiceKey, endpoints: Endpoints) {
        if self.slice_of.get(slice).is_some_and(|former| former != service) {
            self.remove_endpoints(slice);
        }
        self.slice_of.insert(slice.clone(), service.clone());
        if replace(self.endpoints.entry(service.clone()).or_default(), slice.clone(), endpoints) {
            self.stale.add(service.clone());
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
        self.stale.add(service);
    }

    /// A node is new or different.
    pub fn set_node(&mut self, node: Node) {
        if replace(&mut self.electorate.nodes, node.name.clone(), node) {
            self.stale = Stale::Everything;
        }
    }

    /// A node is gone.
    pub fn remove_node(&mut self, name: &NodeName) {
        if self.electorate.nodes.remove(name).is_some() {
            self.stale = Stale::Everything;
        }
    }

    /// A pool is new or different.
    pub fn set_pool(&mut self, pool: Pool) {
        if replace(&mut self.electorate.pools, pool.name.clone(), pool) {
            self.stale = Stale::Everything;
        }
    }

    /// A pool is gone.
    pub fn remove_pool(&mut self, name: &PoolName) {
        if self.electorate.pools.remove(name).is_some() {
            self.stale = Stale::Everything;
        }
    }

    /// An advertisement is new or different.
    pub fn set_advertisement(&mut self, advertisement: Advertisement) {
        if replace(&mut self.electorate.advertisements, advertisement.name.clone(), advertisement) {
            self.stale = Stale::Everything;
        }
    }

    /// An advertisement is gone.
    pub fn remove_advertisement(&mut self, name: &AdvertisementName) {
        if self.electorate.advertisements.remove(name).is_some() {
            self.stale = Stale::Everything;
        }
    }

    /// The nodes whose speaker is alive.
    pub fn set_members(&mut self, members: BTreeSet<NodeName>) {
        if self.electorate.members != members {
            self.electorate.members = members;
            self.stale = Stale::Everything;
        }
    }

    /// Works out what has changed since the last call, and returns the Services that came and went.
    pub fn settle(&mut self) -> Vec<Change> {
        let keys = match std::mem::replace(&mut self.stale, Stale::Some(BTreeSet::new())) {
            Stale::Some(keys) => keys,
            Stale::Everything => {
                self.electorate.refresh();
                self.services.keys().chain(self.mine.keys()).cloned().collect()
            }
        };
        let mut changes = Vec::new();
        for key in keys {
            self.settle_one(key, &mut changes);
        }
        changes
    }

    /// What this node should announce, as of the last [`Self::settle`].
    pub fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// Who announces a Service and where, or why nobody does; `None` for a Service that is not known.
    pub fn assignment(&self, key: &ServiceKey) -> Option<Result<Assignment, Unannounced>> {
        let service = self.services.get(key)?;
        let mut endpoints = Endpoints::default();
        for slice in self.endpoints.get(key).into_iter().flat_map(BTreeMap::values) {
            endpoints.extend(slice);
        }
        Some(self.electorate.elect(service, &endpoints))
    }

    fn settle_one(&mut self, key: ServiceKey, changes: &mut Vec<Change>) {
        let (now, why) = match self.assignment(&key) {
            None => (None, Released::Gone),
            Some(Err(reason)) => (None, Released::Unannounced(reason)),
            Some(Ok(Assignment { announcer, .. })) if announcer != self.me => {
                (None, Released::MovedTo(announcer))
            }
            Some(Ok(Assignment { interfaces, .. })) => {
                let vips = self.services[&key].vips.clone();
                (Some(Mine { vips, interfaces }), Released::Readdressed)
            }
        };
        let before = self.mine.remove(&key);
        if let Some(now) = &now {
            for vip in &now.vips {
                self.holders.entry(*vip).or_default().insert(key.clone(), now.interfaces.clone());
            }
        }
        for vip in before.iter().flat_map(|before| &before.vips) {
            if now.as_ref().is_none_or(|now| !now.vips.contains(vip))
                && let Some(holders) = self.holders.get_mut(vip)
            {
                holders.remove(&key);
            }
        }
        for vip in [&before, &now].into_iter().flatten().flat_map(|mine| &mine.vips) {
            self.announce(*vip);
        }

        let vips_of = |mine: &Option<Mine>| mine.as_ref().map(|mine| mine.vips.clone());
        if vips_of(&before) != vips_of(&now) {
            if let Some(vips) = vips_of(&before) {
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

    /// Brings the announcement of one address in line with the Services that hold it.
    fn announce(&mut self, vip: IpAddr) {
        let holders = self.holders.get(&vip).into_iter().flat_map(BTreeMap::values);
        let Some(interfaces) = holders.cloned().reduce(|all, more| all.union(&more)) else {
            self.holders.remove(&vip);
            self.announcements.remove(&vip);
            return;
        };
        if let Some(announcement) = self.announcements.get_mut(&vip) {
            announcement.interfaces = interfaces;
        } else {
            self.takeovers += 1;
            let takeover = Takeover(self.takeovers);
            self.announcements.insert(vip, Announcement { interfaces, takeover });
        }
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
mod tests {
    use super::*;
    use crate::fixtures::*;
    use crate::{Network, TrafficPolicy};

    /// A node's view of a cluster of three, where node-b comes first for 10.0.0.1 and 10.0.0.2.
    fn placement(me: &str) -> Placement {
        let mut it = Placement::new(me.into(), ExcludeLabel::Honoured);
        for name in ["node-a", "node-b", "node-c"] {
            it.set_node(node(name));
        }
        it.set_members(members(&["node-a", "node-b", "node-c"]));
        it.set_pool(pool("pool", "10.0.0.0", "10.0.0.255"));
        it.set_advertisement(advertisement("ad"));
        assert_eq!(it.settle(), []);
        it
    }

    fn with_web(me: &str) -> Placement {
        let mut it = placement(me);
        it.set_service(service("web", "10.0.0.1"));
        it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
        it
    }

    fn members(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("default", name)
    }

    fn slice(name: &str) -> SliceKey {
        SliceKey::new("default", name)
    }

    fn assigned(name: &str, vip: &str) -> Change {
        Change::Assigned { service: key(name), vips: vec![ip(vip)] }
    }

    fn released(name: &str, vip: &str, why: Released) -> Change {
        Change::Released { service: key(name), vips: vec![ip(vip)], why }
    }

    fn announced(it: &Placement) -> Vec<String> {
        it.announcements().keys().map(ToString::to_string).collect()
    }

    #[test]
    fn one_node_of_three_announces() {
        for (me, expected) in [("node-a", 0), ("node-b", 1), ("node-c", 0)] {
            let mut it = with_web(me);
            assert_eq!(it.settle().len(), expected, "{me}");
            assert_eq!(it.announcements().len(), expected, "{me}");
        }
    }

    #[test]
    fn an_address_moves_with_its_announcer_and_back_again() {
        let mut b = with_web("node-b");
        let mut a = with_web("node-a");
        assert_eq!(b.settle(), [assigned("web", "10.0.0.1")]);
        assert_eq!(a.settle(), []);
        for it in [&mut a, &mut b] {
            it.set_members(members(&["node-a", "node-c"]));
        }
        assert_eq!(a.settle(), [assigned("web", "10.0.0.1")]);
        assert_eq!(b.settle(), [released("web", "10.0.0.1", Released::MovedTo("node-a".into()))]);
        assert!(b.announcements().is_empty());
        a.set_members(members(&["node-a", "node-b", "node-c"]));
        assert_eq!(a.settle(), [released("web", "10.0.0.1", Released::MovedTo("node-b".into()))]);
    }

    #[test]
    fn being_told_the_same_again_changes_nothing() {
        let mut it = with_web("node-b");
        it.settle();
        let before = it.announcements().clone();
        it.set_service(service("web", "10.0.0.1"));
        it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
        it.set_node(node("node-a"));
        it.set_members(members(&["node-a", "node-b", "node-c"]));
        it.set_pool(pool("pool", "10.0.0.0", "10.0.0.255"));
        it.set_advertisement(advertisement("ad"));
        assert!(matches!(&it.stale, Stale::Some(keys) if keys.is_empty()));
        assert_eq!(it.settle(), []);
        assert_eq!(it.announcements(), &before);
    }

    #[test]
    fn an_unrelated_change_leaves_the_takeover_as_it_is() {
        let mut it = with_web("node-b");
        it.settle();
        let before = it.announcements().clone();
        it.set_node(Node { network: Network::Unavailable, ..node("node-c") });
        it.set_endpoints(&slice("web-2"), &key("web"), serving(&["node-c"]));
        it.set_pool(pool("other", "10.0.9.0", "10.0.9.255"));
        assert_eq!(it.settle(), []);
        assert_eq!(it.announcements(), &before);
    }

    #[test]
    fn coming_back_is_a_new_takeover() {
        let mut it = with_web("node-b");
        it.settle();
        let first = it.announcements()[&ip("10.0.0.1")].takeover;
        it.set_members(members(&["node-a"]));
        it.settle();
        it.set_members(members(&["node-a", "node-b"]));
        it.settle();
        assert_ne!(it.announcements()[&ip("10.0.0.1")].takeover, first);
    }

    #[test]
    fn whatever_an_address_depends_on_withdraws_it_when_it_goes() {
        type Removal = fn(&mut Placement);
        let removals: [(Removal, Released); 6] = [
            (|it| it.remove_service(&key("web")), Released::Gone),
            (|it| it.remove_endpoints(&slice("web-1")), Released::Unannounced(Unannounced::NoEndpoint)),
            (|it| it.remove_pool(&"pool".into()), Released::Unannounced(Unannounced::NoPool)),
            (|it| it.remove_advertisement(&"ad".into()), Released::Unannounced(Unannounced::NoAdvertisement)),
            (|it| it.remove_node(&"node-b".into()), Released::MovedTo("node-a".into())),
            (|it| it.set_members([].into()), Released::Unannounced(Unannounced::NoCandidate)),
        ];
        for (remove, why) in removals {
            let mut it = with_web("node-b");
            it.settle();
            remove(&mut it);
            assert_eq!(it.settle(), [released("web", "10.0.0.1", why)]);
            assert!(it.announcements().is_empty());
            assert!(it.holders.is_empty());
        }
    }

    #[test]
    fn endpoints_add_up_over_slices_and_follow_a_slice_to_another_service() {
        let mut it = placement("node-b");
        let local = |name, vip| Service { traffic_policy: TrafficPolicy::Local, ..service(name, vip) };
        it.set_service(local("one", "10.0.0.1"));
        it.set_service(local("two", "10.0.0.2"));
        it.set_endpoints(&slice("x"), &key("one"), serving(&["node-c"]));
        assert_eq!(it.settle(), []);
        it.set_endpoints(&slice("y"), &key("one"), serving(&["node-b"]));
        assert_eq!(it.settle(), [assigned("one", "10.0.0.1")]);
        it.set_endpoints(&slice("y"), &key("two"), serving(&["node-b"]));
        assert_eq!(
            it.settle(),
            [released("one", "10.0.0.1", Released::MovedTo("node-c".into())), assigned("two", "10.0.0.2")]
        );
    }

    #[test]
    fn a_new_address_replaces_the_old_one() {
        let mut it = with_web("node-b");
        it.settle();
        it.set_service(service("web", "10.0.0.2"));
        assert_eq!(
            it.settle(),
            [released("web", "10.0.0.1", Released::Readdressed), assigned("web", "10.0.0.2")]
        );
        assert_eq!(announced(&it), ["10.0.0.2"]);
    }

    #[test]
    fn a_shared_address_stays_while_one_of_its_services_wants_it() {
        let mut it = with_web("node-b");
        it.set_service(service("dns", "10.0.0.1"));
        it.set_endpoints(&slice("dns-1"), &key("dns"), serving(&["node-c"]));
        assert_eq!(it.settle(), [assigned("dns", "10.0.0.1"), assigned("web", "10.0.0.1")]);
        let before = it.announcements().clone();
        it.remove_service(&key("web"));
        assert_eq!(it.settle(), [released("web", "10.0.0.1", Released::Gone)]);
        assert_eq!(it.announcements(), &before);
        it.remove_service(&key("dns"));
        it.settle();
        assert!(it.announcements().is_empty());
    }

    #[test]
    fn other_interfaces_are_no_new_takeover() {
        let mut it = with_web("node-b");
        it.settle();
        let before = it.announcements()[&ip("10.0.0.1")].clone();
        it.set_advertisement(Advertisement { interfaces: only(&["eth1"]), ..advertisement("ad") });
        assert_eq!(it.settle(), []);
        let expected = Announcement { interfaces: only(&["eth1"]), ..before };
        assert_eq!(it.announcements()[&ip("10.0.0.1")], expected);
    }
}

//! The index: keeps what it was told, and works out again only what a change can have touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::election::Electorate;
use crate::{
    Advertisement, AdvertisementName, Assignment, Endpoints, ExcludeLabel, Interfaces, Node, NodeName, Pools,
    Service, ServiceKey, SliceKey, Unannounced,
};

/// What this node should announce: the answer, ready to be read at any time.
pub type Announcements = BTreeMap<IpAddr, Announcement>;

/// How this node announces one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Where: the union over the Services that have this address.
    pub interfaces: Interfaces,
    /// Which takeover this is. A different one means that the address was gone in between, however
    /// briefly, or that others may have spoken for it, and that the LAN must be told again.
    pub takeover: Takeover,
    /// How to begin, and what to say of it.
    pub history: History,
}

/// What an address was when this node took it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Newly given to a Service, and announced by nobody yet: a stranger on the LAN may have it.
    New,
    /// Announced before, by this node or another.
    Announced,
    /// Announced by a member that is away for a moment, and whose node still serves whoever believes it to be there:
    /// those who ask are to be answered, but nobody is to be told.
    Lent,
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
    /// Which of them have an address, and how each wants it announced.
    holders: BTreeMap<IpAddr, BTreeMap<ServiceKey, Share>>,
    announcements: Announcements,
    takeovers: u64,
    novelties: Novelties,
}

/// The addresses that nobody has announced yet, as far as this node can know.
#[derive(Debug)]
enum Novelties {
    /// Where one starts, every address may have been announced before.
    Unknowable,
    /// These.
    Only(BTreeSet<IpAddr>),
}

#[derive(Debug, PartialEq, Eq)]
struct Mine {
    vips: Vec<IpAddr>,
    share: Share,
}

/// What a Service wants for its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    interfaces: Interfaces,
    tenure: Tenure,
}

/// Why a Service is announced from here. With several Services at one address, the stronger reason counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tenure {
    /// This node stands in for a member that is away.
    Lent,
    /// This node ranks first.
    Own,
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
            novelties: Novelties::Unknowable,
        }
    }

    /// A Service is new or different.
    pub fn set_service(&mut self, service: Service) {
        let key = service.key.clone();
        if let Novelties::Only(novelties) = &mut self.novelties {
            let known = self.services.get(&key).map_or(&[][..], |known| &known.vips);
            novelties.extend(service.vips.iter().filter(|vip| !known.contains(vip)));
        }
        if replace(&mut self.services, key.clone(), service) {
            self.stale.add(key);
        }
    }

    /// A Service is gone, or wants no announcing any more.
    pub fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.services.remove(key) {
            // One that is given again later comes back with its Service.
            for vip in &service.vips {
                self.novelties.announced(*vip);
            }
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

    /// The pools are these.
    pub fn set_pools(&mut self, pools: Pools) {
        if self.electorate.pools != pools {
            self.electorate.pools = pools;
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

    /// Those that are no members at present but will be again in a moment, while their nodes go on. What falls to
    /// this node instead of one of them is [lent](History::Lent); if they are away no more, and no members either,
    /// it is taken over.
    pub fn set_away(&mut self, away: BTreeSet<NodeName>) {
        if self.electorate.away != away {
            self.electorate.away = away;
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
        if matches!(self.novelties, Novelties::Unknowable) {
            self.novelties = Novelties::Only(BTreeSet::new());
        }
        changes
    }

    /// Makes every announcement a new takeover: somebody else may have spoken for these addresses in the
    /// meantime, and the LAN may believe it.
    pub fn reassert(&mut self) {
        for announcement in self.announcements.values_mut() {
            self.takeovers += 1;
            *announcement = Announcement {
                takeover: Takeover(self.takeovers),
                history: History::Announced,
                ..announcement.clone()
            };
        }
    }

    /// This node has begun to announce a new address: it is new no more, should it be announced elsewhere as well.
    pub fn was_announced(&mut self, vip: IpAddr) {
        if let Some(announcement) = self.announcements.get_mut(&vip) {
            announcement.history = History::Announced;
        }
    }

    /// The newest takeover so far: those to come are greater.
    pub fn last_takeover(&self) -> Takeover {
        Takeover(self.takeovers)
    }

    /// The takeovers newer than that which are still in force.
    pub fn takeovers_since(&self, last: Takeover) -> BTreeSet<Takeover> {
        self.announcements.values().map(|it| it.takeover).filter(|takeover| *takeover > last).collect()
    }

    /// The Services that this node announces as of the last [`Self::settle`], and where.
    pub fn announced(&self) -> impl Iterator<Item = (&ServiceKey, &[IpAddr], &Interfaces)> {
        self.mine.iter().map(|(key, mine)| (key, &mine.vips[..], &mine.share.interfaces))
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
                for vip in &self.services[&key].vips {
                    self.novelties.announced(*vip);
                }
                (None, Released::MovedTo(announcer))
            }
            Some(Ok(Assignment { interfaces, stands_in_for, announcer: _ })) => {
                let vips = self.services[&key].vips.clone();
                let tenure = if stands_in_for.is_some() { Tenure::Lent } else { Tenure::Own };
                let share = Share { interfaces, tenure };
                (Some(Mine { vips, share }), Released::Readdressed)
            }
        };
        let before = self.mine.remove(&key);
        if let Some(now) = &now {
            for vip in &now.vips {
                self.holders.entry(*vip).or_default().insert(key.clone(), now.share.clone());
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
        let union = |all: Share, more: Share| Share {
            interfaces: all.interfaces.union(&more.interfaces),
            tenure: all.tenure.max(more.tenure),
        };
        let Some(Share { interfaces, tenure }) = holders.cloned().reduce(union) else {
            self.holders.remove(&vip);
            self.announcements.remove(&vip);
            return;
        };
        let history = match self.novelties.announced(vip) {
            History::Announced if tenure == Tenure::Lent => History::Lent,
            history => history,
        };
        match self.announcements.get_mut(&vip) {
            // Where it is ours already, others may have learned that.
            Some(announcement) if tenure == Tenure::Lent || announcement.history != History::Lent => {
                announcement.interfaces = interfaces;
            }
            Some(_) | None => {
                self.takeovers += 1;
                let takeover = Takeover(self.takeovers);
                self.announcements.insert(vip, Announcement { interfaces, takeover, history });
            }
        }
    }
}

impl Novelties {
    /// Somebody announces this address from now on; what it was until then.
    fn announced(&mut self, vip: IpAddr) -> History {
        match self {
            Self::Unknowable => History::Announced,
            Self::Only(novelties) => {
                if novelties.remove(&vip) {
                    History::New
                } else {
                    History::Announced
                }
            }
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
mod tests;

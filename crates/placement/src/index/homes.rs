//! Where addresses are at home: what module [`crate::spread`] says, of this cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use crate::election::Precedence;
use crate::index::Placement;
use crate::spread::{Homes, Nodes, Spread, homes};
use crate::{NodeName, Service, ServiceKey};

/// The homes of all addresses.
#[derive(Debug, Default)]
pub(crate) struct HomesOfAll {
    spread: Spread,
    by_vip: BTreeMap<IpAddr, Homes>,
    /// Whether anything has changed that they follow from.
    pub(super) stale: bool,
}

impl HomesOfAll {
    pub(crate) fn of(&self, vip: IpAddr) -> Option<&Homes> {
        self.by_vip.get(&vip)
    }
}

impl Placement {
    /// How candidates are ranked from now on.
    pub fn set_spread(&mut self, spread: Spread) {
        if self.homes.spread != spread {
            self.homes.spread = spread;
            self.homes.stale = true;
        }
    }

    /// What goes before the hash of a node for an address.
    pub(super) fn precedence(&self, vip: IpAddr, node: &NodeName) -> Precedence {
        Precedence::of(node, self.homes.of(vip), self.keeping.of(vip))
    }

    /// Brings the homes up to date. The addresses for which that makes a difference.
    pub(super) fn follow_homes(&mut self) -> Vec<IpAddr> {
        if !std::mem::take(&mut self.homes.stale) {
            return vec![];
        }
        let now = match self.homes.spread {
            Spread::ByHash if self.homes.by_vip.is_empty() => return vec![],
            Spread::ByHash => BTreeMap::new(),
            Spread::Evenly => self.find_homes(),
        };
        let before = std::mem::replace(&mut self.homes.by_vip, now);
        let now = &self.homes.by_vip;
        let vips = before.keys().chain(now.keys()).filter(|vip| before.get(vip) != now.get(vip));
        vips.copied().collect()
    }

    /// The addresses of a Service that shares none have one home, that of the first.
    fn find_homes(&self) -> BTreeMap<IpAddr, Homes> {
        let nodes = Nodes::new(self.eligibility.nodes.keys());
        let oldest = |users: &Vec<ServiceKey>| {
            let users = users.iter().map(|key| &self.services[key]);
            users.min_by(|one, other| one.seniority().cmp(&other.seniority()))
        };
        let ranked_by: BTreeMap<IpAddr, IpAddr> = self
            .users
            .iter()
            .filter_map(|(vip, users)| Some((*vip, *oldest(users)?.vips.first()?)))
            .collect();
        let ranking: BTreeSet<IpAddr> = ranked_by.values().copied().collect();
        let mut ranking: Vec<(IpAddr, Vec<&Service>)> =
            ranking.into_iter().map(|vip| (vip, self.by_seniority(vip))).collect();
        ranking.sort_by(|(a, users), (b, others)| {
            let oldest = |users: &[&Service]| users.first().map(|it| (it.created, it.key.clone()));
            oldest(users).cmp(&oldest(others)).then(a.cmp(b))
        });
        let mut known = BTreeMap::new();
        let mut potential = |users: &[&Service]| {
            let mut common: Option<Rc<[usize]>> = None;
            for service in users {
                let more = self.eligibility.potential(service, &self.endpoints_of(&service.key), &mut known);
                common = match common {
                    None => Some(more).filter(|it| !it.is_empty()),
                    Some(common) if Rc::ptr_eq(&common, &more) => Some(common),
                    Some(common) => {
                        let both: Rc<[usize]> =
                            common.iter().copied().filter(|node| more.contains(node)).collect();
                        Some(if both.is_empty() { common } else { both })
                    }
                };
            }
            common.unwrap_or_default()
        };
        let addresses: Vec<_> = ranking.iter().map(|(vip, users)| (*vip, potential(users))).collect();
        let homes = homes(&addresses, &nodes);
        let of = |(vip, ranked_by): (&IpAddr, &IpAddr)| Some((*vip, homes.get(ranked_by)?.clone()));
        ranked_by.iter().filter_map(of).collect()
    }

    fn by_seniority(&self, vip: IpAddr) -> Vec<&Service> {
        let users = self.users.get(&vip).into_iter().flatten();
        let mut services: Vec<&Service> = users.map(|key| &self.services[key]).collect();
        services.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        services
    }
}

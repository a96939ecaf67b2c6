//! Where addresses are at home: what module [`crate::spread`] says, of this cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use crate::election::Precedence;
use crate::eligibility::serves;
use crate::index::Placement;
use crate::spread::{Homes, Nodes, Spread, homes};
use crate::{NodeName, Service, TrafficPolicy};

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

    /// What ranks a node for an address besides its score and its hash.
    pub(super) fn precedence(&self, vip: IpAddr, node: &NodeName) -> Precedence {
        Precedence::of(node, self.homes.of(vip), self.keeping.of(vip))
    }

    /// Brings the homes up to date. The addresses for which that makes a difference.
    pub(super) fn follow_homes(&mut self) -> Vec<IpAddr> {
        if !std::mem::take(&mut self.homes.stale) {
            return vec![];
        }
        let now = match self.homes.spread {
            Spread::ByHash => BTreeMap::new(),
            Spread::Evenly => self.find_homes(),
        };
        let before = std::mem::replace(&mut self.homes.by_vip, now);
        let now = &self.homes.by_vip;
        let vips = before.keys().chain(now.keys()).filter(|vip| before.get(vip) != now.get(vip));
        vips.copied().collect()
    }

    /// The addresses of a Service that shares none have one home, that of the first.
    ///
    /// Endpoints come and go with Pods. They make a difference to Services with the policy Local only, which therefore are
    /// served last: no home moves for an endpoint of another Service.
    fn find_homes(&self) -> BTreeMap<IpAddr, Homes> {
        let nodes = Nodes::new(self.eligibility.nodes.keys());
        let ranked_by: BTreeMap<IpAddr, IpAddr> = self
            .users
            .keys()
            .filter_map(|vip| Some((*vip, *self.by_seniority(*vip).first()?.vips.first()?)))
            .collect();
        let ranking: BTreeSet<IpAddr> = ranked_by.values().copied().collect();
        let mut ranking: Vec<(IpAddr, Vec<&Service>)> =
            ranking.into_iter().map(|vip| (vip, self.by_seniority(vip))).collect();
        let is_local = |users: &[&Service]| users.iter().any(|it| it.traffic_policy == TrafficPolicy::Local);
        ranking.sort_by(|(_, users), (_, others)| {
            let locals = is_local(users).cmp(&is_local(others));
            locals.then_with(|| {
                users.first().map(|it| it.seniority()).cmp(&others.first().map(|it| it.seniority()))
            })
        });
        let mut known = BTreeMap::new();
        let mut candidates = |users: &[&Service]| {
            let mut common: Option<Rc<[usize]>> = None;
            for service in users {
                let mut more = self.eligibility.preferred(service, &mut known);
                if service.traffic_policy == TrafficPolicy::Local {
                    let endpoints = self.endpoints_of(&service.key);
                    let serving = more.iter().filter(|it| serves(service, &endpoints, nodes.names[**it]));
                    more = serving.copied().collect();
                }
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
        let addresses: Vec<_> = ranking.iter().map(|(vip, users)| (*vip, candidates(users))).collect();
        let among = known.values().flat_map(|nodes| nodes.iter()).collect::<BTreeSet<_>>().len();
        let homes = homes(&addresses, among, &nodes);
        let of = |(vip, ranked_by): (&IpAddr, &IpAddr)| Some((*vip, homes.get(ranked_by)?.clone()));
        ranked_by.iter().filter_map(of).collect()
    }

    /// The Services that use an address, the oldest first.
    pub(super) fn by_seniority(&self, vip: IpAddr) -> Vec<&Service> {
        let users = self.users.get(&vip).into_iter().flatten();
        let mut services: Vec<&Service> = users.map(|key| &self.services[key]).collect();
        services.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
        services
    }
}

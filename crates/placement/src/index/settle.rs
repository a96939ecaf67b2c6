//! What follows from what has changed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::election::{Field, Outcome, elect};
use crate::index::{Mine, Placement};
use crate::takeover::Role;
use crate::{Assignment, Change, Endpoints, Moved, NodeName, Released, Service, ServiceKey};

/// What has to be worked out again.
#[derive(Debug)]
pub(crate) enum Stale {
    /// These addresses, and of the others those for which one of these nodes makes a difference.
    Some { vips: BTreeSet<IpAddr>, nodes: BTreeSet<NodeName> },
    /// All of them: pools or advertisements are different.
    Everything,
}

impl Stale {
    pub(super) fn nothing() -> Self {
        Self::Some { vips: BTreeSet::new(), nodes: BTreeSet::new() }
    }

    pub(super) fn add(&mut self, more: impl IntoIterator<Item = IpAddr>) {
        match self {
            Self::Some { vips, .. } => vips.extend(more),
            Self::Everything => {}
        }
    }

    pub(super) fn add_nodes(&mut self, more: impl IntoIterator<Item = NodeName>) {
        match self {
            Self::Some { nodes, .. } => nodes.extend(more),
            Self::Everything => {}
        }
    }
}

impl Placement {
    /// Works out what has changed since the last call, and returns the Services that came and went.
    pub fn settle(&mut self) -> Vec<Change> {
        let mut touched: BTreeSet<ServiceKey> = BTreeSet::new();
        let mut stale = self.stale_vips();
        stale.extend(self.follow_homes());
        for vip in stale {
            let outcome = self.elect(vip);
            self.announce(vip, &outcome);
            self.moved.extend(self.moved(vip, &outcome));
            touched.extend(outcome.services.iter().map(|(key, _)| key.clone()));
            let before = if outcome.services.is_empty() {
                self.outcomes.remove(&vip)
            } else {
                self.outcomes.insert(vip, outcome)
            };
            touched.extend(before.into_iter().flat_map(|before| before.services).map(|(key, _)| key));
        }
        self.takeovers.started();
        self.follow_kept();
        let mut changes = Vec::new();
        self.reviewed.extend(touched.iter().cloned());
        for key in touched {
            self.follow(key, &mut changes);
        }
        changes
    }

    /// The Services of which [`Self::settle`] worked something out again since the last call.
    pub fn take_reviewed(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.reviewed)
    }

    /// The addresses that other nodes are to announce since the last call, in order; some may have moved on meanwhile.
    pub fn take_moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// Whether another node is to announce the address from now on.
    fn moved(&self, vip: IpAddr, outcome: &Outcome) -> Option<Moved> {
        let mut served = outcome.assignments();
        let Assignment { announcer, interfaces, .. } = served.next()?;
        let before = self.outcomes.get(&vip).and_then(|before| before.assignments().next());
        let before = before.map(|before| &before.announcer);
        if *announcer == self.me || before == Some(announcer) {
            return None;
        }
        let interfaces = served.fold(interfaces.clone(), |all, more| all.union(&more.interfaces));
        let from_here = before == Some(&self.me);
        Some(Moved { vip, to: announcer.clone(), interfaces, from_here, place: outcome.place })
    }

    /// The addresses to work out again; from now on, none.
    fn stale_vips(&mut self) -> BTreeSet<IpAddr> {
        match std::mem::replace(&mut self.stale, Stale::nothing()) {
            Stale::Everything => {
                self.eligibility.refresh();
                self.users.keys().chain(self.outcomes.keys()).copied().collect()
            }
            Stale::Some { mut vips, nodes } => {
                for node in nodes {
                    self.eligibility.refresh_node(&node);
                    let score = self.eligibility.highest_score(&node);
                    let depends = self.outcomes.iter().filter(|(vip, outcome)| {
                        outcome.depends_on(&node, score, self.precedence(**vip, &node))
                    });
                    vips.extend(depends.map(|(vip, _)| *vip));
                }
                vips
            }
        }
    }

    fn elect(&self, vip: IpAddr) -> Outcome {
        let services = self.by_seniority(vip).into_iter();
        let services: Vec<(&Service, Vec<&Endpoints>)> =
            services.map(|service| (service, self.endpoints_of(&service.key))).collect();
        let field = Field {
            me: &self.me,
            eligibility: &self.eligibility,
            abilities: &self.abilities,
            conceding: self.conceding.get(&vip),
            homes: self.homes.of(vip),
            keeping: self.keeping.of(vip),
        };
        elect(vip, &services, &field)
    }

    pub(super) fn endpoints_of(&self, key: &ServiceKey) -> Vec<&Endpoints> {
        self.endpoints(key).collect()
    }

    /// Brings the announcement of one address in line with its outcome.
    fn announce(&mut self, vip: IpAddr, outcome: &Outcome) {
        let mut served = outcome.assignments();
        let Some(Assignment { announcer, interfaces, stand_in_for }) = served.next() else {
            return self.takeovers.nowhere(vip);
        };
        if *announcer != self.me {
            return self.takeovers.elsewhere(vip);
        }
        let interfaces = served.fold(interfaces.clone(), |all, more| all.union(&more.interfaces));
        let role = if stand_in_for.is_some() { Role::StandIn } else { Role::Elected };
        self.takeovers.here(vip, interfaces, role);
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
        if let Some(mut now) = now {
            now.vips.shrink_to_fit();
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

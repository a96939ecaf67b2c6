//! What this node announces, and what is known of others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::election::can_announce;
use crate::index::Placement;
use crate::{
    Abilities, Ability, Advertisement, Announcements, Assignment, Endpoints, ExcludeLabel, InterfaceName,
    Interfaces, Node, NodeName, Obstacle, Pools, Service, ServiceKey, Takeover, Unadvertised, Unannounced,
};

impl Placement {
    /// The Services that are known.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// What is known of a Service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }

    /// Where a Service has serving endpoints: one entry for each of its slices.
    pub fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &Endpoints> {
        self.endpoints.get(key).into_iter().flatten().map(|(_, endpoints)| endpoints)
    }

    /// The pools that are in force.
    pub fn pools(&self) -> &Pools {
        &self.eligibility.pools
    }

    /// What is known of a node.
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.eligibility.nodes.get(name)
    }

    /// Whether nodes with [`EXCLUDE_LABEL`](crate::EXCLUDE_LABEL) may announce all the same.
    pub fn ignores_exclude_label(&self) -> bool {
        self.eligibility.exclude_label == ExcludeLabel::Ignored
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

    /// Whether any Service uses `vip`.
    pub fn is_used(&self, vip: IpAddr) -> bool {
        self.users.contains_key(&vip)
    }

    /// Who announces `vip` as of the last [`Self::settle`], if anybody does.
    pub fn announcer(&self, vip: IpAddr) -> Option<&NodeName> {
        Some(&self.outcomes.get(&vip)?.assignments().next()?.announcer)
    }

    /// Who announces the first address of a Service and where, or why nobody does, as of the last [`Self::settle`];
    /// `None` for a Service that was not known then.
    pub fn assignment(&self, key: &ServiceKey) -> Option<Result<Assignment, Unannounced>> {
        let first = self.services.get(key)?.vips.first()?;
        self.outcomes.get(first)?.of(key).cloned()
    }

    /// The same for each address of a Service.
    pub fn assignments(
        &self,
        key: &ServiceKey,
    ) -> impl Iterator<Item = (IpAddr, &Result<Assignment, Unannounced>)> {
        let vips = self.services.get(key).into_iter().flat_map(|service| &service.vips);
        vips.filter_map(move |vip| Some((*vip, self.outcomes.get(vip)?.of(key)?)))
    }

    /// Whether `node` would rank before whoever announces `vip` as of the last [`Self::settle`], if it were a live member.
    pub fn ranks_first(&self, vip: IpAddr, node: &NodeName) -> bool {
        let (score, precedence) = (self.score_of(vip, node), self.precedence(vip, node));
        self.outcomes.get(&vip).is_some_and(|outcome| outcome.ranks_first(node, score, precedence))
    }

    /// The score that the oldest Service which `vip` is announced for would give `node` if it were a live member.
    pub(super) fn score_of(&self, vip: IpAddr, node: &NodeName) -> Option<u32> {
        let users = self.users.get(&vip).into_iter().flatten().filter_map(|key| self.services.get(key));
        let outcome = self.outcomes.get(&vip);
        let served = |service: &&Service| {
            outcome.and_then(|outcome| outcome.of(&service.key)).is_some_and(Result::is_ok)
        };
        let oldest = users.filter(served).min_by(|one, other| one.seniority().cmp(&other.seniority()));
        oldest.and_then(|oldest| self.eligibility.score(oldest, &self.endpoints_of(&oldest.key), node))
    }

    /// The candidates for `vip` that rank before its announcer and are passed over, since they have lost an interface on
    /// which another can announce it, or may lose it again: with these interfaces, and what each can do by now. Wants
    /// [`Self::settle`] called since the last change.
    pub fn passed_over(&self, vip: IpAddr) -> BTreeMap<NodeName, BTreeMap<InterfaceName, Ability>> {
        let Some(announcer) = self.announcer(vip) else { return BTreeMap::new() };
        let users = self.users.get(&vip).into_iter().flatten();
        let served: Vec<&ServiceKey> = users
            .filter(|key| self.outcomes.get(&vip).and_then(|it| it.of(key)).is_some_and(Result::is_ok))
            .collect();
        let out: BTreeSet<NodeName> = served
            .iter()
            .filter_map(|key| self.obstacles(key, vip)?.ok())
            .flat_map(BTreeMap::into_keys)
            .collect();
        let mut passed_over: BTreeMap<NodeName, BTreeMap<InterfaceName, Ability>> = BTreeMap::new();
        for service in served.into_iter().filter_map(|key| self.services.get(key)) {
            let Ok(eligible) = self.eligibility.eligible(service, &self.endpoints_of(&service.key)) else {
                continue;
            };
            for (node, standing) in &eligible.nodes {
                let is_candidate = standing.live && !out.contains(*node);
                if !is_candidate || *node == announcer || !self.ranks_first(vip, node) {
                    continue;
                }
                let allowed = |name: &&InterfaceName| eligible.allowed(node).any(|it| it.contains(name));
                for name in self.abilities.lost(node, vip).filter(allowed) {
                    let Some(Abilities::Known(by_name)) = self.abilities.get(node) else { continue };
                    let ability = by_name.get(name).copied().unwrap_or_default().of(vip);
                    passed_over.entry((*node).clone()).or_default().insert(name.clone(), ability);
                }
            }
        }
        passed_over
    }

    /// The advertisements that are for a Service, by name; none for one that is not known, or that none is for.
    pub fn advertisements(&self, key: &ServiceKey) -> Vec<&Advertisement> {
        let Some(service) = self.services.get(key) else { return vec![] };
        self.eligibility.advertisements_of(service, &self.endpoints_of(key)).unwrap_or_default()
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
                } else if eligible.nodes.iter().any(|(other, _)| *other == node)
                    && !can_announce(&self.abilities, node, vip, &eligible)
                {
                    obstacles.insert(node.clone(), Obstacle::NoInterface(eligible.interfaces(node)));
                } else if self.conceding.get(&vip).is_some_and(|nodes| nodes.contains(node)) {
                    obstacles.insert(node.clone(), Obstacle::Outdated);
                }
            }
            Ok(obstacles)
        }))
    }
}

//! Which nodes may announce a Service, and why the others may not. Nothing here depends on the protocol by which
//! it is announced.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use pools::{Pool, Pools};

use crate::{
    Advertisement, AdvertisementName, Endpoints, Interfaces, Network, Node, NodeName, Service, Sharing,
    TrafficPolicy,
};

/// A node with this label, whatever its value, announces nothing (the label is Kubernetes' own).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What [`EXCLUDE_LABEL`] means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcludeLabel {
    /// Nodes that carry it announce nothing.
    Honoured,
    /// It means nothing.
    Ignored,
}

/// Why no node at all may announce a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unadvertised {
    /// No pool has all of its addresses.
    NoPool,
    /// No endpoint serves.
    NoEndpoint,
    /// No advertisement covers its pool and selects it.
    NoAdvertisement,
    /// Services with one address would be announced from several nodes at once.
    SharedYetSelected,
}

/// Why a node may not announce a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ineligible {
    /// The cluster has no such Node.
    NoNode,
    /// Its speaker is not alive.
    NotMember,
    /// Its condition `NetworkUnavailable` is true.
    NetworkUnavailable,
    /// It carries [`EXCLUDE_LABEL`].
    Excluded,
    /// The node selectors of all advertisements of the Service leave it out.
    NotSelected,
    /// It runs no endpoint, which [`TrafficPolicy::Local`] asks for.
    NoLocalEndpoint,
}

/// The nodes that may announce a Service.
#[derive(Debug)]
pub(crate) struct Eligible<'a> {
    /// In the order of their names, also those that are [away](Eligibility::away).
    pub(crate) nodes: Vec<(&'a NodeName, Standing)>,
    /// By which advertisements, with the nodes that each selects.
    advertisements: Vec<(&'a Advertisement, &'a Selected)>,
}

/// The nodes that may announce by one advertisement.
type Selected = BTreeMap<NodeName, Standing>;

/// What is known of an eligible node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The sum of its preferences: more is better.
    pub(crate) score: u32,
    /// Whether it is a member, and not away.
    pub(crate) live: bool,
}

/// What decides who may announce a Service, besides the Service itself.
#[derive(Debug)]
pub(crate) struct Eligibility {
    pub(crate) exclude_label: ExcludeLabel,
    pub(crate) members: BTreeSet<NodeName>,
    /// The nodes whose speaker is about to be back.
    pub(crate) away: BTreeSet<NodeName>,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) pools: Pools,
    pub(crate) advertisements: BTreeMap<AdvertisementName, Advertisement>,
    /// Per advertisement, the nodes that may announce by it, with the score it gives them; also those that are away.
    selected: BTreeMap<AdvertisementName, Selected>,
}

impl Eligibility {
    pub(crate) fn new(exclude_label: ExcludeLabel) -> Self {
        Self {
            exclude_label,
            members: BTreeSet::new(),
            away: BTreeSet::new(),
            nodes: BTreeMap::new(),
            pools: Pools::default(),
            advertisements: BTreeMap::new(),
            selected: BTreeMap::new(),
        }
    }

    /// Brings what is derived from members, nodes and advertisements up to date.
    pub(crate) fn refresh(&mut self) {
        let available: Vec<&Node> =
            self.nodes.values().filter(|node| self.obstacle(&node.name).is_none()).collect();
        let selected = |ad: &Advertisement| {
            let nodes = available.iter().filter(|node| ad.selects_node(&node.labels));
            nodes.map(|node| (node.name.clone(), self.standing(ad, node))).collect()
        };
        self.selected = self.advertisements.iter().map(|(name, ad)| (name.clone(), selected(ad))).collect();
    }

    /// The same where nothing but one node has changed since.
    pub(crate) fn refresh_node(&mut self, name: &NodeName) {
        let node = self.nodes.get(name).filter(|_| self.obstacle(name).is_none()).cloned();
        for (advertisement, ad) in &self.advertisements {
            let standing = node.as_ref().filter(|node| ad.selects_node(&node.labels));
            let standing = standing.map(|node| self.standing(ad, node));
            let selected = self.selected.entry(advertisement.clone()).or_default();
            match standing {
                Some(standing) => _ = selected.insert(name.clone(), standing),
                None => _ = selected.remove(name),
            }
        }
    }

    fn standing(&self, ad: &Advertisement, node: &Node) -> Standing {
        Standing { score: score(ad, node), live: self.members.contains(&node.name) }
    }

    /// No Service gives `node` a higher score than this; `None` where it may announce none at all.
    pub(crate) fn highest_score(&self, node: &NodeName) -> Option<u32> {
        let scores = self.selected.values().filter_map(|selected| Some(selected.get(node)?.score));
        scores.reduce(u32::saturating_add)
    }

    /// What score `service` would give `node` if it were a live member; `None` if no advertisement selects it.
    pub(crate) fn score(&self, service: &Service, endpoints: &[&Endpoints], node: &NodeName) -> Option<u32> {
        total_score(&self.advertisements_of(service, endpoints).ok()?, self.nodes.get(node)?)
    }

    /// The nodes that may announce `service`. Wants [`Self::refresh`] called since the last change.
    pub(crate) fn eligible(
        &self,
        service: &Service,
        endpoints: &[&Endpoints],
    ) -> Result<Eligible<'_>, Unadvertised> {
        let matching = self.advertisements_of(service, endpoints)?;
        let advertisements: Vec<_> = matching.into_iter().map(|ad| (ad, &self.selected[&ad.name])).collect();
        let serves = |node: &NodeName| serves(service, endpoints, node);
        let nodes = match &advertisements[..] {
            [(_, selected)] => {
                let nodes = selected.iter().filter(|(node, _)| serves(node));
                nodes.map(|(node, standing)| (node, *standing)).collect()
            }
            several => {
                let mut nodes: BTreeMap<&NodeName, Standing> = BTreeMap::new();
                for (node, standing) in several.iter().flat_map(|(_, selected)| *selected) {
                    let more = |it: &mut Standing| it.score = it.score.saturating_add(standing.score);
                    nodes.entry(node).and_modify(more).or_insert(*standing);
                }
                nodes.into_iter().filter(|(node, _)| serves(node)).collect()
            }
        };
        Ok(Eligible { nodes, advertisements })
    }

    /// The nodes, by their numbers, that may announce `service` by its advertisements alone, of those with the highest score:
    /// whoever is alive and wherever endpoints serve. Put into `known` by advertisements, for most Services are like others.
    pub(crate) fn preferred<'a>(
        &'a self,
        service: &Service,
        known: &mut BTreeMap<Vec<&'a AdvertisementName>, Rc<[usize]>>,
    ) -> Rc<[usize]> {
        let pool = self.pools.pool_of(&service.vips, service.recorded_pool.as_ref());
        let matching = pool.and_then(|pool| self.matching(service, pool).ok()).unwrap_or_default();
        let find = || {
            let nodes = self.nodes.values().enumerate().filter(|(_, node)| self.barred(node).is_none());
            let scores: Vec<_> =
                nodes.filter_map(|(number, node)| Some((number, total_score(&matching, node)?))).collect();
            let highest = scores.iter().map(|(_, score)| *score).max();
            scores.iter().filter(|(_, it)| Some(*it) == highest).map(|(number, _)| *number).collect()
        };
        Rc::clone(known.entry(matching.iter().map(|ad| &ad.name).collect()).or_insert_with(find))
    }

    /// Why `node` may not announce `service`; `None` if it may, or is away for a moment.
    pub(crate) fn ineligible(
        &self,
        service: &Service,
        endpoints: &[&Endpoints],
        node: &NodeName,
    ) -> Result<Option<Ineligible>, Unadvertised> {
        let matching = self.advertisements_of(service, endpoints)?;
        if let Some(obstacle) = self.obstacle(node) {
            return Ok(Some(obstacle));
        }
        let labels = &self.nodes[node].labels;
        if !matching.iter().any(|ad| ad.selects_node(labels)) {
            return Ok(Some(Ineligible::NotSelected));
        }
        Ok((!serves(service, endpoints, node)).then_some(Ineligible::NoLocalEndpoint))
    }

    /// Why `node` may announce nothing at all.
    fn obstacle(&self, node: &NodeName) -> Option<Ineligible> {
        let Some(known) = self.nodes.get(node) else { return Some(Ineligible::NoNode) };
        if !self.members.contains(node) && !self.away.contains(node) {
            return Some(Ineligible::NotMember);
        }
        self.barred(known)
    }

    /// The same for a node whose speaker is alive.
    fn barred(&self, Node { name: _, labels, network }: &Node) -> Option<Ineligible> {
        if *network == Network::Unavailable {
            return Some(Ineligible::NetworkUnavailable);
        }
        match self.exclude_label {
            ExcludeLabel::Honoured if labels.contains_key(EXCLUDE_LABEL) => Some(Ineligible::Excluded),
            ExcludeLabel::Honoured | ExcludeLabel::Ignored => None,
        }
    }

    /// The advertisements that are for `service`.
    pub(crate) fn advertisements_of(
        &self,
        service: &Service,
        endpoints: &[&Endpoints],
    ) -> Result<Vec<&Advertisement>, Unadvertised> {
        let recorded = service.recorded_pool.as_ref();
        let pool = self.pools.pool_of(&service.vips, recorded).ok_or(Unadvertised::NoPool)?;
        if !endpoints.iter().any(|slice| slice.anywhere()) {
            return Err(Unadvertised::NoEndpoint);
        }
        self.matching(service, pool)
    }

    /// The same for a Service with addresses from `pool`, whether or not it has endpoints.
    fn matching(&self, service: &Service, pool: &Pool) -> Result<Vec<&Advertisement>, Unadvertised> {
        let matches = |ad: &&Advertisement| ad.covers(pool) && ad.selects_service(&service.labels);
        let matching: Vec<&Advertisement> = self.advertisements.values().filter(matches).collect();
        if matching.is_empty() {
            return Err(Unadvertised::NoAdvertisement);
        }
        if service.sharing == Sharing::Shared && matching.iter().any(|ad| !ad.service_selectors.is_empty()) {
            return Err(Unadvertised::SharedYetSelected);
        }
        Ok(matching)
    }
}

impl Eligible<'_> {
    /// Where each advertisement that selects `node` lets it announce.
    pub(crate) fn allowed(&self, node: &NodeName) -> impl Iterator<Item = &Interfaces> {
        let selecting = self.advertisements.iter().filter(|(_, selected)| selected.contains_key(node));
        selecting.map(|(ad, _)| &ad.interfaces)
    }

    /// Where `node` may announce: the union over the advertisements that select it.
    pub(crate) fn interfaces(&self, node: &NodeName) -> Interfaces {
        let nowhere = Interfaces::only([]);
        self.allowed(node).fold(nowhere, Interfaces::union)
    }
}

/// Whether `node` has an endpoint of the Service where it needs one to announce it.
pub(crate) fn serves(service: &Service, endpoints: &[&Endpoints], node: &NodeName) -> bool {
    match service.traffic_policy {
        TrafficPolicy::Cluster => true,
        TrafficPolicy::Local => endpoints.iter().any(|slice| slice.on(node)),
    }
}

/// The score of a node by those of these advertisements that select it; `None` if none does.
fn total_score(advertisements: &[&Advertisement], node: &Node) -> Option<u32> {
    let selecting = advertisements.iter().filter(|ad| ad.selects_node(&node.labels));
    selecting.map(|ad| score(ad, node)).reduce(u32::saturating_add)
}

fn score(advertisement: &Advertisement, node: &Node) -> u32 {
    let matching = advertisement.preferences.iter().filter(|p| p.selector.matches(&node.labels));
    matching.fold(0, |sum, preference| sum.saturating_add(preference.weight))
}

#[cfg(test)]
mod tests;

//! Who announces an address: one node for all Services that use it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::eligibility::Eligibility;
use crate::{
    Abilities, Eligible, Endpoints, Ineligible, Interfaces, NodeName, Service, ServiceKey, Unadvertised,
};

/// Who announces an address of a Service, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The one node that answers for the address.
    pub announcer: NodeName,
    /// On which interfaces of that node: the union over the advertisements that select it.
    pub interfaces: Interfaces,
    /// Who ranks before the announcer but is away for a moment.
    pub stands_in_for: Option<NodeName>,
}

/// Why nobody announces an address for a Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unannounced {
    /// No node may, whichever it is.
    #[error(transparent)]
    Unadvertised(#[from] Unadvertised),
    /// Advertisements match, yet no live node may announce it.
    #[error("no live node may announce it")]
    NoCandidate,
    /// Some live nodes may announce it, but none of them can on the interfaces that are allowed.
    #[error("no node that may announce it has an interface for it")]
    NoInterface,
    /// It is announced for an older Service, from nodes that may not announce it for this one.
    #[error("its address is shared with {with}, which is older, and no node may announce it for both")]
    SharedElsewhere {
        /// The oldest Service that it is announced for.
        with: ServiceKey,
    },
}

/// Why a node is no candidate for an address of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not announce the Service.
    Ineligible(Ineligible),
    /// It may, but can announce the address on none of these interfaces.
    NoInterface(Interfaces),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ineligible(reason) => reason.fmt(f),
            Self::NoInterface(Interfaces::All) => f.write_str("it can announce the address on no interface"),
            Self::NoInterface(Interfaces::Only(names)) => {
                let names: Vec<&str> = names.iter().map(crate::InterfaceName::as_str).collect();
                write!(f, "it can announce the address on none of {}", names.join(", "))
            }
        }
    }
}

/// What becomes of each of the Services that use one address.
pub(crate) type Outcomes = BTreeMap<ServiceKey, Result<Assignment, Unannounced>>;

/// The nodes of `candidates`, best first: higher scores before lower ones, then by
/// `sha256(node + "#" + vip)`.
pub fn rank<'a>(
    vip: IpAddr,
    candidates: impl IntoIterator<Item = (&'a NodeName, u32)>,
) -> impl Iterator<Item = &'a NodeName> {
    let suffix = format!("#{vip}");
    let place = |(node, score)| (Reverse(score), hash(node, &suffix), node);
    let mut ranked: Vec<_> = candidates.into_iter().map(place).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, node)| node)
}

fn hash(node: &NodeName, suffix: &str) -> [u8; 32] {
    Sha256::new().chain_update(node.as_str()).chain_update(suffix).finalize().into()
}

/// Elects the announcer of `vip` among those that can announce it for all of `services`, which come with their
/// endpoints, the oldest first.
///
/// A Service that would leave no live candidate to those before it is left out. The oldest decides the ranking: its
/// first address, and its preferences or, where it can be announced by nobody, those of the next.
pub(crate) fn elect<'a>(
    vip: IpAddr,
    services: &[(&'a Service, Endpoints)],
    eligibility: &'a Eligibility,
    abilities: &BTreeMap<NodeName, Abilities>,
) -> Outcomes {
    let is_live = |node: &NodeName| eligibility.members.contains(node);
    let mut outcomes = Outcomes::new();
    let mut served: Vec<(&Service, BTreeMap<&NodeName, Eligible>)> = Vec::new();
    let mut common: BTreeSet<&NodeName> = BTreeSet::new();
    for (service, endpoints) in services {
        match candidates(vip, service, endpoints, eligibility, abilities) {
            Err(reason) => _ = outcomes.insert(service.key.clone(), Err(reason)),
            Ok(candidates) => {
                let mut remaining: BTreeSet<&NodeName> = candidates.keys().copied().collect();
                if let Some((oldest, _)) = served.first() {
                    remaining.retain(|node| common.contains(node));
                    if !remaining.iter().any(|node| is_live(node)) {
                        let reason = Unannounced::SharedElsewhere { with: oldest.key.clone() };
                        outcomes.insert(service.key.clone(), Err(reason));
                        continue;
                    }
                }
                common = remaining;
                served.push((service, candidates));
            }
        }
    }
    let (Some((oldest, _)), Some((_, scored))) = (services.first(), served.first()) else { return outcomes };
    let first = oldest.vips.first().copied().unwrap_or(vip);
    let mut ranked = rank(first, common.into_iter().map(|node| (node, scored[node].score))).peekable();
    let absent = ranked.peek().copied().filter(|node| !is_live(node)).cloned();
    let Some(announcer) = ranked.find(|node| is_live(node)) else { return outcomes };
    for (service, candidates) in &served {
        let assignment = Assignment {
            announcer: announcer.clone(),
            interfaces: candidates[announcer].interfaces.clone(),
            stands_in_for: absent.clone(),
        };
        outcomes.insert(service.key.clone(), Ok(assignment));
    }
    outcomes
}

/// The nodes that may and can announce `vip` for `service`, at least one of them live; also those that are away.
fn candidates<'a>(
    vip: IpAddr,
    service: &Service,
    endpoints: &Endpoints,
    eligibility: &'a Eligibility,
    abilities: &BTreeMap<NodeName, Abilities>,
) -> Result<BTreeMap<&'a NodeName, Eligible>, Unannounced> {
    let mut candidates = eligibility.eligible(service, endpoints)?;
    let some_live = |candidates: &BTreeMap<&NodeName, Eligible>| {
        candidates.keys().any(|node| eligibility.members.contains(*node))
    };
    if !some_live(&candidates) {
        return Err(Unannounced::NoCandidate);
    }
    candidates.retain(|node, eligible| can_announce(abilities, node, vip, &eligible.interfaces));
    if some_live(&candidates) { Ok(candidates) } else { Err(Unannounced::NoInterface) }
}

/// Whether `node` can announce `vip` on one of `interfaces`, or has not said.
pub(crate) fn can_announce(
    abilities: &BTreeMap<NodeName, Abilities>,
    node: &NodeName,
    vip: IpAddr,
    interfaces: &Interfaces,
) -> bool {
    abilities.get(node).is_none_or(|abilities| abilities.can_announce(vip, interfaces))
}
#[cfg(test)]
mod tests;

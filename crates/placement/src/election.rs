//! Who announces an address: one node for all Services that use it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::abilities::AbilitiesOfNodes;
use crate::eligibility::{Eligibility, Eligible, Standing};
use crate::spread::{Homes, Place};
use crate::{Endpoints, InterfaceName, Interfaces, NodeName, Service, ServiceKey, Unadvertised};

/// Who announces an address of a Service, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The one node that answers for the address.
    pub announcer: NodeName,
    /// On which interfaces of that node: the union over the advertisements that select it.
    pub interfaces: Interfaces,
    /// Who ranks before the announcer but is away for a moment.
    pub stand_in_for: Option<NodeName>,
}

/// Why nobody announces an address for a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unannounced {
    /// No node may, whichever it is.
    Unadvertised(Unadvertised),
    /// Advertisements match, yet no live node may announce it.
    NoCandidate,
    /// Some live nodes may announce it, but none of them can on the interfaces that are allowed.
    NoInterface,
    /// It is announced for an older Service, from nodes that may not announce it for this one.
    SharedElsewhere {
        /// The oldest Service that it is announced for.
        with: ServiceKey,
    },
}

impl From<Unadvertised> for Unannounced {
    fn from(reason: Unadvertised) -> Self {
        Self::Unadvertised(reason)
    }
}

/// The election for one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What becomes of each of the Services that use the address, the oldest first.
    pub(crate) services: Box<[(ServiceKey, Result<Assignment, Unannounced>)]>,
    /// What made the announcer win.
    winner: Option<Winner>,
    /// Whether it depends on what all candidates can do: the winner has lost an interface, or somebody else who ranks
    /// before it.
    compared: bool,
    /// How many candidates rank between the announcer and this node, if it is another candidate.
    pub(crate) place: Option<usize>,
}

/// What decides an election besides the Services.
pub(crate) struct Field<'a> {
    /// Which node this is.
    pub(crate) me: &'a NodeName,
    pub(crate) eligibility: &'a Eligibility,
    pub(crate) abilities: &'a AbilitiesOfNodes,
    /// The nodes that have given the address up.
    pub(crate) conceding: Option<&'a BTreeSet<NodeName>>,
    /// Which nodes come first for the address, where addresses are spread evenly.
    pub(crate) homes: Option<&'a Homes>,
    /// The nodes that keep the address.
    pub(crate) keeping: Option<&'a BTreeSet<NodeName>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Winner {
    /// The address that ranked the nodes.
    ranked_by: IpAddr,
    rank: Rank,
}

/// The place of a node among the candidates for an address: the lowest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    tenure: Tenure,
    merit: Merit,
}

/// What ranks a node besides who has the address.
type Merit = (Reverse<u32>, Place, [u8; 32]);

/// Whether a node keeps an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tenure {
    Keeps,
    None,
}

/// What ranks a node for one address besides its score and its hash.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precedence {
    tenure: Tenure,
    place: Place,
}

impl Precedence {
    pub(crate) fn of(node: &NodeName, homes: Option<&Homes>, keeping: Option<&BTreeSet<NodeName>>) -> Self {
        let keeps = keeping.is_some_and(|keeping| keeping.contains(node));
        Self {
            tenure: if keeps { Tenure::Keeps } else { Tenure::None },
            place: homes.map_or(Place::Other, |homes| homes.place(node)),
        }
    }

    fn rank(self, score: u32, hash: [u8; 32]) -> Rank {
        Rank { tenure: self.tenure, merit: (Reverse(score), self.place, hash) }
    }
}

impl Outcome {
    pub(crate) fn of(&self, service: &ServiceKey) -> Option<&Result<Assignment, Unannounced>> {
        self.services.iter().find(|(key, _)| key == service).map(|(_, outcome)| outcome)
    }

    /// Who announces the address, for all Services that are served.
    pub(crate) fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.services.iter().filter_map(|(_, outcome)| outcome.as_ref().ok())
    }

    /// Whether another election could end differently when `node` alone has changed, and has at most this score from
    /// now on (or may announce nothing).
    ///
    /// Where all Services are served whom an advertisement matches, a node makes no difference that neither announces
    /// the address, nor would if it were not away, nor ranks before the announcer. Where one is not served, it may be
    /// why; where interfaces are lost, it may be why somebody is passed over.
    pub(crate) fn depends_on(
        &self,
        node: &NodeName,
        highest_score: Option<u32>,
        precedence: Precedence,
    ) -> bool {
        let involves = |outcome: &Result<Assignment, Unannounced>| match outcome {
            Ok(Assignment { announcer, stand_in_for, interfaces: _ }) => {
                announcer == node || stand_in_for.as_ref() == Some(node)
            }
            Err(Unannounced::Unadvertised(_)) => false,
            Err(
                Unannounced::NoCandidate | Unannounced::NoInterface | Unannounced::SharedElsewhere { .. },
            ) => true,
        };
        if self.compared || self.services.iter().any(|(_, outcome)| involves(outcome)) {
            return true;
        }
        self.ranks_first(node, highest_score, precedence)
    }

    /// Whether `node`, with this score, would announce the address if it may and can.
    pub(crate) fn ranks_first(&self, node: &NodeName, score: Option<u32>, precedence: Precedence) -> bool {
        let (Some(winner), Some(score)) = (&self.winner, score) else { return false };
        precedence.rank(score, hash(node, &suffix(winner.ranked_by))) <= winner.rank
    }

    /// Whether `node` would be preferred to whoever announces the address if nobody kept it.
    pub(crate) fn is_better(&self, node: &NodeName, score: Option<u32>, precedence: Precedence) -> bool {
        let (Some(winner), Some(score)) = (&self.winner, score) else { return false };
        precedence.rank(score, hash(node, &suffix(winner.ranked_by))).merit < winner.rank.merit
    }
}

/// The nodes of `candidates`, best first: higher scores before lower ones, then by
/// `sha256(node + "#" + vip)`.
pub fn rank<'a>(
    vip: IpAddr,
    candidates: impl IntoIterator<Item = (&'a NodeName, u32)>,
) -> impl Iterator<Item = &'a NodeName> {
    let suffix = suffix(vip);
    let place = |(node, score)| (Reverse(score), hash(node, &suffix), node);
    let mut ranked: Vec<_> = candidates.into_iter().map(place).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, node)| node)
}

fn suffix(vip: IpAddr) -> String {
    format!("#{vip}")
}

fn hash(node: &NodeName, suffix: &str) -> [u8; 32] {
    Sha256::new().chain_update(node.as_str()).chain_update(suffix).finalize().into()
}

/// Elects the announcer of `vip` among those that can announce it for all of `services`, which come with their
/// endpoints, the oldest first.
///
/// A Service that would leave no live candidate to those before it is left out. The oldest decides the ranking: its
/// first address, and its preferences or, where it can be announced by nobody, those of the next.
pub(crate) fn elect<'a>(vip: IpAddr, services: &[(&Service, Vec<&Endpoints>)], field: &Field<'a>) -> Outcome {
    let mut refused: Vec<(ServiceKey, Unannounced)> = Vec::new();
    let mut served: Vec<(&Service, Eligible<'_>)> = Vec::new();
    // Those that can announce it for all that are served, with the score that the first of them gives.
    let mut common: Vec<(&NodeName, Standing)> = Vec::new();
    for (service, endpoints) in services {
        match candidates(vip, service, endpoints, field) {
            Err(reason) => refused.push((service.key.clone(), reason)),
            Ok(eligible) => {
                if let Some((oldest, _)) = served.first() {
                    let among = |(node, _): &(&NodeName, Standing)| {
                        eligible.nodes.binary_search_by_key(node, |(other, _)| other).is_ok()
                    };
                    let remaining: Vec<_> = common.iter().copied().filter(among).collect();
                    if !some_live(&remaining) {
                        let reason = Unannounced::SharedElsewhere { with: oldest.key.clone() };
                        refused.push((service.key.clone(), reason));
                        continue;
                    }
                    common = remaining;
                } else {
                    common.clone_from(&eligible.nodes);
                }
                served.push((service, eligible));
            }
        }
    }
    let losers = pass_over_losers(vip, &mut common, &served, field.abilities);
    let ranked_by = services.first().and_then(|(oldest, _)| oldest.vips.first()).copied().unwrap_or(vip);
    let suffix = suffix(ranked_by);
    let place = |(node, it): &(&'a NodeName, Standing)| {
        let precedence = Precedence::of(node, field.homes, field.keeping);
        (precedence.rank(it.score, hash(node, &suffix)), *node, it.live)
    };
    let ranked: Vec<_> = common.iter().map(place).collect();
    let elected = ranked.iter().filter(|(_, _, live)| *live).min();
    let absent = ranked.iter().filter(|(_, _, live)| !live).min();
    let absent = absent.filter(|absent| elected.is_some_and(|elected| *absent < elected));
    let mine = ranked.iter().find(|(_, node, live)| *node == field.me && *live);
    let between = |(mine, elected)| ranked.iter().filter(|it| it.2 && *it > elected && *it < mine).count();
    let my_place = mine.zip(elected).filter(|(mine, elected)| mine != elected).map(between);
    let compared = elected.is_some_and(|elected| losers.iter().any(|loser| place(loser) <= *elected));
    let mut outcome = |(service, _): &(&Service, Vec<&Endpoints>)| {
        if let Some(at) = refused.iter().position(|(key, _)| *key == service.key) {
            return Some(refused.swap_remove(at)).map(|(key, reason)| (key, Err(reason)));
        }
        let (_, eligible) = served.iter().find(|(other, _)| other.key == service.key)?;
        let (_, announcer, _) = *elected?;
        let assignment = Assignment {
            announcer: announcer.clone(),
            interfaces: eligible.interfaces(announcer),
            stand_in_for: absent.map(|(_, node, _)| (*node).clone()),
        };
        Some((service.key.clone(), Ok(assignment)))
    };
    Outcome {
        services: services.iter().filter_map(&mut outcome).collect(),
        winner: elected.map(|(rank, ..)| Winner { ranked_by, rank: *rank }),
        compared,
        place: my_place,
    }
}

/// The nodes that may and can announce `vip` for `service`, at least one of them live; also those that are away.
fn candidates<'a>(
    vip: IpAddr,
    service: &Service,
    endpoints: &[&Endpoints],
    field: &Field<'a>,
) -> Result<Eligible<'a>, Unannounced> {
    let Field { eligibility, abilities, conceding, .. } = field;
    let mut eligible = eligibility.eligible(service, endpoints)?;
    let mut nodes = std::mem::take(&mut eligible.nodes);
    nodes.retain(|(node, _)| !conceding.is_some_and(|conceding| conceding.contains(*node)));
    if !some_live(&nodes) {
        return Err(Unannounced::NoCandidate);
    }
    nodes.retain(|(node, _)| can_announce(abilities, node, vip, &eligible));
    eligible.nodes = nodes;
    if some_live(&eligible.nodes) { Ok(eligible) } else { Err(Unannounced::NoInterface) }
}

/// Takes those out of `common` that have lost an interface on which a live one can announce `vip`, unless no live one
/// would be left. Those that have lost an interface where that counts.
fn pass_over_losers<'a>(
    vip: IpAddr,
    common: &mut Vec<(&'a NodeName, Standing)>,
    served: &[(&Service, Eligible<'_>)],
    abilities: &AbilitiesOfNodes,
) -> Vec<(&'a NodeName, Standing)> {
    if abilities.with_losses.is_empty() {
        return vec![];
    }
    let allowed = |node: &NodeName, interface: &InterfaceName| {
        let mut interfaces = served.iter().flat_map(|(_, eligible)| eligible.allowed(node));
        interfaces.any(|interfaces| interfaces.contains(interface))
    };
    let lost = |node: &NodeName| -> Vec<&InterfaceName> {
        abilities.lost(node, vip).filter(|name| allowed(node, name)).collect()
    };
    let able_on = |name: &InterfaceName| {
        let able = |node| abilities.get(node).is_some_and(|it| it.is_able(vip, name)) && allowed(node, name);
        common.iter().any(|(node, standing)| standing.live && able(node))
    };
    let is_loser = |node: &NodeName| abilities.with_losses.contains(node) && !lost(node).is_empty();
    let losers: Vec<_> = common.iter().copied().filter(|(node, _)| is_loser(node)).collect();
    let missed: BTreeSet<&NodeName> = losers
        .iter()
        .filter(|(node, _)| lost(node).into_iter().any(able_on))
        .map(|(node, _)| *node)
        .collect();
    let others: Vec<_> = common.iter().copied().filter(|(node, _)| !missed.contains(node)).collect();
    if some_live(&others) {
        *common = others;
    }
    losers
}

fn some_live(nodes: &[(&NodeName, Standing)]) -> bool {
    nodes.iter().any(|(_, standing)| standing.live)
}

/// Whether `node` can announce `vip` on one of the interfaces that are allowed, or has not said.
pub(crate) fn can_announce(
    abilities: &AbilitiesOfNodes,
    node: &NodeName,
    vip: IpAddr,
    eligible: &Eligible<'_>,
) -> bool {
    abilities.get(node).is_none_or(|abilities| {
        eligible.allowed(node).any(|interfaces| abilities.can_announce(vip, interfaces))
    })
}

#[cfg(test)]
mod tests;

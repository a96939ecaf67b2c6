//! Which nodes a Service is listed with, and by which addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::Port;
use objects::{Labels, NodeName, PoolName};
use pools::Family;

use crate::allocator::{Decision, Grant, NodeAddresses};
use crate::claims::Place;
use crate::health::Health;
use crate::pool::is_labelled;
use crate::refusal::nameable;
use crate::{AddressKind, Applicant, Listening, NoNodes, Node, NodePool, Owner, Refusal, Taken};

/// Which addresses a Service is to be listed with.
pub(super) enum Wanted<'a> {
    /// All that it can have.
    All,
    /// These, which it is listed with already.
    Listed(&'a [IpAddr]),
}

impl Wanted<'_> {
    fn has(&self, ip: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Listed(ips) => ips.contains(&ip),
        }
    }
}

/// A node that could serve, and its addresses that could be listed.
struct Candidate<'a> {
    name: &'a NodeName,
    node: &'a Node,
    health: Health,
    addresses: &'a [IpAddr],
}

impl NodeAddresses {
    /// Decides for a Service, by the addresses that it wants.
    pub(super) fn decide(
        &mut self,
        applicant: &Applicant<'_>,
        pool: &PoolName,
        wanted: &Wanted<'_>,
    ) -> Decision {
        let mut claims = BTreeSet::new();
        let outcome = self.choose(applicant, pool, wanted, &mut claims);
        let ports = &applicant.request.ports;
        let claims =
            claims.into_iter().flat_map(|place| ports.iter().map(move |port| (place.clone(), *port)));
        let claims = if outcome.is_ok() { claims.collect() } else { BTreeSet::new() };
        Decision { outcome, freed: self.claims.hold(applicant.key, claims) }
    }

    /// The nodes that a pool selects for a Service with these labels.
    pub(super) fn selected<'a>(
        &'a self,
        pool: &'a NodePool,
        service_labels: &'a Labels,
    ) -> impl Iterator<Item = (&'a NodeName, &'a Node, Health)> {
        let labelled = is_labelled(self.nodes.values().map(|(node, _)| node));
        let selected = move |node: &Node| !node.is_excluded() && pool.selects(node, service_labels, labelled);
        let nodes = self.nodes.iter().filter(move |(_, (node, _))| selected(node));
        nodes.map(|(name, (node, health))| (name, node, *health))
    }

    fn choose(
        &self,
        applicant: &Applicant<'_>,
        name: &PoolName,
        wanted: &Wanted<'_>,
        claims: &mut BTreeSet<Place>,
    ) -> Result<Grant, Refusal> {
        let pool = self.pools.get(name).ok_or_else(|| Refusal::UnknownPool(name.clone()))?;
        if !pool.admits(applicant.key, applicant.namespace_labels, &applicant.request.labels) {
            return Err(Refusal::NotAdmitted(name.clone()));
        }
        if let Some(node) = self.ipvs.first() {
            return Err(Refusal::Ipvs(node.clone()));
        }
        self.ports_are_free(applicant, pool, wanted)?;
        let no_nodes = |why| Refusal::NoNodes { pool: name.clone(), why };
        let (kind, candidates) = self.candidates(applicant, pool).map_err(no_nodes)?;
        let (mut taken, mut alive, mut dead) = (None, BTreeSet::new(), BTreeSet::new());
        for candidate in &candidates {
            for family in applicant.families() {
                let addresses = candidate.addresses.iter().copied();
                let addresses: Vec<IpAddr> =
                    addresses.filter(|ip| Family::of(*ip) == family && wanted.has(*ip)).collect();
                if addresses.is_empty() {
                    continue;
                }
                let of_node = Place::Node(candidate.name.clone(), family);
                let listened = match (pool.listeners, wanted) {
                    (Listening::Protected, Wanted::All) => {
                        self.listened(applicant, candidate, &of_node, family)
                    }
                    (Listening::Ignored, _) | (_, Wanted::Listed(_)) => None,
                };
                let places = addresses.iter().map(|ip| Place::Address(*ip));
                let places: Vec<Place> = places.chain([of_node]).collect();
                if let Some(by) = self.taken(applicant, candidate.name, &places).or(listened) {
                    taken.get_or_insert(by);
                    continue;
                }
                claims.extend(places);
                let list = if candidate.health.is_alive() { &mut alive } else { &mut dead };
                list.extend(addresses);
            }
        }
        // When none is well, it is rather the control plane that does not hear of them; and an empty list serves nobody.
        let ips = if alive.is_empty() { dead } else { alive };
        match (ips.is_empty(), taken) {
            (true, Some(taken)) => Err(Refusal::Taken(taken)),
            (true, None) => Err(no_nodes(NoNodes::Address { kind, family: applicant.primary })),
            (false, taken) => Ok(Grant { ips: in_order(&ips, &applicant.families()), taken }),
        }
    }

    fn ports_are_free(
        &self,
        applicant: &Applicant<'_>,
        pool: &NodePool,
        wanted: &Wanted<'_>,
    ) -> Result<(), Refusal> {
        let ports = &applicant.request.ports;
        if let Some(&port) = ports.iter().find(|port| pool.protected.contains(**port)) {
            return Err(Refusal::Protected { port, pool: pool.name.clone() });
        }
        // Node ports are given by chance: one that is given later takes nothing from who has the port.
        let has = |port: &Port| matches!(wanted, Wanted::Listed(_)) || self.claims.has(applicant.key, *port);
        for &port in ports.iter().filter(|port| !has(port)) {
            let owners = self.node_ports.get(&port).into_iter().flatten();
            if let Some(owner) = owners.into_iter().find(|owner| *owner != applicant.key) {
                return Err(Refusal::NodePort { port, owner: nameable(owner, applicant.key) });
            }
        }
        Ok(())
    }

    /// The nodes that could serve if all were alive and no port were taken, and their addresses of the type to list.
    fn candidates<'a>(
        &'a self,
        applicant: &'a Applicant<'_>,
        pool: &'a NodePool,
    ) -> Result<(&'static str, Vec<Candidate<'a>>), NoNodes> {
        let selected: Vec<_> = self.selected(pool, &applicant.request.labels).collect();
        if selected.is_empty() {
            return Err(NoNodes::Selected);
        }
        let serves = |name| !applicant.is_local() || self.endpoints.are_on(applicant.key, name);
        let serving: Vec<_> = selected.into_iter().filter(|(name, ..)| serves(name)).collect();
        if serving.is_empty() {
            return Err(NoNodes::Endpoint);
        }
        let external = match pool.addresses {
            AddressKind::External => true,
            AddressKind::Internal => false,
            // As with ServiceLB, a dead node does not choose for the others.
            AddressKind::Auto => {
                let alive = serving.iter().any(|(.., health)| health.is_alive());
                let mut choosing = serving.iter().filter(|(.., health)| health.is_alive() || !alive);
                choosing.any(|(_, node, _)| !node.external.is_empty())
            }
        };
        let addresses = |node: &'a Node| if external { &node.external[..] } else { &node.internal[..] };
        let candidate = |(name, node, health)| Candidate { name, node, health, addresses: addresses(node) };
        let kind = if external { "ExternalIP" } else { "InternalIP" };
        Ok((kind, serving.into_iter().map(candidate).collect()))
    }

    /// Another that has one of the ports of a Service at one of these places of a node.
    fn taken(&self, applicant: &Applicant<'_>, node: &NodeName, places: &[Place]) -> Option<Taken> {
        let other = |place| self.claims.other(applicant.key, place, &applicant.request.ports);
        let (port, owner) = places.iter().find_map(other)?;
        Some(Taken { node: node.clone(), port, owner: Owner::Service(nameable(owner, applicant.key)) })
    }

    /// A program on a node that has one of the ports of a Service, which the Service has not got there already.
    fn listened(
        &self,
        applicant: &Applicant<'_>,
        candidate: &Candidate<'_>,
        place: &Place,
        family: Family,
    ) -> Option<Taken> {
        let wanted = applicant.request.ports.iter().copied();
        let new = wanted.filter(|port| !self.claims.has_at(applicant.key, place, *port));
        let port = self.listeners.first((candidate.name, candidate.node), family, new)?;
        Some(Taken { node: candidate.name.clone(), port, owner: Owner::Program })
    }
}

/// Family by family, and within one by the text: ServiceLB sorts them so, and whoever comes from there finds every status
/// as it was.
fn in_order(ips: &BTreeSet<IpAddr>, families: &[Family]) -> Vec<IpAddr> {
    let of = |family: &Family| {
        let mut ips: Vec<IpAddr> = ips.iter().copied().filter(|ip| Family::of(*ip) == *family).collect();
        ips.sort_by_cached_key(ToString::to_string);
        ips
    };
    families.iter().flat_map(of).collect()
}

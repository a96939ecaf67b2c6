//! What the programs decide from a snapshot, by the crates that they decide with: `ipam` gives addresses, `placement` says
//! who announces.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{
    Allocator, Assignment as Addresses, Reason, Record, Refusal, Request, ReservationKey, ServiceKey, Usage,
};
use kube::ResourceExt;
use objects::{Labels, NodeName, PoolName};
use placement::{Assignment, Placement, Unannounced};
use pools::{Family, PoolSpec, Pools};
use slim::{LoadBalancerIngress, Service};
use translation::{
    Claim, LoadBalancerClass, Names, Observed, Origin, Rank, SeenService, SeenSlice, Unservable, service_key,
};

use crate::snapshot::Snapshot;

/// Who gets which address.
#[derive(Debug)]
pub(crate) struct Allocation {
    allocator: Allocator,
    /// The Services that FerroLB serves, with what becomes of each.
    pub(crate) fates: BTreeMap<ServiceKey, Fate>,
    namespace_labels: BTreeMap<String, Labels>,
    pub(crate) reserved: BTreeMap<IpAddr, NodeName>,
    /// The reservations that are not in force, and why.
    pub(crate) unreserved: BTreeMap<ReservationKey, String>,
}

/// What becomes of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fate {
    /// The addresses that it has from now on, or why it has none.
    pub(crate) outcome: Result<Addresses, NoAddress>,
    /// Why it could not keep all that it came with.
    pub(crate) lost: Option<Refusal>,
    /// Why there is no second address, which it would like to have.
    pub(crate) incomplete: Option<Refusal>,
    /// Why it keeps what it has and is not given what it asks for.
    pub(crate) denied: Option<Refusal>,
    /// A pool that would give it an address, if it asked for the pool by its name.
    pub(crate) by_name: Option<PoolName>,
    /// What it asks for; nothing where it cannot be served.
    pub(crate) request: Option<Box<Request>>,
    /// What its status says.
    pub(crate) observed: Observed,
}

/// Why a Service has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAddress {
    /// None would be right for it.
    Unservable(Unservable),
    /// There is none to be had.
    Refused(Refusal),
    /// It is being deleted, and gets nothing new.
    Deleting,
}

impl std::fmt::Display for NoAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unservable(why) => why.fmt(f),
            Self::Refused(why) => why.fmt(f),
            Self::Deleting => f.write_str("it is being deleted"),
        }
    }
}

impl Allocation {
    /// Decides for all Services, in the controller's order: first everybody is heard who has an address, the older before
    /// the younger; then all are decided, those first who have one.
    pub(crate) fn decide(snapshot: &Snapshot) -> Self {
        let mut allocator = Allocator::default();
        allocator.set_pools(snapshot.in_force());
        let reserved = snapshot.reserved();
        allocator.set_reserved(reserved.clone());
        let labels = |namespace: &slim::Namespace| (namespace.name_any(), namespace.labels().clone());
        let namespace_labels: BTreeMap<String, Labels> = snapshot.namespaces.iter().map(labels).collect();
        let refused = BTreeMap::new();
        let mut this =
            Self { allocator, fates: BTreeMap::new(), namespace_labels, reserved, unreserved: refused };

        let mut entries: Vec<_> = snapshot.services.iter().map(|it| Entry::read(it, snapshot)).collect();
        entries.sort_by(|a, b| (a.created, &a.key).cmp(&(b.created, &b.key)));
        for entry in entries.iter().filter(|entry| !entry.observed.ips.is_empty()) {
            this.hear(entry);
        }
        this.reserve(snapshot);
        entries.sort_by_key(|entry| {
            Rank::of(!entry.observed.ips.is_empty(), !entry.observed.previous.is_empty())
        });
        for entry in entries {
            this.decide_one(entry);
        }
        this
    }

    /// Decides which reservations are in force, when all who hold an address have been heard.
    fn reserve(&mut self, snapshot: &Snapshot) {
        let mut reservations = Vec::new();
        for object in &snapshot.reservations {
            match object.read() {
                Ok(reservation) => reservations.push(reservation),
                Err(faults) => {
                    let faults: Vec<String> =
                        faults.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect();
                    self.unreserved.insert(object.key(), faults.join("; "));
                }
            }
        }
        for (key, outcome) in self.allocator.set_reservations(reservations, &self.namespace_labels) {
            self.unreserved.extend(outcome.err().map(|why| (key, why.to_string())));
        }
    }

    /// What the reservations that are in force have: by address, the namespace and name.
    pub(crate) fn reservations(&self) -> BTreeMap<IpAddr, &ReservationKey> {
        let all = self.allocator.reservations();
        all.flat_map(|(key, assignment)| assignment.ips.iter().map(move |ip| (*ip, key))).collect()
    }

    /// How many addresses of a pool are reserved and held by no Service.
    pub(crate) fn unused_reserved(&self, pool: &PoolName) -> usize {
        let of = |family| self.allocator.unused_reserved(pool, family);
        of(Family::V4) + of(Family::V6)
    }

    fn hear(&mut self, entry: &Entry) {
        match &entry.claim {
            // No IPAddressPool has what it has.
            Claim::Ours(_) if entry.observed.origin == Origin::NodePool => {}
            Claim::Ours(request) => {
                let labels = self.labels_of(&entry.key);
                self.allocator.adopt(&entry.key, &labels, request, &entry.observed.record());
            }
            Claim::OtherClass => _ = self.allocator.set_elsewhere(&entry.key, entry.observed.ips.clone()),
            Claim::Unservable(_) | Claim::OtherType => {}
        }
    }

    fn decide_one(&mut self, entry: Entry) {
        let Entry { key, claim, observed, deleting, .. } = entry;
        let mut fate = Fate {
            outcome: Err(NoAddress::Deleting),
            lost: None,
            incomplete: None,
            denied: None,
            by_name: None,
            request: None,
            observed,
        };
        match claim {
            Claim::OtherType | Claim::OtherClass => return,
            Claim::Unservable(why) => {
                self.allocator.release(&key);
                fate.outcome = Err(NoAddress::Unservable(why));
            }
            Claim::Ours(request) if deleting => {
                fate.outcome = self.allocator.assignment(&key).cloned().ok_or(NoAddress::Deleting);
                fate.request = Some(request);
            }
            Claim::Ours(request)
                if fate.observed.origin == Origin::NodePool && !fate.observed.ips.is_empty() =>
            {
                // The controller alone knows what becomes of nodes: what it wrote stands.
                let Record { ips, pool } = fate.observed.record();
                fate.outcome = Ok(Addresses { ips, pool: pool.unwrap_or_else(|| PoolName::new("")) });
                fate.request = Some(request);
            }
            Claim::Ours(request) => {
                let (labels, record) = (self.labels_of(&key), fate.observed.record());
                let decision =
                    self.allocator.assign(&key, &labels, &request, &record, &fate.observed.previous);
                fate.by_name = decision
                    .outcome
                    .as_ref()
                    .err()
                    .and_then(|why| self.by_name(&key, &request, &record, why));
                fate.outcome = decision.outcome.map_err(NoAddress::Refused);
                (fate.lost, fate.incomplete) = (decision.lost, decision.incomplete);
                fate.denied = decision.denied;
                fate.request = Some(request);
            }
        }
        self.fates.insert(key, fate);
    }

    /// A pool that is kept for those who name it and would give a Service an address, which it was refused for this reason.
    fn by_name(
        &mut self,
        key: &ServiceKey,
        request: &Request,
        record: &Record,
        why: &Refusal,
    ) -> Option<PoolName> {
        let Refusal::NothingLeft(unsuitable) = why else { return None };
        let labels = self.labels_of(key);
        let named = unsuitable.iter().filter(|it| it.reason == Reason::NotAutomatic).map(|it| &it.pool);
        named
            .into_iter()
            .find(|pool| {
                let wish =
                    Request { addresses: ipam::AddressRequest::From((*pool).clone()), ..request.clone() };
                let decision = self.allocator.assign(key, &labels, &wish, record, &[]);
                self.allocator.release(key);
                decision.outcome.is_ok()
            })
            .cloned()
    }

    fn labels_of(&self, key: &ServiceKey) -> Labels {
        self.namespace_labels.get(&*key.namespace).cloned().unwrap_or_default()
    }

    /// Why a Service that has no address gets none from each pool, by name. Nothing for one that has, or that no address
    /// would be right for.
    pub(crate) fn reasons_by_pool(&mut self, key: &ServiceKey) -> Vec<(PoolName, String)> {
        let Some(Fate { outcome: Err(NoAddress::Refused(_)), request: Some(request), observed, .. }) =
            self.fates.get(key).cloned()
        else {
            return vec![];
        };
        let labels = self.labels_of(key);
        let names: Vec<PoolName> = self.allocator.pools().iter().map(|pool| pool.name.clone()).collect();
        let anything = Request { addresses: ipam::AddressRequest::Anything, ..*request.clone() };
        let mut without_a_wish = BTreeMap::new();
        let decision = self.allocator.assign(key, &labels, &anything, &observed.record(), &[]);
        self.allocator.release(key);
        if let Err(Refusal::NothingLeft(unsuitable)) = &decision.outcome {
            for it in unsuitable {
                let said = it.to_string();
                let reason = said.strip_prefix(&format!("pool {}: ", it.pool)).unwrap_or(&said).to_owned();
                without_a_wish.insert(it.pool.clone(), reason);
            }
        }
        let mut reasons = Vec::new();
        for name in names {
            if let Some(reason) = without_a_wish.remove(&name) {
                reasons.push((name, reason));
                continue;
            }
            let wish = Request { addresses: ipam::AddressRequest::From(name.clone()), ..*request.clone() };
            let decision = self.allocator.assign(key, &labels, &wish, &observed.record(), &[]);
            self.allocator.release(key);
            let reason = match decision.outcome {
                Ok(_) => "has an address for it, but the Service asks for something else".to_owned(),
                Err(Refusal::NothingLeft(unsuitable)) => {
                    let said: Vec<String> = unsuitable.iter().map(ToString::to_string).collect();
                    said.join("; ").replace(&format!("pool {name}: "), "")
                }
                Err(why) => why.to_string().replace(&format!("pool {name} "), ""),
            };
            reasons.push((name, reason));
        }
        reasons
    }

    /// The pools, and what of them is in force.
    pub(crate) fn pools(&self) -> &Pools {
        self.allocator.pools()
    }

    /// How full a pool is.
    pub(crate) fn usage(&self, pool: &PoolName, family: Family) -> Usage {
        self.allocator.usage(pool, family)
    }

    /// The Services that hold an address, by address.
    pub(crate) fn holders(&self) -> BTreeMap<IpAddr, Vec<(ServiceKey, PoolName)>> {
        let mut holders: BTreeMap<IpAddr, Vec<(ServiceKey, PoolName)>> = BTreeMap::new();
        for (key, assignment) in self.allocator.holders() {
            for ip in &assignment.ips {
                holders.entry(*ip).or_default().push((key.clone(), assignment.pool.clone()));
            }
        }
        holders.values_mut().for_each(|holders| holders.sort());
        holders
    }
}

/// A Service as it is decided.
struct Entry {
    key: ServiceKey,
    created: Option<jiff::Timestamp>,
    claim: Claim,
    observed: Observed,
    deleting: bool,
}

impl Entry {
    fn read(service: &Service, snapshot: &Snapshot) -> Self {
        Self {
            key: service_key(service),
            created: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            claim: Claim::read(service, &snapshot.rules),
            observed: Observed::read(service),
            deleting: service.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl Snapshot {
    /// What of the pools is in force.
    pub(crate) fn in_force(&self) -> Pools {
        Pools::new(self.pools.iter().map(PoolSpec::from))
    }

    /// The addresses of nodes, each with the first node that has it.
    pub(crate) fn reserved(&self) -> BTreeMap<IpAddr, NodeName> {
        reserved_by(&self.nodes)
    }

    /// The same after the controller has written what it decides.
    pub(crate) fn settled(mut self) -> (Self, Allocation) {
        let allocation = Allocation::decide(&self);
        for service in &mut self.services {
            let Some(fate) = allocation.fates.get(&service_key(service)) else { continue };
            let annotations = service.metadata.annotations.get_or_insert_default();
            let ingress = |ip: &IpAddr| LoadBalancerIngress {
                ip: Some(ip.to_string()),
                ..LoadBalancerIngress::default()
            };
            match &fate.outcome {
                Ok(Addresses { ips, pool }) => {
                    service.status.load_balancer.ingress = ips.iter().map(ingress).collect();
                    annotations.insert(api::names::ALLOCATED_FROM_POOL.to_owned(), pool.as_str().to_owned());
                }
                // It keeps its status until it is gone.
                Err(NoAddress::Deleting) => {}
                Err(NoAddress::Refused(_) | NoAddress::Unservable(_)) => {
                    service.status.load_balancer.ingress = vec![];
                    annotations.remove(api::names::ALLOCATED_FROM_POOL);
                }
            }
        }
        (self, allocation)
    }

    /// Who announces what, with these speakers alive.
    pub(crate) fn placed(&self, members: BTreeSet<NodeName>) -> Placement {
        let mut placement = Placement::new("".into(), self.exclude_label);
        placement.set_spread(self.spread);
        placement.set_failback(self.failback);
        let class = LoadBalancerClass(self.rules.class.clone());
        let names = Names::default();
        for service in &self.services {
            if let Some(service) = SeenService::read(service, &class, &names).service {
                placement.set_service(service);
            }
        }
        for slice in &self.slices {
            let SeenSlice { key, endpoints } = SeenSlice::read(slice, &names);
            if let Some((service, endpoints)) = endpoints {
                placement.set_endpoints(&key, &service, endpoints);
            }
        }
        self.nodes.iter().for_each(|node| placement.set_node(translation::read_node(node)));
        placement.set_pools(self.in_force());
        self.advertisements.iter().for_each(|it| placement.set_advertisement(it.read().0));
        for (node, abilities) in &self.speakers.abilities {
            placement.set_abilities(node.clone(), abilities.clone());
        }
        for (node, prefixes) in &self.speakers.prefixes {
            placement.set_prefixes(node.clone(), prefixes.clone());
        }
        for (node, kept) in &self.speakers.kept {
            placement.set_kept(node, kept);
        }
        placement.set_members(members);
        placement.settle();
        placement
    }

    /// The same with the speakers that are alive.
    pub(crate) fn placed_now(&self) -> Placement {
        self.placed(self.speakers.members.clone())
    }

    /// The nodes that would announce an address one after the other, if each failed in turn. That costs an election for
    /// each, so only the Services with this address are looked at.
    pub(crate) fn ranking(&self, key: &ServiceKey, vip: IpAddr) -> Vec<NodeName> {
        let has = |service: &&Service| {
            let ingress = service.status.load_balancer.ingress.iter();
            ingress.filter_map(|it| it.ip.as_ref()?.parse::<IpAddr>().ok()).any(|ip| ip == vip)
        };
        let alone = Self { services: self.services.iter().filter(has).cloned().collect(), ..self.clone() };
        let mut members = self.speakers.members.clone();
        let mut placement = alone.placed(members.clone());
        let mut ranking = Vec::new();
        while let Some(Ok(Assignment { announcer, .. })) = assignment(&placement, key, vip) {
            ranking.push(announcer.clone());
            members.remove(&announcer);
            placement.set_members(members.clone());
            placement.settle();
        }
        ranking
    }
}

/// The addresses of these nodes, each with the first node that has it.
pub(crate) fn reserved_by(nodes: &[slim::Node]) -> BTreeMap<IpAddr, NodeName> {
    let nodes = nodes.iter().map(|node| (node.name_any().into(), node.status.ips().collect()));
    translation::reserved(&nodes.collect())
}

/// Who announces an address of a Service, or why nobody does.
pub(crate) fn assignment(
    placement: &Placement,
    key: &ServiceKey,
    vip: IpAddr,
) -> Option<Result<Assignment, Unannounced>> {
    placement.assignments(key).find(|(ip, _)| *ip == vip).map(|(_, outcome)| outcome.clone())
}

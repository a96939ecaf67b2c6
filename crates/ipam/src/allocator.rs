//! All pools, all services, and the order in which an address is looked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use objects::Labels;

use crate::ledger::Ledger;
use crate::{
    Assignment, Families, Family, NotAdmitted, Pool, PoolName, Port, Reason, Refusal, Request, ServiceKey,
    Tenancy, Unsuitable, Usage, Wish,
};

/// Which service holds which address, and which is next.
///
/// One service at a time is decided anew with [`Allocator::assign`]; it looks only at pools and at the
/// service's own entry, never at other services.
#[derive(Debug, Default)]
pub struct Allocator {
    pools: BTreeMap<PoolName, Ledger>,
    /// The first address of every range, to find the pool of an address.
    by_first: BTreeMap<IpAddr, PoolName>,
    services: HashMap<ServiceKey, Holding>,
}

/// What a service holds, with all that is needed to put it on the same addresses again.
#[derive(Debug, PartialEq, Eq)]
struct Holding {
    assignment: Assignment,
    tenancy: Tenancy,
    ports: BTreeSet<Port>,
}

impl Holding {
    fn new(assignment: Assignment, request: &Request) -> Self {
        Self { assignment, tenancy: request.tenancy.clone(), ports: request.ports.clone() }
    }
}

/// What became of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The addresses that it holds from now on, or why it has none.
    pub outcome: Result<Assignment, Refusal>,
    /// Why it could not keep what it came with, when the reason lies with the pools or with its neighbours
    /// on the address, and not in a request of its own.
    pub lost: Option<Refusal>,
    /// Why a second address, which the service would like but does not need, is not to be had.
    pub incomplete: Option<Refusal>,
    /// Whether something that it held before, an address or a port of one, is there for others now.
    pub freed: bool,
}

impl Decision {
    /// Whether it may be another one once somebody else gives something up.
    pub fn waits(&self) -> bool {
        let may_pass = |it: &Unsuitable| matches!(it.reason, Reason::Exhausted { .. });
        match (&self.outcome, &self.incomplete) {
            (Err(_), _) => true,
            (Ok(_), Some(Refusal::NothingLeft(unsuitable))) => unsuitable.iter().any(may_pass),
            (Ok(_), _) => false,
        }
    }
}

impl Allocator {
    /// Replaces all pools. No two of them may overlap. Services keep their addresses where some pool still
    /// has them all; the others hold nothing any more and are returned, in order.
    pub fn set_pools(&mut self, pools: impl IntoIterator<Item = Pool>) -> Vec<ServiceKey> {
        self.pools = pools.into_iter().map(|pool| (pool.name.clone(), Ledger::new(pool))).collect();
        let ranges = |ledger: &Ledger| ledger.pool.ranges.clone();
        self.by_first = self
            .pools
            .iter()
            .flat_map(|(name, ledger)| ranges(ledger).into_iter().map(|range| (range.first(), name.clone())))
            .collect();
        let mut displaced = Vec::new();
        for (key, mut holding) in std::mem::take(&mut self.services) {
            match self.pool_of(&holding.assignment.ips).cloned() {
                Some(pool) => {
                    holding.assignment.pool = pool;
                    self.hold(key, holding);
                }
                None => displaced.push(key),
            }
        }
        displaced.sort();
        displaced
    }

    /// The pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values().map(|ledger| &ledger.pool)
    }

    /// What a service holds.
    pub fn assignment(&self, key: &ServiceKey) -> Option<&Assignment> {
        self.services.get(key).map(|holding| &holding.assignment)
    }

    /// How full a pool is.
    pub fn usage(&self, pool: &PoolName, family: Family) -> Usage {
        self.pools.get(pool).map(|ledger| ledger.usage(family)).unwrap_or_default()
    }

    /// The pool that has all of these addresses.
    pub fn pool_of(&self, ips: &[IpAddr]) -> Option<&PoolName> {
        let holder_of = |ip: &IpAddr| {
            let (_, name) = self.by_first.range(..=*ip).next_back()?;
            self.pools[name].pool.contains(*ip).then_some(name)
        };
        let first = holder_of(ips.first()?)?;
        ips[1..].iter().all(|ip| holder_of(ip) == Some(first)).then_some(first)
    }

    /// The service holds nothing from now on. Returns what it held.
    pub fn release(&mut self, key: &ServiceKey) -> Option<Assignment> {
        self.take_off(key).map(|holding| holding.assignment)
    }

    fn take_off(&mut self, key: &ServiceKey) -> Option<Holding> {
        let holding = self.services.remove(key)?;
        if let Some(ledger) = self.pools.get_mut(&holding.assignment.pool) {
            for &ip in &holding.assignment.ips {
                ledger.release(ip, key);
            }
        }
        Some(holding)
    }

    /// Decides anew what a service gets, in upstream's order: what it has, if that still fits; the addresses
    /// it asks for; the pool it asks for; pools pinned to it, by priority; pools for everybody, by name.
    ///
    /// `current` is what it came with, from its status or from an earlier decision. `namespace_labels` are
    /// those of its namespace.
    pub fn assign(
        &mut self,
        key: &ServiceKey,
        namespace_labels: &Labels,
        request: &Request,
        current: &[IpAddr],
    ) -> Decision {
        let before = self.take_off(key);
        let applicant = Applicant { key, namespace_labels, request };
        let mut decision =
            Decision { outcome: Err(Refusal::NoPools), lost: None, incomplete: None, freed: false };
        let found = match self.keep(&applicant, current) {
            Keep::Yes(assignment) => Ok(assignment),
            Keep::No(lost) => {
                decision.lost = lost;
                self.find(&applicant)
            }
        };
        decision.outcome =
            found.map(|assignment| self.complete(&applicant, assignment, &mut decision.incomplete));
        if let Ok(assignment) = &decision.outcome {
            self.hold(key.clone(), Holding::new(assignment.clone(), request));
        }
        decision.freed = before.is_some() && before.as_ref() != self.services.get(key);
        decision
    }

    /// Puts a service on the addresses it came with, if it may have them, and looks no further. This is how
    /// a restart begins: everybody who holds something is heard before anything is given away.
    pub fn adopt(
        &mut self,
        key: &ServiceKey,
        namespace_labels: &Labels,
        request: &Request,
        current: &[IpAddr],
    ) {
        self.release(key);
        if let Keep::Yes(assignment) = self.keep(&Applicant { key, namespace_labels, request }, current) {
            self.hold(key.clone(), Holding::new(assignment, request));
        }
    }

    fn hold(&mut self, key: ServiceKey, holding: Holding) {
        let ledger = self.pools.get_mut(&holding.assignment.pool).expect("it was just found there");
        for &ip in &holding.assignment.ips {
            ledger.hold(ip, &key, &holding.tenancy, &holding.ports);
        }
        self.services.insert(key, holding);
    }

    /// Whether the service may stay where it is.
    fn keep(&self, applicant: &Applicant<'_>, current: &[IpAddr]) -> Keep {
        let Request { families, wish, .. } = applicant.request;
        let mut ips = current.to_vec();
        ips.sort();
        if ips.is_empty() || !families.accept(&families_of(&ips)) {
            return Keep::No(None);
        }
        let pool = match self.grant(applicant, &ips) {
            Ok(pool) => pool,
            Err(refusal) => return Keep::No(Some(refusal)),
        };
        let as_wished = match wish {
            Wish::Anything => true,
            Wish::From(wanted) => *wanted == pool,
            Wish::Unreadable { why: _, pool: from } => from.as_ref().is_none_or(|from| *from == pool),
            Wish::Exactly { ips: wanted, pool: from } => {
                *wanted == ips && from.as_ref().is_none_or(|from| *from == pool)
            }
        };
        if as_wished { Keep::Yes(Assignment { ips, pool }) } else { Keep::No(None) }
    }

    /// Looks for the second address of a service that prefers two and has one. Only its own pool will do.
    fn complete(
        &mut self,
        applicant: &Applicant<'_>,
        mut assignment: Assignment,
        incomplete: &mut Option<Refusal>,
    ) -> Assignment {
        let Request { families, wish, tenancy, ports, .. } = applicant.request;
        let (Families::PreferDual { .. }, [ip], Wish::Anything | Wish::From(_)) =
            (families, assignment.ips.as_slice(), wish)
        else {
            return assignment;
        };
        let missing = Family::of(*ip).other();
        let ledger = self.pools.get_mut(&assignment.pool).expect("the service holds an address of it");
        if let Some(second) = ledger.candidate(missing, tenancy, ports) {
            assignment.ips.push(second);
            assignment.ips.sort();
        } else {
            let reason = Reason::nothing_in(&ledger.pool, missing, ledger.in_use(missing));
            let pool = assignment.pool.clone();
            *incomplete = Some(Refusal::NothingLeft(vec![Unsuitable { pool, reason }]));
        }
        assignment
    }

    /// The pool that has these addresses, if the service may have them.
    fn grant(&self, applicant: &Applicant<'_>, ips: &[IpAddr]) -> Result<PoolName, Refusal> {
        let name = self.pool_of(ips).ok_or_else(|| Refusal::NotInAnyPool(ips.to_vec()))?;
        let ledger = &self.pools[name];
        applicant.admitted_to(&ledger.pool).map_err(|why| Refusal::NotAdmitted(name.clone(), why))?;
        for &ip in ips {
            ledger.admits(ip, &applicant.request.tenancy, &applicant.request.ports)?;
        }
        Ok(name.clone())
    }

    fn find(&mut self, applicant: &Applicant<'_>) -> Result<Assignment, Refusal> {
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        let Request { families, wish, .. } = applicant.request;
        match wish {
            Wish::Unreadable { why, pool: _ } => Err(Refusal::Unreadable(why.clone())),
            Wish::Exactly { ips, pool: requested } => {
                if !families.accept_request(&families_of(ips)) {
                    return Err(Refusal::WrongFamilies { ips: ips.clone(), needed: *families });
                }
                let actual = self.grant(applicant, ips)?;
                match requested {
                    Some(requested) if *requested != actual => {
                        Err(Refusal::OtherPool { ips: ips.clone(), requested: requested.clone(), actual })
                    }
                    _ => Ok(Assignment { ips: ips.clone(), pool: actual }),
                }
            }
            Wish::From(name) => {
                let ledger =
                    self.pools.get(name).ok_or_else(|| Refusal::UnknownPool(name.as_str().to_owned()))?;
                applicant.admitted_to(&ledger.pool).map_err(|why| Refusal::NotAdmitted(name.clone(), why))?;
                self.first_fit(applicant, vec![name.clone()]).map_err(Refusal::NothingLeft)
            }
            Wish::Anything => self.search(applicant),
        }
    }

    /// Pinned pools first, then those for everybody.
    fn search(&mut self, applicant: &Applicant<'_>) -> Result<Assignment, Refusal> {
        let (mut pinned, mut open, mut unsuitable) = (Vec::new(), Vec::new(), Vec::new());
        for (name, Ledger { pool, .. }) in &self.pools {
            let reason = if !pool.auto_assign {
                Reason::NotAutomatic
            } else if let Err(why) = applicant.admitted_to(pool) {
                Reason::NotAdmitted(why)
            } else {
                match &pool.allocation {
                    Some(allocation) => pinned.push((allocation.rank(), name.clone())),
                    None => open.push(name.clone()),
                }
                continue;
            };
            unsuitable.push(Unsuitable { pool: name.clone(), reason });
        }
        pinned.sort();
        for tier in [pinned.into_iter().map(|(_, name)| name).collect(), open] {
            match self.first_fit(applicant, tier) {
                Ok(assignment) => return Ok(assignment),
                Err(reasons) => unsuitable.extend(reasons),
            }
        }
        unsuitable.sort_by(|a, b| a.pool.cmp(&b.pool));
        Err(Refusal::NothingLeft(unsuitable))
    }

    /// The first pool that has all that is needed; for a service that prefers two families, else the first
    /// that has its primary one, else the first that has the other.
    fn first_fit(
        &mut self,
        applicant: &Applicant<'_>,
        pools: Vec<PoolName>,
    ) -> Result<Assignment, Vec<Unsuitable>> {
        let Request { families, tenancy, ports, .. } = applicant.request;
        let mut second_best: BTreeMap<SecondBest, Assignment> = BTreeMap::new();
        let mut unsuitable = Vec::new();
        for pool in pools {
            let ledger = self.pools.get_mut(&pool).expect("the list was made from the pools");
            let mut candidate = |family| {
                let found = ledger.candidate(family, tenancy, ports);
                found.ok_or_else(|| Reason::nothing_in(&ledger.pool, family, ledger.in_use(family)))
            };
            let found = match *families {
                Families::Single(family) => candidate(family).map(|ip| vec![ip]),
                Families::RequireDual => {
                    candidate(Family::V4).and_then(|v4| Ok(vec![v4, candidate(Family::V6)?]))
                }
                Families::PreferDual { primary } => match (candidate(Family::V4), candidate(Family::V6)) {
                    (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
                    (Ok(ip), Err(_)) | (Err(_), Ok(ip)) => {
                        let rank =
                            if Family::of(ip) == primary { SecondBest::Primary } else { SecondBest::Other };
                        second_best.entry(rank).or_insert(Assignment { ips: vec![ip], pool });
                        continue;
                    }
                    (Err(v4), Err(v6)) => Err(if primary == Family::V4 { v4 } else { v6 }),
                },
            };
            match found {
                Ok(ips) => return Ok(Assignment { ips, pool }),
                Err(reason) => unsuitable.push(Unsuitable { pool, reason }),
            }
        }
        second_best.into_values().next().ok_or(unsuitable)
    }
}

/// What a service that prefers two families makes do with, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SecondBest {
    Primary,
    Other,
}

enum Keep {
    Yes(Assignment),
    No(Option<Refusal>),
}

/// A service whose turn it is.
struct Applicant<'a> {
    key: &'a ServiceKey,
    namespace_labels: &'a Labels,
    request: &'a Request,
}

impl Applicant<'_> {
    fn admitted_to(&self, pool: &Pool) -> Result<(), NotAdmitted> {
        let Some(allocation) = &pool.allocation else { return Ok(()) };
        let namespace = &self.key.namespace;
        if !allocation.admits_namespace(namespace, self.namespace_labels) {
            return Err(NotAdmitted::Namespace(namespace.to_string()));
        }
        if !allocation.admits_service(&self.request.labels) {
            return Err(NotAdmitted::Labels);
        }
        Ok(())
    }
}

fn families_of(sorted: &[IpAddr]) -> Vec<Family> {
    sorted.iter().map(|&ip| Family::of(ip)).collect()
}

//! What a service keeps, and what it gets besides.

mod reserve;
mod search;

pub use reserve::Settled;

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::{Labels, NodeName};
use pools::{Pool, Pools, Presence};

use crate::applicant::{Applicant, Standing};
use crate::holdings::{Holding, Holdings};
use crate::{
    AddressRequest, Assignment, Families, Family, PoolName, Reason, Record, Refusal, Request, ReservationKey,
    ServiceKey, Unsuitable, Usage,
};

/// Which service holds which address, and which is next.
///
/// One service at a time is decided anew with [`Allocator::assign`]; it looks only at pools and at the service's own
/// entry, never at other services.
#[derive(Debug, Default)]
pub struct Allocator {
    holdings: Holdings,
}

/// What became of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The addresses that it holds from now on, or why it has none.
    pub outcome: Result<Assignment, Refusal>,
    /// Why it could not keep all that it came with, when the reason lies with the pools or with its neighbours on the
    /// address, and not in a request of its own.
    pub lost: Option<Refusal>,
    /// Why a service that keeps what it has is not given what it asks for in its place.
    pub denied: Option<Refusal>,
    /// Why a second address, which the service would like but does not need, is not to be had.
    pub incomplete: Option<Refusal>,
    /// Whether something that it held before, an address or a port of one, is there for others now.
    pub freed: bool,
}

impl Decision {
    /// Whether it may be another one once somebody else gives something up.
    pub fn waits(&self) -> bool {
        let may_pass =
            |it: &Unsuitable| matches!(it.reason, Reason::Exhausted { .. } | Reason::QuotaReached(_));
        match (&self.outcome, &self.incomplete) {
            (Err(_), _) => true,
            (Ok(_), Some(Refusal::NothingLeft(unsuitable))) => unsuitable.iter().any(may_pass),
            (Ok(_), _) => false,
        }
    }
}

impl Allocator {
    /// Replaces all pools. Services keep their addresses where [`Pools::pool_of`] says so; the others hold nothing any
    /// more and are returned, in order. Nobody is asked whether a pool is still for them: decide them anew.
    ///
    /// Costs as much as what has changed: a pool that is as it was keeps its ledger, and its services stay.
    pub fn set_pools(&mut self, pools: Pools) -> Vec<ServiceKey> {
        self.holdings.set_pools(pools)
    }

    /// Replaces the addresses of nodes, which are never given out. Returns the services that hold one, in order: decide
    /// them anew.
    pub fn set_reserved(&mut self, reserved: BTreeMap<IpAddr, NodeName>) -> Vec<ServiceKey> {
        self.holdings.set_reserved(reserved)
    }

    /// A service that others serve, such as one of another load balancer class, has these addresses from now on: nobody
    /// is given one of them, but who holds one keeps it. Whether another is there for others now.
    pub fn set_elsewhere(&mut self, key: &ServiceKey, ips: impl IntoIterator<Item = IpAddr>) -> bool {
        self.holdings.set_elsewhere(key, ips.into_iter().collect())
    }

    /// The addresses of a pool that are reserved and that no service holds.
    pub fn unused_reserved(&self, pool: &PoolName, family: Family) -> usize {
        self.holdings.unused_reserved(pool, family)
    }

    /// The reservations that are in force, in order, with what each has.
    pub fn reservations(&self) -> impl Iterator<Item = (&ReservationKey, &Assignment)> {
        self.holdings.reservations.in_force().map(|(key, in_force)| (key, &in_force.assignment))
    }

    /// The services that have an address, in order.
    pub fn services_at(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.holdings.services_at(ip)
    }

    /// The pools.
    pub fn pools(&self) -> &Pools {
        self.holdings.pools()
    }

    /// What a service holds.
    pub fn assignment(&self, key: &ServiceKey) -> Option<&Assignment> {
        self.holdings.get(key).map(|holding| &holding.assignment)
    }

    /// The services that hold something, in no order.
    pub fn holders(&self) -> impl Iterator<Item = (&ServiceKey, &Assignment)> {
        self.holdings.iter().map(|(key, holding)| (key, &holding.assignment))
    }

    /// Whether some pool is for a service that names none, whether or not anything is left there. One that may be about to
    /// be made again counts: nobody is to be served from elsewhere in the meantime.
    pub fn has_pool_for(&self, key: &ServiceKey, namespace_labels: &Labels, request: &Request) -> bool {
        let record = Record::default();
        let applicant = Applicant { key, namespace_labels, request, record: &record, former: &[] };
        self.pools().iter().any(|pool| match pool.presence {
            Presence::Present => pool.auto_assign && applicant.admitted_to(pool, Standing::Newcomer).is_ok(),
            Presence::Deleted => true,
        })
    }

    /// How full a pool is.
    pub fn usage(&self, pool: &PoolName, family: Family) -> Usage {
        self.holdings.usage(pool, family)
    }

    /// The service holds nothing from now on. Returns what it held.
    pub fn release(&mut self, key: &ServiceKey) -> Option<Assignment> {
        self.holdings.take_off(key).map(|holding| holding.assignment)
    }

    /// Decides anew what a service gets, in upstream's order: what it has, if that still fits, family by family; the
    /// addresses it asks for; the pool it asks for; pools pinned to it, by priority; pools for everybody, by name.
    /// Where it has the choice, it gets what it had before.
    ///
    /// `record` is what it came with, from its object or from an earlier decision, and `former` what it had before
    /// that. `namespace_labels` are those of its namespace.
    pub fn assign(
        &mut self,
        key: &ServiceKey,
        namespace_labels: &Labels,
        request: &Request,
        record: &Record,
        former: &[IpAddr],
    ) -> Decision {
        let before = self.holdings.take_off(key);
        let held = before.iter().flat_map(|holding| &holding.assignment.ips);
        let former: Vec<IpAddr> = held.chain(former).copied().collect();
        let applicant = Applicant { key, namespace_labels, request, record, former: &former };
        let Kept { assignment: kept, lost } = self.keep(&applicant);
        let kept = kept.or_else(|| self.keep_held(&applicant, before.as_ref()));
        let mut incomplete = None;
        let outcome = match kept {
            Some(kept) => self.complete(&applicant, kept, &mut incomplete),
            None => self.find(&applicant).and_then(|found| self.complete(&applicant, found, &mut incomplete)),
        };
        if let Ok(assignment) = &outcome {
            self.holdings.hold(key.clone(), Holding::new(assignment.clone(), request));
        }
        let denied = match (&outcome, &request.addresses) {
            (Ok(_), AddressRequest::Reserved(name)) => self.holdings.reserved_for(&applicant, name).err(),
            (Ok(_), AddressRequest::Unreadable { why, .. }) => Some(Refusal::Unreadable(why.clone())),
            (Ok(_), AddressRequest::Anything | AddressRequest::From(_) | AddressRequest::Exactly { .. })
            | (Err(_), _) => None,
        };
        let freed = before.is_some() && before.as_ref() != self.holdings.get(key);
        Decision { outcome, lost, denied, incomplete, freed }
    }

    /// Puts a service on what it came with, as far as it may have that, and looks no further. This is how a restart
    /// begins, so that everybody who holds something is heard before anything is given away, and all that happens to a
    /// service that is being deleted. Whether something that it held before is there for others now.
    pub fn adopt(
        &mut self,
        key: &ServiceKey,
        namespace_labels: &Labels,
        request: &Request,
        record: &Record,
    ) -> bool {
        let before = self.holdings.take_off(key);
        let kept = self.keep(&Applicant { key, namespace_labels, request, record, former: &[] });
        if let Some(assignment) = kept.assignment {
            self.holdings.hold(key.clone(), Holding::new(assignment, request));
        }
        before.is_some() && before.as_ref() != self.holdings.get(key)
    }

    /// What of its record the service may keep: all that is useful to it, else the address of one family.
    fn keep(&self, applicant: &Applicant<'_>) -> Kept {
        let useful = applicant.useful();
        if useful.is_empty() {
            return Kept::default();
        }
        let refusal = match self.kept(applicant, &useful) {
            Ok(assignment) => return Kept { assignment, lost: None },
            Err(refusal) => refusal,
        };
        let mut alone: Vec<IpAddr> = useful.iter().copied().filter(|_| useful.len() > 1).collect();
        alone.sort_by_key(|ip| Family::of(*ip) != applicant.request.families.primary());
        let kept = alone.iter().find_map(|ip| self.kept(applicant, &[*ip]).ok().flatten());
        Kept { assignment: kept, lost: Some(refusal) }
    }

    /// What the service held until now, as far as it may keep that: whoever spoils its record takes nothing from it.
    fn keep_held(&self, applicant: &Applicant<'_>, held: Option<&Holding>) -> Option<Assignment> {
        let Assignment { ips, pool } = &held?.assignment;
        let record = Record { ips: ips.clone(), pool: Some(pool.clone()) };
        self.keep(&Applicant { record: &record, ..*applicant }).assignment
    }

    /// These addresses, if the service may keep them; nothing if it asks for something else now.
    fn kept(&self, applicant: &Applicant<'_>, ips: &[IpAddr]) -> Result<Option<Assignment>, Refusal> {
        let pool = self.grant(applicant, ips, Standing::Holder)?;
        let from = |wanted: &Option<PoolName>| wanted.as_ref().is_none_or(|wanted| *wanted == pool.name);
        // While what is asked for is not to be had: where both are required, one is as good as none.
        let enough = ips.len() == 2 || applicant.request.families != Families::RequireDual;
        let as_requested = match &applicant.request.addresses {
            AddressRequest::Anything => true,
            AddressRequest::From(wanted) => *wanted == pool.name,
            AddressRequest::Reserved(name) => match self.holdings.reserved_for(applicant, name) {
                Ok(reserved) => reserved == ips,
                Err(_) => enough,
            },
            AddressRequest::Unreadable { why: _, pool: of } => from(of) && enough,
            AddressRequest::Exactly { ips: wanted, pool: of } => {
                wanted == ips && from(of) && applicant.may_name_only(ips)
            }
        };
        Ok(as_requested.then(|| Assignment { ips: ips.to_vec(), pool: pool.name.clone() }))
    }

    /// The pool that has these addresses, if the service may have them.
    fn grant(&self, applicant: &Applicant<'_>, ips: &[IpAddr], standing: Standing) -> Result<&Pool, Refusal> {
        let recorded = applicant.record.pool.as_ref();
        let pool = self.holdings.pool_of(ips, recorded).ok_or_else(|| self.holdings.in_no_pool(ips))?;
        applicant.admitted_to(pool, standing).map_err(|why| Refusal::NotAdmitted(pool.name.clone(), why))?;
        for &ip in ips {
            self.holdings.is_free_for(applicant, ip, standing)?;
        }
        // Who holds something keeps it, whatever has become of the quota.
        if standing == Standing::Newcomer {
            self.holdings.within_quota(&applicant.key.namespace, pool, ips).map_err(|reached| {
                let (pool, reason) = (pool.name.clone(), Reason::QuotaReached(reached));
                Refusal::NothingLeft(vec![Unsuitable { pool, reason }])
            })?;
        }
        Ok(pool)
    }

    /// Looks for the second address of a service that has one and needs or prefers two. Only the same pool will do; for
    /// one that needs two, any pool that has both when the same has not.
    fn complete(
        &mut self,
        applicant: &Applicant<'_>,
        mut assignment: Assignment,
        incomplete: &mut Option<Refusal>,
    ) -> Result<Assignment, Refusal> {
        let Request { families, addresses, .. } = applicant.request;
        let [ip] = assignment.ips[..] else { return Ok(assignment) };
        if let (Families::Single(_), _)
        | (_, AddressRequest::Unreadable { .. } | AddressRequest::Reserved(_)) = (families, addresses)
        {
            return Ok(assignment);
        }
        let missing = Family::of(ip).other();
        match (self.candidate(applicant, &assignment.pool, missing, &[ip]), families, addresses) {
            // It has named one and no other.
            (Ok(_), _, AddressRequest::Exactly { .. }) => {}
            (Ok(second), ..) => {
                assignment.ips.push(second);
                assignment.ips.sort_unstable();
            }
            (Err(_), Families::RequireDual, AddressRequest::Anything | AddressRequest::From(_)) => {
                return self.find(applicant);
            }
            (Err(reason), ..) => {
                let pool = assignment.pool.clone();
                *incomplete = Some(Refusal::NothingLeft(vec![Unsuitable { pool, reason }]));
            }
        }
        Ok(assignment)
    }
}

/// What of its record a service may keep, and why not all, when that is nothing that it asked for.
#[derive(Debug, Default)]
struct Kept {
    assignment: Option<Assignment>,
    lost: Option<Refusal>,
}

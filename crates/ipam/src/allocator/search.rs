//! Where an address is looked for, for a service that keeps none: what it asks for, what it had, then pool by pool.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pools::Presence;

use crate::allocator::Allocator;
use crate::applicant::{Applicant, Standing, families_of};
use crate::{
    AddressRequest, Assignment, Families, Family, NotAdmitted, PoolName, Reason, Refusal, Request, Unsuitable,
};

impl Allocator {
    /// Addresses for a service that has none: one, or of both families, from one pool.
    pub(super) fn find(&mut self, applicant: &Applicant<'_>) -> Result<Assignment, Refusal> {
        if self.holdings.pools().is_empty() {
            return Err(Refusal::NoPools);
        }
        let families = applicant.request.families;
        match &applicant.request.addresses {
            AddressRequest::Unreadable { why, pool: _ } => Err(Refusal::Unreadable(why.clone())),
            AddressRequest::Exactly { ips, pool: requested } => {
                if !families.accept_request(&families_of(ips)) {
                    return Err(Refusal::WrongFamilies { ips: ips.clone(), needed: families });
                }
                let actual = self.grant(applicant, ips, Standing::Newcomer)?.name.clone();
                match requested {
                    Some(requested) if *requested != actual => {
                        Err(Refusal::OtherPool { ips: ips.clone(), requested: requested.clone(), actual })
                    }
                    _ => Ok(Assignment { ips: ips.clone(), pool: actual }),
                }
            }
            AddressRequest::Reserved(name) => {
                let ips = self.holdings.reserved_for(applicant, name)?;
                let pool = self.grant(applicant, &ips, Standing::Newcomer)?.name.clone();
                Ok(Assignment { ips, pool })
            }
            AddressRequest::From(name) => {
                let pool = self
                    .holdings
                    .pools()
                    .get(name)
                    .ok_or_else(|| Refusal::UnknownPool(name.as_str().to_owned()))?;
                applicant
                    .admitted_to(pool, Standing::Newcomer)
                    .map_err(|why| Refusal::NotAdmitted(name.clone(), why))?;
                self.first_fit(applicant, vec![name.clone()]).map_err(Refusal::NothingLeft)
            }
            AddressRequest::Anything => self.search(applicant),
        }
    }

    /// What it had before, if it can have that again; else pinned pools first, then those for everybody.
    fn search(&mut self, applicant: &Applicant<'_>) -> Result<Assignment, Refusal> {
        if let Some(assignment) = self.regain(applicant) {
            return Ok(assignment);
        }
        let (mut pinned, mut open, mut unsuitable) = (Vec::new(), Vec::new(), Vec::new());
        for pool in self.holdings.pools().iter() {
            let name = pool.name.clone();
            let reason = if !pool.auto_assign {
                Reason::NotAutomatic
            } else if let Err(why) = applicant.admitted_to(pool, Standing::Newcomer) {
                Reason::NotAdmitted(why)
            } else {
                match &pool.allocation {
                    Some(allocation) => pinned.push((allocation.rank(), name)),
                    None => open.push(name),
                }
                continue;
            };
            unsuitable.push(Unsuitable { pool: name, reason });
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

    /// The addresses that the service had before, of every family that it needs. As to one that goes on having them,
    /// it does not matter whether their pool gives any to those who do not name it.
    fn regain(&self, applicant: &Applicant<'_>) -> Option<Assignment> {
        let families = [Family::V4, Family::V6].into_iter().filter(|f| applicant.request.families.need(*f));
        let ips = families.map(|family| applicant.former_of(family).next()).collect::<Option<Vec<_>>>()?;
        let pool = self.grant(applicant, &ips, Standing::Newcomer).ok()?;
        Some(Assignment { ips, pool: pool.name.clone() })
    }

    /// The first pool that has all that is needed; for a service that prefers two families, else the first
    /// that has its primary one, else the first that has the other.
    fn first_fit(
        &mut self,
        applicant: &Applicant<'_>,
        pools: Vec<PoolName>,
    ) -> Result<Assignment, Vec<Unsuitable>> {
        let mut second_best: BTreeMap<SecondBest, Assignment> = BTreeMap::new();
        let mut unsuitable = Vec::new();
        for pool in pools {
            let lacking = self.lacking(&pool);
            let mut candidate = |family, beside: &[IpAddr]| self.candidate(applicant, &pool, family, beside);
            let found = match applicant.request.families {
                Families::Single(family) => candidate(family, &[]).map(|ip| vec![ip]),
                // To free an address of the one family helps nobody where there is none of the other.
                Families::RequireDual => lacking.map_or(Ok(()), Err).and_then(|()| {
                    let v4 = candidate(Family::V4, &[])?;
                    Ok(vec![v4, candidate(Family::V6, &[v4])?])
                }),
                Families::PreferDual { primary } => {
                    let first = candidate(primary, &[]);
                    let second = candidate(primary.other(), first.as_ref().map_or(&[], std::slice::from_ref));
                    match (first, second) {
                        (Ok(first), Ok(second)) => {
                            let mut ips = vec![first, second];
                            ips.sort_unstable();
                            Ok(ips)
                        }
                        (Ok(ip), Err(_)) | (Err(_), Ok(ip)) => {
                            let rank = if Family::of(ip) == primary {
                                SecondBest::Primary
                            } else {
                                SecondBest::Other
                            };
                            second_best.entry(rank).or_insert(Assignment { ips: vec![ip], pool });
                            continue;
                        }
                        (Err(why), Err(_)) => Err(why),
                    }
                }
            };
            match found {
                Ok(ips) => return Ok(Assignment { ips, pool }),
                Err(reason) => unsuitable.push(Unsuitable { pool, reason }),
            }
        }
        second_best.into_values().next().ok_or(unsuitable)
    }

    /// That a pool has no addresses of one of the families, whoever has those of the other. What it lists no more, and
    /// somebody keeps, may still be shared.
    fn lacking(&self, pool: &PoolName) -> Option<Reason> {
        let pool = self.holdings.pools().get(pool).filter(|pool| pool.presence != Presence::Deleted)?;
        let has_none =
            |family: &Family| pool.capacity(*family) == 0 && self.usage(&pool.name, *family).in_use == 0;
        let family = [Family::V4, Family::V6].into_iter().find(has_none)?;
        Some(Reason::nothing_in(pool, family, 0))
    }

    /// The address of a family that the service would be given in a pool beside others of the same pool: one that it
    /// had before, else the next.
    pub(super) fn candidate(
        &mut self,
        applicant: &Applicant<'_>,
        pool: &PoolName,
        family: Family,
        beside: &[IpAddr],
    ) -> Result<IpAddr, Reason> {
        if self.holdings.pools().get(pool).is_none_or(|pool| pool.presence == Presence::Deleted) {
            return Err(Reason::NotAdmitted(NotAdmitted::Deleted));
        }
        let again = |ip: &IpAddr| {
            self.holdings.pool_of(&[*ip], None).is_some_and(|its| its.name == *pool)
                && self.holdings.is_free_for(applicant, *ip, Standing::Newcomer).is_ok()
        };
        let ip = match applicant.former_of(family).find(again) {
            Some(ip) => ip,
            None => {
                let Request { sharing, ports, .. } = applicant.request;
                self.holdings.next(pool, family, sharing, ports)?
            }
        };
        if let Some(pool) = self.holdings.pools().get(pool) {
            let ips = beside.iter().chain([&ip]);
            self.holdings.within_quota(&applicant.key.namespace, pool, ips).map_err(Reason::QuotaReached)?;
        }
        Ok(ip)
    }
}

/// What a service that prefers two families makes do with, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SecondBest {
    Primary,
    Other,
}

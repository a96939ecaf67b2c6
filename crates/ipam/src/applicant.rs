//! A service whose turn it is, and what it may have.

use std::net::IpAddr;

use objects::Labels;
use pools::{Family, Pool, Presence};

use crate::{Families, NotAdmitted, Record, Request, ServiceKey};

/// A service whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) key: &'a ServiceKey,
    pub(crate) namespace_labels: &'a Labels,
    pub(crate) request: &'a Request,
    /// What its object says it has.
    pub(crate) record: &'a Record,
    /// What it had before, the latest first.
    pub(crate) former: &'a [IpAddr],
}

/// As what a service wants an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has it.
    Holder,
    /// It would like to have it.
    Newcomer,
}

impl Applicant<'_> {
    /// Whether the pool is for this service.
    pub(crate) fn admitted_to(&self, pool: &Pool, standing: Standing) -> Result<(), NotAdmitted> {
        let recorded = self.record.pool.as_ref() == Some(&pool.name);
        let holder = standing == Standing::Holder && recorded;
        if pool.presence == Presence::Deleted {
            return if holder { Ok(()) } else { Err(NotAdmitted::Deleted) };
        }
        let Some(allocation) = &pool.allocation else { return Ok(()) };
        if holder && allocation.uncertain {
            return Ok(());
        }
        let namespace = &self.key.namespace;
        if !allocation.admits_namespace(namespace, self.namespace_labels) {
            return Err(NotAdmitted::Namespace(namespace.to_string()));
        }
        if !allocation.admits_service(&self.request.labels) {
            return Err(NotAdmitted::Labels);
        }
        Ok(())
    }

    /// Whether it may go on with these addresses where it asks for them and for no others. Who has two families has to
    /// name one of each; who only prefers two and has one goes on with it, though it would not be given it anew.
    pub(crate) fn may_name_only(&self, ips: &[IpAddr]) -> bool {
        match (self.request.families, ips) {
            (Families::PreferDual { .. }, [_]) => true,
            (families, ips) => families.accept_request(&families_of(ips)),
        }
    }

    /// The addresses of its record that it could keep, in ascending order; none when no service can have what is
    /// recorded, such as two addresses of one family.
    pub(crate) fn useful(&self) -> Vec<IpAddr> {
        let mut ips = self.record.ips.clone();
        ips.sort_unstable();
        let twice = |family| ips.iter().filter(|ip| Family::of(**ip) == family).count() > 1;
        if twice(Family::V4) || twice(Family::V6) {
            return Vec::new();
        }
        ips.retain(|ip| self.request.families.need(Family::of(*ip)));
        ips
    }

    /// What it had before of a family.
    pub(crate) fn former_of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        self.former.iter().copied().filter(move |ip| Family::of(*ip) == family)
    }
}

/// The families of addresses in ascending order.
pub(crate) fn families_of(sorted: &[IpAddr]) -> Vec<Family> {
    sorted.iter().map(|&ip| Family::of(ip)).collect()
}

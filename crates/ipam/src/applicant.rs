//! A service whose turn it is, and what it may have.

use std::net::IpAddr;

use objects::Labels;
use pools::{Family, Pool, Presence};

use crate::{AddressRequest, Families, NotAdmitted, Record, Request, ReservationKey, ServiceKey};

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
        let standing = if recorded { standing } else { Standing::Newcomer };
        let labels = Some(&self.request.labels);
        admit(pool, standing, &self.key.namespace, self.namespace_labels, labels)
    }

    /// Whether it asks for what this reservation has.
    pub(crate) fn names(&self, reservation: &ReservationKey) -> bool {
        matches!(&self.request.addresses, AddressRequest::Reserved(name) if name == reservation)
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

/// Whether a pool is for a namespace, and for a service with these labels where it is about one. It goes on being for who
/// has an address of it for a moment after it was deleted, and while nobody can tell whom else it is for.
pub(crate) fn admit(
    pool: &Pool,
    standing: Standing,
    namespace: &str,
    namespace_labels: &Labels,
    service: Option<&Labels>,
) -> Result<(), NotAdmitted> {
    if pool.presence == Presence::Deleted {
        return if standing == Standing::Holder { Ok(()) } else { Err(NotAdmitted::Deleted) };
    }
    let Some(allocation) = &pool.allocation else { return Ok(()) };
    if standing == Standing::Holder && allocation.uncertain {
        return Ok(());
    }
    if !allocation.admits_namespace(namespace, namespace_labels) {
        return Err(NotAdmitted::Namespace(namespace.to_owned()));
    }
    if service.is_some_and(|labels| !allocation.admits_service(labels)) {
        return Err(NotAdmitted::Labels);
    }
    Ok(())
}

/// The families of addresses in ascending order.
pub(crate) fn families_of(sorted: &[IpAddr]) -> Vec<Family> {
    sorted.iter().map(|&ip| Family::of(ip)).collect()
}

//! Which reservations are in force, and what each has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::Labels;
use pools::Family;

use crate::allocator::Allocator;
use crate::applicant::{Standing, admit};
use crate::holdings::InForce;
use crate::{
    Assignment, PoolName, Reason, Refusal, Reservation, ReservationKey, Sharing, Unsuitable, Wanted,
};

impl Allocator {
    /// Replaces all reservations, which come the older first, and says what each has, or why it is not in force.
    ///
    /// To be called again when anything has changed, pools and services included. Those that have addresses, as their
    /// records say, are decided before the others; the quota of a namespace is no matter to them any more. An address that
    /// a service of the namespace holds is reserved all the same: the service keeps it, and nobody else will get it.
    pub fn set_reservations(
        &mut self,
        reservations: &[Reservation],
        namespace_labels: &BTreeMap<String, Labels>,
    ) -> BTreeMap<ReservationKey, Result<Assignment, Refusal>> {
        self.holdings.take_reservations();
        let (recorded, new): (Vec<_>, Vec<_>) =
            reservations.iter().partition(|reservation| reservation.recorded().is_some());
        let mut outcomes = BTreeMap::new();
        let none = Labels::new();
        for reservation in recorded.into_iter().chain(new) {
            let labels = namespace_labels.get(&*reservation.key.namespace).unwrap_or(&none);
            let outcome = self.reserve(reservation, labels);
            let in_force = outcome.as_ref().ok().map(|assignment| InForce {
                assignment: assignment.clone(),
                service_selectors: reservation.service_selectors.clone(),
                recorded: assignment.ips == reservation.record.ips,
            });
            self.holdings.put_reservation(reservation.key.clone(), in_force);
            outcomes.insert(reservation.key.clone(), outcome);
        }
        outcomes
    }

    fn reserve(&mut self, reservation: &Reservation, labels: &Labels) -> Result<Assignment, Refusal> {
        let Reservation { key, wanted, .. } = reservation;
        match (reservation.recorded(), wanted) {
            (Some(ips), _) => self.may_reserve(reservation, labels, ips, Standing::Holder),
            (None, Wanted::Addresses(ips)) => self.may_reserve(reservation, labels, ips, Standing::Newcomer),
            (None, Wanted::AnyOf { pool, families }) => {
                let ips = self.choose(key, labels, pool, families)?;
                self.may_reserve(reservation, labels, &ips, Standing::Newcomer)
            }
        }
    }

    /// The pool that has these addresses, if they can be reserved.
    fn may_reserve(
        &self,
        Reservation { key, record, .. }: &Reservation,
        labels: &Labels,
        ips: &[IpAddr],
        standing: Standing,
    ) -> Result<Assignment, Refusal> {
        let recorded = record.pool.as_ref().filter(|_| standing == Standing::Holder);
        let pool = self.holdings.pool_of(ips, recorded).ok_or_else(|| self.holdings.in_no_pool(ips))?;
        admit(pool, standing, &key.namespace, labels, None)
            .map_err(|why| Refusal::NotAdmitted(pool.name.clone(), why))?;
        for ip in ips {
            self.holdings.can_be_reserved(*ip, key, standing)?;
        }
        if standing == Standing::Newcomer {
            let reached = |reached| nothing_left(&pool.name, Reason::QuotaReached(reached));
            self.holdings.within_quota(&key.namespace, pool, ips).map_err(reached)?;
        }
        Ok(Assignment { ips: ips.to_vec(), pool: pool.name.clone() })
    }

    /// Addresses of a pool that nobody has, one of each family.
    fn choose(
        &mut self,
        key: &ReservationKey,
        labels: &Labels,
        name: &PoolName,
        families: &[Family],
    ) -> Result<Vec<IpAddr>, Refusal> {
        let unknown = || Refusal::UnknownPool(name.as_str().to_owned());
        let pool = self.holdings.pools().get(name).ok_or_else(unknown)?;
        admit(pool, Standing::Newcomer, &key.namespace, labels, None)
            .map_err(|why| Refusal::NotAdmitted(name.clone(), why))?;
        let of_pool = [Family::V4, Family::V6].into_iter().filter(|family| pool.capacity(*family) > 0);
        let families: Vec<Family> = if families.is_empty() { of_pool.collect() } else { families.to_vec() };
        if families.is_empty() {
            return Err(nothing_left(name, Reason::nothing_in(pool, Family::V4, 0)));
        }
        let alone = Sharing::default();
        let next = |family: Family| self.holdings.next(name, family, &alone, &[].into());
        let ips: Result<Vec<IpAddr>, Reason> = families.into_iter().map(next).collect();
        ips.map_err(|reason| nothing_left(name, reason))
    }
}

fn nothing_left(pool: &PoolName, reason: Reason) -> Refusal {
    Refusal::NothingLeft(vec![Unsuitable { pool: pool.clone(), reason }])
}

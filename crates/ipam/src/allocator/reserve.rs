//! Which reservations are in force, and what each has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::Labels;
use pools::Family;

use crate::allocator::Allocator;
use crate::applicant::{Standing, admit};
use crate::reservations::{InForce, Outcome};
use crate::{
    Assignment, PoolName, Reason, Refusal, Reservation, ReservationKey, Sharing, Unsuitable, Wanted,
};

static NO_LABELS: Labels = Labels::new();

/// What has become of reservations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// What those have that were decided, or why they are not in force.
    pub outcomes: BTreeMap<ReservationKey, Result<Assignment, Refusal>>,
    /// Whether something that was reserved is there for others now.
    pub freed: bool,
}

impl Allocator {
    /// Adds a reservation or replaces it. [`Self::settle_reservations`] is to follow before any service is decided.
    pub fn put_reservation(&mut self, reservation: Reservation) {
        self.holdings.reservations.put(reservation);
    }

    /// Takes a reservation away. The same is to follow.
    pub fn remove_reservation(&mut self, key: &ReservationKey) {
        self.holdings.remove_reservation(key);
    }

    /// Whoever settles reservations wants to hear of this one, whose outcome may be the same.
    pub fn touch_reservation(&mut self, key: &ReservationKey) {
        self.holdings.reservations.touch(key);
    }

    /// The labels of a namespace have changed.
    pub fn touch_reservations_of(&mut self, namespace: &str) {
        self.holdings.reservations.touch_namespace(namespace);
    }

    /// Somebody has given something up: those that were refused may be given it.
    pub fn retry_reservations(&mut self) {
        self.holdings.reservations.touch_newcomers();
    }

    /// Whether any is to be decided anew.
    pub fn has_reservations_due(&self) -> bool {
        self.holdings.reservations.are_due()
    }

    /// Decides the reservations anew that something has changed for, and says what each of these has.
    ///
    /// What comes of it is the same as if all were decided: first those that have addresses, as their records say, the
    /// older before the younger, to whom the quota of a namespace is no matter any more; then the others. An address that
    /// a service of the namespace holds is reserved all the same: the service keeps it, and nobody else will get it.
    ///
    /// Costs as much as what has changed; with that, those without a record, which are decided together.
    pub fn settle_reservations(&mut self, namespace_labels: &BTreeMap<String, Labels>) -> Settled {
        let mut settled = Settled::default();
        while let Some(key) = self.holdings.reservations.next_due() {
            let had = self.holdings.withdraw(&key).map(|it| it.assignment);
            self.settle(&key, namespace_labels, &mut settled);
            let has = self.holdings.reservations.outcome(&key).and_then(Outcome::assignment).cloned();
            if had != has {
                settled.freed |= had.is_some();
                let ips = had.iter().chain(&has).flat_map(|it| &it.ips);
                self.holdings.reservations.touch_after(&key, ips);
                self.holdings.reservations.touch_newcomers();
            }
        }
        let newcomers = self.holdings.reservations.newcomers_due();
        let had = newcomers.iter().filter_map(|key| self.holdings.withdraw(key));
        let had: BTreeSet<IpAddr> = had.flat_map(|it| it.assignment.ips).collect();
        newcomers.iter().for_each(|key| self.settle(key, namespace_labels, &mut settled));
        settled.freed |= self.holdings.reservations.take_freed();
        settled.freed |= !had.iter().all(|ip| self.holdings.is_reserved(ip));
        settled
    }

    /// Replaces all reservations, decides all, and says what each has, or why it is not in force.
    pub fn set_reservations(
        &mut self,
        reservations: impl IntoIterator<Item = Reservation>,
        namespace_labels: &BTreeMap<String, Labels>,
    ) -> BTreeMap<ReservationKey, Result<Assignment, Refusal>> {
        let mut gone: BTreeSet<ReservationKey> = self.holdings.reservations.keys().cloned().collect();
        for reservation in reservations {
            gone.remove(&reservation.key);
            self.put_reservation(reservation);
        }
        gone.iter().for_each(|key| self.remove_reservation(key));
        self.holdings.reservations.touch_all();
        self.settle_reservations(namespace_labels).outcomes
    }

    /// Decides one, which has nothing.
    fn settle(
        &mut self,
        key: &ReservationKey,
        namespace_labels: &BTreeMap<String, Labels>,
        settled: &mut Settled,
    ) {
        let Some(reservation) = self.holdings.reservations.reservation(key).cloned() else { return };
        let labels = namespace_labels.get(&*key.namespace).unwrap_or(&NO_LABELS);
        let outcome = self.reserve(&reservation, labels);
        settled.outcomes.insert(key.clone(), outcome.clone());
        let outcome = match outcome {
            Ok(assignment) => Outcome::InForce(InForce {
                recorded: assignment.ips == reservation.record.ips,
                service_selectors: reservation.service_selectors,
                assignment,
            }),
            Err(_) => Outcome::Refused,
        };
        self.holdings.conclude(key, outcome);
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

//! What reservations have: the part of the [`Holdings`] that keeps addresses from everybody else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::{Selector, any_matches};
use pools::Family;

use crate::applicant::{Applicant, Standing};
use crate::holdings::{Holdings, ledger_of};
use crate::{Assignment, Families, PoolName, Refusal, ReservationKey};

/// All reservations; nothing for one that is not in force.
pub(crate) type Reservations = BTreeMap<ReservationKey, Option<InForce>>;

/// A reservation that has addresses.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) assignment: Assignment,
    pub(crate) service_selectors: Vec<Selector>,
    /// Whether its status says so. Before, nobody gets them: they might be others after a restart.
    pub(crate) recorded: bool,
}

impl Holdings {
    /// The addresses that a service gets which names this reservation.
    pub(crate) fn reserved_for(
        &self,
        applicant: &Applicant<'_>,
        name: &ReservationKey,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let known = self.reservations.get(name).ok_or_else(|| Refusal::UnknownReservation(name.clone()))?;
        let InForce { assignment, service_selectors, recorded } =
            known.as_ref().ok_or_else(|| Refusal::ReservationNotInForce(name.clone()))?;
        if !recorded {
            return Err(Refusal::ReservationPending(name.clone()));
        }
        let request = applicant.request;
        if !service_selectors.is_empty() && !any_matches(service_selectors, &request.labels) {
            return Err(Refusal::ReservationForOthers(name.clone()));
        }
        let useful = |ip: &&IpAddr| request.families.need(Family::of(**ip));
        let ips: Vec<IpAddr> = assignment.ips.iter().filter(useful).copied().collect();
        let needed = if request.families == Families::RequireDual { 2 } else { 1 };
        if ips.len() < needed {
            return Err(Refusal::WrongFamilies { ips: assignment.ips.clone(), needed: request.families });
        }
        Ok(ips)
    }

    /// The reservations that are in force, in order, with what each has.
    pub(crate) fn reservations(&self) -> impl Iterator<Item = (&ReservationKey, &Assignment)> {
        self.reservations.iter().filter_map(|(key, it)| Some((key, &it.as_ref()?.assignment)))
    }

    /// How many addresses of a pool are reserved and held by no service.
    pub(crate) fn unused_reserved(&self, pool: &PoolName, family: Family) -> usize {
        let of_pool = self.reservations().filter(|(_, assignment)| assignment.pool == *pool);
        let ips = of_pool.flat_map(|(_, assignment)| &assignment.ips);
        ips.filter(|ip| Family::of(**ip) == family && !self.vips.contains_key(ip)).count()
    }

    /// Whether an address can be reserved, as far as nodes, services and other reservations are concerned.
    pub(crate) fn can_be_reserved(
        &self,
        ip: IpAddr,
        key: &ReservationKey,
        standing: Standing,
    ) -> Result<(), Refusal> {
        if let Some(by) = self.reserved.reservations.get(&ip) {
            let by = (by.namespace == key.namespace).then(|| by.clone());
            return Err(Refusal::Reserved { ip, by });
        }
        if let Some(node) = self.reserved.nodes.get(&ip) {
            return Err(Refusal::NodeAddress { ip, node: node.clone() });
        }
        if standing == Standing::Newcomer && self.reserved.is_elsewhere(&ip) {
            return Err(Refusal::OtherClass(ip));
        }
        match self.vips.get(&ip) {
            Some(vip) if !vip.is_of(&key.namespace) => Err(Refusal::HeldElsewhere(ip)),
            Some(_) | None => Ok(()),
        }
    }

    /// Adds a reservation, with addresses that it may have.
    pub(crate) fn put_reservation(&mut self, key: ReservationKey, in_force: Option<InForce>) {
        if let Some(InForce { assignment: Assignment { ips, pool }, .. }) = &in_force {
            if let Some(pool) = self.pools.get(pool) {
                self.tally.add(pool, &key.namespace, ips);
            }
            for &ip in ips {
                let before = self.reserved.contains(&ip);
                self.reserved.reservations.insert(ip, key.clone());
                self.reservation_changed(ip, before);
            }
        }
        self.reservations.insert(key, in_force);
    }

    /// Takes all reservations away.
    pub(crate) fn take_reservations(&mut self) -> Reservations {
        let all = std::mem::take(&mut self.reservations);
        for (key, Assignment { ips, pool }) in in_force(&all) {
            self.tally.remove(pool, &key.namespace, ips);
            for &ip in ips {
                let before = self.reserved.contains(&ip);
                self.reserved.reservations.remove(&ip);
                self.reservation_changed(ip, before);
            }
        }
        all
    }

    /// Puts them back after pools have changed: those that no pool has any more are not in force.
    pub(super) fn put_reservations(&mut self, all: Reservations) {
        for (key, in_force) in all {
            let in_force = in_force.and_then(|mut it| {
                let Assignment { ips, pool } = &it.assignment;
                it.assignment.pool = self.pool_of(ips, Some(pool))?.name.clone();
                Some(it)
            });
            self.put_reservation(key, in_force);
        }
    }

    fn reservation_changed(&mut self, ip: IpAddr, before: bool) {
        if self.vips.contains_key(&ip) {
            return;
        }
        let Some(ledger) = ledger_of(&self.pools, &mut self.ledgers, ip) else { return };
        match (before, self.reserved.contains(&ip)) {
            (false, true) => ledger.reserve(ip),
            (true, false) => ledger.unreserve(ip),
            (true, true) | (false, false) => {}
        }
    }
}

fn in_force(all: &Reservations) -> impl Iterator<Item = (&ReservationKey, &Assignment)> {
    all.iter().filter_map(|(key, it)| Some((key, &it.as_ref()?.assignment)))
}

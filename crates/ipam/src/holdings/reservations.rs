//! What reservations have: the part of the [`Holdings`] that keeps addresses from everybody else.

use std::net::IpAddr;

use objects::any_matches;
use pools::Family;

use crate::applicant::{Applicant, Standing};
use crate::holdings::{Holdings, ledger_of};
use crate::reservations::{InForce, Outcome};
use crate::vip::Vip;
use crate::{Assignment, Families, PoolName, Refusal, ReservationKey, ServiceKey};

impl Holdings {
    /// The addresses that a service gets which names this reservation.
    pub(crate) fn reserved_for(
        &self,
        applicant: &Applicant<'_>,
        name: &ReservationKey,
    ) -> Result<Vec<IpAddr>, Refusal> {
        let unknown = || Refusal::UnknownReservation(name.clone());
        let InForce { assignment, service_selectors, recorded } =
            match self.reservations.outcome(name).ok_or_else(unknown)? {
                Outcome::InForce(in_force) => in_force,
                Outcome::Undecided | Outcome::Refused => {
                    return Err(Refusal::ReservationNotInForce(name.clone()));
                }
            };
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

    /// How many addresses of a pool are reserved and held by no service.
    pub(crate) fn unused_reserved(&self, pool: &PoolName, family: Family) -> usize {
        let of_pool = self.reservations.in_force().filter(|(_, it)| it.assignment.pool == *pool);
        let ips = of_pool.flat_map(|(_, it)| &it.assignment.ips);
        ips.filter(|ip| Family::of(**ip) == family && !self.vips.contains_key(ip)).count()
    }

    /// Whether a reservation has an address.
    pub(crate) fn is_reserved(&self, ip: &IpAddr) -> bool {
        self.reserved.reservations.contains_key(ip)
    }

    /// The services that have an address.
    pub(crate) fn services_at(&self, ip: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.vips.get(&ip).into_iter().flat_map(Vip::services)
    }

    /// Whether an address can be reserved, as far as nodes, services and the reservations before this one are concerned.
    pub(crate) fn can_be_reserved(
        &self,
        ip: IpAddr,
        key: &ReservationKey,
        standing: Standing,
    ) -> Result<(), Refusal> {
        let by = self.reserved.reservations.get(&ip);
        if let Some(by) = by.filter(|by| self.reservations.is_before(by, key)) {
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

    /// What a reservation has is there for others. Returns what it had.
    pub(crate) fn withdraw(&mut self, key: &ReservationKey) -> Option<InForce> {
        let Outcome::InForce(in_force) = self.reservations.decide(key, Outcome::Undecided) else {
            return None;
        };
        let Assignment { ips, pool } = &in_force.assignment;
        self.tally.remove(pool, &key.namespace, ips);
        for &ip in ips {
            let before = self.reserved.contains(&ip);
            self.reserved.reservations.remove(&ip);
            self.reservation_changed(ip, before);
        }
        Some(in_force)
    }

    /// A reservation that had nothing has addresses that it may have, or why not. Those after it that have one of them
    /// give way.
    pub(crate) fn conclude(&mut self, key: &ReservationKey, outcome: Outcome) {
        if let Outcome::InForce(InForce { assignment: Assignment { ips, pool }, .. }) = &outcome {
            let after: Vec<_> =
                ips.iter().filter_map(|ip| self.reserved.reservations.get(ip)).cloned().collect();
            after.iter().for_each(|key| self.give_way(key));
            if let Some(pool) = self.pools.get(pool) {
                self.tally.add(pool, &key.namespace, ips);
            }
            for &ip in ips {
                let before = self.reserved.contains(&ip);
                self.reserved.reservations.insert(ip, key.clone());
                self.reservation_changed(ip, before);
            }
        }
        self.reservations.decide(key, outcome);
    }

    fn give_way(&mut self, key: &ReservationKey) {
        if let Some(had) = self.withdraw(key) {
            self.reservations.touch_after(key, had.assignment.ips.iter());
            self.reservations.touch(key);
            self.reservations.touch_newcomers();
            self.reservations.free();
        }
    }

    /// Takes a reservation away.
    pub(crate) fn remove_reservation(&mut self, key: &ReservationKey) {
        if self.withdraw(key).is_some() {
            self.reservations.free();
            self.reservations.touch_newcomers();
        }
        self.reservations.remove(key);
    }

    /// Takes what all reservations have away.
    pub(super) fn withdraw_all(&mut self) -> Vec<(ReservationKey, InForce)> {
        let keys: Vec<ReservationKey> = self.reservations.in_force().map(|(key, _)| key.clone()).collect();
        keys.into_iter().filter_map(|key| self.withdraw(&key).map(|it| (key, it))).collect()
    }

    /// Gives it back after pools have changed, until they are decided: but not what no pool has any more.
    pub(super) fn give_back(&mut self, all: Vec<(ReservationKey, InForce)>) {
        for (key, mut in_force) in all {
            let Assignment { ips, pool } = &in_force.assignment;
            let Some(pool) = self.pool_of(ips, Some(pool)).map(|pool| pool.name.clone()) else { continue };
            in_force.assignment.pool = pool;
            self.conclude(&key, Outcome::InForce(in_force));
        }
        self.reservations.touch_all();
    }

    /// Who has an address has changed.
    pub(super) fn touch_reservations(&mut self, ip: IpAddr) {
        self.reservations.touch_ip(ip, self.reserved.reservations.get(&ip));
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

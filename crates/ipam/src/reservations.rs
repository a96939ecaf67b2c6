//! All reservations: what each says and has, who claims which address, and which are to be decided anew.
//!
//! They are decided in order ([`Turn`]): those that have addresses by their records, then the others, the older before the
//! younger. What becomes of one follows from pools, nodes and services, and from those before it. Of the recorded ones
//! each is due by itself, when something has changed about an address that it claims. The others, mostly few, may have to
//! do with each other's choice and quota, and are due together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::SystemTime;

use objects::Selector;

use crate::{Assignment, Reservation, ReservationKey, Wanted};

/// All reservations.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    known: BTreeMap<ReservationKey, Known>,
    /// Those without a record, in order.
    newcomers: BTreeSet<Turn>,
    /// How many of these have addresses, which their statuses do not say yet.
    unrecorded: usize,
    /// Who wants an address, or has it by its record.
    claims: HashMap<IpAddr, BTreeSet<ReservationKey>>,
    /// Recorded ones to be decided anew.
    due: BTreeSet<Turn>,
    /// Whether the newcomers are to be decided anew.
    newcomers_due: bool,
    /// Whether one has gone that had addresses.
    freed: bool,
}

/// One reservation.
#[derive(Debug)]
struct Known {
    reservation: Reservation,
    outcome: Outcome,
}

/// What was decided of a reservation.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Undecided,
    InForce(InForce),
    Refused,
}

impl Outcome {
    /// What it has.
    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        match self {
            Self::InForce(in_force) => Some(&in_force.assignment),
            Self::Undecided | Self::Refused => None,
        }
    }
}

/// A reservation that has addresses.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) assignment: Assignment,
    pub(crate) service_selectors: Vec<Selector>,
    /// Whether its status says so. Before, nobody gets them: they might be others after a restart.
    pub(crate) recorded: bool,
}

/// When the turn of a reservation is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    order: Order,
    created: Option<SystemTime>,
    pub(crate) key: ReservationKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    /// Its record says what it has.
    Recorded,
    New,
}

impl Turn {
    fn of(reservation: &Reservation) -> Self {
        let order = if reservation.recorded().is_some() { Order::Recorded } else { Order::New };
        Self { order, created: reservation.created, key: reservation.key.clone() }
    }
}

impl Reservations {
    pub(crate) fn reservation(&self, key: &ReservationKey) -> Option<&Reservation> {
        self.known.get(key).map(|known| &known.reservation)
    }

    pub(crate) fn outcome(&self, key: &ReservationKey) -> Option<&Outcome> {
        self.known.get(key).map(|known| &known.outcome)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &ReservationKey> {
        self.known.keys()
    }

    /// Those that are in force, in the order of their names.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = (&ReservationKey, &InForce)> {
        self.known.iter().filter_map(|(key, known)| match &known.outcome {
            Outcome::InForce(in_force) => Some((key, in_force)),
            Outcome::Undecided | Outcome::Refused => None,
        })
    }

    /// Adds one or replaces it. It goes on having what it has until it is decided.
    pub(crate) fn put(&mut self, reservation: Reservation) {
        let key = reservation.key.clone();
        if self.reservation(&key) == Some(&reservation) {
            return;
        }
        self.touch_claims_of(&key);
        let outcome = self.forget(&key);
        let turn = Turn::of(&reservation);
        for ip in claimed(&reservation) {
            self.claims.entry(ip).or_default().insert(key.clone());
        }
        if turn.order == Order::New {
            self.newcomers.insert(turn);
        }
        self.known.insert(key.clone(), Known { reservation, outcome: Outcome::Undecided });
        self.decide(&key, outcome);
        self.touch_claims_of(&key);
        self.touch(&key);
    }

    /// Removes one, which has nothing.
    pub(crate) fn remove(&mut self, key: &ReservationKey) {
        self.touch_claims_of(key);
        self.forget(key);
    }

    /// Sets what was decided of one, and returns what was before.
    pub(crate) fn decide(&mut self, key: &ReservationKey, outcome: Outcome) -> Outcome {
        let Some(known) = self.known.get_mut(key) else { return Outcome::Undecided };
        let new = known.reservation.recorded().is_none();
        self.unrecorded += usize::from(new && matches!(outcome, Outcome::InForce(_)));
        let before = std::mem::replace(&mut known.outcome, outcome);
        self.unrecorded -= usize::from(new && matches!(before, Outcome::InForce(_)));
        before
    }

    /// What is known of it is not any more, but for what was decided.
    fn forget(&mut self, key: &ReservationKey) -> Outcome {
        let outcome = self.decide(key, Outcome::Undecided);
        let Some(Known { reservation, .. }) = self.known.remove(key) else { return outcome };
        let turn = Turn::of(&reservation);
        self.newcomers.remove(&turn);
        self.due.remove(&turn);
        for ip in claimed(&reservation) {
            if let Some(claimants) = self.claims.get_mut(&ip) {
                claimants.remove(key);
                if claimants.is_empty() {
                    self.claims.remove(&ip);
                }
            }
        }
        outcome
    }

    /// Whether one comes before another.
    pub(crate) fn is_before(&self, one: &ReservationKey, other: &ReservationKey) -> bool {
        let turn = |key| self.reservation(key).map(Turn::of);
        turn(one) < turn(other)
    }

    /// Whether any is to be decided anew.
    pub(crate) fn are_due(&self) -> bool {
        self.newcomers_due || !self.due.is_empty() || self.freed
    }

    /// The next recorded one that is due, which is no longer.
    pub(crate) fn next_due(&mut self) -> Option<ReservationKey> {
        self.due.pop_first().map(|turn| turn.key)
    }

    /// The newcomers in order, if they are due, which they are no longer.
    pub(crate) fn newcomers_due(&mut self) -> Vec<ReservationKey> {
        if !std::mem::take(&mut self.newcomers_due) {
            return Vec::new();
        }
        self.newcomers.iter().map(|turn| turn.key.clone()).collect()
    }

    /// Whether one has gone or given way that had addresses, since this was asked.
    pub(crate) fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }

    /// What one had is there for others.
    pub(crate) fn free(&mut self) {
        self.freed = true;
    }

    /// One is to be decided anew.
    pub(crate) fn touch(&mut self, key: &ReservationKey) {
        let Some(reservation) = self.reservation(key) else { return };
        let turn = Turn::of(reservation);
        match turn.order {
            Order::Recorded => _ = self.due.insert(turn),
            Order::New => self.newcomers_due = true,
        }
    }

    /// Who has an address, besides reservations, has changed.
    pub(crate) fn touch_ip(&mut self, ip: IpAddr, reserved_by: Option<&ReservationKey>) {
        if let Some(key) = reserved_by {
            self.touch(key);
        }
        let claimants = self.claims.get(&ip).cloned().unwrap_or_default();
        claimants.iter().for_each(|key| self.touch(key));
    }

    /// Something else has happened to those that claim one of these addresses after this one.
    pub(crate) fn touch_after<'a>(&mut self, key: &ReservationKey, ips: impl Iterator<Item = &'a IpAddr>) {
        let claimants = ips.filter_map(|ip| self.claims.get(ip)).flatten();
        let after: Vec<_> = claimants.filter(|other| self.is_before(key, other)).cloned().collect();
        after.iter().for_each(|key| self.touch(key));
    }

    /// Others that claim an address that this one claims are to be decided anew.
    fn touch_claims_of(&mut self, key: &ReservationKey) {
        let claims = self.reservation(key).into_iter().flat_map(claimed);
        let claimants = claims.filter_map(|ip| self.claims.get(&ip)).flatten();
        let others: Vec<_> = claimants.filter(|other| *other != key).cloned().collect();
        others.iter().for_each(|key| self.touch(key));
    }

    /// Those of a namespace are to be decided anew.
    pub(crate) fn touch_namespace(&mut self, namespace: &str) {
        let first = ReservationKey::new(namespace, "");
        let keys = self.known.range(first..).map(|(key, _)| key);
        let keys: Vec<_> = keys.take_while(|key| *key.namespace == *namespace).cloned().collect();
        keys.iter().for_each(|key| self.touch(key));
    }

    /// The newcomers are to be decided anew.
    pub(crate) fn touch_newcomers(&mut self) {
        self.newcomers_due |= !self.newcomers.is_empty();
    }

    /// A namespace has more of a pool with a quota. Who has not been refused yet may have to be.
    pub(crate) fn touch_unrecorded(&mut self) {
        self.newcomers_due |= self.unrecorded > 0;
    }

    /// All are to be decided anew.
    pub(crate) fn touch_all(&mut self) {
        let turns = self.known.values().map(|known| Turn::of(&known.reservation));
        self.due = turns.filter(|turn| turn.order == Order::Recorded).collect();
        self.touch_newcomers();
    }
}

/// The addresses that it wants or has by its record.
fn claimed(reservation: &Reservation) -> impl Iterator<Item = IpAddr> {
    let wanted = match &reservation.wanted {
        Wanted::Addresses(ips) => &ips[..],
        Wanted::AnyOf { .. } => reservation.recorded().unwrap_or_default(),
    };
    wanted.iter().copied()
}

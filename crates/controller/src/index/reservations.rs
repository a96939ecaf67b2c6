//! Reservations: the part of the [`Index`] that keeps addresses for those who name them.

use std::collections::BTreeSet;
use std::time::Instant;

use api::{AddressReservation, AddressReservationStatus};
use ipam::{AddressRequest, Assignment, ReservationKey, ServiceKey, Settled};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::Change;
use translation::Claim;

use crate::entry::Entry;
use crate::index::changes::source;
use crate::index::{Index, List};

impl Index {
    /// Takes in a change of reservations. What follows for Services, follows with [`Self::decide`].
    pub(crate) fn reservations(&mut self, change: Change<AddressReservation>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.seen(List::AddressReservations, source(&change));
        self.reservations.change(change);
        self.proceed(deciding);
    }

    /// Whether it is to be decided anew which of them are in force.
    pub(super) fn has_reservations_to_settle(&self) -> bool {
        self.decides() && (self.reservations.have_changed() || self.allocator.has_reservations_due())
    }

    /// Decides of those that something has changed for whether they are in force. All who hold an address must have been
    /// heard. Due are the Services that name one of which something else was decided, and those that wait where something
    /// has become free.
    pub(super) fn settle_reservations(&mut self) {
        if !self.has_reservations_to_settle() {
            return;
        }
        let mut concerned = BTreeSet::new();
        let mut changed = Vec::new();
        for (key, said) in self.reservations.take_changed() {
            match said {
                Some(reservation) => self.allocator.put_reservation(reservation),
                None => {
                    self.allocator.remove_reservation(&key);
                    changed.extend(self.reservations.undecided(&key).then(|| key.clone()));
                }
            }
            concerned.insert(key);
        }
        let Settled { outcomes, freed } = self.allocator.settle_reservations(&self.namespace_labels);
        self.freed |= freed;
        for (key, outcome) in outcomes {
            let doubts = outcome.as_ref().map(|assignment| self.doubts(&key, assignment)).unwrap_or_default();
            changed.extend(self.reservations.decided(&key, outcome, doubts).then(|| key.clone()));
            concerned.insert(key);
        }
        let naming = changed.iter().filter_map(|key| self.named_by.get(key)).flatten();
        naming.cloned().collect::<Vec<_>>().iter().for_each(|key| self.make_due(key));
        self.notices.extend(concerned.iter().filter_map(|key| self.reservations.emit(key)));
    }

    /// Services that have an address of a reservation and do not ask for it.
    fn doubts(&self, reservation: &ReservationKey, assignment: &Assignment) -> Vec<String> {
        let holders: BTreeSet<&ServiceKey> =
            assignment.ips.iter().flat_map(|ip| self.allocator.services_at(*ip)).collect();
        let others = holders.into_iter().filter(|key| self.named_reservation(key) != Some(reservation));
        others.map(|key| format!("Service {key} has it and does not ask for it: it keeps it")).collect()
    }

    /// A Service has changed, which named this one before.
    pub(super) fn reservation_named(&mut self, key: &ServiceKey, before: Option<&ReservationKey>) {
        let now = self.named_reservation(key).cloned();
        if now.as_ref() == before {
            return;
        }
        if let Some(before) = before {
            self.unname(key, before);
        }
        if let Some(now) = now {
            self.allocator.touch_reservation(&now);
            self.named_by.entry(now).or_default().insert(key.clone());
        }
    }

    /// A Service names this one no longer.
    pub(super) fn unname(&mut self, key: &ServiceKey, reservation: &ReservationKey) {
        self.allocator.touch_reservation(reservation);
        if let Some(services) = self.named_by.get_mut(reservation) {
            services.remove(key);
            if services.is_empty() {
                self.named_by.remove(reservation);
            }
        }
    }

    /// The reservation that a Service asks for.
    pub(super) fn named_reservation(&self, key: &ServiceKey) -> Option<&ReservationKey> {
        named(self.services.get(key)?)
    }

    /// Reservations whose status does not say what it should, and what that is.
    pub(crate) fn outdated_reservation_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, AddressReservationStatus)> {
        if self.decides() { self.reservations.outdated(now) } else { Vec::new() }
    }
}

/// The reservation that a Service asks for.
pub(super) fn named(entry: &Entry) -> Option<&ReservationKey> {
    match &entry.claim {
        Claim::Ours(request) => match &request.addresses {
            AddressRequest::Reserved(name) => Some(name),
            AddressRequest::Anything
            | AddressRequest::From(_)
            | AddressRequest::Exactly { .. }
            | AddressRequest::Unreadable { .. } => None,
        },
        Claim::Unservable(_) | Claim::OtherType | Claim::OtherClass => None,
    }
}

#[cfg(test)]
mod tests;

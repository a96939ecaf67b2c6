//! Reservations: the part of the [`Index`] that keeps addresses for those who name them.

use std::collections::BTreeMap;
use std::time::Instant;

use api::{AddressReservation, AddressReservationStatus};
use ipam::{AddressRequest, Assignment, ReservationKey, ServiceKey};
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
        self.decides() && self.reservations.are_due()
    }

    /// Decides which are in force, where that may have changed. All who hold an address must have been heard. Due are the
    /// Services that name one that has changed, and those that wait.
    pub(super) fn settle_reservations(&mut self) {
        if !self.has_reservations_to_settle() {
            return;
        }
        let outcomes = self.allocator.set_reservations(&self.reservations.take_due(), &self.namespace_labels);
        let (services, allocator) = (&self.services, &self.allocator);
        let holds = |(key, _): &(&ServiceKey, &Entry), assignment: &Assignment| {
            let held = allocator.assignment(key).into_iter().flat_map(|held| &held.ips);
            held.into_iter().any(|ip| assignment.ips.contains(ip))
        };
        let doubts = |reservation: &ReservationKey, assignment: &Assignment| {
            let others =
                of_namespace(services, reservation).filter(|(_, entry)| named(entry) != Some(reservation));
            let holders = others.filter(|service| holds(service, assignment));
            holders
                .map(|(key, _)| format!("Service {key} has it and does not ask for it: it keeps it"))
                .collect()
        };
        let changed = self.reservations.decided(outcomes, doubts);
        self.freed |= !changed.is_empty();
        let mut due: Vec<ServiceKey> = Vec::new();
        for reservation in &changed {
            let naming =
                of_namespace(services, reservation).filter(|(_, entry)| named(entry) == Some(reservation));
            due.extend(naming.map(|(key, _)| key.clone()));
        }
        due.iter().for_each(|key| self.make_due(key));
        self.notices.extend(self.reservations.emit());
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

/// The Services of the namespace of a reservation.
fn of_namespace<'a>(
    services: &'a BTreeMap<ServiceKey, Entry>,
    reservation: &'a ReservationKey,
) -> impl Iterator<Item = (&'a ServiceKey, &'a Entry)> {
    let first = ServiceKey::new(&*reservation.namespace, "");
    services.range(first..).take_while(|(key, _)| key.namespace == reservation.namespace)
}

/// The reservation that a Service asks for.
fn named(entry: &Entry) -> Option<&ReservationKey> {
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

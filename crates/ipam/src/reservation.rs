//! Addresses that are kept for a namespace, whether or not a service has them.

use std::net::IpAddr;
use std::time::SystemTime;

use objects::Selector;
use pools::Family;

use crate::{PoolName, Record, ReservationKey};

/// What an `AddressReservation` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Namespace and name.
    pub key: ReservationKey,
    /// When it was created: the older comes before the younger.
    pub created: Option<SystemTime>,
    /// What is to be reserved.
    pub wanted: Wanted,
    /// Which services of the namespace may have it; when empty, all.
    pub service_selectors: Vec<Selector>,
    /// What its status says that it has.
    pub record: Record,
}

/// What is to be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// These addresses: one, or one of each family in ascending order.
    Addresses(Vec<IpAddr>),
    /// One of each of these families from a pool, of all that it has where none is named; chosen once.
    AnyOf {
        /// The pool.
        pool: PoolName,
        /// In ascending order.
        families: Vec<Family>,
    },
}

impl Reservation {
    /// What it had before, as far as it goes on wanting it.
    pub(crate) fn recorded(&self) -> Option<&[IpAddr]> {
        let recorded = &self.record.ips[..];
        let goes_on = match &self.wanted {
            Wanted::Addresses(wanted) => wanted == recorded,
            Wanted::AnyOf { .. } => !recorded.is_empty(),
        };
        goes_on.then_some(recorded)
    }
}

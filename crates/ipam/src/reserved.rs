//! Addresses that are not to be given out, whatever the pools list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use objects::NodeName;

use crate::{ReservationKey, ServiceKey};

/// Who has addresses that no allocation has given.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    /// Nobody may have these, whoever holds one.
    pub(crate) nodes: BTreeMap<IpAddr, NodeName>,
    /// Addresses of services that others serve, and how many have each: they are not given to anybody, but who holds
    /// one keeps it.
    elsewhere: BTreeMap<IpAddr, usize>,
    services: HashMap<ServiceKey, BTreeSet<IpAddr>>,
    /// Addresses that are kept for who names a reservation. Nobody else is given one, but who holds one keeps it.
    pub(crate) reservations: BTreeMap<IpAddr, ReservationKey>,
}

impl Reserved {
    /// Whether an address is not to be given out.
    pub(crate) fn contains(&self, ip: &IpAddr) -> bool {
        self.nodes.contains_key(ip) || self.is_elsewhere(ip) || self.reservations.contains_key(ip)
    }

    /// Whether a service that others serve has it.
    pub(crate) fn is_elsewhere(&self, ip: &IpAddr) -> bool {
        self.elsewhere.contains_key(ip)
    }

    /// All of them, once each.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        let elsewhere = self.elsewhere.keys().filter(|ip| !self.nodes.contains_key(ip));
        let reservations = self.reservations.keys();
        let reservations = reservations.filter(|ip| !self.nodes.contains_key(ip) && !self.is_elsewhere(ip));
        self.nodes.keys().chain(elsewhere).chain(reservations).copied()
    }

    /// What a service has that others serve.
    pub(crate) fn ips_of(&self, key: &ServiceKey) -> BTreeSet<IpAddr> {
        self.services.get(key).cloned().unwrap_or_default()
    }

    /// A service that others serve has these addresses from now on.
    pub(crate) fn set_elsewhere(&mut self, key: &ServiceKey, ips: BTreeSet<IpAddr>) {
        let before = self.services.remove(key).unwrap_or_default();
        for ip in &before {
            if let Some(count) = self.elsewhere.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    self.elsewhere.remove(ip);
                }
            }
        }
        for ip in &ips {
            *self.elsewhere.entry(*ip).or_default() += 1;
        }
        if !ips.is_empty() {
            self.services.insert(key.clone(), ips);
        }
    }
}

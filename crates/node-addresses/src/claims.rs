//! Who has which port.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ipam::Port;
use objects::{NodeName, ServiceKey};
use pools::Family;

/// Where a port has one owner. A node, since whichever of its addresses a request came to, it may arrive with another; and
/// an address, since nodes behind one router may all have that of the router.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Node(NodeName, Family),
    Address(IpAddr),
}

/// Who has which port.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    owners: BTreeMap<(Place, Port), ServiceKey>,
    services: HashMap<ServiceKey, BTreeSet<(Place, Port)>>,
}

impl Claims {
    /// Another than `key` that has one of these ports at a place.
    pub(crate) fn other(
        &self,
        key: &ServiceKey,
        place: &Place,
        ports: &BTreeSet<Port>,
    ) -> Option<(Port, &ServiceKey)> {
        let owner = |port: &Port| Some((*port, self.owners.get(&(place.clone(), *port))?));
        ports.iter().filter_map(owner).find(|(_, owner)| *owner != key)
    }

    /// Whether a Service has a port somewhere.
    pub(crate) fn has(&self, key: &ServiceKey, port: Port) -> bool {
        self.services.get(key).is_some_and(|claims| claims.iter().any(|(_, held)| *held == port))
    }

    /// Whether a Service has a port at a place.
    pub(crate) fn has_at(&self, key: &ServiceKey, place: &Place, port: Port) -> bool {
        self.owners.get(&(place.clone(), port)) == Some(key)
    }

    /// A Service has these from now on, none of which is another's, and nothing besides. Whether it had anything else before.
    pub(crate) fn hold(&mut self, key: &ServiceKey, claims: BTreeSet<(Place, Port)>) -> bool {
        let before = self.services.remove(key).unwrap_or_default();
        let mut freed = false;
        for claim in before.difference(&claims) {
            freed |= self.owners.remove(claim).is_some();
        }
        self.owners.extend(claims.iter().map(|claim| (claim.clone(), key.clone())));
        if !claims.is_empty() {
            self.services.insert(key.clone(), claims);
        }
        freed
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

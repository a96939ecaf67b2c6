//! One address, and the services that have it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use objects::PoolName;

use crate::{Conflict, Port, ServiceKey, Sharing};

/// An address that is held. All of its services agree on how to share it; one without a sharing key is alone.
#[derive(Debug)]
pub(crate) struct Vip {
    pub(crate) sharing: Sharing,
    /// The pool that its services have it from.
    pub(crate) pool: PoolName,
    holders: Holders,
}

/// Nearly always there is one service, for which maps would take ten times the memory.
#[derive(Debug)]
enum Holders {
    One(ServiceKey, BTreeSet<Port>),
    /// Thousands may share one address, so that their ports are found by look-up.
    Several {
        services: BTreeMap<ServiceKey, BTreeSet<Port>>,
        ports: BTreeMap<Port, ServiceKey>,
    },
}

impl Vip {
    pub(crate) fn new(pool: PoolName, sharing: Sharing, key: &ServiceKey, ports: &BTreeSet<Port>) -> Self {
        Self { sharing, pool, holders: Holders::One(key.clone(), ports.clone()) }
    }

    /// Whether a newcomer can have the address together with those who do.
    pub(crate) fn admits(
        &self,
        ip: IpAddr,
        key: &ServiceKey,
        sharing: &Sharing,
        ports: &BTreeSet<Port>,
    ) -> Result<(), Conflict> {
        // Whoever asks learns nothing of other namespaces.
        let named = |holder: &ServiceKey| (holder.namespace == key.namespace).then(|| holder.clone());
        let holder = || named(self.first());
        if sharing.key.is_none() || sharing.key != self.sharing.key {
            return Err(Conflict::SharingKey { ip, holder: holder() });
        }
        if sharing.namespace != self.sharing.namespace {
            return Err(Conflict::Namespace { ip });
        }
        if sharing.backend != self.sharing.backend {
            return Err(Conflict::Backend { ip, holder: holder() });
        }
        match ports.iter().find_map(|port| Some((*port, self.holder_of(*port)?))) {
            Some((port, holder)) => Err(Conflict::Port { ip, port, holder: named(holder) }),
            None => Ok(()),
        }
    }

    /// Who listens on a port of the address.
    pub(crate) fn holder_of(&self, port: Port) -> Option<&ServiceKey> {
        match &self.holders {
            Holders::One(key, ports) => ports.contains(&port).then_some(key),
            Holders::Several { ports, .. } => ports.get(&port),
        }
    }

    /// Adds a service that the address [`Self::admits`].
    pub(crate) fn insert(&mut self, key: &ServiceKey, ports: &BTreeSet<Port>) {
        if let Holders::One(first, theirs) = &self.holders {
            let by_port = theirs.iter().map(|port| (*port, first.clone())).collect();
            let services = BTreeMap::from([(first.clone(), theirs.clone())]);
            self.holders = Holders::Several { services, ports: by_port };
        }
        if let Holders::Several { services, ports: by_port } = &mut self.holders {
            by_port.extend(ports.iter().map(|port| (*port, key.clone())));
            services.insert(key.clone(), ports.clone());
        }
    }

    /// Takes a service off. Whether that was the last one.
    pub(crate) fn remove(&mut self, key: &ServiceKey) -> bool {
        match &mut self.holders {
            Holders::One(only, _) => only == key,
            Holders::Several { services, ports: by_port } => {
                for port in services.remove(key).into_iter().flatten() {
                    by_port.remove(&port);
                }
                if services.len() == 1
                    && let Some((key, ports)) = services.pop_first()
                {
                    self.holders = Holders::One(key, ports);
                }
                false
            }
        }
    }

    /// Whether all who have it are of this namespace.
    pub(crate) fn is_of(&self, namespace: &str) -> bool {
        self.services().all(|key| *key.namespace == *namespace)
    }

    /// The services that have it, in order.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        let (one, several) = match &self.holders {
            Holders::One(key, _) => (Some(key), None),
            Holders::Several { services, .. } => (None, Some(services.keys())),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    fn first(&self) -> &ServiceKey {
        self.services().next().expect("an address without services is not held")
    }
}

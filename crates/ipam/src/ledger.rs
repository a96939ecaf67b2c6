//! Who holds what in one pool.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::free::{FreeList, Slot};
use crate::{Conflict, Family, Pool, Port, ServiceKey, Tenancy};

/// How many addresses of one family a pool has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Addresses that are held.
    pub in_use: u128,
    /// Addresses that are left.
    pub available: u128,
}

/// One pool, its free addresses, and the services on the others.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) pool: Pool,
    free: FreeList,
    held: BTreeMap<IpAddr, Vip>,
    in_use: BTreeMap<Family, u128>,
    /// Addresses that more services could join, by what they must agree on.
    joinable: BTreeMap<Tenancy, BTreeSet<Slot>>,
}

/// An address that is held. All of its services have the same tenancy; one without a sharing key is alone.
#[derive(Debug)]
struct Vip {
    tenancy: Tenancy,
    /// Sorted by key. Nearly always there is one only, for which a map would take ten times the memory.
    services: Vec<(ServiceKey, BTreeSet<Port>)>,
}

impl Vip {
    fn insert(&mut self, key: &ServiceKey, ports: &BTreeSet<Port>) {
        match self.position(key) {
            Ok(at) => self.services[at].1.clone_from(ports),
            Err(at) => {
                self.services.reserve_exact(1);
                self.services.insert(at, (key.clone(), ports.clone()));
            }
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        if let Ok(at) = self.position(key) {
            self.services.remove(at);
        }
    }

    fn position(&self, key: &ServiceKey) -> Result<usize, usize> {
        self.services.binary_search_by(|(known, _)| known.cmp(key))
    }
}

impl Ledger {
    pub(crate) fn new(pool: Pool) -> Self {
        let free = FreeList::new(&pool);
        Self { pool, free, held: BTreeMap::new(), in_use: BTreeMap::new(), joinable: BTreeMap::new() }
    }

    pub(crate) fn usage(&self, family: Family) -> Usage {
        let in_use = self.in_use(family);
        Usage { in_use, available: self.pool.capacity(family).saturating_sub(in_use) }
    }

    pub(crate) fn in_use(&self, family: Family) -> u128 {
        self.in_use.get(&family).copied().unwrap_or(0)
    }

    /// Whether a newcomer can have the address, or share it with those who do.
    pub(crate) fn admits(
        &self,
        ip: IpAddr,
        tenancy: &Tenancy,
        ports: &BTreeSet<Port>,
    ) -> Result<(), Conflict> {
        let Some(vip) = self.held.get(&ip) else { return Ok(()) };
        let holder = || vip.services.first().expect("a held address has a service").0.clone();
        if tenancy.sharing_key.is_none() || tenancy.sharing_key != vip.tenancy.sharing_key {
            return Err(Conflict::SharingKey { ip, holder: holder() });
        }
        if tenancy.backend != vip.tenancy.backend {
            return Err(Conflict::Backend { ip, holder: holder() });
        }
        for (holder, theirs) in &vip.services {
            if let Some(&port) = theirs.intersection(ports).next() {
                return Err(Conflict::Port { ip, port, holder: holder.clone() });
            }
        }
        Ok(())
    }

    /// The address that a newcomer would be given: the first in the order of the pool that is free or can
    /// be shared. A free one that comes earlier is preferred to sharing.
    pub(crate) fn candidate(
        &mut self,
        family: Family,
        tenancy: &Tenancy,
        ports: &BTreeSet<Port>,
    ) -> Option<IpAddr> {
        let free = self.free.lowest(family);
        let shared =
            self.joinable.get(tenancy).into_iter().flatten().filter(|slot| Family::of(slot.ip) == family);
        let joined = shared
            .take_while(|&&slot| free.is_none_or(|free| slot < free))
            .find(|slot| self.admits(slot.ip, tenancy, ports).is_ok());
        joined.copied().or(free).map(|slot| slot.ip)
    }

    /// Puts a service on an address that [`Self::admits`] it.
    pub(crate) fn hold(&mut self, ip: IpAddr, key: &ServiceKey, tenancy: &Tenancy, ports: &BTreeSet<Port>) {
        let slot = self.free.slot(ip).expect("only addresses of the pool are held");
        let vip = self.held.entry(ip).or_insert_with(|| {
            self.free.take(slot);
            *self.in_use.entry(Family::of(ip)).or_default() += 1;
            if tenancy.sharing_key.is_some() {
                self.joinable.entry(tenancy.clone()).or_default().insert(slot);
            }
            Vip { tenancy: tenancy.clone(), services: Vec::new() }
        });
        vip.insert(key, ports);
    }

    /// Takes a service off an address. The address is free when it was the last one.
    pub(crate) fn release(&mut self, ip: IpAddr, key: &ServiceKey) {
        let Some(vip) = self.held.get_mut(&ip) else { return };
        vip.remove(key);
        if !vip.services.is_empty() {
            return;
        }
        let Vip { tenancy, .. } = self.held.remove(&ip).expect("it was found above");
        let slot = self.free.slot(ip).expect("only addresses of the pool are held");
        self.free.give_back(slot);
        *self.in_use.entry(Family::of(ip)).or_default() -= 1;
        if let Some(slots) = self.joinable.get_mut(&tenancy) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.joinable.remove(&tenancy);
            }
        }
    }
}

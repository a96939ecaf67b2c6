//! What of one pool is in use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use pools::{Family, Pool};

use crate::free::{FreeList, Slot};
use crate::reserved::Reserved;
use crate::vip::Vip;
use crate::{Port, Sharing};

/// How many addresses of one family a pool has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Addresses that are held.
    pub in_use: u128,
    /// Addresses that are left.
    pub available: u128,
}

/// All addresses that are held, of all pools.
pub(crate) type Vips = HashMap<IpAddr, Vip>;

/// The addresses of one pool: which are free, which can be shared, and how many are neither.
#[derive(Debug)]
pub(crate) struct Ledger {
    free: FreeList,
    counts: BTreeMap<Family, Counts>,
    /// Addresses that more services could join, by what they must agree on.
    joinable: BTreeMap<Sharing, BTreeMap<Family, Joinable>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    capacity: u128,
    in_use: u128,
    /// How many in use are not among those that the pool gives out: an older pool lists them too, or none does now.
    extra: u128,
    /// How many that the pool would give out are in use from another pool.
    lent: u128,
    /// How many are not given out, since a node has them, or a service that others serve.
    reserved: u128,
}

/// Addresses that services with one sharing key have.
#[derive(Debug, Default)]
struct Joinable {
    slots: BTreeSet<Slot>,
    /// For a port, a place before which every address has it in use: with thousands of services on one port, nobody
    /// looks at all of their addresses again for each.
    full_before: BTreeMap<Port, Slot>,
}

/// Whose addresses those are that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The pool gives it out.
    Listed,
    /// The pool does not give it out, but a service has it from there.
    Extra,
}

impl Ledger {
    pub(crate) fn new(pool: &Pool) -> Self {
        let counts = [Family::V4, Family::V6]
            .map(|family| (family, Counts { capacity: pool.capacity(family), ..Counts::default() }));
        Self { free: FreeList::new(pool), counts: counts.into(), joinable: BTreeMap::new() }
    }

    pub(crate) fn usage(&self, family: Family) -> Usage {
        let Counts { capacity, in_use, extra, lent, reserved } =
            self.counts.get(&family).copied().unwrap_or_default();
        let taken = (in_use - extra).saturating_add(lent).saturating_add(reserved);
        Usage { in_use, available: capacity.saturating_sub(taken) }
    }

    /// The address that a newcomer would be given: the first in the order of the pool that is free or can be shared,
    /// and is not `reserved`. A free one that comes earlier is preferred to sharing.
    pub(crate) fn candidate(
        &mut self,
        family: Family,
        sharing: &Sharing,
        ports: &BTreeSet<Port>,
        vips: &Vips,
        reserved: &Reserved,
    ) -> Option<IpAddr> {
        let free = self.free.lowest(family);
        let joinable = self.joinable.get_mut(sharing).and_then(|families| families.get_mut(&family));
        let joined = joinable.and_then(|joinable| joinable.first(free, ports, vips, reserved));
        joined.or(free).map(|slot| slot.ip)
    }

    /// An address has its first service.
    pub(crate) fn hold(&mut self, ip: IpAddr, origin: Origin, sharing: &Sharing) {
        let slot = self.slot(ip);
        let counts = self.counts.entry(Family::of(ip)).or_default();
        counts.in_use += 1;
        match origin {
            Origin::Listed => self.free.take(slot),
            Origin::Extra => counts.extra += 1,
        }
        if sharing.key.is_some() {
            let families = self.joinable.entry(sharing.clone()).or_default();
            families.entry(Family::of(ip)).or_default().insert(slot);
        }
    }

    /// These ports of a shared address are not in use any more.
    pub(crate) fn vacate(&mut self, ip: IpAddr, sharing: &Sharing, ports: &BTreeSet<Port>) {
        let slot = self.slot(ip);
        let families = self.joinable.get_mut(sharing);
        if let Some(joinable) = families.and_then(|families| families.get_mut(&Family::of(ip))) {
            ports.iter().for_each(|port| joinable.vacate(slot, *port));
        }
    }

    /// An address has no service any more.
    pub(crate) fn release(&mut self, ip: IpAddr, origin: Origin, sharing: &Sharing) {
        let slot = self.slot(ip);
        let counts = self.counts.entry(Family::of(ip)).or_default();
        counts.in_use -= 1;
        match origin {
            Origin::Listed => self.free.give_back(slot),
            Origin::Extra => counts.extra -= 1,
        }
        if let Some(families) = self.joinable.get_mut(sharing) {
            if let Some(joinable) = families.get_mut(&Family::of(ip)) {
                joinable.slots.remove(&slot);
            }
            families.retain(|_, joinable| !joinable.slots.is_empty());
            if families.is_empty() {
                self.joinable.remove(sharing);
            }
        }
    }

    /// An address that the pool would give out is in use from another pool.
    pub(crate) fn lend(&mut self, ip: IpAddr) {
        self.free.take(self.slot(ip));
        self.counts.entry(Family::of(ip)).or_default().lent += 1;
    }

    /// It is not any more.
    pub(crate) fn return_lent(&mut self, ip: IpAddr) {
        self.free.give_back(self.slot(ip));
        self.counts.entry(Family::of(ip)).or_default().lent -= 1;
    }

    /// An address that is free is not to be given out.
    pub(crate) fn reserve(&mut self, ip: IpAddr) {
        self.free.take(self.slot(ip));
        self.counts.entry(Family::of(ip)).or_default().reserved += 1;
    }

    /// A reserved address can be given out again.
    pub(crate) fn unreserve(&mut self, ip: IpAddr) {
        self.free.give_back(self.slot(ip));
        self.counts.entry(Family::of(ip)).or_default().reserved -= 1;
    }

    /// Where an address stands; after all others when it is not one that the pool gives out.
    fn slot(&self, ip: IpAddr) -> Slot {
        self.free.slot(ip).unwrap_or(Slot { entry: usize::MAX, ip })
    }
}

impl Joinable {
    /// The first address before `free` that has all of `ports` to spare. One that is held and has been reserved since
    /// is nobody's to join.
    fn first(
        &mut self,
        free: Option<Slot>,
        ports: &BTreeSet<Port>,
        vips: &Vips,
        reserved: &Reserved,
    ) -> Option<Slot> {
        let has =
            |slot: &Slot, port: Port| vips.get(&slot.ip).is_some_and(|vip| vip.holder_of(port).is_some());
        let first = *self.slots.first()?;
        let mut start = first;
        for &port in ports {
            let known = self.full_before.get(&port).copied().unwrap_or(first);
            let spare = self.slots.range(known..).find(|slot| !has(slot, port)).copied();
            let full_before = spare.or_else(|| self.slots.last().copied()).unwrap_or(known);
            self.full_before.insert(port, full_before);
            start = start.max(spare?);
        }
        let mut before_free =
            self.slots.range(start..).take_while(|slot| free.is_none_or(|free| **slot < free));
        before_free
            .find(|slot| !reserved.contains(&slot.ip) && ports.iter().all(|port| !has(slot, *port)))
            .copied()
    }

    fn insert(&mut self, slot: Slot) {
        self.slots.insert(slot);
        self.full_before.values_mut().for_each(|full_before| *full_before = slot.min(*full_before));
    }

    fn vacate(&mut self, slot: Slot, port: Port) {
        if let Some(full_before) = self.full_before.get_mut(&port) {
            *full_before = slot.min(*full_before);
        }
    }
}

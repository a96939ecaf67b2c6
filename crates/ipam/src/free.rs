//! The addresses of a pool that nobody holds, found in the order in which the pool lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pools::{Family, Pool, Range, is_buggy, predecessor, successor};

/// Where an address stands in its pool. The smaller one is handed out first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) entry: usize,
    pub(crate) ip: IpAddr,
}

/// What is free, as intervals: a pool of any size that is filled from the bottom is a handful of them, and
/// finding, taking and giving back an address are look-ups in small trees.
#[derive(Debug)]
pub(crate) struct FreeList {
    entries: Vec<Entry>,
    /// Entries by their first address, to find the one that an address belongs to.
    by_first: BTreeMap<IpAddr, usize>,
    /// Entries that have something free.
    open: BTreeMap<Family, BTreeSet<usize>>,
    avoid_buggy_ips: bool,
}

#[derive(Debug)]
struct Entry {
    range: Range,
    /// First and last address of each run of free addresses. Runs neither overlap nor touch.
    runs: BTreeMap<IpAddr, IpAddr>,
}

impl FreeList {
    /// Everything in the pool is free.
    pub(crate) fn new(pool: &Pool) -> Self {
        let mut open = BTreeMap::<Family, BTreeSet<usize>>::new();
        for (entry, range) in pool.ranges.iter().enumerate() {
            open.entry(range.family()).or_default().insert(entry);
        }
        let whole = |&range: &Range| Entry { range, runs: BTreeMap::from([(range.first(), range.last())]) };
        Self {
            entries: pool.ranges.iter().map(whole).collect(),
            by_first: pool.ranges.iter().enumerate().map(|(entry, range)| (range.first(), entry)).collect(),
            open,
            avoid_buggy_ips: pool.avoid_buggy_ips,
        }
    }

    /// Where an address stands, if it is in the pool.
    pub(crate) fn slot(&self, ip: IpAddr) -> Option<Slot> {
        let (_, &entry) = self.by_first.range(..=ip).next_back()?;
        self.entries[entry].range.contains(ip).then_some(Slot { entry, ip })
    }

    /// The free address to hand out next.
    pub(crate) fn lowest(&mut self, family: Family) -> Option<Slot> {
        loop {
            let entry = *self.open.get(&family)?.first()?;
            let ip = *self.entries[entry].runs.first_key_value()?.0;
            let slot = Slot { entry, ip };
            if !(self.avoid_buggy_ips && is_buggy(ip)) {
                return Some(slot);
            }
            // Never to be handed out: taken for good, so that it is passed over once and not each time.
            self.take(slot);
        }
    }

    /// The address is held from now on. No change when it is already.
    pub(crate) fn take(&mut self, Slot { entry, ip }: Slot) {
        let Some(Entry { range, runs }) = self.entries.get_mut(entry) else { return };
        let Some((&first, &last)) = runs.range(..=ip).next_back().filter(|&(_, &last)| ip <= last) else {
            return;
        };
        runs.remove(&first);
        if let Some(before) = predecessor(ip).filter(|_| first < ip) {
            runs.insert(first, before);
        }
        if let Some(after) = successor(ip).filter(|_| ip < last) {
            runs.insert(after, last);
        }
        if runs.is_empty() {
            self.open.entry(range.family()).or_default().remove(&entry);
        }
    }

    /// The address is free again. No change when it is already.
    pub(crate) fn give_back(&mut self, Slot { entry, ip }: Slot) {
        let Some(Entry { range, runs }) = self.entries.get_mut(entry) else { return };
        let before = runs.range(..=ip).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| ip <= last) {
            return;
        }
        let first = match before {
            Some((first, last)) if successor(last) == Some(ip) => first,
            _ => ip,
        };
        let last = successor(ip).and_then(|next| runs.remove(&next)).unwrap_or(ip);
        runs.insert(first, last);
        self.open.entry(range.family()).or_default().insert(entry);
    }
}

#[cfg(test)]
mod tests {
    use pools::{PoolSpec, Pools};

    use super::*;

    fn list(entries: &[&str], avoid_buggy_ips: bool) -> FreeList {
        let spec = PoolSpec { avoid_buggy_ips, ..PoolSpec::new("p", entries) };
        FreeList::new(Pools::new([spec]).get(&"p".into()).unwrap())
    }

    fn take_lowest(list: &mut FreeList, family: Family) -> Option<String> {
        let slot = list.lowest(family)?;
        list.take(slot);
        Some(slot.ip.to_string())
    }

    fn take_all(list: &mut FreeList, family: Family) -> Vec<String> {
        std::iter::from_fn(|| take_lowest(list, family)).collect()
    }

    #[test]
    fn addresses_come_lowest_first_in_listed_order() {
        let mut list = list(&["10.0.0.8/31", "fd00::/127", "10.0.0.2-10.0.0.3"], false);
        assert_eq!(take_all(&mut list, Family::V4), ["10.0.0.8", "10.0.0.9", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(take_all(&mut list, Family::V6), ["fd00::", "fd00::1"]);
    }

    #[test]
    fn what_is_given_back_is_handed_out_next_and_runs_grow_together() {
        let mut list = list(&["10.0.0.0/29"], false);
        take_all(&mut list, Family::V4);
        for last in [5, 3, 4] {
            let slot = list.slot(IpAddr::from([10, 0, 0, last])).unwrap();
            list.give_back(slot);
            list.give_back(slot);
        }
        assert_eq!(list.entries[0].runs.len(), 1);
        assert_eq!(take_all(&mut list, Family::V4), ["10.0.0.3", "10.0.0.4", "10.0.0.5"]);
    }

    #[test]
    fn buggy_addresses_are_passed_over_for_good() {
        let mut list = list(&["10.0.0.254-10.0.1.1"], true);
        assert_eq!(take_all(&mut list, Family::V4), ["10.0.0.254", "10.0.1.1"]);
    }

    #[test]
    fn the_ends_of_an_address_family_are_ordinary_addresses() {
        let mut list = list(&["0.0.0.0/0", "::/0"], false);
        for ip in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let slot = list.slot(ip.parse().unwrap()).unwrap();
            list.take(slot);
            list.give_back(slot);
        }
        assert!(list.entries.iter().all(|entry| entry.runs.len() == 1), "{list:?}");
    }

    #[test]
    fn an_address_outside_has_no_slot() {
        let list = list(&["10.0.0.8/30", "10.0.1.0/30"], false);
        for outside in ["10.0.0.7", "10.0.0.12", "10.0.2.0", "fd00::1"] {
            assert_eq!(list.slot(outside.parse().unwrap()), None, "{outside}");
        }
    }
}

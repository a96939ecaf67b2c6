//! All pools beside each other: which address belongs to which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use objects::PoolName;

use crate::fault::{Fault, Others};
use crate::pool::{Pool, PoolSpec, Presence};
use crate::{Range, RangeSet};

/// The pools, each with what of it is in force. Equal objects always make equal pools: nothing is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pools {
    // Shared, for they are handed on as a whole with each change of one.
    by_name: BTreeMap<PoolName, Arc<Pool>>,
    owners: Arc<Owners>,
}

/// The pool of every address that is in force, by the first address of a range.
type Owners = BTreeMap<IpAddr, Owned>;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    last: IpAddr,
    pool: PoolName,
    /// Which entry of the pool lists it.
    entry: usize,
}

impl Pools {
    /// Works out what is in force. Costs about as much as sorting all entries.
    pub fn new(specs: impl IntoIterator<Item = PoolSpec>) -> Self {
        let mut specs: Vec<PoolSpec> = specs.into_iter().collect();
        let order = |spec: &PoolSpec| (spec.presence, spec.created, !spec.accepted);
        specs.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.name.cmp(&b.name)));
        let (mut taken, mut owners) = (RangeSet::default(), Owners::new());
        let mut all: Vec<Pool> = Vec::with_capacity(specs.len());
        for spec in specs {
            all.push(take_in(spec, &mut taken, &mut owners));
        }
        let contested = all.iter().flat_map(|pool| pool.contested.iter()).collect::<RangeSet>();
        for pool in &mut all {
            // Mostly there is none, and many ranges to ask about.
            pool.disputed |=
                !contested.is_empty() && pool.ranges.iter().any(|range| contested.overlaps(*range));
        }
        let mut overlapping: BTreeMap<PoolName, PoolName> = BTreeMap::new();
        for (pool, (other, _)) in all.iter().flat_map(|pool| pool.overlapped().map(move |it| (pool, it))) {
            overlapping.entry(other.clone()).or_insert_with(|| pool.name.clone());
        }
        for pool in &mut all {
            pool.overlapped_by = overlapping.remove(&pool.name);
        }
        let by_name = all.into_iter().map(|pool| (pool.name.clone(), Arc::new(pool))).collect();
        Self { by_name, owners: Arc::new(owners) }
    }

    /// The pools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.by_name.values().map(Arc::as_ref)
    }

    /// The pool of this name.
    pub fn get(&self, name: &PoolName) -> Option<&Pool> {
        self.by_name.get(name).map(Arc::as_ref)
    }

    /// The pools that are not in both as they are. Costs little where both share most of them.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<PoolName> {
        let differ = |one: &Self, other: &Self| -> Vec<PoolName> {
            let differs = |(name, pool): &(&PoolName, &Arc<Pool>)| other.by_name.get(*name) != Some(*pool);
            one.by_name.iter().filter(differs).map(|(name, _)| name.clone()).collect()
        };
        differ(before, self).into_iter().chain(differ(self, before)).collect()
    }

    /// Whether some pool is in dispute.
    pub fn are_disputed(&self) -> bool {
        self.by_name.values().any(|pool| pool.disputed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The pool that gives out this address.
    pub fn owner(&self, ip: IpAddr) -> Option<&Pool> {
        let owner = &self.by_name[&self.owned(ip)?.pool];
        (!owner.leaves_out(ip)).then_some(owner)
    }

    /// The pool in which this address is in force, also where it leaves it out.
    pub fn listed_by(&self, ip: IpAddr) -> Option<&PoolName> {
        self.owned(ip).map(|owned| &owned.pool)
    }

    /// A pool with an entry that lists this address, but is not in force because it overlaps an older pool.
    pub fn overlapping(&self, ip: IpAddr) -> Option<&Pool> {
        self.iter().find(|pool| pool.contested.contains(ip))
    }

    /// The pool that a Service has these addresses from, when it records `recorded` as such. None when it may not go
    /// on having them.
    ///
    /// Addresses that several pools list belong to the pool that is recorded, so that an edit of one pool takes
    /// nothing from the Services of another. Addresses that no pool lists any more stay with the recorded pool for as
    /// long as not all of its object is in force, or another pool overlaps it: the two may be about to swap ranges by two
    /// edits, and what is meant will be known when that is resolved.
    pub fn pool_of(&self, ips: &[IpAddr], recorded: Option<&PoolName>) -> Option<&Pool> {
        let (&first, others) = ips.split_first()?;
        if let Some(pool) = recorded.and_then(|name| self.get(name))
            && ips.iter().all(|ip| self.may_keep(pool, *ip))
        {
            return Some(pool);
        }
        let owner = self.owner(first)?;
        others.iter().all(|ip| self.owner(*ip).is_some_and(|other| other.name == owner.name)).then_some(owner)
    }

    fn may_keep(&self, pool: &Pool, ip: IpAddr) -> bool {
        if pool.leaves_out(ip) {
            return false;
        }
        match self.owned(ip) {
            Some(owned) => owned.pool == pool.name || pool.contested.contains(ip),
            None => pool.disputed,
        }
    }

    fn owned(&self, ip: IpAddr) -> Option<&Owned> {
        self.owners.range(..=ip).next_back().map(|(_, owned)| owned).filter(|owned| ip <= owned.last)
    }
}

/// Puts in force what of a pool can be, all older ones being there.
fn take_in(spec: PoolSpec, taken: &mut RangeSet, owners: &mut Owners) -> Pool {
    let PoolSpec {
        name,
        labels,
        auto_assign,
        avoid_buggy_ips,
        allocation,
        entries,
        unreadable,
        quota,
        presence,
        created: _,
        accepted: _,
    } = spec;
    let mut faults: Vec<Fault> = unreadable.into_iter().map(Fault::Field).collect();
    let (mut ranges, mut contested) = (Vec::new(), RangeSet::default());
    if entries.is_empty() {
        faults.push(Fault::NoAddresses);
    }
    for (index, entry) in entries.into_iter().enumerate() {
        let range = match entry.range {
            Ok(range) => range,
            Err(why) => {
                faults.push(Fault::Entry { index, text: entry.text, why });
                continue;
            }
        };
        let overlapping = taken.within(range);
        if presence == Presence::Deleted && !overlapping.is_empty() {
            continue;
        }
        if !overlapping.is_empty() {
            let overlap = overlap(owners, &name, &overlapping);
            if !overlap.others.overlaps.is_empty() {
                faults.push(Fault::Overlap { index, text: entry.text, others: overlap.others });
                contested.insert(range);
                continue;
            }
            if let Some((earlier, range)) = overlap.own {
                faults.push(Fault::Repeated { index, text: entry.text, earlier, range });
            }
        }
        for part in taken.insert(range) {
            let owned = Owned { last: part.last(), pool: name.clone(), entry: index };
            owners.insert(part.first(), owned);
            ranges.push(part);
        }
    }
    let disputed = !faults.is_empty();
    Pool {
        name,
        labels,
        auto_assign,
        avoid_buggy_ips,
        allocation,
        ranges,
        faults,
        quota,
        presence,
        overlapped_by: None,
        contested,
        disputed,
    }
}

/// Whose addresses these are, which some pools have already.
fn overlap(owners: &Owners, pool: &PoolName, parts: &[Range]) -> Overlap {
    let mut overlap = Overlap::default();
    let mut looked_at = 0;
    for part in parts {
        let before = owners.range(..part.first()).next_back();
        let common = before.into_iter().chain(owners.range(part.first()..=part.last()));
        for (&first, owned) in common {
            let range = Range::new(first, owned.last).expect("a range of an owner is one");
            let Some(range) = range.intersection(*part) else { continue };
            if owned.pool == *pool {
                overlap.own.get_or_insert((owned.entry, range));
            } else if overlap.others.overlaps.len() < Others::MOST {
                overlap.others.overlaps.push((owned.pool.clone(), range));
            } else {
                overlap.others.more = true;
            }
            looked_at += 1;
            // What is not named is not looked at either, for there may be thousands.
            if overlap.others.more || looked_at == LOOKED_AT {
                return overlap;
            }
        }
    }
    overlap
}

/// As many owners of what an entry overlaps are looked at, to name some of them.
const LOOKED_AT: usize = 1024;

/// What an entry has in common with those before it.
#[derive(Debug, Default)]
struct Overlap {
    /// The first entry of the same pool, and where.
    own: Option<(usize, Range)>,
    others: Others,
}

#[cfg(test)]
mod tests;

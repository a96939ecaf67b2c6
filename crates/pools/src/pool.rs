//! A pool: what its object says, and what of that is in force.

use std::collections::BTreeSet;
use std::net::IpAddr;

use objects::{Labels, PoolName, Selector, any_matches};

use crate::range::is_buggy;
use crate::{Family, Fault, ParseRangeError, Quota, Range, RangeSet};

/// What an `IPAddressPool` object says, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSpec {
    /// Unique among the pools.
    pub name: PoolName,
    /// When the object was created, in seconds of the API server's clock: who was first keeps what two pools list.
    pub created: Option<i64>,
    /// Whether its status says that all of it was in force. Of two that were created within the same second, which is
    /// as exact as the API server is, such a one was first.
    pub accepted: bool,
    /// The labels of the object, which advertisements may select by.
    pub labels: Labels,
    /// The entries of `spec.addresses`, in the order in which they are used up.
    pub entries: Vec<Entry>,
    /// Whether a service gets addresses from here without naming the pool.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// Present on a pinned pool: one that only some services may use, and that those try first.
    pub allocation: Option<Allocation>,
    /// How much of it one namespace may hold.
    pub quota: Quota,
    /// What else of the object cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Whether there is such an object.
    pub presence: Presence,
}

/// Whether a pool's object is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It is.
    Present,
    /// It was deleted a moment ago, and may be about to be made again, as when it is replaced: services keep what they
    /// have from it, where no other pool lists that, and nothing is given out.
    Deleted,
}

impl PoolSpec {
    /// A pool with these entries, and otherwise as if nothing were said: created when nobody knows, and for everybody.
    pub fn new(name: impl Into<PoolName>, entries: &[&str]) -> Self {
        Self {
            name: name.into(),
            created: None,
            accepted: false,
            labels: Labels::new(),
            entries: entries.iter().map(|text| Entry::from(*text)).collect(),
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
            quota: Quota::Unlimited,
            unreadable: vec![],
            presence: Presence::Present,
        }
    }
}

/// One entry of `spec.addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it was written.
    pub text: String,
    /// What it means.
    pub range: Result<Range, ParseRangeError>,
}

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), range: text.parse() }
    }
}

impl From<IpAddr> for Entry {
    /// The entry for one address.
    fn from(ip: IpAddr) -> Self {
        let length = match Family::of(ip) {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        Self::from(format!("{ip}/{length}").as_str())
    }
}

/// A field that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which one, as a path from the object.
    pub field: String,
    /// What is wrong with it.
    pub why: String,
}

/// Which services may use a pinned pool. Namespace and service must both match; an empty list of either kind does
/// not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// 1 is tried first, then 2 and so on. Numbers below come before, as upstream sorts them; 0 is tried last.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
    /// Whether some selector cannot be read. It selects nothing; but as nobody can tell whom else it was to admit,
    /// those who have an address keep it.
    pub uncertain: bool,
}

impl Allocation {
    /// Whether the pool is for services with these labels, as far as the labels are concerned.
    pub fn admits_service(&self, labels: &Labels) -> bool {
        self.service_selectors.is_empty() || any_matches(&self.service_selectors, labels)
    }

    /// Whether the pool is for services of this namespace, as far as the namespace is concerned.
    pub fn admits_namespace(&self, namespace: &str, labels: &Labels) -> bool {
        (self.namespaces.is_empty() && self.namespace_selectors.is_empty())
            || self.namespaces.contains(namespace)
            || any_matches(&self.namespace_selectors, labels)
    }

    /// Sorts pools in the order in which they are tried.
    pub fn rank(&self) -> (bool, i64) {
        (self.priority == 0, self.priority)
    }
}

/// A pool with what of it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Unique among the pools.
    pub name: PoolName,
    /// The labels of the object.
    pub labels: Labels,
    /// Whether a service gets addresses from here without naming the pool.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// Which services may use it; `None` for all.
    pub allocation: Option<Allocation>,
    /// How much of it one namespace may hold.
    pub quota: Quota,
    /// What it gives addresses from, in this order. No other pool has any of them.
    pub ranges: Vec<Range>,
    /// What is not in force, and why.
    pub faults: Vec<Fault>,
    /// Whether there is such an object.
    pub presence: Presence,
    /// A pool with an entry that is not in force because it overlaps this one.
    pub overlapped_by: Option<PoolName>,
    /// The entries that are not in force because they overlap an older pool.
    pub(crate) contested: RangeSet,
    /// Whether what its object says is not all in force, or keeps others from being so.
    pub(crate) disputed: bool,
}

impl Pool {
    /// How many addresses of a family there are in its ranges, but for those that it leaves out.
    pub fn capacity(&self, family: Family) -> u128 {
        let usable = |range: &Range| {
            if self.avoid_buggy_ips { range.size() - range.buggy() } else { range.size() }
        };
        self.ranges.iter().filter(|range| range.family() == family).map(usable).fold(0, u128::saturating_add)
    }

    /// The addresses of its entries that are not in force because an older pool lists some of them, as ranges.
    pub fn contested(&self) -> impl Iterator<Item = Range> {
        self.contested.iter()
    }

    /// The older pools that its entries overlap, and where: the first few.
    pub(crate) fn overlapped(&self) -> impl Iterator<Item = &(PoolName, Range)> {
        self.faults.iter().flat_map(|fault| match fault {
            Fault::Overlap { others, .. } => &others.overlaps[..],
            Fault::NoAddresses | Fault::Entry { .. } | Fault::Field(_) | Fault::Repeated { .. } => &[],
        })
    }

    /// Whether it leaves out this address, wherever that is.
    pub fn leaves_out(&self, ip: IpAddr) -> bool {
        self.avoid_buggy_ips && is_buggy(ip)
    }
}

#[cfg(test)]
mod tests {
    use objects::Requirement;

    use super::*;
    use crate::Pools;

    #[test]
    fn capacity_counts_what_can_be_given_out() {
        for (range, plain, careful) in [
            ("10.0.0.0/24", 256, 254),
            ("10.0.0.0/30", 4, 3),
            ("10.0.0.252/30", 4, 3),
            ("10.0.0.255/32", 1, 0),
            ("10.0.0.0/32", 1, 0),
            ("10.0.0.128-10.0.1.127", 256, 254),
            ("10.0.0.0/8", 1 << 24, (1 << 24) - (1 << 17)),
        ] {
            let capacity = |avoid_buggy_ips| {
                let pools = Pools::new([PoolSpec { avoid_buggy_ips, ..PoolSpec::new("p", &[range]) }]);
                pools.get(&"p".into()).unwrap().capacity(Family::V4)
            };
            assert_eq!((capacity(false), capacity(true)), (plain, careful), "{range}");
        }
    }

    #[test]
    fn a_huge_range_does_not_overflow_the_count() {
        for entries in [&["::/0", "10.0.0.0/30"][..], &["::/1", "8000::/1", "10.0.0.0/30"]] {
            let pools = Pools::new([PoolSpec { avoid_buggy_ips: true, ..PoolSpec::new("p", entries) }]);
            let pool = pools.get(&"p".into()).unwrap();
            assert_eq!((pool.capacity(Family::V6), pool.capacity(Family::V4)), (u128::MAX, 3));
        }
    }

    #[test]
    fn a_pinned_pool_wants_namespace_and_service_to_match() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let selector = |key: &str, value: &str| Selector::from_iter([Requirement::equals(key, value)]);
        let pinned = Allocation {
            priority: 0,
            namespaces: BTreeSet::from(["prod".to_owned()]),
            namespace_selectors: vec![selector("tier", "gold")],
            service_selectors: vec![selector("app", "web")],
            uncertain: false,
        };
        let (web, none) = (labels(&[("app", "web")]), Labels::new());
        assert!(pinned.admits_namespace("prod", &none));
        assert!(pinned.admits_namespace("other", &labels(&[("tier", "gold")])));
        assert!(!pinned.admits_namespace("other", &none));
        assert!(pinned.admits_service(&web));
        assert!(!pinned.admits_service(&none));
        let unrestricted = Allocation::default();
        assert!(unrestricted.admits_namespace("any", &none) && unrestricted.admits_service(&none));
    }

    #[test]
    fn priority_zero_comes_last_and_negative_ones_first() {
        let rank = |priority| Allocation { priority, ..Allocation::default() }.rank();
        assert!(rank(-1) < rank(1) && rank(1) < rank(2) && rank(2) < rank(0));
    }
}

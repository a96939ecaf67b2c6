//! A pool: ordered ranges of addresses and who may use them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use objects::{Labels, PoolName, Selector, any_matches};

use crate::{Family, Range};

/// Ordered ranges of addresses, none of which overlap, and who may use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Unique among the pools.
    pub name: PoolName,
    /// In the order in which they are used up.
    pub ranges: Vec<Range>,
    /// Whether a service gets addresses from here without naming the pool.
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255.
    pub avoid_buggy_ips: bool,
    /// Present on a pinned pool: one that only some services may use, and that those try first.
    pub allocation: Option<Allocation>,
}

/// Which services may use a pinned pool. Namespace and service must both match; an empty list of either
/// kind does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocation {
    /// 1 is tried first, then 2 and so on; 0 is tried last.
    pub priority: u64,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
}

impl Pool {
    /// Whether the pool gives out this address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        !(self.avoid_buggy_ips && is_buggy(ip)) && self.ranges.iter().any(|range| range.contains(ip))
    }

    /// How many addresses of a family the pool gives out.
    pub fn capacity(&self, family: Family) -> u128 {
        let usable = |range: &Range| match (self.avoid_buggy_ips, family) {
            (true, Family::V4) => range.size() - buggy_in(*range),
            _ => range.size(),
        };
        self.ranges.iter().filter(|range| range.family() == family).map(usable).fold(0, u128::saturating_add)
    }
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
    pub fn rank(&self) -> u64 {
        self.priority.checked_sub(1).unwrap_or(u64::MAX)
    }
}

/// Whether an address is one that smurf protection in old equipment drops.
pub(crate) fn is_buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

/// How many addresses of an IPv4 range end in .0 or .255.
fn buggy_in(range: Range) -> u128 {
    // Counted below a bound, so that a range is a difference: each full block of 256 has two of them.
    let below = |bound: u128| bound / 256 * 2 + u128::from(!bound.is_multiple_of(256));
    let first = crate::range::bits(range.first());
    below(first + range.size()) - below(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ranges: &[&str], avoid_buggy_ips: bool) -> Pool {
        let ranges = ranges.iter().map(|r| r.parse().unwrap()).collect();
        Pool { name: PoolName::new("p"), ranges, auto_assign: true, avoid_buggy_ips, allocation: None }
    }

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
            assert_eq!(pool(&[range], false).capacity(Family::V4), plain, "{range}");
            assert_eq!(pool(&[range], true).capacity(Family::V4), careful, "{range}");
        }
    }

    #[test]
    fn a_huge_range_does_not_overflow_the_count() {
        let huge = pool(&["::/0", "10.0.0.0/30"], true);
        assert_eq!(huge.capacity(Family::V6), u128::MAX);
        assert_eq!(pool(&["::/1", "8000::/1"], true).capacity(Family::V6), u128::MAX);
        assert_eq!(huge.capacity(Family::V4), 3);
    }

    #[test]
    fn a_pinned_pool_wants_namespace_and_service_to_match() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let selector =
            |key: &str, value: &str| Selector::from_iter([objects::Requirement::equals(key, value)]);
        let pinned = Allocation {
            priority: 0,
            namespaces: BTreeSet::from(["prod".to_owned()]),
            namespace_selectors: vec![selector("tier", "gold")],
            service_selectors: vec![selector("app", "web")],
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
    fn priority_zero_comes_last() {
        let rank = |priority| Allocation { priority, ..Allocation::default() }.rank();
        assert!(rank(1) < rank(2) && rank(2) < rank(0));
    }
}

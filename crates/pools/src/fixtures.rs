//! Pools to test with.

use objects::Labels;

use crate::{Entry, PoolSpec, Pools};

pub(crate) fn spec(name: &str, entries: &[&str]) -> PoolSpec {
    PoolSpec {
        name: name.into(),
        created: None,
        accepted: false,
        labels: Labels::new(),
        entries: entries.iter().map(|text| Entry::from(*text)).collect(),
        auto_assign: true,
        avoid_buggy_ips: false,
        allocation: None,
        unreadable: vec![],
    }
}

pub(crate) fn pools(specs: impl IntoIterator<Item = PoolSpec>) -> Pools {
    Pools::new(specs)
}

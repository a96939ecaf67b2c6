//! What the tests of several modules make.

use std::collections::BTreeSet;
use std::time::Duration;

use objects::NodeName;

pub(crate) fn names(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| NodeName::from(*name)).collect()
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

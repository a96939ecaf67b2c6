//! Who watches over whom.
//!
//! All members stand on a ring, ordered by a hash of their names. The next few of each are its monitors: everybody
//! has as many to report to and as many to watch over as everybody else, however many there are, and when
//! one comes or goes only its neighbours change.

use std::collections::BTreeSet;

use objects::NodeName;
use ring::digest::{SHA256, digest};

/// How many watch over each member, where there are enough. Three, so that two still find a member dead that died
/// together with one of its monitors.
pub(crate) const MONITORS: usize = 3;

/// The members in their order.
#[derive(Debug, Default)]
pub(crate) struct Ring(BTreeSet<(u64, NodeName)>);

impl Ring {
    /// The members on their places.
    pub(crate) fn of<'a>(members: impl IntoIterator<Item = &'a NodeName>) -> Self {
        Self(members.into_iter().map(place).collect())
    }

    /// Who watches over `node`, the nearest first.
    pub(crate) fn monitors(&self, node: &NodeName) -> impl Iterator<Item = &NodeName> {
        let own = place(node);
        let rest = self.0.range(..&own).map(|(_, name)| name);
        let after = self.0.range(&own..).map(|(_, name)| name);
        after.chain(rest).filter(move |name| **name != own.1).take(MONITORS)
    }

    /// Whom `node` watches over, the nearest first.
    pub(crate) fn monitored(&self, node: &NodeName) -> impl Iterator<Item = &NodeName> {
        let own = place(node);
        let before = self.0.range(..&own).rev().map(|(_, name)| name);
        let rest = self.0.range(&own..).rev().map(|(_, name)| name);
        before.chain(rest).filter(move |name| **name != own.1).take(MONITORS)
    }
}

fn place(name: &NodeName) -> (u64, NodeName) {
    let hash = digest(&SHA256, name.as_str().as_bytes());
    let first = hash.as_ref()[..8].try_into().expect("a digest has 32 bytes");
    (u64::from_be_bytes(first), name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<NodeName> {
        (0..count).map(|number| format!("node-{number}").into()).collect()
    }

    #[test]
    fn everybody_has_three_monitors_and_monitors_three() {
        let names = names(50);
        let ring = Ring::of(&names);
        for name in &names {
            let monitors: BTreeSet<_> = ring.monitors(name).collect();
            assert_eq!(monitors.len(), 3);
            assert!(!monitors.contains(name));
            assert!(monitors.iter().all(|monitor| ring.monitored(monitor).any(|peer| peer == name)));
            assert_eq!(ring.monitored(name).count(), 3);
        }
    }

    #[test]
    fn a_few_watch_over_each_other() {
        for count in 1..4 {
            let names = names(count);
            let ring = Ring::of(&names);
            for name in &names {
                assert_eq!(ring.monitors(name).count(), count - 1);
                assert_eq!(ring.monitored(name).count(), count - 1);
            }
        }
    }

    #[test]
    fn one_who_goes_changes_the_monitors_of_three() {
        let names = names(50);
        let (before, after) = (Ring::of(&names), Ring::of(&names[1..]));
        let changed = names[1..].iter().filter(|name| !before.monitors(name).eq(after.monitors(name)));
        assert_eq!(changed.count(), 3);
    }
}

//! The other speakers: what they tell of themselves, what we tell of us, and whom of them we hear.

use std::collections::{BTreeMap, BTreeSet};

use layer2::{Friends, MacAddr};
use members::{Profile, View};
use placement::NodeName;

const MAC_LEN: usize = 6;

/// The Ethernet addresses of the other speakers. They stay known after their speakers are gone: one that leaves or is
/// cut off may go on answering for a while, and is no foreign host.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    macs: BTreeMap<NodeName, BTreeSet<MacAddr>>,
    /// How many members have not told theirs yet.
    unknown: usize,
}

impl Peers {
    /// The members are these, as far as `me` knows. Whether that makes a difference.
    pub(crate) fn update(&mut self, me: &NodeName, view: &View) -> bool {
        let mut changed = false;
        for (node, profile) in &view.profiles {
            let macs: BTreeSet<_> = macs(profile).collect();
            // A controller has none, and its name is no node's.
            if !macs.is_empty() && self.macs.get(node) != Some(&macs) {
                self.macs.insert(node.clone(), macs);
                changed = true;
            }
        }
        let others = view.members.iter().filter(|node| *node != me);
        let unknown = others.filter(|node| !view.profiles.contains_key(*node)).count();
        changed |= self.unknown != unknown;
        self.unknown = unknown;
        changed
    }

    /// A node is gone from the cluster. Whether that makes a difference.
    pub(crate) fn forget(&mut self, node: &NodeName) -> bool {
        self.macs.remove(node).is_some()
    }

    /// The stations that are no foreign hosts.
    pub(crate) fn friends(&self) -> Friends {
        Friends { known: self.macs.values().flatten().copied().collect(), unknown: self.unknown }
    }
}

/// What a member tells of itself: the Ethernet addresses that it announces with, one after the other. A node
/// with more than fit announces with the others all the same, and may be taken for a foreign host there.
pub(crate) fn profile(macs: &BTreeSet<MacAddr>) -> Profile {
    let bytes: Vec<u8> = macs.iter().flat_map(|mac| mac.0).take(Profile::MAX / MAC_LEN * MAC_LEN).collect();
    Profile::new(bytes).expect("no more is taken than fits")
}

/// The Ethernet addresses that a member announces with.
fn macs(profile: &Profile) -> impl Iterator<Item = MacAddr> {
    let (macs, _) = profile.as_bytes().as_chunks::<MAC_LEN>();
    macs.iter().copied().map(MacAddr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_oneself_is_understood_and_never_too_long() {
        for count in [0, 1, 2, 42, 43, 200] {
            let some: BTreeSet<MacAddr> = (0..count).map(|n| MacAddr([2, 0, 0, 0, 0, n])).collect();
            let read: BTreeSet<MacAddr> = macs(&profile(&some)).collect();
            assert_eq!(read.len(), usize::from(count.min(42)));
            assert!(read.is_subset(&some));
        }
        assert_eq!(
            macs(&Profile::new([1, 2, 3]).expect("short")).count(),
            0,
            "not from a speaker as we know them"
        );
    }
}

//! Which multicast groups to be a member of, and by which socket.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// Groups that several addresses may share.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<Ipv6Addr, usize>);

impl Groups {
    /// One more address needs `group`. Whether it is the first.
    pub(crate) fn add(&mut self, group: Ipv6Addr) -> bool {
        let users = self.0.entry(group).or_insert(0);
        *users += 1;
        *users == 1
    }

    /// One address less needs `group`. Whether it was the last.
    pub(crate) fn remove(&mut self, group: Ipv6Addr) -> bool {
        let Some(users) = self.0.get_mut(&group) else { return false };
        *users -= 1;
        if *users > 0 {
            return false;
        }
        self.0.remove(&group);
        true
    }
}

/// Which of several sockets is the member of which group.
///
/// A membership costs memory of the socket, and Linux limits that to `net.core.optmem_max`: 2 340 groups
/// where it is 128 KiB, 365 where it is 20 KiB, as it was before Linux 6.8.
#[derive(Debug, Default)]
pub struct Shards(Vec<BTreeSet<Ipv6Addr>>);

impl Shards {
    /// So many groups fit a socket under the older limit.
    pub const CAPACITY: usize = 256;

    /// Finds room for `group`: the number of the socket that is to join it, at most one more than there
    /// were; `None` if one did already.
    pub fn join(&mut self, group: Ipv6Addr) -> Option<usize> {
        if self.0.iter().any(|shard| shard.contains(&group)) {
            return None;
        }
        let found = self.0.iter().position(|shard| shard.len() < Self::CAPACITY);
        let shard = found.unwrap_or_else(|| {
            self.0.push(BTreeSet::new());
            self.0.len() - 1
        });
        self.0[shard].insert(group);
        Some(shard)
    }

    /// The number of the socket that is to leave `group`, if one joined it.
    pub fn leave(&mut self, group: Ipv6Addr) -> Option<usize> {
        self.0.iter_mut().position(|shard| shard.remove(&group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, number)
    }

    #[test]
    fn a_group_is_joined_for_the_first_address_and_left_with_the_last() {
        let mut groups = Groups::default();
        assert!(groups.add(group(1)));
        assert!(!groups.add(group(1)));
        assert!(groups.add(group(2)));
        assert!(!groups.remove(group(1)));
        assert!(groups.remove(group(1)));
        assert!(!groups.remove(group(1)));
        assert!(groups.add(group(1)));
    }

    #[test]
    fn sockets_are_filled_one_after_the_other_and_room_is_used_again() {
        let mut shards = Shards::default();
        let capacity = u16::try_from(Shards::CAPACITY).unwrap();
        for number in 0..3 * capacity {
            assert_eq!(shards.join(group(number)), Some(usize::from(number / capacity)));
        }
        assert_eq!(shards.join(group(0)), None);
        assert_eq!(shards.leave(group(capacity + 1)), Some(1));
        assert_eq!(shards.leave(group(capacity + 1)), None);
        assert_eq!(shards.join(group(60_000)), Some(1));
        assert_eq!(shards.join(group(60_001)), Some(3));
    }
}

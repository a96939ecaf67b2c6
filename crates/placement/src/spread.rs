//! Addresses spread evenly over the nodes that may announce them.
//!
//! By hash alone, as MetalLB ranks, some nodes have twice as many addresses as others. Here each address has a *home*, a node
//! that comes first for it, and a *deputy* that comes next; after these two, and where either cannot announce it, the ranking
//! by hash goes on. Both follow from the Services, the nodes and the configuration, and with the policy Local from the endpoints,
//! never from who is alive: so all speakers agree without talking, in whichever order they learn things, and when a node is
//! lost only its addresses move, evenly over the others.
//!
//! Homes are given out by consistent hashing with bounded loads: the addresses, those of the oldest Services first, go each
//! to the first node in an order by hash that is not full. Capacities grow in steps, so that few addresses move when one comes
//! or goes. Of addresses that the same nodes may announce, none of these has more than the least step that is enough for all
//! ([`capacity`]): exactly their even share up to eight, and a quarter more at most.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use sha2::{Digest, Sha256};

use crate::NodeName;

/// How candidates that the advertisements prefer alike are ranked for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Spread {
    /// By hash, as MetalLB does it.
    #[default]
    ByHash,
    /// So that all have as many addresses.
    Evenly,
}

/// Which nodes come first for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Homes {
    home: NodeName,
    deputy: Option<NodeName>,
}

/// What a node is for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Home,
    Deputy,
    Other,
}

impl Homes {
    pub(crate) fn place(&self, node: &NodeName) -> Place {
        match node {
            node if *node == self.home => Place::Home,
            node if self.deputy.as_ref() == Some(node) => Place::Deputy,
            _ => Place::Other,
        }
    }
}

/// The nodes that there are, in order.
pub(crate) struct Nodes<'a> {
    pub(crate) names: Vec<&'a NodeName>,
    hashes: Vec<u64>,
}

impl<'a> Nodes<'a> {
    pub(crate) fn new(names: impl Iterator<Item = &'a NodeName>) -> Self {
        let names: Vec<_> = names.collect();
        let hash = |name: &&NodeName| {
            let digest = Sha256::digest(name.as_str());
            u64::from_be_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
        };
        Self { hashes: names.iter().map(hash).collect(), names }
    }
}

/// An address and the nodes that may announce it, by their numbers.
pub(crate) type WithNodes = (IpAddr, Rc<[usize]>);

/// The homes of addresses, which come in the order in which they are served and are spread over `among` nodes.
pub(crate) fn homes(addresses: &[WithNodes], among: usize, nodes: &Nodes<'_>) -> BTreeMap<IpAddr, Homes> {
    let most = capacity(addresses.len(), among);
    let mut loads = vec![0; nodes.names.len()];
    let mut by_home: BTreeMap<usize, Vec<&WithNodes>> = BTreeMap::new();
    for address in addresses {
        let (vip, may) = address;
        if let Some(home) = choose(*vip, may.iter().copied(), &mut loads, most, nodes) {
            by_home.entry(home).or_default().push(address);
        }
    }
    let mut homes = BTreeMap::new();
    for (home, addresses) in by_home {
        loads.fill(0);
        for (vip, may) in &addresses {
            let others = may.iter().copied().filter(|node| *node != home);
            let most = capacity(addresses.len(), may.len().saturating_sub(1));
            let deputy = choose(*vip, others, &mut loads, most, nodes).map(|it| nodes.names[it].clone());
            homes.insert(*vip, Homes { home: nodes.names[home].clone(), deputy });
        }
    }
    homes
}

/// The first node in the order of an address that is not full; where all are, that with the least.
fn choose(
    vip: IpAddr,
    may: impl Iterator<Item = usize>,
    loads: &mut [usize],
    most: usize,
    nodes: &Nodes<'_>,
) -> Option<usize> {
    let of_vip = hash_of(vip);
    let by_hash = |node: usize| mix(of_vip ^ nodes.hashes[node]);
    let key = |node: usize| {
        let load = loads[node];
        (if load < most { 0 } else { load }, by_hash(node), node)
    };
    let (_, _, chosen) = may.map(key).min()?;
    loads[chosen] += 1;
    Some(chosen)
}

/// How many of so many addresses one of so many nodes may have: their even share, rounded up to a number of three binary
/// digits and zeros, such as 1, 2, ... 8, 10, 12, 14, 16, 20.
pub(crate) fn capacity(addresses: usize, nodes: usize) -> usize {
    let share = addresses.div_ceil(nodes.max(1));
    let step = 1 << (usize::BITS - share.leading_zeros()).saturating_sub(3);
    share.next_multiple_of(step)
}

fn hash_of(vip: IpAddr) -> u64 {
    let [high, low] = match vip {
        IpAddr::V4(v4) => [u64::MAX, u64::from(v4.to_bits())],
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let low = bits & u128::from(u64::MAX);
            [bits >> 64, low].map(|half| u64::try_from(half).expect("it has 64 bits"))
        }
    };
    mix(mix(high) ^ low)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ip;

    #[test]
    fn capacities_are_exact_up_to_eight_and_then_a_quarter_more_at_most() {
        let given = [(0, 3), (1, 3), (7, 3), (24, 3), (25, 3), (30, 3), (300, 5), (7, 0)];
        let capacities = given.map(|(addresses, nodes)| capacity(addresses, nodes));
        assert_eq!(capacities, [0, 1, 3, 8, 10, 10, 64, 7]);
        for share in 1..10_000 {
            assert!((share..=share + share / 4).contains(&capacity(share, 1)), "{share}");
        }
    }

    /// Speakers of different versions must agree.
    #[test]
    fn the_hash_of_an_address_stays_what_it_is() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash_of(ip("192.0.2.1")), 0x1074_103d_c932_8854);
        assert_eq!(hash_of(ip("2001:db8::1")), 0x4de8_97d9_54fd_23d5);
        assert_ne!(hash_of(ip("192.0.2.1")), hash_of(ip("::c000:201")));
    }
}

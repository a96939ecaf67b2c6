//! Prefixes in messages (RFC 4271 section 4.3): a length in bits, and as many octets as have any of them.

use std::net::IpAddr;

use objects::Family;

use crate::route::Prefix;
use crate::wire::Octets;

/// How many octets a prefix takes.
fn size(prefix: Prefix) -> usize {
    1 + usize::from(prefix.length().div_ceil(8))
}

/// As many of `prefixes` as fit into `room` octets, written, and those that do not.
pub(crate) fn fill(prefixes: &[Prefix], room: usize) -> (Vec<u8>, &[Prefix]) {
    let mut octets = Vec::new();
    for (index, &prefix) in prefixes.iter().enumerate() {
        if octets.len() + size(prefix) > room {
            return (octets, &prefixes[index..]);
        }
        octets.push(prefix.length());
        let significant = size(prefix) - 1;
        match prefix.address() {
            IpAddr::V4(v4) => octets.extend(&v4.octets()[..significant]),
            IpAddr::V6(v6) => octets.extend(&v6.octets()[..significant]),
        }
    }
    (octets, &[])
}

/// How many prefixes of `family` these octets are. `None` if they are none.
pub(crate) fn count(octets: &[u8], family: Family) -> Option<usize> {
    let most = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let mut octets = Octets(octets);
    let mut count = 0;
    while let Some(length) = octets.u8() {
        if length > most {
            return None;
        }
        octets.take(usize::from(length.div_ceil(8)))?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_takes_as_many_octets_as_it_needs() {
        let prefixes =
            ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.128/25", "192.0.2.1/32"].map(|text| text.parse().unwrap());
        let expected = [0, 8, 10, 25, 192, 0, 2, 128, 32, 192, 0, 2, 1];
        assert_eq!(fill(&prefixes, 100), (expected.to_vec(), &[][..]));
        assert_eq!(count(&expected, Family::V4), Some(4));
        assert_eq!(fill(&prefixes, 12), (expected[..8].to_vec(), &prefixes[3..]));
        assert_eq!(fill(&["2001:db8::/33".parse().unwrap()], 6).0, [33, 0x20, 1, 0x0d, 0xb8, 0]);
    }

    #[test]
    fn what_are_no_prefixes_is_noticed() {
        assert_eq!(count(&[33, 1, 2, 3, 4, 5], Family::V4), None);
        assert_eq!(count(&[33, 1, 2, 3, 4, 5], Family::V6), Some(1));
        assert_eq!(count(&[129], Family::V6), None);
        assert_eq!(count(&[24, 1, 2], Family::V4), None);
        assert_eq!(count(&[], Family::V4), Some(0));
    }
}

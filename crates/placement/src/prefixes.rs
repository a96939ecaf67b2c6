//! Which addresses are on the LAN of an interface: those in the prefixes of its own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::InterfaceName;

/// The prefixes of each interface of a node, as far as it has told.
pub type Prefixes = BTreeMap<InterfaceName, BTreeSet<Prefix>>;

/// The prefix of an address that an interface has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    first: IpAddr,
    length: u8,
}

impl Prefix {
    /// That of `address`. `None` where it says nothing of a LAN: link-local, of one address only, or of all.
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        let (bits, bytes) = bits(address);
        let is_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
        };
        if is_local || length == 0 || u32::from(length) >= bytes {
            return None;
        }
        let first = bits & mask(length, bytes);
        let first = match address {
            IpAddr::V4(_) => IpAddr::from(u32::try_from(first).ok()?.to_be_bytes()),
            IpAddr::V6(_) => IpAddr::from(first.to_be_bytes()),
        };
        Some(Self { first, length })
    }

    /// Its first address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits its addresses have in common.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether `vip` is in it.
    pub fn contains(self, vip: IpAddr) -> bool {
        self.first.is_ipv4() == vip.is_ipv4() && Self::of(vip, self.length).is_some_and(|it| it == self)
    }
}

/// Whether `vip` is on the LAN of the interface `name`, as far as prefixes tell: one that is in a prefix of some interfaces
/// is on the LANs of these, and any other may be on all.
pub(crate) fn is_on_lan_of(prefixes: &Prefixes, name: &InterfaceName, vip: IpAddr) -> bool {
    let contain = |prefixes: &BTreeSet<Prefix>| prefixes.iter().any(|prefix| prefix.contains(vip));
    prefixes.get(name).is_some_and(contain) || !prefixes.values().any(contain)
}

/// The number that an address is, and how many bits it has.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (v4.to_bits().into(), u32::BITS),
        IpAddr::V6(v6) => (v6.to_bits(), u128::BITS),
    }
}

fn mask(length: u8, of: u32) -> u128 {
    let host = of.saturating_sub(length.into());
    u128::MAX.checked_shl(host).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ip;

    fn prefix(text: &str, length: u8) -> Option<Prefix> {
        Prefix::of(ip(text), length)
    }

    #[test]
    fn a_prefix_has_the_addresses_that_begin_like_it() {
        for (of, length, within, without) in [
            ("192.0.2.77", 24, "192.0.2.1", "192.0.3.1"),
            ("192.0.2.77", 26, "192.0.2.64", "192.0.2.63"),
            ("2001:db8::7", 64, "2001:db8::1", "2001:db8:0:1::1"),
            ("10.0.0.1", 8, "10.255.0.1", "2001:db8::1"),
        ] {
            let prefix = prefix(of, length).expect("a prefix");
            assert!(prefix.contains(ip(within)) && !prefix.contains(ip(without)), "{of}/{length}");
            assert_eq!(Prefix::of(prefix.first(), prefix.length()), Some(prefix));
        }
    }

    #[test]
    fn addresses_that_say_nothing_of_a_lan_have_none() {
        for (of, length) in [
            ("192.0.2.1", 32),
            ("192.0.2.1", 0),
            ("192.0.2.1", 200),
            ("2001:db8::1", 128),
            ("fe80::1", 64),
            ("169.254.0.1", 16),
            ("127.0.0.1", 8),
            ("::1", 64),
        ] {
            assert_eq!(prefix(of, length), None, "{of}/{length}");
        }
    }

    #[test]
    fn an_address_outside_of_every_prefix_may_be_on_any_lan() {
        let of = |name: &str, text: &str| (InterfaceName::from(name), prefix(text, 24).into_iter().collect());
        let prefixes = Prefixes::from([of("eth0", "192.0.2.1"), of("eth1", "198.51.100.1")]);
        let on =
            |vip: &str| ["eth0", "eth1", "eth2"].map(|name| is_on_lan_of(&prefixes, &name.into(), ip(vip)));
        assert_eq!(on("192.0.2.200"), [true, false, false]);
        assert_eq!(on("203.0.113.1"), [true; 3]);
        assert!(is_on_lan_of(&Prefixes::new(), &"eth1".into(), ip("192.0.2.200")), "nothing was told");
    }
}

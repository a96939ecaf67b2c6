//! Prefixes: what can be announced.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use objects::Family;

/// An address prefix. The bits beyond its length are 0, and IPv4 sorts before IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// Why something is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPrefix {
    /// It is longer than an address.
    #[error("{length} bits are more than an {family} address has")]
    Length {
        /// The family of the address.
        family: Family,
        /// The length asked for.
        length: u8,
    },
    /// It is not written as one.
    #[error("not a prefix: write an address and a length, like 192.0.2.0/24")]
    Form,
    /// The address has bits beyond the length.
    #[error("bits are set beyond the length: write {0}")]
    HostBits(Prefix),
}

impl Prefix {
    /// The prefix of `length` bits that `address` lies in.
    pub fn containing(address: IpAddr, length: u8) -> Result<Self, NoPrefix> {
        let family = Family::of(address);
        if length > bits(family) {
            return Err(NoPrefix::Length { family, length });
        }
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(u32::BITS - u32::from(length)).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(u128::BITS - u32::from(length)).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        };
        Ok(Self { address, length })
    }

    /// That of this address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: bits(Family::of(address)) }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses have in common.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }

    /// Whether `address` lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.family() == Family::of(address) && Self::containing(address, self.length) == Ok(self)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let (address, length) = text.split_once('/').ok_or(NoPrefix::Form)?;
        let address = address.parse().map_err(|_| NoPrefix::Form)?;
        let length = length.parse().map_err(|_| NoPrefix::Form)?;
        let prefix = Self::containing(address, length)?;
        if prefix.address == address { Ok(prefix) } else { Err(NoPrefix::HostBits(prefix)) }
    }
}

fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn the_bits_beyond_the_length_are_cleared() {
        for (address, length, expected) in [
            ("192.0.2.77", 32, "192.0.2.77/32"),
            ("192.0.2.77", 26, "192.0.2.64/26"),
            ("192.0.2.77", 0, "0.0.0.0/0"),
            ("2001:db8::7", 128, "2001:db8::7/128"),
            ("2001:db8::7", 64, "2001:db8::/64"),
            ("2001:db8::7", 0, "::/0"),
        ] {
            let found = Prefix::containing(address.parse().unwrap(), length).unwrap();
            assert_eq!((found, found.to_string().as_str()), (prefix(expected), expected));
            assert!(found.contains(address.parse().unwrap()));
        }
    }

    #[test]
    fn an_address_of_the_other_family_is_never_in_it() {
        assert!(!prefix("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(!prefix("192.0.2.0/24").contains("192.0.3.0".parse().unwrap()));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for (text, error) in [
            ("192.0.2.0", NoPrefix::Form),
            ("192.0.2.0/x", NoPrefix::Form),
            ("x/24", NoPrefix::Form),
            ("192.0.2.0/33", NoPrefix::Length { family: Family::V4, length: 33 }),
            ("::/129", NoPrefix::Length { family: Family::V6, length: 129 }),
            ("192.0.2.1/24", NoPrefix::HostBits(prefix("192.0.2.0/24"))),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(error));
        }
    }

    #[test]
    fn prefixes_sort_by_family_and_address() {
        let sorted = ["10.0.0.0/8", "10.0.0.0/9", "192.0.2.0/24", "::/0", "2001:db8::/32"].map(prefix);
        assert!(sorted.is_sorted());
        assert_eq!(Prefix::host("192.0.2.1".parse().unwrap()), prefix("192.0.2.1/32"));
    }
}

//! Ranges of addresses: what a pool is made of.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use objects::{Family, LookAlike, look_alike};

/// Addresses from `first` to `last`, both included and of one family. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRangeError {
    /// An address alone, which may be a slip of the pen for a whole network.
    #[error("a single address needs its prefix length: write {0}/{1}")]
    BareAddress(IpAddr, u8),
    /// No address and prefix length.
    #[error("not a CIDR: write an address and a prefix length, like 192.168.1.0/28 or fd00::/120")]
    Cidr,
    /// Not two addresses with a hyphen between them.
    #[error("not a range: write its first and its last address, like 192.168.1.10-192.168.1.20")]
    Ends,
    /// It has a character that looks like one that belongs there.
    #[error("{0}")]
    LookAlike(LookAlike),
    /// One end is IPv4, the other IPv6.
    #[error("the range goes from one address family to the other: write both ends in IPv4 or both in IPv6")]
    Families,
    /// The first address is above the last.
    #[error("the range ends before it starts: write {last}-{first}")]
    Backwards {
        /// As written before the hyphen.
        first: IpAddr,
        /// As written after it.
        last: IpAddr,
    },
}

impl Range {
    /// The addresses from `first` to `last`.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, ParseRangeError> {
        if Family::of(first) != Family::of(last) {
            return Err(ParseRangeError::Families);
        }
        if first > last {
            return Err(ParseRangeError::Backwards { first, last });
        }
        Ok(Self { first, last })
    }

    /// The lowest address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// The family of all its addresses.
    pub fn family(self) -> Family {
        Family::of(self.first)
    }

    /// Whether `ip` is one of the addresses.
    pub fn contains(self, ip: IpAddr) -> bool {
        // IpAddr orders all of IPv4 before IPv6, so an address of the other family is never in between.
        self.first <= ip && ip <= self.last
    }

    /// Whether some address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The addresses that are in both.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let overlap = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        self.overlaps(other).then_some(overlap)
    }

    /// The length of the shortest prefix whose addresses all are in the range.
    pub fn shortest_prefix(self) -> u8 {
        let (width, whole) = match self.family() {
            Family::V4 => (32_u8, u128::from(u32::MAX)),
            Family::V6 => (128, u128::MAX),
        };
        let (first, last) = (bits(self.first), bits(self.last));
        let fits = |length: &u8| {
            // The addresses of a prefix of this length differ in these bits.
            let within = whole.checked_shr((*length).into()).unwrap_or(0);
            let begin = first.checked_add(within).map(|it| it & !within);
            begin.and_then(|begin| begin.checked_add(within)).is_some_and(|end| end <= last)
        };
        (0..width).find(fits).unwrap_or(width)
    }

    /// How many of its addresses are ones that [`is_buggy`] names.
    pub(crate) fn buggy(self) -> u128 {
        if self.family() == Family::V6 {
            return 0;
        }
        // Counted below a bound, so that a range is a difference: each full block of 256 has two of them.
        let below = |bound: u128| bound / 256 * 2 + u128::from(!bound.is_multiple_of(256));
        let first = bits(self.first);
        below(first + self.size()) - below(first)
    }

    /// How many addresses there are. The whole of IPv6 counts as one less than it has.
    pub fn size(self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }
}

/// Whether an address is one that smurf protection in old equipment drops: IPv4, ending in .0 or .255.
pub fn is_buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255))
}

/// An address as a number, for arithmetic within one family.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The next address, unless this is the last of its family.
pub fn successor(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|b| IpAddr::V4(b.into())),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|b| IpAddr::V6(b.into())),
    }
}

/// The address before, unless this is the first of its family.
pub fn predecessor(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(v4) => v4.to_bits().checked_sub(1).map(|b| IpAddr::V4(b.into())),
        IpAddr::V6(v6) => v6.to_bits().checked_sub(1).map(|b| IpAddr::V6(b.into())),
    }
}

/// A CIDR (host bits are ignored) or `first-last`. An IPv4-mapped IPv6 address means the IPv4 address.
impl FromStr for Range {
    type Err = ParseRangeError;

    fn from_str(text: &str) -> Result<Self, ParseRangeError> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Err(ParseRangeError::BareAddress(ip, if ip.is_ipv4() { 32 } else { 128 }));
        }
        let no = |why| look_alike(text).map_or(why, ParseRangeError::LookAlike);
        let Some((first, last)) = text.split_once('-') else { return parse_cidr(text).map_err(no) };
        let end = |end: &str| end.trim().parse::<IpAddr>().map_err(|_| no(ParseRangeError::Ends));
        Self::new(end(first)?.to_canonical(), end(last)?.to_canonical())
    }
}

fn parse_cidr(text: &str) -> Result<Range, ParseRangeError> {
    let net: IpNet = text.parse().map_err(|_| ParseRangeError::Cidr)?;
    match (net.network().to_canonical(), net.broadcast().to_canonical()) {
        (first @ IpAddr::V4(_), last @ IpAddr::V4(_)) => Range::new(first, last),
        // A short IPv6 prefix may end inside ::ffff:0:0/96 without meaning IPv4.
        _ => Range::new(net.network(), net.broadcast()),
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_prefix_within_a_range() {
        for (range, length) in [
            ("192.0.2.0/24", 24),
            ("192.0.2.1/32", 32),
            ("0.0.0.0/0", 0),
            ("::/0", 0),
            ("2001:db8::/64", 64),
            ("192.168.10.50-192.168.10.60", 30),
            ("192.168.10.48-192.168.10.60", 29),
            ("255.255.255.254-255.255.255.255", 31),
            ("192.0.2.1-192.0.2.2", 32),
            ("ffff::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 16),
        ] {
            assert_eq!(range.parse::<Range>().unwrap().shortest_prefix(), length, "{range}");
        }
    }

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn both_notations_are_read() {
        for (text, shown) in [
            ("192.168.1.0/30", "192.168.1.0-192.168.1.3"),
            ("192.168.1.77/24", "192.168.1.0-192.168.1.255"),
            ("10.0.0.1-10.0.0.1", "10.0.0.1"),
            ("10.0.0.1 - 10.0.0.9", "10.0.0.1-10.0.0.9"),
            ("10.0.0.1\u{a0}-\u{a0}10.0.0.9", "10.0.0.1-10.0.0.9"),
            ("fd00::/126", "fd00::-fd00::3"),
            ("::ffff:10.0.0.0/124", "10.0.0.0-10.0.0.15"),
            ("::ffff:10.0.0.1-10.0.0.4", "10.0.0.1-10.0.0.4"),
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
        ] {
            assert_eq!(range(text).to_string(), shown, "{text}");
        }
        assert_eq!(range("::/0").size(), u128::MAX);
        assert_eq!(range("10.0.0.0/8").size(), 1 << 24);
    }

    #[test]
    fn what_is_no_range_says_what_to_write() {
        for (text, message) in [
            ("10.0.0.1", "write 10.0.0.1/32"),
            ("fd00::1", "write fd00::1/128"),
            ("10.0.0.0/33", "not a CIDR"),
            ("lan", "not a CIDR"),
            ("", "not a CIDR"),
            ("10.0.0.1-", "not a range"),
            ("10.0.0.1-10.0.0.2-10.0.0.3", "not a range"),
            ("10.0.0.9-10.0.0.1", "write 10.0.0.1-10.0.0.9"),
            ("10.0.0.1-fd00::1", "both ends in IPv4"),
            ("10.0.0.1\u{2013}10.0.0.9", "which is not ASCII: type \"-\" instead"),
            ("10.0.0.1-10.0.0.\u{ff19}", "type \"9\" instead"),
            ("10.0.0.0/24\u{a0}", "U+00A0, which is not ASCII: remove it"),
        ] {
            let error = text.parse::<Range>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}

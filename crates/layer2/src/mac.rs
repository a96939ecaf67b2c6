//! Ethernet addresses.

use std::fmt;
use std::net::Ipv6Addr;

/// The address of an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All ones: every station of the LAN.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zeroes: not known.
    pub const ZERO: Self = Self([0; 6]);

    /// Where frames to an IPv6 multicast group go (RFC 2464 section 7).
    pub fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }

    /// Whether it can be the address of one station: neither zero nor a group (IEEE 802, first octet).
    pub fn is_station(self) -> bool {
        self != Self::ZERO && self.0[0] & 1 == 0
    }
}

impl From<pnet_base::MacAddr> for MacAddr {
    fn from(mac: pnet_base::MacAddr) -> Self {
        Self(mac.octets())
    }
}

impl From<MacAddr> for pnet_base::MacAddr {
    fn from(mac: MacAddr) -> Self {
        mac.0.into()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pnet_base::MacAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

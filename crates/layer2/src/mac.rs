//! Ethernet addresses.

use std::fmt;

/// The address of an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All ones: every station of the LAN.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zeroes: not known.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether it can be the address of one station: neither zero nor a group (IEEE 802, first octet).
    pub fn is_station(self) -> bool {
        self != Self::ZERO && self.0[0] & 1 == 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pnet_base::MacAddr::from(self.0).fmt(f)
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

//! The interfaces of this node, and which of them can be announced on.

use std::collections::BTreeMap;

use layer2::{Arp, MacAddr, Ndp};
use placement::InterfaceName;

/// An interface, and how it can be announced on by either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: InterfaceName,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// How IPv4 addresses can be announced on it.
    pub arp: Result<Arp, Unfit>,
    /// How IPv6 addresses can be announced on it.
    pub ndp: Result<Ndp, Unfit>,
}

/// All interfaces of a node by their number. One that is deleted and made anew has another number.
pub type Links = BTreeMap<u32, Link>;

/// Why an interface is not announced on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Its name matches one of the expressions to exclude.
    #[error("its name is excluded")]
    Excluded,
    /// It is switched off.
    #[error("it is down")]
    Down,
    /// Nothing answers at the other end of its cable.
    #[error("it has no carrier")]
    NoCarrier,
    /// A bridge or bond speaks for it.
    #[error("it is part of another interface")]
    Enslaved,
    /// It is set to do no address resolution.
    #[error("it does no ARP")]
    NoArp,
    /// It cannot reach all stations at once.
    #[error("it cannot broadcast")]
    NoBroadcast,
    /// It has no address of six bytes that could be one station's.
    #[error("it has no Ethernet address")]
    NoEthernet,
    /// It has no link-local IPv6 address, or one that is not settled yet.
    #[error("it has no link-local IPv6 address")]
    NoLinkLocal,
}

impl Link {
    /// The Ethernet address that others see addresses at which are announced here; `None` if none can be.
    pub fn announces_with(&self) -> Option<MacAddr> {
        self.mac.filter(|_| self.arp.is_ok() || self.ndp.is_ok())
    }

    /// Whether nothing can be sent through it.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.arp, Err(Unfit::Down | Unfit::NoCarrier))
    }
}

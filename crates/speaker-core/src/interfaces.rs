//! The interfaces of this node, and which of them can be announced on.

mod memory;
mod steadiness;

use std::collections::{BTreeMap, BTreeSet};

use layer2::{Arp, MacAddr, Ndp};
use placement::{Ability, InterfaceName, Prefix};

pub(crate) use self::memory::Memory;

/// An interface, and how it can be announced on by either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: InterfaceName,
    /// What it is for.
    pub purpose: Purpose,
    /// Its Ethernet address, if it has one.
    pub mac: Option<MacAddr>,
    /// How IPv4 addresses can be announced on it.
    pub arp: Result<Arp, Unfit>,
    /// How IPv6 addresses can be announced on it.
    pub ndp: Result<Ndp, Unfit>,
    /// What is known of the LAN that it leads to.
    pub lan: Lan,
}

/// What the kernel knows of the LAN of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lan {
    /// The prefixes of the addresses that the interface has.
    pub prefixes: BTreeSet<Prefix>,
    /// The number of the interface whose LAN this one shares, as a macvlan does that of its parent: the two do not hear each
    /// other.
    pub shared_with: Option<u32>,
}

/// What an interface is for, as far as its kind tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A LAN: a network card, or what stands for one, such as a VLAN, a bond, a macvlan or a veth.
    Lan,
    /// Most likely the node's own Pods: a bridge or a tunnel, which network plugins make and remove, and which has no
    /// carrier when the last Pod has gone. It may be announced on, but nothing moves to another node when it fails.
    Pods,
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
    /// No packet socket can be had on it.
    #[error("no packet socket can be had on it")]
    NoSocket,
}

impl Link {
    /// The Ethernet address that others see addresses at which are announced here; `None` if none can be.
    pub fn announces_with(&self) -> Option<MacAddr> {
        self.mac.filter(|_| self.arp.is_ok() || self.ndp.is_ok())
    }

    /// The Ethernet address that others know it by: one that has lost its carrier may have it again before they hear so.
    pub(crate) fn known_by(&self) -> Option<MacAddr> {
        let may_come_back =
            |unfit| matches!(unfit, Unfit::Down | Unfit::NoCarrier | Unfit::NoLinkLocal | Unfit::NoSocket);
        let known = self.arp.err().is_none_or(may_come_back) || self.ndp.err().is_none_or(may_come_back);
        self.mac.filter(|_| known)
    }

    /// Whether nothing can be sent through it.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.arp, Err(Unfit::Down | Unfit::NoCarrier))
    }
}

impl Unfit {
    /// What becomes of an interface that was announced on: it may fail, or be meant for something else now.
    fn befalls(self, before: Ability) -> Ability {
        match (self, before) {
            (
                Self::Down | Self::NoCarrier | Self::NoLinkLocal | Self::NoSocket,
                Ability::Able | Ability::Lost,
            ) => Ability::Lost,
            // What was seen is never unsteady: that is what follows from it.
            (
                Self::Down | Self::NoCarrier | Self::NoLinkLocal | Self::NoSocket,
                Ability::Unable | Ability::Unsteady,
            )
            | (Self::Excluded | Self::Enslaved | Self::NoArp | Self::NoBroadcast | Self::NoEthernet, _) => {
                Ability::Unable
            }
        }
    }
}

/// The interface whose LAN the one of this number shares, as a macvlan does that of its parent, and that shares nobody's.
pub(crate) fn root(links: &Links, index: u32) -> u32 {
    let shared_with = |index: &u32| links.get(index).and_then(|link| link.lan.shared_with);
    // Nobody stacks more than a few of them, and they never go round in circles.
    std::iter::successors(Some(index), shared_with).take(8).last().unwrap_or(index)
}

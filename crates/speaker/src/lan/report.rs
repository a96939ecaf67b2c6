//! What the LAN side is told, and what it tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use layer2::{Friends, MacAddr, Voice};
use placement::{Announcements, InterfaceName, Interfaces, Takeover};

use super::Unfit;

/// What the LAN side is to do, as a whole: whoever reads it late skips what has been overtaken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The addresses that this node announces. Before a new one is announced, the LAN is asked whether somebody
    /// else has it. That it is new counts at the moment when an interface takes it over.
    pub announcements: Arc<Announcements>,
    /// The other nodes that announce: no strangers, whatever they say.
    pub fellows: Friends,
    /// How much to say of them.
    pub voice: Voice,
    /// Where nothing is to be said at present, if anywhere.
    pub silent: Option<Interfaces>,
}

/// What the LAN side has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The interfaces of this node as they are now: the first report, and again when something changed.
    Interfaces(BTreeMap<InterfaceName, Interface>),
    /// A new address is used by a station that is no speaker. It is not announced on this interface;
    /// the LAN is asked again every 30 s, but told of here again only when somebody else answers.
    Taken(Conflict),
    /// The LAN was asked, and nobody has the address: it is announced now.
    Free {
        /// The address.
        vip: IpAddr,
        /// Where.
        interface: InterfaceName,
    },
    /// A station that is no speaker claims an address that is announced here. Told at most every 10 s for
    /// one address, each time with a defence.
    Claimed(Conflict),
    /// The first announcement of a takeover went out, or none is wanted: the LAN knows what it is to know.
    Spoken {
        /// The address.
        vip: IpAddr,
        /// Where.
        interface: InterfaceName,
        /// Which takeover.
        takeover: Takeover,
    },
}

/// Somebody else has an address of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The address.
    pub vip: IpAddr,
    /// Where that was heard.
    pub interface: InterfaceName,
    /// Who has it.
    pub by: MacAddr,
}

/// An interface of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Its Ethernet address, if it has one. Fellow nodes must know those of the interfaces that are fit.
    pub mac: Option<MacAddr>,
    /// Whether IPv4 addresses can be announced on it.
    pub arp: Result<(), Unfit>,
    /// Whether IPv6 addresses can be announced on it.
    pub ndp: Result<(), Unfit>,
}

impl Interface {
    /// The Ethernet address that others see addresses at which are announced here; `None` if none can be.
    pub fn announces_with(&self) -> Option<MacAddr> {
        self.mac.filter(|_| self.arp.is_ok() || self.ndp.is_ok())
    }
}

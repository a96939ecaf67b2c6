//! Where a node can announce: by which protocol on which interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{InterfaceName, Interfaces};

/// On which interfaces a node can announce, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Abilities {
    /// It has not said, or cannot say: it counts as able everywhere, as a speaker of an older version is.
    #[default]
    Unknown,
    /// On these, and on no others.
    Known(BTreeMap<InterfaceName, Ability>),
}

/// By which protocols addresses can be announced on an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ability {
    /// IPv4 addresses, by ARP.
    pub arp: bool,
    /// IPv6 addresses, by NDP.
    pub ndp: bool,
}

impl Ability {
    /// Whether `vip` can be announced there.
    pub fn includes(self, vip: IpAddr) -> bool {
        match vip {
            IpAddr::V4(_) => self.arp,
            IpAddr::V6(_) => self.ndp,
        }
    }
}

impl Abilities {
    /// Whether `vip` can be announced on at least one of `interfaces`.
    pub fn can_announce(&self, vip: IpAddr, interfaces: &Interfaces) -> bool {
        let Self::Known(by_name) = self else { return true };
        match interfaces {
            Interfaces::All => by_name.values().any(|ability| ability.includes(vip)),
            Interfaces::Only(names) => {
                names.iter().any(|name| by_name.get(name).is_some_and(|ability| ability.includes(vip)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    #[test]
    fn each_family_needs_its_protocol_on_an_allowed_interface() {
        let it = able(&[("eth0", true, false), ("eth1", false, true)]);
        let (v4, v6) = (ip("10.0.0.1"), ip("fd00::1"));
        assert!(it.can_announce(v4, &Interfaces::All) && it.can_announce(v6, &Interfaces::All));
        assert!(it.can_announce(v4, &only(&["eth0"])) && !it.can_announce(v6, &only(&["eth0"])));
        assert!(!it.can_announce(v4, &only(&["eth1"])) && it.can_announce(v6, &only(&["eth1", "eth7"])));
        assert!(!it.can_announce(v4, &only(&["eth7"])));
    }

    #[test]
    fn who_has_not_said_is_able_and_who_has_no_interface_is_not() {
        assert!(Abilities::Unknown.can_announce(ip("10.0.0.1"), &only(&["eth7"])));
        assert!(!able(&[]).can_announce(ip("10.0.0.1"), &Interfaces::All));
    }
}

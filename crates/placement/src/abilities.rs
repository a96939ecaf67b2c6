//! Where a node can announce: by which protocol on which interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::prefixes::is_on_lan_of;
use crate::{InterfaceName, Interfaces, NodeName, Prefixes};

/// On which interfaces a node can announce, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Abilities {
    /// It has not said, or cannot say: it counts as able everywhere, as a speaker of an older version is.
    #[default]
    Unknown,
    /// On these, and on no others.
    Known(BTreeMap<InterfaceName, ByProtocol>),
}

/// Whether addresses can be announced on an interface by a protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ability {
    /// They cannot, and are not meant to.
    #[default]
    Unable,
    /// They could until the interface lost its carrier or its address, was switched off, or vanished. Whoever is to
    /// reach them there needs another node.
    Lost,
    /// They can, but the interface failed several times lately, and may again: it is used where no other node has a better
    /// one.
    Unsteady,
    /// They can.
    Able,
}

/// The [`Ability`] of an interface by each protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByProtocol {
    /// IPv4 addresses, by ARP.
    pub arp: Ability,
    /// IPv6 addresses, by NDP.
    pub ndp: Ability,
}

impl Ability {
    /// Whether addresses can be announced at present.
    pub fn can_announce(self) -> bool {
        matches!(self, Self::Able | Self::Unsteady)
    }

    /// Whether another node is better, where there is one.
    fn is_lost(self) -> bool {
        matches!(self, Self::Lost | Self::Unsteady)
    }
}

impl ByProtocol {
    /// The one that `vip` is announced by.
    pub fn of(self, vip: IpAddr) -> Ability {
        match vip {
            IpAddr::V4(_) => self.arp,
            IpAddr::V6(_) => self.ndp,
        }
    }

    fn is_lost(self) -> bool {
        self.arp.is_lost() || self.ndp.is_lost()
    }
}

impl Abilities {
    /// Whether `vip` can be announced on at least one of `interfaces`.
    pub fn can_announce(&self, vip: IpAddr, interfaces: &Interfaces) -> bool {
        let Self::Known(by_name) = self else { return true };
        match interfaces {
            Interfaces::All => by_name.values().any(|it| it.of(vip).can_announce()),
            Interfaces::Only(names) => {
                names.iter().filter_map(|name| by_name.get(name)).any(|it| it.of(vip).can_announce())
            }
        }
    }

    /// Whether `vip` can be announced on the interface of this name, for certain and as far as is known for long.
    pub(crate) fn is_able(&self, vip: IpAddr, name: &InterfaceName) -> bool {
        let Self::Known(by_name) = self else { return false };
        by_name.get(name).is_some_and(|it| it.of(vip) == Ability::Able)
    }

    /// The interfaces on which `vip` could be announced, and cannot any more, or maybe not for long.
    fn lost(&self, vip: IpAddr) -> impl Iterator<Item = &InterfaceName> {
        let by_name = match self {
            Self::Unknown => None,
            Self::Known(by_name) => Some(by_name),
        };
        let lost = by_name.into_iter().flatten().filter(move |(_, it)| it.of(vip).is_lost());
        lost.map(|(name, _)| name)
    }

    /// The same, as if what is lost had never been there.
    #[must_use]
    pub fn without_lost(&self) -> Self {
        let Self::Known(by_name) = self else { return Self::Unknown };
        let forget = |ability| match ability {
            Ability::Lost | Ability::Unable => Ability::Unable,
            Ability::Unsteady | Ability::Able => Ability::Able,
        };
        let forget = |it: &ByProtocol| ByProtocol { arp: forget(it.arp), ndp: forget(it.ndp) };
        Self::Known(by_name.iter().map(|(name, it)| (name.clone(), forget(it))).collect())
    }

    /// Whether any interface is lost by any protocol.
    pub(crate) fn has_lost(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Known(by_name) => by_name.values().any(|it| it.is_lost()),
        }
    }
}

/// Where each node can announce, of those that have told.
#[derive(Debug, Default)]
pub(crate) struct AbilitiesOfNodes {
    by_node: BTreeMap<NodeName, Abilities>,
    /// The nodes that have lost an interface: mostly none.
    pub(crate) with_losses: BTreeSet<NodeName>,
    /// The prefixes of their interfaces, of those that have told.
    prefixes: BTreeMap<NodeName, Prefixes>,
}

impl AbilitiesOfNodes {
    /// Whether that makes a difference.
    pub(crate) fn set(&mut self, node: &NodeName, abilities: Abilities) -> bool {
        if *self.by_node.get(node).unwrap_or(&Abilities::Unknown) == abilities {
            return false;
        }
        if abilities.has_lost() {
            self.with_losses.insert(node.clone());
        } else {
            self.with_losses.remove(node);
        }
        match abilities {
            Abilities::Unknown => _ = self.by_node.remove(node),
            Abilities::Known(_) => _ = self.by_node.insert(node.clone(), abilities),
        }
        true
    }

    /// Whether that makes a difference.
    pub(crate) fn set_prefixes(&mut self, node: &NodeName, prefixes: Prefixes) -> bool {
        if prefixes.is_empty() {
            self.prefixes.remove(node).is_some()
        } else {
            self.prefixes.insert(node.clone(), prefixes.clone()) != Some(prefixes)
        }
    }

    /// The interfaces on which `node` could announce `vip`, and cannot any more, or maybe not for long. Those whose LAN has
    /// no such address do not count.
    pub(crate) fn lost(&self, node: &NodeName, vip: IpAddr) -> impl Iterator<Item = &InterfaceName> {
        let prefixes = self.prefixes.get(node);
        let counts =
            move |name: &&InterfaceName| prefixes.is_none_or(|prefixes| is_on_lan_of(prefixes, name, vip));
        self.get(node).into_iter().flat_map(move |it| it.lost(vip)).filter(counts)
    }

    pub(crate) fn get(&self, node: &NodeName) -> Option<&Abilities> {
        self.by_node.get(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Prefix;
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
    fn an_interface_counts_as_lost_for_the_addresses_of_its_lan_and_for_those_of_no_lan() {
        let mut it = AbilitiesOfNodes::default();
        let node = NodeName::from("n1");
        let lost = |it: &AbilitiesOfNodes, vip| it.lost(&node, ip(vip)).count();
        it.set(&node, one_lost("eth0", "eth1"));
        assert_eq!(["192.0.2.1", "198.51.100.1"].map(|vip| lost(&it, vip)), [1, 1], "nothing was told");
        let prefix = |text| Prefix::of(ip(text), 24).into_iter().collect();
        let prefixes = [("eth0", prefix("192.0.2.77")), ("eth1", prefix("198.51.100.77"))];
        let prefixes: Prefixes = prefixes.map(|(name, prefixes)| (name.into(), prefixes)).into();
        assert!(it.set_prefixes(&node, prefixes.clone()) && !it.set_prefixes(&node, prefixes));
        assert_eq!(["192.0.2.1", "198.51.100.1", "203.0.113.1"].map(|vip| lost(&it, vip)), [0, 1, 1]);
    }

    #[test]
    fn who_has_not_said_is_able_and_who_has_no_interface_is_not() {
        assert!(Abilities::Unknown.can_announce(ip("10.0.0.1"), &only(&["eth7"])));
        assert!(!able(&[]).can_announce(ip("10.0.0.1"), &Interfaces::All));
    }
}

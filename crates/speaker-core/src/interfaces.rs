//! The interfaces of this node, and which of them can be announced on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use layer2::{Arp, MacAddr, Ndp};
use placement::{Abilities, Ability, ByProtocol, InterfaceName};

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
            (Self::Down | Self::NoCarrier | Self::NoLinkLocal | Self::NoSocket, Ability::Unable)
            | (Self::Excluded | Self::Enslaved | Self::NoArp | Self::NoBroadcast | Self::NoEthernet, _) => {
                Ability::Unable
            }
        }
    }
}

/// So many interfaces that have vanished are remembered: those of Pods come and go under other names each time.
const VANISHED: usize = 32;

/// On which interfaces this node can announce, and on which it could until they were lost.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    by_name: BTreeMap<InterfaceName, ByProtocol>,
    /// Those of them that are for a LAN.
    lans: BTreeSet<InterfaceName>,
    /// The interfaces that do not exist any more, the latest last.
    vanished: VecDeque<InterfaceName>,
}

impl Memory {
    /// The interfaces are these now.
    pub(crate) fn update(&mut self, links: &Links) {
        let mut before = std::mem::take(&mut self.by_name);
        for link in links.values() {
            let before = before.remove(&link.name);
            let ByProtocol { arp, ndp } = match link.purpose {
                Purpose::Lan => before.unwrap_or_default(),
                Purpose::Pods => ByProtocol::default(),
            };
            let arp = link.arp.map_or_else(|unfit| unfit.befalls(arp), |_| Ability::Able);
            let ndp = link.ndp.map_or_else(|unfit| unfit.befalls(ndp), |_| Ability::Able);
            self.by_name.insert(link.name.clone(), ByProtocol { arp, ndp });
        }
        self.vanished.retain(|name| before.contains_key(name));
        for (name, it) in before {
            let lost = |ability| if ability == Ability::Unable { ability } else { Ability::Lost };
            let lost = ByProtocol { arp: lost(it.arp), ndp: lost(it.ndp) };
            if lost == ByProtocol::default() || !self.lans.contains(&name) {
                continue;
            }
            if !self.vanished.contains(&name) {
                self.vanished.push_back(name.clone());
            }
            self.by_name.insert(name, lost);
        }
        let lans = links.values().filter(|link| link.purpose == Purpose::Lan);
        self.lans = lans.map(|link| link.name.clone()).chain(self.vanished.iter().cloned()).collect();
        while self.vanished.len() > VANISHED
            && let Some(oldest) = self.vanished.pop_front()
        {
            self.by_name.remove(&oldest);
        }
    }

    /// What there is to tell the others.
    pub(crate) fn abilities(&self) -> Abilities {
        let relevant = self.by_name.iter().filter(|(_, it)| **it != ByProtocol::default());
        Abilities::Known(relevant.map(|(name, it)| (name.clone(), *it)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, arp: Result<(), Unfit>) -> Link {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let ndp = Err(arp.err().unwrap_or(Unfit::NoLinkLocal));
        let purpose = if name.starts_with("br") { Purpose::Pods } else { Purpose::Lan };
        Link { name: name.into(), purpose, mac: Some(mac), arp: arp.map(|()| Arp { mac }), ndp }
    }

    /// What is known of eth1 after it was seen like this, `None` where it did not exist.
    fn eth1(seen: &[Option<Result<(), Unfit>>]) -> Ability {
        let mut memory = Memory::default();
        for arp in seen {
            let links = [("eth0", Some(Ok(()))), ("eth1", *arp)];
            let links = links.iter().filter_map(|(name, arp)| Some(link(name, (*arp)?)));
            memory.update(&(1..).zip(links).collect());
        }
        let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
        assert_eq!(by_name[&"eth0".into()].arp, Ability::Able);
        by_name.get(&"eth1".into()).copied().unwrap_or_default().arp
    }

    #[test]
    fn an_interface_is_lost_that_was_announced_on_and_fails() {
        for failed in [Some(Err(Unfit::NoCarrier)), Some(Err(Unfit::Down)), None] {
            assert_eq!(eth1(&[failed]), Ability::Unable, "{failed:?}: it never was able");
            assert_eq!(eth1(&[Some(Ok(())), failed]), Ability::Lost, "{failed:?}");
            assert_eq!(eth1(&[Some(Ok(())), failed, failed, None]), Ability::Lost, "{failed:?}");
            assert_eq!(eth1(&[Some(Ok(())), failed, Some(Ok(()))]), Ability::Able, "{failed:?}");
            let enslaved = Some(Err(Unfit::Enslaved));
            assert_eq!(eth1(&[Some(Ok(())), failed, enslaved]), Ability::Unable, "it has another use now");
        }
    }

    #[test]
    fn an_interface_for_pods_is_never_lost() {
        let mut memory = Memory::default();
        for bridge in [Some(Ok(())), Some(Err(Unfit::NoCarrier)), Some(Ok(())), None] {
            let links = [("eth0", Some(Ok(()))), ("br0", bridge)];
            let links = links.iter().filter_map(|(name, arp)| Some(link(name, (*arp)?)));
            memory.update(&(1..).zip(links).collect());
            let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
            assert_eq!(by_name.contains_key(&"br0".into()), bridge == Some(Ok(())));
        }
    }

    #[test]
    fn few_interfaces_are_remembered_that_have_vanished() {
        let mut memory = Memory::default();
        for number in 0..100 {
            memory.update(
                &[(1, link("eth0", Ok(()))), (number + 2, link(&format!("pod{number}"), Ok(())))].into(),
            );
        }
        memory.update(&[(1, link("eth0", Ok(())))].into());
        let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
        assert_eq!(by_name.len(), 1 + VANISHED);
        assert!(by_name.contains_key(&"pod99".into()) && by_name.contains_key(&"eth0".into()));
    }
}

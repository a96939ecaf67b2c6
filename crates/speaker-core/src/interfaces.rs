//! The interfaces of this node, and which of them can be announced on.

mod steadiness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use layer2::{Arp, MacAddr, Ndp};
use placement::{Abilities, Ability, ByProtocol, InterfaceName, Prefix, Prefixes};

use self::steadiness::Steadiness;

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

/// So many interfaces that have vanished are remembered: those of Pods come and go under other names each time.
const VANISHED: usize = 32;

/// On which interfaces this node can announce, and on which it could until they were lost.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    by_name: BTreeMap<InterfaceName, ByProtocol>,
    /// The prefixes that each had when it could last be announced on.
    prefixes: Prefixes,
    steadiness: Steadiness,
    /// Those of them that are for a LAN.
    lans: BTreeSet<InterfaceName>,
    /// The interfaces that do not exist any more, the latest last.
    vanished: VecDeque<InterfaceName>,
}

impl Memory {
    /// The interfaces are these now.
    pub(crate) fn update(&mut self, links: &Links, now: Instant) {
        let former = self.by_name.clone();
        self.see(links);
        for (name, is) in &self.by_name {
            let was = former.get(name).copied().unwrap_or_default();
            self.steadiness.changed(name, [was.arp, was.ndp].into_iter().zip([is.arp, is.ndp]), now);
        }
        self.steadiness.retain(|name| self.by_name.contains_key(name));
        for link in links.values() {
            let able = self.by_name.get(&link.name).is_some_and(|it| it.arp.max(it.ndp) == Ability::Able);
            if able {
                self.prefixes.insert(link.name.clone(), link.lan.prefixes.clone());
            }
        }
        self.prefixes.retain(|name, prefixes| !prefixes.is_empty() && self.by_name.contains_key(name));
    }

    /// Whether an interface failed so often lately that another node is preferred to it.
    pub(crate) fn is_unsteady(&self, name: &InterfaceName) -> bool {
        self.steadiness.is_held(name)
    }

    /// Time has passed. Whether that makes a difference.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        self.steadiness.poll(now)
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.steadiness.deadline()
    }

    fn see(&mut self, links: &Links) {
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
        let told = relevant.map(|(name, it)| {
            let unsteady = |ability| match ability {
                Ability::Able if self.steadiness.is_held(name) => Ability::Unsteady,
                ability => ability,
            };
            (name.clone(), ByProtocol { arp: unsteady(it.arp), ndp: unsteady(it.ndp) })
        });
        Abilities::Known(told.collect())
    }

    /// The prefixes of the interfaces, where they tell what was lost with one: that is mostly nothing.
    pub(crate) fn prefixes(&self) -> Prefixes {
        let is_lost = |(name, it): (&InterfaceName, &ByProtocol)| {
            it.arp == Ability::Lost || it.ndp == Ability::Lost || self.steadiness.is_held(name)
        };
        if self.by_name.iter().any(is_lost) { self.prefixes.clone() } else { Prefixes::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn link(name: &str, arp: Result<(), Unfit>) -> Link {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let ndp = Err(arp.err().unwrap_or(Unfit::NoLinkLocal));
        let purpose = if name.starts_with("br") { Purpose::Pods } else { Purpose::Lan };
        Link {
            name: name.into(),
            purpose,
            mac: Some(mac),
            arp: arp.map(|()| Arp { mac }),
            ndp,
            lan: Lan::default(),
        }
    }

    /// What is known of eth1 after it was seen like this, `None` where it did not exist.
    fn eth1(seen: &[Option<Result<(), Unfit>>]) -> Ability {
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        for arp in seen {
            let links = [("eth0", Some(Ok(()))), ("eth1", *arp)];
            let links = links.iter().filter_map(|(name, arp)| Some(link(name, (*arp)?)));
            // Far apart, so that it counts as steady.
            now += Duration::from_mins(10);
            memory.update(&(1..).zip(links).collect(), now);
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
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        for bridge in [Some(Ok(())), Some(Err(Unfit::NoCarrier)), Some(Ok(())), None] {
            let links = [("eth0", Some(Ok(()))), ("br0", bridge)];
            let links = links.iter().filter_map(|(name, arp)| Some(link(name, (*arp)?)));
            // Far apart, so that it counts as steady.
            now += Duration::from_mins(10);
            memory.update(&(1..).zip(links).collect(), now);
            let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
            assert_eq!(by_name.contains_key(&"br0".into()), bridge == Some(Ok(())));
        }
    }

    #[test]
    fn few_interfaces_are_remembered_that_have_vanished() {
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        for number in 0..100 {
            now += Duration::from_mins(10);
            memory.update(
                &[(1, link("eth0", Ok(()))), (number + 2, link(&format!("pod{number}"), Ok(())))].into(),
                now,
            );
        }
        memory.update(&[(1, link("eth0", Ok(())))].into(), now);
        let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
        assert_eq!(by_name.len(), 1 + VANISHED);
        assert!(by_name.contains_key(&"pod99".into()) && by_name.contains_key(&"eth0".into()));
    }

    #[test]
    fn an_interface_that_fails_again_and_again_is_unsteady_for_a_while_each_time_it_is_back() {
        let (mut memory, mut now) = (Memory::default(), Instant::now());
        let see = |memory: &mut Memory, arp, now| {
            memory.update(&[(1, link("eth0", arp))].into(), now);
            let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
            by_name[&"eth0".into()].arp
        };
        let mut flap = |memory: &mut Memory| {
            now += Duration::from_millis(250);
            let lost = see(memory, Err(Unfit::NoCarrier), now);
            now += Duration::from_millis(150);
            (lost, see(memory, Ok(()), now), memory.deadline().map(|until| until - now))
        };
        assert_eq!(see(&mut memory, Ok(()), Instant::now()), Ability::Able);
        assert_eq!(flap(&mut memory), (Ability::Lost, Ability::Able, None), "the first is followed at once");
        let mut longest = Duration::ZERO;
        for _ in 0..12 {
            let (lost, back, held) = flap(&mut memory);
            assert_eq!((lost, back), (Ability::Lost, Ability::Unsteady));
            assert!(held >= Some(longest), "{held:?}");
            longest = held.expect("it is steady again some time");
        }
        let until = memory.deadline().expect("it is steady then");
        let before = until.checked_sub(Duration::from_millis(1)).expect("it is later than now");
        assert!(longest <= Duration::from_mins(1) && !memory.poll(before));
        assert!(memory.poll(until) && memory.deadline().is_none());
        assert_eq!(see(&mut memory, Ok(()), until), Ability::Able);
    }

    #[test]
    fn prefixes_are_told_while_an_interface_is_lost_also_of_one_that_has_vanished() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let of = |name: &str, address: [u8; 4]| {
            let prefixes = Prefix::of(address.into(), 24).into_iter().collect();
            Link { lan: Lan { prefixes, ..Lan::default() }, ..link(name, Ok(())) }
        };
        let both = Links::from([(1, of("eth0", [192, 0, 2, 1])), (2, of("eth1", [198, 51, 100, 1]))]);
        memory.update(&both, now);
        assert_eq!(memory.prefixes(), Prefixes::new());
        memory.update(&[(1, of("eth0", [192, 0, 2, 1]))].into(), now);
        let told: Vec<String> = memory.prefixes().keys().map(ToString::to_string).collect();
        assert_eq!(told, ["eth0", "eth1"]);
    }
}

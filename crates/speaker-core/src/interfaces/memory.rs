//! What is remembered of the interfaces: where this node can announce, and where it could until that was lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use placement::{Abilities, Ability, ByProtocol, InterfaceName, Prefix, Prefixes};

use super::steadiness::Steadiness;
use super::{Links, Purpose, root};

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
    /// The interface, by its number, that each shares the LAN of: its own where it shares nobody's.
    roots: BTreeMap<InterfaceName, u32>,
    /// Those that hear each other, until one of them fails and comes back: it may be plugged in elsewhere then.
    neighbours: BTreeSet<(InterfaceName, InterfaceName)>,
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
        self.roots.extend(links.iter().map(|(index, link)| (link.name.clone(), root(links, *index))));
        self.roots.retain(|name, _| self.by_name.contains_key(name));
        let able = |it: Option<&ByProtocol>| it.is_some_and(|it| it.arp.max(it.ndp) == Ability::Able);
        let stays = |name: &InterfaceName| {
            let now = self.by_name.get(name);
            now.is_some() && (able(former.get(name)) || !able(now))
        };
        self.neighbours.retain(|(one, other)| stays(one) && stays(other));
        for link in links.values() {
            let able = self.by_name.get(&link.name).is_some_and(|it| it.arp.max(it.ndp) == Ability::Able);
            if able {
                self.prefixes.insert(link.name.clone(), link.lan.prefixes.clone());
            }
        }
        self.prefixes.retain(|name, prefixes| !prefixes.is_empty() && self.by_name.contains_key(name));
    }

    /// Two interfaces of this node hear each other: they are on one LAN.
    pub(crate) fn found_on_one_lan(&mut self, one: InterfaceName, other: InterfaceName) {
        self.neighbours.insert(if one < other { (one, other) } else { (other, one) });
    }

    /// Until when another node is preferred to an interface that failed often lately, unless it fails again.
    pub(crate) fn unsteady_until(&self, name: &InterfaceName) -> Option<Instant> {
        let ByProtocol { arp, ndp } = self.told(name);
        self.steadiness.held_until(name).filter(|_| [arp, ndp].contains(&Ability::Unsteady))
    }

    /// The prefixes that an interface has, or had when it could last be announced on.
    pub(crate) fn prefixes_of(&self, name: &InterfaceName) -> impl Iterator<Item = &Prefix> {
        self.prefixes.get(name).into_iter().flatten()
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
        let told = self.by_name.keys().map(|name| (name.clone(), self.told(name)));
        Abilities::Known(told.filter(|(_, told)| *told != ByProtocol::default()).collect())
    }

    /// The prefixes of the interfaces, where they tell what was lost with one: that is mostly nothing.
    pub(crate) fn prefixes(&self) -> Prefixes {
        let is_lost = |ability| matches!(ability, Ability::Lost | Ability::Unsteady);
        let any =
            self.by_name.keys().map(|name| self.told(name)).any(|it| is_lost(it.arp) || is_lost(it.ndp));
        if any { self.prefixes.clone() } else { Prefixes::new() }
    }

    /// What is told of an interface. While another one of this node does as well on the same LAN, nothing is lost with it, and
    /// it does not matter that it failed often.
    pub(crate) fn told(&self, name: &InterfaceName) -> ByProtocol {
        let tell = |of: fn(&ByProtocol) -> Ability| {
            let known = self.by_name.get(name).map(of).unwrap_or_default();
            let is_held = known == Ability::Able && self.steadiness.is_held(name);
            if known != Ability::Lost && !is_held {
                return known;
            }
            let does = |other: &InterfaceName| {
                self.by_name.get(other).map(of) == Some(Ability::Able) && !self.steadiness.is_held(other)
            };
            let is_replaced = self.on_the_same_lan(name).any(does);
            match (known, is_replaced) {
                (Ability::Lost, true) => Ability::Unable,
                (Ability::Able, false) => Ability::Unsteady,
                (known, _) => known,
            }
        };
        ByProtocol { arp: tell(|it| it.arp), ndp: tell(|it| it.ndp) }
    }

    fn on_the_same_lan<'a>(&'a self, name: &'a InterfaceName) -> impl Iterator<Item = &'a InterfaceName> {
        let root = self.roots.get(name);
        let shared = self.roots.iter().filter(move |(other, of)| Some(*of) == root && *other != name);
        let heard =
            self.neighbours.iter().filter_map(move |(one, other)| match (one == name, other == name) {
                (true, _) => Some(other),
                (_, true) => Some(one),
                (false, false) => None,
            });
        shared.map(|(other, _)| other).chain(heard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use layer2::{Arp, MacAddr};

    use super::super::{Lan, Link, Unfit};
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
    fn nothing_is_lost_while_another_interface_is_on_the_same_lan() {
        let steady = Duration::from_mins(10);
        let lan = |name: &str, arp, shared_with| Link {
            lan: Lan { shared_with, ..Lan::default() },
            ..link(name, arp)
        };
        let told = |memory: &Memory, name: &str| {
            let Abilities::Known(by_name) = memory.abilities() else { panic!("the interfaces are known") };
            by_name.get(&name.into()).copied().unwrap_or_default().arp
        };
        for (parent, hear_each_other) in [(Some(1), false), (None, true), (None, false)] {
            let (mut memory, mut now) = (Memory::default(), Instant::now());
            let mut see = |memory: &mut Memory, eth0, mv0: Option<Result<(), Unfit>>| {
                now += steady;
                let mv0 = mv0.map(|arp| (2, lan("mv0", arp, parent)));
                memory.update(&[(1, lan("eth0", eth0, None))].into_iter().chain(mv0).collect(), now);
            };
            let expected = if parent.is_some() || hear_each_other { Ability::Unable } else { Ability::Lost };
            for failed in [Some(Err(Unfit::Down)), None] {
                see(&mut memory, Ok(()), Some(Ok(())));
                if hear_each_other {
                    memory.found_on_one_lan("mv0".into(), "eth0".into());
                }
                see(&mut memory, Ok(()), failed);
                assert_eq!(told(&memory, "mv0"), expected, "{parent:?} {hear_each_other} {failed:?}");
                see(&mut memory, Err(Unfit::NoCarrier), failed);
                assert_eq!(
                    [told(&memory, "eth0"), told(&memory, "mv0")],
                    [Ability::Lost; 2],
                    "the LAN is lost"
                );
                see(&mut memory, Ok(()), failed);
            }
            see(&mut memory, Ok(()), Some(Ok(())));
            see(&mut memory, Ok(()), Some(Err(Unfit::Down)));
            let expected = if parent.is_some() { Ability::Unable } else { Ability::Lost };
            assert_eq!(told(&memory, "mv0"), expected, "it may be plugged in elsewhere since it is back");
        }
    }

    #[test]
    fn an_interface_that_fails_again_and_again_is_not_waited_for_while_another_is_on_its_lan() {
        for (parent, waits) in [(Some(1), false), (None, true)] {
            let (mut memory, mut now) = (Memory::default(), Instant::now());
            for failed in [false, true, false, true, false] {
                let arp = if failed { Err(Unfit::Down) } else { Ok(()) };
                let mv0 = Link { lan: Lan { shared_with: parent, ..Lan::default() }, ..link("mv0", arp) };
                memory.update(&[(1, link("eth0", Ok(()))), (2, mv0)].into(), now);
                now += Duration::from_secs(1);
            }
            assert_eq!(memory.unsteady_until(&"mv0".into()).is_some(), waits);
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

//! What is to be done where: which address on which interface, by ARP or NDP, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use layer2::{Arp, Begin, Contact, KnownMacs, MacAddr, Ndp, Order, Port, Protocol, Stance, TransmitPolicy};
use placement::{Announcement, Announcements, History, InterfaceName, Interfaces, Takeover};

use crate::interfaces::{Links, root};

/// What each port is to do. One that is not named any more ends.
pub type Ports = BTreeMap<PortId, Arc<Orders>>;

/// A port: where addresses can be announced, and by which protocol. When any of that changes, it is another port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId {
    /// The number of the interface.
    pub index: u32,
    /// Its name.
    pub name: InterfaceName,
    /// Who speaks there.
    pub responder: Responder,
    /// How many ports came before: one that goes and comes back begins anew, for the LAN may have learned other things
    /// meanwhile.
    pub opened: u64,
}

/// Who answers on an interface: by which protocol, and with which Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Responder {
    /// For IPv4 addresses.
    Arp(Arp),
    /// For IPv6 addresses.
    Ndp(Ndp),
}

/// What a port is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// The addresses that it announces.
    pub vips: BTreeMap<IpAddr, Order>,
    /// The addresses of which is to be known whether somebody answers, and when to ask.
    pub watched: BTreeMap<IpAddr, Instant>,
    /// The Ethernet addresses that are no foreign hosts'.
    pub known_macs: Arc<KnownMacs>,
    /// The Ethernet addresses of this node that are known to be on the same LAN.
    pub same_lan: BTreeSet<MacAddr>,
    /// The least time between two refreshes.
    pub refresh_gap: Duration,
    /// The least time between two frames that nobody asked for.
    pub frame_gap: Duration,
    /// Whether foreign hosts that answer count for nothing.
    pub overrules: bool,
    /// How much to say.
    pub transmit_policy: TransmitPolicy,
}

impl Orders {
    /// Tells the port whose orders these are.
    pub fn give<P: Protocol>(&self, port: &mut Port<P>, now: Instant) {
        port.set_known_macs(KnownMacs::clone(&self.known_macs), now);
        port.set_same_lan(self.same_lan.clone());
        port.set_frame_gap(self.frame_gap);
        port.set_overrules(self.overrules);
        port.set_refresh_gap(self.refresh_gap);
        port.set_transmit_policy(self.transmit_policy);
        port.set_watched(self.watched.iter().filter_map(|(vip, ask)| Some((P::own(*vip)?, *ask))).collect());
        port.set_orders(self.vips.iter().filter_map(|(vip, it)| Some((P::own(*vip)?, *it))).collect(), now);
    }
}

/// What is to be announced from this node, wherever its interfaces allow it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The addresses that this node announces.
    pub announcements: Announcements,
    /// Takeovers of what a peer hands over that lives: the LAN is not asked, at the ports that were open by then.
    pub handed_over: BTreeMap<Takeover, u64>,
    /// Takeovers of what the peer that is away did not answer for, because some other host does.
    pub contested: BTreeSet<Takeover>,
    /// The peers that answer for the same address, each where it was heard: another interface may be on another LAN.
    pub rivals: BTreeMap<IpAddr, BTreeMap<(InterfaceName, MacAddr), Rival>>,
    /// The addresses of which is to be known whether somebody answers, on which interfaces, and when to ask.
    pub watched: BTreeMap<IpAddr, (Interfaces, Instant)>,
    /// Whether foreign hosts that answer count for nothing.
    pub overrules: bool,
    /// The other nodes that announce: no foreign hosts, whatever they say.
    pub known_macs: KnownMacs,
    /// How much to say.
    pub transmit_policy: TransmitPolicy,
    /// The interfaces that are muted at present, if any are.
    pub muted: Option<Interfaces>,
}

/// A peer that is not heard, and answers for an address of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    /// Whether it is overruled.
    pub stance: Stance,
    /// How often it was found.
    pub rounds: u32,
    /// When it was found last.
    pub found: Instant,
}

/// The ports, and what is to be done at each.
#[derive(Debug, Default)]
pub struct Plan {
    links: Links,
    ports: Ports,
    opened: u64,
    /// Pairs of Ethernet addresses of this node that are on one LAN, the lesser first.
    same_lan: BTreeSet<(MacAddr, MacAddr)>,
}

impl Plan {
    /// The interfaces of this node.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// How many ports were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// The Ethernet address that is announced with on the interface `name`.
    pub fn mac(&self, name: &InterfaceName) -> Option<MacAddr> {
        self.ports.keys().find(|port| port.name == *name).map(|port| port.responder.mac())
    }

    /// The name of the interface that is announced on with this Ethernet address.
    pub fn name(&self, mac: MacAddr) -> Option<&InterfaceName> {
        self.ports.keys().find(|port| port.responder.mac() == mac).map(|port| &port.name)
    }

    /// The interface `name` hears another one of this node. Whether that is news.
    pub fn heard_own(&mut self, name: &InterfaceName, by: MacAddr) -> bool {
        self.mac(name).is_some_and(|mac| self.same_lan.insert(pair(mac, by)))
    }

    /// The interfaces are these now. Those are named on which there is a new port.
    pub fn set_links(&mut self, links: Links) -> BTreeSet<InterfaceName> {
        let opened = self.opened;
        let mut before = std::mem::take(&mut self.ports);
        for (index, link) in &links {
            let responders = [link.arp.ok().map(Responder::Arp), link.ndp.ok().map(Responder::Ndp)];
            for responder in responders.into_iter().flatten() {
                let same = |port: &&PortId| {
                    (port.index, &port.name, port.responder) == (*index, &link.name, responder)
                };
                let (port, orders) = match before.keys().find(same).cloned() {
                    Some(port) => before.remove_entry(&port).expect("it was found there"),
                    None => {
                        self.opened += 1;
                        let name = link.name.clone();
                        (PortId { index: *index, name, responder, opened: self.opened }, Arc::default())
                    }
                };
                self.ports.insert(port, orders);
            }
        }
        // What comes back may be plugged in elsewhere.
        let stay = |port: &PortId| before.keys().all(|gone| gone.responder.mac() != port.responder.mac());
        let stay: BTreeSet<_> =
            self.ports.keys().filter(|it| stay(it)).map(|it| it.responder.mac()).collect();
        self.same_lan.retain(|(one, other)| stay.contains(one) && stay.contains(other));
        self.links = links;
        self.ports.keys().filter(|port| port.opened > opened).map(|port| port.name.clone()).collect()
    }

    /// Brings what each port is to do in line with what is wanted.
    pub fn follow(&mut self, wanted: &Wanted) {
        let mut known_macs = wanted.known_macs.clone();
        known_macs.contacts.extend(self.links.values().filter_map(|link| Some((link.mac?, Contact::Own))));
        let known_macs = Arc::new(known_macs);
        let vips: Vec<_> = self.ports.keys().map(|port| self.vips(port, wanted)).collect();
        let in_all = vips.iter().map(BTreeMap::len).sum();
        let busy = vips.iter().filter(|vips| !vips.is_empty()).count();
        let mut neighbours: BTreeMap<MacAddr, BTreeSet<MacAddr>> = BTreeMap::new();
        for (one, other) in &self.same_lan {
            neighbours.entry(*one).or_default().insert(*other);
            neighbours.entry(*other).or_default().insert(*one);
        }
        for ((port, current), vips) in self.ports.iter_mut().zip(vips) {
            let same_lan = neighbours.get(&port.responder.mac()).cloned().unwrap_or_default();
            let refresh_gap = layer2::refresh_gap(vips.len(), in_all);
            let frame_gap = layer2::frame_gap(vips.len(), in_all, busy);
            let muted = wanted.muted.as_ref().is_some_and(|muted| muted.contains(&port.name));
            let transmit_policy = if muted { TransmitPolicy::Muted } else { wanted.transmit_policy };
            let known_macs = Arc::clone(&known_macs);
            let watched = wanted.watched.iter().filter(|(vip, (interfaces, _))| {
                port.responder.speaks_for(**vip)
                    && interfaces.contains(&port.name)
                    && !wanted.announcements.contains_key(*vip)
            });
            let watched = watched.map(|(vip, (_, ask))| (*vip, *ask)).collect();
            let orders = Orders {
                vips,
                watched,
                known_macs,
                same_lan,
                refresh_gap,
                frame_gap,
                overrules: wanted.overrules,
                transmit_policy,
            };
            if **current != orders {
                *current = Arc::new(orders);
            }
        }
    }

    /// What each port is to do.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// What is announced at a port. Where several interfaces of this node are on one LAN, the first of them answers, so that
    /// an address is at one Ethernet address.
    fn vips(&self, port: &PortId, wanted: &Wanted) -> BTreeMap<IpAddr, Order> {
        let rivals: Vec<_> = self.ports.keys().filter(|other| self.goes_before(other, port)).collect();
        let here = wanted.announcements.iter().filter(|(vip, announcement)| {
            let allowed = |port: &PortId| announcement.interfaces.contains(&port.name);
            port.responder.speaks_for(**vip) && allowed(port) && !rivals.iter().any(|other| allowed(other))
        });
        here.map(|(vip, announcement)| (*vip, order(*vip, announcement, port, wanted))).collect()
    }

    fn goes_before(&self, other: &PortId, port: &PortId) -> bool {
        let same_lan = || {
            root(&self.links, other.index) == root(&self.links, port.index)
                || self.same_lan.contains(&pair(other.responder.mac(), port.responder.mac()))
        };
        other.index < port.index && other.responder.name() == port.responder.name() && same_lan()
    }
}

/// The lesser comes first, whichever is given first.
fn pair(one: MacAddr, other: MacAddr) -> (MacAddr, MacAddr) {
    (one.min(other), one.max(other))
}

fn order(vip: IpAddr, announcement: &Announcement, port: &PortId, wanted: &Wanted) -> Order {
    let handed_over = wanted.handed_over.get(&announcement.takeover);
    let begin = match announcement.history {
        History::New => Begin::Probe,
        History::Standby if !wanted.contested.contains(&announcement.takeover) => Begin::Answer,
        History::Announced if handed_over.is_some_and(|opened| port.opened <= *opened) => Begin::Announce,
        History::Announced | History::Standby => Begin::Ask,
    };
    let stance = wanted.rivals.get(&vip).map_or(Stance::Alone, |rivals| stance(rivals, &port.name));
    Order { takeover: announcement.takeover.0, begin, stance }
}

/// An address is left to any rival that goes on; and all others are overruled, the latest too.
fn stance(rivals: &BTreeMap<(InterfaceName, MacAddr), Rival>, interface: &InterfaceName) -> Stance {
    let here = rivals.iter().filter(|((on, _), _)| on == interface).map(|(_, rival)| rival.stance);
    here.fold(Stance::Alone, |before, stance| match (before, stance) {
        (Stance::Yields, _) | (_, Stance::Yields) => Stance::Yields,
        (Stance::Insists(one), Stance::Insists(other)) => Stance::Insists(one.max(other)),
        (Stance::Alone, stance) | (stance, Stance::Alone) => stance,
    })
}

impl Responder {
    /// What metrics and logs call the protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arp(_) => "arp",
            Self::Ndp(_) => "ndp",
        }
    }

    /// The Ethernet address that it speaks with.
    pub fn mac(self) -> MacAddr {
        match self {
            Self::Arp(arp) => arp.mac,
            Self::Ndp(ndp) => ndp.mac,
        }
    }

    fn speaks_for(self, vip: IpAddr) -> bool {
        match self {
            Self::Arp(_) => Arp::own(vip).is_some(),
            Self::Ndp(_) => Ndp::own(vip).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use placement::Takeover;

    use super::*;
    use crate::interfaces::{Lan, Link, Purpose, Unfit};

    fn link(name: &str, number: u8) -> Link {
        let mac = MacAddr([2, 0, 0, 0, 0, number]);
        Link {
            name: name.into(),
            purpose: Purpose::Lan,
            mac: Some(mac),
            arp: Ok(Arp { mac }),
            ndp: Err(Unfit::NoLinkLocal),
            lan: Lan::default(),
        }
    }

    fn wanted(vip: &str, interfaces: Interfaces) -> Wanted {
        let announcement = Announcement { interfaces, takeover: Takeover(7), history: History::Announced };
        let announcements = [(vip.parse().expect("an address"), announcement)].into();
        Wanted { announcements, ..Wanted::default() }
    }

    fn vips(plan: &Plan) -> Vec<(String, usize)> {
        plan.ports().iter().map(|(port, orders)| (port.name.to_string(), orders.vips.len())).collect()
    }

    #[test]
    fn an_address_is_announced_where_its_protocol_works_and_its_interfaces_say() {
        let mut plan = Plan::default();
        plan.set_links([(1, link("eth0", 1)), (2, link("eth1", 2))].into());
        let pairs = |one, two| vec![("eth0".to_owned(), one), ("eth1".to_owned(), two)];
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(vips(&plan), pairs(1, 1));
        plan.follow(&wanted("192.0.2.1", Interfaces::only(["eth1".into()])));
        assert_eq!(vips(&plan), pairs(0, 1));
        plan.follow(&wanted("2001:db8::1", Interfaces::All));
        assert_eq!(vips(&plan), pairs(0, 0), "neither does NDP");
    }

    #[test]
    fn only_the_named_interfaces_are_muted() {
        let mut plan = Plan::default();
        plan.set_links([(1, link("eth0", 1)), (2, link("eth1", 2))].into());
        let muted = Some(Interfaces::only(["eth0".into()]));
        plan.follow(&Wanted { muted, ..wanted("192.0.2.1", Interfaces::All) });
        let policies: Vec<TransmitPolicy> =
            plan.ports().values().map(|orders| orders.transmit_policy).collect();
        assert_eq!(policies, [TransmitPolicy::Muted, TransmitPolicy::Normal]);
    }

    #[test]
    fn a_port_sends_by_the_number_of_its_addresses() {
        let mut plan = Plan::default();
        let arp = link("eth0", 1);
        let ndp = arp.mac.map(|mac| Ndp { mac, link_local: "fe80::1".parse().expect("an address") });
        plan.set_links([(1, Link { ndp: ndp.ok_or(Unfit::NoLinkLocal), ..arp })].into());
        let mut all = Wanted::default();
        for vip in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"] {
            all.announcements.extend(wanted(vip, Interfaces::All).announcements);
        }
        plan.follow(&all);
        let gap = |(port, orders): (&PortId, &Arc<Orders>)| (port.responder.name(), orders.frame_gap);
        let expected = [("arp", layer2::frame_gap(3, 4, 2)), ("ndp", layer2::frame_gap(1, 4, 2))];
        assert_eq!(plan.ports().iter().map(gap).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_interface_that_comes_back_is_another_port_and_one_that_stays_the_same() {
        let mut plan = Plan::default();
        plan.set_links([(1, link("eth0", 1)), (2, link("eth1", 2))].into());
        let first: Vec<PortId> = plan.ports().keys().cloned().collect();
        plan.set_links([(2, link("eth1", 2))].into());
        plan.set_links([(1, link("eth0", 1)), (2, link("eth1", 2))].into());
        let second: Vec<PortId> = plan.ports().keys().cloned().collect();
        assert_ne!(second[0], first[0]);
        assert_eq!(second[1], first[1]);
    }

    #[test]
    fn all_interfaces_of_this_node_are_known_stations() {
        let mut plan = Plan::default();
        let down = Link { arp: Err(Unfit::Down), ..link("eth1", 2) };
        plan.set_links([(1, link("eth0", 1)), (2, down)].into());
        plan.follow(&Wanted::default());
        let known_macs = &plan.ports().values().next().expect("eth0").known_macs;
        assert_eq!(
            known_macs.contacts,
            [1, 2].map(|number| (MacAddr([2, 0, 0, 0, 0, number]), Contact::Own)).into()
        );
    }

    #[test]
    fn of_several_interfaces_on_one_lan_the_first_announces_and_the_next_when_it_goes() {
        let mut plan = Plan::default();
        let both = || Links::from([(1, link("eth0", 1)), (2, link("eth1", 2))]);
        plan.set_links(both());
        let mac = |number| MacAddr([2, 0, 0, 0, 0, number]);
        assert!(plan.heard_own(&"eth1".into(), mac(1)) && !plan.heard_own(&"eth0".into(), mac(2)));
        let pairs = |one, two| vec![("eth0".to_owned(), one), ("eth1".to_owned(), two)];
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(vips(&plan), pairs(1, 0));
        plan.follow(&wanted("192.0.2.1", Interfaces::only(["eth1".into()])));
        assert_eq!(vips(&plan), pairs(0, 1));
        plan.set_links([(2, link("eth1", 2))].into());
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(vips(&plan), [("eth1".to_owned(), 1)]);
    }

    #[test]
    fn a_port_is_told_which_interfaces_are_on_its_lan_until_one_of_them_comes_back() {
        let mut plan = Plan::default();
        let both = || Links::from([(1, link("eth0", 1)), (2, link("eth1", 2))]);
        let known = |plan: &mut Plan| -> Vec<usize> {
            plan.follow(&Wanted::default());
            plan.ports().values().map(|orders| orders.same_lan.len()).collect()
        };
        plan.set_links(both());
        assert_eq!(known(&mut plan), [0, 0]);
        plan.heard_own(&"eth1".into(), MacAddr([2, 0, 0, 0, 0, 1]));
        assert_eq!(known(&mut plan), [1, 1]);
        plan.set_links([(2, link("eth1", 2))].into());
        plan.set_links(both());
        assert_eq!(known(&mut plan), [0, 0], "it may be plugged in elsewhere, and is to be told of again");
    }

    #[test]
    fn of_interfaces_that_share_a_lan_though_they_do_not_hear_each_other_one_announces() {
        let on = |index, parent| {
            let number = u8::try_from(index).expect("there are few");
            let shared_with = Some(parent);
            Link { lan: Lan { shared_with, ..Lan::default() }, ..link(&format!("eth{index}"), number) }
        };
        let mut plan = Plan::default();
        plan.set_links([(1, link("eth1", 1)), (2, on(2, 1)), (3, on(3, 2)), (4, on(4, 99))].into());
        let announced = |plan: &Plan| -> Vec<String> {
            vips(plan).into_iter().filter(|(_, vips)| *vips > 0).map(|(name, _)| name).collect()
        };
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(announced(&plan), ["eth1", "eth4"], "the parent of eth4 is not of this node");
        plan.follow(&wanted("192.0.2.1", Interfaces::only(["eth2", "eth3"].map(Into::into))));
        assert_eq!(announced(&plan), ["eth2"], "only the children are allowed");
        let excluded = Link { arp: Err(Unfit::Excluded), ..link("eth1", 1) };
        plan.set_links([(1, excluded), (2, on(2, 1)), (3, on(3, 1))].into());
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(announced(&plan), ["eth2"]);
    }

    #[test]
    fn a_takeover_asks_the_lan_unless_a_peer_handed_it_over_and_the_place_was_there() {
        let mut plan = Plan::default();
        plan.set_links([(1, link("eth0", 1))].into());
        let handed_over = [(Takeover(7), plan.opened())].into();
        plan.set_links([(1, link("eth0", 1)), (2, link("eth1", 2))].into());
        let begins = |plan: &Plan| -> Vec<Begin> {
            plan.ports().values().flat_map(|orders| orders.vips.values().map(|order| order.begin)).collect()
        };
        plan.follow(&wanted("192.0.2.1", Interfaces::All));
        assert_eq!(begins(&plan), [Begin::Ask; 2]);
        plan.follow(&Wanted { handed_over, ..wanted("192.0.2.1", Interfaces::All) });
        assert_eq!(begins(&plan), [Begin::Announce, Begin::Ask]);
    }
}

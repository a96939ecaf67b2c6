//! The interfaces of this node and which of them can be announced on.

use layer2::{Arp, MacAddr, Ndp};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use placement::InterfaceName;
use speaker_core::{Lan, Link, Purpose, Unfit};

use super::addresses::Addresses;
use super::patterns::InterfacePatterns;

/// Reads an interface; `None` for what has no name.
pub(super) fn read(
    message: &LinkMessage,
    addresses: &Addresses,
    exclude: &InterfacePatterns,
) -> Option<Link> {
    let attributes = || message.attributes.iter();
    let name = attributes().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })?;
    let mac = attributes().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(&bytes[..]).ok().map(MacAddr),
        _ => None,
    });
    let mac = mac.filter(|mac| mac.is_station());
    let enslaved = attributes().any(|attribute| matches!(attribute, LinkAttribute::Controller(_)));
    let has = |flag| message.header.flags.contains(flag);
    let unfit = [
        (exclude.contains(name), Unfit::Excluded),
        (!has(LinkFlags::Up), Unfit::Down),
        (enslaved, Unfit::Enslaved),
        (has(LinkFlags::Noarp), Unfit::NoArp),
        (!has(LinkFlags::LowerUp), Unfit::NoCarrier),
    ];
    let fit = match unfit.into_iter().find(|(applies, _)| *applies) {
        Some((_, reason)) => Err(reason),
        None => mac.ok_or(Unfit::NoEthernet),
    };
    let arp = fit.and_then(|mac| has(LinkFlags::Broadcast).then_some(Arp { mac }).ok_or(Unfit::NoBroadcast));
    let ndp = fit.and_then(|mac| {
        let link_local = *addresses.link_locals.get(&message.header.index).ok_or(Unfit::NoLinkLocal)?;
        Ok(Ndp { mac, link_local })
    });
    let prefixes = addresses.prefixes.get(&message.header.index).cloned().unwrap_or_default();
    let lan = Lan { prefixes, shared_with: shared_with(message) };
    Some(Link { name: InterfaceName::from(name.as_str()), purpose: purpose(message), mac, arp, ndp, lan })
}

/// The interface below this one that is on the same LAN. A VLAN is another LAN than that of the interface below it, and
/// what is below may be in another network namespace, where numbers mean other interfaces.
fn shared_with(message: &LinkMessage) -> Option<u32> {
    let attributes = || message.attributes.iter();
    let elsewhere = attributes().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)));
    let below = attributes().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    });
    match kind(message) {
        Some(InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap) if !elsewhere => {
            below
        }
        _ => None,
    }
}

/// A network card is of no kind.
fn kind(message: &LinkMessage) -> Option<&InfoKind> {
    let kinds = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    kinds.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })
}

fn purpose(message: &LinkMessage) -> Purpose {
    match kind(message) {
        Some(InfoKind::Bridge | InfoKind::Vxlan | InfoKind::Geneve | InfoKind::Dummy | InfoKind::Tun) => {
            Purpose::Pods
        }
        Some(InfoKind::Other(kind)) if kind == "openvswitch" => Purpose::Pods,
        _ => Purpose::Lan,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn message(name: &str, change: impl FnOnce(&mut LinkMessage)) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags =
            LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Broadcast | LinkFlags::Multicast;
        message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(MAC.into())];
        change(&mut message);
        message
    }

    fn link(name: &str, change: impl FnOnce(&mut LinkMessage)) -> Link {
        let addresses = Addresses { link_locals: [(7, LINK_LOCAL)].into(), ..Addresses::default() };
        read(&message(name, change), &addresses, &InterfacePatterns::usually_excluded()).unwrap()
    }

    #[test]
    fn an_ordinary_interface_is_announced_on() {
        let mac = MacAddr(MAC);
        let expected = Link {
            name: "eth0".into(),
            purpose: Purpose::Lan,
            mac: Some(mac),
            arp: Ok(Arp { mac }),
            ndp: Ok(Ndp { mac, link_local: LINK_LOCAL }),
            lan: Lan::default(),
        };
        assert_eq!(link("eth0", |_| ()), expected);
    }

    #[test]
    fn what_cannot_be_announced_on_is_refused_for_a_reason() {
        type Change = fn(&mut LinkMessage);
        let without_address: Change = |m| _ = m.attributes.pop();
        let cases: [(Change, Unfit); 7] = [
            (|m| m.header.flags.remove(LinkFlags::Up), Unfit::Down),
            (|m| m.header.flags.remove(LinkFlags::LowerUp), Unfit::NoCarrier),
            (|m| m.header.flags.insert(LinkFlags::Noarp), Unfit::NoArp),
            (|m| m.attributes.push(LinkAttribute::Controller(3)), Unfit::Enslaved),
            (without_address, Unfit::NoEthernet),
            (|m| m.attributes[1] = LinkAttribute::Address(vec![2; 20]), Unfit::NoEthernet),
            (|m| m.attributes[1] = LinkAttribute::Address(vec![0; 6]), Unfit::NoEthernet),
        ];
        for (change, reason) in cases {
            let link = link("eth0", change);
            assert_eq!((link.arp, link.ndp), (Err(reason), Err(reason)));
        }
    }

    #[test]
    fn what_network_plugins_make_is_told_from_what_stands_for_a_card() {
        let of = |kind| {
            let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
            link("x0", |message| message.attributes.push(info)).purpose
        };
        for kind in [InfoKind::Bridge, InfoKind::Vxlan, InfoKind::Other("openvswitch".into())] {
            assert_eq!(of(kind), Purpose::Pods);
        }
        for kind in [InfoKind::Vlan, InfoKind::Bond, InfoKind::MacVlan, InfoKind::Veth] {
            assert_eq!(of(kind), Purpose::Lan);
        }
    }

    #[test]
    fn what_shares_the_lan_of_the_interface_below_it_is_told_from_what_has_its_own() {
        let below = |kind: InfoKind, more: Option<LinkAttribute>| {
            let attributes = [LinkAttribute::Link(3), LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])];
            let change = |it: &mut LinkMessage| it.attributes.extend(attributes.into_iter().chain(more));
            link("x0", change).lan.shared_with
        };
        for kind in [InfoKind::MacVlan, InfoKind::MacVtap, InfoKind::IpVlan] {
            assert_eq!(below(kind.clone(), None), Some(3));
            let elsewhere = Some(LinkAttribute::LinkNetNsId(0));
            assert_eq!(below(kind, elsewhere), None, "it is another namespace's interface");
        }
        for kind in [InfoKind::Vlan, InfoKind::Veth] {
            assert_eq!(below(kind, None), None);
        }
        assert_eq!(link("eth0", |it| it.attributes.push(LinkAttribute::Link(3))).lan.shared_with, None);
    }

    #[test]
    fn an_interface_may_do_one_protocol_and_not_the_other() {
        let no_broadcast = link("eth0", |m| m.header.flags.remove(LinkFlags::Broadcast));
        assert_eq!(no_broadcast.arp, Err(Unfit::NoBroadcast));
        assert!(no_broadcast.ndp.is_ok());
        let no_link_local = link("eth0", |m| m.header.index = 8);
        assert_eq!(no_link_local.ndp, Err(Unfit::NoLinkLocal));
        assert!(no_link_local.arp.is_ok());
    }

    #[test]
    fn the_interfaces_of_container_runtimes_are_excluded_unless_the_list_says_otherwise() {
        let excluded = |name| link(name, |_| ()).arp == Err(Unfit::Excluded);
        for name in ["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth12", "lo", "cali7", "tunl0"] {
            assert!(excluded(name), "{name}");
        }
        for name in ["flannel.1", "kube-ipvs0", "cni0", "nodelocaldns", "lxc9"] {
            assert!(excluded(name), "{name}");
        }
        for name in ["eth0", "lo1", "bond0", "br-lan", "my-veth"] {
            assert!(!excluded(name), "{name}");
        }
        let own_list: InterfacePatterns = "^eth1$, ^wg".parse().unwrap();
        let refused =
            |name| read(&message(name, |_| ()), &Addresses::default(), &own_list).unwrap().arp.is_err();
        assert_eq!(["eth0", "eth1", "wg0", "veth0"].map(refused), [false, true, true, false]);
    }
}

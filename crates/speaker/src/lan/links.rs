//! The interfaces of this node and which of them can be announced on, from rtnetlink.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use futures::channel::mpsc::UnboundedReceiver;
use futures::{StreamExt, TryStreamExt};
use layer2::MacAddr;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use placement::InterfaceName;
use regex::RegexSet;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::SocketAddr;
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinHandle;

use super::Interface;

/// An interface that can be announced on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The number of the interface. One that is deleted and made anew has another.
    pub(super) index: u32,
    pub(super) name: InterfaceName,
    pub(super) mac: MacAddr,
}

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

/// An interface and whether it can be announced on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: InterfaceName,
    pub(super) mac: Option<MacAddr>,
    pub(super) link: Result<Link, Unfit>,
}

impl Seen {
    pub(super) fn report(&self) -> (InterfaceName, Interface) {
        let arp = self.link.as_ref().map(drop).map_err(|unfit| *unfit);
        (self.name.clone(), Interface { mac: self.mac, arp, ndp: Err(Unfit::NoLinkLocal) })
    }
}

/// All interfaces of the node by their number.
pub(super) type Links = BTreeMap<u32, Seen>;

/// Interfaces that are never announced on: those whose name matches one of some regular expressions.
#[derive(Debug, Clone)]
pub struct ExcludeInterfaces(RegexSet);

/// What container runtimes and network plugins commonly make.
const DEFAULT_EXCLUDES: &str = "^docker.*,^cbr.*,^dummy.*,^virbr.*,^lxcbr.*,^veth.*,^lo$,^cali.*,^tunl.*,\
     ^flannel.*,^kube-ipvs.*,^cni.*,^nodelocaldns.*,^lxc.*";

impl Default for ExcludeInterfaces {
    fn default() -> Self {
        DEFAULT_EXCLUDES.parse().expect("the default list is well-formed")
    }
}

/// Reads a comma-separated list of regular expressions. The empty list excludes nothing.
impl FromStr for ExcludeInterfaces {
    type Err = regex::Error;

    fn from_str(list: &str) -> Result<Self, regex::Error> {
        RegexSet::new(list.split(',').map(str::trim).filter(|entry| !entry.is_empty())).map(Self)
    }
}

/// Notifications that come together are answered by one look at the interfaces: a node that starts many
/// Pods makes many.
const SETTLE: Duration = Duration::from_millis(5);
/// A look without a notification, in case one was lost.
const INTERVAL: Duration = Duration::from_secs(30);

/// Follows the interfaces of this node.
///
/// A notification is only taken as a hint to look: what counts is the complete list, so nothing can get out
/// of step when notifications are lost or come in bulk.
pub(super) struct Follower {
    handle: Handle,
    hints: UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    exclude: ExcludeInterfaces,
    connection: JoinHandle<()>,
    looked: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Follower {
    pub(super) fn new(exclude: ExcludeInterfaces) -> anyhow::Result<Self> {
        // The queue has no bound, for the library offers none. It is emptied at every look.
        let (connection, handle, hints) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
            .context("opening a netlink socket")?;
        Ok(Self { handle, hints, exclude, connection: tokio::spawn(connection), looked: false })
    }

    /// The interfaces as they are: at once when first called, then whenever something may have changed.
    pub(super) async fn next(&mut self) -> anyhow::Result<Links> {
        if std::mem::replace(&mut self.looked, true) {
            match tokio::time::timeout(INTERVAL, self.hints.next()).await {
                Ok(Some(_)) => tokio::time::sleep(SETTLE).await,
                Ok(None) => anyhow::bail!("the netlink socket was closed"),
                Err(_) => {}
            }
            while self.hints.try_recv().is_ok() {}
        }
        let read = async |message: LinkMessage| {
            Ok(read(&message, &self.exclude).map(|seen| (message.header.index, seen)))
        };
        let links = self.handle.link().get().execute().try_filter_map(read).try_collect();
        links.await.context("listing the interfaces")
    }
}

/// One interface; `None` for what has no name.
fn read(message: &LinkMessage, exclude: &ExcludeInterfaces) -> Option<Seen> {
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
        (exclude.0.is_match(name), Unfit::Excluded),
        (!has(LinkFlags::Up), Unfit::Down),
        (enslaved, Unfit::Enslaved),
        (has(LinkFlags::Noarp), Unfit::NoArp),
        (!has(LinkFlags::Broadcast), Unfit::NoBroadcast),
        (!has(LinkFlags::LowerUp), Unfit::NoCarrier),
    ];
    let name = InterfaceName::from(name.as_str());
    let link = match (unfit.into_iter().find(|(applies, _)| *applies), mac) {
        (Some((_, reason)), _) => Err(reason),
        (None, Some(mac)) => Ok(Link { index: message.header.index, name: name.clone(), mac }),
        (None, _) => Err(Unfit::NoEthernet),
    };
    Some(Seen { name, mac, link })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn message(name: &str, change: impl FnOnce(&mut LinkMessage)) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 7;
        message.header.flags =
            LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Broadcast | LinkFlags::Multicast;
        message.attributes = vec![LinkAttribute::IfName(name.into()), LinkAttribute::Address(MAC.into())];
        change(&mut message);
        message
    }

    fn fitness(name: &str, change: impl FnOnce(&mut LinkMessage)) -> Result<Link, Unfit> {
        read(&message(name, change), &ExcludeInterfaces::default()).unwrap().link
    }

    #[test]
    fn an_ordinary_interface_is_announced_on() {
        let expected = Link { index: 7, name: "eth0".into(), mac: MacAddr(MAC) };
        assert_eq!(fitness("eth0", |_| ()), Ok(expected));
    }

    #[test]
    fn what_cannot_be_announced_on_is_refused_for_a_reason() {
        type Change = fn(&mut LinkMessage);
        let without_address: Change = |m| _ = m.attributes.pop();
        let cases: [(Change, Unfit); 8] = [
            (|m| m.header.flags.remove(LinkFlags::Up), Unfit::Down),
            (|m| m.header.flags.remove(LinkFlags::LowerUp), Unfit::NoCarrier),
            (|m| m.header.flags.insert(LinkFlags::Noarp), Unfit::NoArp),
            (|m| m.header.flags.remove(LinkFlags::Broadcast), Unfit::NoBroadcast),
            (|m| m.attributes.push(LinkAttribute::Controller(3)), Unfit::Enslaved),
            (without_address, Unfit::NoEthernet),
            (|m| m.attributes[1] = LinkAttribute::Address(vec![2; 20]), Unfit::NoEthernet),
            (|m| m.attributes[1] = LinkAttribute::Address(vec![0; 6]), Unfit::NoEthernet),
        ];
        for (change, reason) in cases {
            assert_eq!(fitness("eth0", change), Err(reason));
        }
    }

    #[test]
    fn the_interfaces_of_container_runtimes_are_excluded_unless_the_list_says_otherwise() {
        for name in ["docker0", "cbr0", "dummy0", "virbr0", "lxcbr0", "veth12", "lo", "cali7", "tunl0"] {
            assert_eq!(fitness(name, |_| ()), Err(Unfit::Excluded), "{name}");
        }
        for name in ["flannel.1", "kube-ipvs0", "cni0", "nodelocaldns", "lxc9"] {
            assert_eq!(fitness(name, |_| ()), Err(Unfit::Excluded), "{name}");
        }
        for name in ["eth0", "lo1", "bond0", "br-lan", "my-veth"] {
            assert!(fitness(name, |_| ()).is_ok(), "{name}");
        }
        let own_list: ExcludeInterfaces = "^eth1$, ^wg".parse().unwrap();
        let refused = |name| read(&message(name, |_| ()), &own_list).unwrap().link.is_err();
        assert_eq!(["eth0", "eth1", "wg0", "veth0"].map(refused), [false, true, true, false]);
        assert!("(".parse::<ExcludeInterfaces>().is_err());
    }
}

//! The other speakers: what the gossip is told of them and of us, and what is told of oneself through it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use gossip::{Handle, LinkState, Profile};
use layer2::MacAddr;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use placement::{InterfaceName, NodeName};
use tokio::sync::watch;

use crate::lan::{Interface, Unfit};

/// What the gossip is told, as a whole: whoever reads it late skips what has been overtaken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// Where fellow speakers listen, as the API server lists them, once it has. That there are none is worth
    /// knowing too: then there is nobody to wait for.
    pub(crate) peers: Option<BTreeMap<NodeName, SocketAddr>>,
    /// The Ethernet addresses that we announce with.
    pub(crate) macs: BTreeSet<MacAddr>,
    /// Whether all is known that it takes to take over anything.
    pub(crate) ready: bool,
    /// Whether the interface that the gossip goes through has a carrier.
    pub(crate) link: LinkState,
    /// Members that leave and are not needed any more, until they are back.
    pub(crate) farewells: BTreeSet<NodeName>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            peers: None,
            macs: BTreeSet::new(),
            ready: false,
            link: LinkState::Up,
            farewells: BTreeSet::new(),
        }
    }
}

/// Passes on to the gossip what is said, until nobody says anything any more.
pub(crate) async fn pass_on(gossip: Handle, mut said: watch::Receiver<Said>) {
    let mut before = Said::default();
    while said.changed().await.is_ok() {
        let now = said.borrow_and_update().clone();
        if let Some(peers) = now.peers.clone().filter(|_| now.peers != before.peers) {
            gossip.set_peers(peers).await;
        }
        if now.macs != before.macs {
            gossip.set_profile(profile(&now.macs)).await;
        }
        if now.ready && !before.ready {
            gossip.take_part().await;
        }
        if now.link != before.link {
            gossip.set_link(now.link).await;
        }
        for node in now.farewells.difference(&before.farewells) {
            gossip.confirm_leave(node.clone()).await;
        }
        before = now;
    }
}

/// The interface with the address `ours`, if it can carry nothing. Where that is not to be found out, it can.
pub(crate) fn cut(ours: IpAddr, interfaces: &BTreeMap<InterfaceName, Interface>) -> Option<InterfaceName> {
    let name = interface_with(ours)?;
    let down = matches!(interfaces.get(&name)?.arp, Err(Unfit::Down | Unfit::NoCarrier));
    down.then_some(name)
}

fn interface_with(ours: IpAddr) -> Option<InterfaceName> {
    let interface = getifaddrs().ok()?.find(|interface| address(interface) == Some(ours))?;
    Some(interface.interface_name.as_str().into())
}

/// The IP address, if it is one.
pub(crate) fn address(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

const MAC_LEN: usize = 6;

/// What a member tells of itself: the Ethernet addresses that it announces with, one after the other. A node
/// with more than fit announces with the others all the same, and may be taken for a stranger there.
fn profile(macs: &BTreeSet<MacAddr>) -> Profile {
    let bytes: Vec<u8> = macs.iter().flat_map(|mac| mac.0).take(Profile::MAX / MAC_LEN * MAC_LEN).collect();
    Profile::new(bytes).expect("no more is taken than fits")
}

/// The Ethernet addresses that a member announces with.
pub(crate) fn macs(profile: &Profile) -> impl Iterator<Item = MacAddr> {
    let (macs, _) = profile.as_bytes().as_chunks::<MAC_LEN>();
    macs.iter().copied().map(MacAddr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_oneself_is_understood_and_never_too_long() {
        for count in [0, 1, 2, 42, 43, 200] {
            let some: BTreeSet<MacAddr> = (0..count).map(|n| MacAddr([2, 0, 0, 0, 0, n])).collect();
            let read: BTreeSet<MacAddr> = macs(&profile(&some)).collect();
            assert_eq!(read.len(), usize::from(count.min(42)));
            assert!(read.is_subset(&some));
        }
        assert_eq!(macs(&Profile::new([1, 2, 3]).unwrap()).count(), 0, "not from a speaker as we know them");
    }
}

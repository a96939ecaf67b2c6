//! The objects about BGP, as the core understands them.

use std::net::Ipv4Addr;
use std::time::Instant;

use api::{BFDProfile, BGPAdvertisement, BGPPeer, Community};
use kube::ResourceExt;
use kubekit::{Change, Mirror};
use objects::{BfdProfileName, BgpPeerName};
use peering::Peer;
use placement::AdvertisementName;
use speaker_core::announce::bgp::BgpInput;
use speaker_core::{Changes, Input};

use super::{Cluster, is_list};

/// A `BGPPeer`, as it can be read.
#[derive(Debug)]
pub(crate) struct SeenPeer {
    name: BgpPeerName,
    read: Result<Peer, Vec<String>>,
}

impl From<BGPPeer> for SeenPeer {
    fn from(peer: BGPPeer) -> Self {
        Self { name: peer.name_any().into(), read: peer.read() }
    }
}

/// Which objects about BGP there are.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    peers: Mirror<BgpPeerName>,
    advertisements: Mirror<AdvertisementName>,
    communities: Mirror<String>,
    profiles: Mirror<BfdProfileName>,
}

impl Cluster {
    pub(super) fn bgp_peers(&mut self, change: Change<SeenPeer>, now: Instant) {
        let complete = is_list(&change);
        let each = self.bgp.peers.update(change, |it| it.name.clone()).into_iter();
        let each = each.map(|(name, it)| (name, it.map(|it| it.read))).collect();
        self.core.handle(Input::Bgp(BgpInput::Peers(Changes { each, complete })), now);
    }

    pub(super) fn bgp_advertisements(&mut self, change: Change<BGPAdvertisement>, now: Instant) {
        let complete = is_list(&change);
        let each = self.bgp.advertisements.update(change, |it| it.name_any().into()).into_iter();
        let each = each.map(|(name, it)| (name, it.map(|it| it.read()))).collect();
        self.core.handle(Input::Bgp(BgpInput::Advertisements(Changes { each, complete })), now);
    }

    pub(super) fn communities(&mut self, change: Change<Community>, now: Instant) {
        let complete = is_list(&change);
        let each = self.bgp.communities.update(change, ResourceExt::name_any).into_iter();
        let each = each.map(|(name, it)| (name, it.map(|it| it.read()))).collect();
        self.core.handle(Input::Bgp(BgpInput::Communities(Changes { each, complete })), now);
    }

    pub(super) fn bfd_profiles(&mut self, change: Change<BFDProfile>, now: Instant) {
        let complete = is_list(&change);
        let each = self.bgp.profiles.update(change, |it| it.name_any().into()).into_iter();
        let each = each.map(|(name, it)| (name, it.map(|it| it.read()))).collect();
        self.core.handle(Input::Bgp(BgpInput::Profiles(Changes { each, complete })), now);
    }
}

/// The IPv4 address by which the cluster knows a node: its BGP identifier.
pub(super) fn identifying_address(node: &slim::Node) -> Option<Ipv4Addr> {
    let mut internal = node.status.addresses.iter().filter(|it| it.type_ == "InternalIP");
    internal.find_map(|it| it.address.parse().ok())
}

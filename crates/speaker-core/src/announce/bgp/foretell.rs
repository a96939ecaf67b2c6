//! What a node would tell routers, for those who ask before it is so.

use std::collections::{BTreeMap, BTreeSet};

use bgp::route::Prefix;
use objects::BgpPeerName;
use peering::{Faults, Objects};
use placement::{AdvertisementName, NodeName, Placement, ServiceKey};

use super::objects::{Bgp, BgpNews};
use super::{NotAnnounced, Told};

/// What a node would tell routers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foretold {
    /// The prefixes that each router of the node is told of, and for which Services.
    pub routes: BTreeMap<BgpPeerName, BTreeMap<Prefix, BTreeSet<ServiceKey>>>,
    /// To whom each Service is announced, or why it is not; nothing where no advertisement is in force.
    pub services: BTreeMap<ServiceKey, Result<Told, NotAnnounced>>,
    /// The peers that are not in force on the node, and what is wrong.
    pub peer_faults: Faults<BgpPeerName>,
    /// The same of the advertisements.
    pub advertisement_faults: Faults<AdvertisementName>,
}

/// Decides for a node as its speaker would that knew these objects, where kube-proxy serves whatever has endpoints. A peer whose
/// Secret is not among them has no session.
pub fn foretell(node: &NodeName, objects: Objects, placement: &Placement) -> Foretold {
    let mut bgp = Bgp::knowing(node.clone(), objects);
    let mut foretold = Foretold::default();
    for news in bgp.foretell(placement) {
        if let BgpNews::Faults(of_peers, of_advertisements) = news {
            (foretold.peer_faults, foretold.advertisement_faults) = (of_peers, of_advertisements);
        }
    }
    for (peer, routes) in bgp.plan().routes() {
        let prefixes = routes.keys().map(|prefix| (*prefix, bgp.users(peer, *prefix)));
        foretold.routes.insert(peer.clone(), prefixes.collect());
    }
    foretold.services = bgp.plan().outcomes().collect();
    foretold
}

//! What this speaker has lost and goes on without, until it has it again: that shows on `/readyz`, in a metric, and in an
//! event on its node.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::events::Notice;
use kubekit::http::Readiness;
use placement::NodeName;
use speaker_core::Trouble;
use tracing::{info, warn};

use crate::{Metrics, ipvs};

/// What can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The address or port of the gossip cannot be had.
    GossipAddress,
    /// The other speakers use another key.
    GossipKey,
    /// The interfaces cannot be followed.
    Netlink,
    /// On some interface no packet socket can be had.
    PacketSockets,
}

/// What is lost at present.
#[derive(Debug, Default)]
pub(crate) struct Impaired(BTreeSet<Part>);

impl Part {
    /// As `/readyz` names it.
    const fn name(self) -> &'static str {
        match self {
            Self::GossipAddress => Trouble::Unbound.name(),
            Self::GossipKey => Trouble::OtherKey.name(),
            Self::Netlink => "netlink, which tells of the interfaces (see the log)",
            Self::PacketSockets => "packet sockets (see the log)",
        }
    }

    /// As the metric names it.
    const fn label(self) -> &'static str {
        match self {
            Self::GossipAddress => "gossip_address",
            Self::GossipKey => "gossip_key",
            Self::Netlink => "netlink",
            Self::PacketSockets => "packet_sockets",
        }
    }

    /// What it means.
    const fn message(self) -> &'static str {
        match self {
            Self::GossipAddress => {
                "the speaker can't have the address or port of its gossip, and takes no address over until it can: is \
                 UDP port 7946 free on this node?"
            }
            Self::GossipKey => {
                "the other speakers use another key than this node's, which takes no address over until they have \
                 the same: does its Pod have the present Secret?"
            }
            Self::Netlink => {
                "the speaker can't follow this node's interfaces, and goes by what they were: its log says why"
            }
            Self::PacketSockets => {
                "the speaker can't have packet sockets on this node, and leaves what is announced there to other nodes \
                 that can announce it: its log says where and why"
            }
        }
    }
}

impl From<Trouble> for Part {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unbound => Self::GossipAddress,
            Trouble::OtherKey => Self::GossipKey,
        }
    }
}

impl Impaired {
    /// Whether `part` is lost now; what to tell of the node, once until it is there again.
    pub(crate) fn set(
        &mut self,
        part: Part,
        is_lost: bool,
        node: &NodeName,
        readiness: &Readiness,
        metrics: &Metrics,
    ) -> Option<(ObjectReference, Notice)> {
        metrics.impaired(part.label(), is_lost);
        if is_lost {
            readiness.lost(part.name());
            let is_new = self.0.insert(part);
            return is_new.then(|| {
                warn!(waiting_for = part.name(), "not ready");
                (ipvs::reference(node), Notice::warning("SpeakerImpaired", part.message()))
            });
        }
        readiness.reached(part.name());
        if self.0.remove(&part) {
            info!(part = part.name(), "there again");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_is_lost_is_told_once_until_it_is_there_again() {
        let (mut impaired, metrics) = (Impaired::default(), Metrics::default());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let readiness = Readiness::waiting_for([]);
        for part in [Part::GossipAddress, Part::GossipKey, Part::Netlink, Part::PacketSockets] {
            let value = || {
                let mut text = String::new();
                prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
                let name = format!("ferrolb_speaker_impaired{{part=\"{}\"}} ", part.label());
                text.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned)
            };
            for _ in 0..2 {
                let mut set = |lost| impaired.set(part, lost, &"n1".into(), &readiness, &metrics);
                let (node, notice) = set(true).expect("it is told");
                assert_eq!((node.kind.as_deref(), node.name.as_deref()), (Some("Node"), Some("n1")));
                assert_eq!(notice.reason, "SpeakerImpaired");
                assert_eq!((readiness.missing(), value().as_deref()), (vec![part.name()], Some("1")));
                assert!(set(true).is_none(), "it is known");
                assert!(set(false).is_none());
                assert_eq!((readiness.is_ready(), value().as_deref()), (true, Some("0")));
            }
        }
    }
}

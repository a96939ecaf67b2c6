//! What can be counted of BFD, under MetalLB's names.

use bfd::packet::{Malformed, State};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Way;
use super::peer::Peer;
use crate::metrics::PlainCounter;

/// The metrics of BFD. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct BfdMetrics {
    session_up: Family<PeerLabels, Gauge>,
    counters: [Family<PeerLabels, PlainCounter>; COUNTERS.len()],
    not_sent: Family<PeerLabels, PlainCounter>,
    discarded: Family<ReasonLabels, Counter>,
}

/// Each counter: what it is called, and what it counts.
const COUNTERS: [(&str, &str); 7] = [
    ("control_packet_input", "Control packets received"),
    ("control_packet_output", "Control packets sent"),
    ("echo_packet_input", "Echo packets that came back"),
    ("echo_packet_output", "Echo packets sent"),
    ("session_up_events", "Times that a session came up"),
    ("session_down_events", "Times that a session that was up went down"),
    // As upstream calls it, whose routing daemon is told by way of zebra.
    ("zebra_notifications", "Times that the BGP session beside was told that a session came up or went down"),
];

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: String,
    vrf: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Why a packet counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discarded {
    /// It cannot be read, or RFC 5880 section 6.8.6 says so.
    Malformed(Malformed),
    /// No session is with whom it comes from.
    Stranger,
    /// It has passed more routers than there are up to the peer.
    Ttl,
    /// The kernel has dropped it, mostly by a filter.
    Kernel,
}

impl Discarded {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Malformed(Malformed::Short) => "short",
            Self::Malformed(Malformed::Version) => "version",
            Self::Malformed(Malformed::Length) => "length",
            Self::Malformed(Malformed::Multiplier) => "multiplier",
            Self::Malformed(Malformed::Multipoint) => "multipoint",
            Self::Malformed(Malformed::Discriminator) => "discriminator",
            Self::Malformed(Malformed::YourDiscriminator) => "your_discriminator",
            Self::Malformed(Malformed::Authentication) => "authentication",
            Self::Stranger => "no_session",
            Self::Ttl => "ttl",
            Self::Kernel => "kernel",
        }
    }
}

impl PeerLabels {
    fn of(way: &Way) -> Self {
        let Way { peer, source: _, interface, vrf } = way;
        let peer = match interface {
            Some(interface) => format!("{peer}%{interface}"),
            None => peer.to_string(),
        };
        Self { peer, vrf: vrf.as_ref().map(|vrf| vrf.as_str().to_owned()).unwrap_or_default() }
    }
}

impl BfdMetrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let bfd = registry.sub_registry_with_prefix("metallb").sub_registry_with_prefix("bfd");
        bfd.register("session_up", "1 where a session is up", self.session_up.clone());
        for ((name, help), counter) in COUNTERS.into_iter().zip(&self.counters) {
            bfd.register(name, help, counter.clone());
        }
        let bfd = registry.sub_registry_with_prefix("ferrolb").sub_registry_with_prefix("bfd");
        bfd.register("packets_not_sent_total", "Packets that could not be sent", self.not_sent.clone());
        let help = "Packets received that count for nothing, by reason; kernel: from nobody who is expected, or more than there was room for";
        bfd.register("packets_discarded", help, self.discarded.clone());
    }

    /// How a session is doing.
    pub(super) fn show(&self, peer: &Peer) {
        let labels = PeerLabels::of(peer.way());
        let up = peer.status().state == State::Up;
        self.session_up.get_or_create(&labels).set(up.into());
        let counters = peer.counters();
        let values = [
            counters.received,
            counters.sent,
            counters.echo_received,
            counters.echo_sent,
            counters.up,
            counters.down,
            counters.up.saturating_add(counters.down),
        ];
        for (family, value) in self.counters.iter().zip(values) {
            family.get_or_create(&labels).reach(value);
        }
        self.not_sent.get_or_create(&labels).reach(peer.unsent());
    }

    /// There is no such session any more.
    pub(super) fn forget(&self, peer: &Peer) {
        let labels = PeerLabels::of(peer.way());
        self.session_up.remove(&labels);
        for counter in self.counters.iter().chain([&self.not_sent]) {
            counter.remove(&labels);
        }
    }

    /// So many more were dropped by the kernel.
    pub(super) fn dropped_by_the_kernel(&self, count: u64) {
        self.discarded.get_or_create(&ReasonLabels { reason: Discarded::Kernel.label() }).inc_by(count);
    }

    pub(super) fn discarded(&self, why: Discarded) {
        self.discarded.get_or_create(&ReasonLabels { reason: why.label() }).inc();
    }
}

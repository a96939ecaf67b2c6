//! What can be counted of BGP, under MetalLB's names.

use bgp::session::{Session, State};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::bfd::BfdMetrics;
use crate::metrics::PlainCounter;

/// The metrics of BGP, and of BFD beside it. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct BgpMetrics {
    session_up: Family<PeerLabels, Gauge>,
    announced: Family<PeerLabels, Gauge>,
    pending: Family<PeerLabels, Gauge>,
    counters: [Family<PeerLabels, PlainCounter>; COUNTERS.len()],
    taken_over: Counter,
    /// Those of the BFD sessions beside.
    pub(super) bfd: BfdMetrics,
}

/// Each counter: what it is called, and what it counts.
const COUNTERS: [(&str, &str); 10] = [
    ("updates_total", "UPDATE messages sent"),
    ("updates_total_received", "UPDATE messages received"),
    ("opens_sent", "OPEN messages sent"),
    ("opens_received", "OPEN messages received"),
    ("notifications_sent", "NOTIFICATION messages sent"),
    ("keepalives_sent", "KEEPALIVE messages sent"),
    ("keepalives_received", "KEEPALIVE messages received"),
    ("route_refresh_sent", "ROUTE-REFRESH messages sent"),
    ("total_sent", "messages sent"),
    ("total_received", "messages received"),
];

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerLabels {
    peer: String,
    vrf: String,
}

impl PeerLabels {
    /// As upstream writes them: an IPv6 address stands before its port without brackets.
    pub(super) fn of(session: &Session) -> Self {
        let config = session.config();
        let vrf = config.vrf.as_ref().map(|vrf| vrf.as_str().to_owned()).unwrap_or_default();
        let peer = match config.transport.peer() {
            Some(address) => format!("{address}:{}", config.port),
            None => format!("{}:{}", config.transport, config.port),
        };
        Self { peer, vrf }
    }
}

impl BgpMetrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let bgp = registry.sub_registry_with_prefix("metallb").sub_registry_with_prefix("bgp");
        bgp.register("session_up", "1 where a session is established", self.session_up.clone());
        let (announced, pending) = (self.announced.clone(), self.pending.clone());
        bgp.register("announced_prefixes_total", "Prefixes that the peer was told of", announced);
        bgp.register("pending_prefixes_total", "Prefixes that are to be announced", pending);
        for ((name, help), counter) in COUNTERS.into_iter().zip(&self.counters) {
            bgp.register(name, help, counter.clone());
        }
        let ours = registry.sub_registry_with_prefix("ferrolb").sub_registry_with_prefix("bgp");
        let help = "Sessions that go on from the speaker before this one on the node";
        ours.register("sessions_taken_over", help, self.taken_over.clone());
        self.bfd.register(registry);
    }

    /// A session goes on from another process.
    pub(super) fn taken_over(&self) {
        self.taken_over.inc();
    }

    /// How `session` is doing.
    pub(super) fn show(&self, labels: &PeerLabels, session: &Session) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let up = session.state() == State::Established;
        self.session_up.get_or_create(labels).set(up.into());
        self.announced.get_or_create(labels).set(number(session.rib().announced()));
        self.pending.get_or_create(labels).set(number(session.rib().wanted()));
        let (sent, received) = (session.counters().sent, session.counters().received);
        let values = [
            sent.updates,
            received.updates,
            sent.opens,
            received.opens,
            sent.notifications,
            sent.keepalives,
            received.keepalives,
            sent.route_refreshes,
            sent.total(),
            received.total(),
        ];
        for (family, value) in self.counters.iter().zip(values) {
            family.get_or_create(labels).reach(value);
        }
    }

    /// There is no such session any more.
    pub(super) fn forget(&self, labels: &PeerLabels) {
        for gauge in [&self.session_up, &self.announced, &self.pending] {
            gauge.remove(labels);
        }
        for counter in &self.counters {
            counter.remove(labels);
        }
    }
}

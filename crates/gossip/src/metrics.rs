//! What can be counted.

use members::{Counters, Refusal};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What of the gossip can be counted. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    members: Gauge,
    sent: Family<KindLabels, Counter>,
    not_sent: Counter,
    received: Family<KindLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    doubts: Counter,
    false_doubts: Counter,
    declared: Counter,
    stalls: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let gossip = registry.sub_registry_with_prefix("ferrolb_gossip");
        gossip.register("members", "Speakers that are alive, as this program knows", self.members.clone());
        gossip.register("frames_sent", "Frames sent to other members, by kind", self.sent.clone());
        gossip.register("frames_not_sent", "Frames that could not be sent", self.not_sent.clone());
        gossip.register("frames_received", "Frames of other members, by kind", self.received.clone());
        gossip.register("frames_refused", "Frames that were not heeded, by reason", self.refused.clone());
        gossip.register("doubts", "Times a silent member was asked after", self.doubts.clone());
        gossip.register("false_doubts", "Times such a member turned out to live", self.false_doubts.clone());
        gossip.register("declared_dead", "Members that this one declared dead", self.declared.clone());
        gossip.register("stalls", "Times this program stood still for long", self.stalls.clone());
    }

    pub(crate) fn members(&self, count: usize) {
        self.members.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn sent(&self, kind: &'static str) {
        self.sent.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn not_sent(&self) {
        self.not_sent.inc();
    }

    pub(crate) fn received(&self, result: Result<&'static str, Refusal>) {
        match result {
            Ok(kind) => self.received.get_or_create(&KindLabels { kind }).inc(),
            Err(refusal) => self.refused.get_or_create(&ReasonLabels { reason: refusal.as_str() }).inc(),
        };
    }

    pub(crate) fn judged(&self, before: Counters, now: Counters) {
        self.doubts.inc_by(now.doubted - before.doubted);
        self.false_doubts.inc_by(now.cleared - before.cleared);
        self.declared.inc_by(now.declared - before.declared);
    }

    pub(crate) fn stalled(&self) {
        self.stalls.inc();
    }
}

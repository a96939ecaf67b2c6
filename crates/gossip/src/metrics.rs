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
    settled: Gauge,
    sent: Family<Kind, Counter>,
    received: Family<Kind, Counter>,
    refused: Family<Reason, Counter>,
    not_sent: Counter,
    lost: Counter,
    returned: Counter,
    overdue: Counter,
    doubts: Counter,
    doubts_cleared: Counter,
    declared: Counter,
    stalls: Counter,
    deaths_put_off: Counter,
    lines_left_out: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let gossip = registry.sub_registry_with_prefix("ferrolb_gossip");
        gossip.register("members", "Live speakers, as this process sees them", self.members.clone());
        gossip.register("settled", "1 when enough of the others has been heard", self.settled.clone());
        gossip.register("frames_sent", "Frames sent", self.sent.clone());
        gossip.register("frames_received", "Frames received and acted on", self.received.clone());
        gossip.register("frames_refused", "Frames received and refused", self.refused.clone());
        gossip.register("frames_not_sent", "Frames that could not be sent", self.not_sent.clone());
        gossip.register("members_lost", "Members that died, as far as known", self.lost.clone());
        gossip.register(
            "members_returned",
            "Members that came back after they had been declared dead, or had begun unseen",
            self.returned.clone(),
        );
        gossip.register(
            "members_overdue",
            "Members that were away for a moment and not back in time",
            self.overdue.clone(),
        );
        gossip.register("doubts", "Silent members that others were asked for", self.doubts.clone());
        gossip.register("doubts_cleared", "Such members that were alive", self.doubts_cleared.clone());
        gossip.register("stalls", "Times this process stood still for long", self.stalls.clone());
        gossip.register(
            "own_deaths_put_off",
            "Times this speaker was held dead again before it might say again that it lives",
            self.deaths_put_off.clone(),
        );
        gossip.register(
            "log_lines_left_out",
            "Events of the gossip that were not logged, because there were too many of their kind",
            self.lines_left_out.clone(),
        );
        gossip.register("deaths_declared", "Such members that were not", self.declared.clone());
    }

    pub(crate) fn view(&self, members: usize, settled: bool) {
        self.members.set(i64::try_from(members).unwrap_or(i64::MAX));
        self.settled.set(settled.into());
    }

    pub(crate) fn stalled(&self) {
        self.stalls.inc();
    }

    pub(crate) fn sent(&self, kind: &'static str) {
        self.sent.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn not_sent(&self) {
        self.not_sent.inc();
    }

    pub(crate) fn received(&self, result: Result<&'static str, Refusal>) {
        match result {
            Ok(kind) => self.received.get_or_create(&Kind { kind }).inc(),
            Err(refusal) => self.refused.get_or_create(&Reason { reason: refusal.as_str() }).inc(),
        };
    }

    pub(crate) fn lost(&self) {
        self.lost.inc();
    }

    pub(crate) fn returned(&self) {
        self.returned.inc();
    }

    pub(crate) fn overdue(&self) {
        self.overdue.inc();
    }

    pub(crate) fn line_left_out(&self) {
        self.lines_left_out.inc();
    }

    /// Of one source only, whose counter never falls.
    pub(crate) fn deaths_put_off(&self, count: u64) {
        self.deaths_put_off.inc_by(count.saturating_sub(self.deaths_put_off.get()));
    }

    /// Of one source only, whose counters never fall.
    pub(crate) fn judged(&self, counters: Counters) {
        let Counters { doubted, cleared, declared } = counters;
        for (counter, value) in
            [(&self.doubts, doubted), (&self.doubts_cleared, cleared), (&self.declared, declared)]
        {
            counter.inc_by(value.saturating_sub(counter.get()));
        }
    }
}

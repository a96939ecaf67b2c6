//! What can be counted of Multicast DNS.

use mdns::{Ignored, Purpose};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The metrics of Multicast DNS. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct MdnsMetrics {
    sent: Family<PurposeLabels, Counter>,
    not_sent: Counter,
    conflicts: Counter,
    ignored: Family<ReasonLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PurposeLabels {
    purpose: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl MdnsMetrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let ferrolb = registry.sub_registry_with_prefix("ferrolb_mdns");
        ferrolb.register("sent", "Messages of Multicast DNS sent", self.sent.clone());
        ferrolb.register(
            "not_sent",
            "Messages of Multicast DNS that could not be sent",
            self.not_sent.clone(),
        );
        ferrolb.register(
            "conflicts",
            "How often another host was found to have the name of a Service",
            self.conflicts.clone(),
        );
        ferrolb.register("ignored", "Messages of Multicast DNS that led to nothing", self.ignored.clone());
    }

    pub(super) fn sent(&self, purpose: Purpose) {
        let purpose = match purpose {
            Purpose::Probe => "probe",
            Purpose::Announcement => "announcement",
            Purpose::Answer => "answer",
            Purpose::Goodbye => "goodbye",
        };
        self.sent.get_or_create(&PurposeLabels { purpose }).inc();
    }

    pub(super) fn not_sent(&self) {
        self.not_sent.inc();
    }

    pub(super) fn taken(&self) {
        self.conflicts.inc();
    }

    pub(super) fn ignored(&self, ignored: Ignored) {
        let reason = match ignored {
            Ignored::Malformed(_) => "malformed",
            Ignored::Port => "port",
            Ignored::OffLink => "off_link",
            Ignored::NotOurs => "not_ours",
            Ignored::TooMany => "too_many",
        };
        self.ignored.get_or_create(&ReasonLabels { reason }).inc();
    }
}

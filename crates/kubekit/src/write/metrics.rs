//! What can be counted of writes.

use std::fmt::{self, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::ledger::Ledger;

#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    writes: Family<WriteLabels, Counter>,
    undone: Family<KindLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry, ledger: Arc<Mutex<Ledger>>) {
        // The library adds _total to the names of counters.
        let own = registry.sub_registry_with_prefix("ferrolb_api");
        own.register("writes", "Requests that write to the API server, by their result", self.writes.clone());
        own.register(
            "writes_undone",
            "Changes by somebody else of what this program has written and owns",
            self.undone.clone(),
        );
        own.register_collector(Box::new(Refused(ledger)));
    }

    pub(super) fn count(&self, kind: &str, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), result }).inc();
    }

    pub(super) fn undone(&self, kind: &str) {
        self.undone.get_or_create(&KindLabels { kind: kind.to_owned() }).inc();
    }
}

/// Counts what is refused when somebody asks, so that an object that nobody writes any more ceases to count.
struct Refused(Arc<Mutex<Ledger>>);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Refused")
    }
}

impl Collector for Refused {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner).refused(Instant::now());
        let mut metric = encoder.encode_descriptor(
            "objects_refused",
            "Objects that the API server refuses to take as they are written",
            None,
            MetricType::Gauge,
        )?;
        for (kind, count) in counts {
            let labels = KindLabels { kind: kind.into_owned() };
            ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

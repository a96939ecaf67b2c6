//! What the controller tells Prometheus: upstream's metrics under upstream's names, and a few more.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipam::Usage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::index::{Index, List, Written};
use crate::turns::Turns;

/// All metrics of the controller. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    addresses: AddressMetrics,
    /// Changes that came in.
    pub(crate) updates: Counter,
    update_errors: Counter,
    config_loaded: Gauge,
    config_stale: Gauge,
    writes: Family<WriteLabels, Counter>,
    write_seconds: Histogram,
    status_latency: Histogram,
    queued: Gauge,
    waiting: Gauge,
    overwrites: Counter,
    leader: Gauge,
    /// How long the loop's turns take.
    pub(crate) turns: Turns,
}

type ByPool = Family<PoolLabels, Gauge>;

/// Upstream counts addresses three times: in all, and for each family.
#[derive(Debug, Clone, Default)]
struct AddressMetrics {
    total: [ByPool; 3],
    in_use: [ByPool; 3],
    /// The pools that there are series of.
    shown: Arc<Mutex<BTreeSet<PoolLabels>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    result: &'static str,
}

/// Buckets, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

impl Metrics {
    /// Registers all of them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            addresses: AddressMetrics::default(),
            updates: Counter::default(),
            update_errors: Counter::default(),
            config_loaded: Gauge::default(),
            config_stale: Gauge::default(),
            writes: Family::default(),
            write_seconds: Histogram::new(SECONDS),
            status_latency: Histogram::new(SECONDS),
            queued: Gauge::default(),
            waiting: Gauge::default(),
            overwrites: Counter::default(),
            leader: Gauge::default(),
            turns: Turns::default(),
        };
        metrics.register(registry);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let allocator = registry.sub_registry_with_prefix("metallb_allocator");
        for (i, family) in ["", "ipv4_", "ipv6_"].into_iter().enumerate() {
            let total = self.addresses.total[i].clone();
            allocator.register(format!("{family}addresses_total"), "Usable addresses per pool", total);
            let in_use = self.addresses.in_use[i].clone();
            allocator.register(
                format!("{family}addresses_in_use_total"),
                "Addresses in use per pool",
                in_use,
            );
        }
        // The library adds _total to the names of counters.
        let client = registry.sub_registry_with_prefix("metallb_k8s_client");
        client.register("updates", "Changes of Kubernetes objects that came in", self.updates.clone());
        client.register("update_errors", "Changes that could not be acted on", self.update_errors.clone());
        client.register(
            "config_loaded_bool",
            "1 once the configuration has been read",
            self.config_loaded.clone(),
        );
        client.register(
            "config_stale_bool",
            "1 while some object is not in force as it stands",
            self.config_stale.clone(),
        );
        let own = registry.sub_registry_with_prefix("ferrolb_controller");
        own.register("status_writes", "Writes of a Service's status", self.writes.clone());
        own.register(
            "status_write_seconds",
            "How long a write of a Service's status took",
            self.write_seconds.clone(),
        );
        own.register(
            "status_latency_seconds",
            "Time from the change that called for it until a Service's status was right",
            self.status_latency.clone(),
        );
        own.register("queue_depth", "Services whose status is to be written", self.queued.clone());
        own.register("services_waiting", "Services that want an address and have none", self.waiting.clone());
        own.register(
            "status_overwrites",
            "Times that somebody else wrote over the status of a Service",
            self.overwrites.clone(),
        );
        own.register("leader", "1 while this replica decides", self.leader.clone());
        self.turns.register(own);
    }

    /// Counts a write of a Service's status.
    pub(crate) fn wrote(&self, result: &Written, took: Duration) {
        let result = match result {
            Written::Done(_) => "done",
            Written::Conflict => "conflict",
            Written::Gone => "gone",
            Written::Failed(_) | Written::Refused(_) => {
                self.update_errors.inc();
                "failed"
            }
        };
        self.writes.get_or_create(&WriteLabels { result }).inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// A Service's status is right again, after it was off for so long.
    pub(crate) fn settled(&self, latency: Duration) {
        self.status_latency.observe(latency.as_secs_f64());
    }

    /// Brings what is a state, and not a count, up to date.
    pub(crate) fn show(&self, index: &Index) {
        self.config_loaded.set(i64::from(index.has(List::Pools)));
        self.config_stale.set(i64::from(index.is_stale()));
        self.queued.set(i64::try_from(index.queued()).unwrap_or(i64::MAX));
        self.waiting.set(i64::try_from(index.waiting()).unwrap_or(i64::MAX));
        self.overwrites.inc_by(index.overwrites().saturating_sub(self.overwrites.get()));
        self.leader.set(i64::from(index.decides()));
        self.addresses.show(index);
    }
}

impl AddressMetrics {
    /// Brings each series up to date by itself: whoever asks meanwhile, on another thread, is to miss none.
    fn show(&self, index: &Index) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *shown);
        for (pool, [v4, v6]) in index.usage() {
            let labels = PoolLabels { pool: pool.as_str().to_owned() };
            let both = Usage {
                in_use: v4.in_use.saturating_add(v6.in_use),
                available: v4.available.saturating_add(v6.available),
            };
            for (i, usage) in [both, v4, v6].into_iter().enumerate() {
                let count = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
                self.in_use[i].get_or_create(&labels).set(count(usage.in_use));
                self.total[i].get_or_create(&labels).set(count(usage.in_use.saturating_add(usage.available)));
            }
            shown.insert(labels);
        }
        for gone in before.difference(&shown) {
            self.total.iter().chain(&self.in_use).for_each(|family| _ = family.remove(gone));
        }
    }
}

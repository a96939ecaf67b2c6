//! What there is a series of for each address, and so thousands. A `Family` for each number would keep the address again and
//! again; here each address is kept once, with all its numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use placement::{NodeName, ServiceKey};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use speaker_core::announce::{bgp, layer2};

use super::Shown;

/// What was counted of one address.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) answers: u64,
    pub(super) gratuitous: u64,
    pub(super) refreshes: u64,
    pub(super) probes: u64,
}

/// What was counted, by address. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct ByAddress(Arc<Mutex<BTreeMap<IpAddr, Counts>>>);

/// A number of each address. There is no series of what was never counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Whether it has the suffix `_total`, as counters have; those whose names are MetalLB's have not.
    pub(super) total: bool,
    pub(super) of: fn(&Counts) -> u64,
}

impl ByAddress {
    pub(super) fn count(&self, vip: IpAddr, count: impl FnOnce(&mut Counts)) {
        count(self.lock().entry(vip).or_default());
    }

    pub(super) fn retain(&self, vips: &BTreeSet<IpAddr>) {
        self.lock().retain(|vip, _| vips.contains(vip));
    }

    /// Shows some of the numbers.
    pub(super) fn columns(&self, columns: &'static [Column]) -> Box<dyn Collector> {
        Box::new(Columns { counts: self.clone(), columns })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Columns {
    counts: ByAddress,
    columns: &'static [Column],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IpLabels {
    ip: Shown<IpAddr>,
}

impl Collector for Columns {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Whoever counts must not wait until thousands of lines are written.
        let counts: Vec<(IpAddr, Counts)> = self.counts.lock().iter().map(|(vip, it)| (*vip, *it)).collect();
        for Column { name, help, total, of } in self.columns {
            let mut series =
                counts.iter().map(|(vip, it)| (vip, of(it))).filter(|(_, count)| *count > 0).peekable();
            if series.peek().is_none() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (vip, count) in series {
                let labels = IpLabels { ip: Shown(*vip) };
                let mut one = metric.encode_family(&labels)?;
                if *total {
                    one.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
                } else {
                    // The encoder of gauges writes the number and adds nothing to the name.
                    one.encode_gauge(&count)?;
                }
            }
        }
        Ok(())
    }
}

/// How an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Layer2,
    Bgp,
}

/// What is announced from this node. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Announced(Arc<Mutex<Announcements>>);

#[derive(Debug, Default)]
struct Announcements {
    node: Option<NodeName>,
    each: BTreeSet<(ServiceKey, IpAddr, Protocol)>,
    /// How many there were when they were packed.
    packed: usize,
}

/// Fewer need not be packed.
const WORTH_PACKING: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnnouncedLabels {
    service: Shown<ServiceKey>,
    protocol: &'static str,
    node: Shown<NodeName>,
    ip: Shown<IpAddr>,
}

impl Announced {
    pub(super) fn begin(&self, node: &NodeName, service: &ServiceKey, vip: IpAddr, by: Protocol) {
        let mut it = self.lock();
        it.node.get_or_insert_with(|| node.clone());
        it.each.insert((service.clone(), vip, by));
        it.pack();
    }

    pub(super) fn end(&self, service: &ServiceKey, vip: IpAddr, by: Protocol) {
        self.lock().each.remove(&(service.clone(), vip, by));
    }

    /// Shows a 1 for each.
    pub(super) fn column(&self, name: &'static str, help: &'static str) -> Box<dyn Collector> {
        Box::new(AnnouncedColumn { name, help, announced: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Announcements> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcements {
    /// A set that has grown in its order, as at the start, has nodes that are half empty. Built anew each time that it has
    /// doubled, it takes little more than it needs, for little work.
    fn pack(&mut self) {
        self.packed = self.packed.min(self.each.len());
        if self.each.len() >= WORTH_PACKING.max(2 * self.packed) {
            self.each = std::mem::take(&mut self.each).into_iter().collect();
            self.packed = self.each.len();
        }
    }
}

#[derive(Debug)]
struct AnnouncedColumn {
    name: &'static str,
    help: &'static str,
    announced: Announced,
}

impl Collector for AnnouncedColumn {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (node, each) = {
            let it = self.announced.lock();
            (it.node.clone(), it.each.iter().cloned().collect::<Vec<_>>())
        };
        let Some(node) = node.filter(|_| !each.is_empty()) else { return Ok(()) };
        let mut metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (service, vip, by) in each {
            let protocol = match by {
                Protocol::Layer2 => layer2::PROTOCOL,
                Protocol::Bgp => bgp::PROTOCOL,
            };
            let (service, node, ip) = (Shown(service), Shown(node.clone()), Shown(vip));
            let labels = AnnouncedLabels { service, protocol, node, ip };
            metric.encode_family(&labels)?.encode_gauge(&1_u32)?;
        }
        Ok(())
    }
}

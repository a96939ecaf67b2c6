//! What can be counted. Names that MetalLB has are its names, also where convention would now want another.

mod series;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use layer2::{Ignored, NdpFrameError, Purpose};
use objects::Few;
use placement::{InterfaceName, NodeName, Released, ServiceKey};
use prometheus_client::encoding::{
    EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, MetricEncoder,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;
use series::{Announced, ByAddress, Column, Counts, Protocol};
use speaker_core::Impairment;

/// The metrics of a speaker. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    announced: Announced,
    by_address: ByAddress,
    updates: Counter,
    update_errors: Counter,
    config_loaded: Gauge,
    config_stale: Gauge,
    takeovers: Counter,
    releases: Family<ReasonLabels, Counter>,
    lines_left_out: Counter,
    proxy_overdue: Counter,
    members: Gauge,
    impaired: Family<PartLabels, Gauge>,
    interfaces: Family<ProtocolLabels, Gauge>,
    conflicts: Family<ConflictLabels, Counter>,
    frames_ignored: Family<ReasonLabels, Counter>,
    frames_not_sent: Family<InterfaceLabels, Counter>,
    groups_not_joined: Family<InterfaceLabels, Counter>,
    seen: Arc<Mutex<Seen>>,
}

/// What there are other series of that is not there for ever.
#[derive(Debug, Clone, Default)]
struct Seen {
    in_conflict: BTreeSet<IpAddr>,
    interfaces: BTreeSet<InterfaceName>,
}

/// What MetalLB counts of an address.
const COLUMNS: &[Column] = &[
    Column {
        name: "layer2_requests_received",
        help: "Requests received for addresses that are announced.",
        total: false,
        of: |counts| counts.requests,
    },
    Column {
        name: "layer2_responses_sent",
        help: "Answers to such requests.",
        total: false,
        of: |counts| counts.answers,
    },
    Column {
        name: "layer2_gratuitous_sent",
        help: "Frames sent unasked for addresses that are announced.",
        total: false,
        of: |counts| counts.gratuitous,
    },
];

/// What is counted of it besides.
const MORE_COLUMNS: &[Column] = &[
    Column {
        name: "layer2_refreshes",
        help: "Frames sent lest switches forget where an address is.",
        total: true,
        of: |counts| counts.refreshes,
    },
    Column {
        name: "layer2_probes",
        help: "Frames sent to find out whether somebody else has an address.",
        total: true,
        of: |counts| counts.probes,
    },
];

/// What a label says is made each time that somebody looks: there may be thousands of series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Shown<T>(T);

impl<T: Display> EncodeLabelValue for Shown<T> {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        write!(encoder, "{}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    part: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConflictLabels {
    ip: Shown<IpAddr>,
    /// [`TAKEN`] before it was announced, [`CLAIMED`] later, or [`PEER`] by the node of another speaker.
    found: &'static str,
}

const TAKEN: &str = "taken";
const CLAIMED: &str = "claimed";
const PEER: &str = "peer";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InterfaceLabels {
    interface: String,
}

impl Metrics {
    /// Makes the metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        let metallb = registry.sub_registry_with_prefix("metallb");
        let help = "Services announced from this node, 1 for each address.";
        metallb.register_collector(self.announced.column("speaker_announced", help));
        metallb.register_collector(self.by_address.columns(COLUMNS));
        metallb.register(
            "k8s_client_updates",
            "Changes of objects that were looked at",
            self.updates.clone(),
        );
        metallb.register(
            "k8s_client_update_errors",
            "Changes of objects that made them invalid",
            self.update_errors.clone(),
        );
        metallb.register(
            "k8s_client_config_loaded_bool",
            "1 once the configuration was loaded",
            self.config_loaded.clone(),
        );
        metallb.register(
            "k8s_client_config_stale_bool",
            "1 while some object of the configuration is not in force as it stands",
            self.config_stale.clone(),
        );

        let ferrolb = registry.sub_registry_with_prefix("ferrolb");
        ferrolb.register(
            "speaker_takeovers",
            "Services that this node began to announce",
            self.takeovers.clone(),
        );
        ferrolb.register(
            "speaker_releases",
            "Services that this node ceased to announce, by what became of them",
            self.releases.clone(),
        );
        ferrolb.register(
            "speaker_log_lines_left_out",
            "Changes of who announces a Service, and claims by others, that were not logged, because there were too many",
            self.lines_left_out.clone(),
        );
        ferrolb.register(
            "bgp_kube_proxy_overdue",
            "Services of policy Local that were announced though kube-proxy had not said that it serves them",
            self.proxy_overdue.clone(),
        );
        ferrolb.register("speaker_members", "Nodes whose speaker is alive", self.members.clone());
        ferrolb.register(
            "speaker_impaired",
            "1 while the speaker is without something that it needs, by what that is",
            self.impaired.clone(),
        );
        Impairment::ALL.into_iter().for_each(|what| self.impaired(what, false));
        ferrolb.register(
            "layer2_interfaces",
            "Interfaces of this node that are announced on, by protocol",
            self.interfaces.clone(),
        );
        ferrolb.register_collector(self.by_address.columns(MORE_COLUMNS));
        ferrolb.register(
            "layer2_conflicts",
            "Times that somebody else was found to have an address, before it was announced or later",
            self.conflicts.clone(),
        );
        ferrolb.register(
            "layer2_frames_ignored",
            "Frames received that get no answer, by reason",
            self.frames_ignored.clone(),
        );
        ferrolb.register(
            "layer2_frames_not_sent",
            "Frames that could not be sent",
            self.frames_not_sent.clone(),
        );
        ferrolb.register(
            "layer2_groups_not_joined",
            "Multicast groups that could not be joined: who asks there for an address gets no answer",
            self.groups_not_joined.clone(),
        );
    }

    pub(crate) fn impaired(&self, what: Impairment, is_missing: bool) {
        self.impaired.get_or_create(&PartLabels { part: what.label() }).set(is_missing.into());
    }

    pub(crate) fn assigned(&self, node: &NodeName, service: &ServiceKey, vips: &[IpAddr]) {
        self.takeovers.inc();
        for vip in vips {
            self.announced.begin(node, service, *vip, Protocol::Layer2);
        }
    }

    pub(crate) fn released(&self, service: &ServiceKey, vips: &[IpAddr], why: &Released) {
        let reason = match why {
            Released::Gone => "gone",
            Released::Readdressed => "readdressed",
            Released::MovedTo(_) => "moved",
            Released::Unannounced(_) => "unannounced",
        };
        self.releases.get_or_create(&ReasonLabels { reason }).inc();
        for vip in vips {
            self.announced.end(service, *vip, Protocol::Layer2);
        }
    }

    /// A Service is announced to routers with the addresses `now`, and was with those `before`.
    pub(crate) fn routed(
        &self,
        node: &NodeName,
        service: &ServiceKey,
        before: &Few<IpAddr>,
        now: &Few<IpAddr>,
    ) {
        for vip in before.iter().filter(|vip| !now.contains(vip)) {
            self.announced.end(service, *vip, Protocol::Bgp);
        }
        for vip in now {
            self.announced.begin(node, service, *vip, Protocol::Bgp);
        }
    }

    pub(crate) fn line_left_out(&self) {
        self.lines_left_out.inc();
    }

    pub(crate) fn proxy_overdue(&self, services: usize) {
        self.proxy_overdue.inc_by(u64::try_from(services).unwrap_or(u64::MAX));
    }

    pub(crate) fn members(&self, count: usize) {
        self.members.set(gauge(count));
    }

    pub(crate) fn update(&self) {
        self.updates.inc();
    }

    pub(crate) fn update_error(&self) {
        self.update_errors.inc();
    }

    pub(crate) fn config_loaded(&self) {
        self.config_loaded.set(1);
    }

    pub(crate) fn config_stale(&self, stale: bool) {
        self.config_stale.set(stale.into());
    }

    pub(crate) fn interfaces(&self, protocol: &'static str, count: usize) {
        self.interfaces.get_or_create(&ProtocolLabels { protocol }).set(gauge(count));
    }

    pub(crate) fn request_received(&self, vip: IpAddr) {
        self.by_address.count(vip, |counts| counts.requests += 1);
    }

    pub(crate) fn frame_sent(&self, vip: IpAddr, purpose: Purpose) {
        let count: fn(&mut Counts) = match purpose {
            Purpose::Answer => |counts| counts.answers += 1,
            Purpose::Takeover | Purpose::Defence => |counts| counts.gratuitous += 1,
            Purpose::Refresh => |counts| {
                counts.gratuitous += 1;
                counts.refreshes += 1;
            },
            // A series for each address that somebody has made up would fill the memory.
            Purpose::Inquiry => return,
            Purpose::Probe => |counts| counts.probes += 1,
        };
        self.by_address.count(vip, count);
    }

    pub(crate) fn taken(&self, vip: IpAddr) {
        self.conflict(vip, TAKEN);
    }

    pub(crate) fn claimed(&self, vip: IpAddr) {
        self.conflict(vip, CLAIMED);
    }

    pub(crate) fn peer_answers(&self, vip: IpAddr) {
        self.conflict(vip, PEER);
    }

    fn conflict(&self, vip: IpAddr, found: &'static str) {
        self.seen(|seen| _ = seen.in_conflict.insert(vip));
        self.conflicts.get_or_create(&ConflictLabels { ip: Shown(vip), found }).inc();
    }

    pub(crate) fn frame_ignored(&self, ignored: Ignored) {
        let reason = match ignored {
            Ignored::Arp(_) => "malformed",
            Ignored::Ndp(error) => match error {
                NdpFrameError::Truncated | NdpFrameError::Other => "malformed",
                NdpFrameError::HopLimit(_) => "hop_limit",
                NdpFrameError::Checksum => "checksum",
                NdpFrameError::Code(_) => "code",
                NdpFrameError::TargetIsGroup(_) => "target_is_group",
                NdpFrameError::SourceIsGroup(_) => "source_is_group",
                NdpFrameError::Option => "option",
                NdpFrameError::ProbeTo(_) => "probe_to_elsewhere",
                NdpFrameError::ProbeFromSomewhere => "probe_from_somewhere",
                NdpFrameError::SolicitedToGroup => "solicited_to_group",
            },
            Ignored::NotForUs => "not_for_us",
            Ignored::BadSender(_) => "bad_sender",
            Ignored::NotAnnounced => "not_announced",
            Ignored::Stale => "stale",
            Ignored::Muted => "muted",
            Ignored::NotOurs => "not_ours",
            Ignored::Peer => "peer",
            Ignored::Overruled => "overruled",
        };
        self.frames_ignored.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(crate) fn frame_not_sent(&self, interface: &InterfaceName) {
        self.seen(|seen| _ = seen.interfaces.insert(interface.clone()));
        self.frames_not_sent
            .get_or_create(&InterfaceLabels { interface: interface.as_str().to_owned() })
            .inc();
    }

    pub(crate) fn group_not_joined(&self, interface: &InterfaceName) {
        self.seen(|seen| _ = seen.interfaces.insert(interface.clone()));
        self.groups_not_joined
            .get_or_create(&InterfaceLabels { interface: interface.as_str().to_owned() })
            .inc();
    }

    /// Drops the series of all other addresses and interfaces. Meanwhile tasks may still count something of those that
    /// have just gone, so this is to be called from time to time.
    pub(crate) fn keep(&self, vips: &BTreeSet<IpAddr>, interfaces: &BTreeSet<InterfaceName>) {
        self.by_address.retain(vips);
        let (mut gone, mut gone_interfaces) = (Vec::new(), Vec::new());
        self.seen(|seen| {
            gone.extend(seen.in_conflict.extract_if(.., |vip| !vips.contains(vip)));
            gone_interfaces.extend(seen.interfaces.extract_if(.., |name| !interfaces.contains(name)));
        });
        for vip in gone {
            for found in [TAKEN, CLAIMED, PEER] {
                self.conflicts.remove(&ConflictLabels { ip: Shown(vip), found });
            }
        }
        for name in gone_interfaces {
            let labels = InterfaceLabels { interface: name.as_str().to_owned() };
            self.frames_not_sent.remove(&labels);
            self.groups_not_joined.remove(&labels);
        }
    }

    fn seen(&self, update: impl FnOnce(&mut Seen)) {
        update(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A counter without the suffix `_total` that [`Counter`] adds: dashboards know these names without it.
#[derive(Debug, Default)]
pub(crate) struct PlainCounter(Counter);

impl PlainCounter {
    /// Counts up to `value`, which somebody else counts.
    pub(crate) fn reach(&self, value: u64) {
        self.0.inc_by(value.saturating_sub(self.0.get()));
    }
}

impl EncodeMetric for PlainCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // The encoder of gauges writes the number and adds nothing to the name.
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl TypedMetric for PlainCounter {
    const TYPE: MetricType = MetricType::Counter;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_know() {
        let metrics = Metrics::default();
        let vip = "192.0.2.1".parse().unwrap();
        let service = ServiceKey::new("default", "web");
        metrics.assigned(&"n1".into(), &service, &[vip]);
        metrics.request_received(vip);
        metrics.frame_sent(vip, Purpose::Answer);
        metrics.frame_sent(vip, Purpose::Takeover);
        metrics.frame_sent(vip, Purpose::Refresh);
        metrics.frame_sent(vip, Purpose::Probe);
        metrics.taken(vip);
        metrics.frame_ignored(Ignored::NotAnnounced);
        metrics.update();
        metrics.update_error();
        metrics.config_loaded();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let shown = text(&registry);
        for line in [
            "metallb_speaker_announced{service=\"default/web\",protocol=\"layer2\",node=\"n1\",ip=\"192.0.2.1\"} 1",
            "# TYPE metallb_layer2_requests_received counter",
            "metallb_layer2_requests_received{ip=\"192.0.2.1\"} 1",
            "metallb_layer2_responses_sent{ip=\"192.0.2.1\"} 1",
            "metallb_layer2_gratuitous_sent{ip=\"192.0.2.1\"} 2",
            "metallb_k8s_client_updates_total 1",
            "metallb_k8s_client_update_errors_total 1",
            "metallb_k8s_client_config_loaded_bool 1",
            "metallb_k8s_client_config_stale_bool 0",
            "ferrolb_speaker_takeovers_total 1",
            "ferrolb_layer2_refreshes_total{ip=\"192.0.2.1\"} 1",
            "ferrolb_layer2_probes_total{ip=\"192.0.2.1\"} 1",
            "ferrolb_layer2_conflicts_total{ip=\"192.0.2.1\",found=\"taken\"} 1",
            "ferrolb_layer2_frames_ignored_total{reason=\"not_announced\"} 1",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
        metrics.released(&service, &[vip], &Released::Gone);
        assert!(!text(&registry).contains("metallb_speaker_announced{"));
        assert!(text(&registry).contains("ferrolb_speaker_releases_total{reason=\"gone\"} 1"));
    }

    #[test]
    fn what_is_gone_has_no_series_any_more() {
        let metrics = Metrics::default();
        let [stays, goes] = ["2001:db8::1", "2001:db8::2"].map(|vip| vip.parse().unwrap());
        let [eth0, eth1] = ["eth0", "eth1"].map(InterfaceName::from);
        let count = || {
            for vip in [stays, goes] {
                metrics.request_received(vip);
                let purposes = [Purpose::Answer, Purpose::Takeover, Purpose::Refresh, Purpose::Probe];
                purposes.iter().for_each(|purpose| metrics.frame_sent(vip, *purpose));
                metrics.taken(vip);
                metrics.claimed(vip);
                metrics.peer_answers(vip);
            }
            for interface in [&eth0, &eth1] {
                metrics.frame_not_sent(interface);
                metrics.group_not_joined(interface);
            }
        };
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let lines_with = |word: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text.lines().filter(|line| line.contains(word)).count()
        };
        // Also when something is counted after it is gone.
        for _ in 0..2 {
            count();
            assert_eq!((lines_with("2001:db8::2"), lines_with("eth1")), (8, 2));
            metrics.keep(&[stays].into(), &[eth0.clone()].into());
            assert_eq!((lines_with("2001:db8::2"), lines_with("eth1")), (0, 0));
            assert_eq!((lines_with("2001:db8::1"), lines_with("eth0")), (8, 2));
        }
    }
}

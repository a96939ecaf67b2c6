//! What the core decided is done: by the LAN side, the gossip, and the writers; and it is counted and logged.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{self, ObjectReference};
use k8s_openapi::jiff::Timestamp;
use kubekit::events::Notice;
use kubekit::keep::Wanted;
use objects::text::listed;
use objects::{BgpPeerName, Few};
use placement::{Change, Released, ServiceKey, Unadvertised, Unannounced};
use speaker_core::announce::bgp::Asking;
use speaker_core::{ConfigurationNews, Gossip, Impact, Impairment, Output, Severity};
use tracing::{debug, info, warn};

use super::{Cluster, TURN};
use crate::status::Reported;
use crate::{configuration, ipvs, status};

impl Cluster {
    /// Does what follows from what the core was told, with pauses for others.
    pub(super) async fn carry_out_all(&mut self) {
        while self.carry_out_for_a_turn() {
            tokio::task::yield_now().await;
        }
    }

    /// Does so much of it that others need not wait for long. Whether there is more to do.
    pub(super) fn carry_out_for_a_turn(&mut self) -> bool {
        let begin = Instant::now();
        self.log.poll(begin);
        while let Some(output) = self.core.poll_output() {
            // By then it is known what all peers are to be told. They are told while of thousands of Services it is written down.
            if matches!(output, Output::BgpStatus { .. }) {
                self.routers.publish();
            }
            self.carry_out(output);
            if begin.elapsed() >= TURN {
                return true;
            }
        }
        self.routers.publish();
        self.publish_names();
        false
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Ports(ports) => {
                if let Some(names) = &mut self.names {
                    names.set_ports(&ports);
                }
                kubekit::send_if_new(&self.outputs.ports, ports);
            }
            Output::Gossip(instruction) => {
                if let Gossip::ConfirmLeave(node) = &instruction {
                    debug!(%node, "member may go");
                }
                (self.outputs.gossip)(instruction);
            }
            Output::Moved(Change::Assigned { service, vips }) => {
                self.log.elected(&service, &vips);
                self.metrics.assigned(&self.node, &service, &vips);
            }
            Output::Moved(Change::Released { service, vips, why }) => {
                self.log.no_longer_elected(&service, &vips, &words(&why));
                self.metrics.released(&service, &vips, &why);
            }
            Output::Notice(service, notice) => {
                if let Some(uid) = self.uids.get(&service) {
                    self.outputs.publisher.publish(reference(&service, uid), translate(notice));
                }
            }
            Output::Status { service, interfaces } => {
                self.log.interfaces(&service, interfaces.as_ref());
                if let Some(statuses) = &self.outputs.statuses {
                    let name = status::name(&self.node, &service);
                    statuses.set(name, interfaces.map(|interfaces| Reported { service, interfaces }));
                }
            }
            Output::BgpSessions(sessions) => self.routers.set_sessions(sessions),
            Output::BgpRoutes(peer, routes) => self.routers.set_routes(peer, routes),
            Output::BgpSecrets(secrets) => self.routers.set_secrets(secrets),
            Output::AskProxy(service, Asking::Begin) => {
                let port = self.health_ports.get(&service).copied();
                self.routers.ask_proxy(service, port);
            }
            Output::AskProxy(service, Asking::End) => self.routers.proxy_is_done(&service),
            Output::ProxyOverdue(services) => self.proxy_overdue(&services),
            Output::BgpStatus { service, peers, before, vips } => {
                self.routed(service, peers, &before, &vips);
            }
            Output::BgpStatusesComplete => self.routers.reports_complete(),
            Output::StatusesComplete => self.outputs.statuses.iter().for_each(Wanted::complete),
            Output::LastStatuses => {
                self.outputs.statuses = None;
                self.routers.last_reports();
            }
            // The core waits for what comes of it before there is more to remove, so there is room.
            Output::LeftOver(left_over) => _ = self.outputs.left_over.try_send(left_over),
            Output::Absence(absence) => _ = self.outputs.absence.send_replace(absence),
            Output::Members(count) => self.metrics.members(count),
            Output::Reached(list) => self.readiness.reached(list.name()),
            Output::Loaded => self.metrics.config_loaded(),
            Output::Conceded(vips) => self.log.conceded(&vips),
            Output::Disputed(by_node) => self.log.disputed(by_node),
            Output::Impaired(what, impact) => {
                if let Some(notice) = self.impaired(what, impact) {
                    self.outputs.publisher.publish(ipvs::reference(&self.node), notice);
                }
            }
            Output::SameLan(interfaces) => {
                let interfaces = listed(&interfaces);
                info!(
                    interfaces,
                    "interfaces are on one LAN with others of this node: one of them answers for an address"
                );
            }
            Output::Configuration(news) => {
                self.sessions.configured(&news, Timestamp::now());
                self.configured(news);
            }
            Output::Problems(problems) => {
                self.problems = Some(problems);
                self.report_state();
            }
        }
    }

    /// A Service is announced to these routers.
    fn routed(
        &self,
        service: ServiceKey,
        peers: Arc<BTreeSet<BgpPeerName>>,
        before: &Few<IpAddr>,
        vips: &Few<IpAddr>,
    ) {
        if peers.is_empty() {
            info!(%service, "no longer announcing to routers");
        } else {
            info!(%service, vips = listed(vips), peers = listed(&*peers), "announcing to routers");
        }
        let name = status::routed::name(&self.node, &service);
        self.metrics.routed(&self.node, &service, before, vips);
        self.routers.report(service, peers, name);
    }

    /// These Services are announced though kube-proxy has not said that it serves them.
    fn proxy_overdue(&self, services: &BTreeSet<ServiceKey>) {
        services.iter().for_each(|service| self.routers.proxy_is_done(service));
        let (count, first) = (services.len(), services.first().map(ToString::to_string));
        warn!(
            count,
            first,
            "announcing Services of policy Local to routers though kube-proxy has not said on their healthCheckNodePort that it serves them"
        );
        self.metrics.proxy_overdue(count);
    }

    /// Says what is wrong with the configuration, once that is known, and what the controller must know of this node.
    pub(super) fn report_state(&self) {
        let Some(problems) = &self.problems else { return };
        let (listeners, sessions) = (self.listeners.as_ref(), self.sessions.conditions());
        let status = configuration::status(problems, self.mode, listeners, sessions, Timestamp::now());
        self.outputs.state.set(configuration::name(&self.node), Some(status));
        self.outputs.state.complete();
    }

    /// This speaker is without something, or has it again; what there is to tell of its node.
    pub(super) fn impaired(&self, what: Impairment, impact: Impact) -> Option<Notice> {
        self.metrics.impaired(what, impact != Impact::None);
        match impact {
            Impact::None => {
                info!(what = what.name(), "there again");
                self.readiness.reached(what.name());
                None
            }
            Impact::NotReady => {
                warn!(waiting_for = what.name(), "not ready");
                self.readiness.lost(what.name());
                what.notice().map(translate)
            }
            Impact::Tolerated => {
                warn!(waiting_for = what.name(), "still missing, but ready, so that rollouts go on");
                self.readiness.reached(what.name());
                None
            }
        }
    }

    fn configured(&self, news: ConfigurationNews) {
        match news {
            ConfigurationNews::Invalid { kind, name, error, new } => {
                if new {
                    warn!(kind, name, error, "not all of it is in force");
                }
                self.metrics.update_error();
                self.metrics.config_stale(true);
            }
            ConfigurationNews::Valid { kind, name, all } => {
                info!(kind, name, "valid again");
                self.metrics.config_stale(!all);
            }
        }
    }
}

/// What became of a Service that is no longer announced from here.
fn words(why: &Released) -> String {
    match why {
        Released::Gone => "it is gone, or is not to be announced any more".to_owned(),
        Released::Readdressed => "other addresses of it are announced from here".to_owned(),
        Released::MovedTo(node) => format!("node {node} announces it"),
        Released::Unannounced(reason) => {
            let reason = match reason {
                Unannounced::Unadvertised(Unadvertised::NoPool) => "no pool has its addresses",
                Unannounced::Unadvertised(Unadvertised::NoEndpoint) => "it has no serving endpoint",
                Unannounced::Unadvertised(Unadvertised::NoAdvertisement) => "no advertisement is for it",
                Unannounced::Unadvertised(Unadvertised::SharedYetSelected) => {
                    "its address can be shared, and an advertisement selects Services"
                }
                Unannounced::NoCandidate => "no live node may announce it",
                Unannounced::NoInterface => "no live node has an interface for it",
                Unannounced::SharedElsewhere { with } => {
                    return format!("nobody announces it: its address is announced for {with}");
                }
            };
            format!("nobody announces it: {reason}")
        }
    }
}

/// A Service, as events name what they are about.
pub(super) fn reference(service: &ServiceKey, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(v1::Service::API_VERSION.to_owned()),
        kind: Some(v1::Service::KIND.to_owned()),
        namespace: Some(service.namespace.to_string()),
        name: Some(service.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

fn translate(notice: speaker_core::Notice) -> Notice {
    let speaker_core::Notice { severity, reason, message } = notice;
    match severity {
        Severity::Normal => Notice::normal(reason, message),
        Severity::Warning => Notice::warning(reason, message),
    }
}

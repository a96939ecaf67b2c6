//! What the core decided is done: by the LAN side, the gossip, and the writers; and it is counted and logged.

use k8s_openapi::jiff::Timestamp;
use kubekit::events::Notice;
use placement::Change;
use speaker_core::{ConfigurationNews, Gossip, Output, Severity, Trouble};
use tracing::{debug, info, warn};

use super::Cluster;
use crate::status::left_over::Known;
use crate::{configuration, status};

impl Cluster {
    /// Does what follows from what the core was told.
    pub(super) fn carry_out_all(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Ports(ports) => {
                self.outputs.ports.send_if_modified(|current| {
                    let different = *current != ports;
                    *current = ports;
                    different
                });
            }
            Output::Gossip(instruction) => {
                if let Gossip::ConfirmLeave(node) = &instruction {
                    debug!(%node, "member may go");
                }
                (self.outputs.gossip)(instruction);
            }
            Output::Moved(Change::Assigned { service, vips }) => {
                info!(%service, ?vips, "announcing");
                self.metrics.assigned(&self.node, &service, &vips);
            }
            Output::Moved(Change::Released { service, vips, why }) => {
                info!(%service, ?vips, ?why, "no longer announcing");
                self.metrics.released(&self.node, &service, &vips, &why);
            }
            Output::Notice(service, notice) => {
                if let Some(reference) = self.references.get(&service) {
                    self.outputs.publisher.publish(reference.clone(), translate(notice));
                }
            }
            Output::Statuses(statuses) => {
                self.reported = Some(statuses);
                self.publish_statuses();
                self.publish_known();
            }
            Output::LastStatuses => self.outputs.statuses = None,
            Output::Absence(absence) => _ = self.outputs.absence.send_replace(absence),
            Output::Members(count) => self.metrics.members(count),
            Output::Reached(list) => self.readiness.reached(list.name()),
            Output::Loaded => self.metrics.config_loaded(),
            Output::Trouble(trouble) => {
                for one in [Trouble::Unbound, Trouble::OtherKey] {
                    if trouble == Some(one) {
                        warn!(waiting_for = one.name(), "not ready, and nothing is taken over");
                        self.readiness.lost(one.name());
                    } else {
                        self.readiness.reached(one.name());
                    }
                }
            }
            Output::Configuration(news) => self.configured(news),
            Output::Problems(problems) => {
                self.problems = Some(problems);
                self.publish_state();
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

    pub(super) fn publish_statuses(&self) {
        let (Some(reported), Some(sender)) = (&self.reported, &self.outputs.statuses) else { return };
        let status = |it: &speaker_core::Status| {
            status::status(&self.node, self.owner.as_ref(), &it.service, &it.interfaces)
        };
        let statuses = Some(reported.iter().map(status).collect());
        sender.send_if_modified(|current| {
            let different = *current != statuses;
            *current = statuses;
            different
        });
    }

    /// What is not settled says nothing of who is dead.
    pub(super) fn publish_known(&self) {
        let known = (self.hears && self.view.settled).then(|| {
            let announced = self.reported.iter().flatten().map(|it| it.service.clone()).collect();
            let others = self.view.members.union(&self.view.away).cloned();
            Known { announced, alive: others.chain([self.node.clone()]).collect() }
        });
        self.outputs.known.send_if_modified(|current| {
            let different = *current != known;
            *current = known;
            different
        });
    }

    pub(super) fn publish_state(&self) {
        if let Some(problems) = &self.problems {
            let state = configuration::state(&self.node, self.owner.as_ref(), problems, Timestamp::now());
            self.outputs.state.send_replace(Some(state));
        }
    }
}

fn translate(notice: speaker_core::Notice) -> Notice {
    let speaker_core::Notice { severity, reason, message } = notice;
    match severity {
        Severity::Normal => Notice::normal(reason, message),
        Severity::Warning => Notice::warning(reason, message),
    }
}

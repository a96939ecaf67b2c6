//! What others are told of what was decided: the LAN side, the gossip, and through the API server everybody.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::jiff::Timestamp;
use layer2::Friends;
use tracing::debug;

use super::Cluster;
use crate::watches::SPEAKERS;
use crate::{configuration, status};

impl Cluster {
    /// Lets others see what has changed.
    pub(super) fn publish(&mut self, now: Instant) {
        self.publish_peers();
        self.outputs.absence.send_replace(self.prospects.absence());
        if !self.missing.is_empty() {
            return;
        }
        if !self.stopping {
            self.unreported |= self.publish_wanted();
        }
        if std::mem::take(&mut self.unreported) {
            let announcements = self.placement.announcements();
            for (service, notice) in self.outcomes.judge(announcements, self.placement.announced()) {
                self.tell(&service, notice);
            }
            self.publish_statuses();
        }
        if self.stopping {
            self.outputs.statuses = None;
        }
        self.publish_state();
        self.outputs.said.send_if_modified(|said| !std::mem::replace(&mut said.ready, true));
        for node in self.handovers.complete(now) {
            debug!(%node, "member may go");
            self.outputs.said.send_if_modified(|said| said.farewells.insert(node));
        }
    }

    fn publish_peers(&self) {
        if self.missing.contains(&SPEAKERS) {
            return;
        }
        let mut peers = self.speakers.listening_on(self.gossip_address.port());
        peers.remove(&self.node);
        self.outputs.said.send_if_modified(|said| {
            let different = said.peers.as_ref() != Some(&peers);
            said.peers = Some(peers);
            different
        });
    }

    /// Whether the announcements are others than before.
    fn publish_wanted(&self) -> bool {
        let announcements = self.placement.announcements();
        let known = self.fellows.values().flatten().copied().collect();
        let fellows = Friends { known, unknown: self.unknown };
        let mut others = false;
        self.outputs.wanted.send_if_modified(|current| {
            others = *current.announcements != *announcements;
            if others {
                current.announcements = Arc::new(announcements.clone());
            }
            let different = (&current.fellows, &current.silent) != (&fellows, &self.silent);
            (current.fellows, current.silent) = (fellows, self.silent.clone());
            others || different
        });
        others
    }

    fn publish_statuses(&self) {
        let announced =
            self.placement.announced().filter(|(service, ..)| self.outcomes.is_announced(service));
        let status =
            |(service, _, interfaces)| status::status(&self.node, self.owner.as_ref(), service, interfaces);
        let statuses = Some(announced.map(status).collect());
        if let Some(sender) = &self.outputs.statuses {
            sender.send_if_modified(|current| {
                let different = *current != statuses;
                *current = statuses;
                different
            });
        }
    }

    fn publish_state(&mut self) {
        let news = (self.owner.clone(), self.configuration.problems());
        if self.reported.as_ref() != Some(&news) {
            let (owner, problems) = self.reported.insert(news);
            let state = configuration::state(&self.node, owner.as_ref(), problems, Timestamp::now());
            self.outputs.state.send_replace(Some(state));
        }
    }
}

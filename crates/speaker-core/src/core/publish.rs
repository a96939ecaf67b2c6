//! What others are told of what was decided: the ports, the gossip, and through the API server everybody.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use placement::{History, NodeProfile};

use super::Core;
use crate::output::{Gossip, Output};
use crate::peers::profile;

/// By then it is known of all addresses what has come of them, unless an interface cannot be used.
const STATUSES: Duration = Duration::from_secs(10);
/// So often at once is told what has become of contested and disputed addresses: a dispute about one address takes a few
/// steps, and two answer for it meanwhile;
pub(super) const TOLD_AT_ONCE: u32 = 4;
/// and then once in this time.
pub(super) const TOLD_EACH: Duration = Duration::from_millis(200);

impl Core {
    /// Something to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() && std::mem::take(&mut self.stale.any) {
            self.publish();
        }
        let output = self.outputs.pop_front();
        // At the start there are thousands, and never again.
        if output.is_none() {
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Lets others see what has changed.
    fn publish(&mut self) {
        let absence = self.departure.absence();
        if std::mem::replace(&mut self.published.absence, absence) != absence {
            self.outputs.push_back(Output::Absence(absence));
        }
        let members = self.view.members.len();
        if self.published.members.replace(members) != Some(members) {
            self.outputs.push_back(Output::Members(members));
        }
        self.publish_ports();
        let done: Vec<_> = self.handovers.complete(self.now).collect();
        done.into_iter().for_each(|node| self.gossip(Gossip::ConfirmLeave(node)));
        if !self.missing.is_empty() {
            self.publish_profile();
            if self.stopping {
                self.last_statuses();
            }
            return;
        }
        if !std::mem::replace(&mut self.published.loaded, true) {
            self.outputs.push_back(Output::Loaded);
            self.gossip(Gossip::TakePart);
            self.published.statuses_due = Some(self.now + STATUSES);
        }
        self.publish_outcomes();
        if std::mem::take(&mut self.stale.problems) {
            self.outputs.push_back(Output::Problems(self.configuration.problems()));
        }
        self.publish_profile();
    }

    fn publish_ports(&mut self) {
        if std::mem::take(&mut self.stale.known_macs) {
            let known_macs = self.peers.known_macs();
            // Who is heard again has nothing that is not known.
            let peers = &self.peers;
            self.wanted.rivals.retain(|_, of| {
                of.retain(|(_, mac), _| peers.is_unheard(*mac));
                !of.is_empty()
            });
            self.stale.ports |= self.wanted.known_macs != known_macs;
            self.wanted.known_macs = known_macs;
        }
        let announcements = self.placement.announcements();
        let complete = self.missing.is_empty() && !self.stopping;
        if complete
            && std::mem::take(&mut self.stale.announcements)
            && *announcements != self.wanted.announcements
        {
            let before = std::mem::replace(&mut self.wanted.announcements, announcements.clone());
            let takeovers: BTreeSet<_> = announcements.values().map(|it| it.takeover).collect();
            let fresh = announcements.iter().filter(|(vip, it)| {
                it.history == History::Standby
                    && before.get(vip).is_none_or(|known| known.takeover != it.takeover)
            });
            let contested = fresh.filter(|(vip, _)| self.peers.is_contested(**vip));
            self.wanted.contested.extend(contested.map(|(_, it)| it.takeover));
            self.wanted.contested.retain(|takeover| takeovers.contains(takeover));
            self.wanted.handed_over.retain(|takeover, _| takeovers.contains(takeover));
            self.wanted.rivals.retain(|vip, _| announcements.contains_key(vip));
            (self.stale.ports, self.stale.outcomes) = (true, true);
        }
        if std::mem::take(&mut self.stale.ports) {
            self.plan.follow(&self.wanted);
            self.outputs.push_back(Output::Ports(self.plan.ports().clone()));
        }
    }

    fn publish_outcomes(&mut self) {
        let overdue = !self.published.statuses_complete
            && self.published.statuses_due.is_some_and(|due| due <= self.now);
        let stale = std::mem::take(&mut self.stale.outcomes);
        if !stale && !overdue || self.published.last_statuses {
            return;
        }
        let services = self.placement.announced();
        for (service, notice) in self.outcomes.judge(self.placement.announcements(), services, self.now) {
            self.outputs.push_back(Output::Notice(service, notice));
        }
        self.publish_statuses();
        if self.stopping {
            self.last_statuses();
        }
    }

    /// Of each Service that is announced from here there is a status.
    fn publish_statuses(&mut self) {
        let before = &self.published.statuses;
        let ended = before.keys().filter(|service| !self.outcomes.is_announced(service));
        let ended = ended.map(|service| (service.clone(), None));
        let announced =
            self.placement.announced().filter(|(service, ..)| self.outcomes.is_announced(service));
        let different = announced.filter(|(service, _, interfaces)| before.get(service) != Some(interfaces));
        let different = different.map(|(service, _, interfaces)| (service.clone(), Some(interfaces.clone())));
        for (service, interfaces) in ended.chain(different).collect::<Vec<_>>() {
            let statuses = &mut self.published.statuses;
            match &interfaces {
                Some(interfaces) if statuses.insert(service.clone(), interfaces.clone()).is_none() => {
                    self.suspects.came(service.clone(), self.now);
                }
                Some(_) => {}
                None => {
                    statuses.remove(&service);
                    self.suspects.went(&service);
                }
            }
            self.outputs.push_back(Output::Status { service, interfaces });
        }
        if !self.published.statuses_complete && self.are_statuses_complete() {
            self.published.statuses_complete = true;
            self.outputs.push_back(Output::StatusesComplete);
        }
    }

    /// What this node announced before its speaker started again is announced once the LAN has said so: until then, no status
    /// of it is to be deleted.
    fn are_statuses_complete(&self) -> bool {
        let overdue = self.published.statuses_due.is_some_and(|due| due <= self.now);
        let mut services = self.placement.announced();
        overdue
            || self.stopping
            || services.all(|(_, vips, interfaces)| self.outcomes.is_known(vips, interfaces))
    }

    /// Contested or disputed addresses may become known one by one, a thousand of them, and everybody is told the whole each time: so
    /// those that follow the first few are told together.
    fn publish_profile(&mut self) {
        // Who leaves gives everything up; but whoever takes over from it must know what it did not answer for.
        let contested =
            if self.stopping { self.profile.contested.clone() } else { self.outcomes.contested() };
        let (disputed, conceded) = (self.disputes.disputed(), self.told_conceded.clone());
        let kept = self.placement.kept().clone();
        let told = NodeProfile { contested, disputed, conceded, kept, ..self.profile.clone() };
        if self.profile == told {
            self.tell_profile_at = None;
        } else if let Err(again) = self.profile_budget.take(self.now) {
            self.tell_profile_at = Some(again);
        } else {
            if self.profile.disputed.by_node != told.disputed.by_node {
                self.outputs.push_back(Output::Disputed(told.disputed.by_node.clone()));
            }
            self.profile = told;
            self.tell_profile_at = None;
        }
        if self.published.profile != self.profile {
            self.published.profile = self.profile.clone();
            self.gossip(Gossip::SetProfile(profile(&self.profile)));
        }
    }

    fn last_statuses(&mut self) {
        if !std::mem::replace(&mut self.published.last_statuses, true) {
            self.outputs.push_back(Output::LastStatuses);
        }
    }
}

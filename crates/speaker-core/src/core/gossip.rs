//! What follows from the gossip.

use std::collections::BTreeSet;
use std::sync::Arc;

use members::{Absence, Event, LinkState, News, View};
use placement::{Interfaces, Takeover};

use super::Core;
use crate::input::{List, Trouble};

impl Core {
    /// Announces everything afresh that is announced here, if that is due. Others may have answered meanwhile.
    ///
    /// Whoever has the gossip's key can hold us dead, or come back itself, as often as it can send. What was announced
    /// afresh a moment ago is being repeated, so after a few it waits for that to end, and then counts as one.
    pub(super) fn reassert(&mut self) {
        if self.reassert_due.is_some_and(|due| due <= self.now) {
            self.reassert_due = self.reasserts.take(self.now).err();
            if self.reassert_due.is_none() {
                self.placement.reassert();
                self.stale.announcements = true;
            }
        }
    }

    /// What is not settled is no ground to act on: what was known before stays, but nothing is said of it, since the
    /// others may have acted meanwhile. Interfaces that were there all along go on while another one is cut off: the
    /// same switch may have failed for all nodes.
    pub(super) fn members(&mut self, news: News) {
        let News { events, view } = news;
        self.latest = Arc::clone(&view);
        for event in events {
            self.happened(event, &view);
        }
        for node in self.peers.read(&view) {
            self.stale.known_macs = true;
            if let Some(told) = self.peers.told(&node) {
                self.placement.set_conceded(&node, &told.conceded);
            }
            if let Some(kept) = self.peers.kept(&node) {
                self.placement.set_kept(&node, kept);
            }
            if let Some((abilities, prefixes)) = self.peers.abilities(&node) {
                self.placement.set_abilities(node.clone(), abilities.clone());
                self.placement.set_prefixes(node, prefixes.clone());
            }
        }
        self.stale.known_macs |= self.peers.update(&self.node, &view, self.now);
        if view.settled && self.link == LinkState::Up && self.cut.take().is_some() {
            self.follow_abilities();
        }
        self.follow_isolation();
        let muted = match &self.cut {
            _ if view.settled || self.stopping => None,
            Some(interface) => Some(Interfaces::only([interface.clone()])),
            None => Some(Interfaces::All),
        };
        if self.wanted.muted != muted {
            self.wanted.muted = muted;
            self.stale.ports = true;
        }
        // Who cannot gossip knows nothing of the others, so nothing falls to it.
        if view.settled && view != self.view && self.trouble.is_none() {
            self.view = view;
            self.follow_members();
        }
        self.follow_suspects();
    }

    /// Who is alive tells whose reports are left over. While this speaker does not hear the others, nobody knows.
    fn follow_suspects(&mut self) {
        let View { members, away, settled, .. } = &*self.latest;
        let alive = || members.union(away).chain([&self.node]).cloned().collect();
        let alive = (*settled && self.trouble.is_none()).then(alive);
        self.suspects.follow(&self.node, alive, self.published.statuses.keys(), self.now);
    }

    /// Who is cut off goes by what the LAN says of its peers.
    pub(super) fn follow_isolation(&mut self) {
        self.stale.known_macs |= self.peers.set_isolated(self.trouble.is_some() || self.cut.is_some());
    }

    pub(super) fn trouble(&mut self, trouble: Option<Trouble>) {
        if self.trouble != trouble {
            self.trouble = trouble;
            self.follow_trouble();
            self.follow_isolation();
            if trouble.is_none() {
                let view = Arc::clone(&self.latest);
                if view.settled {
                    self.reached(List::Members);
                }
                self.members(News { events: vec![], view });
            }
            self.follow_suspects();
        }
    }

    pub(super) fn follow_members(&mut self) {
        if !self.stopping {
            self.placement.set_members(self.view.members.clone());
            self.placement.set_away(self.view.away.clone());
        }
    }

    /// Something happened among the members, who are those of `after` now.
    fn happened(&mut self, event: Event, after: &View) {
        match event {
            Event::Returned(_) | Event::PresumedDead => {
                self.reassert_due.get_or_insert(self.now);
            }
            Event::Leaving { node, absence } => {
                let view = Arc::make_mut(&mut self.view);
                view.members.remove(&node);
                match absence {
                    Absence::Brief => _ = view.away.insert(node.clone()),
                    Absence::Open => view.away.clear(),
                }
                self.peers.leaves(node.clone(), self.now);
                self.stale.known_macs = true;
                let before = self.placement.last_takeover();
                self.follow_members();
                self.settle();
                let takeovers = self.placement.takeovers_since(before);
                self.hand_over(&takeovers);
                self.handovers.begin(node, takeovers, self.now);
            }
            // It is back already, and what it did in between is not known.
            Event::Lost { node, .. } | Event::Replaced(node)
                if after.settled && after.members.contains(&node) && self.view.members.contains(&node) =>
            {
                Arc::make_mut(&mut self.view).members.remove(&node);
                self.follow_members();
                self.settle();
            }
            // What follows from these is in the view.
            Event::Joined(_)
            | Event::Lost { .. }
            | Event::Replaced(_)
            | Event::Confirmed { .. }
            | Event::Stalled(_)
            | Event::Profile(_)
            | Event::Overdue(_)
            | Event::WrongAddress { .. }
            | Event::Departed { .. } => {}
        }
    }

    /// These takeovers follow from a goodbye: who leaves answers until they are done, so the LAN need not be asked, but for
    /// what it does not answer for because some other host does.
    fn hand_over(&mut self, takeovers: &BTreeSet<Takeover>) {
        let opened = self.plan.opened();
        for (vip, announcement) in self.placement.announcements() {
            if takeovers.contains(&announcement.takeover) && !self.peers.is_contested(*vip) {
                self.wanted.handed_over.insert(announcement.takeover, opened);
            }
        }
    }
}

//! Who comes and who goes.

use std::collections::BTreeSet;
use std::time::Instant;

use objects::NodeName;

use super::send::News;
use super::{Death, Members, Phase, Standing};
use crate::config::Role;
use crate::frame::Body;
use crate::identity::Identity;
use crate::ring::Ring;
use crate::swim::Note;
use crate::{Event, rebirths};

impl Members {
    /// We have found `name` dead.
    pub(super) fn declare(&mut self, name: &NodeName, now: Instant) {
        let Some(identity) = self.peers.get(name).and_then(|peer| peer.identity.clone()) else { return };
        self.record_death(&identity, self.swim.identity().name.clone());
        self.swim.down(identity.clone(), now);
        self.drain_swim(now);
        self.tell(News::Dead(identity), now);
    }

    /// `monitor` has found `identity` dead.
    pub(super) fn on_death(&mut self, identity: Identity, monitor: NodeName, now: Instant) {
        let name = &identity.name;
        let known = self.peers.get(name).and_then(|peer| peer.identity.as_ref());
        if known.is_none_or(|known| known.generation > identity.generation) {
            return;
        }
        let grown = self.record_death(&identity, monitor);
        if self.judges() && self.monitor.doubts(name) {
            // We are about to find the same.
            self.declare(name, now);
        } else if self.peers.get(name).is_some_and(|peer| peer.standing == Standing::Lost) && grown {
            let confirmed_by = self.deaths[name].by.clone();
            self.events.push_back(Event::Confirmed { node: name.clone(), confirmed_by });
        } else {
            self.swim.down(identity, now);
        }
    }

    /// Whether that is news.
    fn record_death(&mut self, identity: &Identity, monitor: NodeName) -> bool {
        let fresh = || Death { generation: identity.generation, by: BTreeSet::new() };
        let death = self.deaths.entry(identity.name.clone()).or_insert_with(fresh);
        if death.generation < identity.generation {
            *death = fresh();
        }
        death.by.insert(monitor)
    }

    /// Sends and does what SWIM wants.
    pub(super) fn drain_swim(&mut self, now: Instant) {
        let mut changed = false;
        while let Some(note) = self.swim.poll_note() {
            match note {
                Note::MemberUp(identity) => {
                    self.comes(identity, now);
                    changed = true;
                }
                Note::MemberDown(identity) => {
                    changed |= self.goes(&identity, now);
                }
                Note::Rename(_, identity) => {
                    changed |= self.renamed(identity, now);
                }
                // Of our own death foca is told nothing.
                Note::Rejoin(_) | Note::Active | Note::Idle | Note::Defunct => {}
            }
        }
        if changed {
            self.regroup(now);
        }
        while let Some((to, message)) = self.swim.poll_send() {
            if let Some(address) = self.reach(&to) {
                self.send_at(address, &to.name, Body::Swim(message));
            }
        }
    }

    /// Others tell of our death. We come back, now or soon.
    pub(super) fn died(&mut self, death: rebirths::Death, now: Instant) {
        if self.rebirths.allow(death, now) {
            self.come_back(death, now);
        }
    }

    /// Begins another life and tells everybody, unless one has begun since.
    pub(super) fn come_back(&mut self, death: rebirths::Death, now: Instant) {
        let rebirths::Death { generation, held_dead } = death;
        let own = self.swim.identity().generation;
        if generation >= own {
            self.swim.outlive(self.generations.next(own, generation, now), now);
        }
        if held_dead {
            self.events.push_back(Event::PresumedDead);
        }
        self.tell(News::Myself, now);
        self.drain_swim(now);
    }

    /// Somebody is alive who was not.
    fn comes(&mut self, identity: Identity, now: Instant) {
        let name = identity.name.clone();
        self.deaths.remove(&name);
        let takes_part = self.role() == Role::Speaker;
        let peer = self.peers.entry(name.clone()).or_default();
        let known =
            peer.identity.as_ref().filter(|known| known.boot == identity.boot).map(|known| known.role);
        let counted = peer.standing == Standing::Alive && known == Some(Role::Speaker);
        let event = match identity.role {
            _ if !peer.is_vouched_for() => None,
            Role::Speaker if counted => None,
            Role::Speaker if std::mem::take(&mut peer.missed) => Some(Event::Returned(name.clone())),
            Role::Speaker => Some(Event::Joined(name.clone())),
            Role::Observer => peer.is_member().then(|| Event::Replaced(name.clone())),
        };
        if known.is_none() {
            (peer.we_were_late, peer.it_was_late) = (takes_part, false);
        }
        if identity.role == Role::Speaker && peer.is_vouched_for() {
            self.away.end(&name);
        }
        peer.identity = Some(identity);
        peer.standing = Standing::Alive;
        self.profiles_changed |= !peer.is_heard_itself();
        self.disputes.remove(&name);
        // By the word of others, maybe.
        self.doubt(&name, now);
        let Some(peer) = self.peers.get_mut(&name) else { return };
        if peer.is_vouched_for()
            && let Phase::Leaving(goodbye) = &mut self.phase
        {
            goodbye.add(name, now);
        }
        self.events.extend(event);
    }

    /// Somebody is said to be alive no more. If we have just heard it, somebody was wrong: no one who is dead was
    /// heard by anybody for the whole time that a verdict takes. It is told, so that it can object, and stays a
    /// member meanwhile. Returns whether it is gone.
    fn goes(&mut self, identity: &Identity, now: Instant) -> bool {
        let Some(peer) = self.peers.get(&identity.name) else { return false };
        let heard = peer.heard.is_some_and(|at| now < at + self.timing.silence);
        if heard && peer.standing == Standing::Alive {
            self.disputes.insert(identity.name.clone(), now + self.timing.silence);
            self.send(&identity.name, Body::Dead(identity.clone()));
            return false;
        }
        self.mark_dead(identity);
        true
    }

    /// Whoever has not objected in time is dead.
    pub(super) fn settle_disputes(&mut self, now: Instant) {
        while let Some(name) =
            self.disputes.iter().find(|(_, until)| **until <= now).map(|(name, _)| name.clone())
        {
            self.disputes.remove(&name);
            if let Some(identity) = self.peers.get(&name).and_then(|peer| peer.identity.clone())
                && self.swim.is_down(&identity)
            {
                self.mark_dead(&identity);
                self.regroup(now);
            }
        }
    }

    /// Somebody is alive no more.
    fn mark_dead(&mut self, identity: &Identity) {
        let name = &identity.name;
        let Some(peer) = self.peers.get_mut(name) else { return };
        if !peer.is_vouched_for() {
            self.peers.remove(name);
            self.contacts.remove(name);
            return;
        }
        let before = peer.standing;
        self.profiles_changed |= matches!(before, Standing::Leaving { .. });
        peer.standing = if before == Standing::Alive { Standing::Lost } else { Standing::Gone };
        if let Phase::Leaving(goodbye) = &mut self.phase {
            goodbye.remove(name);
        }
        if before == Standing::Alive && identity.role == Role::Speaker {
            peer.missed = true;
            self.away.end_all();
            let confirmed_by = self.deaths.get(name).map(|death| death.by.clone()).unwrap_or_default();
            self.events.push_back(Event::Lost { node: name.clone(), confirmed_by });
        }
    }

    /// Somebody has begun another life. Whether that changes who is a member, and which process of it: it may
    /// take part now, or be another one, of which nobody missed the one before.
    fn renamed(&mut self, identity: Identity, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&identity.name) else { return false };
        let known = peer.identity.as_ref();
        let same = known.is_some_and(|known| known.boot == identity.boot && known.role == identity.role);
        match peer.runs() {
            true if same => peer.identity = Some(identity),
            true => self.comes(identity, now),
            // It is alive, and that follows; or it is dead all the same.
            false => {}
        }
        !same
    }

    /// Puts the members on their places, and finds whom we watch over.
    pub(super) fn regroup(&mut self, now: Instant) {
        let own = self.swim.identity().name.clone();
        let others = self.peers.iter().filter(|(_, peer)| peer.is_member()).map(|(name, _)| name.clone());
        self.roster = others.collect();
        if self.role() == Role::Speaker {
            self.roster.insert(own.clone());
        }
        self.ring = Ring::of(&self.roster);
        self.unanswered.retain(|name| *name != own && self.roster.contains(name));
        if self.role() == Role::Speaker {
            self.monitor.watch(self.ring.monitored(&own).chain(&self.unanswered).cloned(), now);
        }
        for (name, peer) in &self.peers {
            if peer.wants_contact() {
                self.contacts.add(name, now);
            } else {
                self.contacts.remove(name);
            }
        }
    }
}

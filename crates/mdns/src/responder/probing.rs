//! What is said unasked, and who has a name (RFC 6762 sections 8 and 9).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::{
    AFTER_CONFLICT, AFTER_LOSS, ANNOUNCEMENTS, DISPUTES_EACH, Destination, Effect, Entry, LEAST_GAP, MESSAGE,
    MESSAGE_GAP, PROBE_GAP, PROBES, Purpose, Report, Responder, State,
};
use crate::Name;
use crate::wire::{self, IN, Message, OwnRecord, Record};

impl Responder {
    /// One message with the probes that are due, and one with the announcements.
    pub(super) fn speak_unasked(&mut self, now: Instant) {
        let (mut probes, mut announced, mut additionals) = (Vec::new(), Vec::new(), Vec::new());
        let mut size = 0;
        while size < MESSAGE
            && let Some(name) = self.due.pop(now)
        {
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            if let State::Probing { sent: PROBES.., .. } = entry.state {
                entry.state = State::Announcing { left: ANNOUNCEMENTS };
                self.effects.push_back(Effect::Report(Report::Announced(name.clone())));
            }
            match entry.state {
                State::Conflict | State::Probing { .. } => {
                    let (sent, lost) = match entry.state {
                        State::Probing { sent, lost } => (sent, lost),
                        _ => (0, true),
                    };
                    entry.state = State::Probing { sent: sent + 1, lost };
                    let records = entry.all.iter().map(|ip| entry.proposed(&name, *ip)).collect();
                    size += room(&name, entry.all.len() + 1);
                    self.due.set(name.clone(), now + PROBE_GAP);
                    probes.push((name, records));
                }
                State::Announcing { left } => {
                    size += room(&name, entry.here.len() + 1);
                    for ip in entry.here.clone() {
                        if entry.is_fresh(ip, now) {
                            continue;
                        }
                        entry.told.insert(ip, now);
                        announced.push(entry.record(&name, ip));
                    }
                    if !(entry.has(true) && entry.has(false)) {
                        entry.told_only = Some(now);
                        additionals.push(entry.only(&name));
                    }
                    entry.state = if left > 1 { State::Announcing { left: left - 1 } } else { State::Idle };
                    if left > 1 {
                        self.due.set(name, now + LEAST_GAP);
                    }
                }
                State::Idle => {}
            }
        }
        if !probes.is_empty() {
            self.send(Destination::Group, Purpose::Probe, wire::probe(&probes));
        }
        if !announced.is_empty() {
            let bytes = wire::response(&announced, &additionals);
            self.send(Destination::Group, Purpose::Announcement, bytes);
        }
        if size > 0 {
            self.next_unasked = now + MESSAGE_GAP;
        }
    }

    /// Another host probes for a name: one that is answered for is defended; of two that probe, the one goes on whose
    /// records come later, and the other one waits (RFC 6762 section 8.2). Whether the message is about one of ours.
    pub(super) fn probed(&mut self, message: &Message<'_>, now: Instant) -> bool {
        let mut ours = false;
        for question in &message.questions {
            let Some(name) = &question.name else { continue };
            let Some(entry) = self.entries.get_mut(name) else { continue };
            ours = true;
            if entry.is_established() {
                let everything = entry.here.clone();
                self.defend(name, &everything, now);
            } else if let State::Probing { lost, .. } = entry.state
                && entry.loses_against(name, &message.authorities)
            {
                entry.state = State::Probing { sent: 0, lost };
                self.due.set(name.clone(), now + AFTER_LOSS);
            }
        }
        ours
    }

    /// A record of another host differs from ours.
    pub(super) fn disputed(&mut self, name: &Name, by: IpAddr, now: Instant) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let again = match entry.state {
            // It may be a speaker that has not seen yet that the addresses of the Service have changed.
            State::Probing { lost: false, .. } => {
                entry.state = State::Probing { sent: 0, lost: true };
                now + AFTER_LOSS
            }
            State::Conflict | State::Probing { lost: true, sent: 0 } => return,
            State::Probing { lost: true, .. } => {
                entry.state = State::Conflict;
                let report = Report::Taken { name: name.clone(), by };
                self.effects.push_back(Effect::Report(report));
                now + AFTER_CONFLICT + self.random.random_range(Duration::ZERO..AFTER_LOSS)
            }
            State::Announcing { .. } | State::Idle => {
                entry.state = State::Probing { sent: 0, lost: false };
                self.pending.forget(name);
                let wait = entry.disputes.take(now).err().map(|_| DISPUTES_EACH);
                now + wait.unwrap_or_default()
            }
        };
        self.due.set(name.clone(), again);
    }
}

/// What a name takes in a message at most, with so many records or questions.
fn room(name: &Name, records: usize) -> usize {
    name.length() + 6 + records * 32
}

impl Entry {
    /// A record as it is probed for: the bit that flushes caches is not set (RFC 6762 section 10.2).
    fn proposed(&self, name: &Name, ip: IpAddr) -> OwnRecord {
        OwnRecord { flush: false, ..self.record(name, ip) }
    }

    /// Whether the records of another host that probes come later than ours.
    fn loses_against(&self, name: &Name, authorities: &[Record<'_>]) -> bool {
        let theirs = authorities.iter().filter(|record| record.name.as_ref() == Some(name));
        let mut theirs: Vec<_> =
            theirs.map(|record| (record.class, record.kind, record.data.to_vec())).collect();
        theirs.sort_unstable();
        let mut ours: Vec<_> = self.all.iter().map(|ip| wire::octets(*ip)).collect();
        ours.sort_unstable();
        let ours: Vec<_> = ours.into_iter().map(|(kind, data)| (IN, kind, data)).collect();
        theirs > ours
    }
}

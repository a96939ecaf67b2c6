//! Who is answered, by which way, and when (RFC 6762 sections 5.4, 6 and 7).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngExt;
use timers::Timers;

use super::{
    Destination, Entry, Ignored, LEAST_GAP, LEGACY_TTL, MESSAGE, PROBE_GAP, Purpose, Responder, TTL,
};
use crate::Name;
use crate::wire::{self, A, AAAA, ANY, Data, Message, OwnRecord, Question};

/// Answers that others may give as well wait that long, at random (section 6).
const SHARED_DELAY: std::ops::Range<Duration> = Duration::from_millis(20)..Duration::from_millis(120);
/// Known answers that do not fit into the query come within that (section 7.2).
const TRUNCATED_DELAY: std::ops::Range<Duration> = Duration::from_millis(400)..Duration::from_millis(500);
/// By unicast alone is answered what was told to all within that (section 5.4).
const FRESH: Duration = Duration::from_secs(TTL as u64 / 4);

/// What there is to say of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Addresses that were asked for.
    addresses: BTreeSet<IpAddr>,
    /// Something was asked for that the name does not have.
    only: bool,
}

/// Answers to all that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    answers: BTreeMap<Name, Waiting>,
    due: Timers<Name>,
}

#[derive(Debug)]
struct Waiting {
    answer: Answer,
    /// Who may yet say what it knows.
    of: Option<IpAddr>,
}

impl Pending {
    /// When the first is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first()
    }

    /// Nothing is to be said of a name.
    pub(super) fn forget(&mut self, name: &Name) {
        self.answers.remove(name);
        self.due.cancel(name);
    }

    /// Somebody else has said it.
    pub(super) fn was_told(&mut self, name: &Name, ip: IpAddr) {
        if let Some(waiting) = self.answers.get_mut(name) {
            waiting.answer.addresses.remove(&ip);
            if waiting.answer.is_empty() {
                self.forget(name);
            }
        }
    }

    /// Adds an answer that is due then, or with what waits already, but no earlier than `least`.
    fn add(&mut self, name: &Name, answer: Answer, at: Instant, least: Instant, of: Option<IpAddr>) {
        let at = self.due.at(name).map_or(at, |before| before.min(at)).max(least);
        let waiting = self.answers.entry(name.clone()).or_insert(Waiting { answer: Answer::default(), of });
        waiting.answer.addresses.extend(answer.addresses);
        waiting.answer.only |= answer.only;
        if waiting.of != of {
            waiting.of = None;
        }
        self.due.set(name.clone(), at);
    }

    fn pop(&mut self, now: Instant) -> Option<(Name, Answer)> {
        let name = self.due.pop(now)?;
        let waiting = self.answers.remove(&name)?;
        Some((name, waiting.answer))
    }
}

impl Answer {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && !self.only
    }
}

impl Responder {
    /// A host that speaks Multicast DNS asks, or tells what it knows already.
    pub(super) fn query(
        &mut self,
        message: &Message<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Ignored> {
        if message.questions.is_empty() {
            return self.more_known_answers(message, from);
        }
        if !message.authorities.is_empty() {
            return self.probed(message, now).then_some(()).ok_or(Ignored::NotOurs);
        }
        let (mut ours, mut by_unicast, mut is_late) = (false, BTreeMap::new(), Ok(()));
        for question in &message.questions {
            let Some((name, entry, answer)) = self.answer(question, message) else { continue };
            ours = true;
            if answer.is_empty() {
                continue;
            }
            let fresh = |told: Option<&Instant>| told.is_some_and(|told| now.duration_since(*told) < FRESH);
            let all_fresh = answer.addresses.iter().all(|ip| fresh(entry.told.get(ip)))
                && (!answer.only || fresh(entry.told_only.as_ref()));
            if question.unicast && all_fresh && self.is_on_link(from.ip()) {
                by_unicast.insert(name.clone(), answer);
            } else {
                self.answer_all(&name.clone(), answer, message.is_truncated.then_some(from.ip()), now);
            }
        }
        if !by_unicast.is_empty() {
            is_late = self.unicasts.take(now).map_err(|_| Ignored::TooMany);
            if is_late.is_ok() {
                let (answers, additionals) = self.records(&by_unicast);
                self.send(Destination::One(from), Purpose::Answer, wire::response(&answers, &additionals));
            }
        }
        if ours { is_late } else { Err(Ignored::NotOurs) }
    }

    /// A resolver asks that knows no Multicast DNS: it gets one answer, to its port, that it keeps for a few seconds.
    pub(super) fn legacy_query(
        &mut self,
        message: &Message<'_>,
        from: SocketAddr,
        now: Instant,
    ) -> Result<(), Ignored> {
        let [question] = &message.questions[..] else { return Err(Ignored::OffLink) };
        let Some((name, _, answer)) = self.answer(question, message) else { return Err(Ignored::NotOurs) };
        let name = name.clone();
        if answer.is_empty() {
            return Ok(());
        }
        if !self.is_on_link(from.ip()) {
            return Err(Ignored::OffLink);
        }
        self.unicasts.take(now).map_err(|_| Ignored::TooMany)?;
        let (answers, _) = self.records(&[(name, answer)].into());
        let answers: Vec<_> =
            answers.into_iter().map(|it| OwnRecord { ttl: LEGACY_TTL, flush: false, ..it }).collect();
        self.send(Destination::One(from), Purpose::Answer, wire::legacy_response(message, &answers));
        Ok(())
    }

    /// Answers a probe, sooner than other questions are.
    pub(super) fn defend(&mut self, name: &Name, addresses: &BTreeSet<IpAddr>, now: Instant) {
        let Some(entry) = self.entries.get(name) else { return };
        let last = addresses.iter().filter_map(|ip| entry.told.get(ip)).max();
        let at = last.map_or(now, |last| (*last + PROBE_GAP).max(now));
        let answer = Answer { addresses: addresses.clone(), only: false };
        self.pending.add(name, answer, at, at, None);
    }

    /// Sends what waits and is due.
    pub(super) fn answer_pending(&mut self, now: Instant) {
        let (mut due, mut size) = (BTreeMap::new(), 0);
        while size < MESSAGE
            && let Some((name, answer)) = self.pending.pop(now)
        {
            if !self.entries.get(&name).is_some_and(Entry::is_established) {
                continue;
            }
            size += name.length() + 32 * (answer.addresses.len() + 2);
            due.insert(name, answer);
        }
        if !due.is_empty() {
            let (answers, mut additionals) = self.records(&due);
            additionals.retain(|record| !self.was_told(record, now));
            answers.iter().chain(&additionals).for_each(|record| self.tell(record, now));
            if !answers.is_empty() {
                self.send(Destination::Group, Purpose::Answer, wire::response(&answers, &additionals));
            }
        }
    }

    /// What there is to say to a question, less what is known; `None` if it is about no name that is answered for.
    fn answer<'a>(
        &'a self,
        question: &'a Question,
        message: &Message<'_>,
    ) -> Option<(&'a Name, &'a Entry, Answer)> {
        let name = question.name.as_ref().filter(|_| question.is_of_the_internet())?;
        let entry = self.entries.get(name).filter(|entry| entry.is_established())?;
        let is_known = |ip: &IpAddr| {
            let same = message.answers.iter().filter(|it| it.name.as_ref() == Some(name));
            same.clone().any(|it| it.address() == Some(*ip) && it.ttl >= TTL / 2)
        };
        let of = |wanted: fn(&IpAddr) -> bool| {
            entry.here.iter().copied().filter(|ip| wanted(ip) && !is_known(ip)).collect()
        };
        let answer = match question.kind {
            A => Answer { addresses: of(IpAddr::is_ipv4), only: !entry.has(true) },
            AAAA => Answer { addresses: of(IpAddr::is_ipv6), only: !entry.has(false) },
            ANY => Answer { addresses: of(|_| true), only: false },
            _ => Answer { addresses: BTreeSet::new(), only: true },
        };
        Some((name, entry, answer))
    }

    /// Says something to all, when it may be said again.
    fn answer_all(&mut self, name: &Name, answer: Answer, truncated: Option<IpAddr>, now: Instant) {
        let Some(entry) = self.entries.get(name) else { return };
        let told = answer.addresses.iter().filter_map(|ip| entry.told.get(ip));
        let last = told.chain(entry.told_only.as_ref().filter(|_| answer.only)).max();
        let is_shared = answer.addresses.iter().any(|ip| !entry.is_unique(*ip));
        let delay = match (truncated, is_shared) {
            (Some(_), _) => self.random.random_range(TRUNCATED_DELAY),
            (None, true) => self.random.random_range(SHARED_DELAY),
            (None, false) => Duration::ZERO,
        };
        let allowed = last.map_or(now, |last| (*last + LEAST_GAP).max(now));
        self.pending.add(name, answer, now + delay, allowed, truncated);
    }

    /// The rest of what somebody knows whose query was too long.
    fn more_known_answers(&mut self, message: &Message<'_>, from: SocketAddr) -> Result<(), Ignored> {
        let mut ours = false;
        for record in message.answers.iter().filter(|record| record.ttl >= TTL / 2) {
            let (Some(name), Some(ip)) = (&record.name, record.address()) else { continue };
            if self.pending.answers.get(name).is_some_and(|waiting| waiting.of == Some(from.ip())) {
                self.pending.was_told(name, ip);
                ours = true;
            }
        }
        ours.then_some(()).ok_or(Ignored::NotOurs)
    }

    /// Whether a record was told to all a moment ago.
    fn was_told(&self, record: &OwnRecord, now: Instant) -> bool {
        self.entries.get(&record.name).is_some_and(|entry| match record.data {
            Data::Address(ip) => entry.is_fresh(ip, now),
            Data::Only { .. } => entry.told_only.is_some_and(|told| now < told + LEAST_GAP),
        })
    }

    /// A record is told to all.
    fn tell(&mut self, record: &OwnRecord, now: Instant) {
        let Some(entry) = self.entries.get_mut(&record.name) else { return };
        match record.data {
            Data::Address(ip) => _ = entry.told.insert(ip, now),
            Data::Only { .. } => entry.told_only = Some(now),
        }
    }

    /// The records of answers, and what is wanted next: the other addresses of the names that are announced here, or that
    /// there are none (RFC 6762 section 6.2).
    fn records(&self, answers: &BTreeMap<Name, Answer>) -> (Vec<OwnRecord>, Vec<OwnRecord>) {
        let (mut records, mut additionals) = (Vec::new(), Vec::new());
        for (name, answer) in answers {
            let Some(entry) = self.entries.get(name) else { continue };
            let here = |ip: &&IpAddr| entry.here.contains(*ip);
            records.extend(answer.addresses.iter().filter(here).map(|ip| entry.record(name, *ip)));
            let others = entry.here.difference(&answer.addresses);
            additionals.extend(others.map(|ip| entry.record(name, *ip)));
            match answer.only {
                true => records.push(entry.only(name)),
                false if !(entry.has(true) && entry.has(false)) => additionals.push(entry.only(name)),
                false => {}
            }
        }
        (records, additionals)
    }
}

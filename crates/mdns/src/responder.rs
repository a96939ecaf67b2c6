//! One interface: what is said of names there, and what others say of them.
//!
//! ```text
//!            3 probes, 250 ms apart,          2 announcements,
//!            and nobody has it                1 s apart
//!   Probing --------------------> Announcing -----------------> Idle
//!     ^  |                            |                          |
//!     |  | somebody has it, twice     | somebody says otherwise  |
//!     |  v                            v                          v
//!   Conflict (silent, 30 s)         Probing                   Probing
//! ```
//!
//! Names are answered for while they are announcing or idle (RFC 6762 sections 8 and 9).

mod answers;
mod probing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use answers::Pending;
use placement::Prefix;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use thiserror::Error;
use timers::{Budget, Timers};

use crate::directory::Wanted;
use crate::wire::{self, Data, Malformed, Message, OwnRecord};
use crate::{Name, PORT};

/// For how many seconds records of hosts hold (RFC 6762 section 10).
const TTL: u32 = 120;
/// For how many seconds legacy resolvers keep them (section 6.7).
const LEGACY_TTL: u32 = 10;
/// No record is sent to all twice within that (section 6), but for a defence.
const LEAST_GAP: Duration = Duration::from_secs(1);
/// Between probes, and the least between two defences (sections 8.1 and 6).
const PROBE_GAP: Duration = Duration::from_millis(250);
const PROBES: u8 = 3;
const ANNOUNCEMENTS: u8 = 2;
/// Who lost waits so long before it probes again (section 8.2).
const AFTER_LOSS: Duration = Duration::from_secs(1);
/// Who has met another host with its name twice asks again after that.
const AFTER_CONFLICT: Duration = Duration::from_secs(30);
/// Names that others dispute more often than that wait (section 8.1: 15 conflicts in ten seconds, then five seconds).
const DISPUTES: u32 = 15;
const DISPUTES_EACH: Duration = Duration::from_secs(5);
/// What is said unasked goes out in messages of about that many octets, and so far apart.
const MESSAGE: usize = 1200;
const MESSAGE_GAP: Duration = Duration::from_millis(10);
/// Answers by unicast: so many at once, and then one in each period.
const UNICASTS: u32 = 100;
const UNICASTS_EACH: Duration = Duration::from_millis(10);

/// A packet that was sent to the group on this interface.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// What is in it.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub from: SocketAddr,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A message is to be sent from [`PORT`].
    Send {
        /// To whom.
        to: Destination,
        /// What for.
        purpose: Purpose,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// Something to tell.
    Report(Report),
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To ask whether anybody has a name.
    Probe,
    /// To tell all of a name, unasked.
    Announcement,
    /// To answer.
    Answer,
    /// To take records back.
    Goodbye,
}

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// All, by each family that the interface has.
    Group,
    /// One that asked.
    One(SocketAddr),
}

/// What becomes of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It is answered for from now on.
    Announced(Name),
    /// Another host has it, so it is not answered for. The LAN is asked again from time to time; this is told once.
    Taken {
        /// The name.
        name: Name,
        /// Who says that it has it.
        by: IpAddr,
    },
}

/// Why a packet leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Ignored {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An answer from a port that is not that of Multicast DNS (RFC 6762 section 6).
    #[error("an answer from another port")]
    Port,
    /// A legacy query of a host that is not on this LAN, or with more than one question.
    #[error("a query that would be answered to elsewhere")]
    OffLink,
    /// It is about other names.
    #[error("it is about other names")]
    NotOurs,
    /// Everybody asks to be answered by unicast.
    #[error("too many queries that want an answer by unicast")]
    TooMany,
}

/// One interface. Tell it what it should do and what it receives; then, and whenever [`Responder::poll_timeout`] says so,
/// call [`Responder::poll`] until it returns `None`. `now` never goes back.
#[derive(Debug)]
pub struct Responder {
    entries: BTreeMap<Name, Entry>,
    /// When there is a probe or an announcement to send.
    due: Timers<Name>,
    pending: Pending,
    prefixes: BTreeSet<Prefix>,
    effects: VecDeque<Effect>,
    /// Nothing is said unasked before.
    next_unasked: Instant,
    unicasts: Budget,
    random: SmallRng,
}

/// A name, and how far it has come.
#[derive(Debug)]
struct Entry {
    /// All addresses that the name has, wherever they are announced.
    all: BTreeSet<IpAddr>,
    /// Those that this node announces here.
    here: BTreeSet<IpAddr>,
    state: State,
    /// When each was told to all last.
    told: BTreeMap<IpAddr, Instant>,
    /// The same for that there are no others.
    told_only: Option<Instant>,
    disputes: Budget,
}

/// How far a name has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Probes were sent, and another host was met before.
    Probing { sent: u8, lost: bool },
    /// Announcements are left.
    Announcing { left: u8 },
    /// All is said.
    Idle,
    /// Another host has it.
    Conflict,
}

impl Responder {
    /// Has no names yet. Delays that are to differ between hosts come from `seed`.
    pub fn new(seed: u64, now: Instant) -> Self {
        Self {
            entries: BTreeMap::new(),
            due: Timers::default(),
            pending: Pending::default(),
            prefixes: BTreeSet::new(),
            effects: VecDeque::new(),
            next_unasked: now,
            unicasts: Budget::new(UNICASTS, UNICASTS_EACH),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The prefixes of the interface: who is in none of them gets no answer by unicast.
    pub fn set_prefixes(&mut self, prefixes: BTreeSet<Prefix>) {
        self.prefixes = prefixes;
    }

    /// These names are to be answered for, and no others. Addresses that their Services have no longer are taken back; those
    /// that are announced elsewhere now stay as they are known.
    pub fn set_wanted(&mut self, wanted: &Wanted, now: Instant) {
        let mut goodbyes = Vec::new();
        self.entries.retain(|name, entry| {
            let stays = wanted.here.contains_key(name);
            if !stays {
                let known = wanted.known.get(name);
                let gone = entry.here.iter().filter(|ip| known.is_none_or(|known| !known.contains(*ip)));
                goodbyes.extend(entry.goodbyes(name, gone));
                self.due.cancel(name);
                self.pending.forget(name);
            }
            stays
        });
        // Those that come together are probed for together.
        let first = now + self.random.random_range(Duration::ZERO..PROBE_GAP);
        for (name, here) in &wanted.here {
            let all = wanted.known.get(name).unwrap_or(here);
            let Some(entry) = self.entries.get_mut(name) else {
                self.entries.insert(name.clone(), Entry::new(all, here));
                self.due.set(name.clone(), first);
                continue;
            };
            let gone: Vec<_> = entry.here.difference(all).copied().collect();
            goodbyes.extend(entry.goodbyes(name, gone.iter()));
            let is_new = here.difference(&entry.here).next().is_some() || entry.all != *all;
            (entry.all, entry.here) = (all.clone(), here.clone());
            entry.told.retain(|ip, _| here.contains(ip));
            if is_new && entry.is_established() {
                entry.state = State::Announcing { left: ANNOUNCEMENTS };
                self.due.set(name.clone(), now);
            }
        }
        self.send_goodbyes(&goodbyes);
    }

    /// This node is about to leave, and others may not follow: takes all back. A speaker that has taken over says at once
    /// that the records hold, when it hears that.
    pub fn leave(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        let goodbyes: Vec<_> =
            entries.iter().flat_map(|(name, entry)| entry.goodbyes(name, entry.here.iter())).collect();
        (self.due, self.pending) = (Timers::default(), Pending::default());
        self.send_goodbyes(&goodbyes);
    }

    /// Takes in a packet.
    pub fn handle(&mut self, packet: Packet<'_>, now: Instant) -> Result<(), Ignored> {
        let message = Message::parse(packet.bytes)?;
        match (message.is_response, packet.from.port() == PORT) {
            (true, true) => self.response(&message, packet.from, now),
            (true, false) => Err(Ignored::Port),
            (false, true) => self.query(&message, packet.from, now),
            (false, false) => self.legacy_query(&message, packet.from, now),
        }
    }

    /// When to call [`Self::poll`] next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unasked = self.due.first().map(|due| due.max(self.next_unasked));
        unasked.into_iter().chain(self.pending.first()).min()
    }

    /// What there is to do.
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        if self.effects.is_empty() {
            self.answer_pending(now);
            if self.effects.is_empty() && self.next_unasked <= now {
                self.speak_unasked(now);
            }
        }
        self.effects.pop_front()
    }

    /// Somebody says what others have said to this, or what differs from it (RFC 6762 sections 6.6, 7.4 and 9).
    fn response(&mut self, message: &Message<'_>, from: SocketAddr, now: Instant) -> Result<(), Ignored> {
        let mut ours = false;
        for record in message.answers.iter().chain(&message.additionals) {
            let (Some(name), Some(ip)) = (&record.name, record.address()) else { continue };
            let Some(entry) = self.entries.get_mut(name) else { continue };
            ours = true;
            if !entry.all.contains(&ip) {
                if record.ttl > 0 {
                    self.disputed(&name.clone(), from.ip(), now);
                }
            } else if record.ttl < TTL / 2 {
                if entry.here.contains(&ip) && entry.is_established() {
                    entry.state = State::Announcing { left: 1 };
                    let last = entry.told.get(&ip).map(|told| *told + LEAST_GAP);
                    self.due.set(name.clone(), last.unwrap_or(now).max(now));
                }
            } else {
                entry.told.insert(ip, now);
                self.pending.was_told(name, ip);
            }
        }
        ours.then_some(()).ok_or(Ignored::NotOurs)
    }

    /// Whether somebody is on this LAN.
    fn is_on_link(&self, ip: IpAddr) -> bool {
        let is_link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        is_link_local || self.prefixes.iter().any(|prefix| prefix.contains(ip))
    }

    fn send(&mut self, to: Destination, purpose: Purpose, bytes: Vec<u8>) {
        self.effects.push_back(Effect::Send { to, purpose, bytes });
    }

    fn send_goodbyes(&mut self, records: &[OwnRecord]) {
        let mut rest = records;
        while !rest.is_empty() {
            let mut size = 0;
            let fit = rest.iter().take_while(|record| {
                size += record.name.length() + 32;
                size < MESSAGE
            });
            let (some, others) = rest.split_at(fit.count().max(1));
            self.send(Destination::Group, Purpose::Goodbye, wire::response(some, &[]));
            rest = others;
        }
    }
}

impl Entry {
    fn new(all: &BTreeSet<IpAddr>, here: &BTreeSet<IpAddr>) -> Self {
        Self {
            all: all.clone(),
            here: here.clone(),
            state: State::Probing { sent: 0, lost: false },
            told: BTreeMap::new(),
            told_only: None,
            disputes: Budget::new(DISPUTES, DISPUTES_EACH),
        }
    }

    /// Whether it is answered for.
    fn is_established(&self) -> bool {
        match self.state {
            State::Announcing { .. } | State::Idle => true,
            State::Probing { .. } | State::Conflict => false,
        }
    }

    /// Whether this node alone has the records of the family of `ip`: with several addresses of one family, others may be
    /// announced by other nodes.
    fn is_unique(&self, ip: IpAddr) -> bool {
        self.all.iter().filter(|other| other.is_ipv4() == ip.is_ipv4()).count() == 1
    }

    /// Whether a record was told to all so short a time ago that it is not to be told again.
    fn is_fresh(&self, ip: IpAddr, now: Instant) -> bool {
        self.told.get(&ip).is_some_and(|told| now < *told + LEAST_GAP)
    }

    /// Whether the name has addresses of IPv4, or of IPv6.
    fn has(&self, v4: bool) -> bool {
        self.all.iter().any(|ip| ip.is_ipv4() == v4)
    }

    fn record(&self, name: &Name, ip: IpAddr) -> OwnRecord {
        OwnRecord { name: name.clone(), data: Data::Address(ip), ttl: TTL, flush: self.is_unique(ip) }
    }

    /// What says that the name has nothing but its addresses.
    fn only(&self, name: &Name) -> OwnRecord {
        let data = Data::Only { v4: self.has(true), v6: self.has(false) };
        OwnRecord { name: name.clone(), data, ttl: TTL, flush: true }
    }

    /// The records that a name loses, if it was ever told to have them.
    fn goodbyes<'a>(
        &self,
        name: &Name,
        gone: impl Iterator<Item = &'a IpAddr>,
    ) -> impl Iterator<Item = OwnRecord> {
        let records = gone.filter(|ip| self.is_established() && self.told.contains_key(*ip));
        records
            .map(|ip| OwnRecord { ttl: 0, flush: false, ..self.record(name, *ip) })
            .collect::<Vec<_>>()
            .into_iter()
    }
}

#[cfg(test)]
mod tests;

//! One interface, by one protocol: everything there is to decide about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::claims::Claims;
use crate::groups::Groups;
use crate::probes::{Found, Probes, Step};
use crate::protocol::{Ignored, Protocol, Question};
use crate::schedule::{Due, Schedule};
use crate::{LATE, MacAddr, PATIENCE};

/// An interface as ARP or NDP sees it: answers for addresses there, announces them, and notices who else
/// has them.
///
/// Tell it what it should do and what it receives; then, and whenever [`Port::poll_timeout`] says so, call
/// [`Port::poll`] until it returns `None`, and do what it returns. `now` never goes back.
///
/// ```text
///                 Begin::Probe                  nobody has it: Free
///   set_orders --------------> probes (asking) ---------------------> schedule (announced)
///       |                                                                ^
///       +----------------------------------------------------------------+
///       |         Begin::Announce
///       +---------------> (answered for, no more)
///          Begin::Answer
///
///   handle: a question ---> answered, if the address is announced
///           a claim    ---> probes: not announced (Taken), or claims: defended (Claimed)
/// ```
#[derive(Debug)]
pub struct Port<P: Protocol> {
    protocol: P,
    /// The addresses to announce here. Those that are not in `probes` are answered for.
    orders: BTreeMap<P::Ip, Order>,
    friends: Friends,
    probes: Probes<P::Ip>,
    claims: Claims<P::Ip>,
    schedule: Schedule<P::Ip>,
    groups: Groups,
    effects: VecDeque<Effect>,
    /// Memberships to begin and to end when there is nothing else to do: each takes its time, and those who
    /// know an address already wait for the news that it has moved.
    memberships: VecDeque<Effect>,
    /// When what waits came about.
    since: Instant,
    /// Nothing is said unasked before.
    held: Instant,
    voice: Voice,
}

/// What a port says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Voice {
    /// All there is to say.
    #[default]
    Full,
    /// Only answers. For one that leaves: who takes over announces the same addresses, and is not to be
    /// overruled.
    Answers,
    /// Nothing. For one that was cut off, or stood still, and does not know yet who has taken over what meanwhile.
    Silent,
}

/// The stations that are no strangers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Friends {
    /// All interfaces of this node, and those of the fellow speakers.
    pub known: BTreeSet<MacAddr>,
    /// How many fellow speakers there are of which nothing is known but that they are there. While there are any, who
    /// claims an address that is announced may be one of them, and is let be until it claims it again.
    pub unknown: usize,
}

/// That an address is to be announced, and how to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which takeover this is: with another number, everything begins again.
    pub takeover: u64,
    /// How to begin.
    pub begin: Begin,
}

/// What comes first when an address is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Asking whether somebody else has it.
    Probe,
    /// Saying that it is here: somebody of us had it before.
    Announce,
    /// Saying nothing unasked, now or later: somebody of us has it who does not answer at present.
    Answer,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a frame.
    Send(Transmission),
    /// Become a member of a multicast group.
    Join(Ipv6Addr),
    /// Be a member no longer.
    Leave(Ipv6Addr),
    /// Tell whoever gave the orders.
    Report(Report),
}

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmission {
    /// The address that it is about.
    pub vip: IpAddr,
    /// What it is for.
    pub purpose: Purpose,
    /// All of it, from the Ethernet header on.
    pub frame: Vec<u8>,
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody asked.
    Answer,
    /// The address was taken over lately.
    Takeover,
    /// Switches should not forget it.
    Refresh,
    /// A stranger claims it.
    Defence,
    /// Somebody may have it.
    Probe,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Somebody else has the address. It is not announced; the LAN is asked again from time to time, but
    /// this is told again only when it is another that has it.
    Taken {
        /// The address.
        vip: IpAddr,
        /// Who has it.
        by: MacAddr,
    },
    /// The LAN was asked, nobody has the address, and it is announced now.
    Free {
        /// The address.
        vip: IpAddr,
    },
    /// A stranger claims an address that is announced; that was defended.
    Claimed {
        /// The address.
        vip: IpAddr,
        /// Who claims it.
        by: MacAddr,
    },
    /// The takeover was announced for the first time, or need not be.
    Spoken {
        /// The address.
        vip: IpAddr,
        /// Which takeover.
        takeover: u64,
    },
}

impl<P: Protocol> Port<P> {
    /// Has no orders yet. Addresses are refreshed every `refresh_interval`, if at all, with some jitter
    /// that comes from `seed`.
    pub fn new(protocol: P, refresh_interval: Option<Duration>, seed: u64, now: Instant) -> Self {
        Self {
            protocol,
            orders: BTreeMap::new(),
            friends: Friends::default(),
            probes: Probes::new(),
            claims: Claims::new(),
            schedule: Schedule::new(refresh_interval, seed),
            groups: Groups::default(),
            effects: VecDeque::new(),
            memberships: VecDeque::new(),
            since: now,
            held: now,
            voice: Voice::Full,
        }
    }

    /// How much to say from now on. What should have been said meanwhile is said then, if it is still to be.
    pub fn set_voice(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// The addresses to announce from now on. Those that stay under the same takeover notice nothing.
    pub fn set_orders(&mut self, orders: BTreeMap<P::Ip, Order>, now: Instant) {
        let before = std::mem::replace(&mut self.orders, orders);
        for (vip, order) in self.orders.clone() {
            let known = before.get(&vip);
            if known.is_some_and(|known| known.takeover == order.takeover) {
                continue;
            }
            // What was not found free does not become so by another takeover.
            let begin = if self.probes.contains(vip) { Begin::Probe } else { order.begin };
            self.silence(vip);
            match begin {
                Begin::Probe => self.probes.begin(vip, now),
                Begin::Announce => self.schedule.take_over(vip, now),
                Begin::Answer => {
                    self.report(Report::Spoken { vip: vip.into(), takeover: order.takeover }, now);
                }
            }
            if let Some(group) = P::group(vip).filter(|group| known.is_none() && self.groups.add(*group)) {
                self.memberships.push_back(Effect::Join(group));
            }
        }
        for vip in before.into_keys() {
            if self.orders.contains_key(&vip) {
                continue;
            }
            self.silence(vip);
            if let Some(group) = P::group(vip).filter(|group| self.groups.remove(*group)) {
                self.memberships.push_back(Effect::Leave(group));
            }
        }
        self.since = now;
        // What was about to be said of those that left is not said.
        let orders = &self.orders;
        self.effects.retain(|effect| match effect {
            Effect::Send(sent) => P::own(sent.vip).is_some_and(|vip| orders.contains_key(&vip)),
            Effect::Report(_) | Effect::Join(_) | Effect::Leave(_) => true,
        });
    }

    /// The stations that are no strangers from now on.
    pub fn set_friends(&mut self, friends: Friends) {
        self.friends = friends;
    }

    /// The least time between two refreshes, of whichever addresses. It makes no burst wait.
    pub fn set_refresh_gap(&mut self, gap: Duration) {
        self.schedule.set_refresh_gap(gap);
    }

    /// Takes in a frame that reached this node when it was `received`. What follows from it comes out of
    /// [`Self::poll`], and if that is an answer, it comes first.
    ///
    /// A question that had to wait for long is not answered: this program stood still, the address may be
    /// somebody else's by now, and who asked will ask again.
    pub fn handle(&mut self, frame: &[u8], received: Instant, now: Instant) -> Result<(), Ignored> {
        if now > received + LATE {
            self.hold(now);
        }
        let heard = self.protocol.hear(frame)?;
        if !heard.by.is_station() {
            return Err(Ignored::BadSender(heard.by));
        }
        let ours = heard.claims.filter(|vip| self.orders.contains_key(vip));
        let claim = ours.map(|vip| self.hear_claim(heard.by, vip, now));
        let question = heard.asks.map(|question| self.hear_question(heard.by, question, received, now));
        match (claim, question) {
            (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(()),
            (_, Some(Err(ignored))) | (Some(Err(ignored)), None) => Err(ignored),
            (None, None) => Err(Ignored::NotOurs),
        }
    }

    /// When to call [`Self::poll`] next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = !self.effects.is_empty() || !self.memberships.is_empty();
        if waiting { Some(self.since) } else { self.due() }
    }

    /// Something to do now.
    pub fn poll(&mut self, now: Instant) -> Option<Effect> {
        while self.effects.is_empty() {
            match self.due() {
                Some(due) if now > due + LATE => self.hold(now),
                Some(due) if now >= due => self.act(now),
                Some(_) | None => return self.memberships.pop_front(),
            }
        }
        self.effects.pop_front()
    }

    /// This program stood still. The addresses may be somebody else's by now, and the news of that may be
    /// waiting to be read: that comes first.
    fn hold(&mut self, now: Instant) {
        self.held = now + PATIENCE;
    }

    /// When something is to be said unasked.
    fn due(&self) -> Option<Instant> {
        match self.voice {
            Voice::Full => {}
            Voice::Answers | Voice::Silent => return None,
        }
        let timeouts = [self.claims.poll_timeout(), self.probes.poll_timeout(), self.schedule.poll_timeout()];
        timeouts.into_iter().flatten().min().map(|at| at.max(self.held))
    }

    /// Does one thing that is due.
    fn act(&mut self, now: Instant) {
        let (protocol, friends) = (&self.protocol, &self.friends);
        if let Some((vip, by)) =
            self.claims.poll(now, |mac| friends.unknown == 0 && is_stranger(mac, protocol, friends))
        {
            self.announce(vip, Purpose::Defence, now);
            self.report(Report::Claimed { vip: vip.into(), by }, now);
        }
        match self.probes.poll(now) {
            Some(Step::Ask(vip)) => self.send(vip, Purpose::Probe, self.protocol.probe(vip), now),
            Some(Step::Free(vip)) => {
                self.schedule.take_over(vip, now);
                self.report(Report::Free { vip: vip.into() }, now);
            }
            None => {}
        }
        match self.schedule.poll(now) {
            Some(Due::First(vip)) => {
                self.announce(vip, Purpose::Takeover, now);
                let takeover = self.orders[&vip].takeover;
                self.report(Report::Spoken { vip: vip.into(), takeover }, now);
            }
            Some(Due::Repeat(vip)) => self.announce(vip, Purpose::Takeover, now),
            Some(Due::Refresh(vip)) => self.send(vip, Purpose::Refresh, self.protocol.refresh(vip), now),
            None => {}
        }
    }

    /// `by` says that it has `vip`, one of ours.
    fn hear_claim(&mut self, by: MacAddr, vip: P::Ip, now: Instant) -> Result<(), Ignored> {
        if !is_stranger(by, &self.protocol, &self.friends) {
            return Err(Ignored::Fellow);
        }
        if self.probes.contains(vip) {
            self.conflict(vip, by, now);
        } else {
            self.claims.heard(vip, by, now);
        }
        Ok(())
    }

    fn hear_question(
        &mut self,
        by: MacAddr,
        question: Question<P::Ip>,
        received: Instant,
        now: Instant,
    ) -> Result<(), Ignored> {
        let Question { target: vip, asker } = question;
        if !self.orders.contains_key(&vip) {
            return Err(Ignored::NotAnnounced);
        }
        if self.probes.contains(vip) {
            // Somebody is about to take it as we are: neither may.
            return match asker {
                None if is_stranger(by, &self.protocol, &self.friends) => {
                    self.conflict(vip, by, now);
                    Ok(())
                }
                None => Err(Ignored::Fellow),
                Some(_) => Err(Ignored::NotAnnounced),
            };
        }
        if self.voice == Voice::Silent {
            return Err(Ignored::Silent);
        }
        if now > received + LATE {
            return Err(Ignored::Stale);
        }
        let frame = self.protocol.answer(by, question);
        self.since = now;
        // Somebody waits for it.
        self.effects.push_front(Effect::Send(Transmission {
            vip: vip.into(),
            purpose: Purpose::Answer,
            frame,
        }));
        Ok(())
    }

    fn conflict(&mut self, vip: P::Ip, by: MacAddr, now: Instant) {
        match self.probes.conflict(vip, by, now) {
            Found::News => self.report(Report::Taken { vip: vip.into(), by }, now),
            Found::Nothing => {}
        }
    }

    /// Nothing that was begun for `vip` goes on.
    fn silence(&mut self, vip: P::Ip) {
        self.probes.withdraw(vip);
        self.claims.withdraw(vip);
        self.schedule.withdraw(vip);
    }

    fn announce(&mut self, vip: P::Ip, purpose: Purpose, now: Instant) {
        for frame in self.protocol.announcements(vip) {
            self.send(vip, purpose, frame, now);
        }
    }

    fn send(&mut self, vip: P::Ip, purpose: Purpose, frame: Vec<u8>, now: Instant) {
        self.push(Effect::Send(Transmission { vip: vip.into(), purpose, frame }), now);
    }

    fn report(&mut self, report: Report, now: Instant) {
        self.push(Effect::Report(report), now);
    }

    fn push(&mut self, effect: Effect, now: Instant) {
        self.since = now;
        self.effects.push_back(effect);
    }
}

fn is_stranger(mac: MacAddr, protocol: &impl Protocol, friends: &Friends) -> bool {
    mac != protocol.mac() && !friends.known.contains(&mac)
}

#[cfg(test)]
mod tests;

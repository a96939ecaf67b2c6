//! One interface, by one protocol: everything there is to decide about it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::claims::Claims;
use crate::groups::Groups;
use crate::probes::{Care, Found, Probes, Step};
use crate::protocol::{Ignored, Protocol, Question};
use crate::rivals::Rivals;
use crate::schedule::{Due, Schedule};
use crate::{LATE, MacAddr, PATIENCE};

/// Who is found dead now may have been so for that long: the slowest preset takes as much.
const LATELY: Duration = Duration::from_millis(2500);

/// An interface as ARP or NDP sees it: answers for addresses there, announces them, and notices who else
/// has them.
///
/// Tell it what it should do and what it receives; then, and whenever [`Port::poll_timeout`] says so, call
/// [`Port::poll`] until it returns `None`, and do what it returns. `now` never goes back.
///
/// ```text
///              Begin::Probe, Begin::Ask           nobody has it: Free
///   set_orders ---------------------> probes (asking) ---------------> schedule (announced)
///       |                                                                ^
///       +----------------------------------------------------------------+
///       |         Begin::Announce
///       +---------------> (answered for, no more)
///          Begin::Answer
///
///   handle: a question ---> answered, if the address is announced
///           a claim    ---> of a foreign host: probes (Taken), or defended if it is announced (Claimed)
///                           of a peer whose gossip is not heard: probes (Held), or reported if it is announced (Rival)
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
    /// What is left of announcements of which a first frame was sent.
    rest: VecDeque<Transmission>,
    /// The least time between two frames that nobody asked for, and when the next may go out.
    frame_gap: Duration,
    next_frame: Instant,
    rivals: Rivals<P::Ip>,
    /// Who of the peers that are heard claimed what is announced here, and when: it may turn out to be heard no more.
    heard_claims: BTreeMap<P::Ip, (MacAddr, Instant)>,
    /// What a peer has taken over from this node, which leaves.
    handed_over: BTreeSet<P::Ip>,
    /// Interfaces of this node that are heard here.
    same_lan: BTreeSet<MacAddr>,
    /// Whether foreign hosts that answer count for nothing.
    overrules: bool,
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

/// The stations that are no foreign hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Friends {
    /// All interfaces of this node, and those of the peers.
    pub known: BTreeMap<MacAddr, Contact>,
    /// How many peers there are of which nothing is known but that they are there. While there are any, who
    /// claims an address that is announced may be one of them, and is let be until it claims it again.
    pub unknown: usize,
    /// How many peers the cluster lists that were never heard, so that their stations are not known. While there are any,
    /// who answers for an address that a node is about to take over may be one of them.
    pub unseen: usize,
}

/// How it stands with a known station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// It is an interface of this node.
    Own,
    /// A peer that takes part in the gossip as we hear it: what it does is known.
    Heard,
    /// A peer that we do not hear. If it answers for an address, it lives.
    Unheard,
}

/// That an address is to be announced, and how to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Which takeover this is: with another number, everything begins again.
    pub takeover: u64,
    /// How to begin.
    pub begin: Begin,
    /// How it stands with a [rival](Report::Rival), if there is one.
    pub stance: Stance,
}

/// What to do about a peer that answers for the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stance {
    /// There is none.
    #[default]
    Alone,
    /// The address is left to it for as long as it answers.
    Yields,
    /// It is overruled. With another number, once more.
    Insists(u64),
}

/// What comes first when an address is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Asking with care whether somebody else has it: nobody of us had it before.
    Probe,
    /// Asking whether somebody has it: one of us had it who is gone. Where it is answered for already, it is announced.
    Ask,
    /// Saying that it is here: a peer hands it over.
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
    /// A peer whose gossip is not heard answers for the address. It is not answered for here; the LAN is asked again in a
    /// few seconds.
    Held {
        /// The address.
        vip: IpAddr,
        /// Which of its stations.
        by: MacAddr,
    },
    /// A peer whose gossip is not heard claims an address that is announced here, or a station that may be one that was
    /// never heard: one of the two must yield, or go on and say so: see [`Stance`].
    Rival {
        /// The address.
        vip: IpAddr,
        /// Which of its stations.
        by: MacAddr,
    },
    /// Another interface of this node is heard here: both are on one LAN. Told once.
    SameLan {
        /// Its address.
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
            probes: Probes::new(seed),
            claims: Claims::new(),
            schedule: Schedule::new(refresh_interval, seed),
            groups: Groups::default(),
            effects: VecDeque::new(),
            rest: VecDeque::new(),
            frame_gap: Duration::ZERO,
            next_frame: now,
            rivals: Rivals::new(),
            heard_claims: BTreeMap::new(),
            handed_over: BTreeSet::new(),
            same_lan: BTreeSet::new(),
            overrules: false,
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
                if known.is_some_and(|known| known.stance != order.stance) && !self.probes.contains(vip) {
                    match order.stance {
                        Stance::Alone => {}
                        Stance::Yields => {
                            self.silence(vip);
                            self.probes.wait(vip, now);
                        }
                        Stance::Insists(_) => {
                            self.schedule.take_over(vip, now);
                            self.rivals.overrule(vip, now);
                        }
                    }
                }
                continue;
            }
            let asks = self.probes.contains(vip);
            let answers = known.is_some() && !asks;
            let begin = match order.begin {
                Begin::Ask if answers => Begin::Announce,
                // What was not found free does not become so by another takeover.
                Begin::Announce | Begin::Answer if asks => Begin::Ask,
                begin => begin,
            };
            match begin {
                Begin::Probe | Begin::Ask => {
                    let care = if begin == Begin::Probe { Care::New } else { Care::Takeover };
                    self.claims.withdraw(vip);
                    self.schedule.withdraw(vip);
                    self.probes.begin(vip, care, now);
                }
                Begin::Announce => {
                    self.silence(vip);
                    self.schedule.take_over(vip, now);
                }
                Begin::Answer => {
                    self.silence(vip);
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
        let stays = |sent: &Transmission| P::own(sent.vip).is_some_and(|vip| orders.contains_key(&vip));
        self.rest.retain(stays);
        self.rivals.retain(|vip| orders.contains_key(&vip));
        self.heard_claims.retain(|vip, _| orders.contains_key(vip));
        self.effects.retain(|effect| match effect {
            Effect::Send(sent) => stays(sent),
            Effect::Report(_) | Effect::Join(_) | Effect::Leave(_) => true,
        });
    }

    /// The stations that are no foreign hosts from now on.
    pub fn set_friends(&mut self, friends: Friends, now: Instant) {
        let unheard = |friends: &Friends, mac| friends.known.get(mac) == Some(&Contact::Unheard);
        let heard =
            self.friends.known.keys().any(|mac| unheard(&self.friends, mac) && !unheard(&friends, mac));
        let known = self.friends.unknown + self.friends.unseen > friends.unknown + friends.unseen;
        self.friends = friends;
        if heard || known {
            self.rivals.clear();
            self.probes.look_again(now);
        }
        let lately = |(_, at): &(MacAddr, Instant)| now < *at + LATELY;
        let silent = |by: &MacAddr| self.friends.known.get(by) == Some(&Contact::Unheard);
        let rivals = self.heard_claims.extract_if(.., |_, it| silent(&it.0)).filter(|(_, it)| lately(it));
        for (vip, (by, _)) in rivals.collect::<Vec<_>>() {
            if self.orders.contains_key(&vip) && !self.probes.contains(vip) {
                self.hear_rival(by, vip, now);
            }
        }
    }

    /// Whether foreign hosts that answer for an address count for nothing, as where a router answers for all of them.
    pub fn set_overrules(&mut self, overrules: bool) {
        self.overrules = overrules;
    }

    /// The least time between two frames that nobody asked for.
    pub fn set_frame_gap(&mut self, gap: Duration) {
        self.frame_gap = gap;
    }

    /// This process stood still. Until the news of what happened meanwhile have been read, nothing is said.
    pub fn stood_still(&mut self, now: Instant) {
        self.hold(now);
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
        if heard.by != self.protocol.mac()
            && self.friends.known.get(&heard.by) == Some(&Contact::Own)
            && self.same_lan.insert(heard.by)
        {
            self.report(Report::SameLan { by: heard.by }, now);
        }
        let ours = heard.claims.filter(|vip| self.orders.contains_key(vip));
        let claim = ours.map(|vip| self.hear_claim(heard.by, vip, heard.answers, now));
        let question = heard.asks.map(|question| self.hear_question(heard.by, question, received, now));
        match (claim, question) {
            (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(()),
            (_, Some(Err(ignored))) | (Some(Err(ignored)), None) => Err(ignored),
            (None, None) => Err(Ignored::NotOurs),
        }
    }

    /// Whether who asks for `vip` is answered.
    pub fn answers(&self, vip: P::Ip) -> bool {
        let ours = self.orders.contains_key(&vip) && !self.probes.contains(vip);
        ours && self.voice != Voice::Silent && !self.handed_over.contains(&vip)
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
        let rest = self.rest.front().map(|_| self.since);
        let timeouts =
            [self.claims.poll_timeout(), self.probes.poll_timeout(), self.schedule.poll_timeout(), rest];
        let timeouts = timeouts.into_iter().chain([self.rivals.poll_timeout()]);
        timeouts.flatten().min().map(|at| at.max(self.held).max(self.next_frame))
    }

    /// Does one thing that is due: sends one frame at most. First come first frames of each address.
    fn act(&mut self, now: Instant) {
        let (protocol, friends) = (&self.protocol, &self.friends);
        let foreign = |mac| friends.unknown == 0 && is_foreign(mac, protocol, friends);
        if let Some((vip, by)) = self.claims.poll(now, foreign) {
            self.announce(vip, Purpose::Defence, now);
            return self.report(Report::Claimed { vip: vip.into(), by }, now);
        }
        if let Some(vip) = self.rivals.poll(now) {
            if self.answers(vip) {
                self.send(vip, Purpose::Probe, self.protocol.probe(vip), now);
            }
            return;
        }
        if let Some(step) = self.probes.poll(now) {
            return match step {
                Step::Ask(vip) => self.send(vip, Purpose::Probe, self.protocol.probe(vip), now),
                Step::Free(vip) => {
                    self.schedule.take_over(vip, now);
                    self.report(Report::Free { vip: vip.into() }, now);
                }
            };
        }
        if self.schedule.waits_first(now) || self.rest.is_empty() {
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
        } else if let Some(sent) = self.rest.pop_front() {
            self.next_frame = now + self.frame_gap;
            self.push(Effect::Send(sent), now);
        }
    }

    /// `by` says that it has `vip`, one of ours, maybe because somebody asked.
    fn hear_claim(&mut self, by: MacAddr, vip: P::Ip, answers: bool, now: Instant) -> Result<(), Ignored> {
        match self.friends.known.get(&by) {
            _ if by == self.protocol.mac() => return Err(Ignored::Fellow),
            Some(Contact::Own) => return Err(Ignored::Fellow),
            // Who leaves is not needed for what somebody has taken over.
            Some(Contact::Heard) if self.voice == Voice::Answers && !answers => {
                self.handed_over.insert(vip);
                return Err(Ignored::Fellow);
            }
            Some(Contact::Heard) => {
                self.heard_claims.retain(|_, (_, at)| now < *at + LATELY);
                if !self.probes.contains(vip) {
                    self.heard_claims.insert(vip, (by, now));
                }
                return Err(Ignored::Fellow);
            }
            Some(Contact::Unheard) if self.probes.contains(vip) => {
                if self.probes.held(vip, by, now) == Found::News {
                    self.report(Report::Held { vip: vip.into(), by }, now);
                }
            }
            Some(Contact::Unheard) => self.hear_rival(by, vip, now),
            // A router may answer late; it does not announce.
            None if self.overrules && answers && !self.rivals.contains(vip, by) => {
                return Err(Ignored::Overruled);
            }
            // It may be one of those that were never heard, to which this node is as unknown.
            None if self.friends.unseen > 0 && !self.probes.contains(vip) => self.hear_rival(by, vip, now),
            None if !self.probes.contains(vip) => self.claims.heard(vip, by, now),
            None if self.overrules && !self.rivals.contains(vip, by) => return Err(Ignored::Overruled),
            // It may be a peer; then it may go as one, or be heard soon.
            None if self.friends.unknown + self.friends.unseen > 0 => {
                let found = if self.friends.unknown > 0 {
                    self.probes.held_by_a_member(vip, by, now)
                } else {
                    self.probes.held(vip, by, now)
                };
                if found == Found::News {
                    let is_takeover = self.probes.is_takeover(vip);
                    let vip = vip.into();
                    let report =
                        if is_takeover { Report::Held { vip, by } } else { Report::Taken { vip, by } };
                    self.report(report, now);
                }
            }
            None => {
                if self.probes.taken(vip, by, now) == Found::News {
                    self.report(Report::Taken { vip: vip.into(), by }, now);
                }
            }
        }
        Ok(())
    }

    /// `by`, which is not heard, says that it has `vip`, which is announced here.
    fn hear_rival(&mut self, by: MacAddr, vip: P::Ip, now: Instant) {
        if self.rivals.heard(vip, by, now) == Found::News {
            self.report(Report::Rival { vip: vip.into(), by }, now);
        }
    }

    fn hear_question(
        &mut self,
        by: MacAddr,
        question: Question<P::Ip>,
        received: Instant,
        now: Instant,
    ) -> Result<(), Ignored> {
        let Question { target: vip, asker: _ } = question;
        if !self.orders.contains_key(&vip) {
            return Err(Ignored::NotAnnounced);
        }
        if self.probes.contains(vip) {
            // Who asks claims nothing, be it to find out whether it may take the address.
            return Err(Ignored::NotAnnounced);
        }
        if self.voice == Voice::Silent || self.handed_over.contains(&vip) {
            return Err(Ignored::Silent);
        }
        if now > received + LATE {
            return Err(Ignored::Stale);
        }
        if now < self.held {
            return Err(Ignored::Silent);
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

    /// Nothing that was begun for `vip` goes on.
    fn silence(&mut self, vip: P::Ip) {
        self.probes.withdraw(vip);
        self.claims.withdraw(vip);
        self.schedule.withdraw(vip);
        self.rest.retain(|sent| sent.vip != vip.into());
    }

    fn announce(&mut self, vip: P::Ip, purpose: Purpose, now: Instant) {
        let mut frames = self.protocol.announcements(vip).into_iter();
        if let Some(first) = frames.next() {
            self.send(vip, purpose, first, now);
        }
        self.rest.extend(frames.map(|frame| Transmission { vip: vip.into(), purpose, frame }));
    }

    fn send(&mut self, vip: P::Ip, purpose: Purpose, frame: Vec<u8>, now: Instant) {
        self.next_frame = now + self.frame_gap;
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

fn is_foreign(mac: MacAddr, protocol: &impl Protocol, friends: &Friends) -> bool {
    mac != protocol.mac() && !friends.known.contains_key(&mac)
}

#[cfg(test)]
mod tests;

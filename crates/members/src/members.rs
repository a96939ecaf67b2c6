//! The members, as one of them sees them: everything put together.

mod isolation;
mod place;
mod profiles;
mod receive;
mod relays;
mod roster;
mod rumours;
mod send;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Instant;

use objects::NodeName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use send::News;

use crate::answers::Answers;
use crate::away::Away;
use crate::config::Role;
use crate::contact::Contacts;
use crate::frame::Body;
use crate::goodbye::{Goodbye, LONGEST, Step};
use crate::identity::{Generations, Identity};
use crate::monitor::{Monitor, Verdict};
use crate::parts::{Incoming, ProfileVersion};
use crate::peer::{Peer, Standing};
use crate::places::{BackOff, Places};
use crate::rebirths::Rebirths;
use crate::relays::Relays;
use crate::ring::Ring;
use crate::seal::{FrameEncryption, OVERHEAD};
use crate::session::{Cookies, Epoch};
use crate::settle::Settle;
use crate::swim::Swim;
use crate::{Absence, Config, Counters, Event, Keys, LinkState, Profile, Refusal, Timing, Transmit};

/// The members as this one sees them.
///
/// After each call of anything that takes `now`, send what [`poll_transmit`](Self::poll_transmit) gives and
/// act on what [`poll_event`](Self::poll_event) gives, until both give nothing; then call
/// [`poll`](Self::poll) no later than [`poll_timeout`](Self::poll_timeout), after handing in with
/// [`handle`](Self::handle) whatever has arrived by then. A call that comes late is taken for a process that
/// stood still.
#[derive(Debug)]
pub struct Members {
    timing: Timing,
    encryption: FrameEncryption,
    cookies: Cookies,
    generations: Generations,
    /// From where everybody may speak.
    places: Places,
    /// Since when cookies are sent to nobody who is elsewhere.
    cautious_since: Epoch,
    /// When to say next that somebody is elsewhere.
    complaints: BackOff,
    /// What those who have not proved to be alive may still get.
    answers: Answers,
    swim: Swim,
    /// How often we come back from deaths that others tell of.
    rebirths: Rebirths,
    peers: BTreeMap<NodeName, Peer>,

    /// The names of all members.
    roster: BTreeSet<NodeName>,
    /// The members on their places.
    ring: Ring,
    /// Who has left and is expected back.
    away: Away,
    /// Who found dead whom, for those who are.
    deaths: BTreeMap<NodeName, Death>,
    /// Who is dead by what others say, but was just heard by us; and until when it may object.
    disputes: BTreeMap<NodeName, Instant>,
    monitor: Monitor,
    /// When the next heartbeat is due, and to which of our monitors.
    beat: (Instant, usize),
    /// When the last frame of anybody came.
    heard: Instant,

    contacts: Contacts,
    settle: Settle,
    phase: Phase,
    /// Since when there is no link.
    cut_since: Option<Instant>,
    /// Until when we could hear nobody the last time, and who has not answered us since.
    isolated_until: Instant,
    unanswered: BTreeSet<NodeName>,
    profile: Profile,
    profile_version: ProfileVersion,
    /// The profiles of others that are on their way.
    incoming: Incoming,
    /// What others are asked of those that are not heard, and told of those that are.
    relays: Relays,

    /// What is to be told to everybody once more, and when.
    repeats: VecDeque<(Instant, News)>,
    /// Whether the profile of somebody counts no more, or again, since that was asked last.
    profiles_changed: bool,
    out: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// When we asked to be called at the latest.
    due: Option<Instant>,
    /// When anything was done last.
    called: Instant,
}

/// Whether we come or go.
#[derive(Debug)]
enum Phase {
    Running,
    Leaving(Goodbye),
    Departed,
}

/// Who found somebody dead.
#[derive(Debug)]
struct Death {
    generation: u64,
    by: BTreeSet<NodeName>,
}

impl Members {
    /// The greatest length of a frame, in bytes.
    pub const MAX_FRAME: usize = 1400;
    /// What is in a frame with a message of SWIM besides that, at most.
    const AROUND_SWIM: usize = OVERHEAD + 280;
    /// How many others are remembered.
    const MAX_PEERS: usize = 2048;

    /// Alone at first, and only to observe. `seed` must be random.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let Config { name, address, boot, generation, preset, keys, profile } = config;
        let mut random = StdRng::from_seed(seed);
        let generations = Generations::new(generation, now);
        let generation = generations.first();
        let identity = Identity { name: name.clone(), address, boot, generation, role: Role::Observer };
        let max_message = NonZeroUsize::new(Self::MAX_FRAME - Self::AROUND_SWIM).expect("a frame holds more");
        let timing = preset.timing();
        let mut members = Self {
            timing,
            encryption: FrameEncryption::new(name, boot, keys),
            cookies: Cookies::new(&random.random(), now),
            generations,
            places: Places::default(),
            cautious_since: Epoch::default(),
            complaints: BackOff::default(),
            answers: Answers::default(),
            swim: Swim::new(identity, max_message, random.random()),
            rebirths: Rebirths::new(timing.silence),
            peers: BTreeMap::new(),
            roster: BTreeSet::new(),
            ring: Ring::default(),
            away: Away::default(),
            deaths: BTreeMap::new(),
            disputes: BTreeMap::new(),
            monitor: Monitor::new(timing),
            beat: (now, 0),
            heard: now,
            contacts: Contacts::default(),
            settle: Settle::Unaware,
            phase: Phase::Running,
            cut_since: None,
            isolated_until: now,
            unanswered: BTreeSet::new(),
            profile,
            profile_version: ProfileVersion::first(),
            incoming: Incoming::default(),
            relays: Relays::default(),
            repeats: VecDeque::new(),
            profiles_changed: false,
            out: VecDeque::new(),
            events: VecDeque::new(),
            due: None,
            called: now,
        };
        members.regroup(now);
        members.due = members.poll_timeout();
        members
    }

    /// Takes in a datagram that came `from` somewhere. Returns what frames of its kind are called in metrics.
    pub fn handle(&mut self, from: SocketAddr, frame: &[u8], now: Instant) -> Result<&'static str, Refusal> {
        if matches!(self.phase, Phase::Departed) {
            return Err(Refusal::Departed);
        }
        self.wake(now);
        let result = self.receive(from, frame, now);
        if result.is_ok() && self.heard == now {
            self.on_frame_without_link(now);
        }
        self.drain_swim(now);
        self.step_goodbye(now);
        self.due = self.poll_timeout();
        result
    }

    /// Does what is due.
    pub fn poll(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Departed) {
            return;
        }
        self.wake(now);
        self.beat(now);
        if self.judges() {
            while let Some(verdict) = self.monitor.poll(now) {
                match verdict {
                    Verdict::Ask(name) => self.ask_for(&name),
                    Verdict::Dead(name) => self.declare(&name, now),
                }
            }
        }
        if self.cut_since.is_none() {
            let (peers, recent) = (&self.peers, self.timing.silence);
            self.swim.poll(now, |identity| {
                peers.get(&identity.name).and_then(|peer| peer.heard).is_some_and(|at| now < at + recent)
            });
        }
        self.settle_disputes(now);
        if let Some(death) = self.rebirths.poll(now) {
            self.come_back(death, now);
        }
        while let Some(name) = self.away.poll(now) {
            self.events.push_back(Event::Overdue(name));
        }
        while let Some(name) = self.contacts.poll(now) {
            self.hello(&name, None, true, now);
        }
        self.ask_for_profiles(now);
        self.poll_relays(now);
        while self.repeats.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, news)) = self.repeats.pop_front() {
                self.repeat(&news, now);
            }
        }
        self.settle.poll(now);
        self.drain_swim(now);
        self.step_goodbye(now);
        self.due = self.poll_timeout();
    }

    /// When to call [`poll`](Self::poll) next. `None` once we have [departed](Event::Departed).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let goodbye = match &self.phase {
            Phase::Running => None,
            Phase::Leaving(goodbye) => Some(goodbye.poll_timeout()),
            Phase::Departed => return None,
        };
        let judging = if self.judges() { self.monitor.poll_timeout() } else { None };
        let swim = if self.cut_since.is_none() { self.swim.poll_timeout() } else { None };
        let repeat = self.repeats.front().map(|(at, _)| *at);
        let dispute = self.disputes.values().min().copied();
        let contact = self.contacts.poll_timeout();
        let settle = self.settle.poll_timeout();
        let away = self.away.poll_timeout();
        let profiles = self.incoming.poll_timeout();
        let rebirth = self.rebirths.poll_timeout();
        let relays = self.relays.poll_timeout();
        let beat = Some(self.beat.0);
        [beat, goodbye, judging, swim, repeat, dispute, contact, settle, away, profiles, rebirth, relays]
            .into_iter()
            .flatten()
            .min()
    }

    /// What to send next.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Those whom the cluster lists as peer speakers and where they listen, all of them at each call. They
    /// are contacted until they are members. Whoever is a member stays one without being listed; who is dead
    /// and not listed is forgotten.
    pub fn set_peers(&mut self, mut listed: BTreeMap<NodeName, SocketAddr>, now: Instant) {
        self.wake(now);
        listed.remove(&self.swim.identity().name);
        for (name, peer) in &mut self.peers {
            peer.listed = listed.get(name).copied();
        }
        self.peers.retain(|_, peer| peer.listed.is_some() || peer.runs());
        self.deaths.retain(|name, _| self.peers.contains_key(name));
        for (name, address) in &listed {
            self.peers.entry(name.clone()).or_default().listed = Some(*address);
            self.vouch(name, now);
        }
        self.contacts = Contacts::default();
        for (name, _) in self.peers.iter().filter(|(_, peer)| peer.wants_contact()) {
            self.contacts.add(name, now);
        }
        self.settle.peers(listed.into_keys().collect(), now);
        self.poll(now);
    }

    /// What to tell everybody of ourselves from now on.
    pub fn set_profile(&mut self, profile: Profile, now: Instant) {
        self.wake(now);
        if self.profile != profile {
            self.profile = profile;
            self.profile_version = self.profile_version.next();
            self.tell_profile(now);
        }
        self.due = self.poll_timeout();
    }

    /// From now on we are a member, and take over what falls to us. Call it when everything is known that this
    /// takes; it lasts.
    pub fn take_part(&mut self, now: Instant) {
        self.wake(now);
        if self.role() == Role::Observer {
            self.swim.assume(Role::Speaker, now);
            self.beat.0 = now;
            self.regroup(now);
            self.drain_swim(now);
            self.tell(News::Myself, now);
        }
        self.due = self.poll_timeout();
    }

    /// From now on we listen at `address`: everybody is told, by another life. If there is no
    /// [link](Self::set_link) at present they are told when it is back; and if there was none for so long that they may
    /// have held us dead, [`Event::PresumedDead`] follows, for that life cannot be objected to any more.
    pub fn set_address(&mut self, address: SocketAddr, now: Instant) {
        self.wake(now);
        if self.swim.identity().address != address {
            self.swim.move_to(address, now);
            for (name, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.runs()) {
                peer.knows_us.no_longer = true;
                self.contacts.add(name, now);
            }
            self.drain_swim(now);
            if self.cut_since.is_some_and(|since| now > since + self.timing.verdict()) {
                self.events.push_back(Event::PresumedDead);
            }
            self.tell(News::Myself, now);
        }
        self.due = self.poll_timeout();
    }

    /// The keys from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        self.encryption.set_keys(keys);
    }

    /// Whether there is a link to the others; taken to be up at first. Without one nothing is sent: it would be lost,
    /// and the kernel would go on looking for its receivers, once a second, when the link is back.
    pub fn set_link(&mut self, state: LinkState, now: Instant) {
        self.wake(now);
        match (state, self.cut_since) {
            (LinkState::Down, None) => self.cut_since = Some(now),
            (LinkState::Up, Some(since)) => self.linked_again(since, now),
            (LinkState::Down, Some(_)) | (LinkState::Up, None) => {}
        }
        self.due = self.poll_timeout();
    }

    /// Says goodbye to every member, and whether we shall be back; repeats it until each has confirmed;
    /// [`Event::Departed`] follows, at the latest after five seconds.
    pub fn leave(&mut self, absence: Absence, now: Instant) {
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Leaving(Goodbye::new(self.running(), absence, now));
        }
        self.poll(now);
    }

    /// Whatever `node`, that is [leaving](Event::Leaving), answered for is in good hands as far as this
    /// member has to do with it. Call it once for each such event.
    pub fn confirm_leave(&mut self, node: &NodeName) {
        if let Some(peer) = self.peers.get_mut(node)
            && let Standing::Leaving { confirmed } = &mut peer.standing
        {
            *confirmed = true;
            self.send(node, Body::LeaveConfirmed);
        }
    }

    /// The names of all live members, this one included once it [takes part](Self::take_part). One that leaves counts
    /// itself to the end, for it goes on answering, while the others count it no more.
    pub fn members(&self) -> &BTreeSet<NodeName> {
        &self.roster
    }

    /// Those who are no members at present but said that they would be back in a moment, and that their nodes go
    /// on serving meanwhile. They are named for ten seconds at most, and only until anybody is lost or leaves for good.
    pub fn away(&self) -> BTreeSet<NodeName> {
        self.away.names()
    }

    /// Whether enough of the others has been heard to act on [`members`](Self::members): at first, and after
    /// having been cut off or [stalled](Event::Stalled), this is false until the others have answered, or
    /// there is nobody to ask, or nobody answered in time; and as long as there is no link to those who are there. It
    /// changes only within calls that take `now`.
    pub fn settled(&self) -> bool {
        self.settle.is_settled() && (self.cut_since.is_none() || self.peers.is_empty())
    }

    /// What the others tell of themselves, those too that only observe, as yet or for good. A member is missing here
    /// if others told of it, or of another process of it, which has not been heard itself. Of one that was heard only just
    /// now, there may be no more than what it told [in brief](Profile::with_brief).
    pub fn profiles(&self) -> impl Iterator<Item = (&NodeName, &Profile)> {
        let speaks = |peer: &Peer| peer.runs() && peer.is_vouched_for() && peer.is_heard_itself();
        let running = self.peers.iter().filter(move |(_, peer)| speaks(peer));
        running.filter_map(|(name, peer)| Some((name, peer.told.profile.as_ref()?)))
    }

    /// Whether [profiles](Self::profiles) changed since this was asked last, though no event tells of it.
    pub(crate) fn take_profiles_changed(&mut self) -> bool {
        std::mem::take(&mut self.profiles_changed)
    }

    /// How often this member has judged.
    pub fn counters(&self) -> Counters {
        self.monitor.counters()
    }

    /// How often this member was told of its own death again before it might object again: a few times a second.
    pub fn deaths_put_off(&self) -> u64 {
        self.rebirths.put_off()
    }

    fn role(&self) -> Role {
        self.swim.identity().role
    }

    /// Whether we judge others at all at present.
    fn judges(&self) -> bool {
        self.role() == Role::Speaker && self.cut_since.is_none() && matches!(self.phase, Phase::Running)
    }

    /// Sends a heartbeat if one is due: to each monitor in turn, so that each hears us once in the period, one after the
    /// other.
    fn beat(&mut self, now: Instant) {
        let (due, turn) = self.beat;
        if due > now {
            return;
        }
        let own = &self.swim.identity().name;
        let monitors: Vec<_> = self.ring.monitors(own).cloned().collect();
        let pause = self.timing.period / u32::try_from(monitors.len().max(1)).expect("a few");
        self.beat = ((due + pause).max(now), turn.wrapping_add(1));
        if self.role() == Role::Speaker && !monitors.is_empty() {
            self.send(&monitors[turn % monitors.len()], Body::Heartbeat);
        }
    }

    /// Goes on with our goodbye, if we say one.
    fn step_goodbye(&mut self, now: Instant) {
        let Phase::Leaving(goodbye) = &mut self.phase else { return };
        goodbye.give_up(self.timing.verdict() + LONGEST, now);
        match goodbye.poll(now) {
            None => {}
            Some(Step::Tell(names, absence)) => {
                for name in names {
                    self.send(&name, Body::Leave(absence));
                    // Who has not taken over yet does not confirm, but is there and hears us.
                    self.send(&name, Body::Ping);
                }
            }
            Some(Step::Depart(unconfirmed)) => {
                self.running().iter().for_each(|name| self.send(name, Body::Bye));
                self.phase = Phase::Departed;
                self.events.push_back(Event::Departed { unconfirmed });
            }
        }
    }
}

//! SWIM by foca: who is a member, spread by gossip, with refutation.
//!
//! foca finds the dead too, by random probes within seconds. That is the net under the monitors: it catches
//! what they miss because they died with their peer.
//!
//! It runs on a clock of its own, which stands still while this process cannot hear the others: see
//! [`Swim::delay`].

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::{Duration, Instant};

pub(crate) use foca::OwnedNotification as Note;
use foca::{
    AccumulatingRuntime, Config, Foca, Header, Member, Message, NoCustomBroadcast, PeriodicParams,
    PostcardCodec, State,
};
use objects::NodeName;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::Refusal;
use crate::config::Role;
use crate::identity::Identity;

/// How often one random member is probed, a backstop for the monitors.
const PROBE_PERIOD: Duration = Duration::from_secs(1);

/// An instance of foca, its timers, and what it wants.
pub(crate) struct Swim {
    foca: Foca<Identity, PostcardCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Identity>,
    timers: BTreeMap<(Instant, u64), foca::Timer<Identity>>,
    /// Keeps timers that are due at the same time apart, in their order.
    sequence: u64,
    sends: VecDeque<(Identity, Vec<u8>)>,
    notes: VecDeque<Note<Identity>>,
}

impl Swim {
    /// Alone at first. Its messages are at most `max_message` bytes long.
    pub(crate) fn new(identity: Identity, max_message: NonZeroUsize, seed: [u8; 32]) -> Self {
        Self {
            foca: Foca::new(identity, config(max_message), StdRng::from_seed(seed), PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            sequence: 0,
            sends: VecDeque::new(),
            notes: VecDeque::new(),
        }
    }

    /// Who we are; changes when we were declared dead, or take another role.
    pub(crate) fn identity(&self) -> &Identity {
        self.foca.identity()
    }

    /// Whom a message tells of: its sender, and those whose state it passes on.
    pub(crate) fn mentioned(message: &[u8]) -> Result<Vec<Identity>, Refusal> {
        let (header, members) = Self::parse(message)?;
        Ok([header.src].into_iter().chain(members.iter().map(|member| member.id().clone())).collect())
    }

    fn parse(message: &[u8]) -> Result<(Header<Identity>, Vec<Member<Identity>>), Refusal> {
        let malformed = |_| Refusal::Malformed;
        let (header, rest) = postcard::take_from_bytes::<Header<Identity>>(message).map_err(malformed)?;
        let mut members = Vec::new();
        if header.message != Message::Broadcast
            && let Some((count, mut rest)) = rest.split_first_chunk()
        {
            for _ in 0..u16::from_be_bytes(*count) {
                let (member, more) =
                    postcard::take_from_bytes::<Member<Identity>>(rest).map_err(malformed)?;
                members.push(member);
                rest = more;
            }
        }
        Ok((header, members))
    }

    /// Whether a message makes `whom`, that it is for, begin another life: it says that this one is dead, or suspects
    /// it in a way that it could not refute.
    pub(crate) fn tells_of_death(message: &[u8], whom: &Identity) -> Result<bool, Refusal> {
        let (header, members) = Self::parse(message)?;
        let dead = |member: &Member<Identity>| match member.state() {
            State::Alive => false,
            State::Suspect => member.incarnation() >= foca::Incarnation::MAX - 1,
            State::Down => true,
        };
        Ok((header.message == Message::TurnUndead && header.dst == *whom)
            || members.iter().any(|member| member.id() == whom && dead(member)))
    }

    /// How much of a message is about its sender alone.
    pub(crate) fn header_length(message: &[u8]) -> Result<usize, Refusal> {
        let (_, rest) =
            postcard::take_from_bytes::<Header<Identity>>(message).map_err(|_| Refusal::Malformed)?;
        Ok(message.len() - rest.len())
    }

    /// How many are remembered, alive or dead.
    pub(crate) fn count(&self) -> usize {
        self.foca.iter_membership_state().count()
    }

    /// Takes in a message.
    pub(crate) fn handle(&mut self, message: &[u8], now: Instant) -> Result<(), Refusal> {
        let result = self.foca.handle_data(message, &mut self.runtime);
        self.collect(now);
        result.map_err(|_invalid| Refusal::Malformed)
    }

    /// `identity` is alive: it said so.
    pub(crate) fn alive(&mut self, identity: Identity, now: Instant) {
        self.apply(Member::alive(identity), now);
    }

    /// `identity` is dead. If that is our own, we begin another life.
    pub(crate) fn down(&mut self, identity: Identity, now: Instant) {
        self.apply(Member::down(identity), now);
    }

    /// Asks `identity` for others that it knows.
    pub(crate) fn announce(&mut self, identity: Identity, now: Instant) {
        let result = self.foca.announce(identity, &mut self.runtime);
        self.expect(result, now);
    }

    /// Begins another life, as `generation`, which is greater than that of this one.
    pub(crate) fn outlive(&mut self, generation: u64, now: Instant) {
        self.begin(self.identity().clone(), generation.saturating_sub(1), now);
    }

    /// Begins another life, in this role.
    pub(crate) fn assume(&mut self, role: Role, now: Instant) {
        let identity = Identity { role, ..self.identity().clone() };
        self.begin(identity, self.identity().generation, now);
    }

    /// Begins another life, at this address.
    pub(crate) fn move_to(&mut self, address: SocketAddr, now: Instant) {
        let identity = Identity { address, ..self.identity().clone() };
        self.begin(identity, self.identity().generation, now);
    }

    /// Begins another life as `identity`, after all that are known as the generation `after` or before.
    fn begin(&mut self, identity: Identity, after: u64, now: Instant) {
        // None is believed that no other could follow.
        let Some(generation) = after.checked_add(1) else { return };
        let identity = Identity { generation, ..identity };
        let result = self.foca.change_identity(identity, &mut self.runtime);
        self.expect(result, now);
        // foca 2.0 stops its timers then, and says and asks nothing more until it hears somebody. Two who both do this
        // while they cannot hear each other would never find each other again. No updates at all wake it.
        let result = self.foca.apply_many(std::iter::empty(), true, &mut self.runtime);
        self.expect(result, now);
    }

    /// Whether `identity` is among the dead.
    pub(crate) fn is_down(&self, identity: &Identity) -> bool {
        let same = |member: &&Member<Identity>| member.id() == identity;
        self.foca.iter_membership_state().find(same).is_some_and(|member| member.state() == State::Down)
    }

    /// The generation of the latest life of `name` that is known, be it over or not.
    pub(crate) fn generation(&self, name: &NodeName) -> Option<u64> {
        let same = |member: &&Member<Identity>| member.id().name == *name;
        self.foca.iter_membership_state().find(same).map(|member| member.id().generation)
    }

    /// The clock stood still for `time`.
    pub(crate) fn delay(&mut self, time: Duration) {
        self.timers = std::mem::take(&mut self.timers)
            .into_iter()
            .map(|((at, sequence), timer)| ((at + time, sequence), timer))
            .collect();
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// Does what is due. Suspicions against those of whom `is_heard` holds come to nothing.
    pub(crate) fn poll(&mut self, now: Instant, is_heard: impl Fn(&Identity) -> bool) {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let timer = timer.remove();
            if let foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } = &timer
                && (is_heard(member_id) || !self.is_suspect(member_id, *incarnation))
            {
                continue;
            }
            let result = self.foca.handle_timer(timer, &mut self.runtime);
            self.expect(result, now);
        }
    }

    /// The next message to send.
    pub(crate) fn poll_send(&mut self) -> Option<(Identity, Vec<u8>)> {
        self.sends.pop_front()
    }

    /// The next thing that happened.
    pub(crate) fn poll_note(&mut self) -> Option<Note<Identity>> {
        self.notes.pop_front()
    }

    /// Whether a suspicion still stands. foca 2.0 knows that too, but tells even a member that has refuted it
    /// that it is dead, which then begins another life for nothing.
    fn is_suspect(&self, identity: &Identity, incarnation: foca::Incarnation) -> bool {
        let same = |member: &&Member<Identity>| member.id() == identity;
        let member = self.foca.iter_members().find(same);
        member.is_some_and(|member| member.state() == State::Suspect && member.incarnation() == incarnation)
    }

    fn apply(&mut self, update: Member<Identity>, now: Instant) {
        let result = self.foca.apply_many(std::iter::once(update), true, &mut self.runtime);
        self.expect(result, now);
    }

    /// Nothing of what we ask for ourselves can fail but for names that are so long that three of them do not fit
    /// into a message: such a probe is not sent, and the monitors do without.
    fn expect(&mut self, result: Result<(), foca::Error>, now: Instant) {
        debug_assert!(
            matches!(result, Ok(()) | Err(foca::Error::IncompleteProbeCycle | foca::Error::NotConnected)),
            "{result:?}"
        );
        self.collect(now);
    }

    fn collect(&mut self, now: Instant) {
        while let Some((to, message)) = self.runtime.to_send() {
            self.sends.push_back((to, message.to_vec()));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.sequence += 1;
            self.timers.insert((now + after, self.sequence), timer);
        }
        while let Some(note) = self.runtime.to_notify() {
            self.notes.push_back(note);
        }
    }
}

impl std::fmt::Debug for Swim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swim").field("identity", self.identity()).finish_non_exhaustive()
    }
}

fn config(max_message: NonZeroUsize) -> Config {
    let count = |count| NonZeroUsize::new(count).expect("a literal that is not zero");
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_PERIOD / 3,
        num_indirect_probes: count(3),
        // Enough for an update to reach each of 50 members by gossip alone, measured; foca's own choice is not.
        max_transmissions: NonZeroU8::new(15).expect("a literal that is not zero"),
        suspect_to_down_after: 3 * PROBE_PERIOD,
        // The dead are told apart by generation, so little is lost by forgetting them.
        remove_down_after: Some(Duration::from_mins(10)),
        max_packet_size: max_message,
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams { frequency: Duration::from_secs(10), num_members: count(1) }),
        // Those who are listed are contacted anyway, alive or not.
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams {
            frequency: Duration::from_millis(200),
            num_members: count(3),
        }),
    }
}

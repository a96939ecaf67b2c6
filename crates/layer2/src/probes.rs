//! Whether somebody has an address already, before this node begins to answer for it: duplicate address detection in a
//! short form of RFC 5227 section 2.1 and RFC 4862 section 5.4 for a new address, and a shorter one for a takeover.
//!
//! ```text
//!           begin             after all questions, and a last pause of silence
//!   (none) -------> asking ------------------------------------------------------> (free)
//!                    ^  |
//!             later  |  +--> taken: a foreign host has it, ask again after AGAIN
//!                    +--+--> held: a peer whose gossip is not heard has it, ask again after LOOK
//! ```
//!
//! The RFCs ask for seconds of silence, which is too long for somebody who waits for a Service. What is
//! found out too late is found all the same: see `claims`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::MacAddr;
use crate::timers::Timers;

/// A foreign host may have given an address up by then.
const AGAIN: Duration = Duration::from_secs(30);
/// A peer may have gone by then.
const LOOK: Duration = Duration::from_secs(3);
/// A member of which nothing is known yet is known by then, or leaves the address to us.
const SOON: Duration = Duration::from_secs(1);
/// Each waits up to that much longer: two that leave an address to each other must not take it at the same moment again.
const SPREAD: u64 = 400;

/// How often the LAN is asked, and how long it has to answer each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Nobody announced the address before.
    New,
    /// A node that is gone did.
    Takeover,
}

impl Care {
    fn questions(self) -> u8 {
        match self {
            Self::New => 3,
            Self::Takeover => 2,
        }
    }

    /// Between two questions, and after the last.
    fn pause(self) -> Duration {
        match self {
            Self::New => Duration::from_millis(100),
            Self::Takeover => Duration::from_millis(40),
        }
    }
}

/// The addresses that are not answered for yet, and what the LAN says of them.
#[derive(Debug)]
pub(crate) struct Probes<A> {
    by_address: BTreeMap<A, Probe>,
    timers: Timers<A>,
    /// When to ask again for what a peer has.
    look: Duration,
}

#[derive(Debug)]
struct Probe {
    care: Care,
    state: State,
    /// Who was found to have it last.
    had_by: Option<MacAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many questions are left.
    Asking(u8),
    Taken,
    Held,
}

/// What is to be done for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<A> {
    /// Ask the LAN who has it.
    Ask(A),
    /// Nobody has it, and it is not probed any more.
    Free(A),
}

/// What is new about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Somebody has the address.
    News,
    /// It is known already.
    Nothing,
}

impl<A: Copy + Ord> Probes<A> {
    /// Asks for nothing yet. `seed` is where the jitter comes from.
    pub(crate) fn new(seed: u64) -> Self {
        let look = LOOK + Duration::from_millis(seed % SPREAD);
        Self { by_address: BTreeMap::new(), timers: Timers::new(), look }
    }

    /// Asks for `address` from now on. What was asked with more care still is.
    pub(crate) fn begin(&mut self, address: A, care: Care, now: Instant) {
        let care = match self.by_address.get(&address) {
            Some(Probe { care: Care::New, .. }) => Care::New,
            Some(_) | None => care,
        };
        self.by_address.insert(address, Probe { care, state: State::Asking(care.questions()), had_by: None });
        self.timers.set(address, now);
    }

    /// A peer has `address`, and it is to be asked for only when that one may have gone.
    pub(crate) fn wait(&mut self, address: A, now: Instant) {
        self.by_address.insert(address, Probe { care: Care::Takeover, state: State::Held, had_by: None });
        self.timers.set(address, now + self.look);
    }

    /// Asks for `address` no more.
    pub(crate) fn withdraw(&mut self, address: A) {
        self.by_address.remove(&address);
        self.timers.cancel(address);
    }

    /// Whether it is not known yet that `address` is free.
    pub(crate) fn contains(&self, address: A) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether `address` is to be taken over from a node that is gone.
    pub(crate) fn is_takeover(&self, address: A) -> bool {
        self.by_address.get(&address).is_some_and(|probe| probe.care == Care::Takeover)
    }

    /// The foreign host `by` has `address`.
    pub(crate) fn taken(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        self.found(address, by, (State::Taken, AGAIN), now)
    }

    /// The peer `by` has `address`, whose gossip is not heard.
    pub(crate) fn held(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        self.found(address, by, (State::Held, self.look), now)
    }

    /// `by` has `address`, which may be a member of which nothing is known yet.
    pub(crate) fn held_by_a_member(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        self.found(address, by, (State::Held, SOON), now)
    }

    fn found(&mut self, address: A, by: MacAddr, (state, pause): (State, Duration), now: Instant) -> Found {
        let Some(probe) = self.by_address.get_mut(&address) else { return Found::Nothing };
        if !matches!(probe.state, State::Asking(_)) {
            return Found::Nothing;
        }
        probe.state = state;
        self.timers.set(address, now + pause);
        if probe.had_by.replace(by) == Some(by) { Found::Nothing } else { Found::News }
    }

    /// Asks again at once for what peers hold: some of them are heard again.
    pub(crate) fn look_again(&mut self, now: Instant) {
        for (address, probe) in &self.by_address {
            if probe.state == State::Held {
                self.timers.set(*address, now);
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step<A>> {
        let address = self.timers.pop(now)?;
        let probe = self.by_address.get_mut(&address).expect("what has a timer is probed");
        let left = match probe.state {
            State::Asking(left) => left,
            State::Taken | State::Held => probe.care.questions(),
        };
        if left == 0 {
            self.by_address.remove(&address);
            return Some(Step::Free(address));
        }
        probe.state = State::Asking(left - 1);
        self.timers.set(address, now + probe.care.pause());
        Some(Step::Ask(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn follow(probes: &mut Probes<u8>, start: Instant) -> Vec<(u128, Step<u8>)> {
        let mut steps = Vec::new();
        while let Some(now) = probes.poll_timeout() {
            steps.push(((now - start).as_millis(), probes.poll(now).unwrap()));
        }
        steps
    }

    #[test]
    fn silence_after_three_questions_means_that_the_address_is_free() {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::New, start);
        assert!(probes.contains(1));
        let expected = [(0, Step::Ask(1)), (100, Step::Ask(1)), (200, Step::Ask(1)), (300, Step::Free(1))];
        assert_eq!(follow(&mut probes, start), expected);
        assert!(!probes.contains(1));
    }

    #[test]
    fn a_conflict_at_any_time_before_that_means_that_it_is_taken() {
        for asked in 1..=3 {
            let start = Instant::now();
            let mut probes = Probes::new(0);
            probes.begin(1, Care::New, start);
            for _ in 0..asked {
                assert_eq!(probes.poll(probes.poll_timeout().unwrap()), Some(Step::Ask(1)));
            }
            let heard = start + ms(299);
            assert_eq!(probes.taken(1, A, heard), Found::News);
            assert_eq!(probes.taken(1, B, heard), Found::Nothing);
            assert!(probes.contains(1));
            assert_eq!(probes.poll_timeout(), Some(heard + AGAIN));
        }
    }

    #[test]
    fn a_taken_address_is_asked_for_again_and_told_of_again_only_when_another_has_it() {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::New, start);
        let mut now = start;
        for (by, found) in [(A, Found::News), (A, Found::Nothing), (B, Found::News), (B, Found::Nothing)] {
            assert_eq!(probes.poll(now), Some(Step::Ask(1)));
            assert_eq!(probes.taken(1, by, now), found);
            now += AGAIN;
        }
        let steps = follow(&mut probes, now);
        assert_eq!(steps.last(), Some(&(300, Step::Free(1))));
        assert_eq!(steps.len(), 4);
    }

    #[test]
    fn a_withdrawn_address_and_one_never_probed_cause_nothing() {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::New, start);
        probes.withdraw(1);
        assert_eq!(probes.taken(1, A, start), Found::Nothing);
        assert_eq!(probes.taken(2, A, start), Found::Nothing);
        assert_eq!(probes.poll_timeout(), None);
    }

    #[test]
    fn a_takeover_asks_twice_and_is_free_after_80_ms() {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::Takeover, start);
        let expected = [(0, Step::Ask(1)), (40, Step::Ask(1)), (80, Step::Free(1))];
        assert_eq!(follow(&mut probes, start), expected);
    }

    #[test]
    fn what_a_peer_holds_is_asked_for_again_soon_and_at_once_when_a_peer_is_heard_again() {
        let start = Instant::now();
        let mut probes = Probes::new(0);
        probes.begin(1, Care::Takeover, start);
        probes.poll(start);
        assert_eq!([probes.held(1, A, start), probes.held(1, A, start)], [Found::News, Found::Nothing]);
        assert_eq!(probes.poll_timeout(), Some(start + LOOK));
        probes.look_again(start + ms(7));
        assert_eq!(probes.poll(start + ms(7)), Some(Step::Ask(1)));
        probes.wait(2, start);
        probes.withdraw(1);
        assert_eq!(probes.poll_timeout(), Some(start + LOOK));
        probes.begin(2, Care::New, start);
        probes.begin(2, Care::Takeover, start);
        assert_eq!(follow(&mut probes, start).len(), 4, "more care stays");
    }
}

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
//!
//! Where more than [`CROWD`] addresses are taken over at once, each is asked for once instead of twice, since the number of
//! frames decides when the last of them is served. The second question is for a frame that is lost. A peer that lives
//! although it is not heard has many of them, and is found out by its answer for any: from then on, the others are asked
//! for twice. That of a foreign host is one frame in thousands, and its next frame shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use timers::Timers;

use crate::MacAddr;

/// A foreign host may have given an address up by then.
const AGAIN: Duration = Duration::from_secs(30);
/// A peer may have gone by then.
const LOOK: Duration = Duration::from_secs(3);
/// A member of which nothing is known yet is known by then, or leaves the address to us.
const SOON: Duration = Duration::from_secs(1);
/// Each waits up to that much longer: two that leave an address to each other must not take it at the same moment again.
const SPREAD: u64 = 400;

/// So many addresses can be asked for twice, and announced, within a tenth of a second: see `schedule::frame_gap`.
const CROWD: usize = 16;

/// How often the LAN is asked, and how long it has to answer each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Nobody announced the address before.
    New,
    /// A node that is gone did.
    Takeover,
}

impl Care {
    fn questions<A>(self, crowd: &Crowd<A>) -> u8 {
        match self {
            Self::New => 3,
            Self::Takeover if crowd.is_large && !crowd.is_answered => 1,
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
    /// When to ask next.
    questions: Timers<A>,
    /// When nobody has answered the last question for long enough.
    silences: Timers<A>,
    crowd: Crowd<A>,
    /// When to ask again for what a peer has.
    look: Duration,
}

/// The addresses that are taken over together.
#[derive(Debug)]
struct Crowd<A> {
    /// Those that are being asked for.
    asked: BTreeSet<A>,
    /// Whether there were many of them at a time.
    is_large: bool,
    /// Whether a peer that is not heard has one of them.
    is_answered: bool,
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
    /// So many questions were asked.
    Asking(u8),
    Taken,
    Held,
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
        let crowd = Crowd { asked: BTreeSet::new(), is_large: false, is_answered: false };
        let (questions, silences) = (Timers::default(), Timers::default());
        Self { by_address: BTreeMap::new(), questions, silences, crowd, look }
    }

    /// Asks for `address` from now on. What was asked with more care still is.
    pub(crate) fn begin(&mut self, address: A, care: Care, now: Instant) {
        let care = match self.by_address.get(&address) {
            Some(Probe { care: Care::New, .. }) => Care::New,
            Some(_) | None => care,
        };
        self.withdraw(address);
        self.by_address.insert(address, Probe { care, state: State::Asking(0), had_by: None });
        self.questions.set(address, now);
        self.crowd.join(address, care);
    }

    /// A peer has `address`, and it is to be asked for only when that one may have gone.
    pub(crate) fn wait(&mut self, address: A, now: Instant) {
        self.withdraw(address);
        self.by_address.insert(address, Probe { care: Care::Takeover, state: State::Held, had_by: None });
        self.questions.set(address, now + self.look);
    }

    /// Asks for `address` no more.
    pub(crate) fn withdraw(&mut self, address: A) {
        self.by_address.remove(&address);
        self.questions.cancel(&address);
        self.silences.cancel(&address);
        self.crowd.leave(address);
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
        self.silences.cancel(&address);
        self.questions.set(address, now + pause);
        self.crowd.is_answered |= state == State::Held;
        self.crowd.leave(address);
        if probe.had_by.replace(by) == Some(by) { Found::Nothing } else { Found::News }
    }

    /// Asks again at once for what peers hold: some of them are heard again.
    pub(crate) fn look_again(&mut self, now: Instant) {
        for (address, probe) in &self.by_address {
            if probe.state == State::Held {
                self.questions.set(*address, now);
            }
        }
    }

    /// When [`Self::poll_question`] has something to ask, if ever.
    pub(crate) fn question_timeout(&self) -> Option<Instant> {
        self.questions.first()
    }

    /// When [`Self::poll_silence`] has something to say, if ever.
    pub(crate) fn silence_timeout(&self) -> Option<Instant> {
        self.silences.first()
    }

    /// An address to ask the LAN for now.
    pub(crate) fn poll_question(&mut self, now: Instant) -> Option<A> {
        let address = self.questions.pop(now)?;
        let probe = self.by_address.get_mut(&address).expect("what has a timer is probed");
        let before = match probe.state {
            State::Asking(asked) => asked,
            State::Taken | State::Held => {
                self.crowd.join(address, probe.care);
                0
            }
        };
        probe.state = State::Asking(before + 1);
        let last = before + 1 >= probe.care.questions(&self.crowd);
        let timers = if last { &mut self.silences } else { &mut self.questions };
        timers.set(address, now + probe.care.pause());
        Some(address)
    }

    /// An address that nobody has, and that is not probed any more.
    pub(crate) fn poll_silence(&mut self, now: Instant) -> Option<A> {
        while let Some(address) = self.silences.pop(now) {
            let probe = &self.by_address[&address];
            // One question was enough when it was asked, and is not any more.
            if matches!(probe.state, State::Asking(asked) if asked < probe.care.questions(&self.crowd)) {
                self.questions.set(address, now);
            } else {
                self.withdraw(address);
                return Some(address);
            }
        }
        None
    }
}

impl<A: Ord> Crowd<A> {
    fn join(&mut self, address: A, care: Care) {
        if care == Care::Takeover {
            self.asked.insert(address);
            self.is_large |= self.asked.len() > CROWD;
        }
    }

    /// The next crowd begins when all of this one have left.
    fn leave(&mut self, address: A) {
        self.asked.remove(&address);
        if self.asked.is_empty() {
            (self.is_large, self.is_answered) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests;

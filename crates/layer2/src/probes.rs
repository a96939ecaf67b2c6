//! Whether somebody has an address already, before it is announced for the first time: duplicate address
//! detection in a short form of RFC 5227 section 2.1 and RFC 4862 section 5.4.
//!
//! ```text
//!           begin             after PROBES questions, and a last STEP of silence
//!   (none) -------> asking ------------------------------------------------------> (free)
//!                    ^  | conflict
//!            AGAIN   |  v
//!           later    taken
//! ```
//!
//! The RFCs ask for seconds of silence, which is too long for somebody who waits for a Service. What is
//! found out too late is found all the same: see `claims`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::MacAddr;
use crate::timers::Timers;

/// How often the LAN is asked (RFC 5227: PROBE_NUM).
const PROBES: u8 = 3;
/// Between two questions, and after the last.
const STEP: Duration = Duration::from_millis(100);
/// An address that is taken may be given up by then.
const AGAIN: Duration = Duration::from_secs(30);

/// The addresses that are not announced yet, and what the LAN says of them.
#[derive(Debug)]
pub(crate) struct Probes<A> {
    probes: BTreeMap<A, Probe>,
    timers: Timers<A>,
}

#[derive(Debug)]
struct Probe {
    state: State,
    /// Who was found to have it last.
    taken_by: Option<MacAddr>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// So many questions are left.
    Asking(u8),
    Taken,
}

/// What is to be done for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<A> {
    /// Ask the LAN who has it.
    Ask(A),
    /// Nobody has it, and it is not probed any more.
    Free(A),
}

/// What is new about a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Somebody has the address.
    News,
    /// It is known already.
    Nothing,
}

impl<A: Copy + Ord> Probes<A> {
    pub(crate) fn new() -> Self {
        Self { probes: BTreeMap::new(), timers: Timers::new() }
    }

    /// Asks for `address` from now on.
    pub(crate) fn begin(&mut self, address: A, now: Instant) {
        self.probes.insert(address, Probe { state: State::Asking(PROBES), taken_by: None });
        self.timers.set(address, now);
    }

    /// Asks for `address` no more.
    pub(crate) fn withdraw(&mut self, address: A) {
        self.probes.remove(&address);
        self.timers.cancel(address);
    }

    /// Whether it is not known yet that `address` is free.
    pub(crate) fn contains(&self, address: A) -> bool {
        self.probes.contains_key(&address)
    }

    /// `by` has `address`, or wants it as we do.
    pub(crate) fn conflict(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        let Some(probe) = self.probes.get_mut(&address) else { return Found::Nothing };
        match probe.state {
            State::Taken => Found::Nothing,
            State::Asking(_) => {
                probe.state = State::Taken;
                self.timers.set(address, now + AGAIN);
                if probe.taken_by.replace(by) == Some(by) { Found::Nothing } else { Found::News }
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step<A>> {
        let address = self.timers.pop(now)?;
        let probe = self.probes.get_mut(&address).expect("what has a timer is probed");
        let left = match probe.state {
            State::Asking(left) => left,
            State::Taken => PROBES,
        };
        if left == 0 {
            self.probes.remove(&address);
            return Some(Step::Free(address));
        }
        probe.state = State::Asking(left - 1);
        self.timers.set(address, now + STEP);
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
        let mut probes = Probes::new();
        probes.begin(1, start);
        assert!(probes.contains(1));
        let expected = [(0, Step::Ask(1)), (100, Step::Ask(1)), (200, Step::Ask(1)), (300, Step::Free(1))];
        assert_eq!(follow(&mut probes, start), expected);
        assert!(!probes.contains(1));
    }

    #[test]
    fn a_conflict_at_any_time_before_that_means_that_it_is_taken() {
        for asked in 1..=3 {
            let start = Instant::now();
            let mut probes = Probes::new();
            probes.begin(1, start);
            for _ in 0..asked {
                assert_eq!(probes.poll(probes.poll_timeout().unwrap()), Some(Step::Ask(1)));
            }
            let heard = start + ms(299);
            assert_eq!(probes.conflict(1, A, heard), Found::News);
            assert_eq!(probes.conflict(1, B, heard), Found::Nothing);
            assert!(probes.contains(1));
            assert_eq!(probes.poll_timeout(), Some(heard + AGAIN));
        }
    }

    #[test]
    fn a_taken_address_is_asked_for_again_and_told_of_again_only_when_another_has_it() {
        let start = Instant::now();
        let mut probes = Probes::new();
        probes.begin(1, start);
        let mut now = start;
        for (by, found) in [(A, Found::News), (A, Found::Nothing), (B, Found::News), (B, Found::Nothing)] {
            assert_eq!(probes.poll(now), Some(Step::Ask(1)));
            assert_eq!(probes.conflict(1, by, now), found);
            now += AGAIN;
        }
        let steps = follow(&mut probes, now);
        assert_eq!(steps.last(), Some(&(300, Step::Free(1))));
        assert_eq!(steps.len(), 4);
    }

    #[test]
    fn a_withdrawn_address_and_one_never_probed_cause_nothing() {
        let start = Instant::now();
        let mut probes = Probes::new();
        probes.begin(1, start);
        probes.withdraw(1);
        assert_eq!(probes.conflict(1, A, start), Found::Nothing);
        assert_eq!(probes.conflict(2, A, start), Found::Nothing);
        assert_eq!(probes.poll_timeout(), None);
    }
}

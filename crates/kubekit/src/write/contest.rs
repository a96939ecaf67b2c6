//! Somebody else who writes the same field of the same object.

use std::time::{Duration, Instant};

use super::ledger::spread;

/// How often somebody else has undone what was written to one object. Pure: the time is an argument.
///
/// Whoever meddles once is corrected at once. Two programs that both insist would write as fast as the API server
/// takes it; so from the fourth time on each correction waits longer than the one before, up to a minute. After five
/// quiet minutes all is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contest {
    undone: u32,
    last: Option<Instant>,
}

/// What to do after something was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// How long to leave it as it is.
    pub pause: Duration,
    /// Whether to tell people: once in each contest.
    pub warn: bool,
}

/// So often the correction comes at once.
const AT_ONCE: u32 = 3;
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
const QUIET: Duration = Duration::from_mins(5);

impl Contest {
    /// What was written was undone, as seen at `now`. `random` is between 0 and 1 and spreads the pauses.
    pub fn undone(&mut self, now: Instant, random: f64) -> Undone {
        if self.is_over(now) {
            *self = Self::default();
        }
        self.last = Some(now);
        self.undone = self.undone.saturating_add(1);
        let pause = match self.undone.checked_sub(AT_ONCE + 1) {
            None => Duration::ZERO,
            Some(more) => spread(FIRST, LONGEST, more, random),
        };
        Undone { pause, warn: self.undone == AT_ONCE + 1 }
    }

    /// Whether nothing is known that matters at `now`.
    pub fn is_over(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_insists_is_corrected_ever_more_rarely_and_told_of_once() {
        let (mut contest, start) = (Contest::default(), Instant::now());
        let (mut now, mut pauses, mut warnings) = (start, Vec::new(), 0);
        for _ in 0..12 {
            let Undone { pause, warn } = contest.undone(now, 0.0);
            pauses.push(pause.as_secs());
            warnings += u32::from(warn);
            now += pause;
        }
        assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(warnings, 1);
    }

    #[test]
    fn a_contest_is_forgotten_after_some_quiet() {
        let (mut contest, start) = (Contest::default(), Instant::now());
        assert!(contest.is_over(start));
        for _ in 0..8 {
            contest.undone(start, 0.0);
        }
        assert!(!contest.is_over(start + Duration::from_secs(299)));
        assert!(contest.is_over(start + QUIET));
        assert_eq!(contest.undone(start + QUIET, 0.0), Undone { pause: Duration::ZERO, warn: false });
    }
}

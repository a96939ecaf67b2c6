//! How often something may happen.

use std::time::{Duration, Instant};

/// So many times at once may something happen, and after that once in each period.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    at_once: u32,
    each: Duration,
}

impl Rate {
    /// Once always may be: `at_once` counts as 1 or more.
    pub const fn new(at_once: u32, each: Duration) -> Self {
        Self { at_once, each }
    }

    /// Takes one at `now` of what is all there again at `full_at`, if there is one left, and says when it is all there again
    /// then; otherwise says when there is one.
    pub fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Instant> {
        let full_at = full_at.map_or(now, |at| at.max(now));
        match full_at.checked_sub(self.each * self.at_once.saturating_sub(1)) {
            Some(next) if next > now => Err(next),
            Some(_) | None => Ok(full_at + self.each),
        }
    }
}

/// What of a [`Rate`] is left.
#[derive(Debug)]
pub struct Budget {
    rate: Rate,
    /// When all of it is there again.
    full_at: Option<Instant>,
}

impl Budget {
    /// All of it is there.
    pub const fn new(at_once: u32, each: Duration) -> Self {
        Self { rate: Rate::new(at_once, each), full_at: None }
    }

    /// Takes one, if there is one left at `now`; otherwise says when there is.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.full_at = Some(self.rate.take(self.full_at, now)?);
        Ok(())
    }
}

/// The lines of a log about one thing, which strangers can make happen often: some are written, the others counted.
#[derive(Debug)]
pub struct LogLines {
    budget: Budget,
    left_out: u64,
}

impl LogLines {
    /// `at_once` lines are written, and after that one in each period.
    pub const fn new(at_once: u32, each: Duration) -> Self {
        Self { budget: Budget::new(at_once, each), left_out: 0 }
    }

    /// Whether to write a line at `now`: if so, how many were left out since the last one; otherwise, when one may be written.
    pub fn admit(&mut self, now: Instant) -> Result<u64, Instant> {
        let admitted = self.budget.take(now);
        self.left_out += u64::from(admitted.is_err());
        admitted.map(|()| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_had_at_once_and_then_one_in_each_period() {
        let start = Instant::now();
        let ms = |millis| start + Duration::from_millis(millis);
        let mut budget = Budget::new(3, Duration::from_millis(100));
        let had: Vec<_> = (0..450).filter(|at| budget.take(ms(*at)).is_ok()).collect();
        assert_eq!(had, [0, 1, 2, 100, 200, 300, 400]);
        assert_eq!(budget.take(ms(450)), Err(ms(500)));
        let had: Vec<_> = (10_000..10_050).filter(|at| budget.take(ms(*at)).is_ok()).collect();
        assert_eq!(had, [10_000, 10_001, 10_002], "no more of it comes together than there was at first");
    }

    #[test]
    fn the_first_lines_are_written_and_of_the_others_how_many_there_were() {
        let start = Instant::now();
        let mut lines = LogLines::new(2, Duration::from_mins(1));
        let written: Vec<_> =
            (0..181).filter_map(|second| lines.admit(start + Duration::from_secs(second)).ok()).collect();
        assert_eq!(written, [0, 0, 58, 59, 59]);
        assert_eq!(lines.admit(start + Duration::from_secs(181)), Err(start + Duration::from_mins(4)));
    }
}

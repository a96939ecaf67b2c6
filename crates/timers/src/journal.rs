//! What is logged of what others can make happen as often as they can send: all of it, as long as there is little about
//! one subject.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{LogLines, Timers};

/// When so many subjects are remembered, those are dropped that have all of their budget again.
const TIDY: usize = 4096;

/// What was logged lately of each subject, and what was left out.
#[derive(Debug)]
pub struct Journal<S> {
    at_once: u32,
    each: Duration,
    subjects: BTreeMap<S, LogLines>,
    /// How many there may be until they are looked through again.
    tidy_at: usize,
    /// Those of which something was left out, and when that may be said.
    silent: Timers<S>,
}

impl<S: Clone + Ord> Journal<S> {
    /// Of each subject `at_once` lines are written, and after that one in each period.
    pub fn new(at_once: u32, each: Duration) -> Self {
        Self { at_once, each, subjects: BTreeMap::new(), tidy_at: TIDY, silent: Timers::default() }
    }

    /// Whether to write a line about `subject`; if so, how many were left out before.
    pub fn admit(&mut self, subject: S, now: Instant) -> Option<u64> {
        if self.subjects.len() >= self.tidy_at {
            self.subjects.retain(|_, lines| !lines.is_fresh(now));
            // If most remain, they are not looked through for each of them.
            self.tidy_at = TIDY.max(2 * self.subjects.len());
        }
        let lines = self.subjects.entry(subject.clone());
        let lines = lines.or_insert_with(|| LogLines::new(self.at_once, self.each));
        match lines.admit(now) {
            Ok(left_out) => {
                self.silent.cancel(&subject);
                Some(left_out)
            }
            Err(next) => {
                self.silent.set(subject, next);
                None
            }
        }
    }

    /// What was left out and may be said now, though nothing came about it since: about what, and how many lines.
    pub fn poll(&mut self, now: Instant) -> Option<(S, u64)> {
        let subject = self.silent.pop(now)?;
        let left_out = self.admit(subject.clone(), now)?;
        Some((subject, left_out))
    }

    /// When to call [`Self::poll`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.silent.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_written_and_of_the_others_how_many_there_were() {
        let (mut journal, start) = (Journal::new(10, Duration::from_mins(1)), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let written: Vec<_> =
            (0..61_000).filter_map(|millis| journal.admit(("joined", "a"), at(millis))).collect();
        let mut expected = vec![0; 10];
        expected.push(60_000 - 10);
        assert_eq!(written, expected);
        assert_eq!(journal.admit(("joined", "b"), at(61_000)), Some(0), "each subject for itself");
        assert_eq!(journal.admit(("lost", "a"), at(61_000)), Some(0));

        assert_eq!(journal.poll_timeout(), Some(at(120_000)));
        assert_eq!(journal.poll(at(119_999)), None);
        assert_eq!(journal.poll(at(120_000)), Some((("joined", "a"), 999)));
        assert_eq!((journal.poll(at(200_000)), journal.poll_timeout()), (None, None));
    }

    #[test]
    fn subjects_that_come_and_go_take_a_limited_amount_of_memory() {
        let (mut journal, start) = (Journal::new(10, Duration::from_mins(1)), Instant::now());
        for number in 0..50_000_u32 {
            journal.admit(number, start + number * Duration::from_millis(100));
        }
        assert!(journal.subjects.len() <= TIDY, "{}", journal.subjects.len());
    }

    #[test]
    fn many_subjects_at_once_are_forgotten_later() {
        let (mut journal, start) = (Journal::new(10, Duration::from_mins(1)), Instant::now());
        for number in 0..20_000 {
            assert_eq!(journal.admit(number, start), Some(0));
        }
        for number in 20_000..60_000 {
            journal.admit(number, start + Duration::from_hours(1));
        }
        assert!(journal.subjects.len() <= 40_000, "{}", journal.subjects.len());
    }
}

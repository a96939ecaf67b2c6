//! What is logged of what others can make happen as often as they can send: all of it, as long as there is little about
//! one subject.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{Rate, Timers};

/// What was logged lately of each subject, and what was left out.
#[derive(Debug)]
pub struct Journal<S> {
    rate: Rate,
    /// How often those are dropped that have all of their lines again, as most have after a short while.
    tidy_each: Duration,
    tidy_at: Option<Instant>,
    /// When each subject has all of its lines again.
    full_at: BTreeMap<S, Instant>,
    /// How many lines were left out,
    left_out: BTreeMap<S, u64>,
    /// and when that may be said.
    silent: Timers<S>,
}

impl<S: Clone + Ord> Journal<S> {
    /// Of each subject `at_once` lines are written, and after that one in each period.
    pub fn new(at_once: u32, each: Duration) -> Self {
        Self {
            rate: Rate::new(at_once, each),
            tidy_each: each,
            tidy_at: None,
            full_at: BTreeMap::new(),
            left_out: BTreeMap::new(),
            silent: Timers::default(),
        }
    }

    /// Whether to write a line about `subject`; if so, how many were left out before.
    pub fn admit(&mut self, subject: S, now: Instant) -> Option<u64> {
        self.tidy(now);
        match self.rate.take(self.full_at.get(&subject).copied(), now) {
            Ok(full_at) => {
                self.silent.cancel(&subject);
                let left_out = self.left_out.remove(&subject);
                self.full_at.insert(subject, full_at);
                self.tidy_at.get_or_insert(now + self.tidy_each);
                Some(left_out.unwrap_or_default())
            }
            Err(next) => {
                *self.left_out.entry(subject.clone()).or_default() += 1;
                self.silent.set(subject, next);
                None
            }
        }
    }

    /// What was left out and may be said now, though nothing came about it since: about what, and how many lines.
    pub fn poll(&mut self, now: Instant) -> Option<(S, u64)> {
        self.tidy(now);
        let subject = self.silent.pop(now)?;
        let left_out = self.admit(subject.clone(), now)?;
        Some((subject, left_out))
    }

    /// When to call [`Self::poll`], if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.silent.first().into_iter().chain(self.tidy_at).min()
    }

    fn tidy(&mut self, now: Instant) {
        if self.tidy_at.take_if(|at| *at <= now).is_some() {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.tidy_at = (!self.full_at.is_empty()).then(|| now + self.tidy_each);
        }
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
        assert_eq!(journal.poll(at(200_000)), None);
    }

    #[test]
    fn subjects_that_come_and_go_take_a_limited_amount_of_memory() {
        let (mut journal, start) = (Journal::new(10, Duration::from_mins(1)), Instant::now());
        for number in 0..50_000_u32 {
            journal.admit(number, start + number * Duration::from_millis(100));
            assert!(journal.full_at.len() <= 1_200, "{}", journal.full_at.len());
        }
    }

    #[test]
    fn when_nothing_happens_any_more_all_is_forgotten() {
        let (mut journal, start) = (Journal::new(10, Duration::from_mins(1)), Instant::now());
        for number in 0..20_000 {
            assert_eq!(journal.admit(number, start), Some(0));
        }
        for _ in 0..20 {
            journal.admit(0, start);
        }
        let mut said = Vec::new();
        let mut now = start;
        while let Some(due) = journal.poll_timeout() {
            assert!(due > now && due < start + Duration::from_mins(20));
            now = due;
            said.extend(std::iter::from_fn(|| journal.poll(now)));
        }
        assert_eq!(said, [(0, 11)]);
        assert!(journal.full_at.is_empty() && journal.left_out.is_empty());
    }
}

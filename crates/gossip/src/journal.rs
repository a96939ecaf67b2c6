//! What of the events is logged: all of them, as long as there are few of a kind about a member.
//!
//! Whoever has the key can make some of them happen as often as it can send.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use objects::NodeName;
use timers::LogLines;

/// So many lines at once,
const AT_ONCE: u32 = 10;
/// and then one in this time.
const EACH: Duration = Duration::from_mins(1);
/// When so many kinds and members are remembered, those are dropped that have all of their budget again.
const TIDY: usize = 4096;

/// What is logged, and whom it is about.
type Subject = (&'static str, Option<NodeName>);

/// What was logged lately, and what was left out.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    subjects: BTreeMap<Subject, LogLines>,
    /// Those of which something was left out, and when that may be said.
    silent: BTreeMap<Subject, Instant>,
}

impl Journal {
    /// Whether to write a line of that kind about `node`; if so, how many were left out before.
    pub(crate) fn admit(&mut self, what: &'static str, node: Option<&NodeName>, now: Instant) -> Option<u64> {
        if self.subjects.len() >= TIDY {
            self.subjects.retain(|_, lines| !lines.is_fresh(now));
        }
        let subject = (what, node.cloned());
        let lines = self.subjects.entry(subject.clone()).or_insert_with(|| LogLines::new(AT_ONCE, EACH));
        match lines.admit(now) {
            Ok(left_out) => {
                self.silent.remove(&subject);
                Some(left_out)
            }
            Err(next) => {
                self.silent.insert(subject, next);
                None
            }
        }
    }

    /// What was left out and may be said now, though nothing of its kind came since: what, about whom, how often.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(&'static str, Option<NodeName>, u64)> {
        let (subject, _) = self.silent.iter().find(|(_, due)| **due <= now)?;
        let (what, node) = subject.clone();
        let left_out = self.admit(what, node.as_ref(), now)?;
        Some((what, node, left_out))
    }

    /// When to call [`Self::poll`], if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.silent.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_written_and_of_the_others_how_many_there_were() {
        let (mut journal, start) = (Journal::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let [a, b] = ["a", "b"].map(NodeName::from);
        let written: Vec<_> =
            (0..61_000).filter_map(|millis| journal.admit("joined", Some(&a), at(millis))).collect();
        let mut expected = vec![0; 10];
        expected.push(60_000 - 10);
        assert_eq!(written, expected);
        assert_eq!(journal.admit("joined", Some(&b), at(61_000)), Some(0), "each member for itself");
        assert_eq!(journal.admit("lost", Some(&a), at(61_000)), Some(0), "and each kind");

        assert_eq!(journal.poll_timeout(), Some(at(120_000)));
        assert_eq!(journal.poll(at(119_999)), None);
        assert_eq!(journal.poll(at(120_000)), Some(("joined", Some(a), 999)));
        assert_eq!((journal.poll(at(200_000)), journal.poll_timeout()), (None, None));
    }

    #[test]
    fn members_that_come_and_go_take_a_limited_amount_of_memory() {
        let (mut journal, start) = (Journal::default(), Instant::now());
        for number in 0..50_000_u32 {
            let node = NodeName::from(format!("n{number}"));
            journal.admit("joined", Some(&node), start + number * Duration::from_millis(100));
        }
        assert!(journal.subjects.len() <= TIDY, "{}", journal.subjects.len());
    }
}

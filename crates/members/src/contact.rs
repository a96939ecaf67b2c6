//! Whom to contact until they answer: those who are listed, or said to be alive, but not heard.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use objects::NodeName;

/// The first pause between two attempts; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause as long as there are few to contact, so that both sides of a partition that heals learn of it
/// well within a second.
const LONGEST: Duration = Duration::from_millis(400);
/// The pause for each of very many, so that a node sends at most fifty attempts a second. Of two large sides of a
/// partition somebody hears the other soon all the same.
const EACH: Duration = Duration::from_millis(20);

/// Whom to contact, and when.
#[derive(Debug, Default)]
pub(crate) struct Contacts(BTreeMap<NodeName, Attempt>);

#[derive(Debug, Clone, Copy)]
struct Attempt {
    next: Instant,
    pause: Duration,
}

impl Contacts {
    /// Contact `name`, at once for the first time. Nothing changes if it is being contacted already.
    pub(crate) fn add(&mut self, name: &NodeName, now: Instant) {
        self.0.entry(name.clone()).or_insert(Attempt { next: now, pause: FIRST });
    }

    /// Contact `name` no more.
    pub(crate) fn remove(&mut self, name: &NodeName) {
        self.0.remove(name);
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|attempt| attempt.next).min()
    }

    /// Whom to contact now; to be called until that is nobody.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<NodeName> {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let (name, attempt) = self.0.iter_mut().find(|(_, attempt)| attempt.next <= now)?;
        attempt.next = now + attempt.pause;
        attempt.pause = (2 * attempt.pause).min(LONGEST.max(count * EACH));
        Some(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attempts until `end`, in milliseconds.
    fn follow(contacts: &mut Contacts, start: Instant, end: u64) -> Vec<u64> {
        let mut attempts = Vec::new();
        for at in 0..end {
            while contacts.poll(start + Duration::from_millis(at)).is_some() {
                attempts.push(at);
            }
        }
        attempts
    }

    #[test]
    fn attempts_become_rarer_but_go_on() {
        let start = Instant::now();
        let mut contacts = Contacts::default();
        contacts.add(&"a".into(), start);
        assert_eq!(follow(&mut contacts, start, 1600), [0, 100, 300, 700, 1100, 1500]);
        contacts.add(&"a".into(), start);
        assert_eq!(contacts.poll_timeout(), Some(start + Duration::from_millis(1900)));
        contacts.remove(&"a".into());
        assert_eq!(contacts.poll_timeout(), None);
    }

    #[test]
    fn many_are_contacted_no_faster_than_fifty_a_second() {
        let start = Instant::now();
        let mut contacts = Contacts::default();
        for number in 0..200 {
            contacts.add(&format!("node-{number}").into(), start);
        }
        let late = follow(&mut contacts, start, 60_000).into_iter().filter(|at| *at >= 20_000).count();
        assert_eq!(late / 40, 50);
    }
}

//! Says goodbye, and waits until everybody has confirmed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use objects::NodeName;

/// The first pause before the goodbye is repeated; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_millis(400);
/// Who has not confirmed by then is not waited for. An orderly stop takes a fraction of a second; a Pod has thirty.
const PATIENCE: Duration = Duration::from_secs(5);

/// A goodbye under way.
#[derive(Debug)]
pub(crate) struct Goodbye {
    pending: BTreeSet<NodeName>,
    next: Instant,
    pause: Duration,
    deadline: Instant,
}

/// What a [`Goodbye`] wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell these.
    Tell(BTreeSet<NodeName>),
    /// All have confirmed but these, who had their time.
    Depart(BTreeSet<NodeName>),
}

impl Goodbye {
    /// To these.
    pub(crate) fn new(members: BTreeSet<NodeName>, now: Instant) -> Self {
        Self { pending: members, next: now, pause: FIRST, deadline: now + PATIENCE }
    }

    /// One more came.
    pub(crate) fn add(&mut self, name: NodeName, now: Instant) {
        self.pending.insert(name);
        self.next = now;
    }

    /// This one has confirmed, or is gone.
    pub(crate) fn remove(&mut self, name: &NodeName) {
        self.pending.remove(name);
    }

    /// When to call [`Self::poll`] next.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// What to do now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.pending.is_empty() || self.deadline <= now {
            return Some(Step::Depart(std::mem::take(&mut self.pending)));
        }
        if self.next > now {
            return None;
        }
        self.next = (now + self.pause).min(self.deadline);
        self.pause = (2 * self.pause).min(LONGEST);
        Some(Step::Tell(self.pending.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ms, names};

    #[test]
    fn who_is_alone_departs_at_once() {
        let now = Instant::now();
        assert_eq!(Goodbye::new(names(&[]), now).poll(now), Some(Step::Depart(names(&[]))));
    }

    #[test]
    fn those_who_have_not_confirmed_are_told_again() {
        let now = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a", "b"]), now);
        assert_eq!(goodbye.poll(now), Some(Step::Tell(names(&["a", "b"]))));
        assert_eq!(goodbye.poll(now), None);
        goodbye.remove(&"a".into());
        assert_eq!(goodbye.poll_timeout(), now + ms(50));
        assert_eq!(goodbye.poll(now + ms(50)), Some(Step::Tell(names(&["b"]))));
        assert_eq!(goodbye.poll_timeout(), now + ms(150));
        goodbye.remove(&"b".into());
        assert_eq!(goodbye.poll(now + ms(60)), Some(Step::Depart(names(&[]))));
    }

    #[test]
    fn who_comes_late_is_told_too() {
        let now = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a"]), now);
        goodbye.poll(now);
        goodbye.add("b".into(), now + ms(10));
        assert_eq!(goodbye.poll(now + ms(10)), Some(Step::Tell(names(&["a", "b"]))));
    }

    #[test]
    fn patience_ends() {
        let start = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a"]), start);
        let mut now = start;
        let mut told = 0;
        let unconfirmed = loop {
            now = goodbye.poll_timeout().max(now);
            match goodbye.poll(now) {
                Some(Step::Tell(_)) => told += 1,
                Some(Step::Depart(unconfirmed)) => break unconfirmed,
                None => {}
            }
        };
        assert_eq!((unconfirmed, now - start), (names(&["a"]), PATIENCE));
        assert!((12..20).contains(&told), "{told}");
    }
}

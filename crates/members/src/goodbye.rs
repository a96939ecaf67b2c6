//! Says goodbye, and waits until everybody has confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use objects::NodeName;

use crate::Absence;

/// The first pause before the goodbye is repeated; each is twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);
pub(crate) const LONGEST: Duration = Duration::from_millis(200);
/// Who has not confirmed by then is not waited for. An orderly stop takes a fraction of a second; a Pod has thirty.
const PATIENCE: Duration = Duration::from_secs(5);

/// A goodbye under way.
#[derive(Debug)]
pub(crate) struct Goodbye {
    absence: Absence,
    pending: BTreeSet<NodeName>,
    /// When each was last known to hear us: it answered a question of ours, or has just come.
    hears: BTreeMap<NodeName, Instant>,
    /// Those who are silent.
    given_up: BTreeSet<NodeName>,
    since: Instant,
    next: Instant,
    pause: Duration,
    deadline: Instant,
}

/// What a [`Goodbye`] wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Tell these for how long.
    Tell(BTreeSet<NodeName>, Absence),
    /// All have confirmed but these, who had their time or are silent.
    Depart(BTreeSet<NodeName>),
}

impl Goodbye {
    /// To these.
    pub(crate) fn new(members: BTreeSet<NodeName>, absence: Absence, now: Instant) -> Self {
        let (pending, given_up) = (members, BTreeSet::new());
        let (hears, deadline) = (BTreeMap::new(), now + PATIENCE);
        Self { absence, pending, hears, given_up, since: now, next: now, pause: FIRST, deadline }
    }

    /// One more came.
    pub(crate) fn add(&mut self, name: NodeName, now: Instant) {
        self.given_up.remove(&name);
        self.hears.insert(name.clone(), now);
        self.pending.insert(name);
        self.next = now;
    }

    /// This one has confirmed, or is gone.
    pub(crate) fn remove(&mut self, name: &NodeName) {
        self.pending.remove(name);
        self.given_up.remove(name);
    }

    /// This one has answered a question of ours.
    pub(crate) fn answered(&mut self, name: &NodeName, now: Instant) {
        if self.pending.contains(name) {
            self.hears.insert(name.clone(), now);
        }
    }

    /// Those who have not answered for `time` since they were told are not waited for any longer: the others miss them
    /// as well, and whatever falls to them falls to somebody else; or they say much but hear nothing of us, and know
    /// of no goodbye however long we wait.
    pub(crate) fn give_up(&mut self, time: Duration, now: Instant) {
        if now < self.since + time {
            return;
        }
        let hears = &self.hears;
        let silent = |name: &NodeName| hears.get(name).is_none_or(|at| *at + time <= now);
        self.given_up.extend(self.pending.extract_if(.., |name| silent(name)));
    }

    /// When to call [`Self::poll`] next.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next
    }

    /// What to do now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.pending.is_empty() || self.deadline <= now {
            self.given_up.append(&mut self.pending);
            return Some(Step::Depart(std::mem::take(&mut self.given_up)));
        }
        if self.next > now {
            return None;
        }
        self.next = (now + self.pause).min(self.deadline);
        self.pause = (2 * self.pause).min(LONGEST);
        Some(Step::Tell(self.pending.clone(), self.absence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ms, names};

    #[test]
    fn who_is_alone_departs_at_once() {
        let now = Instant::now();
        assert_eq!(Goodbye::new(names(&[]), Absence::Open, now).poll(now), Some(Step::Depart(names(&[]))));
    }

    #[test]
    fn those_who_have_not_confirmed_are_told_again() {
        let now = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a", "b"]), Absence::Open, now);
        assert_eq!(goodbye.poll(now), Some(Step::Tell(names(&["a", "b"]), Absence::Open)));
        assert_eq!(goodbye.poll(now), None);
        goodbye.remove(&"a".into());
        assert_eq!(goodbye.poll_timeout(), now + ms(50));
        assert_eq!(goodbye.poll(now + ms(50)), Some(Step::Tell(names(&["b"]), Absence::Open)));
        assert_eq!(goodbye.poll_timeout(), now + ms(150));
        goodbye.remove(&"b".into());
        assert_eq!(goodbye.poll(now + ms(60)), Some(Step::Depart(names(&[]))));
    }

    #[test]
    fn who_comes_late_is_told_too() {
        let now = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a"]), Absence::Open, now);
        goodbye.poll(now);
        goodbye.add("b".into(), now + ms(10));
        assert_eq!(goodbye.poll(now + ms(10)), Some(Step::Tell(names(&["a", "b"]), Absence::Open)));
    }

    #[test]
    fn who_is_silent_is_not_waited_for_unless_it_comes_back() {
        let now = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a", "b"]), Absence::Open, now);
        goodbye.answered(&"a".into(), now + ms(300));
        goodbye.give_up(ms(500), now + ms(499));
        assert_eq!(goodbye.poll(now + ms(499)), Some(Step::Tell(names(&["a", "b"]), Absence::Open)));
        goodbye.give_up(ms(500), now + ms(700));
        assert_eq!(goodbye.poll(now + ms(700)), Some(Step::Tell(names(&["a"]), Absence::Open)));
        goodbye.add("b".into(), now + ms(701));
        assert_eq!(goodbye.poll(now + ms(701)), Some(Step::Tell(names(&["a", "b"]), Absence::Open)));
        goodbye.give_up(ms(500), now + ms(1200));
        assert_eq!(goodbye.poll(now + ms(1200)), Some(Step::Tell(names(&["b"]), Absence::Open)));
        goodbye.give_up(ms(500), now + ms(1201));
        assert_eq!(goodbye.poll(now + ms(1201)), Some(Step::Depart(names(&["a", "b"]))));
    }

    #[test]
    fn patience_ends() {
        let start = Instant::now();
        let mut goodbye = Goodbye::new(names(&["a"]), Absence::Open, start);
        let mut now = start;
        let mut told = 0;
        let unconfirmed = loop {
            now = goodbye.poll_timeout().max(now);
            match goodbye.poll(now) {
                Some(Step::Tell(..)) => told += 1,
                Some(Step::Depart(unconfirmed)) => break unconfirmed,
                None => {}
            }
        };
        assert_eq!((unconfirmed, now - start), (names(&["a"]), PATIENCE));
        assert!((20..30).contains(&told), "{told}");
    }
}

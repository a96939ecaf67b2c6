//! Peers that are heard, and answer for an address that is taken over here. One that has it until the news of the takeover
//! are there ceases by itself. One that still answers some seconds later has it for another reason: mostly its kernel
//! does, which has the address on an interface of its own and is not told to keep that to itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use timers::Timers;

use crate::MacAddr;

/// The news of a takeover are everywhere by then.
const CHECK: Duration = Duration::from_secs(3);
/// An answer to the question whether it goes on comes within that time.
const ANSWER: Duration = Duration::from_secs(1);

/// Who answered for what.
#[derive(Debug)]
pub(crate) struct Echoes<A> {
    suspects: BTreeSet<(A, MacAddr)>,
    told: BTreeSet<(A, MacAddr)>,
    checks: Timers<A>,
    /// Until when an answer counts.
    asked: BTreeMap<A, Instant>,
}

impl<A: Copy + Ord> Echoes<A> {
    pub(crate) fn new() -> Self {
        let (suspects, told) = (BTreeSet::new(), BTreeSet::new());
        Self { suspects, told, checks: Timers::default(), asked: BTreeMap::new() }
    }

    /// `by` answers for `address`, which is being asked for.
    pub(crate) fn heard(&mut self, address: A, by: MacAddr) {
        if !self.told.contains(&(address, by)) {
            self.suspects.insert((address, by));
        }
    }

    /// `address` is announced from now on.
    pub(crate) fn taken_over(&mut self, address: A, now: Instant) {
        if self.suspects.iter().any(|(suspected, _)| *suspected == address) {
            self.checks.set(address, now + CHECK);
        }
    }

    /// `by` answers for `address`, which is announced. Whether it goes on although it need not, and that is news.
    pub(crate) fn goes_on(&mut self, address: A, by: MacAddr, now: Instant) -> bool {
        let asked = self.asked.get(&address).is_some_and(|until| now < *until);
        asked && self.suspects.remove(&(address, by)) && self.told.insert((address, by))
    }

    /// What is left is what `stays`.
    pub(crate) fn retain(&mut self, stays: impl Fn(A) -> bool) {
        let gone = |address: A| !stays(address);
        let checks = &mut self.checks;
        self.suspects.extract_if(.., |(address, _)| gone(*address)).for_each(|(address, _)| {
            checks.cancel(&address);
        });
        self.told.retain(|(address, _)| stays(*address));
        self.asked.retain(|address, _| stays(*address));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.checks.first()
    }

    /// An address to ask the LAN for now. Who does not answer is suspected no more.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<A> {
        let address = self.checks.pop(now)?;
        let asked = &self.asked;
        let over = |other: A| other != address && asked.get(&other).is_some_and(|until| *until <= now);
        self.suspects.retain(|(other, _)| !over(*other));
        self.asked.retain(|_, until| *until > now);
        self.asked.insert(address, now + ANSWER);
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn who_still_answers_some_seconds_after_the_takeover_is_told_of_once() {
        let (mut it, now) = (Echoes::new(), Instant::now());
        it.heard(1, A);
        it.taken_over(1, now);
        it.taken_over(2, now);
        assert!(!it.goes_on(1, A, now), "it may not know yet");
        assert_eq!((it.poll_timeout(), it.poll(now)), (Some(now + CHECK), None));
        let later = now + CHECK;
        assert_eq!(it.poll(later), Some(1));
        assert!(!it.goes_on(1, B, later), "it was not asked for that");
        assert!(it.goes_on(1, A, later) && !it.goes_on(1, A, later));
        it.heard(1, A);
        it.taken_over(1, later);
        assert_eq!(it.poll_timeout(), None, "that is known");
    }

    #[test]
    fn who_ceases_is_not_told_of_and_what_is_given_up_is_forgotten() {
        let (mut it, now) = (Echoes::new(), Instant::now());
        it.heard(1, A);
        it.taken_over(1, now);
        assert_eq!(it.poll(now + CHECK), Some(1));
        assert!(!it.goes_on(1, A, now + CHECK + ANSWER));
        it.heard(2, A);
        it.taken_over(2, now + CHECK);
        it.retain(|address| address != 2);
        assert_eq!(it.poll_timeout(), None);
    }
}

//! Peers whose gossip is not heard, and that answer for what is announced here. When one is overruled, the LAN is asked
//! soon whether it goes on: it may go by another rule, and then both must find another one, before clients have asked
//! either of them for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::MacAddr;
use crate::probes::Found;
use crate::timers::Timers;

/// The same one is not told of again within that time.
const AGAIN: Duration = Duration::from_secs(1);
/// Who is overruled has heard of it by then.
const CHECK: Duration = Duration::from_millis(150);
/// So many are remembered for each address, lest a host with many names fills the memory.
const EACH: usize = 8;

/// Who answers for which address too.
#[derive(Debug)]
pub(crate) struct Rivals<A> {
    /// Those that were told of, until when not again.
    told: BTreeMap<(A, MacAddr), Instant>,
    /// When to ask who goes on.
    checks: Timers<A>,
}

impl<A: Copy + Ord> Rivals<A> {
    pub(crate) fn new() -> Self {
        Self { told: BTreeMap::new(), checks: Timers::new() }
    }

    /// `by` says that it has `address`. Whether that is to be told.
    pub(crate) fn heard(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        if self.told.get(&(address, by)).is_some_and(|until| *until > now) {
            return Found::Nothing;
        }
        let others = self.of(address).filter(|(mac, _)| *mac != by);
        let oldest = others.clone().min_by_key(|(_, until)| *until).map(|(mac, _)| mac);
        if let Some(mac) = oldest.filter(|_| others.count() >= EACH) {
            self.told.remove(&(address, mac));
        }
        self.told.insert((address, by), now + AGAIN);
        Found::News
    }

    /// The rivals for `address` are overruled now.
    pub(crate) fn overrule(&mut self, address: A, now: Instant) {
        self.checks.set(address, now + CHECK);
    }

    /// Whether `by` was heard to have `address`.
    pub(crate) fn contains(&self, address: A, by: MacAddr) -> bool {
        self.told.contains_key(&(address, by))
    }

    /// What is left is what `stays`.
    pub(crate) fn retain(&mut self, stays: impl Fn(A) -> bool) {
        let checks = &mut self.checks;
        self.told.retain(|(address, _), _| {
            let stays = stays(*address);
            if !stays {
                checks.cancel(*address);
            }
            stays
        });
    }

    /// There are none any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.checks.first()
    }

    /// An address to ask the LAN for now: whoever answers is told of, even if it was told of just before.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<A> {
        let address = self.checks.pop(now)?;
        let all = (address, MacAddr::ZERO)..=(address, MacAddr::BROADCAST);
        self.told.range_mut(all).for_each(|(_, until)| *until = now);
        Some(address)
    }

    fn of(&self, address: A) -> impl Iterator<Item = (MacAddr, Instant)> + Clone {
        let all = (address, MacAddr::ZERO)..=(address, MacAddr::BROADCAST);
        self.told.range(all).map(|((_, mac), until)| (*mac, *until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn each_rival_is_told_of_once_in_a_while() {
        let now = Instant::now();
        let mut rivals = Rivals::new();
        assert_eq!(rivals.heard(1, A, now), Found::News);
        assert_eq!(rivals.heard(1, A, now), Found::Nothing);
        assert_eq!(rivals.heard(1, B, now), Found::News, "it does not know of the other");
        assert_eq!(rivals.heard(2, A, now), Found::News);
        assert_eq!(rivals.heard(1, A, now + AGAIN), Found::News);
        assert!(rivals.contains(1, A) && !rivals.contains(2, B));
    }

    #[test]
    fn one_that_goes_on_although_it_is_overruled_is_told_of_again_soon() {
        let now = Instant::now();
        let mut rivals = Rivals::new();
        rivals.heard(1, A, now);
        rivals.overrule(1, now);
        assert_eq!((rivals.poll_timeout(), rivals.poll(now)), (Some(now + CHECK), None));
        assert_eq!(rivals.poll(now + CHECK), Some(1));
        assert_eq!((rivals.poll_timeout(), rivals.heard(1, A, now + CHECK)), (None, Found::News));
        rivals.overrule(1, now);
        rivals.retain(|address| address != 1);
        assert_eq!((rivals.poll_timeout(), rivals.contains(1, A)), (None, false));
    }

    #[test]
    fn no_more_than_some_are_remembered_for_an_address() {
        let now = Instant::now();
        let mut rivals = Rivals::new();
        for number in 0..20 {
            rivals.heard(1, MacAddr([2, 0, 0, 0, 0, number]), now + Duration::from_millis(number.into()));
        }
        assert_eq!(rivals.told.len(), EACH);
        assert!(rivals.contains(1, MacAddr([2, 0, 0, 0, 0, 19])));
    }
}

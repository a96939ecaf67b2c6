//! Peers whose gossip is not heard, and that answer for what is announced here. When one is overruled, the LAN is asked
//! soon whether it goes on: it may go by another rule, and then both must find another one, before clients have asked
//! either of them for long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use timers::Timers;

use crate::probes::Found;
use crate::{MOST_HOSTS, MacAddr};

/// The same one is not told of again within that time.
const AGAIN: Duration = Duration::from_secs(1);
/// Who is overruled has heard of it by then.
const CHECK: Duration = Duration::from_millis(150);

/// Who answers for which address too.
#[derive(Debug)]
pub(crate) struct Rivals<A> {
    each: BTreeMap<(A, MacAddr), Rival>,
    /// When to ask who goes on.
    checks: Timers<A>,
}

#[derive(Debug, Clone, Copy)]
struct Rival {
    /// It was told of, and is not again until then.
    told: Instant,
    /// When it was last asked whether it goes on. Who is not impressed is not asked all the time.
    checked: Option<Instant>,
}

impl<A: Copy + Ord> Rivals<A> {
    pub(crate) fn new() -> Self {
        Self { each: BTreeMap::new(), checks: Timers::default() }
    }

    /// `by` says that it has `address`. Whether that is to be told.
    pub(crate) fn heard(&mut self, address: A, by: MacAddr, now: Instant) -> Found {
        let known = self.each.get(&(address, by)).copied();
        if known.is_some_and(|rival| rival.told > now) {
            return Found::Nothing;
        }
        if known.is_none() && self.of(address).count() >= MOST_HOSTS {
            let oldest = self.of(address).min_by_key(|(_, rival)| rival.told).map(|(mac, _)| mac);
            oldest.into_iter().for_each(|mac| _ = self.each.remove(&(address, mac)));
        }
        let checked = known.and_then(|rival| rival.checked);
        self.each.insert((address, by), Rival { told: now + AGAIN, checked });
        Found::News
    }

    /// The rivals for `address` are overruled now.
    pub(crate) fn overrule(&mut self, address: A, now: Instant) {
        let due = |rival: Rival| rival.checked.is_none_or(|at| now >= at + AGAIN);
        if self.of(address).any(|(_, rival)| due(rival)) {
            self.checks.set(address, now + CHECK);
        }
    }

    /// Whether `by` was heard to have `address`.
    pub(crate) fn contains(&self, address: A, by: MacAddr) -> bool {
        self.each.contains_key(&(address, by))
    }

    /// What is left is what `stays`.
    pub(crate) fn retain(&mut self, stays: impl Fn(A) -> bool) {
        let checks = &mut self.checks;
        self.each.retain(|(address, _), _| {
            let stays = stays(*address);
            if !stays {
                checks.cancel(address);
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
        let checked = Rival { told: now, checked: Some(now) };
        self.each.range_mut(all).for_each(|(_, rival)| *rival = checked);
        Some(address)
    }

    fn of(&self, address: A) -> impl Iterator<Item = (MacAddr, Rival)> {
        let all = (address, MacAddr::ZERO)..=(address, MacAddr::BROADCAST);
        self.each.range(all).map(|((_, mac), rival)| (*mac, *rival))
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
        rivals.overrule(1, now + CHECK);
        assert_eq!(rivals.poll_timeout(), None, "it is not impressed");
        rivals.heard(1, B, now + CHECK);
        rivals.overrule(1, now + CHECK);
        assert_eq!(rivals.poll_timeout(), Some(now + 2 * CHECK), "another one may be");
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
        assert_eq!(rivals.each.len(), MOST_HOSTS);
        assert!(rivals.contains(1, MacAddr([2, 0, 0, 0, 0, 19])));
    }
}

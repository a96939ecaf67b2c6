//! When to announce an address unasked.
//!
//! ```text
//!            take_over            END passed since the takeover
//!   (none) ------------> burst ----------------------------------> quiet
//!      ^                 |   ^ |                                     |
//!      |                 |   +-+ every INTERVAL                      |
//!      +-----------------+--------------- withdraw ------------------+
//! ```
//!
//! A `take_over` in any state begins a new burst.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Kernels before about 4.13 heed a gratuitous ARP only a second (`locktime`) after the one before.
const INTERVAL: Duration = Duration::from_millis(1100);
/// How long after the takeover a burst goes on. With [`INTERVAL`], that makes five announcements.
const END: Duration = Duration::from_secs(5);

/// When to announce which address unasked, on one interface.
///
/// Call [`Schedule::poll`] until it returns `None` whenever [`Schedule::poll_timeout`] says so, and after
/// each [`Schedule::take_over`].
#[derive(Debug)]
pub struct Schedule<A> {
    /// The addresses in a burst.
    bursts: BTreeMap<A, Burst>,
    /// The same, in the order in which they are due.
    due: BTreeSet<(Instant, A)>,
}

#[derive(Debug, Clone, Copy)]
struct Burst {
    next: Instant,
    end: Instant,
}

impl<A: Copy + Ord> Schedule<A> {
    /// Nothing to announce.
    pub fn new() -> Self {
        Self { bursts: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// `address` is ours since `now`: it is announced at once and for some seconds.
    pub fn take_over(&mut self, address: A, now: Instant) {
        self.withdraw(address);
        self.set(address, Burst { next: now, end: now + END });
    }

    /// `address` is ours no longer: nothing more is said of it.
    pub fn withdraw(&mut self, address: A) {
        if let Some(burst) = self.bursts.remove(&address) {
            self.due.remove(&(burst.next, address));
        }
    }

    /// When to call [`Self::poll`] next, if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(next, _)| *next)
    }

    /// An address to announce now, the longest due first.
    pub fn poll(&mut self, now: Instant) -> Option<A> {
        let (next, address) = *self.due.first()?;
        if next > now {
            return None;
        }
        self.due.pop_first();
        let burst = self.bursts.remove(&address).expect("what is due is in a burst");
        // Counted from now, so that a late announcement is not followed by the next too soon.
        let next = now + INTERVAL;
        if next <= burst.end {
            self.set(address, Burst { next, ..burst });
        }
        Some(address)
    }

    fn set(&mut self, address: A, burst: Burst) {
        self.due.insert((burst.next, address));
        self.bursts.insert(address, burst);
    }
}

impl<A: Copy + Ord> Default for Schedule<A> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Follows the schedule to its end; what it announces and when, in milliseconds since `start`.
    fn follow(schedule: &mut Schedule<Ipv4Addr>, start: Instant) -> Vec<(u128, Ipv4Addr)> {
        let mut announced = Vec::new();
        while let Some(now) = schedule.poll_timeout() {
            while let Some(address) = schedule.poll(now) {
                announced.push(((now - start).as_millis(), address));
            }
        }
        announced
    }

    #[test]
    fn a_takeover_is_announced_at_once_and_for_five_seconds() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        assert_eq!(schedule.poll_timeout(), None);
        assert_eq!(schedule.poll(start), None::<Ipv4Addr>);
        schedule.take_over(VIP, start);
        assert_eq!(follow(&mut schedule, start), [0, 1100, 2200, 3300, 4400].map(|t| (t, VIP)));
        assert_eq!(schedule.poll(start + ms(60_000)), None);
    }

    #[test]
    fn nothing_is_announced_before_its_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start), Some(VIP));
        assert_eq!(schedule.poll(start), None);
        assert_eq!(schedule.poll(start + ms(1099)), None);
        assert_eq!(schedule.poll(start + ms(1100)), Some(VIP));
    }

    #[test]
    fn a_new_takeover_begins_again() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start), Some(VIP));
        schedule.take_over(VIP, start + ms(600));
        let expected = [600, 1700, 2800, 3900, 5000].map(|t| (t, VIP));
        assert_eq!(follow(&mut schedule, start), expected);
    }

    #[test]
    fn a_withdrawal_ends_the_burst_of_that_address_alone() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.take_over(VIP, start);
        schedule.take_over(OTHER, start + ms(100));
        schedule.withdraw(VIP);
        assert_eq!(follow(&mut schedule, start), [100, 1200, 2300, 3400, 4500].map(|t| (t, OTHER)));
        schedule.withdraw(VIP);
    }

    #[test]
    fn bursts_of_several_addresses_keep_their_own_time() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.take_over(OTHER, start);
        assert_eq!(schedule.poll(start), Some(OTHER));
        schedule.take_over(VIP, start + ms(500));
        let announced = follow(&mut schedule, start);
        assert_eq!(announced[..4], [(500, VIP), (1100, OTHER), (1600, VIP), (2200, OTHER)]);
    }

    #[test]
    fn a_stall_neither_loses_a_burst_nor_crowds_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new();
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start + ms(3000)), Some(VIP));
        assert_eq!(schedule.poll(start + ms(3000)), None);
        assert_eq!(schedule.poll_timeout(), Some(start + ms(4100)));
    }
}

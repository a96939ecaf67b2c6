//! When to announce an address unasked.
//!
//! ```text
//!            take_over             after ROUNDS announcements
//!   (none) ------------> burst ---------------------------------> known
//!      ^                 |   ^ |                                 |  ^ |
//!      |                 |   +-+ every STEP                      |  +-+ every refresh interval
//!      +-----------------+--------------- withdraw --------------+
//! ```
//!
//! A `take_over` in any state begins a new burst.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use timers::Timers;

/// Kernels before about 4.13 act on a gratuitous ARP only a second (`locktime`) after the one before.
const STEP: Duration = Duration::from_millis(1100);
/// How many announcements make a burst: with [`STEP`] between them, it goes on for not quite 5 s.
const ROUNDS: u8 = 5;
/// Refreshes come up to so much earlier or later than they should, lest those of many addresses that were
/// taken over together stay together.
const JITTER: f64 = 0.1;

/// How many refreshes one node may send in a second, however many addresses it announces.
const REFRESHES: u32 = 100;

/// Between two frames that a node sends unasked: shapers and old switches bear 60 in a tenth of a second, and not all of
/// them arrive as evenly as they were sent.
const FRAME_GAP: Duration = Duration::from_millis(2);
/// One part of so many of what a node may send is divided evenly, lest a port with few addresses waits for long.
const EVEN: u64 = 10;

/// The least time between two frames that one port sends unasked, such that all `ports` of a node that have addresses send
/// at most 50 in a tenth of a second together. Most of what they may send is divided by the number of addresses: `here` of
/// `in_all`.
pub fn frame_gap(here: usize, in_all: usize, ports: usize) -> Duration {
    let count = |count| u64::try_from(count).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX));
    let (here, in_all, ports) = (count(here), count(in_all), count(ports));
    // The share is 1/EVEN * 1/ports + (EVEN-1)/EVEN * here/in_all.
    let whole = u128::from(EVEN) * u128::from(ports) * u128::from(in_all);
    let share = u128::from(in_all) + u128::from(EVEN - 1) * u128::from(here) * u128::from(ports);
    let nanos = (FRAME_GAP.as_nanos() * whole).div_ceil(share);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The least time between two refreshes at one port, such that all ports of a node together keep below 100
/// frames in a second. What they may send is divided by the number of addresses: `here` of `in_all`.
pub fn refresh_gap(here: usize, in_all: usize) -> Duration {
    let ratio = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Duration::from_secs(1) / REFRESHES * ratio(in_all) / ratio(here).max(1)
}

/// When to announce which address unasked, on one interface.
///
/// Call [`Schedule::poll`] until it returns `None` whenever [`Schedule::poll_timeout`] says so, and after
/// each [`Schedule::take_over`].
#[derive(Debug)]
pub(crate) struct Schedule<A> {
    refresh_interval: Option<Duration>,
    refresh_gap: Duration,
    random: SmallRng,
    /// The addresses that are still to be announced for the first time,
    firsts: Timers<A>,
    /// and those that are in the rest of a burst.
    bursts: Timers<A>,
    /// How many announcements each of them still has.
    rounds: BTreeMap<A, u8>,
    refreshes: Timers<A>,
    /// No refresh before: there was something else to send just now.
    pause: Option<Instant>,
}

/// An address to announce now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due<A> {
    /// For the first time since it was taken over.
    First(A),
    /// Again, lest the first was lost or came too early.
    Repeat(A),
    /// Lest it is forgotten.
    Refresh(A),
}

impl<A: Copy + Ord> Schedule<A> {
    /// Nothing to announce. `seed` is where the jitter comes from.
    pub(crate) fn new(refresh_interval: Option<Duration>, seed: u64) -> Self {
        Self {
            refresh_interval,
            refresh_gap: Duration::ZERO,
            random: SmallRng::seed_from_u64(seed),
            firsts: Timers::default(),
            bursts: Timers::default(),
            rounds: BTreeMap::new(),
            refreshes: Timers::default(),
            pause: None,
        }
    }

    /// The least time between two refreshes, of whichever addresses. Bursts keep their own time; refreshes
    /// wait for them.
    pub(crate) fn set_refresh_gap(&mut self, gap: Duration) {
        self.refresh_gap = gap;
    }

    /// `address` is ours since `now`: it is announced at once and for some seconds.
    pub(crate) fn take_over(&mut self, address: A, now: Instant) {
        self.refreshes.cancel(&address);
        self.bursts.cancel(&address);
        self.rounds.insert(address, ROUNDS);
        self.firsts.set(address, now);
    }

    /// `address` is ours no longer: nothing more is said of it.
    pub(crate) fn withdraw(&mut self, address: A) {
        self.rounds.remove(&address);
        self.firsts.cancel(&address);
        self.bursts.cancel(&address);
        self.refreshes.cancel(&address);
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let refresh = self.refreshes.first().map(|at| self.pause.map_or(at, |pause| pause.max(at)));
        self.firsts.first().into_iter().chain(self.bursts.first()).chain(refresh).min()
    }

    /// Whether an address is to be announced for the first time now.
    pub(crate) fn waits_first(&self, now: Instant) -> bool {
        self.firsts.first().is_some_and(|at| at <= now)
    }

    /// What to announce now: what was not announced yet, what is in a burst, then what is to be refreshed, the longest due first.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Due<A>> {
        if let Some(address) = self.firsts.pop(now).or_else(|| self.bursts.pop(now)) {
            let left = self.rounds.remove(&address).expect("what is due is in a burst");
            // Counted from now, so that a late announcement is not followed by the next too soon.
            if left > 1 {
                self.rounds.insert(address, left - 1);
                self.bursts.set(address, now + STEP);
            } else {
                self.refresh_later(address, now);
            }
            self.pause = Some(now + self.refresh_gap);
            return Some(if left == ROUNDS { Due::First(address) } else { Due::Repeat(address) });
        }
        if self.pause.is_some_and(|pause| now < pause) {
            return None;
        }
        let address = self.refreshes.pop(now)?;
        self.refresh_later(address, now);
        self.pause = Some(now + self.refresh_gap);
        Some(Due::Refresh(address))
    }

    fn refresh_later(&mut self, address: A, now: Instant) {
        if let Some(interval) = self.refresh_interval {
            let jittered = interval.mul_f64(self.random.random_range(1.0 - JITTER..1.0 + JITTER));
            self.refreshes.set(address, now + jittered);
        }
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

    fn schedule(refresh_interval: Option<Duration>) -> Schedule<Ipv4Addr> {
        Schedule::new(refresh_interval, 7)
    }

    /// Follows the schedule for `span`; what it announces and when, in milliseconds since `start`.
    fn follow(
        schedule: &mut Schedule<Ipv4Addr>,
        start: Instant,
        span: Duration,
    ) -> Vec<(u128, Due<Ipv4Addr>)> {
        let mut announced = Vec::new();
        while let Some(now) = schedule.poll_timeout().filter(|at| *at <= start + span) {
            let due = schedule.poll(now).expect("something is due when the schedule says so");
            announced.push(((now - start).as_millis(), due));
        }
        announced
    }

    fn burst(address: Ipv4Addr, start: u128) -> Vec<(u128, Due<Ipv4Addr>)> {
        let repeats = [1100, 2200, 3300, 4400].map(|at| (start + at, Due::Repeat(address)));
        [&[(start, Due::First(address))][..], &repeats].concat()
    }

    #[test]
    fn a_takeover_is_announced_at_once_and_for_five_seconds() {
        let start = Instant::now();
        let mut schedule = schedule(None);
        assert_eq!(schedule.poll_timeout(), None);
        assert_eq!(schedule.poll(start), None);
        schedule.take_over(VIP, start);
        assert_eq!(follow(&mut schedule, start, ms(600_000)), burst(VIP, 0));
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_announced_before_its_time() {
        let start = Instant::now();
        let mut schedule = schedule(None);
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start), Some(Due::First(VIP)));
        assert_eq!(schedule.poll(start), None);
        assert_eq!(schedule.poll(start + ms(1099)), None);
        assert_eq!(schedule.poll(start + ms(1100)), Some(Due::Repeat(VIP)));
    }

    #[test]
    fn a_new_takeover_begins_again() {
        let start = Instant::now();
        let mut schedule = schedule(Some(ms(30_000)));
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start), Some(Due::First(VIP)));
        schedule.take_over(VIP, start + ms(600));
        assert_eq!(follow(&mut schedule, start, ms(20_000)), burst(VIP, 600));
        schedule.take_over(VIP, start + ms(20_000));
        assert_eq!(follow(&mut schedule, start, ms(40_000)), burst(VIP, 20_000));
    }

    #[test]
    fn a_withdrawal_ends_what_is_said_of_that_address_alone() {
        let start = Instant::now();
        let mut schedule = schedule(Some(ms(30_000)));
        schedule.take_over(VIP, start);
        schedule.take_over(OTHER, start + ms(100));
        schedule.withdraw(VIP);
        assert_eq!(follow(&mut schedule, start, ms(20_000)), burst(OTHER, 100));
        schedule.withdraw(VIP);
        schedule.withdraw(OTHER);
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn bursts_of_several_addresses_keep_their_own_time() {
        let start = Instant::now();
        let mut schedule = schedule(None);
        schedule.take_over(OTHER, start);
        assert_eq!(schedule.poll(start), Some(Due::First(OTHER)));
        schedule.take_over(VIP, start + ms(500));
        let announced: Vec<u128> =
            follow(&mut schedule, start, ms(600_000)).into_iter().map(|(at, _)| at).collect();
        assert_eq!(announced[..4], [500, 1100, 1600, 2200]);
    }

    #[test]
    fn a_stall_does_not_crowd_a_burst() {
        let start = Instant::now();
        let mut schedule = schedule(None);
        schedule.take_over(VIP, start);
        assert_eq!(schedule.poll(start + ms(3000)), Some(Due::First(VIP)));
        assert_eq!(schedule.poll(start + ms(3000)), None);
        assert_eq!(schedule.poll_timeout(), Some(start + ms(4100)));
    }

    #[test]
    fn each_address_is_refreshed_about_once_in_an_interval() {
        let start = Instant::now();
        let mut schedule = schedule(Some(ms(30_000)));
        schedule.take_over(VIP, start);
        let announced = follow(&mut schedule, start, ms(3_600_000));
        let refreshes: Vec<u128> = announced[4..].iter().map(|(at, _)| *at).collect();
        assert!((109..=132).contains(&refreshes.len()), "{} refreshes in an hour", refreshes.len());
        let gaps: Vec<u128> = refreshes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (27_000..=33_000).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().any(|gap| *gap < 29_000) && gaps.iter().any(|gap| *gap > 31_000), "no jitter");
    }

    #[test]
    fn refreshes_of_many_addresses_keep_their_distance_and_wait_for_bursts() {
        let start = Instant::now();
        let mut schedule = schedule(Some(ms(1000)));
        schedule.set_refresh_gap(ms(10));
        for last in 0..=255 {
            schedule.take_over(Ipv4Addr::new(192, 0, 2, last), start);
        }
        follow(&mut schedule, start, ms(4400));
        let refreshes = follow(&mut schedule, start, ms(20_000));
        let gaps: Vec<u128> = refreshes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap >= 10), "{gaps:?}");
        let seen: std::collections::BTreeSet<_> =
            refreshes[..256].iter().map(|(_, due)| *due).map(address).collect();
        assert!(seen.len() > 200, "everybody's turn comes: {}", seen.len());

        let now = start + ms(20_001);
        schedule.take_over(VIP, now);
        assert_eq!(schedule.poll(now), Some(Due::First(VIP)));
        assert_eq!(schedule.poll(now + ms(9)), None);
        assert!(matches!(schedule.poll(now + ms(10)), Some(Due::Refresh(_))));
    }

    #[test]
    fn all_ports_of_a_node_together_stay_below_a_hundred_refreshes_in_a_second() {
        assert_eq!(refresh_gap(1, 1), ms(10));
        assert_eq!(refresh_gap(3000, 3000), ms(10));
        assert_eq!(refresh_gap(300, 3000), ms(100));
        let ports = [1, 10, 100, 0];
        let rate: f64 =
            ports.iter().filter(|n| **n > 0).map(|n| 1.0 / refresh_gap(*n, 111).as_secs_f64()).sum();
        assert!((99.0..=100.1).contains(&rate), "{rate}");
        assert_eq!(refresh_gap(0, 0), ms(0));
    }

    #[test]
    fn all_ports_of_a_node_together_send_at_most_fifty_frames_in_a_tenth_of_a_second() {
        assert_eq!(frame_gap(1, 1, 1), ms(2));
        assert_eq!(frame_gap(300, 300, 1), ms(2));
        assert_eq!(frame_gap(0, 0, 0), ms(2));
        for ports in [&[50, 17][..], &[1000, 1], &[1; 100], &[300, 300, 1, 7]] {
            let in_all = ports.iter().sum();
            let gaps = ports.iter().map(|here| frame_gap(*here, in_all, ports.len()));
            let rate: f64 = gaps.map(|gap| 0.1 / gap.as_secs_f64()).sum();
            assert!((49.9..=50.0001).contains(&rate), "{rate}");
        }
        assert!(frame_gap(50, 67, 2) < ms(3), "by the number of addresses");
        assert!(
            frame_gap(1, 1001, 2) <= ms(40),
            "but one alone is not held up by many elsewhere: its questions are so far apart"
        );
    }

    fn address(due: Due<Ipv4Addr>) -> Ipv4Addr {
        let (Due::First(address) | Due::Repeat(address) | Due::Refresh(address)) = due;
        address
    }
}

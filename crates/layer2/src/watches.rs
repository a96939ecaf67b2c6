//! Whether somebody answers for an address, and who: for addresses that another node should announce, for those that are
//! announced here and by a peer as well, and for those that are only answered for.
//!
//! ```text
//!            begin              at the time given                  after QUESTIONS, and a last pause of silence
//!   (none) --------> listening -------------------> asking -------------------------------------------> silent
//!                                                     |
//!                                                     +--> answered
//! ```
//!
//! Each ends with one report. While it listens nothing is sent: in most cases whoever takes over is heard to say so, or
//! whoever had the address falls silent, and there is no need to ask.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use timers::Timers;

/// How often the LAN is asked,
const QUESTIONS: u8 = 2;
/// and how long it has to answer each time.
const PAUSE: Duration = Duration::from_millis(120);

/// The addresses that are watched, and how often the LAN was asked for each.
#[derive(Debug)]
pub(crate) struct Watches<A> {
    asked: BTreeMap<A, u8>,
    timers: Timers<A>,
}

/// What comes next of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<A> {
    /// The LAN is to be asked for the address.
    Ask(A),
    /// Nobody has answered. The address is watched no more.
    Silent(A),
}

impl<A: Copy + Ord> Watches<A> {
    pub(crate) fn new() -> Self {
        Self { asked: BTreeMap::new(), timers: Timers::default() }
    }

    /// Watches `address`, and asks for it then. One that is watched already goes on as it is.
    pub(crate) fn begin(&mut self, address: A, ask: Instant) {
        if let Entry::Vacant(watch) = self.asked.entry(address) {
            watch.insert(0);
            self.timers.set(address, ask);
        }
    }

    /// Watches `address` no more.
    pub(crate) fn end(&mut self, address: A) {
        self.asked.remove(&address);
        self.timers.cancel(&address);
    }

    pub(crate) fn contains(&self, address: A) -> bool {
        self.asked.contains_key(&address)
    }

    /// Whether the LAN was asked for `address`.
    pub(crate) fn is_asking(&self, address: A) -> bool {
        self.asked.get(&address).is_some_and(|asked| *asked > 0)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step<A>> {
        let address = self.timers.pop(now)?;
        let asked = self.asked.get_mut(&address)?;
        if *asked == QUESTIONS {
            self.asked.remove(&address);
            return Some(Step::Silent(address));
        }
        *asked += 1;
        self.timers.set(address, now + PAUSE);
        Some(Step::Ask(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lan_is_asked_twice_in_its_time_and_then_it_is_silent() {
        let now = Instant::now();
        let ask = now + Duration::from_secs(1);
        let mut watches = Watches::new();
        watches.begin(1, ask);
        watches.begin(1, now);
        assert_eq!((watches.poll_timeout(), watches.poll(now)), (Some(ask), None));
        assert!(watches.contains(1) && !watches.is_asking(1));
        assert_eq!(watches.poll(ask), Some(Step::Ask(1)));
        assert!(watches.is_asking(1));
        assert_eq!((watches.poll(ask), watches.poll(ask + PAUSE)), (None, Some(Step::Ask(1))));
        assert_eq!(watches.poll(ask + 2 * PAUSE), Some(Step::Silent(1)));
        assert_eq!((watches.contains(1), watches.poll_timeout()), (false, None));
        watches.begin(2, ask);
        watches.end(2);
        assert_eq!((watches.contains(2), watches.poll_timeout()), (false, None));
    }
}

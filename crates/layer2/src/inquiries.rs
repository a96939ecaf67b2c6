//! Asking the LAN who answers for an address, because somebody wants to know: nothing follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use timers::Timers;

use crate::MacAddr;

/// So often each address is asked for: a frame may be lost.
const QUESTIONS: u8 = 3;
/// Between two questions, and for how long answers to the last are waited for.
const PAUSE: Duration = Duration::from_millis(200);
/// So many addresses are asked for at a time.
const AT_ONCE: usize = 16;
/// So many stations are told of, lest a host with many names fills the memory.
const STATIONS: usize = 16;

/// The addresses that somebody wants to know about.
#[derive(Debug)]
pub(crate) struct Inquiries<A> {
    by_address: BTreeMap<A, Inquiry>,
    /// When to ask, or to tell what was found.
    due: Timers<A>,
}

#[derive(Debug, Default)]
struct Inquiry {
    asked: u8,
    heard: BTreeSet<MacAddr>,
}

/// What is to be done about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the LAN.
    Ask,
    /// These have answered, which is all there is to find out.
    Done(BTreeSet<MacAddr>),
}

impl<A: Copy + Ord> Inquiries<A> {
    pub(crate) fn new() -> Self {
        Self { by_address: BTreeMap::new(), due: Timers::default() }
    }

    /// Asks for `address`, unless that is under way. False if too many others are.
    pub(crate) fn begin(&mut self, address: A, now: Instant) -> bool {
        if self.by_address.contains_key(&address) {
            return true;
        }
        if self.by_address.len() >= AT_ONCE {
            return false;
        }
        self.by_address.insert(address, Inquiry::default());
        self.due.set(address, now);
        true
    }

    /// `by` says that it has `address`. Whether somebody wants to know.
    pub(crate) fn heard(&mut self, address: A, by: MacAddr) -> bool {
        let Some(inquiry) = self.by_address.get_mut(&address) else { return false };
        if inquiry.heard.len() < STATIONS {
            inquiry.heard.insert(by);
        }
        true
    }

    /// When [`Self::poll`] has something to do, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first()
    }

    /// What to do now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(A, Step)> {
        let address = self.due.pop(now)?;
        let inquiry = self.by_address.get_mut(&address)?;
        if inquiry.asked < QUESTIONS {
            inquiry.asked += 1;
            self.due.set(address, now + PAUSE);
            return Some((address, Step::Ask));
        }
        let heard = self.by_address.remove(&address).map(|inquiry| inquiry.heard);
        Some((address, Step::Done(heard.unwrap_or_default())))
    }
}

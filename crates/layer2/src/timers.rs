//! What is due when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// One moment for each of some keys, and which comes first.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    at: BTreeMap<K, Instant>,
    /// The same, in order of time.
    order: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }

    /// `key` is due then, and at no other time.
    pub(crate) fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.at.insert(key, at) {
            self.order.remove(&(before, key));
        }
        self.order.insert((at, key));
    }

    /// `key` is due no more.
    pub(crate) fn cancel(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    /// When the first is due.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the key that is longest due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<K> {
        let (_, key) = *self.order.first().filter(|(at, _)| *at <= now)?;
        self.cancel(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_come_out_once_when_they_are_due_and_in_order() {
        let start = Instant::now();
        let ms = |millis| start + Duration::from_millis(millis);
        let mut timers = Timers::new();
        for (key, at) in [("b", 20), ("a", 30), ("c", 10), ("d", 15), ("b", 5)] {
            timers.set(key, ms(at));
        }
        timers.cancel("d");
        timers.cancel("unknown");
        assert_eq!(timers.first(), Some(ms(5)));
        assert_eq!(timers.pop(ms(4)), None);
        let popped: Vec<_> = std::iter::from_fn(|| timers.pop(ms(10))).collect();
        assert_eq!(popped, ["b", "c"]);
        assert_eq!(timers.first(), Some(ms(30)));
        assert_eq!(timers.pop(ms(30)), Some("a"));
        assert_eq!(timers.first(), None);
    }
}

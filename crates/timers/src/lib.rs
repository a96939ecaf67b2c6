//! What is due when, and how often something may happen. The time is an argument, as in all pure crates.

mod budget;
mod journal;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub use budget::{Budget, LogLines, Rate};
pub use journal::Journal;

/// One moment for each of some keys, and which comes first.
#[derive(Debug)]
pub struct Timers<K> {
    at: BTreeMap<K, Instant>,
    /// The same, in order of time.
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Ord> Timers<K> {
    /// `key` is due then, and at no other time.
    pub fn set(&mut self, key: K, at: Instant) {
        self.cancel(&key);
        self.at.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// `key` is due no more.
    pub fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    /// Whether `key` is due at some time.
    pub fn contains(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// When `key` is due, if ever.
    pub fn at(&self, key: &K) -> Option<Instant> {
        self.at.get(key).copied()
    }

    /// All that are due at some time.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.at.keys()
    }

    /// When the first is due.
    pub fn first(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the key that is longest due.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        if self.first()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.at.remove(&key);
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
        let mut timers = Timers::default();
        for (key, at) in [("b", 20), ("a", 30), ("c", 10), ("d", 15), ("b", 5)] {
            timers.set(key, ms(at));
        }
        timers.cancel(&"d");
        timers.cancel(&"unknown");
        assert!(timers.contains(&"a") && !timers.contains(&"d"));
        assert_eq!(timers.first(), Some(ms(5)));
        assert_eq!(timers.pop(ms(4)), None);
        let popped: Vec<_> = std::iter::from_fn(|| timers.pop(ms(10))).collect();
        assert_eq!(popped, ["b", "c"]);
        assert_eq!(timers.first(), Some(ms(30)));
        assert_eq!(timers.pop(ms(30)), Some("a"));
        assert_eq!(timers.first(), None);
    }
}

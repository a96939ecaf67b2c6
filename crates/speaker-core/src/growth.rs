//! When maps that have grown are to be [packed](objects::pack): that touches every entry, so it waits until they have grown
//! by much and grow no more.

use std::time::{Duration, Instant};

/// For so long nothing must have come.
const CALM: Duration = Duration::from_secs(3);
/// Fewer new entries are not worth it.
const LEAST: usize = 64;

/// How many entries there are, and were when they were packed.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    packed: usize,
    last: usize,
    due: Option<Instant>,
}

impl Growth {
    /// There are so many entries at `now`.
    pub(crate) fn set(&mut self, entries: usize, now: Instant) {
        self.packed = self.packed.min(entries);
        if entries > self.last && entries - self.packed >= LEAST.max(self.packed / 8) {
            self.due = Some(now + CALM);
        }
        self.last = entries;
    }

    /// Whether they are to be packed now; if so, they count as packed.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        let due = self.due.take_if(|due| *due <= now).is_some();
        if due {
            self.packed = self.last;
        }
        due
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_packed_once_it_is_calm() {
        let (mut it, mut now) = (Growth::default(), Instant::now());
        for entries in 1..1_000 {
            it.set(entries, now);
            assert!(!it.poll(now), "it grows");
            now += CALM / 2;
        }
        let due = it.deadline().expect("it has grown");
        assert!(it.poll(due) && it.deadline().is_none() && !it.poll(due + CALM));
        it.set(1_100, due);
        assert_eq!(it.deadline(), None, "that is little");
        it.set(10, due);
        it.set(60, due);
        assert_eq!(it.deadline(), None, "so is that");
        it.set(80, due);
        assert_eq!(it.deadline(), Some(due + CALM), "what was packed before is gone");
    }
}

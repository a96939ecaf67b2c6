//! How often we come back from a death that others tell of.
//!
//! Somebody with the secret can tell of our death as often as it can send, and each new life of ours is told to everybody.
//! So after a few at once they have a pause, in which deaths that are told count as one. It is far shorter than what
//! those who hear us wait for our objection, so none of them misses us, however many deaths are told.

use std::time::{Duration, Instant};

use timers::Budget;

/// So many at once: as many partitions may heal.
const AT_ONCE: u32 = 4;
/// How many lives there can be in the time in which those who hear us wait for an objection.
const EACH: u32 = 3;

/// What there is to come back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// The generation of ours that has ended.
    pub(crate) generation: u64,
    /// Whether the one that is told of is the life we lead: then others may have taken over.
    pub(crate) held_dead: bool,
}

/// When we may come back, and what from.
#[derive(Debug)]
pub(crate) struct Rebirths {
    budget: Budget,
    waiting: Option<(Instant, Death)>,
    put_off: u64,
}

impl Rebirths {
    /// `silence` is how long those who hear us wait for an objection.
    pub(crate) fn new(silence: Duration) -> Self {
        Self { budget: Budget::new(AT_ONCE, silence / EACH), waiting: None, put_off: 0 }
    }

    /// Whether to come back at once. If not, it is time when [`Self::poll`] says so.
    pub(crate) fn allow(&mut self, death: Death, now: Instant) -> bool {
        if let Some((_, before)) = &mut self.waiting {
            before.generation = before.generation.max(death.generation);
            before.held_dead |= death.held_dead;
        } else {
            let Err(due) = self.budget.take(now) else { return true };
            self.waiting = Some((due, death));
        }
        self.put_off += 1;
        false
    }

    /// From what to come back now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Death> {
        let (due, death) = self.waiting?;
        if due > now || self.budget.take(now).is_err() {
            return None;
        }
        self.waiting = None;
        Some(death)
    }

    /// When to call [`Self::poll`], if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.map(|(due, _)| due)
    }

    /// How many deaths were told in a pause.
    pub(crate) fn put_off(&self) -> u64 {
        self.put_off
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::ms;

    #[test]
    fn the_first_deaths_are_objected_to_at_once_and_others_together() {
        let start = Instant::now();
        let mut rebirths = Rebirths::new(ms(300));
        let death = |generation, held_dead| Death { generation, held_dead };
        let at_once = (0..10).filter(|number| rebirths.allow(death(*number, *number == 5), start)).count();
        assert_eq!((at_once, rebirths.put_off()), (4, 6));
        assert_eq!(rebirths.poll_timeout(), Some(start + ms(100)));
        assert_eq!(rebirths.poll(start + ms(99)), None);
        assert_eq!(rebirths.poll(start + ms(100)), Some(death(9, true)));
        assert_eq!((rebirths.poll(start + ms(1000)), rebirths.poll_timeout()), (None, None));
        assert!(rebirths.allow(death(10, false), start + ms(1000)));
    }
}

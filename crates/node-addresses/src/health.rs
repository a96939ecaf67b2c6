//! Whether a node takes traffic, as time goes.

use std::time::{Duration, Instant};

/// For so long must a node that was dead be well before it is listed again: one that comes and goes would else move the
/// addresses of all Services each time.
pub const RETURN_AFTER: Duration = Duration::from_secs(10);

/// Whether a node takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It does.
    Alive,
    /// It does not.
    Dead,
    /// It is well again since a moment ago.
    Returning {
        /// When it counts as alive.
        at: Instant,
    },
}

impl Health {
    /// Of a node that nothing was known of before.
    pub(crate) fn first(well: bool) -> Self {
        if well { Self::Alive } else { Self::Dead }
    }

    pub(crate) fn is_alive(self) -> bool {
        self == Self::Alive
    }

    /// What it is once the node is seen to be well or not.
    pub(crate) fn seen(self, well: bool, now: Instant) -> Self {
        match (self, well) {
            (_, false) => Self::Dead,
            (Self::Alive, true) => Self::Alive,
            (Self::Dead, true) => Self::Returning { at: now + RETURN_AFTER },
            (Self::Returning { at }, true) => Self::Returning { at }.later(now),
        }
    }

    /// What it is at `now`, when nothing else has happened.
    pub(crate) fn later(self, now: Instant) -> Self {
        match self {
            Self::Returning { at } if at <= now => Self::Alive,
            Self::Alive | Self::Dead | Self::Returning { .. } => self,
        }
    }

    /// When time alone changes it.
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Self::Returning { at } => Some(at),
            Self::Alive | Self::Dead => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_dead_at_once_and_alive_again_after_it_was_well_for_a_while() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let dead = Health::first(true).seen(false, start);
        assert_eq!(dead, Health::Dead);
        let returning = dead.seen(true, start);
        assert!(!returning.is_alive());
        assert_eq!(returning.seen(true, start + second), returning, "it is not put off by another look");
        assert_eq!(returning.seen(false, start + second), Health::Dead);
        assert_eq!(returning.later(start + RETURN_AFTER / 2), returning);
        assert!(returning.later(start + RETURN_AFTER).is_alive());
        assert_eq!(returning.until(), Some(start + RETURN_AFTER));
        assert!(Health::first(true).is_alive(), "what is new need not wait");
    }
}

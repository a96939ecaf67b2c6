//! Whether enough of the others has been heard to act on what is known of them.
//!
//! ```text
//!             peers become known                all have answered, or time is up
//!  (unaware) --------------------> (asking) --------------------------------------> (settled)
//!      |                            ^    ^                                              |  ^
//!      | somebody answers           |    +------------- cut off, or stood still --------+  |
//!      v                            |                                                      |
//!  (contacted) ---------------------+-------------------- time is up ----------------------+
//! ```
//!
//! Who was cut off, or stood still, before it was settled begins again where it was: it has not heard yet what it
//! waits for, and its time was no time to hear it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use objects::NodeName;

/// Once one has answered, the others have this long: three attempts at each.
const AFTER_FIRST: Duration = Duration::from_millis(400);
/// When nobody answers, there is nobody.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What is still waited for.
#[derive(Debug)]
pub(crate) enum Settle {
    /// Nothing is known of anybody.
    Unaware,
    /// These have answered, but who else there is, is still to become known.
    Contacted { until: Instant, by: BTreeSet<NodeName> },
    /// Some have been asked.
    Asking { until: Instant, missing: BTreeSet<NodeName> },
    /// All is known that will be.
    Settled,
}

impl Settle {
    /// We could hear nobody for a while, and these are asked what happened meanwhile.
    pub(crate) fn ask_again(&mut self, mut whom: BTreeSet<NodeName>, now: Instant) {
        match self {
            Self::Unaware => {}
            Self::Contacted { until, by } => {
                *until = now + PATIENCE;
                by.clear();
            }
            Self::Asking { missing, .. } => {
                whom.append(missing);
                self.ask(whom, now);
            }
            Self::Settled => self.ask(whom, now),
        }
    }

    fn ask(&mut self, whom: BTreeSet<NodeName>, now: Instant) {
        *self = if whom.is_empty() {
            Self::Settled
        } else {
            Self::Asking { until: now + PATIENCE, missing: whom }
        };
    }

    /// There are these peers, as far as is known now.
    pub(crate) fn peers(&mut self, peers: BTreeSet<NodeName>, now: Instant) {
        match self {
            Self::Unaware => self.ask(peers, now),
            Self::Contacted { by, .. } => {
                let missing: BTreeSet<_> = peers.difference(by).cloned().collect();
                *self = if missing.is_empty() {
                    Self::Settled
                } else {
                    Self::Asking { until: now + AFTER_FIRST, missing }
                };
            }
            Self::Asking { missing, .. } => {
                missing.retain(|name| peers.contains(name));
                if missing.is_empty() {
                    *self = Self::Settled;
                }
            }
            Self::Settled => {}
        }
    }

    /// This one has answered. Whether it is the first.
    pub(crate) fn answered(&mut self, name: &NodeName, now: Instant) -> bool {
        match self {
            Self::Unaware => {
                *self = Self::Contacted { until: now + AFTER_FIRST, by: [name.clone()].into() };
                true
            }
            Self::Contacted { until, by } => {
                *until = (*until).min(now + AFTER_FIRST);
                by.insert(name.clone());
                false
            }
            Self::Asking { until, missing } => {
                let first = *until > now + AFTER_FIRST;
                *until = (*until).min(now + AFTER_FIRST);
                if missing.remove(name) && missing.is_empty() {
                    *self = Self::Settled;
                }
                first
            }
            Self::Settled => false,
        }
    }

    /// When to call [`Self::poll`] next, if ever.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Contacted { until, .. } | Self::Asking { until, .. } => Some(*until),
            Self::Unaware | Self::Settled => None,
        }
    }

    /// Time passes.
    pub(crate) fn poll(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|until| until <= now) {
            *self = Self::Settled;
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self, Self::Settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{ms, names};

    #[test]
    fn nobody_to_ask_is_soon_asked() {
        let mut settle = Settle::Unaware;
        settle.peers(names(&[]), Instant::now());
        assert!(settle.is_settled());
    }

    #[test]
    fn it_is_settled_when_all_have_answered() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.peers(names(&["a", "b"]), now);
        settle.answered(&"a".into(), now);
        assert!(!settle.is_settled());
        settle.answered(&"b".into(), now);
        assert!(settle.is_settled());
    }

    #[test]
    fn after_the_first_answer_the_rest_is_not_waited_for_long() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.peers(names(&["a", "b", "c"]), now);
        settle.answered(&"a".into(), now + ms(5));
        settle.answered(&"b".into(), now + ms(200));
        assert_eq!(settle.poll_timeout(), Some(now + ms(405)));
        settle.poll(now + ms(404));
        assert!(!settle.is_settled());
        settle.poll(now + ms(405));
        assert!(settle.is_settled());
    }

    #[test]
    fn silence_is_an_answer_in_the_end() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.peers(names(&["a"]), now);
        settle.poll(now + ms(1500));
        assert!(settle.is_settled());
    }

    #[test]
    fn whoever_is_listed_no_longer_is_not_waited_for() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.peers(names(&["a"]), now);
        settle.peers(names(&["b"]), now);
        assert!(settle.is_settled());
    }

    #[test]
    fn others_may_be_heard_before_any_is_listed() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.answered(&"a".into(), now);
        assert!(!settle.is_settled());
        settle.poll(now + ms(400));
        assert!(settle.is_settled());
    }

    #[test]
    fn who_was_heard_before_any_was_listed_need_not_be_asked_but_the_others_must() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.answered(&"a".into(), now);
        settle.peers(names(&["a", "b"]), now + ms(9));
        assert!(!settle.is_settled());
        settle.answered(&"b".into(), now + ms(20));
        assert!(settle.is_settled());
    }

    #[test]
    fn who_could_not_hear_for_a_while_asks_and_still_waits_for_whom_it_waited() {
        let now = Instant::now();
        let mut unaware = Settle::Unaware;
        unaware.ask_again(names(&[]), now);
        assert!(!unaware.is_settled(), "whom to ask is still to become known");

        let mut asking = Settle::Unaware;
        asking.peers(names(&["a"]), now);
        asking.ask_again(names(&["b"]), now + ms(1400));
        asking.poll(now + ms(1500));
        asking.answered(&"b".into(), now + ms(1500));
        assert!(!asking.is_settled());
        asking.answered(&"a".into(), now + ms(1501));
        assert!(asking.is_settled());
        asking.ask_again(names(&["b"]), now + ms(3000));
        assert!(!asking.is_settled());
        asking.ask_again(names(&[]), now + ms(3000));
        assert!(!asking.is_settled());
        asking.answered(&"b".into(), now + ms(3001));
        assert!(asking.is_settled());
    }

    #[test]
    fn who_was_heard_before_a_stall_and_before_any_was_listed_must_be_heard_again() {
        let now = Instant::now();
        let mut settle = Settle::Unaware;
        settle.answered(&"a".into(), now);
        settle.ask_again(names(&["a"]), now + ms(300));
        settle.poll(now + ms(400));
        assert!(!settle.is_settled());
        settle.answered(&"b".into(), now + ms(500));
        settle.peers(names(&["a", "b"]), now + ms(501));
        assert!(!settle.is_settled());
        settle.answered(&"a".into(), now + ms(502));
        assert!(settle.is_settled());
    }
}

//! Foreign hosts that claim an address which is announced (RFC 5227 section 2.4, RFC 4862 section 5.4.4).
//!
//! ```text
//!            heard            PATIENCE later, still ours and still a foreign host
//!   (none) --------> heard ---------------------------------------------------> defended
//!      ^                                                                            |
//!      +------------------------------- QUIET later --------------------------------+
//! ```
//!
//! The patience is for a handover: the packets of a node that has just joined and takes an address over may
//! come before the news that it is one of us.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use timers::Timers;

use crate::{MacAddr, PATIENCE};

/// One defence in that time, or two hosts could answer each other for ever (RFC 5227: DEFEND_INTERVAL).
const QUIET: Duration = Duration::from_secs(10);

/// Who claims which of the announced addresses.
#[derive(Debug)]
pub(crate) struct Claims<A> {
    claims: BTreeMap<A, Claim>,
    timers: Timers<A>,
}

#[derive(Debug, Clone, Copy)]
enum Claim {
    Heard { by: MacAddr },
    Defended,
}

impl<A: Copy + Ord> Claims<A> {
    pub(crate) fn new() -> Self {
        Self { claims: BTreeMap::new(), timers: Timers::default() }
    }

    /// `by` says that it has `address`.
    pub(crate) fn heard(&mut self, address: A, by: MacAddr, now: Instant) {
        self.claims.entry(address).or_insert_with(|| {
            self.timers.set(address, now + PATIENCE);
            Claim::Heard { by }
        });
    }

    /// `address` is announced no longer: whoever wants it may have it.
    pub(crate) fn withdraw(&mut self, address: A) {
        self.claims.remove(&address);
        self.timers.cancel(&address);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// An address to defend now, and against whom.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        is_foreign: impl Fn(MacAddr) -> bool,
    ) -> Option<(A, MacAddr)> {
        while let Some(address) = self.timers.pop(now) {
            match self.claims.remove(&address) {
                Some(Claim::Heard { by }) if is_foreign(by) => {
                    self.claims.insert(address, Claim::Defended);
                    self.timers.set(address, now + QUIET);
                    return Some((address, by));
                }
                Some(Claim::Heard { .. } | Claim::Defended) | None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_claim_is_met_after_some_patience_and_then_not_for_ten_seconds() {
        let start = Instant::now();
        let mut claims = Claims::new();
        claims.heard(1, A, start);
        claims.heard(1, B, start);
        assert_eq!(claims.poll_timeout(), Some(start + PATIENCE));
        let defended = start + PATIENCE;
        assert_eq!(claims.poll(defended, |_| true), Some((1, A)));
        for later in [Duration::ZERO, QUIET / 2] {
            claims.heard(1, A, defended + later);
            assert_eq!(claims.poll(defended + later, |_| true), None);
        }
        assert_eq!(claims.poll_timeout(), Some(defended + QUIET));
        assert_eq!(claims.poll(defended + QUIET, |_| true), None);
        claims.heard(1, B, defended + QUIET);
        assert_eq!(claims.poll(defended + QUIET + PATIENCE, |_| true), Some((1, B)));
    }

    #[test]
    fn a_claim_of_who_turns_out_to_be_no_stranger_is_dropped() {
        let start = Instant::now();
        let mut claims = Claims::new();
        claims.heard(1, A, start);
        claims.heard(2, B, start);
        assert_eq!(claims.poll(start + PATIENCE, |mac| mac != A), Some((2, B)));
        claims.heard(1, B, start + PATIENCE);
        assert_eq!(claims.poll(start + PATIENCE * 2, |_| true), Some((1, B)));
    }

    #[test]
    fn what_is_withdrawn_is_not_defended() {
        let start = Instant::now();
        let mut claims = Claims::new();
        claims.heard(1, A, start);
        claims.withdraw(1);
        assert_eq!(claims.poll_timeout(), None);
        assert_eq!(claims.poll(start + PATIENCE, |_| true), None);
    }
}

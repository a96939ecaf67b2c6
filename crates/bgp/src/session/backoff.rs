//! How long to wait before connecting again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);

/// Twice as long each time, from a second to the connect time. A session that has lasted longer than the wait before it
/// begins anew.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
    established: Option<Instant>,
}

impl Backoff {
    /// There is a session.
    pub(super) fn established(&mut self, now: Instant) {
        self.established = Some(now);
    }

    /// How long to wait at most.
    pub(super) fn next(&mut self, most: Duration, now: Instant) -> Duration {
        let lasted = self.established.take().map(|since| now.saturating_duration_since(since));
        let last = self.last.filter(|&last| lasted.is_none_or(|lasted| lasted < last));
        let next = last.map_or(FIRST, |last| last.saturating_mul(2)).min(most);
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_until_a_session_lasts() {
        let start = Instant::now();
        let secs = Duration::from_secs;
        let mut backoff = Backoff::default();
        let mut next = |now| backoff.next(secs(10), start + secs(now)).as_secs();
        assert_eq!([0; 6].map(&mut next), [1, 2, 4, 8, 10, 10]);
        backoff.established(start);
        assert_eq!(backoff.next(secs(10), start + secs(9)), secs(10), "it was over at once");
        backoff.established(start);
        assert_eq!(backoff.next(secs(10), start + secs(10)), secs(1));
        assert_eq!(backoff.next(secs(10), start + secs(10)), secs(2), "it was over already");
    }
}

//! Whether this process stood still a moment ago: then the news of what happened meanwhile are yet to be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the pulse beats.
const BEAT: Duration = Duration::from_millis(100);
/// So late is no beat of a process that runs.
const LATE: Duration = Duration::from_millis(300);
/// No beat was late.
const NEVER: u64 = u64::MAX;

/// Beats for as long as the process runs.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// The last beat, and when one was late, in milliseconds since the start.
    last: AtomicU64,
    late: AtomicU64,
}

impl Pulse {
    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, last: AtomicU64::new(0), late: AtomicU64::new(NEVER) }
    }

    /// Beats for ever.
    pub(super) async fn run(&self) {
        loop {
            self.beat(Instant::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    /// When the process went on after it stood still, if that is `now` or was a moment ago.
    pub(super) fn went_on(&self, now: Instant) -> Option<Instant> {
        let last = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed));
        if now.saturating_duration_since(last) > LATE {
            return Some(now);
        }
        let late = self.late.load(Ordering::Relaxed);
        let late = (late != NEVER).then(|| self.start + Duration::from_millis(late))?;
        (now.saturating_duration_since(late) < LATE).then_some(late)
    }

    fn beat(&self, now: Instant) {
        let now = self.millis(now);
        let since = now.saturating_sub(self.last.swap(now, Ordering::Relaxed));
        if Duration::from_millis(since) > LATE {
            self.late.store(now, Ordering::Relaxed);
        }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seen_before_and_shortly_after_the_next_beat_and_ends_with_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pulse = Pulse::new(start);
        pulse.beat(at(100));
        assert_eq!(pulse.went_on(at(350)), None);
        assert_eq!(pulse.went_on(at(1000)), Some(at(1000)));
        pulse.beat(at(1000));
        for now in [1000, 1001, 1299] {
            assert_eq!(pulse.went_on(at(now)), Some(at(1000)), "whatever is heard meanwhile");
        }
        pulse.beat(at(1100));
        pulse.beat(at(1300));
        assert_eq!(pulse.went_on(at(1300)), None);
    }
}

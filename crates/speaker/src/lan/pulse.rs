//! Whether this process stood still a moment ago: then the news of what happened meanwhile are yet to be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the pulse beats.
const BEAT: Duration = Duration::from_millis(100);
/// So late is no beat of a process that runs.
const LATE: Duration = Duration::from_millis(300);

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
        Self { start: now, last: AtomicU64::new(0), late: AtomicU64::new(u64::MAX) }
    }

    /// Beats for ever.
    pub(super) async fn run(&self) {
        loop {
            self.beat(Instant::now());
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the process stood still just before `now`.
    pub(super) fn stood_still(&self, now: Instant) -> bool {
        let (now, late) = (self.millis(now), self.late.load(Ordering::Relaxed));
        let limit = u64::try_from(LATE.as_millis()).expect("short");
        now.saturating_sub(self.last.load(Ordering::Relaxed)) > limit || (late <= now && now - late < limit)
    }

    fn beat(&self, now: Instant) {
        let since = self.millis(now).saturating_sub(self.last.load(Ordering::Relaxed));
        if Duration::from_millis(since) > LATE {
            self.late.store(self.millis(now), Ordering::Relaxed);
        }
        self.last.store(self.millis(now), Ordering::Relaxed);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seen_before_and_shortly_after_the_next_beat() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let pulse = Pulse::new(start);
        pulse.beat(at(100));
        assert!(!pulse.stood_still(at(350)));
        assert!(pulse.stood_still(at(1000)));
        pulse.beat(at(1000));
        assert!(pulse.stood_still(at(1001)) && pulse.stood_still(at(1299)));
        pulse.beat(at(1100));
        pulse.beat(at(1300));
        assert!(!pulse.stood_still(at(1300)));
    }
}

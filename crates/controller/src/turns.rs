//! How long the loop keeps everything else on its thread waiting.

use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// After so long a turn ends, though there may be more to do: the Lease and the watches are served by the same
/// thread.
const LONG: Duration = Duration::from_millis(5);

/// Buckets, in seconds.
const SECONDS: [f64; 8] = [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];

/// What is known of the turns of a loop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    longest: Gauge<f64, AtomicU64>,
    seconds: Histogram,
}

impl Default for Turns {
    fn default() -> Self {
        Self { longest: Gauge::default(), seconds: Histogram::new(SECONDS) }
    }
}

impl Turns {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "longest_turn_seconds",
            "The longest that the controller's loop has gone on without a pause, from waking to sleeping, in which \
             nothing else was served",
            self.longest.clone(),
        );
        registry.register(
            "turn_seconds",
            "How long the controller's loop goes on without a pause, from waking to sleeping",
            self.seconds.clone(),
        );
    }

    /// Does what `work` does, and counts how long each of its turns takes.
    pub(crate) async fn count<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            let begin = Instant::now();
            let poll = work.as_mut().poll(context);
            self.took(begin.elapsed());
            poll
        })
        .await
    }

    fn took(&self, turn: Duration) {
        let turn = turn.as_secs_f64();
        self.seconds.observe(turn);
        if turn > self.longest.get() {
            self.longest.set(turn);
        }
    }
}

/// Ends turns that have gone on for long.
#[derive(Debug)]
pub(crate) struct Pace(Instant);

impl Pace {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Lets others have their turn if it is long since they had. To be called often.
    pub(crate) async fn pause(&mut self) {
        if self.0.elapsed() >= LONG {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_lasts_until_the_work_waits_and_the_longest_is_kept() {
        const BUSY: Duration = Duration::from_millis(20);
        // So long that no machine takes it for a turn.
        const WAITING: Duration = Duration::from_secs(1);
        let turns = Turns::default();
        let work = async {
            std::thread::sleep(BUSY);
            tokio::time::sleep(WAITING).await;
            std::thread::sleep(BUSY / 4);
        };
        turns.count(work).await;
        let longest = Duration::from_secs_f64(turns.longest.get());
        assert!((BUSY..WAITING).contains(&longest), "{longest:?}");
    }

    #[tokio::test]
    async fn work_that_never_waits_has_turns_all_the_same() {
        // Other programs keep this one waiting too, but not each time.
        let mut seen = Vec::new();
        for _ in 0..10 {
            let turns = Turns::default();
            let work = async {
                let mut pace = Pace::start();
                for _ in 0..20 {
                    std::thread::sleep(LONG);
                    pace.pause().await;
                }
            };
            turns.count(work).await;
            let longest = Duration::from_secs_f64(turns.longest.get());
            if longest < 10 * LONG {
                return;
            }
            seen.push(longest);
        }
        panic!("the longest turns were {seen:?}");
    }
}

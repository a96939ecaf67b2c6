//! How long threads are kept waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between looks at the clock.
const STEP: Duration = Duration::from_millis(5);

/// The longest time between two looks at the clock, in milliseconds.
#[derive(Default)]
pub(crate) struct Pause(AtomicU64);

impl Pause {
    /// Looks at the clock again and again, as a task among those that are watched.
    pub(crate) async fn watch(&self) {
        loop {
            let begin = Instant::now();
            tokio::time::sleep(STEP).await;
            self.note(begin);
        }
    }

    /// The longest time since this was asked last.
    pub(crate) fn take(&self) -> Duration {
        Duration::from_millis(self.0.swap(0, Ordering::Relaxed))
    }

    fn note(&self, begin: Instant) {
        self.0.fetch_max(begin.elapsed().as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
}

/// A thread with nothing to do but look at the clock: it waits for nothing but the machine.
pub(crate) struct Bystander(Arc<Pause>);

impl Bystander {
    pub(crate) fn start() -> Self {
        let pause = Arc::new(Pause::default());
        let watched = Arc::downgrade(&pause);
        thread::spawn(move || {
            loop {
                let begin = Instant::now();
                thread::sleep(STEP);
                let Some(pause) = watched.upgrade() else { return };
                pause.note(begin);
            }
        });
        Self(pause)
    }

    /// The longest time since this was asked last.
    pub(crate) fn take(&self) -> Duration {
        self.0.take()
    }
}

//! One after the other.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Lets pass one after the other, in the order in which they came. Who goes away while waiting takes no time.
#[derive(Debug)]
pub(super) struct Pace {
    apart: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(apart: Duration) -> Self {
        Self { apart, next: Mutex::default() }
    }

    pub(super) async fn pass(&self) {
        let mut next = self.next.lock().await;
        if let Some(next) = *next {
            sleep_until(next).await;
        }
        *next = Some(Instant::now() + self.apart);
    }
}

//! Whether the API server answers, as far as watches tell. One that is silent without having been closed is found out when
//! it is to be taken up again, so this may be late by as much.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::http::Readiness;

/// What `/readyz` waits for meanwhile.
const WAITING_FOR: &str = "the API server, which cannot be reached";
/// How long that must last: an API server that is replaced is back before.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many watches get no answer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reachability(Arc<watch::Sender<usize>>);

impl Default for Reachability {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Reachability {
    /// One more gets none.
    pub(super) fn lost(&self) {
        self.0.send_modify(|unanswered| *unanswered += 1);
    }

    /// One of them gets answers again.
    pub(super) fn found(&self) {
        self.0.send_modify(|unanswered| *unanswered = unanswered.saturating_sub(1));
    }

    /// Whether all get answers, each time that it changes.
    pub fn changes(&self) -> impl Stream<Item = bool> + use<> {
        let state = (self.0.subscribe(), true);
        stream::unfold(state, async |(mut unanswered, before)| {
            let count = *unanswered.wait_for(|count| (*count == 0) != before).await.ok()?;
            Some((count == 0, (unanswered, count == 0)))
        })
    }

    /// Keeps a program unready that has been without answers for half a minute, until all of its watches have them again.
    /// Never returns.
    pub async fn decide(&self, readiness: &Readiness) {
        let mut changes = pin!(self.changes());
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(reachable) = changes.next() => {
                    due = (!reachable).then(|| Instant::now() + PATIENCE);
                    if reachable && readiness.missing().contains(&WAITING_FOR) {
                        info!("the API server can be reached again");
                        readiness.reached(WAITING_FOR);
                    }
                }
                () = crate::due(due.map(Instant::into_std)) => {
                    due = None;
                    warn!("the API server has not been reached for a while: not ready");
                    readiness.lost(WAITING_FOR);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_without_answers_for_long_is_not_ready_until_it_has_them_again() {
        let (it, readiness) = (Reachability::default(), Readiness::waiting_for([]));
        let (told, ready) = (it.clone(), readiness.clone());
        let deciding = tokio::spawn(async move { told.decide(&ready).await });
        let after = async |seconds| {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            readiness.is_ready()
        };
        assert!(after(100).await);
        it.lost();
        assert!(after(20).await, "that may be an API server that is replaced");
        it.found();
        assert!(after(100).await);
        it.lost();
        it.lost();
        assert!(!after(31).await);
        assert_eq!(readiness.missing(), [WAITING_FOR]);
        it.found();
        assert!(!after(1).await, "one gets no answer yet");
        assert!(!after(3600).await, "however long it lasts");
        it.found();
        assert!(after(1).await);
        deciding.abort();
    }

    #[tokio::test]
    async fn it_is_lost_with_the_first_watch_and_back_with_the_last() {
        let it = Reachability::default();
        let mut changes = Box::pin(it.changes());
        assert_eq!(changes.next().now_or_never(), None);
        it.lost();
        it.lost();
        assert_eq!(changes.next().await, Some(false));
        it.found();
        assert_eq!(changes.next().now_or_never(), None, "one gets no answer");
        it.found();
        assert_eq!(changes.next().await, Some(true));
    }
}

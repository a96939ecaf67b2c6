//! Whether the API server answers, as far as watches tell. One that is silent without having been closed is found out when
//! it is to be taken up again, so this may be late by as much.

use std::sync::Arc;

use futures::Stream;
use futures::stream;
use tokio::sync::watch;

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
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

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

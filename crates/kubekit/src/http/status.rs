//! `/status`: the document in which a program tells what it knows.
//!
//! The task that owns the state is asked for it, and only when somebody asks: it hands out a copy of what belongs into the
//! document, and the thread that serves makes the text of it. Nobody else pays for whoever asks, but for that copy, a few
//! times a second at most.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// So long what was made is good for all who ask.
const FRESH: Duration = Duration::from_millis(500);
/// A task that is busy or has not begun need not answer: whoever asked is told so after this.
const PATIENCE: Duration = Duration::from_secs(2);
/// A document that would be larger is not sent.
const LARGEST: usize = 16 << 20;

/// Makes the text of a document.
type Document = Box<dyn FnOnce() -> serde_json::Result<Vec<u8>> + Send>;

/// Asks the task that owns the state.
#[derive(Debug, Clone)]
pub struct StatusSource(mpsc::Sender<Question>);

/// What the task that owns the state is asked.
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

/// Somebody wants a document.
#[derive(Debug)]
pub struct Question(oneshot::Sender<Answered>);

struct Answered(Document);

impl std::fmt::Debug for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a document")
    }
}

/// The two ends between whom serves documents and whom knows what belongs into them.
pub fn channel() -> (StatusSource, Questions) {
    let (sender, receiver) = mpsc::channel(1);
    (StatusSource(sender), Questions(receiver))
}

impl Questions {
    /// The next question; never, once nobody serves any more.
    pub async fn next(&mut self) -> Question {
        match self.0.recv().await {
            Some(question) => question,
            None => std::future::pending().await,
        }
    }
}

impl Question {
    /// Answers with this document, whose text is made by whoever has asked.
    pub fn answer(self, document: impl serde::Serialize + Send + 'static) {
        // Whoever has asked may have gone.
        _ = self.0.send(Answered(Box::new(move || serde_json::to_vec(&document))));
    }
}

/// What was made last, and who makes the next.
#[derive(Debug)]
pub(super) struct StatusPage {
    source: StatusSource,
    made: tokio::sync::Mutex<Option<(Instant, Bytes)>>,
}

/// Why there is no document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoStatus {
    /// The task does not answer, or has not begun.
    NotStarted,
    /// It cannot be made.
    Failed(Arc<str>),
}

impl StatusPage {
    pub(super) fn new(source: StatusSource) -> Self {
        Self { source, made: tokio::sync::Mutex::default() }
    }

    /// The document, made within the last half a second. Of those who ask at once, one asks the task.
    pub(super) async fn document(&self) -> Result<Bytes, NoStatus> {
        let mut made = self.made.lock().await;
        if let Some((at, text)) = &*made
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let ask = async {
            let (answer, answered) = oneshot::channel();
            self.source.0.send(Question(answer)).await.ok()?;
            answered.await.ok()
        };
        let Ok(Some(Answered(document))) = timeout(PATIENCE, ask).await else {
            return Err(NoStatus::NotStarted);
        };
        let text = document().map_err(|error| NoStatus::Failed(error.to_string().into()))?;
        if text.len() > LARGEST {
            return Err(NoStatus::Failed(format!("it would have {} bytes", text.len()).into()));
        }
        let text = Bytes::from(text);
        *made = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_task_is_asked_a_few_times_a_second_whoever_asks_and_not_at_all_while_nobody_does() {
        let (source, mut questions) = channel();
        let page = StatusPage::new(source);
        let answering = async {
            let mut asked = 0;
            loop {
                questions.next().await.answer(asked);
                asked += 1;
            }
        };
        let asking = async {
            for _ in 0..100 {
                assert_eq!(page.document().await.unwrap(), "0");
            }
            tokio::time::sleep(FRESH).await;
            assert_eq!(page.document().await.unwrap(), "1");
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert_eq!(page.document().await.unwrap(), "2");
        };
        tokio::select! {
            () = asking => {}
            () = answering => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_answer_keeps_nobody_waiting_for_long() {
        let (source, questions) = channel();
        let page = StatusPage::new(source);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(page.document().await, Err(NoStatus::NotStarted));
        }
        assert!(start.elapsed() <= 3 * PATIENCE + Duration::from_millis(10));
        drop(questions);
        let start = Instant::now();
        assert_eq!(page.document().await, Err(NoStatus::NotStarted));
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_document_that_is_too_large_is_not_sent() {
        let (source, mut questions) = channel();
        let page = StatusPage::new(source);
        let answering = async { questions.next().await.answer("x".repeat(LARGEST)) };
        let (document, ()) = tokio::join!(page.document(), answering);
        assert!(matches!(document, Err(NoStatus::Failed(_))));
    }
}

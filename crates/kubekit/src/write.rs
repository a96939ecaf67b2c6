//! Writes to the API server: what became of each, when to try again, and what an operator hears of it.
//!
//! ```text
//! request --> answer --> Done, Conflict, Gone      the caller knows what to do
//!                   \--> Refused                   for good: again after 1 s, 2 s, ... 5 min
//!                    \-> Unavailable               for now: again after 100 ms, 200 ms, ... 10 s
//! ```
//!
//! Every write of both programs goes through [`Writes::perform`]. What fails is warned about once for each object and
//! reason, and again when the reason changes or after a success; repetitions are DEBUG. The pauses are advice: whoever
//! writes knows whether there is still something to write.

mod contest;
mod ledger;
mod metrics;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use contest::{Contest, Undone};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::Status;
use ledger::{Attention, Ledger};
pub use ledger::{Class, pause};
use metrics::Metrics;
use prometheus_client::registry::Registry;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::{debug, info, warn};

/// An object that is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its kind.
    pub kind: Cow<'static, str>,
    /// Its namespace; empty for an object that is in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Object {
    /// An object of this kind.
    pub fn new(
        kind: impl Into<Cow<'static, str>>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self { kind: kind.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl From<&ObjectReference> for Object {
    fn from(about: &ObjectReference) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Self::new(text(&about.kind), text(&about.namespace), text(&about.name))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}

/// What a request is for, on which the meaning of an answer depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// To make an object: where it is missing, what it would be in is missing.
    Create,
    /// To change or delete an object.
    Change,
    /// To read, which is not counted as a write.
    Read,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is done.
    Done(T),
    /// The object is another one by now, or there is one already.
    Conflict,
    /// There is no such object any more.
    Gone,
    /// The API server refuses it, and will not do otherwise because it is repeated.
    Refused(Failure),
    /// There is no answer, or the API server can't give one now.
    Unavailable(Failure),
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code of the answer, if there is one.
    pub code: Option<u16>,
    /// What the API server says, or why there is no answer.
    pub message: String,
    /// When it makes sense to try again.
    pub again: Instant,
}

impl Failure {
    /// Whether it is a right that is missing.
    pub fn is_forbidden(&self) -> bool {
        self.code == Some(403)
    }
}

/// The writes of one program. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Writes {
    metrics: Metrics,
    ledger: Arc<Mutex<Ledger>>,
}

impl Writes {
    /// Makes its metrics visible.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry, Arc::clone(&self.ledger));
    }

    /// Performs a request about an object, which may take so long, and says what became of it.
    pub async fn perform<T>(
        &self,
        object: &Object,
        intent: Intent,
        within: Duration,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Answer<T> {
        let outcome = classify(intent, timeout(within, request).await);
        if intent != Intent::Read {
            self.metrics.count(&object.kind, outcome.label());
        }
        let (class, code, reason, message) = match outcome {
            Outcome::Done(done) => {
                self.succeeded(object);
                return Answer::Done(done);
            }
            Outcome::Gone => {
                self.forget(object);
                return Answer::Gone;
            }
            Outcome::Conflict => return Answer::Conflict,
            Outcome::Failed { class, code, reason, message } => (class, code, reason, message),
        };
        let (again, attention) =
            self.ledger().failed(object, class, &reason, Instant::now(), rand::random_range(0.0..1.0));
        let Object { kind, namespace, name } = object;
        match (attention, class) {
            (Attention::Warn, Class::Refused) => {
                warn!(%kind, namespace, name, code, why = message, "refused by the API server, tried again less and less often");
            }
            (Attention::Warn, Class::Unavailable) => {
                warn!(%kind, namespace, name, code, why = message, "no success with the API server, trying again");
            }
            (Attention::Debug, _) => debug!(%kind, namespace, name, code, why = message, "failed again"),
        }
        let failure = Failure { code, message, again };
        match class {
            Class::Refused => Answer::Refused(failure),
            Class::Unavailable => Answer::Unavailable(failure),
        }
    }

    /// Nobody writes this object any more.
    pub fn forget(&self, object: &Object) {
        self.ledger().over(object);
    }

    /// Somebody else undid what was written, see [`Contest`].
    pub fn undone(&self, object: &Object, undone: Undone) {
        self.metrics.undone(&object.kind);
        let Object { kind, namespace, name } = object;
        let pause = undone.pause;
        if undone.warn {
            warn!(%kind, namespace, name, "somebody else writes the same: corrected less and less often");
        } else {
            debug!(%kind, namespace, name, ?pause, "written by somebody else");
        }
    }

    fn succeeded(&self, object: &Object) {
        if self.ledger().over(object) {
            let Object { kind, namespace, name } = object;
            info!(%kind, namespace, name, "accepted by the API server again");
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Outcome<T> {
    Done(T),
    Conflict,
    Gone,
    Failed {
        class: Class,
        code: Option<u16>,
        /// What stays the same when only versions and times in the message differ.
        reason: String,
        message: String,
    },
}

impl<T> Outcome<T> {
    fn label(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Failed { class: Class::Refused, .. } => "refused",
            Self::Failed { class: Class::Unavailable, .. } => "unavailable",
        }
    }
}

fn classify<T>(intent: Intent, answer: Result<kube::Result<T>, Elapsed>) -> Outcome<T> {
    let failed =
        |class, code, reason: String, message: String| Outcome::Failed { class, code, reason, message };
    match answer {
        Ok(Ok(done)) => Outcome::Done(done),
        Ok(Err(kube::Error::Api(status))) => match (status.code, intent) {
            (409, _) => Outcome::Conflict,
            (404, Intent::Change) => Outcome::Gone,
            (code, _) => failed(class(code), Some(code), reason(&status), status.message),
        },
        // Requests that can't be built, and answers that can't be read, are the same the next time.
        Ok(Err(
            error @ (kube::Error::BuildRequest(_) | kube::Error::SerdeError(_) | kube::Error::HttpError(_)),
        )) => failed(Class::Refused, None, "unusable".to_owned(), error.to_string()),
        Ok(Err(error)) => failed(Class::Unavailable, None, "unreachable".to_owned(), error.to_string()),
        Err(_) => failed(Class::Unavailable, None, "unreachable".to_owned(), "no answer in time".to_owned()),
    }
}

/// What to expect of a repetition, by the code of the answer.
fn class(code: u16) -> Class {
    match code {
        // A token that has run out is read anew within a minute. A version that is too old or too new passes, too.
        401 | 408 | 410 | 425 | 429 => Class::Unavailable,
        300..=499 => Class::Refused,
        _ => Class::Unavailable,
    }
}

fn reason(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes: String = causes.map(|cause| format!(" {}:{}", cause.field, cause.reason)).collect();
    format!("{} {}{causes}", status.code, status.reason)
}

#[cfg(test)]
mod tests;

//! Events, which `kubectl describe` shows below the object that they are about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::REQUEST_TIMEOUT;

/// Whether an event tells of something that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Something to tell the owner of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether all is well.
    pub severity: Severity,
    /// One word in camel case.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Notice {
    /// All is well.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason, message: message.into() }
    }

    /// Somebody should look.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason, message: message.into() }
    }
}

/// Events wait here while the API server is slow. A thousand is more than a cluster makes in a second; beyond
/// it, whoever does not wait for [`Publisher::room`] has its events dropped and counted, since nothing depends
/// on them.
const QUEUE: usize = 1000;

/// How many are under way at once: enough to keep up, and few enough not to be in the way of status writes.
const CONCURRENCY: usize = 4;

/// Sends events in the background. Cheap to clone; the task ends with the last clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    queue: mpsc::Sender<(ObjectReference, Notice)>,
    dropped: Arc<AtomicU64>,
}

impl Publisher {
    /// Starts the task. `component` is the reporting program as upstream names it, such as
    /// `metallb-controller`; `instance` tells its replicas apart.
    pub fn start(client: Client, component: &'static str, instance: String) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(ObjectReference, Notice)>(QUEUE);
        tokio::spawn(async move {
            let waiting = stream::poll_fn(move |context| waiting.poll_recv(context));
            let post = |(object, notice)| post(&client, event(component, &instance, object, notice));
            waiting.for_each_concurrent(CONCURRENCY, post).await;
        });
        Self { queue, dropped: Arc::default() }
    }

    /// Sends an event about an object. Never waits.
    pub fn publish(&self, about: ObjectReference, notice: Notice) {
        if self.queue.try_send((about, notice)).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Told at 1, 2, 4, 8 and so on: the log must not drown where the events already did.
            if dropped.is_power_of_two() {
                warn!(dropped, "too many events, some are not sent");
            }
        }
    }

    /// Whether there is room for another event.
    pub fn has_room(&self) -> bool {
        self.queue.capacity() > 0
    }

    /// Waits until there is.
    pub async fn room(&self) {
        if self.queue.reserve().await.is_err() {
            // The task ends with the last publisher only, or with the runtime.
            std::future::pending::<()>().await;
        }
    }

    /// How many events were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn post(client: &Client, event: Event) {
    let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams::default();
    match tokio::time::timeout(REQUEST_TIMEOUT, api.create(&parameters, &event)).await {
        Ok(Ok(_)) => {}
        // The name holds the time in nanoseconds; where it is taken, an equal event came first.
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
        Ok(Err(error)) => debug!(%error, "event not sent"),
        Err(_) => debug!("event not sent: no answer in time"),
    }
}

/// An event of the core API, with source and reporting component both filled in: older tools look at the
/// first, newer ones at the second.
fn event(component: &str, instance: &str, about: ObjectReference, notice: Notice) -> Event {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let name = format!("{}.{nanos:x}", about.name.as_deref().unwrap_or("unknown"));
    let now = Some(Time(Timestamp::now()));
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            // An object without a namespace has its events in the default one.
            namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: about,
        type_: Some(
            match notice.severity {
                Severity::Normal => "Normal",
                Severity::Warning => "Warning",
            }
            .to_owned(),
        ),
        reason: Some(notice.reason.to_owned()),
        message: Some(shorten(notice.message)),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        count: Some(1),
        first_timestamp: now.clone(),
        last_timestamp: now,
        ..Event::default()
    }
}

/// The API server refuses a message of more than 1024 bytes.
fn shorten(mut message: String) -> String {
    const MOST: usize = 1024;
    if message.len() > MOST {
        let end = (0..=MOST - 3).rev().find(|&i| message.is_char_boundary(i)).unwrap_or(0);
        message.truncate(end);
        message.push_str("...");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_who_what_and_about_what() {
        let about = ObjectReference {
            kind: Some("Service".into()),
            name: Some("web".into()),
            namespace: Some("prod".into()),
            ..ObjectReference::default()
        };
        let event = event(
            "metallb-controller",
            "pod-1",
            about.clone(),
            Notice::warning("AllocationFailed", "none left"),
        );
        assert!(event.metadata.name.unwrap().starts_with("web."));
        assert_eq!(event.metadata.namespace.as_deref(), Some("prod"));
        assert_eq!(event.involved_object, about);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.source.unwrap().component.as_deref(), Some("metallb-controller"));
        assert_eq!(event.reporting_instance.as_deref(), Some("pod-1"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = shorten("ä".repeat(600));
        assert!(cut.len() <= 1024 && cut.ends_with("ä..."), "{} bytes", cut.len());
        assert_eq!(shorten("short".into()), "short");
    }
}

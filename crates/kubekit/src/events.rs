//! Events, which `kubectl describe` shows below the object that they are about.

mod budget;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use budget::{Budget, Grant};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use objects::text::{self, EVENT_MESSAGE, EVENT_REASON, object_name};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tracing::warn;

use crate::REQUEST_TIMEOUT;
use crate::write::{Answer, Intent, Object, Writes};

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
    budget: Arc<Mutex<Budget>>,
    dropped: Dropped,
}

impl Publisher {
    /// Starts the task. `component` is the reporting program as upstream names it, such as
    /// `metallb-controller`; `instance` tells its replicas apart.
    pub fn start(client: Client, component: &'static str, instance: String, writes: Writes) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(ObjectReference, Notice)>(QUEUE);
        let dropped = Dropped::default();
        let this = Self { queue, budget: Arc::default(), dropped: dropped.clone() };
        tokio::spawn(async move {
            let waiting = stream::poll_fn(move |context| waiting.poll_recv(context));
            let post = |(object, notice)| {
                post(&client, &writes, &dropped, component, event(component, &instance, object, notice))
            };
            waiting.for_each_concurrent(CONCURRENCY, post).await;
        });
        this
    }

    /// Makes the counter of events that were not sent visible.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("ferrolb");
        own.register("events_dropped", "Events that were not sent, and why", self.dropped.0.clone());
    }

    /// Sends an event about an object, unless that had too many lately. Never waits.
    pub fn publish(&self, about: ObjectReference, notice: Notice) {
        let grant = self.budget.lock().unwrap_or_else(PoisonError::into_inner).take(
            &about,
            notice.severity,
            Instant::now(),
        );
        let (kind, namespace, name) = (&about.kind, &about.namespace, &about.name);
        if grant == Grant::FirstDropped {
            warn!(
                kind,
                namespace,
                name,
                reason = notice.reason,
                "too many events about one object, some are not sent"
            );
        }
        if grant != Grant::Sent {
            self.dropped.count("budget");
            return;
        }
        if self.queue.try_send((about, notice)).is_err() {
            let dropped = self.dropped.count("queue");
            // Told at 1, 2, 4, 8 and so on: the log must not drown where the events already did.
            if dropped.is_power_of_two() {
                warn!(dropped, "too many events wait for the API server, some are not sent");
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
}

/// Counts events that were not sent.
#[derive(Debug, Clone, Default)]
struct Dropped(Family<DroppedLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    /// `budget` of the object, `queue` full, or what the API server did: `refused`, `unavailable`.
    reason: &'static str,
}

impl Dropped {
    fn count(&self, reason: &'static str) -> u64 {
        self.0.get_or_create(&DroppedLabels { reason }).inc() + 1
    }
}

async fn post(client: &Client, writes: &Writes, dropped: &Dropped, component: &str, event: Event) {
    let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
    // What stops one event of a namespace stops all of them, so one warning does for all.
    let object = Object::new("Event", namespace, component);
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams::default();
    match writes.perform(&object, Intent::Create, REQUEST_TIMEOUT, api.create(&parameters, &event)).await {
        // The name holds the time in nanoseconds; where it is taken, an equal event came first.
        Answer::Done(_) | Answer::Conflict | Answer::Gone => {}
        Answer::Refused(_) => _ = dropped.count("refused"),
        Answer::Unavailable(_) => _ = dropped.count("unavailable"),
    }
}

/// An event of the core API, with source and reporting component both filled in: older tools look at the
/// first, newer ones at the second.
fn event(component: &str, instance: &str, about: ObjectReference, notice: Notice) -> Event {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    let name = object_name(about.name.as_deref().unwrap_or("unknown"), &format!(".{nanos:x}"));
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
        reason: Some(text::shorten(notice.reason, EVENT_REASON)),
        message: Some(text::shorten(&text::printable(&notice.message), EVENT_MESSAGE)),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        count: Some(1),
        first_timestamp: now.clone(),
        last_timestamp: now,
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn an_event_is_one_line_whatever_somebody_wrote() {
        let message = format!("unknown pool x\nINFO all is well\u{1b}[2J{}", "y".repeat(300_000));
        let event = event("c", "i", ObjectReference::default(), Notice::normal("R", message));
        let message = event.message.unwrap();
        assert!(message.starts_with(r"unknown pool x\nINFO all is well\u{1b}[2Jyy"), "{message}");
        assert!(message.len() <= EVENT_MESSAGE);
    }

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
    fn an_event_about_an_object_with_a_long_name_has_a_name_and_a_message_that_are_taken() {
        let about = ObjectReference { name: Some("n".repeat(253)), ..ObjectReference::default() };
        let event =
            event("metallb-speaker", "pod-1", about, Notice::normal("nodeAssigned", "ä".repeat(1000)));
        let (name, message) = (event.metadata.name.unwrap(), event.message.unwrap());
        assert!(name.starts_with("nnn") && name.len() <= 253, "{name}");
        assert!(message.len() <= 1024 && message.ends_with("ä..."), "{} bytes", message.len());
    }

    #[tokio::test]
    async fn a_hundred_thousand_events_about_one_object_are_counted_and_few_are_sent() {
        let (client, log) = fake::api(|_| (201, serde_json::json!({"metadata": {}, "involvedObject": {}})));
        let (publisher, mut registry) =
            (Publisher::start(client, "test", "test".to_owned(), Writes::default()), Registry::default());
        publisher.register(&mut registry);
        let about =
            |name: &str| ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        for _ in 0..100_000 {
            publisher.publish(about("spam"), Notice::warning("AllocationFailed", "again"));
        }
        publisher.publish(about("other"), Notice::normal("IPAllocated", "once"));
        while log.all().len() < 26 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(log.all().len(), 26);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains(r#"ferrolb_events_dropped_total{reason="budget"} 99975"#), "{text}");
    }
}

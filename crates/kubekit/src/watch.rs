//! A list that is kept up to date, as a stream of changes.

use std::fmt::{Debug, Display};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

/// What happened to the objects of one kind.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// The complete list. What was known before and is not in it is gone. The first change is always this;
    /// it comes again whenever the watch had to start anew.
    Reset(Vec<K>),
    /// An object was made or changed.
    Apply(K),
    /// An object was deleted; this is its last state.
    Delete(K),
}

/// What to list and watch.
#[derive(Debug, Clone)]
pub struct Source<K> {
    /// The kind, and the namespace if it is confined to one.
    pub api: Api<K>,
    /// Only objects with these labels.
    pub labels: Option<String>,
    /// Only objects with these values in their fields.
    pub fields: Option<String>,
}

impl<K> Source<K> {
    /// The objects with these labels, written as a label selector.
    pub fn labelled(api: Api<K>, labels: impl Into<String>) -> Self {
        Self { api, labels: Some(labels.into()), fields: None }
    }

    /// The one object of this name.
    pub fn named(api: Api<K>, name: impl Display) -> Self {
        Self { api, labels: None, fields: Some(format!("metadata.name={name}")) }
    }
}

impl<K> From<Api<K>> for Source<K> {
    fn from(api: Api<K>) -> Self {
        Self { api, labels: None, fields: None }
    }
}

/// Pauses between attempts. The API server may be down for long, and hundreds of nodes may be waiting for
/// it, so the pause grows; but an address may hang on the answer, so it does not grow far. It starts anew
/// after ten quiet seconds, not with the next success: a list that begins counts as one.
fn pauses() -> impl Backoff {
    let growing = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter();
    ResetTimerBackoff::new(watcher::ExponentialBackoff::from(growing), Duration::from_secs(10))
}

/// How long a watch may go on, after which it is taken up where it ended. A connection that is dead without having been
/// closed, as where a firewall forgot it, looks like one on which nothing happens; so this is how late a change may be
/// seen, at worst.
pub(crate) const SILENCE: Duration = Duration::from_secs(40);

/// Lists and then watches `source`, for ever. While the API server cannot be reached the stream is silent;
/// it says so once in the log, and once when it is back.
pub fn watch<K>(source: impl Into<Source<K>>) -> impl Stream<Item = Change<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watch_as(source, std::convert::identity)
}

/// Like [`watch()`], with every object turned at once into what is wanted of it, so that of a long list no
/// more than a page is ever in memory as objects.
pub fn watch_as<K, T>(
    source: impl Into<Source<K>>,
    convert: impl Fn(K) -> T + Send + 'static,
) -> impl Stream<Item = Change<T>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let Source { api, labels, fields } = source.into();
    let config = watcher::Config {
        label_selector: labels,
        field_selector: fields,
        timeout: u32::try_from(SILENCE.as_secs()).ok(),
        ..watcher::Config::default()
    };
    let events = watcher(api, config).backoff(pauses()).boxed();
    let reader = Reader { convert, listed: Vec::new(), reachable: true };
    futures::stream::unfold((events, reader), |(mut events, mut reader)| async move {
        loop {
            let change = reader.read(events.next().await?);
            if let Some(change) = change {
                return Some((change, (events, reader)));
            }
        }
    })
}

/// Puts the parts of a list together, and notices when the API server goes away and comes back.
struct Reader<T, F> {
    convert: F,
    listed: Vec<T>,
    reachable: bool,
}

impl<T, F> Reader<T, F> {
    fn read<K: Resource<DynamicType = ()>>(
        &mut self,
        event: watcher::Result<watcher::Event<K>>,
    ) -> Option<Change<T>>
    where
        F: Fn(K) -> T,
    {
        let kind = K::kind(&());
        let event = match event {
            Ok(event) => event,
            // The history was compacted; a new list follows at once, and that is all there is to it.
            Err(watcher::Error::WatchError(status)) if status.code == 410 => return None,
            Err(error) => {
                if std::mem::replace(&mut self.reachable, false) {
                    warn!(kind = %kind, error = %error, "watch interrupted, trying again");
                }
                return None;
            }
        };
        // A list begins before its first answer: only what follows shows that the server is there.
        if !matches!(event, watcher::Event::Init) && !std::mem::replace(&mut self.reachable, true) {
            info!(kind = %kind, "watch resumed");
        }
        let convert = |object| (self.convert)(strip(object));
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                self.listed.push(convert(object));
                None
            }
            watcher::Event::InitDone => Some(Change::Reset(std::mem::take(&mut self.listed))),
            watcher::Event::Apply(object) => Some(Change::Apply(convert(object))),
            watcher::Event::Delete(object) => Some(Change::Delete(convert(object))),
        }
    }
}

/// Drops the bookkeeping of server-side apply, often the largest part of an object.
fn strip<K: Resource<DynamicType = ()>>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::slim::Namespace;

    fn named(name: &str) -> Namespace {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace
    }

    fn reader() -> Reader<Namespace, fn(Namespace) -> Namespace> {
        Reader { convert: std::convert::identity, listed: Vec::new(), reachable: true }
    }

    #[test]
    fn a_list_comes_whole_and_a_broken_one_is_forgotten() {
        let mut reader = reader();
        assert!(reader.read(Ok(watcher::Event::Init)).is_none());
        assert!(reader.read(Ok(watcher::Event::InitApply(named("old")))).is_none());
        assert!(reader.read(Err(watcher::Error::NoResourceVersion)).is_none());
        assert!(!reader.reachable);
        assert!(reader.read(Ok(watcher::Event::Init)).is_none());
        assert!(!reader.reachable, "a list that has only begun shows nothing");
        assert!(reader.read(Ok(watcher::Event::InitApply(named("new")))).is_none());
        assert!(reader.reachable);
        let Some(Change::Reset(list)) = reader.read(Ok(watcher::Event::InitDone)) else { panic!("no list") };
        assert_eq!(list.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn compacted_history_is_not_an_interruption() {
        let mut reader = reader();
        let gone = Status::failure("too old resource version", "Expired").with_code(410);
        assert!(reader.read(Err(watcher::Error::WatchError(Box::new(gone)))).is_none());
        assert!(reader.reachable);
    }
}

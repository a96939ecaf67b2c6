//! How a list is kept up to date.
//!
//! ```text
//!             complete                     started
//!   Unlisted ----------> Listed{version} ----------> Watching{version}
//!      ^  ^                 |  ^                        |     |
//!      |  +- history lost, -+  +------ ended in time ---+     |
//!      |     version refused                                  |
//!      +------ broken off: listed again, if that is cheap ----+
//! ```
//!
//! A watch goes on from the version where the last one ended. After a restore of etcd from a backup there is no such
//! version yet, and the API server says nothing: it sends what is newer than that, which is nothing until the versions
//! have caught up. Such a restore can't happen without breaking connections off. So after that a short list is taken
//! from scratch; a long one only if its version shows that it is older, and otherwise somewhat later, at a random time,
//! so that an API server that comes back is not asked for all long lists by all programs at once.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::{Absence, Change, Known, Reachability, Source, Watched};
use crate::{Version, due};

/// How long a watch may go on, after which it is taken up where it ended. A connection that is dead without having been
/// closed, as where a firewall forgot it, looks like one on which nothing happens; so this is how late a change may be
/// seen, at worst.
pub(crate) const SILENCE: Duration = Duration::from_secs(40);
/// How much earlier or later than asked for the API server may end a watch.
const EARLY: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(5);
/// How long a page of a list, or the beginning of a watch, may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// Objects in one answer. A list that fits into it is short.
const PAGE: u32 = 500;
/// When a long list is taken again after a watch was broken off.
const LATER: std::ops::Range<f64> = 10.0..60.0;

/// Pauses between attempts. The API server may be down for long, and hundreds of nodes may be waiting for
/// it, so the pause grows; but an address may hang on the answer, so it does not grow far. It starts anew
/// after ten quiet seconds, not with the next success: a list that begins counts as one.
fn pauses() -> impl Backoff {
    let growing = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .with_jitter();
    ResetTimerBackoff::new(ExponentialBackoff::from(growing), Duration::from_secs(10))
}

/// Keeps one list up to date.
pub(super) struct Follower<K, T, F> {
    api: Api<K>,
    labels: Option<String>,
    fields: Option<String>,
    convert: F,
    state: State<K>,
    /// The latest version that was seen.
    latest: Option<Version>,
    /// The newest version of an object that was seen since the last list.
    newest: u64,
    /// A list that has not been emitted yet.
    pending: Option<Vec<T>>,
    pauses: Box<dyn Backoff>,
    /// Whether the last list was short.
    is_short: bool,
    /// When to list again though nothing seems to be missing.
    relist: Option<Instant>,
    reachable: bool,
    reachability: Option<Reachability>,
    absence: Absence,
    /// Whether it was told that there is no such kind.
    is_absent: bool,
}

type Events<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

enum State<K> {
    /// Nothing is known, or nothing that counts.
    Unlisted,
    /// All is known as of this version.
    Listed { version: Version, trust: Trust },
    /// What happens after this version is on its way.
    Watching { events: Events<K>, version: Version, since: Instant },
}

/// Whether the API server surely knows a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Sure,
    /// The watch was broken off: another API server may have come since, with another past.
    BrokenOff,
}

/// Why something went wrong.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer in time")]
    Timeout(#[from] tokio::time::error::Elapsed),
    #[error("{0}")]
    Status(String),
    /// There is no such kind, as before.
    #[error("no such kind")]
    Absent,
    /// The history before a version is lost, and a list is all that it takes.
    #[error("too old a version")]
    Expired,
    /// It ended before its time, which is no wonder by itself.
    #[error("broken off")]
    BrokenOff,
}

impl<K, T, F> Follower<K, T, F>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Fn(K) -> T,
{
    pub(super) fn new(source: Source<K>, convert: F) -> Self {
        let Source { api, labels, fields, reachability, absence } = source;
        Self {
            api,
            labels,
            fields,
            convert,
            state: State::Unlisted,
            latest: None,
            newest: 0,
            pending: None,
            pauses: Box::new(pauses()),
            is_short: true,
            relist: None,
            reachable: true,
            reachability,
            absence,
            is_absent: false,
        }
    }

    /// How much is known by what came last.
    pub(super) fn known(&self) -> Known {
        let complete = self.latest.as_ref().and_then(Version::number).unwrap_or_default();
        Known { complete, newest: self.newest }
    }

    /// What comes next, however long that takes.
    pub(super) async fn next(&mut self) -> Watched<T> {
        if let Some(list) = self.pending.take() {
            return Watched::Change(Change::Reset(list));
        }
        loop {
            match self.step().await {
                Ok(Some(watched)) => return watched,
                Ok(None) => {}
                Err(trouble) => {
                    match trouble {
                        Trouble::Absent => {}
                        Trouble::Expired | Trouble::BrokenOff => {
                            debug!(kind = %K::kind(&()), %trouble, "watching anew");
                        }
                        Trouble::Api(_) | Trouble::Timeout(_) | Trouble::Status(_) => {
                            if std::mem::replace(&mut self.reachable, false) {
                                warn!(kind = %K::kind(&()), error = %trouble, "watch interrupted, trying again");
                                self.reachability.iter().for_each(Reachability::lost);
                            }
                        }
                    }
                    // Also where nothing is wrong: it may be that a watch ends as soon as it begins.
                    sleep(self.pauses.next().unwrap_or(LATE)).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Watched<T>>, Trouble> {
        // What fails has changed nothing, so that it is tried again; so the state goes back where it was.
        match std::mem::replace(&mut self.state, State::Unlisted) {
            State::Unlisted => {
                let (objects, version) = match self.list().await {
                    Err(Trouble::Api(kube::Error::Api(status))) if self.is_absence(status.code) => {
                        if std::mem::replace(&mut self.is_absent, true) {
                            return Err(Trouble::Absent);
                        }
                        info!(kind = %K::kind(&()), reason = status.message, "there is no such kind here");
                        self.reached();
                        self.latest = None;
                        return Ok(Some(Watched::Change(Change::Reset(Vec::new()))));
                    }
                    listed => listed?,
                };
                self.is_absent = false;
                self.reached();
                self.relist = None;
                let latest = self.latest.replace(version.clone());
                self.state = State::Listed { version: version.clone(), trust: Trust::Sure };
                if latest.is_some_and(|latest| version.is_older_than(&latest)) {
                    self.pending = Some(objects);
                    return Ok(Some(Watched::Restored));
                }
                Ok(Some(Watched::Change(Change::Reset(objects))))
            }
            State::Listed { version, trust: Trust::BrokenOff } if self.is_short => {
                debug!(kind = %K::kind(&()), version = version.as_str(), "watch broken off, listing again");
                Ok(None)
            }
            State::Listed { version, trust: Trust::BrokenOff } => {
                let now = match self.version().await {
                    Ok(now) => now,
                    Err(error) => {
                        self.state = State::Listed { version, trust: Trust::BrokenOff };
                        return Err(error);
                    }
                };
                self.reached();
                if now.is_older_than(&version) {
                    let (before, now) = (version.as_str(), now.as_str());
                    warn!(kind = %K::kind(&()), before, now, "the API server has an older state than before, listing again");
                } else {
                    let later = Duration::from_secs_f64(rand::random_range(LATER));
                    self.relist = Some(Instant::now() + later);
                    self.state = State::Listed { version, trust: Trust::Sure };
                }
                Ok(None)
            }
            State::Listed { version, trust: Trust::Sure } => {
                let parameters = WatchParams {
                    label_selector: self.labels.clone(),
                    field_selector: self.fields.clone(),
                    timeout: u32::try_from(SILENCE.as_secs()).ok(),
                    ..WatchParams::default()
                };
                let request = self.api.watch(&parameters, version.as_str());
                match timeout(LIST_TIMEOUT, request).await {
                    Ok(Ok(events)) => {
                        let (events, since) = (events.boxed(), Instant::now());
                        self.state = State::Watching { events, version, since };
                        Ok(None)
                    }
                    Ok(Err(kube::Error::Api(status))) if status.code == 410 => Err(Trouble::Expired),
                    // A version that it does not understand or does not have yet: a list is without one.
                    Ok(Err(kube::Error::Api(status))) if !matches!(status.code, 429 | 500..=503) => {
                        Err(kube::Error::Api(status).into())
                    }
                    Ok(Err(error)) => {
                        self.state = State::Listed { version, trust: Trust::BrokenOff };
                        Err(error.into())
                    }
                    Err(elapsed) => {
                        self.state = State::Listed { version, trust: Trust::BrokenOff };
                        Err(elapsed.into())
                    }
                }
            }
            State::Watching { mut events, version, since } => {
                let next = tokio::select! {
                    next = timeout(SILENCE + LATE, events.next()) => next,
                    () = due(self.relist) => return Ok(None),
                };
                match next {
                    Ok(Some(Ok(event))) => self.read(event, events, version, since),
                    Ok(Some(Err(error))) => {
                        self.state = State::Listed { version, trust: Trust::BrokenOff };
                        Err(error.into())
                    }
                    Ok(None) if since.elapsed() + EARLY >= SILENCE => {
                        self.reached();
                        self.state = State::Listed { version, trust: Trust::Sure };
                        Ok(None)
                    }
                    Ok(None) | Err(_) => {
                        self.state = State::Listed { version, trust: Trust::BrokenOff };
                        Err(Trouble::BrokenOff)
                    }
                }
            }
        }
    }

    /// Whether this answer to a list means that there is nothing. What was allowed once and is no more is trouble.
    fn is_absence(&self, code: u16) -> bool {
        match self.absence {
            Absence::Trouble => false,
            Absence::Empty => code == 404 || code == 403 && self.latest.is_none(),
        }
    }

    fn read(
        &mut self,
        event: WatchEvent<K>,
        events: Events<K>,
        version: Version,
        since: Instant,
    ) -> Result<Option<Watched<T>>, Trouble> {
        let (version, change) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (Version::of(&object), Some(Change::Apply((self.convert)(strip(object)))))
            }
            WatchEvent::Deleted(object) => {
                (Version::of(&object), Some(Change::Delete((self.convert)(strip(object)))))
            }
            WatchEvent::Bookmark(bookmark) => (bookmark.metadata.resource_version.as_str().into(), None),
            WatchEvent::Error(status) if status.code == 410 => return Err(Trouble::Expired),
            WatchEvent::Error(status) => {
                self.state = State::Listed { version, trust: Trust::BrokenOff };
                return Err(Trouble::Status(status.message));
            }
        };
        self.reached();
        if change.is_some() {
            self.newest = self.newest.max(version.number().unwrap_or_default());
        }
        self.latest = Some(version.clone());
        self.state = State::Watching { events, version, since };
        Ok(change.map(Watched::Change))
    }

    /// The whole list, as it is now: without a version to ask for.
    async fn list(&mut self) -> Result<(Vec<T>, Version), Trouble> {
        let mut parameters = self.list_parameters(PAGE);
        let (mut objects, mut newest) = (Vec::new(), 0);
        loop {
            let page = timeout(LIST_TIMEOUT, self.api.list(&parameters)).await??;
            newest =
                page.items.iter().filter_map(|object| Version::of(object).number()).fold(newest, u64::max);
            objects.extend(page.items.into_iter().map(|object| (self.convert)(strip(object))));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => {
                    self.newest = newest;
                    self.is_short = parameters.continue_token.is_none();
                    let version = page.metadata.resource_version.unwrap_or_default();
                    return Ok((objects, version.as_str().into()));
                }
            }
        }
    }

    /// The version of the list at present.
    async fn version(&mut self) -> Result<Version, Trouble> {
        let list = timeout(LIST_TIMEOUT, self.api.list(&self.list_parameters(1))).await??;
        Ok(list.metadata.resource_version.unwrap_or_default().as_str().into())
    }

    fn list_parameters(&self, limit: u32) -> ListParams {
        ListParams {
            label_selector: self.labels.clone(),
            field_selector: self.fields.clone(),
            limit: Some(limit),
            ..ListParams::default()
        }
    }

    /// There was an answer.
    fn reached(&mut self) {
        if !std::mem::replace(&mut self.reachable, true) {
            info!(kind = %K::kind(&()), "watch resumed");
            self.reachability.iter().for_each(Reachability::found);
        }
    }
}

/// Drops the bookkeeping of server-side apply, often the largest part of an object.
fn strip<K: Resource<DynamicType = ()>>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}

#[cfg(test)]
mod tests;

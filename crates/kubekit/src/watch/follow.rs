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

use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::api::{ListParams, WatchParams};
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::ExponentialBackoff;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::wire::{Endpoint, Event, Lines, Page};
use super::{Absence, Known, Reachability};
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

/// What makes of the objects what is wanted of them. It knows their type; nothing else here does, or all of it would be
/// compiled for each kind.
pub(super) trait Reader: Send {
    /// Takes an object in, after those that are there. Which version it is.
    fn read(&mut self, object: &str) -> serde_json::Result<Version>;
    /// What was taken in so far is not wanted.
    fn clear(&mut self);
}

/// What happened to the objects, which are with the [`Reader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// It has the complete list.
    Reset,
    /// It has an object that was made or changed.
    Apply,
    /// It has the last state of an object that was deleted.
    Delete,
    /// Another, older state is there; the list of that comes next.
    Restored,
}

/// Keeps one list up to date.
pub(super) struct Follower {
    pub(super) endpoint: Endpoint,
    pub(super) kind: String,
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    state: State,
    /// The latest version that was seen.
    latest: Option<Version>,
    /// The newest version of an object that was seen since the last list.
    newest: u64,
    /// What has not been emitted yet.
    pending: Option<Happened>,
    pauses: Box<dyn Backoff>,
    /// Whether the last list was short.
    is_short: bool,
    /// When to list again though nothing seems to be missing.
    relist: Option<Instant>,
    reachable: bool,
    pub(super) reachability: Option<Reachability>,
    pub(super) absence: Absence,
    /// Whether it was told that there is no such kind.
    is_absent: bool,
}

enum State {
    /// Nothing is known, or nothing that counts.
    Unlisted,
    /// All is known as of this version.
    Listed { version: Version, trust: Trust },
    /// What happens after this version is on its way.
    Watching { lines: Lines, version: Version, since: Instant },
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

impl Follower {
    /// Of all objects, and without anybody who is told whether the API server answers; both may be set otherwise.
    pub(super) fn new(endpoint: Endpoint, kind: impl Into<String>) -> Self {
        Self {
            endpoint,
            kind: kind.into(),
            labels: None,
            fields: None,
            state: State::Unlisted,
            latest: None,
            newest: 0,
            pending: None,
            pauses: Box::new(pauses()),
            is_short: true,
            relist: None,
            reachable: true,
            reachability: None,
            absence: Absence::Trouble,
            is_absent: false,
        }
    }

    /// How much is known by what came last.
    pub(super) fn known(&self) -> Known {
        let complete = self.latest.as_ref().and_then(Version::number).unwrap_or_default();
        Known { complete, newest: self.newest }
    }

    /// What comes next, however long that takes.
    pub(super) async fn next(&mut self, reader: &mut dyn Reader) -> Happened {
        if let Some(happened) = self.pending.take() {
            return happened;
        }
        loop {
            match self.step(reader).await {
                Ok(Some(happened)) => return happened,
                Ok(None) => {}
                Err(trouble) => {
                    match trouble {
                        Trouble::Absent => {}
                        Trouble::Expired | Trouble::BrokenOff => {
                            debug!(kind = self.kind, %trouble, "watching anew");
                        }
                        Trouble::Api(_) | Trouble::Timeout(_) | Trouble::Status(_) => {
                            if std::mem::replace(&mut self.reachable, false) {
                                warn!(kind = self.kind, error = %trouble, "watch interrupted, trying again");
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

    async fn step(&mut self, reader: &mut dyn Reader) -> Result<Option<Happened>, Trouble> {
        // What fails has changed nothing, so that it is tried again; so the state goes back where it was.
        match std::mem::replace(&mut self.state, State::Unlisted) {
            State::Unlisted => {
                let version = match self.list(reader).await {
                    Err(Trouble::Api(kube::Error::Api(status))) if self.is_absence(status.code) => {
                        if std::mem::replace(&mut self.is_absent, true) {
                            return Err(Trouble::Absent);
                        }
                        info!(kind = self.kind, reason = status.message, "there is no such kind here");
                        self.reached();
                        self.latest = None;
                        return Ok(Some(Happened::Reset));
                    }
                    listed => listed?,
                };
                self.is_absent = false;
                self.reached();
                self.relist = None;
                let latest = self.latest.replace(version.clone());
                self.state = State::Listed { version: version.clone(), trust: Trust::Sure };
                if latest.is_some_and(|latest| version.is_older_than(&latest)) {
                    self.pending = Some(Happened::Reset);
                    return Ok(Some(Happened::Restored));
                }
                Ok(Some(Happened::Reset))
            }
            State::Listed { version, trust: Trust::BrokenOff } if self.is_short => {
                debug!(kind = self.kind, version = version.as_str(), "watch broken off, listing again");
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
                    warn!(
                        kind = self.kind,
                        before, now, "the API server has an older state than before, listing again"
                    );
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
                let request = self.endpoint.watch(&parameters, version.as_str());
                match timeout(LIST_TIMEOUT, request).await {
                    Ok(Ok(lines)) => {
                        self.state = State::Watching { lines, version, since: Instant::now() };
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
            State::Watching { mut lines, version, since } => {
                let next = tokio::select! {
                    next = timeout(SILENCE + LATE, lines.next()) => next,
                    () = due(self.relist) => return Ok(None),
                };
                match next {
                    Ok(Some(Ok(line))) => {
                        self.state = State::Watching { lines, version, since };
                        self.read(&line, reader)
                    }
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

    /// Follows a line of the watch that is under way.
    fn read(&mut self, line: &str, reader: &mut dyn Reader) -> Result<Option<Happened>, Trouble> {
        let event = Event::read(line).inspect_err(|_| self.break_off())?;
        let mut object = |object: &str| reader.read(object).map_err(kube::Error::SerdeError);
        let (version, happened) = match event {
            None => return Ok(None),
            Some(Event::Applied(it)) => (object(it), Some(Happened::Apply)),
            Some(Event::Deleted(it)) => (object(it), Some(Happened::Delete)),
            Some(Event::Bookmark(version)) => (Ok(version.as_str().into()), None),
            Some(Event::Error(status)) if status.code == 410 => {
                self.state = State::Unlisted;
                return Err(Trouble::Expired);
            }
            Some(Event::Error(status)) => {
                self.break_off();
                return Err(Trouble::Status(status.message));
            }
        };
        let seen: Version = version.inspect_err(|_| self.break_off())?;
        self.reached();
        if happened.is_some() {
            self.newest = self.newest.max(seen.number().unwrap_or_default());
        }
        self.latest = Some(seen.clone());
        if let State::Watching { version, .. } = &mut self.state {
            *version = seen;
        }
        Ok(happened)
    }

    /// The watch is not to be gone on with.
    fn break_off(&mut self) {
        if let State::Watching { version, .. } = std::mem::replace(&mut self.state, State::Unlisted) {
            self.state = State::Listed { version, trust: Trust::BrokenOff };
        }
    }

    /// Gives the reader the whole list, as it is now: without a version to ask for. Which version that is.
    async fn list(&mut self, reader: &mut dyn Reader) -> Result<Version, Trouble> {
        reader.clear();
        let mut parameters = self.list_parameters(PAGE);
        let mut newest = 0;
        loop {
            let text = timeout(LIST_TIMEOUT, self.endpoint.list(&parameters)).await??;
            let page = Page::read(&text)?;
            for object in page.items {
                let version = reader.read(object.get()).map_err(kube::Error::SerdeError)?;
                newest = newest.max(version.number().unwrap_or_default());
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => {
                    self.newest = newest;
                    self.is_short = parameters.continue_token.is_none();
                    return Ok(page.metadata.resource_version.unwrap_or_default().as_str().into());
                }
            }
        }
    }

    /// The version of the list at present.
    async fn version(&mut self) -> Result<Version, Trouble> {
        let text = timeout(LIST_TIMEOUT, self.endpoint.list(&self.list_parameters(1))).await??;
        Ok(Page::read(&text)?.metadata.resource_version.unwrap_or_default().as_str().into())
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
            info!(kind = self.kind, "watch resumed");
            self.reachability.iter().for_each(Reachability::found);
        }
    }
}

#[cfg(test)]
mod tests;

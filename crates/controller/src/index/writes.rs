//! Statuses of Services that are to be written, and what becomes of that: the part of the [`Index`] that writes come out
//! of.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipam::{Assignment, ServiceKey};
use kubekit::Version;
use kubekit::events::Notice;
use kubekit::write::{Class, pause};
use translation::{Observed, Origin};

use crate::entry::Writing;
use crate::index::Index;

/// So long does the watch have to bring what a write was in conflict with. After that it is tried again.
const NEWS_WITHIN: Duration = Duration::from_secs(1);

/// A status to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: ServiceKey,
    /// Of the Service, which what it has lost is recorded with.
    pub(crate) uid: Option<String>,
    /// The version that it is to replace, and no other.
    pub(crate) version: Version,
    /// The addresses that it has in that version.
    pub(crate) before: Vec<IpAddr>,
    /// What the Service is to hold; nothing to clear it.
    pub(crate) assignment: Option<Assignment>,
    /// What it has lost and may have again.
    pub(crate) previous: Vec<IpAddr>,
    /// Where what it is to hold is from.
    pub(crate) origin: Origin,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is done; the Service is now of this version.
    Done(Version),
    /// The Service has changed meanwhile.
    Conflict,
    /// The Service is gone.
    Gone,
    /// Something went wrong that may go well another time.
    Failed,
    /// It is refused, and will be again until somebody changes the Service, a right or the API server.
    Refused,
}

impl Index {
    /// The next status to write. Tell how it went with [`Self::written`]: until then, no other write of
    /// the same Service comes out.
    pub(crate) fn next_write(&mut self) -> Option<Write> {
        while let Some(key) = self.queue.pop_front() {
            let Some(entry) = self.services.get_mut(&key) else { continue };
            if entry.writing != Writing::Queued {
                continue;
            }
            if !entry.is_off() {
                entry.writing = Writing::Idle;
                continue;
            }
            entry.writing = Writing::InFlight;
            return Some(Write {
                key,
                uid: entry.uid.clone(),
                version: entry.version.clone(),
                before: entry.observed.ips.clone(),
                assignment: entry.goal.assignment().cloned(),
                previous: entry.previous.clone(),
                origin: entry.goal.origin(),
            });
        }
        None
    }

    /// Takes in the result of a write. Returns how long the status has been off, if it is right now.
    pub(crate) fn written(&mut self, write: &Write, result: Written, now: Instant) -> Option<Duration> {
        self.now = now;
        let entry = self.services.get_mut(&write.key)?;
        entry.writing = Writing::Idle;
        let failures = std::mem::take(&mut entry.failures);
        match result {
            Written::Done(version) => {
                if entry.paused.is_none() {
                    self.notices.extend(allocated(write).map(|notice| (entry.reference(&write.key), notice)));
                }
                if !version.is_older_than(&entry.version) {
                    entry.version = version;
                    entry.observed = Observed::of(write.assignment.as_ref(), &write.previous, write.origin);
                    entry.settled |= !entry.is_off();
                }
            }
            // What was in the way is about to come by the watch, if the API server itself has said so, and not what is in
            // front of it.
            Written::Conflict | Written::Gone if entry.version == write.version => {
                entry.failures = failures.saturating_add(1);
                entry.writing = Writing::AwaitingNews;
                let without_news = pause(Class::Unavailable, failures, 0.0).max(NEWS_WITHIN);
                self.retries.insert((now + without_news, write.key.clone()));
                return None;
            }
            Written::Conflict | Written::Gone => {}
            Written::Failed | Written::Refused => {
                let class = if result == Written::Refused { Class::Refused } else { Class::Unavailable };
                entry.failures = failures.saturating_add(1);
                entry.writing = Writing::Delayed;
                self.retries.insert((now + pause(class, failures, 0.0), write.key.clone()));
                return None;
            }
        }
        let off_since = if entry.is_off() { None } else { entry.off_since.take() };
        self.enqueue(&write.key);
        off_since.map(|since| now.saturating_duration_since(since))
    }

    /// When [`Self::retry`] should be called next.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// Tries again what failed and has waited long enough.
    pub(super) fn retry(&mut self, now: Instant) {
        while self.next_retry().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.retries.pop_first() else { return };
            let waits = |writing| matches!(writing, Writing::Delayed | Writing::AwaitingNews);
            if let Some(entry) = self.services.get_mut(&key).filter(|entry| waits(entry.writing)) {
                entry.writing = Writing::Idle;
                self.enqueue(&key);
            }
        }
    }

    /// How many Services wait for their status to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }
}

/// What to tell about a write that gave out an address.
fn allocated(write: &Write) -> Option<Notice> {
    let ips = &write.assignment.as_ref()?.ips;
    let added: Vec<&IpAddr> = ips.iter().filter(|ip| !write.before.contains(ip)).collect();
    let message = match added.len() {
        0 => return None,
        1 if ips.len() == 2 && write.origin == Origin::AddressPool => {
            format!("Assigned additional IP \"{}\"", added[0])
        }
        _ => {
            let quoted: Vec<String> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
            format!("Assigned IP [{}]", quoted.join(" "))
        }
    };
    Some(Notice::normal("IPAllocated", message))
}

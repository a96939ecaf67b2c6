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
    /// Something went wrong that may go well another time. What the API server says, if it says anything.
    Failed(Option<String>),
    /// It is refused, and will be again until somebody changes the Service, a right or the API server. What that says.
    Refused(String),
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
        if matches!(result, Written::Done(_)) {
            entry.unwritten = None;
        }
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
            Written::Failed(said) => {
                self.failed(write, Class::Unavailable, said, failures);
                return None;
            }
            Written::Refused(said) => {
                self.failed(write, Class::Refused, Some(said), failures);
                return None;
            }
        }
        let off_since = if entry.is_off() { None } else { entry.off_since.take() };
        self.enqueue(&write.key);
        off_since.map(|since| now.saturating_duration_since(since))
    }

    /// A write failed, as so many in a row before it: it is tried again after a while, and the owner of the Service hears of
    /// what the API server says.
    fn failed(&mut self, write: &Write, class: Class, said: Option<String>, failures: u32) {
        let now = self.now;
        let Some(entry) = self.services.get_mut(&write.key) else { return };
        if let Some(said) = said {
            let unwritten = entry.unwritten.get_or_insert_with(|| Unwritten::new(now));
            if unwritten.said(said, class, now) {
                let notice = not_taken(write, &unwritten.said);
                self.notices.push_back((entry.reference(&write.key), notice));
            }
        }
        entry.failures = failures.saturating_add(1);
        entry.writing = Writing::Delayed;
        self.retries.insert((now + pause(class, failures, 0.0), write.key.clone()));
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

/// Why the status of a Service is not what it should be: what the API server says each time that it is written.
#[derive(Debug, Clone)]
pub(crate) struct Unwritten {
    /// What it said last.
    pub(crate) said: String,
    since: Instant,
    /// When its owner was told last, and what.
    told: Option<(Instant, String)>,
}

/// What may pass by itself is told when it has lasted so long, as where an admission webhook cannot be called.
const TOLD_AFTER: Duration = Duration::from_secs(10);
/// So long are events kept by the API server, as it comes: after that the same is told again.
const TOLD_AGAIN: Duration = Duration::from_hours(1);
/// Sooner than that no other words are told for it: they may differ in a time or an id alone.
const REWORDED: Duration = Duration::from_mins(10);

impl Unwritten {
    fn new(now: Instant) -> Self {
        Self { said: String::new(), since: now, told: None }
    }

    /// Takes in what the API server says. Whether to tell the owner of the Service.
    fn said(&mut self, said: String, class: Class, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let tell = match (&self.told, class) {
            (None, Class::Refused) => true,
            (None, Class::Unavailable) => since(self.since) >= TOLD_AFTER,
            (Some((at, before)), _) => since(*at) >= if *before == said { TOLD_AGAIN } else { REWORDED },
        };
        if tell {
            self.told = Some((now, said.clone()));
        }
        self.said = said;
        tell
    }
}

/// What to tell about a write that the API server does not take.
fn not_taken(write: &Write, said: &str) -> Notice {
    let what = match &write.assignment {
        Some(assignment) => {
            let ips: Vec<String> = assignment.ips.iter().map(|ip| format!("\"{ip}\"")).collect();
            format!("give it IP [{}]", ips.join(" "))
        }
        None => "take its address away".to_owned(),
    };
    Notice::warning(
        "StatusRefused",
        format!("The API server does not let FerroLB {what}; it is tried again less and less often: {said}"),
    )
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::index::tests::{Cluster, pool};

    fn told(cluster: &mut Cluster) -> Vec<String> {
        let notices = std::iter::from_fn(|| cluster.index.next_notice());
        notices
            .filter(|(_, notice)| notice.reason == "StatusRefused")
            .map(|(about, notice)| format!("{}: {}", about.name.unwrap_or_default(), notice.message))
            .collect()
    }

    /// Fails the next write like this.
    fn fail(cluster: &mut Cluster, result: &Written, now: Instant) {
        cluster.index.pass_time(now);
        let write = cluster.next_write().expect("it is tried again");
        cluster.index.written(&write, result.clone(), now);
    }

    #[test]
    fn the_owner_of_a_service_hears_once_an_hour_why_its_status_is_refused() {
        let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
        let (start, refused) = (Instant::now(), Written::Refused("policy says no".to_owned()));
        fail(&mut cluster, &refused, start);
        let [said] = &told(&mut cluster)[..] else { panic!("one event") };
        assert!(
            said.starts_with("a: The API server does not let FerroLB give it IP [\"10.0.0.0\"]"),
            "{said}"
        );
        assert!(said.ends_with("policy says no"), "{said}");
        let at = |minutes: u64| start + Duration::from_mins(minutes);
        for minute in [6, 12, 54] {
            fail(&mut cluster, &refused, at(minute));
            assert!(told(&mut cluster).is_empty(), "in minute {minute}");
        }
        fail(&mut cluster, &refused, at(60));
        assert_eq!(told(&mut cluster).len(), 1);
        fail(&mut cluster, &Written::Refused("another policy".to_owned()), at(66));
        assert!(told(&mut cluster).is_empty(), "words alone may differ");
        assert_eq!(cluster.index.status().unwritten.items[0].reason, "another policy");
        fail(&mut cluster, &Written::Refused("another policy".to_owned()), at(72));
        assert_eq!(told(&mut cluster).len(), 1);
        cluster.index.pass_time(at(80));
        assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
        assert!(cluster.index.status().unwritten.items.is_empty());
    }

    #[test]
    fn what_may_pass_by_itself_is_told_when_it_has_not() {
        let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
        let (start, dead) = (Instant::now(), Written::Failed(Some("failed calling webhook".to_owned())));
        fail(&mut cluster, &dead, start);
        fail(&mut cluster, &dead, start + Duration::from_secs(9));
        assert!(told(&mut cluster).is_empty());
        fail(&mut cluster, &dead, start + Duration::from_secs(19));
        assert_eq!(told(&mut cluster).len(), 1);
        fail(&mut cluster, &Written::Failed(None), start + Duration::from_mins(70));
        assert!(told(&mut cluster).is_empty(), "an API server that cannot be reached says nothing");
    }
}

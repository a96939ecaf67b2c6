//! The one owner of all state: Services, pools, namespaces, and who holds which address.
//!
//! Changes go in ([`Index::services`], [`Index::pools`], [`Index::namespaces`]); writes and notices come
//! out ([`Index::next_write`], [`Index::next_notice`]), and the results of the writes go in again
//! ([`Index::written`]). It does nothing by itself: no task, no socket, and the time is an argument.
//!
//! Until it leads, it only remembers. When it leads and every list is complete, those who hold an address
//! are heard first, the older before the younger; then everybody's turn comes in the same order. From then
//! on a change touches the Service that it is about, and those that wait for an address when one has
//! become free.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{IPAddressPool, IPAddressPoolStatus, L2Advertisement, L2AdvertisementStatus};
use ipam::{Allocator, Assignment, Family, Pool, PoolName, ServiceKey, Usage};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};
use kubekit::events::Notice;
use kubekit::slim::Namespace;
use kubekit::write::{Class, pause};
use kubekit::{Change, Version};
use objects::Labels;

use crate::advertisements::Advertisements;
use crate::catalog::{Catalog, Judged};
use crate::entry::{Entry, Goal, Observed, Seen, Writing};
use crate::unsupported::Unsupported;

/// All state of the controller.
#[derive(Debug)]
pub(crate) struct Index {
    role: Role,
    lists: Lists,
    catalog: Catalog,
    advertisements: Advertisements,
    unsupported: Unsupported,
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) services: BTreeMap<ServiceKey, Entry>,
    /// Empty as long as nothing is decided.
    pub(crate) allocator: Allocator,
    /// Services of ours that are without an address.
    pub(crate) waiting: BTreeSet<Turn>,
    /// Whether something has become free since those who wait were asked.
    pub(crate) freed: bool,
    /// The time of the latest call that came with one.
    now: Instant,
    queue: VecDeque<ServiceKey>,
    retries: BTreeSet<(Instant, ServiceKey)>,
    pub(crate) notices: VecDeque<(ObjectReference, Notice)>,
}

/// The order in which Services are served: the older one first.
pub(crate) type Turn = (Option<Timestamp>, ServiceKey);

/// Whether this replica decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It remembers what others decide.
    Follower,
    /// It decides, once every list is complete.
    Leader,
}

/// Which lists are complete.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lists {
    pub(crate) services: bool,
    pub(crate) pools: bool,
    pub(crate) namespaces: bool,
}

/// A status to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: ServiceKey,
    /// The version that it is to replace, and no other.
    pub(crate) version: Version,
    /// The addresses that it has in that version.
    pub(crate) before: Vec<IpAddr>,
    /// What the Service is to hold; nothing to clear it.
    pub(crate) assignment: Option<Assignment>,
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
    /// Knows nothing yet, and does not lead.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            role: Role::Follower,
            lists: Lists::default(),
            catalog: Catalog::default(),
            advertisements: Advertisements::default(),
            unsupported: Unsupported::default(),
            namespaces: BTreeMap::new(),
            services: BTreeMap::new(),
            allocator: Allocator::default(),
            waiting: BTreeSet::new(),
            freed: false,
            now,
            queue: VecDeque::new(),
            retries: BTreeSet::new(),
            notices: VecDeque::new(),
        }
    }

    /// Begins or ceases to lead.
    pub(crate) fn set_role(&mut self, role: Role, now: Instant) {
        self.now = now;
        if role == self.role {
            return;
        }
        let deciding = self.decides();
        self.role = role;
        if deciding && !self.decides() {
            self.forget_decisions();
        }
        self.proceed(deciding);
    }

    /// Takes in a change of Services.
    pub(crate) fn services(&mut self, change: Change<Seen>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        match change {
            Change::Apply(service) => self.put(service),
            Change::Delete(service) => self.remove(&service.key),
            Change::Reset(list) => {
                let listed: BTreeSet<&ServiceKey> = list.iter().map(|service| &service.key).collect();
                let gone: Vec<_> =
                    self.services.keys().filter(|key| !listed.contains(key)).cloned().collect();
                gone.iter().for_each(|key| self.remove(key));
                list.into_iter().for_each(|service| self.put(service));
                self.lists.services = true;
            }
        }
        self.proceed(deciding);
    }

    /// Takes in a change of pools.
    pub(crate) fn pools(&mut self, change: Change<IPAddressPool>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.lists.pools |= matches!(change, Change::Reset(_));
        self.catalog.change(change);
        if deciding && !self.in_force().values().copied().eq(self.allocator.pools()) {
            self.allocator.set_pools(self.catalog.pools().cloned());
            self.settle_all();
        }
        self.proceed(deciding);
    }

    /// Takes in a change of advertisements.
    pub(crate) fn advertisements(&mut self, change: Change<L2Advertisement>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.advertisements.change(change);
        self.proceed(deciding);
    }

    /// Takes in a change of a kind that is not acted on.
    pub(crate) fn unsupported<K: Resource<DynamicType = ()>>(&mut self, change: Change<K>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        self.unsupported.change(change);
        self.proceed(deciding);
    }

    /// Takes in a change of namespaces, whose labels pools can select.
    pub(crate) fn namespaces(&mut self, change: Change<Namespace>, now: Instant) {
        self.now = now;
        let deciding = self.decides();
        let labels = |namespace: Namespace| namespace.metadata.labels.unwrap_or_default();
        match change {
            Change::Apply(namespace) => self.set_labels(namespace.name_any(), labels(namespace)),
            Change::Delete(namespace) => self.set_labels(namespace.name_any(), Labels::new()),
            Change::Reset(list) => {
                let listed: BTreeMap<_, _> = list.into_iter().map(|n| (n.name_any(), labels(n))).collect();
                let known: Vec<String> = self.namespaces.keys().cloned().collect();
                let gone =
                    known.into_iter().filter(|name| !listed.contains_key(name)).map(|n| (n, Labels::new()));
                for (name, labels) in gone.collect::<Vec<_>>().into_iter().chain(listed) {
                    self.set_labels(name, labels);
                }
                self.lists.namespaces = true;
            }
        }
        self.proceed(deciding);
    }

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
            let assignment = match &entry.goal {
                Goal::Have(assignment) => Some(assignment.clone()),
                Goal::Nothing | Goal::Whatever => None,
            };
            let (version, before) = (entry.version.clone(), entry.observed.ips.clone());
            return Some(Write { key, version, before, assignment });
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
                self.notices.extend(allocated(write).map(|notice| (entry.reference(&write.key), notice)));
                if !version.is_older_than(&entry.version) {
                    entry.version = version;
                    entry.observed = Observed::of(write.assignment.as_ref());
                    entry.settled |= !entry.is_off();
                }
            }
            // What was in the way is about to come by the watch, and brings the next attempt with it, if any.
            Written::Conflict | Written::Gone if entry.version == write.version => return None,
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
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// Tries again what failed and has waited long enough.
    pub(crate) fn retry(&mut self, now: Instant) {
        while self.next_retry().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.retries.pop_first() else { return };
            if let Some(entry) = self.services.get_mut(&key).filter(|e| e.writing == Writing::Delayed) {
                entry.writing = Writing::Idle;
                self.enqueue(&key);
            }
        }
    }

    /// How many Services wait for their status to be written.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The next thing to tell people. They come in order, and not while statuses wait for their turn to be
    /// written, which matters more.
    pub(crate) fn next_notice(&mut self) -> Option<(ObjectReference, Notice)> {
        if self.has_notice() { self.notices.pop_front() } else { None }
    }

    /// Whether there is something to tell.
    pub(crate) fn has_notice(&self) -> bool {
        self.queue.is_empty() && !self.notices.is_empty()
    }

    /// How full each pool is.
    pub(crate) fn usage(&self) -> impl Iterator<Item = (&PoolName, [Usage; 2])> {
        self.allocator.pools().map(|pool| {
            (&pool.name, [Family::V4, Family::V6].map(|family| self.allocator.usage(&pool.name, family)))
        })
    }

    /// Pools whose status does not say what it should, and what that is.
    pub(crate) fn outdated_pool_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, IPAddressPoolStatus)> {
        if !self.decides() {
            return Vec::new();
        }
        let outdated = |Judged { subject, in_force, complaint, known }: Judged<'_>| {
            let usage =
                |family| in_force.map(|pool| self.allocator.usage(&pool.name, family)).unwrap_or_default();
            let (v4, v6) = (usage(Family::V4), usage(Family::V6));
            let (condition, _) = subject.condition(complaint.as_ref(), now);
            let status = IPAddressPoolStatus {
                assigned_ipv4: count(v4.in_use),
                assigned_ipv6: count(v6.in_use),
                available_ipv4: available(v4),
                available_ipv6: available(v6),
                conditions: vec![condition],
            };
            (known != Some(&status)).then(|| (subject.reference.clone(), status))
        };
        self.catalog.judged().filter_map(outdated).collect()
    }

    /// Advertisements whose status does not say what it should, and what that is.
    pub(crate) fn outdated_advertisement_statuses(
        &self,
        now: Timestamp,
    ) -> Vec<(ObjectReference, L2AdvertisementStatus)> {
        if self.decides() { self.advertisements.outdated(now) } else { Vec::new() }
    }

    /// What is wrong with the pools, object by object.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        self.catalog.problems()
    }

    /// Whether some pool is not in force as it stands.
    pub(crate) fn is_stale(&self) -> bool {
        self.catalog.is_stale()
    }

    /// Which lists are complete.
    pub(crate) fn lists(&self) -> Lists {
        self.lists
    }

    /// Whether this replica decides, and can.
    pub(crate) fn decides(&self) -> bool {
        let Lists { services, pools, namespaces } = self.lists;
        self.role == Role::Leader && services && pools && namespaces
    }

    /// Puts a Service in the queue for its status to be written, if that is off.
    pub(crate) fn enqueue(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        if entry.is_off() && entry.writing == Writing::Idle {
            entry.off_since.get_or_insert(self.now);
            entry.writing = Writing::Queued;
            self.queue.push_back(key.clone());
        }
    }

    fn put(&mut self, service: Seen) {
        let key = service.key.clone();
        let known = self.services.get_mut(&key).filter(|entry| entry.uid == service.uid);
        let changed = match known {
            Some(entry) => entry.update(service),
            None => {
                // One of the same name was deleted and made again, and the watch missed the gap.
                self.remove(&key);
                self.services.insert(key.clone(), Entry::new(service));
                true
            }
        };
        if changed && self.decides() {
            self.settle(&key);
            // At the start only what is written anyway is remarked on: a restart is no change.
            self.remark(&key);
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        let Some(entry) = self.services.remove(key) else { return };
        self.waiting.remove(&(entry.created, key.clone()));
        self.freed |= self.allocator.release(key).is_some();
    }

    fn set_labels(&mut self, namespace: String, labels: Labels) {
        if self.namespaces.get(&namespace) == Some(&labels) {
            return;
        }
        let first = ServiceKey::new(namespace.as_str(), "");
        let inside = self.services.range(first..).map(|(key, _)| key);
        let inside: Vec<_> = inside.take_while(|key| *key.namespace == *namespace).cloned().collect();
        self.namespaces.insert(namespace, labels);
        if self.decides() {
            inside.iter().for_each(|key| self.settle(key));
        }
    }

    /// After each change: begins to decide when it has become possible, and lets those who wait have what
    /// has become free.
    fn proceed(&mut self, was_deciding: bool) {
        if !self.decides() {
            return;
        }
        let pools =
            self.catalog.take_untold().into_iter().map(|(about, problem)| (about, problem.to_string()));
        for (about, problem) in pools.chain(self.advertisements.take_untold()) {
            self.notices.push_back((about, Notice::warning("ConfigurationError", problem)));
        }
        for (about, message) in self.unsupported.take_untold() {
            self.notices.push_back((about, Notice::warning("NotSupported", message)));
        }
        if !was_deciding {
            self.allocator.set_pools(self.catalog.pools().cloned());
            self.adopt_all();
            self.settle_all();
        }
        if std::mem::take(&mut self.freed) {
            let mut waiting: Vec<Turn> = self.waiting.iter().cloned().collect();
            // Those who lack a second address come first, as upstream has it, and as after a restart.
            waiting.sort_by_key(|(_, key)| self.allocator.assignment(key).is_none());
            waiting.iter().for_each(|(_, key)| self.settle(key));
        }
    }

    fn forget_decisions(&mut self) {
        self.allocator = Allocator::default();
        self.waiting.clear();
        self.queue.clear();
        self.retries.clear();
        for entry in self.services.values_mut() {
            entry.goal = Goal::Whatever;
            entry.settled = true;
            if entry.writing != Writing::InFlight {
                entry.writing = Writing::Idle;
            }
        }
    }

    fn in_force(&self) -> BTreeMap<&PoolName, &Pool> {
        self.catalog.pools().map(|pool| (&pool.name, pool)).collect()
    }
}

/// As the API has numbers.
fn count(n: u128) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// How many addresses are left, in a pool that has no more of them than there are numbers: upstream says so of
/// a large one too, and both counters together always make the whole.
fn available(usage: Usage) -> i64 {
    count(usage.in_use.saturating_add(usage.available)) - count(usage.in_use)
}

/// What to tell about a write that gave out an address.
fn allocated(write: &Write) -> Option<Notice> {
    let ips = &write.assignment.as_ref()?.ips;
    let added: Vec<&IpAddr> = ips.iter().filter(|ip| !write.before.contains(ip)).collect();
    let message = match added.len() {
        0 => return None,
        1 if ips.len() == 2 => format!("Assigned additional IP \"{}\"", added[0]),
        _ => {
            let quoted: Vec<String> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
            format!("Assigned IP [{}]", quoted.join(" "))
        }
    };
    Some(Notice::normal("IPAllocated", message))
}

#[cfg(test)]
mod tests;

//! The pools in force: what users wrote, less what is wrong with it.
//!
//! An object that is wrong, by itself or because it overlaps another, has no effect; if an earlier version
//! of it was right, that one stays. All other objects are as they were. Nothing else remembers a version,
//! so after a restart the older of two overlapping objects is the one that counts.

use std::collections::BTreeMap;

use api::{IPAddressPool, IPAddressPoolStatus, ParsePoolError};
use ipam::{Pool, PoolName, Range};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::Change;

use crate::verdict::{Complaint, Subject};

/// All `IPAddressPool` objects. The older one comes first.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    objects: BTreeMap<(Option<Timestamp>, PoolName), Entry>,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    latest: Result<Pool, ParsePoolError>,
    in_force: Option<Pool>,
    problem: Option<Problem>,
    status: Option<IPAddressPoolStatus>,
}

/// A pool object, in force or not, for its status.
#[derive(Debug)]
pub(crate) struct Judged<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) in_force: Option<&'a Pool>,
    pub(crate) complaint: Option<Complaint>,
    /// What its status says now.
    pub(crate) known: Option<&'a IPAddressPoolStatus>,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// It is wrong by itself.
    #[error("{0}")]
    Invalid(ParsePoolError),
    /// It has an address that another pool has.
    #[error("spec.addresses: {range} overlaps {theirs} of IPAddressPool {pool}: remove it from one of them")]
    Overlap {
        /// The range of this object.
        range: Range,
        /// The range of the other.
        theirs: Range,
        /// The other.
        pool: PoolName,
    },
}

impl Problem {
    fn complaint(&self) -> Complaint {
        let reason = match self {
            Self::Invalid(_) => "Invalid",
            Self::Overlap { .. } => "Overlap",
        };
        Complaint { reason, message: self.to_string() }
    }
}

impl Catalog {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: Change<IPAddressPool>) {
        match change {
            Change::Apply(object) => self.put(&object),
            Change::Delete(object) => {
                self.objects.remove(&key(&object));
            }
            Change::Reset(objects) => {
                let listed: Vec<_> = objects.iter().map(key).collect();
                self.objects.retain(|key, _| listed.contains(key));
                objects.iter().for_each(|object| self.put(object));
            }
        }
        while self.judge_once() {}
    }

    /// Problems that nobody has been told of yet, and the objects that they are about.
    pub(crate) fn take_untold(&mut self) -> Vec<(ObjectReference, Problem)> {
        let untold = |entry: &mut Entry| {
            let problem = entry.problem.clone()?;
            entry.subject.tell().then(|| (entry.subject.reference.clone(), problem))
        };
        self.objects.values_mut().filter_map(untold).collect()
    }

    /// The pools in force.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.objects.values().filter_map(|entry| entry.in_force.as_ref())
    }

    /// All objects, the older first.
    pub(crate) fn judged(&self) -> impl Iterator<Item = Judged<'_>> {
        self.objects.values().map(|entry| Judged {
            subject: &entry.subject,
            in_force: entry.in_force.as_ref(),
            complaint: entry.problem.as_ref().map(Problem::complaint),
            known: entry.status.as_ref(),
        })
    }

    /// What is wrong, object by object.
    pub(crate) fn problems(&self) -> impl Iterator<Item = String> {
        let describe = |((_, name), entry): (&(_, PoolName), &Entry)| {
            Some(format!("IPAddressPool {name}: {}", entry.problem.as_ref()?))
        };
        self.objects.iter().filter_map(describe)
    }

    /// Whether some object is not in force as it stands.
    pub(crate) fn is_stale(&self) -> bool {
        self.objects.values().any(|entry| entry.problem.is_some())
    }

    fn put(&mut self, object: &IPAddressPool) {
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let subject = Subject::new(object, conditions);
        let (latest, status) = (Pool::try_from(object), object.status.clone());
        match self.objects.get_mut(&key(object)) {
            Some(entry) => {
                entry.subject.update(subject);
                entry.latest = latest;
                entry.status = status;
            }
            None => {
                let entry = Entry { subject, latest, in_force: None, problem: None, status };
                self.objects.insert(key(object), entry);
            }
        }
    }

    /// Puts in force what can be, older objects first. To be called again as long as it changes something:
    /// a pool that shrinks or goes away makes room for another.
    fn judge_once(&mut self) -> bool {
        let mut changed = false;
        let keys: Vec<_> = self.objects.keys().cloned().collect();
        for key in keys {
            let problem = match &self.objects[&key].latest {
                Err(error) => Some(Problem::Invalid(error.clone())),
                Ok(pool) => self.overlap(pool),
            };
            let entry = self.objects.get_mut(&key).expect("the keys are those of the map");
            if problem.is_none() && entry.in_force.as_ref() != entry.latest.as_ref().ok() {
                entry.in_force = entry.latest.clone().ok();
                changed = true;
            }
            if entry.problem != problem {
                entry.problem = problem;
                entry.subject.reset();
            }
        }
        changed
    }

    /// What keeps a pool out because others have it already.
    fn overlap(&self, pool: &Pool) -> Option<Problem> {
        self.pools().filter(|other| other.name != pool.name).find_map(|other| {
            let pairs =
                pool.ranges.iter().flat_map(|&range| other.ranges.iter().map(move |&theirs| (range, theirs)));
            let (range, theirs) = pairs.into_iter().find(|(range, theirs)| range.overlaps(*theirs))?;
            Some(Problem::Overlap { range, theirs, pool: other.name.clone() })
        })
    }
}

fn key(object: &IPAddressPool) -> (Option<Timestamp>, PoolName) {
    let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (created, PoolName::new(object.name_any()))
}

#[cfg(test)]
mod tests {
    use api::{AddressEntry, IPAddressPoolSpec};

    use super::*;

    fn object(name: &str, addresses: &[&str]) -> IPAddressPool {
        let addresses = addresses.iter().map(|a| AddressEntry((*a).to_owned())).collect();
        IPAddressPool::new(name, IPAddressPoolSpec { addresses, ..Default::default() })
    }

    fn in_force(catalog: &Catalog) -> Vec<String> {
        catalog.pools().map(|pool| format!("{} {}", pool.name, pool.ranges[0])).collect()
    }

    #[test]
    fn a_bad_object_disables_only_itself() {
        let mut catalog = Catalog::default();
        let objects = [object("bad", &["10.0.0.1"]), object("good", &["10.0.0.0/30"])];
        catalog.change(Change::Reset(objects.to_vec()));
        assert_eq!(in_force(&catalog), ["good 10.0.0.0-10.0.0.3"]);
        let untold = catalog.take_untold();
        assert_eq!(untold.len(), 1);
        assert!(untold[0].1.to_string().contains("write 10.0.0.1/32"));
        assert!(catalog.is_stale());
        catalog.change(Change::Apply(object("bad", &["10.0.0.1"])));
        assert!(catalog.take_untold().is_empty(), "told once");
        catalog.change(Change::Delete(object("bad", &[])));
        assert!(!catalog.is_stale());
    }

    #[test]
    fn the_last_good_version_stays_in_force() {
        let mut catalog = Catalog::default();
        catalog.change(Change::Apply(object("a", &["10.0.0.0/30"])));
        catalog.change(Change::Apply(object("b", &["10.0.1.0/30"])));
        catalog.change(Change::Apply(object("a", &["10.0.1.0/24"])));
        assert_eq!(in_force(&catalog), ["a 10.0.0.0-10.0.0.3", "b 10.0.1.0-10.0.1.3"]);
        assert!(catalog.is_stale());
    }

    #[test]
    fn an_overlapping_pool_waits_until_the_other_makes_room() {
        let mut catalog = Catalog::default();
        catalog.change(Change::Apply(object("old", &["10.0.0.0/24"])));
        catalog.change(Change::Apply(object("new", &["10.0.0.0/25"])));
        assert_eq!(
            catalog.take_untold()[0].1.to_string(),
            "spec.addresses: 10.0.0.0-10.0.0.127 overlaps 10.0.0.0-10.0.0.255 of IPAddressPool old: remove it from one of them"
        );
        catalog.change(Change::Delete(object("old", &[])));
        assert_eq!(in_force(&catalog), ["new 10.0.0.0-10.0.0.127"]);
        assert!(!catalog.is_stale());
    }
}

//! `L2Advertisement` objects, as far as the controller has to do with them: it tells their authors what is
//! wrong. The speakers act on them.

use std::collections::BTreeMap;

use api::{L2Advertisement, L2AdvertisementStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::Change;

use crate::verdict::{Complaint, Subject};

/// All `L2Advertisement` objects, by name.
#[derive(Debug, Default)]
pub(crate) struct Advertisements {
    objects: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    subject: Subject,
    complaint: Option<Complaint>,
}

impl Advertisements {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: Change<L2Advertisement>) {
        match change {
            Change::Apply(object) => self.put(&object),
            Change::Delete(object) => {
                self.objects.remove(&object.name_any());
            }
            Change::Reset(objects) => {
                self.objects.retain(|name, _| objects.iter().any(|object| object.name_any() == *name));
                objects.iter().for_each(|object| self.put(object));
            }
        }
    }

    /// Problems that nobody has been told of yet, and the objects that they are about.
    pub(crate) fn take_untold(&mut self) -> Vec<(ObjectReference, String)> {
        let untold = |entry: &mut Entry| {
            let message = entry.complaint.as_ref()?.message.clone();
            entry.subject.tell().then(|| (entry.subject.reference.clone(), message))
        };
        self.objects.values_mut().filter_map(untold).collect()
    }

    /// Objects whose status does not say what it should, and what that is.
    pub(crate) fn outdated(&self, now: Timestamp) -> Vec<(ObjectReference, L2AdvertisementStatus)> {
        let outdated = |Entry { subject, complaint }: &Entry| {
            let (condition, outdated) = subject.condition(complaint.as_ref(), now);
            let status = L2AdvertisementStatus { conditions: vec![condition] };
            outdated.then(|| (subject.reference.clone(), status))
        };
        self.objects.values().filter_map(outdated).collect()
    }

    fn put(&mut self, object: &L2Advertisement) {
        let subject = Subject::new(object, &object.status.conditions);
        let complaint = placement::Advertisement::try_from(object)
            .err()
            .map(|error| Complaint { reason: "Invalid", message: error.to_string() });
        match self.objects.get_mut(&object.name_any()) {
            Some(entry) => {
                entry.subject.update(subject);
                if entry.complaint != complaint {
                    entry.complaint = complaint;
                    entry.subject.reset();
                }
            }
            None => {
                self.objects.insert(object.name_any(), Entry { subject, complaint });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> L2Advertisement {
        serde_json::from_value(json!({"metadata": {"name": "a", "generation": 1}, "spec": spec})).unwrap()
    }

    #[test]
    fn what_is_wrong_is_told_once_and_stays_in_the_condition() {
        let bad =
            || object(json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}));
        let mut all = Advertisements::default();
        all.change(Change::Reset(vec![bad()]));
        let untold = all.take_untold();
        assert!(untold[0].1.contains("operator \"Is\" is unknown"), "{untold:?}");
        all.change(Change::Apply(bad()));
        assert!(all.take_untold().is_empty());
        let outdated = all.outdated(Timestamp::UNIX_EPOCH);
        assert_eq!(outdated[0].1.conditions[0].status, "False");
        all.change(Change::Apply(object(json!({}))));
        assert_eq!(all.outdated(Timestamp::UNIX_EPOCH)[0].1.conditions[0].status, "True");
    }
}

//! `L2Advertisement` objects, as far as the controller has to do with them: it tells their authors what is
//! wrong. The speakers act on them.

use std::collections::BTreeMap;

use api::{L2Advertisement, L2AdvertisementStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};

use crate::acceptance::{Acceptance, Assessment};

/// All `L2Advertisement` objects, by name.
#[derive(Debug, Default)]
pub(crate) struct Advertisements {
    mirror: Mirror<String>,
    objects: BTreeMap<String, (Acceptance, Assessment)>,
}

impl Advertisements {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: Change<L2Advertisement>) {
        for (name, object) in self.mirror.update(change, ResourceExt::name_any) {
            match object {
                Some(object) => self.put(name, &object),
                None => _ = self.objects.remove(&name),
            }
        }
    }

    /// Events that are due, and the objects that they are about.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let emit = |(acceptance, assessment): &mut (Acceptance, Assessment)| {
            Some((acceptance.reference.clone(), acceptance.emit(assessment)?))
        };
        self.objects.values_mut().filter_map(emit).collect()
    }

    /// Objects whose status does not say what it should, and what that is.
    pub(crate) fn outdated(&self, now: Timestamp) -> Vec<(ObjectReference, L2AdvertisementStatus)> {
        let outdated = |(acceptance, assessment): &(Acceptance, Assessment)| {
            let (condition, outdated) = acceptance.condition(assessment, now);
            let status = L2AdvertisementStatus { conditions: vec![condition] };
            outdated.then(|| (acceptance.reference.clone(), status))
        };
        self.objects.values().filter_map(outdated).collect()
    }

    fn put(&mut self, name: String, object: &L2Advertisement) {
        let acceptance = Acceptance::new(object, &object.status.conditions);
        let (_, unreadable) = object.read();
        let faults: Vec<String> =
            unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect();
        let reason = (!faults.is_empty()).then_some("Invalid");
        let assessment = Assessment::new(reason, faults, object.warnings());
        match self.objects.get_mut(&name) {
            Some((known, current)) => {
                known.update(acceptance);
                *current = assessment;
            }
            None => _ = self.objects.insert(name, (acceptance, assessment)),
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
        let emitted = all.emit();
        assert!(emitted[0].1.message.contains("operator \"Is\" is unknown"), "{emitted:?}");
        all.change(Change::Apply(bad()));
        assert!(all.emit().is_empty());
        let outdated = all.outdated(Timestamp::UNIX_EPOCH);
        assert_eq!(outdated[0].1.conditions[0].status, "False");
        all.change(Change::Apply(object(json!({}))));
        assert_eq!(all.outdated(Timestamp::UNIX_EPOCH)[0].1.conditions[0].status, "True");
    }
}

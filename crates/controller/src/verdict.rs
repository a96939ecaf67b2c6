//! What is told to the author of a configuration object: its condition `Accepted`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use objects::text::{self, CONDITION_MESSAGE};

const ACCEPTED: &str = "Accepted";

/// One version of a configuration object, and what was told about it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The object, of the version that was seen.
    pub(crate) reference: ObjectReference,
    generation: Option<i64>,
    known: Option<Condition>,
    /// Whether its problem has been told in an event.
    told: bool,
}

/// Why an object is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// One word in camel case.
    pub(crate) reason: &'static str,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Subject {
    pub(crate) fn new<K: Resource<DynamicType = ()>>(object: &K, conditions: &[Condition]) -> Self {
        let ObjectMeta { generation, .. } = object.meta();
        Self {
            reference: ObjectReference {
                resource_version: object.resource_version(),
                ..object.object_ref(&())
            },
            generation: *generation,
            known: conditions.iter().find(|condition| condition.type_ == ACCEPTED).cloned(),
            told: false,
        }
    }

    /// Takes in a newer version of the object.
    pub(crate) fn update(&mut self, newer: Self) {
        *self = Self { told: self.told, ..newer };
    }

    /// The problem is another one now, or gone.
    pub(crate) fn reset(&mut self) {
        self.told = false;
    }

    /// Whether an event about the problem is due. Only the first call says so.
    pub(crate) fn tell(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// What the condition should say, and whether it does not say so yet.
    pub(crate) fn condition(&self, complaint: Option<&Complaint>, now: Timestamp) -> (Condition, bool) {
        let (status, reason, message) = match complaint {
            None => ("True", "Valid", ""),
            Some(Complaint { reason, message }) => ("False", *reason, message.as_str()),
        };
        let since = self.known.as_ref().filter(|known| known.status == status);
        let condition = Condition {
            type_: ACCEPTED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: text::shorten(message, CONDITION_MESSAGE),
            observed_generation: self.generation,
            last_transition_time: since.map_or(Time(now), |known| known.last_transition_time.clone()),
        };
        let outdated = self.known.as_ref() != Some(&condition);
        (condition, outdated)
    }
}

#[cfg(test)]
mod tests {
    use api::{IPAddressPool, IPAddressPoolSpec};

    use super::*;

    #[test]
    fn a_transition_has_a_time_and_what_is_known_is_not_written_again() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut pool = IPAddressPool::new("p", IPAddressPoolSpec::default());
        pool.metadata.generation = Some(1);
        let fresh = Subject::new(&pool, &[]);
        let (valid, outdated) = fresh.condition(None, at(1));
        assert!(outdated);
        let known = Subject::new(&pool, std::slice::from_ref(&valid));
        assert_eq!(known.condition(None, at(2)), (valid.clone(), false));
        let complaint = Complaint { reason: "Overlap", message: "overlaps".to_owned() };
        let (invalid, outdated) = known.condition(Some(&complaint), at(3));
        assert!(outdated);
        assert_eq!((invalid.status.as_str(), invalid.last_transition_time), ("False", Time(at(3))));
        pool.metadata.generation = Some(2);
        let edited = Subject::new(&pool, std::slice::from_ref(&valid));
        let (condition, outdated) = edited.condition(None, at(4));
        assert!(outdated);
        assert_eq!(condition.last_transition_time, valid.last_transition_time);
    }
}

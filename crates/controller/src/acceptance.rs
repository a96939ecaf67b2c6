//! The condition `Accepted` of a configuration object: what its author is told about it.

use api::ACCEPTED;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube::{Resource, ResourceExt};
use kubekit::events::Notice;
use objects::text::{self, CONDITION_MESSAGE};

/// As many sentences as a person would read; the rest is counted.
const MOST_SENTENCES: usize = 20;

/// What there is to say about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Assessment {
    /// All of it is in force.
    Accepted,
    /// All of it is in force, but its author may not mean what it says: one sentence for each doubt.
    Doubtful(Vec<String>),
    /// Some of it is not in force.
    Rejected {
        /// One word in camel case.
        reason: &'static str,
        /// What is wrong and what to do, one sentence for each fault.
        faults: Vec<String>,
    },
}

impl Assessment {
    /// What is in force but for `faults`, and raises `doubts`. `reason` is that of the first fault.
    pub(crate) fn new(reason: Option<&'static str>, faults: Vec<String>, doubts: Vec<String>) -> Self {
        match reason {
            Some(reason) => Self::Rejected { reason, faults: [faults, doubts].concat() },
            None if doubts.is_empty() => Self::Accepted,
            None => Self::Doubtful(doubts),
        }
    }

    /// Whether some of the object is not in force.
    pub(crate) fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected { .. })
    }

    /// All that there is to say, in one line.
    pub(crate) fn message(&self) -> String {
        let sentences = match self {
            Self::Accepted => &[][..],
            Self::Doubtful(sentences) | Self::Rejected { faults: sentences, .. } => sentences,
        };
        first_of(sentences, MOST_SENTENCES).join("; ")
    }

    fn condition(&self) -> (&'static str, &'static str) {
        match self {
            Self::Accepted => ("True", "Valid"),
            Self::Doubtful(_) => ("True", "ValidWithWarnings"),
            Self::Rejected { reason, .. } => ("False", reason),
        }
    }

    fn notice(&self) -> Option<Notice> {
        match self {
            Self::Accepted => None,
            Self::Doubtful(_) => Some(Notice::warning("ConfigurationWarning", self.message())),
            Self::Rejected { .. } => Some(Notice::warning("ConfigurationError", self.message())),
        }
    }
}

/// The first `most` of these, and how many there are besides.
pub(crate) fn first_of(all: &[String], most: usize) -> Vec<String> {
    let more = all.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("and {more} more"));
    all.iter().take(most).cloned().chain(more).collect()
}

/// One version of a configuration object, and what was told about it.
#[derive(Debug, Clone)]
pub(crate) struct Acceptance {
    /// The object, of the version that was seen.
    pub(crate) reference: ObjectReference,
    generation: Option<i64>,
    known: Option<Condition>,
    /// What the last event about it said.
    emitted: Option<Assessment>,
}

impl Acceptance {
    pub(crate) fn new<K: Resource<DynamicType = ()>>(object: &K, conditions: &[Condition]) -> Self {
        let ObjectMeta { generation, .. } = object.meta();
        Self {
            reference: ObjectReference {
                resource_version: object.resource_version(),
                ..object.object_ref(&())
            },
            generation: *generation,
            known: conditions.iter().find(|condition| condition.type_ == ACCEPTED).cloned(),
            emitted: None,
        }
    }

    /// Takes in a newer version of the object. One that was made again under the same name is a new object.
    pub(crate) fn update(&mut self, newer: Self) {
        let emitted = self.emitted.take().filter(|_| self.reference.uid == newer.reference.uid);
        *self = Self { emitted, ..newer };
    }

    /// The event that is due about this assessment. There is one for each change.
    pub(crate) fn emit(&mut self, assessment: &Assessment) -> Option<Notice> {
        if self.emitted.as_ref() == Some(assessment) {
            return None;
        }
        self.emitted = Some(assessment.clone());
        assessment.notice()
    }

    /// What the condition should say, and whether it does not say so yet.
    pub(crate) fn condition(&self, assessment: &Assessment, now: Timestamp) -> (Condition, bool) {
        let (status, reason) = assessment.condition();
        let since = self.known.as_ref().filter(|known| known.status == status);
        let condition = Condition {
            type_: ACCEPTED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: text::shorten(&text::printable(&assessment.message()), CONDITION_MESSAGE),
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

    fn rejected(fault: &str) -> Assessment {
        Assessment::new(Some("Overlap"), vec![fault.to_owned()], vec![])
    }

    #[test]
    fn a_transition_has_a_time_and_what_is_known_is_not_written_again() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut pool = IPAddressPool::new("p", IPAddressPoolSpec::default());
        pool.metadata.generation = Some(1);
        let fresh = Acceptance::new(&pool, &[]);
        let (valid, outdated) = fresh.condition(&Assessment::Accepted, at(1));
        assert!(outdated);
        let known = Acceptance::new(&pool, std::slice::from_ref(&valid));
        assert_eq!(known.condition(&Assessment::Accepted, at(2)), (valid.clone(), false));
        let (invalid, outdated) = known.condition(&rejected("overlaps"), at(3));
        assert!(outdated);
        assert_eq!((invalid.status.as_str(), invalid.last_transition_time), ("False", Time(at(3))));
        pool.metadata.generation = Some(2);
        let edited = Acceptance::new(&pool, std::slice::from_ref(&valid));
        let (condition, outdated) = edited.condition(&Assessment::Accepted, at(4));
        assert!(outdated);
        assert_eq!(condition.last_transition_time, valid.last_transition_time);
    }

    #[test]
    fn there_is_one_event_for_each_change() {
        let pool = IPAddressPool::new("p", IPAddressPoolSpec::default());
        let mut acceptance = Acceptance::new(&pool, &[]);
        assert_eq!(acceptance.emit(&Assessment::Accepted), None);
        assert!(acceptance.emit(&rejected("a")).is_some());
        acceptance.update(Acceptance::new(&pool, &[]));
        assert_eq!(acceptance.emit(&rejected("a")), None);
        assert!(acceptance.emit(&rejected("b")).is_some());
        assert_eq!(acceptance.emit(&Assessment::Accepted), None);
        assert!(acceptance.emit(&rejected("b")).is_some(), "it is wrong again");
        let mut again = IPAddressPool::new("p", IPAddressPoolSpec::default());
        again.metadata.uid = Some("another".to_owned());
        acceptance.update(Acceptance::new(&again, &[]));
        assert!(acceptance.emit(&rejected("b")).is_some(), "another object under the same name");
    }

    #[test]
    fn a_doubt_leaves_an_object_in_force_and_many_are_counted() {
        let doubts = (0..25).map(|n| format!("doubt {n}")).collect();
        let doubtful = Assessment::new(None, vec![], doubts);
        let pool = IPAddressPool::new("p", IPAddressPoolSpec::default());
        let (condition, _) = Acceptance::new(&pool, &[]).condition(&doubtful, Timestamp::UNIX_EPOCH);
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "ValidWithWarnings"));
        assert!(condition.message.ends_with("doubt 19; and 5 more"), "{}", condition.message);
        assert!(!doubtful.is_rejected());
    }
}

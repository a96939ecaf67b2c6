//! The `ConfigurationState` named `controller`: one object that says whether all pools are in force.

use std::collections::BTreeMap;

use api::{ConfigurationResult, ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Api, Client};
use kubekit::{Source, keep::Wanted};

use crate::index::Index;

const NAME: &str = "controller";
const COMPONENT: &str = "controller";

/// The objects that the report is kept among.
pub(crate) fn source(client: &Client, namespace: &str) -> Source<ConfigurationState> {
    Source {
        api: Api::namespaced(client.clone(), namespace),
        labels: Some(format!("{}={COMPONENT}", names::COMPONENT_TYPE)),
        fields: None,
    }
}

/// What to report; nothing while another replica does.
pub(crate) fn wanted(index: &Index, now: Timestamp) -> Wanted<ConfigurationState> {
    if !index.decides() {
        return None;
    }
    let problems: Vec<String> = index.problems().collect();
    let mut state = ConfigurationState::new(NAME, ConfigurationStateSpec::default());
    state.metadata.labels = Some(BTreeMap::from([(names::COMPONENT_TYPE.to_owned(), COMPONENT.to_owned())]));
    state.status = Some(status(&problems.join("\n"), now));
    Some(BTreeMap::from([(NAME.to_owned(), state)]))
}

fn status(problems: &str, now: Timestamp) -> ConfigurationStateStatus {
    let (result, valid, reason) = match problems {
        "" => (ConfigurationResult::Valid, "True", "Reconciled"),
        _ => (ConfigurationResult::Invalid, "False", "ConfigurationError"),
    };
    ConfigurationStateStatus {
        result: Some(result),
        error_summary: problems.to_owned(),
        conditions: vec![Condition {
            type_: "poolReconcilerValid".to_owned(),
            status: valid.to_owned(),
            reason: reason.to_owned(),
            message: problems.to_owned(),
            observed_generation: None,
            last_transition_time: Time(now),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_makes_the_configuration_invalid_and_is_named() {
        let valid = status("", Timestamp::UNIX_EPOCH);
        assert_eq!(valid.result, Some(ConfigurationResult::Valid));
        assert_eq!(valid.conditions[0].reason, "Reconciled");
        let invalid = status("IPAddressPool p: wrong", Timestamp::UNIX_EPOCH);
        assert_eq!(invalid.result, Some(ConfigurationResult::Invalid));
        assert_eq!(invalid.error_summary, "IPAddressPool p: wrong");
        assert_eq!(invalid.conditions[0].status, "False");
    }
}

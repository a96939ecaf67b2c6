//! `ConfigurationState`: whether the configuration can be used, as each program sees it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use objects::text::{self, CONDITION_MESSAGE};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions;

/// Nothing: the object only reports what is.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "ConfigurationState",
    plural = "configurationstates",
    doc = "ConfigurationState tells whether a program can use the configuration. The label metallb.io/component-type says which one, controller or speaker; for a speaker, metallb.io/node-name names its node.",
    namespaced,
    no_spec,
    derive = "Default",
    derive = "PartialEq",
    status = "ConfigurationStateStatus",
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".status.result"}"#,
    printcolumn = r#"{"name":"ErrorSummary","type":"string","jsonPath":".status.errorSummary"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct ConfigurationStateSpec {}

/// What a program makes of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationStateStatus {
    /// Whether all of the configuration can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ConfigurationResult>,
    /// What is wrong, one sentence after the other. Empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error_summary: String,
    /// The same by part of the program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

impl ConfigurationStateStatus {
    /// What a part of a program, which the type of the condition names, makes of the configuration at `now`.
    /// Without problems it is valid. Where they are more than a condition takes, it says how many are not named.
    pub fn new(condition: &str, problems: &[String], now: Timestamp) -> Self {
        let (result, valid, reason) = match problems {
            [] => (ConfigurationResult::Valid, "True", "Reconciled"),
            _ => (ConfigurationResult::Invalid, "False", "ConfigurationError"),
        };
        let error_summary = text::summary(problems, CONDITION_MESSAGE);
        Self {
            result: Some(result),
            error_summary: error_summary.clone(),
            conditions: vec![Condition {
                type_: condition.to_owned(),
                status: valid.to_owned(),
                reason: reason.to_owned(),
                message: error_summary,
                observed_generation: None,
                last_transition_time: Time(now),
            }],
        }
    }
}

/// Whether a configuration can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigurationResult {
    /// All of it can be used.
    Valid,
    /// Some of it cannot be used.
    Invalid,
    /// The program has not looked at it yet.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_makes_the_configuration_invalid_and_is_named() {
        let status =
            |problems: &[String]| ConfigurationStateStatus::new("x", problems, Timestamp::UNIX_EPOCH);
        let valid = status(&[]);
        assert_eq!(valid.result, Some(ConfigurationResult::Valid));
        assert_eq!(valid.conditions[0].reason, "Reconciled");
        let invalid = status(&["IPAddressPool p: wrong".to_owned()]);
        assert_eq!(invalid.result, Some(ConfigurationResult::Invalid));
        assert_eq!(invalid.error_summary, "IPAddressPool p: wrong");
        assert_eq!(invalid.conditions[0].status, "False");
    }

    #[test]
    fn more_problems_than_a_condition_takes_are_counted() {
        let problems: Vec<String> = (0..300).map(|i| format!("{i:0500}")).collect();
        let status = ConfigurationStateStatus::new("x", &problems, Timestamp::UNIX_EPOCH);
        for text in [&status.error_summary, &status.conditions[0].message] {
            assert!(text.len() <= 32_768 && text.starts_with(&problems[0]), "{} bytes", text.len());
            let told = text.lines().count() - 1;
            assert!(told > 60 && text.ends_with(&format!("... and {} more", 300 - told)), "{told} told");
        }
    }
}

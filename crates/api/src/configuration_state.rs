//! `ConfigurationState`: whether the configuration can be used, as each program sees it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
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

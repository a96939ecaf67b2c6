//! `BFDProfile`: how fast BFD notices that a BGP peer is gone.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, CustomResourceExt, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::with_optional_spec;
use crate::lenient;

/// Settings of BFD sessions (RFC 5880) that a `BGPPeer` refers to by name.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "BFDProfileSchema")]
pub struct BFDProfile {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// The settings. May be missing: each of them may.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: BFDProfileSpec,
}

impl BFDProfile {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        with_optional_spec(BFDProfileSchema::crd())
    }
}

/// How fast BFD notices that the other end of a session is gone. What is left out keeps the default of the
/// BFD implementation.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BFDProfile",
    root = "BFDProfileSchema",
    plural = "bfdprofiles",
    doc = "BFDProfile holds settings of BFD sessions, for BGPPeers that name it.",
    namespaced,
    status = "BFDProfileStatus",
    printcolumn = r#"{"name":"Passive Mode","type":"boolean","jsonPath":".spec.passiveMode"}"#,
    printcolumn = r#"{"name":"Transmit Interval","type":"integer","jsonPath":".spec.transmitInterval"}"#,
    printcolumn = r#"{"name":"Receive Interval","type":"integer","jsonPath":".spec.receiveInterval"}"#,
    printcolumn = r#"{"name":"Multiplier","type":"integer","jsonPath":".spec.detectMultiplier"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct BFDProfileSpec {
    /// Shortest time between two control packets that this end can receive, in milliseconds; 300 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub receive_interval: Option<i32>,
    /// Shortest time between two control packets that this end wants to send, in milliseconds; 300 by
    /// default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub transmit_interval: Option<i32>,
    /// How many packets in a row must be missing until the other end counts as gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: Option<i32>,
    /// Shortest time between two echo packets that this end can receive, in milliseconds; 50 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub echo_interval: Option<i32>,
    /// Send echo packets, which the other end only loops back. Off by default; not for peers that are
    /// several hops away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo_mode: Option<bool>,
    /// Wait for the other end to begin. Off by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// For peers that are several hops away: packets that arrive with a lower TTL are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: Option<i32>,
}

/// Nothing is observed of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BFDProfileStatus {}

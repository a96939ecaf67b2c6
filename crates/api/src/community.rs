//! `Community`: names for BGP communities.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Rule;
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::with_optional_spec;
use crate::lenient;
use crate::rules::{is_community, rule};

/// Names for BGP communities, to write in a `BGPAdvertisement`.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "CommunitySchema")]
pub struct Community {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// The names. May be missing.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: CommunitySpec,
}

impl Community {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        with_optional_spec(CommunitySchema::crd())
    }
}

/// The names and what they stand for.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    root = "CommunitySchema",
    plural = "communities",
    doc = "Community gives names to BGP communities, to be used in BGPAdvertisements.",
    namespaced,
    status = "CommunityStatus"
)]
pub struct CommunitySpec {
    /// The names. Each may be given once in the whole cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub communities: Vec<CommunityAlias>,
}

/// A name for a BGP community.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = ("has(self.value)", "the value is missing: write two numbers like 64512:100"))]
pub struct CommunityAlias {
    /// The name to use instead of the value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub name: String,
    /// The value: a standard community (64512:100, RFC 1997) or a large one (large:64512:1:2, RFC 8092).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = is_community_value())]
    pub value: String,
}

/// Nothing is observed of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommunityStatus {}

fn is_community_value() -> Rule {
    rule(
        is_community("self"),
        "self + ' is not a community: write two numbers up to 65535 like 64512:100, or three up to 4294967295 like large:64512:1:2'",
    )
}

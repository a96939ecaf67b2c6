//! `L2Advertisement`: which addresses are announced by ARP and NDP, from which nodes and interfaces.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::with_optional_spec;
use crate::rules::no_duplicates;
use crate::{LabelSelector, conditions, lenient};

/// Announces the addresses of the selected pools on the LAN.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "L2AdvertisementSchema")]
pub struct L2Advertisement {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// What to announce. People leave it out to announce everything, so it may be missing.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: L2AdvertisementSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: L2AdvertisementStatus,
}

impl L2Advertisement {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        with_optional_spec(L2AdvertisementSchema::crd())
    }
}

/// What to announce. Every field narrows; the empty spec announces all pools, from all nodes, on all
/// interfaces.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    root = "L2AdvertisementSchema",
    plural = "l2advertisements",
    doc = "L2Advertisement announces the addresses of the selected pools on the LAN by ARP and NDP.",
    namespaced,
    status = "L2AdvertisementStatus",
    printcolumn = r#"{"name":"IPAddressPools","type":"string","jsonPath":".spec.ipAddressPools"}"#,
    printcolumn = r#"{"name":"IPAddressPool Selectors","type":"string","jsonPath":".spec.ipAddressPoolSelectors"}"#,
    printcolumn = r#"{"name":"Interfaces","type":"string","jsonPath":".spec.interfaces"}"#,
    printcolumn = r#"{"name":"Node Selectors","type":"string","jsonPath":".spec.nodeSelectors","priority":10}"#
)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools to announce, by name. With neither names nor selectors, every pool.
    #[serde(rename = "ipAddressPools", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 253)))]
    #[x_kube(validation = no_duplicates("pool"))]
    pub ip_address_pools: Vec<String>,
    /// Pools to announce, by their labels.
    #[serde(rename = "ipAddressPoolSelectors", default, skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce. When empty, every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
    /// Interfaces to announce on. When empty, every interface of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Services to announce. When empty, every Service with an address from the pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that are preferred among those that may announce. The weights of all entries that match a
    /// node add up; the highest sum announces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferred_node_selectors: Vec<PreferredNodeSelector>,
}

/// A preference for some nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreferredNodeSelector {
    /// How much the preference counts, 1 to 100.
    #[serde(default)]
    #[schemars(!default, range(min = 1, max = 100))]
    pub weight: i32,
    /// The nodes that it is for.
    #[serde(default)]
    #[schemars(!default)]
    pub preference: LabelSelector,
}

/// The observed state of an [`L2Advertisement`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct L2AdvertisementStatus {
    /// Whether the advertisement is in force as it stands (`Accepted`), and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

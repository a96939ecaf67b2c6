//! `BGPAdvertisement`: which addresses are announced to BGP peers, and with which attributes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::definition::with_optional_spec;
use crate::rules::{are_communities, no_duplicate_communities, no_duplicates};
use crate::{LabelSelector, conditions, lenient};

/// Announces the addresses of the selected pools to BGP peers.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "BGPAdvertisementSchema")]
pub struct BGPAdvertisement {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// What to announce, and how. People leave it out to announce everything, so it may be missing.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: BGPAdvertisementSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: BGPAdvertisementStatus,
}

impl BGPAdvertisement {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        with_optional_spec(BGPAdvertisementSchema::crd())
    }
}

/// What to announce, and how. The empty spec announces all pools from all nodes to all peers, each address
/// by itself.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    root = "BGPAdvertisementSchema",
    plural = "bgpadvertisements",
    doc = "BGPAdvertisement announces the addresses of the selected pools to BGP peers.",
    namespaced,
    status = "BGPAdvertisementStatus",
    printcolumn = r#"{"name":"IPAddressPools","type":"string","jsonPath":".spec.ipAddressPools"}"#,
    printcolumn = r#"{"name":"IPAddressPool Selectors","type":"string","jsonPath":".spec.ipAddressPoolSelectors"}"#,
    printcolumn = r#"{"name":"Peers","type":"string","jsonPath":".spec.peers"}"#,
    printcolumn = r#"{"name":"Node Selectors","type":"string","jsonPath":".spec.nodeSelectors","priority":10}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "self.?serviceSelectors.orValue([]).size() == 0 || (self.aggregationLength == 32 && self.aggregationLengthV6 == 128)"
    ).message(
        "serviceSelectors choose single addresses, so they exclude aggregation: remove them, or aggregationLength and aggregationLengthV6"
    )
)]
pub struct BGPAdvertisementSpec {
    /// Length in bits of the IPv4 prefixes to announce. Below 32, addresses are announced together as the
    /// prefix that they lie in.
    #[serde(default = "ipv4_length")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: i32,
    /// Length in bits of the IPv6 prefixes to announce. Below 128, addresses are announced together as the
    /// prefix that they lie in.
    #[serde(rename = "aggregationLengthV6", default = "ipv6_length")]
    #[schemars(range(min = 0, max = 128))]
    pub aggregation_length_v6: i32,
    /// The BGP attribute LOCAL_PREF (RFC 4271 section 5.1.5): among several paths within an AS, the one with
    /// the highest value is taken. Only peers of the same AS get to know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub local_pref: Option<i32>,
    /// BGP communities to attach: standard ones (64512:100), large ones (large:64512:1:2), and names that a
    /// Community object defines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 253)))]
    #[x_kube(validation = are_communities())]
    #[x_kube(validation = no_duplicate_communities())]
    pub communities: Vec<String>,
    /// Pools to announce, by name. With neither names nor selectors, every pool.
    #[serde(rename = "ipAddressPools", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 253)))]
    #[x_kube(validation = no_duplicates("pool"))]
    pub ip_address_pools: Vec<String>,
    /// Pools to announce, by their labels.
    #[serde(rename = "ipAddressPoolSelectors", default, skip_serializing_if = "Vec::is_empty")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes to announce as next hops. When empty, every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
    /// BGPPeers to announce to, by name. When empty, every peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 253)))]
    #[x_kube(validation = no_duplicates("peer"))]
    pub peers: Vec<String>,
    /// Services to announce. When empty, every Service with an address from the pools. Only without
    /// aggregation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
}

impl Default for BGPAdvertisementSpec {
    fn default() -> Self {
        Self {
            aggregation_length: ipv4_length(),
            aggregation_length_v6: ipv6_length(),
            local_pref: None,
            communities: vec![],
            ip_address_pools: vec![],
            ip_address_pool_selectors: vec![],
            node_selectors: vec![],
            peers: vec![],
            service_selectors: vec![],
        }
    }
}

fn ipv4_length() -> i32 {
    32
}

fn ipv6_length() -> i32 {
    128
}

/// The observed state of a [`BGPAdvertisement`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BGPAdvertisementStatus {
    /// Whether the advertisement is in force as it stands (`Accepted`), and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

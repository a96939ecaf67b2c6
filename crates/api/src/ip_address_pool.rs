//! `IPAddressPool`: addresses and who may use them.

use ipam::{Pool, PoolName, Range};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use objects::{Selector, SelectorError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::definition::untitled;
use crate::rules::no_duplicates;
use crate::{AddressEntry, LabelSelector, conditions, lenient};

/// Addresses that Services of type `LoadBalancer` may get, and who may get them.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "IPAddressPoolSchema")]
pub struct IPAddressPool {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// The addresses and who may get them. The schema asks for it; what was stored without it is read all
    /// the same.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: IPAddressPoolSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: Option<IPAddressPoolStatus>,
}

impl IPAddressPool {
    /// A pool by this name.
    pub fn new(name: &str, spec: IPAddressPoolSpec) -> Self {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Self { metadata, spec, status: None }
    }

    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        untitled(IPAddressPoolSchema::crd())
    }
}

/// Addresses that Services of type `LoadBalancer` may get, and who may get them.
#[derive(CustomResource, KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    root = "IPAddressPoolSchema",
    plural = "ipaddresspools",
    doc = "IPAddressPool holds addresses that Services of type LoadBalancer may get.",
    namespaced,
    status = "IPAddressPoolStatus",
    printcolumn = r#"{"name":"Auto Assign","type":"boolean","jsonPath":".spec.autoAssign"}"#,
    printcolumn = r#"{"name":"Avoid Buggy IPs","type":"boolean","jsonPath":".spec.avoidBuggyIPs"}"#,
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".spec.addresses"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// The addresses: CIDR prefixes (192.168.1.0/28) and ranges (192.168.1.10-192.168.1.20) of either
    /// family. They are handed out in this order, the lowest of each entry first.
    #[serde(default)]
    #[schemars(!default, length(max = 4096))]
    #[x_kube(
        validation = Rule::new("self.size() > 0")
            .message("a pool needs at least one entry: write a range like 192.168.1.10-192.168.1.20 or a CIDR like 192.168.1.0/28")
    )]
    #[x_kube(validation = no_duplicates("entry"))]
    pub addresses: Vec<AddressEntry>,
    /// Whether Services get addresses of this pool without asking for it by name.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Leave out IPv4 addresses that end in .0 or .255, which some old equipment drops.
    #[serde(rename = "avoidBuggyIPs", default)]
    pub avoid_buggy_ips: bool,
    /// Which Services may use the pool. Without it, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Which Services may use a pool: those that match in namespace and in labels. A pool with this field is
/// tried before pools without it.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Order among the pools that a Service may use: 1 is tried first, then 2 and so on; 0 or no value last.
    #[serde(default, deserialize_with = "lenient::integer", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_integer")]
    pub priority: Option<i64>,
    /// Namespaces whose Services may use the pool, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 253)))]
    #[x_kube(validation = no_duplicates("namespace"))]
    pub namespaces: Vec<String>,
    /// Namespaces whose Services may use the pool, by their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services that may use the pool, by their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,
}

/// The observed state of an [`IPAddressPool`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses that Services hold.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that Services hold.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are left.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are left; the largest number that fits when there are more.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
    /// Whether the pool is in force as it stands (`Accepted`), and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

fn yes() -> bool {
    true
}

/// Without a format, and so without its limits: upstream's has none.
fn any_integer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer"})
}

/// Why an [`IPAddressPool`] cannot be used. The message names the field and the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePoolError {
    /// There is no address in it.
    #[error(
        "spec.addresses is empty: write a range like 192.168.1.10-192.168.1.20 or a CIDR like 192.168.1.0/28"
    )]
    NoAddresses,
    /// An entry is neither a CIDR nor a range.
    #[error("spec.addresses[{index}] {entry:?}: {source}")]
    Address {
        /// Which entry, from 0.
        index: usize,
        /// As it was written.
        entry: String,
        /// What is wrong with it.
        source: ipam::ParseRangeError,
    },
    /// Two entries have addresses in common.
    #[error("spec.addresses: {first} overlaps {second}: remove or shorten one of them")]
    Overlap {
        /// The entry that comes first in the list.
        first: Range,
        /// The one that overlaps it.
        second: Range,
    },
    /// The priority is below zero.
    #[error(
        "spec.serviceAllocation.priority {0} is below zero: write 1 for the pool to try first, 0 for last"
    )]
    Priority(i64),
    /// A selector cannot be understood.
    #[error("spec.serviceAllocation.{field}[{index}]: {source}")]
    Selector {
        /// `namespaceSelectors` or `serviceSelectors`.
        field: &'static str,
        /// Which entry, from 0.
        index: usize,
        /// What is wrong with it.
        source: SelectorError,
    },
}

impl TryFrom<&IPAddressPool> for Pool {
    type Error = ParsePoolError;

    fn try_from(resource: &IPAddressPool) -> Result<Self, ParsePoolError> {
        let spec = &resource.spec;
        let allocation = spec.service_allocation.as_ref().map(parse_allocation).transpose()?;
        Ok(Self {
            name: PoolName::new(resource.name_any()),
            ranges: parse_addresses(&spec.addresses)?,
            auto_assign: spec.auto_assign,
            avoid_buggy_ips: spec.avoid_buggy_ips,
            allocation,
        })
    }
}

fn parse_addresses(entries: &[AddressEntry]) -> Result<Vec<Range>, ParsePoolError> {
    if entries.is_empty() {
        return Err(ParsePoolError::NoAddresses);
    }
    let parse = |(index, entry): (usize, &AddressEntry)| {
        entry.0.parse::<Range>().map_err(|source| ParsePoolError::Address {
            index,
            entry: entry.0.clone(),
            source,
        })
    };
    let ranges = entries.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    match ipam::first_overlap(&ranges) {
        Some((first, second)) => Err(ParsePoolError::Overlap { first, second }),
        None => Ok(ranges),
    }
}

fn parse_allocation(allocation: &ServiceAllocation) -> Result<ipam::Allocation, ParsePoolError> {
    let ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors } = allocation;
    let priority = priority.unwrap_or(0);
    Ok(ipam::Allocation {
        priority: u64::try_from(priority).map_err(|_| ParsePoolError::Priority(priority))?,
        namespaces: namespaces.iter().cloned().collect(),
        namespace_selectors: parse_selectors("namespaceSelectors", namespace_selectors)?,
        service_selectors: parse_selectors("serviceSelectors", service_selectors)?,
    })
}

fn parse_selectors(field: &'static str, list: &[LabelSelector]) -> Result<Vec<Selector>, ParsePoolError> {
    list.iter()
        .enumerate()
        .map(|(index, selector)| {
            Selector::try_from(selector).map_err(|source| ParsePoolError::Selector { field, index, source })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(addresses: &[&str]) -> IPAddressPool {
        let addresses = addresses.iter().map(|a| AddressEntry((*a).to_owned())).collect();
        IPAddressPool::new("p", IPAddressPoolSpec { addresses, auto_assign: true, ..Default::default() })
    }

    #[test]
    fn entries_become_ranges_in_listed_order() {
        let parsed = Pool::try_from(&pool(&["10.0.0.8/30", "10.0.0.1 - 10.0.0.3", "fd00::/126"])).unwrap();
        let shown: Vec<String> = parsed.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.8-10.0.0.11", "10.0.0.1-10.0.0.3", "fd00::-fd00::3"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let message = |addresses: &[&str]| Pool::try_from(&pool(addresses)).unwrap_err().to_string();
        assert!(message(&[]).contains("spec.addresses is empty"));
        assert!(message(&["10.0.0.0/24", "10.0.1.1"]).starts_with("spec.addresses[1] \"10.0.1.1\": "));
        assert_eq!(
            message(&["10.0.0.0/24", "10.0.0.9-10.0.1.1"]),
            "spec.addresses: 10.0.0.0-10.0.0.255 overlaps 10.0.0.9-10.0.1.1: remove or shorten one of them"
        );
        let mut negative = pool(&["10.0.0.0/24"]);
        negative.spec.service_allocation =
            Some(ServiceAllocation { priority: Some(-1), ..Default::default() });
        assert_eq!(Pool::try_from(&negative), Err(ParsePoolError::Priority(-1)));
    }
}

//! `IPAddressPool`: addresses and who may use them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, KubeSchema, Resource, ResourceExt};
use objects::text::quoted;
use pools::{Allocation, Entry, PoolName, PoolSpec, Presence, Quota, Unreadable};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::definition::untitled;
use crate::rules::no_duplicates;
use crate::selector::read_selectors;
use crate::{AddressEntry, LabelSelector, conditions, lenient, names};

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
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".spec.addresses"}"#,
    printcolumn = r#"{"name":"Used v4","type":"integer","jsonPath":".status.assignedIPv4"}"#,
    printcolumn = r#"{"name":"Free v4","type":"integer","jsonPath":".status.availableIPv4"}"#,
    printcolumn = r#"{"name":"Used v6","type":"integer","jsonPath":".status.assignedIPv6"}"#,
    printcolumn = r#"{"name":"Free v6","type":"integer","jsonPath":".status.availableIPv6"}"#
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

impl From<&IPAddressPool> for PoolSpec {
    /// Reads what can be read; the rest is named in the result.
    fn from(resource: &IPAddressPool) -> Self {
        let spec = &resource.spec;
        let mut unreadable = Vec::new();
        let allocation = spec.service_allocation.as_ref().map(|it| read_allocation(it, &mut unreadable));
        let quota = read_quota(resource, &mut unreadable);
        Self {
            name: PoolName::new(resource.name_any()),
            created: resource.creation_timestamp().map(|time| time.0.as_second()),
            accepted: resource
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .any(conditions::is_accepted),
            labels: resource.labels().clone(),
            entries: spec.addresses.iter().map(|entry| Entry::from(entry.0.as_str())).collect(),
            auto_assign: spec.auto_assign,
            avoid_buggy_ips: spec.avoid_buggy_ips,
            allocation,
            quota,
            unreadable,
            presence: Presence::Present,
        }
    }
}

fn read_quota(resource: &IPAddressPool, unreadable: &mut Vec<Unreadable>) -> Quota {
    let Some(text) = resource.annotations().get(names::MAX_ADDRESSES_PER_NAMESPACE) else {
        return Quota::Unlimited;
    };
    Quota::parse(text).unwrap_or_else(|_| {
        let field = format!("metadata.annotations[{}]", names::MAX_ADDRESSES_PER_NAMESPACE);
        let why = format!(
            "{} is no whole number: write one like \"5\"; until then Services keep what they have from this pool, and \
             nobody gets more",
            quoted(text)
        );
        unreadable.push(Unreadable { field, why });
        Quota::Unreadable
    })
}

pub(crate) fn read_allocation(
    allocation: &ServiceAllocation,
    unreadable: &mut Vec<Unreadable>,
) -> Allocation {
    let ServiceAllocation { priority, namespaces, namespace_selectors, service_selectors } = allocation;
    let mut read = |field, list| read_selectors(&format!("spec.serviceAllocation.{field}"), list, unreadable);
    let namespace_selectors = read("namespaceSelectors", namespace_selectors);
    let service_selectors = read("serviceSelectors", service_selectors);
    Allocation {
        priority: priority.unwrap_or(0),
        namespaces: namespaces.iter().cloned().collect(),
        namespace_selectors,
        service_selectors,
        uncertain: !unreadable.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use objects::Labels;
    use pools::{Family, Pools};
    use serde_json::{Value, json};

    use super::*;

    fn pool(spec: Value) -> PoolSpec {
        let object = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": "p", "labels": {"zone": "a"}, "creationTimestamp": "2026-01-01T00:00:07Z"},
            "spec": spec,
        });
        PoolSpec::from(&serde_json::from_value::<IPAddressPool>(object).unwrap())
    }

    #[test]
    fn each_field_finds_its_place() {
        let spec = pool(json!({
            "addresses": ["10.0.0.8/30", "10.0.0.1 - 10.0.0.3", "10.0.1.1"],
            "autoAssign": false, "avoidBuggyIPs": true,
            "serviceAllocation": {"priority": -1, "namespaces": ["prod"]},
        }));
        assert_eq!(spec.created, Some(1_767_225_607));
        assert_eq!(spec.labels["zone"], "a");
        assert!(!spec.auto_assign && spec.avoid_buggy_ips);
        let allocation = spec.allocation.as_ref().unwrap();
        assert_eq!((allocation.priority, allocation.uncertain), (-1, false));
        assert!(allocation.admits_namespace("prod", &Labels::new()));
        let pools = Pools::new([spec]);
        assert_eq!(pools.get(&"p".into()).unwrap().capacity(Family::V4), 7);
    }

    #[test]
    fn a_quota_is_read_and_one_that_cannot_be_read_is_named() {
        let with = |text: &str| {
            let annotations = json!({"ferrolb.io/max-addresses-per-namespace": text});
            let object = json!({"metadata": {"name": "p", "annotations": annotations}});
            PoolSpec::from(&serde_json::from_value::<IPAddressPool>(object).unwrap())
        };
        assert_eq!(pool(json!({})).quota, Quota::Unlimited);
        let good = with("5");
        assert_eq!((good.quota, good.unreadable), (Quota::AtMost(5), vec![]));
        let bad = with("five");
        assert_eq!(bad.quota, Quota::Unreadable);
        let [fault] = &bad.unreadable[..] else { panic!("{:?}", bad.unreadable) };
        assert_eq!(fault.field, "metadata.annotations[ferrolb.io/max-addresses-per-namespace]");
        assert!(fault.why.starts_with("\"five\" is no whole number"), "{}", fault.why);
    }

    #[test]
    fn a_selector_that_cannot_be_read_selects_nothing_and_is_named() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        let gold = json!({"matchLabels": {"tier": "gold"}});
        let allocation = json!({"serviceSelectors": [gold, bad]});
        let spec = pool(json!({"addresses": ["10.0.0.0/30"], "serviceAllocation": allocation}));
        assert_eq!(spec.unreadable[0].field, "spec.serviceAllocation.serviceSelectors[1]");
        assert!(spec.unreadable[0].why.contains("operator \"Is\" is unknown"));
        let allocation = spec.allocation.unwrap();
        assert!(allocation.uncertain && !allocation.admits_service(&Labels::new()));
        assert!(allocation.admits_service(&Labels::from([("tier".to_owned(), "gold".to_owned())])));
    }
}

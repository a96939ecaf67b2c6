//! `NodeAddressPool`: Services get the addresses of nodes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{CustomResource, CustomResourceExt, Resource, ResourceExt};
use node_addresses::{
    AddressKind, DEFAULT_PROTECTED, K3sLabels, Listening, NodePool, PortRange, ProtectedPorts,
};
use pools::Unreadable;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::definition::with_optional_spec;
use crate::ip_address_pool::read_allocation;
use crate::selector::read_selectors;
use crate::{LabelSelector, ServiceAllocation, conditions, lenient};

/// Nodes whose addresses Services of type `LoadBalancer` get.
#[derive(Resource, Debug, Clone, Default, PartialEq, Deserialize)]
#[resource(inherit = "NodeAddressPoolSchema")]
pub struct NodeAddressPool {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// Which nodes, which of their addresses, and for whom. Without it: all nodes, for all Services.
    #[serde(default, deserialize_with = "lenient::spec")]
    pub spec: NodeAddressPoolSpec,
    /// What has become of it.
    #[serde(default, deserialize_with = "lenient::status")]
    pub status: Option<NodeAddressPoolStatus>,
}

impl NodeAddressPool {
    /// The definition to install.
    pub fn crd() -> CustomResourceDefinition {
        with_optional_spec(NodeAddressPoolSchema::crd())
    }

    /// What it says, and what of it cannot be read: each such thing stands for nothing.
    pub fn read(&self) -> (NodePool, Vec<Unreadable>) {
        let (spec, mut unreadable) = (&self.spec, Vec::new());
        let node_selectors = read_selectors("spec.nodeSelectors", &spec.node_selectors, &mut unreadable);
        let allocation = spec.service_allocation.as_ref().map(|it| read_allocation(it, &mut unreadable));
        let mut ranges = Vec::new();
        for (index, text) in spec.protected_ports.iter().enumerate() {
            match text.parse::<PortRange>() {
                Ok(range) => ranges.push(range),
                Err(why) => {
                    let field = format!("spec.protectedPorts[{index}]");
                    unreadable.push(Unreadable { field, why: why.to_string() });
                }
            }
        }
        let pool = NodePool {
            auto_assign: spec.auto_assign,
            allocation,
            node_selectors,
            addresses: match spec.addresses {
                NodeAddresses::Auto => AddressKind::Auto,
                NodeAddresses::External => AddressKind::External,
                NodeAddresses::Internal => AddressKind::Internal,
            },
            protected: ProtectedPorts::from_iter(ranges),
            listeners: if spec.protect_listeners { Listening::Protected } else { Listening::Ignored },
            k3s_labels: if spec.k3s_labels { K3sLabels::Honoured } else { K3sLabels::Ignored },
            ..NodePool::new(self.name_any())
        };
        (pool, unreadable)
    }
}

/// Which nodes, which of their addresses, and for whom.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferrolb.io",
    version = "v1alpha1",
    kind = "NodeAddressPool",
    root = "NodeAddressPoolSchema",
    plural = "nodeaddresspools",
    doc = "NodeAddressPool gives Services of type LoadBalancer the addresses of the nodes that serve them, as ServiceLB of K3s does.",
    namespaced,
    status = "NodeAddressPoolStatus",
    printcolumn = r#"{"name":"Auto Assign","type":"boolean","jsonPath":".spec.autoAssign"}"#,
    printcolumn = r#"{"name":"Addresses","type":"string","jsonPath":".spec.addresses"}"#,
    printcolumn = r#"{"name":"Nodes","type":"integer","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Services","type":"integer","jsonPath":".status.services"}"#
)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddressPoolSpec {
    /// Nodes that serve, by their labels: those that one of these selects. When empty, every node. Nodes with the label
    /// node.kubernetes.io/exclude-from-external-load-balancers never do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,
    /// Which of their addresses a Service gets: those of type ExternalIP, of type InternalIP, or (Auto) the external ones
    /// if one of the nodes that serve it has any, else the internal ones.
    pub addresses: NodeAddresses,
    /// Whether Services get addresses of this pool without asking for it by name. They do where no IPAddressPool is for
    /// them.
    pub auto_assign: bool,
    /// Which Services may use the pool. Without it, all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
    /// Ports of the nodes that no Service gets, since something else listens there: 22, TCP/22 or UDP/8000-8010. A list
    /// of your own replaces the default.
    #[schemars(schema_with = "protected_ports")]
    pub protected_ports: Vec<String>,
    /// Whether a Service gets no port of a node that a program there listens on. The speakers tell which those are; who has
    /// a port keeps it.
    pub protect_listeners: bool,
    /// Whether the labels of ServiceLB choose among the nodes, with the same outcome:
    /// svccontroller.k3s.cattle.io/enablelb on nodes, svccontroller.k3s.cattle.io/lbpool on nodes and Services.
    pub k3s_labels: bool,
}

impl Default for NodeAddressPoolSpec {
    fn default() -> Self {
        Self {
            node_selectors: Vec::new(),
            addresses: NodeAddresses::Auto,
            auto_assign: true,
            service_allocation: None,
            protected_ports: DEFAULT_PROTECTED.map(str::to_owned).into(),
            protect_listeners: true,
            k3s_labels: false,
        }
    }
}

/// Which addresses of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeAddresses {
    /// The external ones if there are any, else the internal ones.
    #[default]
    Auto,
    /// Those of type `ExternalIP`.
    External,
    /// Those of type `InternalIP`.
    Internal,
}

/// The observed state of a [`NodeAddressPool`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeAddressPoolStatus {
    /// Selected nodes that take traffic.
    pub nodes: i64,
    /// Services that have addresses from the pool.
    pub services: i64,
    /// Whether the pool is in force as it stands (`Accepted`), and if not, why; and whether it is known which ports programs
    /// on its nodes listen on (`ListenersKnown`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions::schema")]
    pub conditions: Vec<Condition>,
}

fn protected_ports(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "default": DEFAULT_PROTECTED,
        "items": {
            "type": "string",
            "maxLength": 16,
            "pattern": "^((TCP|UDP|SCTP)/)?[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$",
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(spec: Value) -> (NodePool, Vec<Unreadable>) {
        let object = json!({"metadata": {"name": "p"}, "spec": spec});
        serde_json::from_value::<NodeAddressPool>(object).unwrap().read()
    }

    #[test]
    fn an_empty_spec_means_all_nodes_for_all_services() {
        for spec in [json!({}), Value::Null, json!({"nodeSelectors": null, "addresses": "Auto"})] {
            assert_eq!(read(spec), (NodePool::new("p"), vec![]));
        }
    }

    #[test]
    fn each_field_finds_its_place() {
        let (pool, unreadable) = read(json!({
            "nodeSelectors": [{"matchLabels": {"edge": "true"}}], "addresses": "External", "autoAssign": false,
            "serviceAllocation": {"namespaces": ["prod"]}, "protectedPorts": [], "k3sLabels": true,
            "protectListeners": false,
        }));
        assert!(unreadable.is_empty());
        assert_eq!((pool.node_selectors.len(), pool.addresses), (1, AddressKind::External));
        assert!(!pool.auto_assign && pool.allocation.is_some());
        assert_eq!(pool.protected, ProtectedPorts::from_iter([]));
        assert_eq!((pool.k3s_labels, pool.listeners), (K3sLabels::Honoured, Listening::Ignored));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let bad = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]});
        let (_, unreadable) = read(json!({"nodeSelectors": [bad], "protectedPorts": ["22", "ssh"]}));
        let fields: Vec<&str> = unreadable.iter().map(|it| &it.field[..]).collect();
        assert_eq!(fields, ["spec.nodeSelectors[0]", "spec.protectedPorts[1]"]);
    }
}

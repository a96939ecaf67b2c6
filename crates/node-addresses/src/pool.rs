//! A pool of nodes: what its object says.

use objects::{Labels, PoolName, Selector, ServiceKey, any_matches};
use pools::Allocation;

use crate::{Node, ProtectedPorts};

/// What a `NodeAddressPool` object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePool {
    /// Unique among the pools.
    pub name: PoolName,
    /// Whether Services that no `IPAddressPool` is for get addresses from here without naming the pool.
    pub auto_assign: bool,
    /// Which Services may use it; without this, all.
    pub allocation: Option<Allocation>,
    /// Nodes that serve: those that one of these selects. None selects all.
    pub node_selectors: Vec<Selector>,
    /// Which of their addresses are listed.
    pub addresses: AddressKind,
    /// Ports that no Service gets.
    pub protected: ProtectedPorts,
    /// What the ports mean that programs on a node listen on.
    pub listeners: Listening,
    /// Whether the labels of K3s choose among the nodes as well.
    pub k3s_labels: K3sLabels,
}

/// Which addresses of the nodes are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AddressKind {
    /// The external ones if one of the nodes has any, else the internal ones.
    #[default]
    Auto,
    /// Those of type `ExternalIP`.
    External,
    /// Those of type `InternalIP`.
    Internal,
}

/// What it means for a port that a program on a node listens on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Listening {
    /// No Service gets it there.
    #[default]
    Protected,
    /// Nothing: whatever is sent there goes to the Service from then on.
    Ignored,
}

/// What the labels of ServiceLB mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum K3sLabels {
    /// What they mean to ServiceLB.
    Honoured,
    /// Nothing.
    #[default]
    Ignored,
}

/// Once some node of the cluster has it, only nodes with the value `true` serve.
const ENABLE_LB: &str = "svccontroller.k3s.cattle.io/enablelb";
/// Then, on a Service, the nodes with the same value.
const LB_POOL: &str = "svccontroller.k3s.cattle.io/lbpool";

impl NodePool {
    /// A pool of all nodes, for everybody.
    pub fn new(name: impl Into<PoolName>) -> Self {
        Self {
            name: name.into(),
            auto_assign: true,
            allocation: None,
            node_selectors: Vec::new(),
            addresses: AddressKind::default(),
            protected: ProtectedPorts::default(),
            listeners: Listening::default(),
            k3s_labels: K3sLabels::default(),
        }
    }

    /// Whether it is for this Service.
    pub(crate) fn admits(&self, key: &ServiceKey, namespace_labels: &Labels, labels: &Labels) -> bool {
        self.allocation.as_ref().is_none_or(|allocation| {
            allocation.admits_namespace(&key.namespace, namespace_labels) && allocation.admits_service(labels)
        })
    }

    /// Sorts pools in the order in which they are tried.
    pub(crate) fn rank(&self) -> (bool, Option<(bool, i64)>, &PoolName) {
        let rank = self.allocation.as_ref().map(Allocation::rank);
        (rank.is_none(), rank, &self.name)
    }

    /// Whether it selects a node of a cluster with the labels of K3s on these nodes or not.
    pub(crate) fn selects(&self, node: &Node, service_labels: &Labels, cluster_is_labelled: bool) -> bool {
        let selected = self.node_selectors.is_empty() || any_matches(&self.node_selectors, &node.labels);
        let by_k3s = || {
            let wanted = service_labels.get(LB_POOL).filter(|pool| !pool.is_empty());
            node.labels.get(ENABLE_LB).is_some_and(|value| value == "true")
                && wanted.is_none_or(|pool| node.labels.get(LB_POOL) == Some(pool))
        };
        selected
            && match self.k3s_labels {
                K3sLabels::Honoured => !cluster_is_labelled || by_k3s(),
                K3sLabels::Ignored => true,
            }
    }
}

/// Whether some node has the label that makes ServiceLB choose.
pub(crate) fn is_labelled<'a>(mut nodes: impl Iterator<Item = &'a Node>) -> bool {
    nodes.any(|node| node.labels.contains_key(ENABLE_LB))
}

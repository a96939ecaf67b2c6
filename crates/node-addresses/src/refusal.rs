//! Why a Service cannot have addresses of nodes, in words for the person who asked for them.

use std::fmt;

use ipam::Port;
use objects::{NodeName, PoolName, ServiceKey};
use pools::Family;

use crate::EXCLUDE_LABEL;

/// Why a Service gets no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such pool.
    #[error("unknown pool {0}: there is no NodeAddressPool by this name")]
    UnknownPool(PoolName),
    /// The pool is for others.
    #[error("NodeAddressPool {0} does not select this Service: see its serviceAllocation")]
    NotAdmitted(PoolName),
    /// kube-proxy would take the addresses of nodes for its own.
    #[error(
        "kube-proxy runs in IPVS mode on node {0}, where it binds the addresses of Services: addresses of nodes would cut \
         the nodes off from each other; set its mode to nftables or iptables, or use an IPAddressPool"
    )]
    Ipvs(NodeName),
    /// Something of the node listens there.
    #[error(
        "port {port} of nodes is protected by protectedPorts of NodeAddressPool {pool}: use another port"
    )]
    Protected {
        /// The port.
        port: Port,
        /// Whose list it is in.
        pool: PoolName,
    },
    /// It is the node port of another Service.
    #[error("port {port} of all nodes is the node port of {}: use another port", named(.owner.as_ref()))]
    NodePort {
        /// The port.
        port: Port,
        /// Whose node port it is; none if that is of another namespace.
        owner: Option<ServiceKey>,
    },
    /// No node may serve it.
    #[error("NodeAddressPool {pool}: {why}")]
    NoNodes {
        /// The pool.
        pool: PoolName,
        /// What is missing.
        why: NoNodes,
    },
    /// Others have its ports on all nodes that it could have.
    #[error("{0}")]
    Taken(Taken),
}

/// Why there is no node, or none with an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoNodes {
    /// There is none to serve it.
    #[error("no node is selected, or all have the label {EXCLUDE_LABEL}")]
    Selected,
    /// None has an endpoint of it.
    #[error("no selected node has a ready endpoint (externalTrafficPolicy is Local)")]
    Endpoint,
    /// None has an address of a family of the Service and of the kind that is listed.
    #[error("no selected node has an {kind} of family {family}")]
    Address {
        /// The type of the address.
        kind: &'static str,
        /// The first family of the Service.
        family: Family,
    },
}

/// Somebody else has a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {port} of node {node} is in use by {owner}")]
pub struct Taken {
    /// The first node of which it is.
    pub node: NodeName,
    /// The port.
    pub port: Port,
    /// Who has it.
    pub owner: Owner,
}

/// Who has a port of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A Service; none if that is of another namespace, which is not to be told.
    Service(Option<ServiceKey>),
    /// A program that listens on the node.
    Program,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => f.write_str(&named(service.as_ref())),
            Self::Program => f.write_str("a program that listens there"),
        }
    }
}

fn named(owner: Option<&ServiceKey>) -> String {
    owner.map_or_else(|| "a Service of another namespace".to_owned(), ToString::to_string)
}

/// `owner` as far as it may be named to the owner of `key`.
pub(crate) fn nameable(owner: &ServiceKey, key: &ServiceKey) -> Option<ServiceKey> {
    (owner.namespace == key.namespace).then(|| owner.clone())
}

//! A node, as far as it matters here.

use std::net::IpAddr;

use objects::Labels;

/// A node with this label serves nobody outside the cluster (the label is Kubernetes' own).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its labels.
    pub labels: Labels,
    /// Its addresses of type `InternalIP`.
    pub internal: Vec<IpAddr>,
    /// Its addresses of type `ExternalIP`.
    pub external: Vec<IpAddr>,
    /// Whether Kubernetes says that it is ready and that its network is available.
    pub ready: bool,
}

impl Node {
    pub(crate) fn is_excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }
}

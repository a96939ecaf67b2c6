//! `ServiceBGPStatus`: one object for each Service that this node announces by BGP, for people to read.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{ServiceBGPStatus, ServiceBGPStatusSpec, ServiceBGPStatusStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use objects::BgpPeerName;
use placement::{NodeName, ServiceKey};

/// A Service that is announced from here by BGP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) service: ServiceKey,
    /// To whom, as most others are.
    pub(crate) peers: Arc<BTreeSet<BgpPeerName>>,
}

/// The status of one Service, of this [name](name()).
pub(crate) fn status(
    name: &str,
    node: &NodeName,
    owner: Option<&OwnerReference>,
    Routed { service, peers }: &Routed,
) -> ServiceBGPStatus {
    let mut status = ServiceBGPStatus::new(name, ServiceBGPStatusSpec::default());
    status.metadata.labels = Some(super::labels(node, service));
    status.metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
    status.status = Some(ServiceBGPStatusStatus {
        node: node.as_str().to_owned(),
        service_name: service.name.to_string(),
        service_namespace: service.namespace.to_string(),
        peers: peers.iter().map(|peer| peer.as_str().to_owned()).collect(),
    });
    status
}

/// Always the same for a node and a Service, so that a restarted speaker finds what it wrote.
pub(crate) fn name(node: &NodeName, service: &ServiceKey) -> String {
    super::object_name("bgp", node, service)
}

#[cfg(test)]
mod tests {
    use api::names;

    use super::*;

    #[test]
    fn a_status_says_which_service_is_announced_to_whom() {
        let (node, service) = ("n1".into(), ServiceKey::new("prod", "web"));
        let peers = Arc::new(["r2", "r1"].map(Into::into).into());
        let name = name(&node, &service);
        let it = status(&name, &node, None, &Routed { service, peers });
        assert!(name.starts_with("bgp-") && name.len() == 20, "{name}");
        let labels = it.metadata.labels.unwrap();
        assert_eq!(labels[names::ANNOUNCING_NODE], "n1");
        assert_eq!(labels[names::SERVICE_NAMESPACE], "prod");
        let said = it.status.unwrap();
        assert_eq!((said.node.as_str(), said.service_name.as_str()), ("n1", "web"));
        assert_eq!(said.peers, ["r1", "r2"]);
    }
}

//! `ServiceL2Status`: one object for each Service that this node announces on its LAN, for people to read.

pub(crate) mod left_over;
pub(crate) mod routed;

use std::collections::BTreeMap;
use std::fmt::Write;

use api::{InterfaceInfo, ServiceL2Status, ServiceL2StatusSpec, ServiceL2StatusStatus, names};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource};
use kubekit::Source;
use objects::text::label_value;
use placement::{Interfaces, NodeName, ServiceKey};
use sha2::{Digest, Sha256};

/// The statuses that this speaker keeps: those of its node. Those of others are theirs to delete while they live, or two
/// that do not see each other would fight over them; for those of the dead see [`left_over`].
pub(crate) fn source<K>(client: &Client, namespace: &str, node: &NodeName) -> Source<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api = Api::namespaced(client.clone(), namespace);
    Source::labelled(api, format!("{}={}", names::ANNOUNCING_NODE, label_value(node.as_str())))
}

/// A Service that is announced from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reported {
    pub(crate) service: ServiceKey,
    pub(crate) interfaces: Interfaces,
}

/// The status of one Service, of this [name](name()). Without a list of interfaces it means all of them.
pub(crate) fn status(
    name: &str,
    node: &NodeName,
    owner: Option<&OwnerReference>,
    Reported { service, interfaces }: &Reported,
) -> ServiceL2Status {
    let mut status = ServiceL2Status::new(name, ServiceL2StatusSpec::default());
    status.metadata.labels = Some(labels(node, service));
    status.metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
    let interfaces = match interfaces {
        Interfaces::All => vec![],
        Interfaces::Only(names) => {
            names.iter().map(|name| InterfaceInfo { name: name.as_str().to_owned() }).collect()
        }
    };
    status.status = Some(ServiceL2StatusStatus {
        node: node.as_str().to_owned(),
        service_name: service.name.to_string(),
        service_namespace: service.namespace.to_string(),
        interfaces,
    });
    status
}

/// Always the same for a node and a Service, so that a restarted speaker finds what it wrote.
pub(crate) fn name(node: &NodeName, service: &ServiceKey) -> String {
    object_name("l2", node, service)
}

fn object_name(protocol: &str, node: &NodeName, service: &ServiceKey) -> String {
    let hash = Sha256::digest(format!("{node}#{service}"));
    hash[..8].iter().fold(format!("{protocol}-"), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a string takes all");
        name
    })
}

/// By which people and tools find the reports on a Service or a node.
fn labels(node: &NodeName, service: &ServiceKey) -> BTreeMap<String, String> {
    let labels = [
        (names::ANNOUNCING_NODE, node.as_str()),
        (names::SERVICE_NAME, &service.name),
        (names::SERVICE_NAMESPACE, &service.namespace),
    ];
    labels.map(|(key, value)| (key.to_owned(), label_value(value))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(node: &NodeName, service: &ServiceKey, interfaces: Interfaces) -> ServiceL2Status {
        let reported = Reported { service: service.clone(), interfaces };
        status(&name(node, service), node, None, &reported)
    }

    #[test]
    fn a_status_says_which_service_is_announced_where() {
        let service = ServiceKey::new("prod", "web");
        let only = Interfaces::only(["eth0", "eth1"].map(Into::into));
        let said = status_of(&"n1".into(), &service, only).status.unwrap();
        assert_eq!((said.node.as_str(), said.service_name.as_str()), ("n1", "web"));
        assert_eq!(said.interfaces.iter().map(|i| &i.name[..]).collect::<Vec<_>>(), ["eth0", "eth1"]);
        let all = status_of(&"n1".into(), &service, Interfaces::All);
        assert!(all.status.unwrap().interfaces.is_empty());
    }

    #[test]
    fn a_status_has_a_name_by_node_and_service() {
        let service = ServiceKey::new("prod", "web");
        let one = name(&"n1".into(), &service);
        assert!(one.starts_with("l2-") && one.len() == 19, "{one}");
        assert_eq!(name(&"n1".into(), &service), one);
        assert_ne!(name(&"n2".into(), &service), one);
    }

    #[test]
    fn a_node_with_a_long_name_has_a_status_that_the_api_server_takes() {
        let node = NodeName::new("n".repeat(253));
        let status = status_of(&node, &ServiceKey::new("prod", "web"), Interfaces::All);
        let labels = status.metadata.labels.unwrap();
        assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
        assert_eq!(status.status.unwrap().node, node.as_str());
    }
}

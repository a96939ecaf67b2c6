//! Who this program is in the cluster.

use std::fs;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::timeout;
use tracing::debug;

use crate::REQUEST_TIMEOUT;

/// Namespace and Pod of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Where the configuration, the Lease and the fellow programs are.
    pub namespace: String,
    /// This program's own Pod, when it runs in one.
    pub pod_name: Option<String>,
    /// Which Pod of that name.
    pub pod_uid: Option<String>,
}

const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const DEFAULT_NAMESPACE: &str = "metallb-system";

impl Identity {
    /// Fills in what was not given: the namespace of the service account, else `metallb-system`.
    pub fn new(namespace: Option<String>, pod_name: Option<String>) -> Self {
        let given = |text: Option<String>| text.filter(|t| !t.trim().is_empty());
        let from_account = || given(fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok());
        let namespace =
            given(namespace).or_else(from_account).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Self { namespace: namespace.trim().to_owned(), pod_name: given(pod_name), pod_uid: None }
    }

    /// The same in the Pod with this id.
    pub fn in_pod(mut self, uid: Option<String>) -> Self {
        self.pod_uid = uid.filter(|uid| !uid.is_empty());
        self
    }

    /// The Pod as the owner of what this program makes for others to see: when the Pod goes, so does that.
    pub fn owner(&self) -> Option<OwnerReference> {
        let (name, uid) = (self.pod_name.clone()?, self.pod_uid.clone()?);
        let (api_version, kind) = ("v1".to_owned(), "Pod".to_owned());
        Some(OwnerReference { api_version, kind, name, uid, ..OwnerReference::default() })
    }

    /// What has made the Pod, such as its ReplicaSet, as the owner of what is to outlive the Pod and to go with the
    /// installation; the Pod itself, where nothing has made it or that cannot be seen.
    pub async fn installation(&self, client: &Client) -> Option<OwnerReference> {
        let owner = self.owner()?;
        let api: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        // A list, since that is what there is a right for.
        let named = ListParams::default().fields(&format!("metadata.name={}", owner.name));
        let listed = match timeout(REQUEST_TIMEOUT, api.list_metadata(&named)).await {
            Ok(Ok(pods)) => pods.items,
            Ok(Err(error)) => {
                debug!(%error, "it cannot be seen what has made this Pod");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let this = listed.into_iter().find(|pod| pod.metadata.uid.as_ref() == Some(&owner.uid));
        let makers = this.and_then(|pod| pod.metadata.owner_references).into_iter().flatten();
        let maker = makers.into_iter().find(|maker| maker.controller == Some(true));
        let plain = |maker| OwnerReference { controller: None, block_owner_deletion: None, ..maker };
        Some(maker.map_or(owner, plain))
    }

    /// The Pod, to tell about.
    pub fn reference(&self) -> Option<ObjectReference> {
        let (kind, api_version) = (Some("Pod".to_owned()), Some("v1".to_owned()));
        let (namespace, uid) = (Some(self.namespace.clone()), self.pod_uid.clone());
        let name = Some(self.pod_name.clone()?);
        Some(ObjectReference { kind, api_version, namespace, name, uid, ..ObjectReference::default() })
    }

    /// A name for this program that differs from its fellows': the Pod's, else the host's with the process
    /// id.
    pub fn instance(&self) -> String {
        let host = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        self.pod_name.clone().unwrap_or_else(|| format!("{}-{}", host().trim(), std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_none() {
        let identity = Identity::new(Some(String::new()), Some(String::new()));
        assert_eq!(
            identity,
            Identity { namespace: DEFAULT_NAMESPACE.to_owned(), pod_name: None, pod_uid: None }
        );
        assert_eq!(Identity::new(Some("lb".into()), None).namespace, "lb");
    }

    #[test]
    fn a_pod_owns_what_it_makes_if_it_is_known_which_one_it_is() {
        let identity = Identity::new(None, Some("controller-1".into()));
        assert_eq!(identity.owner(), None);
        let owner = identity.in_pod(Some("7".into())).owner().unwrap();
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()),
            ("Pod", "controller-1", "7")
        );
    }
}

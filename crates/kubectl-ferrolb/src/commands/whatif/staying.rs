//! What a drain leaves on a node.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use objects::SliceKey;
use slim::Pod;

use crate::client::Failure;
use crate::cluster::Cluster;

/// The endpoints that stay on a node which is drained, those of Pods that DaemonSets run: by slice, and which of it. Or why
/// they cannot be known.
pub(crate) struct Staying(pub(crate) Result<BTreeSet<(SliceKey, usize)>, String>);

impl Staying {
    /// Finds out which Pods stay, and which endpoints they are.
    pub(crate) async fn on(cluster: &Cluster, node: &str) -> Self {
        let found = async {
            let pods: Vec<Pod> = cluster.all().await?;
            let slices: Vec<EndpointSlice> = cluster.all().await?;
            let stay = pods.iter().filter(|pod| pod.spec.node_name.as_deref() == Some(node));
            let stay = stay.filter(|pod| pod.is_of_a_daemon_set());
            let stay: BTreeSet<_> =
                stay.map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any())).collect();
            let mut staying = BTreeSet::new();
            for slice in slices {
                let namespace = slice.namespace().unwrap_or_default();
                let key = SliceKey::new(namespace.as_str(), slice.name_any());
                for (index, endpoint) in slice.endpoints.into_iter().enumerate() {
                    let pod = endpoint.target_ref.filter(|it| it.kind.as_deref() == Some("Pod"));
                    if pod.is_some_and(|it| stay.contains(&(namespace.clone(), it.name.unwrap_or_default())))
                    {
                        staying.insert((key.clone(), index));
                    }
                }
            }
            Ok(staying)
        };
        Self(found.await.map_err(|failure: Failure| failure.to_string()))
    }

    pub(super) fn has(&self, slice: &SliceKey, index: usize) -> bool {
        self.0.as_ref().is_ok_and(|staying| staying.contains(&(slice.clone(), index)))
    }
}

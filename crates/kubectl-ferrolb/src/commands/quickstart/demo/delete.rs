//! `quickstart --demo-delete`: removes what the demo has made in a namespace, and nothing else.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::manifests::NAME;
use super::{Seen, is_ours, kind_of};
use crate::client::{self, Failure, Why};
use crate::cluster::Cluster;
use crate::output::Tone;

/// Removes both objects; what keeps one keeps the other not.
pub(super) async fn run(cluster: &Cluster, namespace: &str) -> Seen {
    let mut seen = Seen::default();
    remove::<Service>(cluster, namespace, &mut seen).await;
    remove::<Deployment>(cluster, namespace, &mut seen).await;
    seen
}

async fn remove<K>(cluster: &Cluster, namespace: &str, seen: &mut Seen)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (kind, title) = (kind_of::<K>(), format!("{namespace}/{NAME}"));
    let api: Api<K> = Api::namespaced(cluster.client.clone(), namespace);
    let there = match client::get(&api, namespace, NAME).await {
        Ok(Some(there)) => there,
        Ok(None) => return seen.saw(kind, format!("{title} is not there"), Tone::Plain),
        Err(failure) => return seen.failures.push(failure.to_string()),
    };
    if !is_ours(&there) {
        seen.saw(kind, format!("{title} was not made by this command, and is left as it is"), Tone::Bad);
        seen.problem = true;
        return;
    }
    // That one and no other of its name which somebody may have made meanwhile.
    let preconditions = Preconditions { uid: there.uid(), resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(NAME, &parameters).await.map_err(|error| Why::of(&error)) {
        Ok(_) => seen.saw(kind, format!("{title} deleted"), Tone::Good),
        Err(Why::NotFound) => seen.saw(kind, format!("{title} is not there"), Tone::Plain),
        Err(why) => {
            let failure = Failure {
                verb: "delete",
                resource: client::resource::<K>(),
                namespace: Some(namespace.to_owned()),
                why,
            };
            seen.failures.push(failure.to_string());
        }
    }
}

//! Status writes: one PATCH each, which replaces the version that was decided on and no other.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use api::names::{ALLOCATED_FROM_POOL, PREVIOUS_IPS};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use kubekit::slim::Service;
use kubekit::{REQUEST_TIMEOUT, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::index::{Write, Written};

/// A write of a Service's status that has ended.
pub(crate) struct Ended {
    pub(crate) write: Write,
    pub(crate) result: Written,
    pub(crate) took: Duration,
}

/// Writes the status of a Service, and the annotation that goes with it.
pub(crate) async fn service_status(client: Client, write: Write) -> Ended {
    let started = Instant::now();
    let api: Api<Service> = Api::namespaced(client, &write.key.namespace);
    let (name, patch) = (write.key.name.to_string(), Patch::Merge(patch(&write)));
    let params = PatchParams::default();
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, api.patch_status(&name, &params, &patch)).await;
    let service = &write.key;
    let result = match answer {
        Ok(Ok(written)) => {
            match &write.assignment {
                Some(a) => info!(%service, ips = ?a.ips, pool = %a.pool, "address assigned"),
                None => info!(%service, "address withdrawn"),
            }
            Written::Done(Version::of(&written))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Written::Conflict,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Written::Gone,
        Ok(Err(error)) => {
            warn!(%service, %error, "status not written, trying again");
            Written::Failed
        }
        Err(_) => {
            warn!(%service, "status not written: no answer in time, trying again");
            Written::Failed
        }
    };
    Ended { write, result, took: started.elapsed() }
}

/// The status subresource takes the annotation too, so one request does both.
fn patch(write: &Write) -> Value {
    let ingress =
        write.assignment.as_ref().map(|a| a.ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>());
    let pool = write.assignment.as_ref().map(|a| a.pool.as_str());
    let previous: Vec<String> = write.previous.iter().map(ToString::to_string).collect();
    let previous = (!previous.is_empty()).then(|| previous.join(","));
    json!({
        "metadata": {
            "resourceVersion": write.version.as_str(),
            "annotations": {ALLOCATED_FROM_POOL: pool, PREVIOUS_IPS: previous},
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// A write did not succeed, and the log says why.
pub(crate) struct NotWritten;

/// Writes the status of a configuration object.
pub(crate) async fn status<K>(
    client: Client,
    about: ObjectReference,
    status: impl Serialize,
) -> Result<(), NotWritten>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client, about.namespace.as_deref().unwrap_or_default());
    let (kind, name) = (about.kind, about.name.unwrap_or_default());
    let patch =
        Patch::Merge(json!({"metadata": {"resourceVersion": about.resource_version}, "status": status}));
    let params = PatchParams::default();
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, api.patch_status(&name, &params, &patch)).await;
    match answer {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => debug!(kind, name, %error, "status not written"),
        Err(_) => debug!(kind, name, "status not written: no answer in time"),
    }
    Err(NotWritten)
}

#[cfg(test)]
mod tests {
    use ipam::{Assignment, PoolName, ServiceKey};

    use super::*;

    #[test]
    fn a_patch_names_the_version_and_replaces_the_whole_list() {
        let assignment = Assignment { ips: vec!["192.0.2.1".parse().unwrap()], pool: PoolName::new("p") };
        let write = |assignment, previous: &[&str]| Write {
            key: ServiceKey::new("ns", "a"),
            version: "7".into(),
            before: Vec::new(),
            assignment,
            previous: previous.iter().map(|ip| ip.parse().unwrap()).collect(),
        };
        assert_eq!(
            patch(&write(Some(assignment), &[])),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {
                    "metallb.io/ip-allocated-from-pool": "p", "ferrolb.io/previous-ips": null,
                }},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            })
        );
        assert_eq!(
            patch(&write(None, &["192.0.2.1", "fd00::1"])),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {
                    "metallb.io/ip-allocated-from-pool": null, "ferrolb.io/previous-ips": "192.0.2.1,fd00::1",
                }},
                "status": {"loadBalancer": {"ingress": null}},
            })
        );
    }
}

//! Status writes: one PATCH each, which replaces the version that was decided on and no other.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use api::names::{ALLOCATED_FROM_POOL, NODE_ADDRESSES};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use kubekit::write::{Answer, Intent, Object, Writes};
use kubekit::{REQUEST_TIMEOUT, Version};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use slim::Service;
use tracing::info;
use translation::{Origin, previous};

use crate::index::{Write, Written};

/// A write of a Service's status that has ended.
pub(crate) struct Ended {
    pub(crate) write: Write,
    pub(crate) result: Written,
    pub(crate) took: Duration,
}

/// Writes the status of a Service, and the annotation that goes with it.
pub(crate) async fn service_status(client: Client, writes: Writes, write: Write) -> Ended {
    let started = Instant::now();
    let api: Api<Service> = Api::namespaced(client, &write.key.namespace);
    let (name, patch) = (write.key.name.to_string(), Patch::Merge(patch(&write)));
    let (params, service) = (PatchParams::default(), &write.key);
    let object = Object::new("Service", &*service.namespace, &*service.name);
    let request = api.patch_status(&name, &params, &patch);
    let result = match writes.perform(&object, Intent::Change, REQUEST_TIMEOUT, request).await {
        Answer::Done(written) => {
            match &write.assignment {
                Some(a) => info!(%service, ips = ?a.ips, pool = %a.pool, "address assigned"),
                None => info!(%service, "address withdrawn"),
            }
            Written::Done(Version::of(&written))
        }
        Answer::Conflict => Written::Conflict,
        Answer::Gone => Written::Gone,
        Answer::Refused(failure) => Written::Refused(failure.message),
        Answer::Unavailable(failure) => Written::Failed(failure.code.and(Some(failure.message))),
    };
    Ended { write, result, took: started.elapsed() }
}

/// The status subresource takes the annotation too, so one request does both.
fn patch(write: &Write) -> Value {
    let ingress =
        write.assignment.as_ref().map(|a| a.ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>());
    let pool = write.assignment.as_ref().map(|a| a.pool.as_str());
    let previous = previous::write(&write.previous, write.uid.as_deref());
    let of_nodes = match write.origin {
        Origin::AddressPool => None,
        Origin::NodePool => Some("true"),
    };
    json!({
        "metadata": {
            "resourceVersion": write.version.as_str(),
            "annotations": {ALLOCATED_FROM_POOL: pool, previous::ANNOTATION: previous, NODE_ADDRESSES: of_nodes},
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

/// A write of the status of a configuration object that has ended.
pub(crate) struct StatusEnded {
    pub(crate) object: Object,
    /// What was to be written.
    pub(crate) status: Value,
    /// What became of it: the version that the object is of now, where it went well.
    pub(crate) answer: Answer<Version>,
}

/// Writes the status of a configuration object.
pub(crate) async fn status<K>(
    client: Client,
    writes: Writes,
    about: ObjectReference,
    status: Value,
) -> StatusEnded
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let object = Object::from(&about);
    let api: Api<K> = Api::namespaced(client, &object.namespace);
    let patch =
        Patch::Merge(json!({"metadata": {"resourceVersion": about.resource_version}, "status": status}));
    let params = PatchParams::default();
    let request =
        async { api.patch_status(&object.name, &params, &patch).await.map(|written| Version::of(&written)) };
    let answer = writes.perform(&object, Intent::Change, REQUEST_TIMEOUT, request).await;
    StatusEnded { object, status, answer }
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
            uid: Some("u-1".to_owned()),
            version: "7".into(),
            before: Vec::new(),
            assignment,
            previous: previous.iter().map(|ip| ip.parse().unwrap()).collect(),
            origin: Origin::AddressPool,
        };
        assert_eq!(
            patch(&write(Some(assignment), &[])),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {
                    "metallb.io/ip-allocated-from-pool": "p", "ferrolb.io/previous-ips": null,
                    "ferrolb.io/node-addresses": null,
                }},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
            })
        );
        assert_eq!(
            patch(&write(None, &["192.0.2.1", "fd00::1"])),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {
                    "metallb.io/ip-allocated-from-pool": null, "ferrolb.io/previous-ips": "u-1/192.0.2.1,fd00::1",
                    "ferrolb.io/node-addresses": null,
                }},
                "status": {"loadBalancer": {"ingress": null}},
            })
        );
        let assignment = Assignment { ips: vec!["192.0.2.1".parse().unwrap()], pool: PoolName::new("p") };
        let of_nodes = Write { origin: Origin::NodePool, ..write(Some(assignment), &[]) };
        assert_eq!(patch(&of_nodes)["metadata"]["annotations"]["ferrolb.io/node-addresses"], "true");
    }
}

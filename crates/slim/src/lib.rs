//! Kubernetes objects with the fields that FerroLB reads, and no others: a full Service takes four times
//! the memory. Whatever is left out is skipped while decoding, and never written, since all writes are
//! patches.

mod metadata;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use metadata::metadata;
use serde::{Deserialize, Deserializer, Serialize};

/// A Service.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "v1::Service")]
pub struct Service {
    /// Name, labels, annotations and the like.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// What its user asks for.
    #[serde(default)]
    pub spec: ServiceSpec,
    /// What it has.
    #[serde(default)]
    pub status: ServiceStatus,
}

/// What the user of a Service asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Addresses inside the cluster, the primary family first; `None` for a headless Service.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// The primary one of them; the only one that very old objects have.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// `IPv4` and `IPv6`, the primary one first.
    pub ip_families: Vec<String>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    pub ip_family_policy: Option<String>,
    /// Ports to serve.
    pub ports: Vec<ServicePort>,
    /// Labels of the Pods behind it.
    pub selector: BTreeMap<String, String>,
    /// `Cluster` or `Local`.
    pub external_traffic_policy: Option<String>,
    /// An address that is asked for, the old way.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<String>,
    /// Which load balancer it is for.
    pub load_balancer_class: Option<String>,
    /// Where kube-proxy says, on each node, whether it has endpoints there; of policy `Local` only.
    pub health_check_node_port: Option<i32>,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name, by which endpoints say that they serve it; may be missing where it is the only one.
    pub name: Option<String>,
    /// 1 to 65535.
    pub port: i32,
    /// The port of the Pods, or the name that they have for it; the same number when missing.
    pub target_port: Option<IntOrString>,
    /// `TCP`, `UDP` or `SCTP`; TCP when missing.
    pub protocol: Option<String>,
    /// The port of all nodes that leads to it.
    pub node_port: Option<i32>,
}

/// What a Service has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Addresses from outside the cluster.
    pub load_balancer: LoadBalancerStatus,
}

/// Addresses of a Service from outside the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// One entry for each address.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// One address of a Service from outside the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerIngress {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// A name in its place, which FerroLB never writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `VIP`, which the API server fills in, or `Proxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_mode: Option<String>,
}

/// An EndpointSlice: some of the endpoints of a Service.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "discovery::EndpointSlice")]
pub struct EndpointSlice {
    /// The label `kubernetes.io/service-name` names the Service.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// The endpoints.
    #[serde(default, deserialize_with = "null_as_none")]
    pub endpoints: Vec<Endpoint>,
    /// The ports that all of them serve.
    #[serde(default, deserialize_with = "null_as_none")]
    pub ports: Vec<EndpointPort>,
}

/// The API server writes these lists of none as `null`, unlike all other lists here, which it leaves out.
fn null_as_none<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl EndpointSlice {
    /// The label that names the Service.
    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

    /// The Service that the endpoints are behind.
    pub fn service_name(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(Self::SERVICE_NAME).map(String::as_str)
    }
}

/// A port that the endpoints of a slice serve.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name of the port of the Service; missing or empty where that has none.
    pub name: Option<String>,
}

/// One endpoint of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Whether it takes traffic.
    pub conditions: EndpointConditions,
    /// The node that it runs on.
    pub node_name: Option<String>,
}

/// Whether an endpoint takes traffic.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Ready for traffic; a missing value means yes.
    pub ready: Option<bool>,
    /// Able to serve, though it may be about to stop.
    pub serving: Option<bool>,
}

impl Endpoint {
    /// Whether it can serve, as upstream decides it: ready, not known to be unready, or serving while it
    /// terminates.
    pub fn serves(&self) -> bool {
        self.is_ready() || self.conditions.serving.unwrap_or(false)
    }

    /// Whether it takes new traffic: one that terminates does not.
    pub fn is_ready(&self) -> bool {
        self.conditions.ready.unwrap_or(true)
    }
}

/// A Node.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "v1::Node")]
pub struct Node {
    /// Name and labels.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// What may run there.
    #[serde(default)]
    pub spec: NodeSpec,
    /// Conditions.
    #[serde(default)]
    pub status: NodeStatus,
}

/// What may run on a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What Pods must tolerate.
    pub taints: Vec<Taint>,
}

/// Something about a Node that Pods must tolerate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// What it is about.
    pub key: String,
    /// More of that.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// How a Node is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// `Ready`, `NetworkUnavailable` and others.
    pub conditions: Vec<Condition>,
    /// Where it can be reached.
    pub addresses: Vec<NodeAddress>,
}

impl NodeStatus {
    /// The address that the cluster knows the node by: the first of type `InternalIP`.
    pub fn internal_ip(&self) -> Option<&str> {
        self.addresses
            .iter()
            .find(|address| address.type_ == "InternalIP")
            .map(|address| &address.address[..])
    }

    /// All addresses that the cluster knows the node by, of whatever type; names are left out.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .filter_map(|address| Some(address.address.parse::<IpAddr>().ok()?.to_canonical()))
    }
}

/// An address of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname` and others.
    #[serde(rename = "type")]
    pub type_: String,
    /// The address.
    pub address: String,
}

/// A Pod.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "v1::Pod")]
pub struct Pod {
    /// Name, labels, deletion.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Where it runs.
    #[serde(default)]
    pub spec: PodSpec,
    /// Its address and conditions.
    #[serde(default)]
    pub status: PodStatus,
}

/// Where a Pod runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its node, once scheduled.
    pub node_name: Option<String>,
    /// Whether it is in the network of its node.
    pub host_network: bool,
}

/// How a Pod is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its address; when it uses the node's network, the one that the node had when it started.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// Its addresses, one of each family.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    /// The address of its node.
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    /// The addresses of its node, one of each family.
    #[serde(rename = "hostIPs")]
    pub host_ips: Vec<PodIp>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// `Ready` and others.
    pub conditions: Vec<Condition>,
}

/// An address of a Pod or of its node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

impl Pod {
    /// All addresses that what it sends may come from: its own, and those of its node, which take their place where the
    /// network of the Pods hides them.
    pub fn ips(&self) -> BTreeSet<IpAddr> {
        let PodStatus { pod_ip, pod_ips, host_ip, host_ips, .. } = &self.status;
        let lists = pod_ips.iter().chain(host_ips).map(|it| &it.ip);
        let ips = lists.chain(pod_ip).chain(host_ip).filter_map(|ip| ip.parse::<IpAddr>().ok());
        ips.map(|ip| ip.to_canonical()).collect()
    }

    /// Where it can be reached. In the network of its node that is the node's address, which kubelet keeps up to date,
    /// unlike `podIP`, which it writes once.
    pub fn ip(&self) -> Option<IpAddr> {
        let PodStatus { pod_ip, host_ip, .. } = &self.status;
        let ip = if self.spec.host_network { host_ip.as_ref().or(pod_ip.as_ref()) } else { pod_ip.as_ref() };
        ip?.parse().ok()
    }

    /// Whether it is ready and not on its way out.
    pub fn is_ready(&self) -> bool {
        self.metadata.deletion_timestamp.is_none() && is_true(&self.status.conditions, "Ready")
    }

    /// Whether a `DaemonSet` runs it, which puts another Pod on the node as soon as this one has gone.
    pub fn is_of_a_daemon_set(&self) -> bool {
        let owners = self.metadata.owner_references.iter().flatten();
        owners.filter(|owner| owner.controller == Some(true)).any(|owner| owner.kind == "DaemonSet")
    }
}

/// A condition of a Node or Pod.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
}

/// Whether a condition is known to be true.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|c| c.type_ == type_ && c.status == "True")
}

/// A Namespace, of which only the labels matter.
#[derive(Resource, Debug, Clone, Default, Deserialize)]
#[resource(inherit = "v1::Namespace")]
pub struct Namespace {
    /// Name and labels.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_read_from_what_the_api_server_sends() {
        let service: Service = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "default", "managedFields": [{"manager": "kubectl"}]},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 31000}],
                "selector": {"app": "web"}, "externalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}},
        }))
        .unwrap();
        assert_eq!(service.spec.type_, "LoadBalancer");
        assert_eq!(service.spec.cluster_ips, ["10.96.0.7"]);
        assert_eq!(service.status.load_balancer.ingress[0].ip.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn a_slice_without_endpoints_is_read() {
        for endpoints in [json!({}), json!({"endpoints": null}), json!({"endpoints": []})] {
            let mut slice = json!({"metadata": {"name": "web-1"}});
            slice.as_object_mut().unwrap().extend(endpoints.as_object().unwrap().clone());
            let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
            assert!(slice.endpoints.is_empty());
        }
    }

    #[test]
    fn an_endpoint_serves_when_ready_or_serving_and_silence_means_ready() {
        for (ready, serving, serves) in [
            (None, None, true),
            (Some(true), None, true),
            (Some(false), None, false),
            (Some(false), Some(true), true),
            (Some(false), Some(false), false),
        ] {
            let endpoint =
                Endpoint { conditions: EndpointConditions { ready, serving }, ..Default::default() };
            assert_eq!(endpoint.serves(), serves, "ready {ready:?}, serving {serving:?}");
        }
    }
}

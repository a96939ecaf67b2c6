//! Manifests of what tests create.

use lab::chart;
use serde_json::{Value, json};

/// The port that the Pods of `backend.yaml` listen on.
pub const TARGET_PORT: u16 = 8080;

/// One Pod on each node that answers requests, in a namespace of its own, and a Pod to send requests from.
pub const BACKEND: &str = include_str!("backend.yaml");

/// An IPAddressPool.
pub fn pool(name: &str, addresses: &[&str]) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": chart::NAMESPACE},
        "spec": {"addresses": addresses},
    })
}

/// An L2Advertisement of all pools.
pub fn advertisement() -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "L2Advertisement",
        "metadata": {"name": "all", "namespace": chart::NAMESPACE},
    })
}

/// A Service in front of the Pods of `backend.yaml`, on port 80, with more or other fields in its `spec`.
pub fn service(name: &str, spec: &Value) -> Value {
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": crate::NAMESPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": TARGET_PORT}]},
    });
    if let (Some(all), Some(more)) = (service["spec"].as_object_mut(), spec.as_object()) {
        all.extend(more.clone());
    }
    service
}

/// A Service of type LoadBalancer.
pub fn load_balancer(name: &str) -> Value {
    service(name, &json!({"type": "LoadBalancer"}))
}

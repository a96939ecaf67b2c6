//! What the fuzz targets call: what is read of objects of the API, and of what the speaker before hands over.

use kubekit::speakers::Speakers;

pub use crate::handover::fuzzing::{read as handover_read, take as handover_take};
use crate::objects::{self, LoadBalancerClass, Names, SeenService, SeenSlice};

/// Reads a Service.
pub fn service(service: &slim::Service) {
    let seen = SeenService::read(service, &LoadBalancerClass(None), &Names::default());
    assert!(seen.service.is_none_or(|service| !service.vips.is_empty()));
}

/// Reads a Node.
pub fn node(node: &slim::Node) {
    _ = (objects::read_node(node), objects::node_state(node));
    let mut speakers = Speakers::default();
    speakers.update_node("n".into(), Some(node));
    assert!(speakers.addresses(7946).len() == 1);
}

/// Reads a Pod.
pub fn pod(pod: &slim::Pod) {
    _ = objects::pod_state(pod);
    let mut speakers = Speakers::default();
    speakers.update(kubekit::Change::Apply(pod.clone()));
    assert!(speakers.listening_on(7946).len() <= speakers.addresses(7946).len());
}

/// Reads a slice of endpoints.
pub fn slice(slice: &slim::EndpointSlice) {
    _ = SeenSlice::read(slice, &Names::default());
}

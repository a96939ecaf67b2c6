//! What placement is told of Services, EndpointSlices and Nodes.

use std::net::IpAddr;

use api::names::{ALLOCATED_FROM_POOL, ALLOW_SHARED_IP};
use kube::ResourceExt;
use placement::{Endpoints, Network, Node, NodeName, Service, ServiceKey, Sharing, SliceKey, TrafficPolicy};

/// The Services that are ours: of type LoadBalancer and of this class, where `None` is the class of those
/// that name none.
#[derive(Debug, Clone)]
pub struct LoadBalancerClass(pub Option<String>);

impl LoadBalancerClass {
    /// What there is to announce of a Service; `None` if it is not ours or has no addresses yet.
    pub fn read(&self, service: &slim::Service) -> Option<Service> {
        if service.spec.type_ != "LoadBalancer" || service.spec.load_balancer_class != self.0 {
            return None;
        }
        let ingress = &service.status.load_balancer.ingress;
        // One that cannot be read spoils them all: the first address decides for the others.
        let vips = ingress.iter().map(|entry| address(entry.ip.as_deref()?)).collect::<Option<Vec<_>>>()?;
        if vips.is_empty() {
            return None;
        }
        let local = service.spec.external_traffic_policy.as_deref() == Some("Local");
        let shared = ALLOW_SHARED_IP.value(service.annotations()).is_some();
        Some(Service {
            key: service_key(service),
            labels: service.labels().clone(),
            vips,
            created: service.creation_timestamp().map(|time| time.0.as_second()),
            recorded_pool: service.annotations().get(ALLOCATED_FROM_POOL).map(|pool| pool.as_str().into()),
            traffic_policy: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            sharing: if shared { Sharing::Shared } else { Sharing::Sole },
        })
    }
}

/// An address; an IPv4 one that is written as IPv6 means the IPv4 one.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Which Service an object is.
pub fn service_key(service: &slim::Service) -> ServiceKey {
    ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any())
}

/// Which slice an object is.
pub fn slice_key(slice: &slim::EndpointSlice) -> SliceKey {
    SliceKey::new(slice.namespace().unwrap_or_default(), slice.name_any())
}

/// The Service of a slice and where its serving endpoints are; `None` for a slice of no Service.
pub fn read_slice(slice: &slim::EndpointSlice) -> Option<(ServiceKey, Endpoints)> {
    let service = ServiceKey::new(slice.namespace()?, slice.service_name()?);
    let serving = slice.endpoints.iter().filter(|endpoint| endpoint.serves());
    Some((service, serving.map(|endpoint| endpoint.node_name.as_deref().map(NodeName::from)).collect()))
}

/// What there is to know of a node.
pub fn read_node(node: &slim::Node) -> Node {
    let unavailable = slim::is_true(&node.status.conditions, "NetworkUnavailable");
    Node {
        name: node.name_any().into(),
        labels: node.labels().clone(),
        network: if unavailable { Network::Unavailable } else { Network::Available },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(class: Option<&str>, change: impl FnOnce(&mut Value)) -> Option<Service> {
        let mut service = json!({
            "metadata": {"name": "web", "namespace": "prod", "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T00:00:07Z",
                "annotations": {"metallb.io/ip-allocated-from-pool": "p"}},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]}},
        });
        change(&mut service);
        let service: slim::Service = serde_json::from_value(service).unwrap();
        LoadBalancerClass(class.map(str::to_owned)).read(&service)
    }

    #[test]
    fn a_service_is_read_with_its_addresses_in_order() {
        let expected = Service {
            key: ServiceKey::new("prod", "web"),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            vips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            created: Some(1_767_225_607),
            recorded_pool: Some("p".into()),
            traffic_policy: TrafficPolicy::Cluster,
            sharing: Sharing::Sole,
        };
        assert_eq!(read(None, |_| ()), Some(expected));
        let local = read(None, |s| s["spec"]["externalTrafficPolicy"] = json!("Local")).unwrap();
        assert_eq!(local.traffic_policy, TrafficPolicy::Local);
        for prefix in ["metallb.io", "metallb.universe.tf"] {
            let annotations = json!({format!("{prefix}/allow-shared-ip"): "key"});
            let shared = read(None, |s| s["metadata"]["annotations"] = annotations).unwrap();
            assert_eq!(shared.recorded_pool, None);
            assert_eq!(shared.sharing, Sharing::Shared);
        }
    }

    #[test]
    fn other_services_and_those_without_a_usable_address_are_left_alone() {
        for type_ in ["ClusterIP", "NodePort", "ExternalName"] {
            assert_eq!(read(None, |s| s["spec"]["type"] = json!(type_)), None);
        }
        for ingress in [
            json!([]),
            json!([{"hostname": "lb.example"}]),
            json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]),
            json!([{"ip": "192.0.2"}]),
        ] {
            assert_eq!(read(None, |s| s["status"]["loadBalancer"]["ingress"] = ingress), None);
        }
    }

    #[test]
    fn the_class_must_be_exactly_ours() {
        let of_class = |s: &mut Value| s["spec"]["loadBalancerClass"] = json!("example.com/lb");
        assert!(read(None, of_class).is_none());
        assert!(read(Some("example.com/lb"), of_class).is_some());
        assert!(read(Some("example.com/other"), of_class).is_none());
        assert!(read(Some("example.com/lb"), |_| ()).is_none());
    }

    #[test]
    fn a_slice_tells_where_its_serving_endpoints_are() {
        let slice: slim::EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-x1", "namespace": "prod", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"nodeName": "n1", "conditions": {"ready": true}},
                {"nodeName": "n2", "conditions": {"ready": false, "serving": false}},
                {"nodeName": "n3", "conditions": {"ready": false, "serving": true, "terminating": true}},
            ],
        }))
        .unwrap();
        let places = ["n1", "n3"].map(|node| Some(node.into()));
        let expected = (ServiceKey::new("prod", "web"), Endpoints::from_iter(places));
        assert_eq!(read_slice(&slice), Some(expected));
        assert_eq!(slice_key(&slice), SliceKey::new("prod", "web-x1"));
    }

    #[test]
    fn a_node_is_available_unless_its_condition_says_otherwise() {
        let read = |status: &str| {
            let conditions = json!([{"type": "NetworkUnavailable", "status": status}]);
            let node = json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}});
            read_node(&serde_json::from_value(node).unwrap()).network
        };
        assert_eq!(
            ["True", "False", "Unknown"].map(read),
            [Network::Unavailable, Network::Available, Network::Available]
        );
    }
}

//! What placement is told of Services, EndpointSlices and Nodes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use api::names::{ALLOCATED_FROM_POOL, ALLOW_SHARED_IP, MDNS_NAME, NODE_ADDRESSES};
use kube::ResourceExt;
use placement::{
    Endpoints, Network, Node, NodeName, PoolName, Service, ServiceKey, Sharing, SliceKey, TrafficPolicy,
};

use crate::bounded;

/// The Services that are ours: of type LoadBalancer and of this class, where `None` is the class of those
/// that name none.
#[derive(Debug, Clone)]
pub struct LoadBalancerClass(pub Option<String>);

impl LoadBalancerClass {
    /// What there is to announce of a Service; `None` if it is not ours or has no addresses yet.
    fn read(&self, key: &ServiceKey, service: &slim::Service, names: &Names) -> Option<Service> {
        if service.spec.type_ != "LoadBalancer" || service.spec.load_balancer_class != self.0 {
            return None;
        }
        // The nodes answer for those themselves.
        if service.annotations().contains_key(NODE_ADDRESSES) {
            return None;
        }
        let ingress = &service.status.load_balancer.ingress;
        // One that cannot be read spoils them all: the first address decides for the others.
        let vips = ingress.iter().map(|entry| address(entry.ip.as_deref()?)).collect::<Option<Vec<_>>>();
        let mut vips = vips.filter(|vips| !vips.is_empty())?;
        vips.shrink_to_fit();
        let pool = service.annotations().get(ALLOCATED_FROM_POOL);
        let local = service.spec.external_traffic_policy.as_deref() == Some("Local");
        let shared = ALLOW_SHARED_IP.value(service.annotations()).is_some();
        Some(Service {
            key: key.clone(),
            labels: service.labels().clone(),
            vips,
            created: service.creation_timestamp().map(|time| time.0.as_second()),
            recorded_pool: pool.map(|pool| PoolName::new(names.of(bounded::name(pool)))),
            traffic_policy: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
            sharing: if shared { Sharing::Shared } else { Sharing::Sole },
        })
    }
}

/// Which Service an object is.
pub fn service_key(service: &slim::Service) -> ServiceKey {
    ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any())
}

/// What is seen of a Service.
#[derive(Debug, Clone)]
pub struct SeenService {
    /// Which it is.
    pub key: ServiceKey,
    /// Its uid, if it has one.
    pub uid: Option<Box<str>>,
    /// What there is to announce of it.
    pub service: Option<Service>,
    /// The name that it asks for on the LAN, as it was written, if there is something to announce of it.
    pub mdns_name: Option<Box<str>>,
    /// Where kube-proxy says on each node whether it serves it there, if anywhere.
    pub health_port: Option<NonZeroU16>,
}

/// What is seen of an EndpointSlice.
#[derive(Debug, Clone)]
pub struct SeenSlice {
    /// Which it is.
    pub key: SliceKey,
    /// Its Service, and where its serving endpoints are; `None` for a slice of no Service.
    pub endpoints: Option<(ServiceKey, Endpoints)>,
}

impl SeenService {
    /// Reads a Service.
    pub fn read(object: &slim::Service, class: &LoadBalancerClass, names: &Names) -> Self {
        let key = ServiceKey::new(names.of(object.namespace().unwrap_or_default()), object.name_any());
        let service = class.read(&key, object, names);
        let mdns_name = object.annotations().get(MDNS_NAME).filter(|_| service.is_some());
        let mdns_name = mdns_name.map(|name| bounded::name(name).into());
        let port = object.spec.health_check_node_port.filter(|_| service.is_some());
        let health_port = port.and_then(|port| u16::try_from(port).ok()).and_then(NonZeroU16::new);
        let uid = object.metadata.uid.as_deref().map(Into::into);
        Self { key, uid, service, mdns_name, health_port }
    }
}

impl SeenSlice {
    /// Reads a slice.
    pub fn read(object: &slim::EndpointSlice, names: &Names) -> Self {
        let namespace = names.of(object.namespace().unwrap_or_default());
        let endpoints = object.service_name().map(|service| {
            let node =
                |endpoint: &slim::Endpoint| Some(NodeName::new(names.of(endpoint.node_name.as_deref()?)));
            let (ready, others): (Vec<_>, Vec<_>) = object.endpoints.iter().partition(|it| it.is_ready());
            let terminating = others.into_iter().filter(|it| it.serves()).map(node);
            let endpoints = Endpoints::new(ready.into_iter().map(node), terminating);
            (ServiceKey::new(Arc::clone(&namespace), service), endpoints)
        });
        Self { key: SliceKey::new(namespace, object.name_any()), endpoints }
    }
}

/// Names that come again and again, of namespaces, pools and nodes: each is kept once.
#[derive(Debug, Default)]
pub struct Names(RefCell<HashSet<Arc<str>>>);

impl Names {
    fn of(&self, name: impl AsRef<str>) -> Arc<str> {
        let (name, mut names) = (name.as_ref(), self.0.borrow_mut());
        if let Some(known) = names.get(name) {
            return Arc::clone(known);
        }
        if names.len() == names.capacity() {
            names.retain(|name| Arc::strong_count(name) > 1);
        }
        let name: Arc<str> = name.into();
        names.insert(Arc::clone(&name));
        name
    }
}

/// An address; an IPv4 one that is written as IPv6 means the IPv4 one.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
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
        let class = LoadBalancerClass(class.map(str::to_owned));
        SeenService::read(&service, &class, &Names::default()).service
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
    fn addresses_of_nodes_are_never_announced() {
        let marked =
            |s: &mut Value| s["metadata"]["annotations"]["ferrolb.io/node-addresses"] = json!("true");
        assert_eq!(read(None, marked), None);
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
                {"nodeName": "n1", "conditions": {"ready": true}},
            ],
        }))
        .unwrap();
        let seen = SeenSlice::read(&slice, &Names::default());
        let (service, endpoints) = seen.endpoints.unwrap();
        let expected = Endpoints::new([Some("n1".into()), Some("n1".into())], [Some("n3".into())]);
        assert!(expected.on(&"n3".into()) && !expected.ready_on(&"n3".into()));
        assert!(expected.ready_on(&"n1".into()) && !expected.on(&"n2".into()));
        assert_eq!((service, &endpoints), (ServiceKey::new("prod", "web"), &expected));
        assert_eq!(["n0", "n1", "n2", "n3", "n4"].map(|it| endpoints.count_on(&it.into())), [0, 2, 0, 1, 0]);
        assert_eq!(seen.key, SliceKey::new("prod", "web-x1"));
    }

    #[test]
    fn a_name_is_kept_once_and_not_when_nobody_needs_it_any_more() {
        let names = Names::default();
        let first = names.of("prod");
        assert!(Arc::ptr_eq(&first, &names.of("prod")));
        (0..10_000).for_each(|number| _ = names.of(number.to_string()));
        assert!(Arc::ptr_eq(&first, &names.of("prod")));
        assert!(names.0.borrow().len() < 100, "{} names", names.0.borrow().len());
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

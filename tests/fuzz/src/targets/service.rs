//! Services, as tenants write them.

use api::IPAddressPool;
use arbitrary::Arbitrary;
use serde_json::{Map, Value, json};
use slim::Service;

use super::{is_quoted, structured};

/// What can be written into annotations and fields that the controller reads.
#[derive(Debug, Arbitrary)]
struct Wishes<'a> {
    annotations: Vec<(u8, &'a str)>,
    load_balancer_ip: Option<&'a str>,
    cluster_ips: Vec<&'a str>,
    policy: Option<&'a str>,
    selector: Vec<(&'a str, &'a str)>,
    ports: Vec<(u16, Option<&'a str>)>,
    ingress: Vec<(Option<&'a str>, Option<&'a str>)>,
    local: bool,
}

const ANNOTATIONS: [&str; 8] = [
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
    "metallb.io/ip-allocated-from-pool",
    "ferrolb.io/previous-ips",
];

fn texts<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect::<Map<_, _>>())
}

/// Two Services that wish the same.
pub fn annotations(bytes: &[u8]) {
    let Some(wishes) = structured::<Wishes>(bytes) else { return };
    let annotations = wishes
        .annotations
        .iter()
        .map(|(which, text)| (ANNOTATIONS[usize::from(*which) % ANNOTATIONS.len()], *text));
    let ports: Vec<Value> =
        wishes.ports.iter().map(|(port, protocol)| json!({"port": port, "protocol": protocol})).collect();
    let ingress: Vec<Value> =
        wishes.ingress.iter().map(|(ip, hostname)| json!({"ip": ip, "hostname": hostname})).collect();
    let cluster_ips = if wishes.cluster_ips.is_empty() { vec!["10.96.0.1"] } else { wishes.cluster_ips };
    let object = json!({
        "metadata": {"name": "web", "namespace": "prod", "uid": "u", "resourceVersion": "1", "annotations": texts(annotations)},
        "spec": {
            "type": "LoadBalancer", "clusterIPs": cluster_ips, "ipFamilyPolicy": wishes.policy, "ports": ports,
            "loadBalancerIP": wishes.load_balancer_ip, "selector": texts(wishes.selector),
            "externalTrafficPolicy": if wishes.local { "Local" } else { "Cluster" },
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    take_in(&object);
}

/// Any JSON in place of a Service.
pub fn json(bytes: &[u8]) {
    if let Ok(object) = serde_json::from_slice::<Value>(bytes) {
        take_in(&object);
    }
}

fn take_in(object: &Value) {
    let Ok(service) = serde_json::from_value::<Service>(object.clone()) else { return };
    speaker::fuzzing::service(&service);
    let mut other = service.clone();
    other.metadata.name = Some("other".to_owned());
    other.metadata.namespace = Some("tenant".to_owned());
    let pool = json!({
        "metadata": {"name": "lan", "namespace": "lb", "uid": "p", "resourceVersion": "1"},
        "spec": {"addresses": ["192.0.2.0/30", "2001:db8::/126"]},
    });
    let pool: IPAddressPool = serde_json::from_value(pool).expect("a pool");
    for message in controller::fuzzing::messages(vec![pool], &[service, other]) {
        assert!(is_quoted(&message), "{message:?}");
    }
}

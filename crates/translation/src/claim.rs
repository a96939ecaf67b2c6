//! What a Service wants of FerroLB, read from the object once and for all.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::names::{ADDRESS_POOL, ADDRESS_RESERVATION, ALLOW_SHARED_IP, Annotation, LOAD_BALANCER_IPS};
use ipam::{AddressRequest, Families, Family, PoolName, Port, Protocol, Request, ReservationKey, Sharing};
use objects::look_alike;
use objects::text::quoted;
use slim::{Service, ServicePort};

use crate::bounded;

/// Whether a Service is FerroLB's to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is.
    Ours(Box<Request>),
    /// It is, but nothing can be done for it as it stands.
    Unservable(Unservable),
    /// It is of another type than `LoadBalancer`.
    OtherType,
    /// It is for the load balancer of another class.
    OtherClass,
}

/// Why no address could be right for a Service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unservable {
    /// It has none.
    #[error(
        "the Service has no cluster IP, so there is no family to choose an address of: remove clusterIP: None"
    )]
    NoFamily,
    /// It requires two families and has one.
    #[error("the Service requires dual stack, but the cluster gave it one cluster IP only: {0}")]
    OneFamily(IpAddr),
    /// It has something else in its place.
    #[error("{} is no cluster IP", quoted(.0))]
    BadAddress(String),
}

/// Between which Services addresses are shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharingScope {
    /// Those of all namespaces.
    #[default]
    Cluster,
    /// Those of one namespace.
    Namespace,
}

/// What an operator sets about Services.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The load balancer class that is served; without one, Services that name no class.
    pub class: Option<String>,
    /// Between whom addresses are shared.
    pub sharing: SharingScope,
}

impl Claim {
    /// Reads a Service.
    pub fn read(service: &Service, rules: &Rules) -> Self {
        let spec = &service.spec;
        if spec.type_ != "LoadBalancer" {
            return Self::OtherType;
        }
        if spec.load_balancer_class != rules.class {
            return Self::OtherClass;
        }
        let families = match families(service) {
            Ok(families) => families,
            Err(why) => return Self::Unservable(why),
        };
        let empty = BTreeMap::new();
        let annotations = service.metadata.annotations.as_ref().unwrap_or(&empty);
        Self::Ours(Box::new(Request {
            labels: service.metadata.labels.clone().unwrap_or_default(),
            families,
            addresses: addresses(namespace(service), annotations, spec.load_balancer_ip.as_deref()),
            sharing: Sharing {
                key: text(ALLOW_SHARED_IP, annotations).map(bounded::key),
                backend: backend(service),
                namespace: match rules.sharing {
                    SharingScope::Cluster => None,
                    SharingScope::Namespace => Some(namespace(service).into()),
                },
            },
            ports: spec.ports.iter().filter_map(port).collect(),
        }))
    }
}

/// The first family of a Service, in whose order its addresses are listed.
pub fn primary_family(service: &Service) -> Family {
    match service.spec.ip_families.first().map(String::as_str) {
        Some("IPv6") => Family::V6,
        Some(_) | None => Family::V4,
    }
}

/// The ports of all nodes that lead to a Service.
pub fn node_ports(service: &Service) -> Box<[Port]> {
    let of_node = |it: &ServicePort| {
        let number = it.node_port.filter(|number| *number > 0)?;
        port(&ServicePort { port: number, ..it.clone() })
    };
    service.spec.ports.iter().filter_map(of_node).collect()
}

fn families(service: &Service) -> Result<Families, Unservable> {
    let spec = &service.spec;
    let texts: Vec<&String> = match spec.cluster_ips.as_slice() {
        [] => spec.cluster_ip.iter().collect(),
        several => several.iter().collect(),
    };
    let parse = |text: &&String| match text.as_str() {
        "" | "None" => Err(Unservable::NoFamily),
        text => text.parse::<IpAddr>().map_err(|_| Unservable::BadAddress(bounded::name(text).to_owned())),
    };
    let ips = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let policy = spec.ip_family_policy.as_deref();
    match ips.as_slice() {
        [] => Err(Unservable::NoFamily),
        [one] if policy == Some("RequireDualStack") => Err(Unservable::OneFamily(*one)),
        [one] => Ok(Families::Single(Family::of(*one))),
        [primary, ..] if policy == Some("PreferDualStack") => {
            Ok(Families::PreferDual { primary: Family::of(*primary) })
        }
        _ => Ok(Families::RequireDual),
    }
}

/// What is asked for. One that cannot be read is an answer too: it must not be taken for no request at all.
fn addresses(namespace: &str, annotations: &BTreeMap<String, String>, field: Option<&str>) -> AddressRequest {
    let pool = text(ADDRESS_POOL, annotations).map(bounded::name).map(PoolName::new);
    let annotation = text(LOAD_BALANCER_IPS, annotations);
    let field = field.filter(|ip| !ip.is_empty());
    let reservation = annotations.get(ADDRESS_RESERVATION).map(|name| name.trim());
    if let Some(name) = reservation.filter(|name| !name.is_empty()) {
        let others = [
            pool.as_ref().map(|_| ADDRESS_POOL.name()),
            annotation.map(|_| LOAD_BALANCER_IPS.name()),
            field.map(|_| "spec.loadBalancerIP".to_owned()),
        ];
        return match others.into_iter().flatten().next() {
            None => AddressRequest::Reserved(ReservationKey::new(namespace, bounded::name(name))),
            Some(other) => AddressRequest::Unreadable {
                why: format!("annotation {ADDRESS_RESERVATION} and {other} are both set: remove one of them"),
                pool: None,
            },
        };
    }
    let ips = match (annotation, field) {
        (None, None) => return pool.map_or(AddressRequest::Anything, AddressRequest::From),
        (Some(_), Some(_)) => Err(format!(
            "annotation {} and spec.loadBalancerIP are both set: remove one of them",
            LOAD_BALANCER_IPS.name()
        )),
        (Some(list), None) => requested_ips(list)
            .map_err(|why| format!("annotation {} {} {why}", LOAD_BALANCER_IPS.name(), quoted(list))),
        // The field holds one address, and not even a blank besides.
        (None, Some(ip)) => ip.parse::<IpAddr>().map(|ip| vec![ip.to_canonical()]).map_err(|_| {
            let slip = look_alike(ip).map(|it| format!(": {it}")).unwrap_or_default();
            format!("spec.loadBalancerIP {} is not an address{slip}", quoted(ip))
        }),
    };
    match ips {
        Ok(ips) => AddressRequest::Exactly { ips, pool },
        Err(why) => AddressRequest::Unreadable { why, pool },
    }
}

/// The value of an annotation, without the line end that a block of YAML brings along.
fn text(annotation: Annotation, annotations: &BTreeMap<String, String>) -> Option<&str> {
    annotation.value(annotations).map(str::trim).filter(|text| !text.is_empty())
}

fn requested_ips(list: &str) -> Result<Vec<IpAddr>, String> {
    let parse = |text: &str| {
        let text = text.trim();
        text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| slip(text))
    };
    let mut ips = list.split(',').map(parse).collect::<Result<Vec<_>, _>>().map_err(|slip| {
        let slip = look_alike(list).map_or_else(|| slip.to_owned(), |it| format!(": {it}"));
        format!("is not an address, or an IPv4 and an IPv6 one with a comma between them{slip}")
    })?;
    ips.sort();
    match ips.as_slice() {
        [_] => Ok(ips),
        [a, b] if Family::of(*a) != Family::of(*b) => Ok(ips),
        [_, _] => Err("has two addresses of one family: write at most one of each".to_owned()),
        _ => Err("has more than two addresses: write at most one of each family".to_owned()),
    }
}

/// What to write instead of what is no address, where that is plain; begins with a colon then.
fn slip(text: &str) -> &'static str {
    let is_ip = |text: &str| text.trim().parse::<IpAddr>().is_ok();
    let all_are = |separator: fn(char) -> bool| {
        let mut parts = text.split(separator).filter(|part| !part.is_empty());
        text.contains(separator) && parts.all(is_ip)
    };
    let without_zeros = || {
        let number = |part: &str| part.parse::<u8>().map(|it| it.to_string());
        let parts: Result<Vec<_>, _> = text.split('.').map(number).collect();
        parts.is_ok_and(|parts| is_ip(&parts.join(".")))
    };
    match text {
        _ if text.split_once('/').is_some_and(|(ip, _)| is_ip(ip)) => {
            ": write one address, without a prefix length"
        }
        _ if all_are(|it| it == '-') => ": write one address, for ranges are for pools",
        _ if all_are(|it| it == ';' || it.is_whitespace()) => ": write a comma",
        _ if without_zeros() => ": leave out the zeros before the numbers",
        _ => "",
    }
}

/// With policy Local only Services whose endpoints are on the same nodes can share an address; an equal
/// selector in the same namespace is what tells.
fn backend(service: &Service) -> Arc<str> {
    if service.spec.external_traffic_policy.as_deref() != Some("Local") {
        return "".into();
    }
    let pairs: Vec<String> = service.spec.selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    bounded::key(&format!("{}/{}", namespace(service), pairs.join(",")))
}

fn namespace(service: &Service) -> &str {
    service.metadata.namespace.as_deref().unwrap_or_default()
}

fn port(port: &ServicePort) -> Option<Port> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(_) => return None,
    };
    Some(Port { protocol, number: u16::try_from(port.port).ok()? })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(annotations: Value, spec: Value) -> Claim {
        let mut full = json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let service = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": full});
        Claim::read(&serde_json::from_value(service).unwrap(), &Rules::default())
    }

    fn ours(annotations: Value, spec: Value) -> Request {
        match read(annotations, spec) {
            Claim::Ours(request) => *request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_load_balancers_of_the_right_class_are_ours() {
        assert_eq!(read(json!({}), json!({"type": "NodePort"})), Claim::OtherType);
        assert_eq!(read(json!({}), json!({"loadBalancerClass": "example.com/other"})), Claim::OtherClass);
        let service = json!({"metadata": {}, "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]}});
        let service: Service = serde_json::from_value(service).unwrap();
        assert!(matches!(Claim::read(&service, &Rules::default()), Claim::Ours(_)));
        assert_eq!(
            Claim::read(&service, &Rules { class: Some("metallb".into()), ..Rules::default() }),
            Claim::OtherClass
        );
    }

    #[test]
    fn the_families_are_those_of_the_cluster_ips() {
        let dual = json!(["10.96.0.1", "fd00::1"]);
        for (cluster_ips, policy, families) in [
            (json!(["10.96.0.1"]), "SingleStack", Families::Single(Family::V4)),
            (json!(["fd00::1"]), "PreferDualStack", Families::Single(Family::V6)),
            (dual.clone(), "RequireDualStack", Families::RequireDual),
            (dual, "PreferDualStack", Families::PreferDual { primary: Family::V4 }),
        ] {
            let spec = json!({"clusterIPs": cluster_ips, "ipFamilyPolicy": policy});
            assert_eq!(ours(json!({}), spec.clone()).families, families, "{spec}");
        }
        for spec in [
            json!({"clusterIPs": []}),
            json!({"clusterIPs": ["None"], "clusterIP": "None"}),
            json!({"clusterIPs": ["10.96.0.1"], "ipFamilyPolicy": "RequireDualStack"}),
        ] {
            assert!(matches!(read(json!({}), spec.clone()), Claim::Unservable(_)), "{spec}");
        }
    }

    #[test]
    fn requests_are_read_from_annotations_and_the_field() {
        let exactly = |ips: &[&str], pool: Option<&str>| AddressRequest::Exactly {
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            pool: pool.map(PoolName::new),
        };
        for (annotations, spec, expected) in [
            (json!({}), json!({}), AddressRequest::Anything),
            (json!({"metallb.io/address-pool": "p"}), json!({}), AddressRequest::From(PoolName::new("p"))),
            (json!({"metallb.io/address-pool": " p\n"}), json!({}), AddressRequest::From(PoolName::new("p"))),
            (json!({"metallb.io/loadBalancerIPs": " \n"}), json!({}), AddressRequest::Anything),
            (
                json!({"metallb.io/loadBalancerIPs": "fd00::5, 10.0.0.5"}),
                json!({}),
                exactly(&["10.0.0.5", "fd00::5"], None),
            ),
            (
                json!({"metallb.io/address-pool": "p"}),
                json!({"loadBalancerIP": "10.0.0.5"}),
                exactly(&["10.0.0.5"], Some("p")),
            ),
            (
                json!({"metallb.io/loadBalancerIPs": "", "metallb.universe.tf/loadBalancerIPs": "10.0.0.1"}),
                json!({}),
                AddressRequest::Anything,
            ),
        ] {
            assert_eq!(ours(annotations.clone(), spec).addresses, expected, "{annotations}");
        }
        for (annotations, spec, why) in [
            (json!({"metallb.io/loadBalancerIPs": "ten"}), json!({}), "is not an address"),
            (json!({"metallb.io/loadBalancerIPs": "10.0.0.1,10.0.0.2"}), json!({}), "of one family"),
            (
                json!({"metallb.io/loadBalancerIPs": "10.0.0.1"}),
                json!({"loadBalancerIP": "10.0.0.1"}),
                "both set",
            ),
            (json!({}), json!({"loadBalancerIP": "x"}), "spec.loadBalancerIP \"x\""),
            (json!({}), json!({"loadBalancerIP": "10.0.0.1,fd00::1"}), "is not an address"),
            (json!({}), json!({"loadBalancerIP": " 10.0.0.1"}), "is not an address"),
        ] {
            let request = ours(annotations, spec).addresses;
            assert!(
                matches!(&request, AddressRequest::Unreadable { why: text, .. } if text.contains(why)),
                "{request:?}"
            );
        }
    }

    #[test]
    fn a_slip_of_the_pen_in_an_address_is_told_with_what_to_write() {
        for (list, told) in [
            ("10.0.0.5/32", "without a prefix length"),
            ("10.0.0.5-10.0.0.7", "ranges are for pools"),
            ("10.0.0.5 fd00::5", "write a comma"),
            ("10.0.0.5; fd00::5", "write a comma"),
            ("010.000.000.005", "leave out the zeros"),
            ("10.0.0.5\u{200b}", "character 9 is U+200B, which is not ASCII: remove it"),
            ("fd00::5\u{ff0c}10.0.0.5", "type \",\" instead"),
            ("fd00::5, 10.0.0.5/24", "without a prefix length"),
        ] {
            let why = requested_ips(list).unwrap_err();
            assert!(why.starts_with("is not an address") && why.contains(told), "{list}: {why}");
        }
        for list in ["ten", "10.0.0", "10.0.0.256", "lb.example.com", "1/2", "a-b", "01.2.3", "10.0.0.5,"] {
            let why = requested_ips(list).unwrap_err();
            assert!(why.ends_with("with a comma between them"), "{list}: {why}");
        }
    }

    #[test]
    fn a_reservation_is_one_of_the_services_namespace_and_nothing_else_is_asked_for() {
        let service = |annotations: Value| {
            let metadata = json!({"name": "web", "namespace": "shop", "annotations": annotations});
            let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1"});
            let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
            match Claim::read(&service, &Rules::default()) {
                Claim::Ours(request) => request.addresses,
                other => panic!("{other:?}"),
            }
        };
        let reserved = AddressRequest::Reserved(ReservationKey::new("shop", "front"));
        assert_eq!(service(json!({"ferrolb.io/address-reservation": " front\n"})), reserved);
        assert_eq!(service(json!({"ferrolb.io/address-reservation": " "})), AddressRequest::Anything);
        for other in ["metallb.io/address-pool", "metallb.io/loadBalancerIPs"] {
            let both = json!({"ferrolb.io/address-reservation": "front", other: "192.0.2.1"});
            let AddressRequest::Unreadable { why, .. } = service(both) else { panic!("{other}") };
            assert!(why.contains(other) && why.contains("both set"), "{why}");
        }
    }

    #[test]
    fn sharing_stays_within_a_namespace_where_an_operator_wants_that() {
        let rules = Rules { sharing: SharingScope::Namespace, ..Rules::default() };
        let service = json!({
            "metadata": {"name": "web", "namespace": "one"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.1"},
        });
        let Claim::Ours(request) = Claim::read(&serde_json::from_value(service).unwrap(), &rules) else {
            panic!("it is ours");
        };
        assert_eq!(request.sharing.namespace.as_deref(), Some("one"));
    }

    #[test]
    fn policy_local_ties_sharing_to_the_selector() {
        let spec = json!({"externalTrafficPolicy": "Local", "selector": {"b": "2", "a": "1"}});
        let request = ours(json!({"metallb.io/allow-shared-ip": "k"}), spec);
        assert_eq!(
            request.sharing,
            Sharing { key: Some("k".into()), backend: "/a=1,b=2".into(), ..Sharing::default() }
        );
        assert_eq!(ours(json!({}), json!({"selector": {"a": "1"}})).sharing, Sharing::default());
        let backend = |namespace: &str| {
            let spec = json!({"externalTrafficPolicy": "Local", "selector": {"a": "1"}});
            let service = json!({"metadata": {"name": "a", "namespace": namespace}, "spec": spec});
            backend(&serde_json::from_value(service).unwrap())
        };
        assert_ne!(backend("one"), backend("two"), "endpoints of two namespaces are never the same");
    }
}

//! What a Service does not say that its owner may believe it does, and what lies beyond FerroLB.

use std::net::IpAddr;

use ipam::ServiceKey;
use k8s_openapi::api::core::v1;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use slim::Service;

use crate::cluster::Cluster;
use crate::commands::foreign::ANNOTATIONS;
use crate::nearest::did_you_mean;
use crate::survey::{Announced, list};

/// The groups of MetalLB's annotations.
const GROUPS: [&str; 2] = ["metallb.io", "metallb.universe.tf"];
/// The annotations in them by which a Service asks for something.
const WISHES: [&str; 3] = ["address-pool", "allow-shared-ip", "loadBalancerIPs"];
/// Others in them that mean something.
const OTHERS: [&str; 1] = ["ip-allocated-from-pool"];

/// What is written on a Service in vain, each with what would have an effect.
pub(crate) fn in_vain(service: &Service) -> Vec<String> {
    let wish = |key: &str| {
        let (group, name) = key.split_once('/')?;
        GROUPS.contains(&group).then(|| name.to_owned())
    };
    let annotations = service.annotations().keys().filter_map(|key| {
        if let Some((_, ours)) = ANNOTATIONS.iter().find(|(theirs, _)| theirs == key) {
            let name = ours.split_once('/').map_or(*ours, |(_, name)| name);
            // Whoever has written both means another load balancer by this one.
            let both =
                GROUPS.iter().any(|group| service.annotations().contains_key(&format!("{group}/{name}")));
            return (!both)
                .then(|| format!("annotation {key} is another load balancer's: FerroLB reads {ours}"));
        }
        let name = wish(key)?;
        let known = WISHES.contains(&name.as_str()) || OTHERS.contains(&name.as_str());
        (!known).then(|| format!("annotation {key} means nothing{}", did_you_mean(&name, WISHES)))
    });
    let labels = service.labels().keys().filter_map(|key| {
        let name = wish(key)?;
        WISHES
            .contains(&name.as_str())
            .then(|| format!("label {key} means nothing: write it under metadata.annotations"))
    });
    annotations.chain(labels).collect()
}

/// What nodes make of fields that FerroLB does not read. `holders` tells which Services have an address.
pub(super) fn beside(whole: &v1::Service, holders: impl Fn(IpAddr) -> Vec<ServiceKey>) -> Vec<String> {
    let Some(spec) = &whole.spec else { return vec![] };
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let narrowed = (!ranges.is_empty()).then(|| {
        format!(
            "nodes drop what comes from elsewhere than {} (spec.loadBalancerSourceRanges), whoever announces the address",
            list(ranges)
        )
    });
    let of_external = |ip: &String| {
        let others: Vec<ServiceKey> =
            ip.parse().map(|ip: IpAddr| holders(ip.to_canonical())).unwrap_or_default();
        let note = match others.as_slice() {
            [] => String::new(),
            others => format!(
                ". It is the address of Service {}, whose clients come here on the ports of this one",
                list(others)
            ),
        };
        format!(
            "FerroLB has no part in spec.externalIPs {ip}: nodes take what comes for it, and nobody announces it for this Service{note}"
        )
    };
    narrowed.into_iter().chain(spec.external_ips.iter().flatten().map(of_external)).collect()
}

/// What other objects do to clients of a Service with these addresses, as far as they can be seen.
pub(super) async fn around(cluster: &Cluster, service: &Service, ips: &[IpAddr]) -> Vec<String> {
    let namespace = service.namespace().unwrap_or_default();
    let (others, policies) =
        futures::join!(cluster.all::<v1::Service>(), cluster.of_namespace::<NetworkPolicy>(&namespace));
    let mut notes = claimed(service, ips, &others.unwrap_or_default());
    notes.extend(policies.ok().and_then(|policies| narrowed(service, &policies)));
    notes
}

/// That other Services take what comes for these addresses, by their `spec.externalIPs`.
fn claimed(service: &Service, ips: &[IpAddr], others: &[v1::Service]) -> Vec<String> {
    let ports: Vec<i32> = service.spec.ports.iter().map(|port| port.port).collect();
    let takes = |other: &v1::Service| {
        let spec = other.spec.as_ref()?;
        let is_this = (other.namespace(), other.name_any()) == (service.namespace(), service.name_any());
        let claims = |text: &&String| text.parse::<IpAddr>().is_ok_and(|ip| ips.contains(&ip.to_canonical()));
        let ip = spec.external_ips.iter().flatten().find(claims).filter(|_| !is_this)?;
        let both: Vec<i32> =
            spec.ports.iter().flatten().map(|port| port.port).filter(|port| ports.contains(port)).collect();
        (!both.is_empty()).then(|| {
            format!(
                "Service {}/{} has {ip} in its spec.externalIPs, so nodes may send there what comes for port {}: take it out of there",
                other.namespace().unwrap_or_default(),
                other.name_any(),
                list(&both)
            )
        })
    };
    others.iter().filter_map(takes).collect()
}

/// That policies are for the Pods of a Service, which may keep its clients out.
fn narrowed(service: &Service, policies: &[NetworkPolicy]) -> Option<String> {
    let selector = &service.spec.selector;
    let is_for_them = |policy: &&NetworkPolicy| {
        let Some(spec) = &policy.spec else { return false };
        let pods = spec.pod_selector.clone().unwrap_or_default();
        let ingress = spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|it| it == "Ingress"));
        // Of other labels of the Pods nothing is known here.
        let mut labels = pods.match_labels.iter().flatten();
        ingress
            && pods.match_expressions.unwrap_or_default().is_empty()
            && labels.all(|(label, value)| selector.get(label) == Some(value))
    };
    let names: Vec<String> = policies.iter().filter(is_for_them).map(ResourceExt::name_any).collect();
    (!selector.is_empty() && !names.is_empty()).then(|| {
        format!(
            "NetworkPolicy {} is for its Pods, which see clients by their own addresses, or by those of nodes with externalTrafficPolicy Cluster: whoever no policy lets in gets no answer",
            list(&names)
        )
    })
}

/// Where to look on when an address is announced and does not answer.
pub(super) fn beyond(service: &Service, address: &Announced) -> Option<String> {
    let ip = address.ip;
    let port = service.spec.ports.first()?.port;
    let cluster_ip = service.spec.cluster_ips.first().filter(|it| it.parse::<IpAddr>().is_ok())?;
    let url =
        |host: &str| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    // On the LAN nobody has it, and the routers alone know what they make of what they are told.
    let asks = if address.is_routed() && address.node.is_none() {
        format!("see on the router whether it took the route to {ip}: its import policy may not")
    } else {
        format!("kubectl ferrolb trace {ip} asks the LAN")
    };
    Some(format!(
        "{asks}; curl {} on a node asks kube-proxy and the Pods, without FerroLB; ping is answered by no Service",
        url(cluster_ip)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::service;
    use crate::survey::{Health, ToRouters};

    fn with(annotations: &Value, labels: &Value) -> Service {
        let mut it = service("web", None);
        it["metadata"]["annotations"] = annotations.clone();
        it["metadata"]["labels"] = labels.clone();
        serde_json::from_value(it).unwrap()
    }

    #[test]
    fn an_annotation_that_means_nothing_is_told_with_the_one_that_does() {
        for (key, part) in [
            ("metallb.io/loadBalancerIP", "means nothing: did you mean loadBalancerIPs?"),
            ("metallb.universe.tf/address-pol", "did you mean address-pool?"),
            ("kube-vip.io/loadbalancerIPs", "FerroLB reads metallb.io/loadBalancerIPs"),
            ("purelb.io/service-group", "FerroLB reads metallb.io/address-pool"),
            ("lbipam.cilium.io/sharing-key", "FerroLB reads metallb.io/allow-shared-ip"),
        ] {
            let [said] = &in_vain(&with(&json!({key: "x"}), &json!({})))[..] else { panic!("{key}") };
            assert!(said.contains(part) && said.contains(key), "{said}");
        }
        let right = json!({
            "metallb.io/address-pool": "a", "metallb.universe.tf/allow-shared-ip": "k",
            "metallb.io/ip-allocated-from-pool": "a", "example.com/loadBalancerIP": "x",
        });
        assert_eq!(in_vain(&with(&right, &json!({"app": "web"}))), Vec::<String>::new());
        let label = in_vain(&with(&json!({}), &json!({"metallb.universe.tf/allow-shared-ip": "k"})));
        assert!(label[0].ends_with("write it under metadata.annotations"), "{label:?}");
    }

    #[test]
    fn fields_that_only_nodes_read_are_told_with_what_they_do() {
        let told = |spec: Value| {
            let whole = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
            let web = ServiceKey::new("prod", "web");
            beside(&whole, |ip| if ip.to_string() == "192.0.2.1" { vec![web.clone()] } else { vec![] })
        };
        assert_eq!(told(json!({"ports": [{"port": 80}]})), [""; 0]);
        let narrow = told(json!({"loadBalancerSourceRanges": ["10.9.0.0/24", "10.8.0.0/24"]}));
        assert!(narrow[0].contains("elsewhere than 10.9.0.0/24, 10.8.0.0/24"), "{narrow:?}");
        let external = told(json!({"externalIPs": ["192.0.2.1", "192.0.2.9"]}));
        assert!(external[0].contains("It is the address of Service prod/web"), "{external:?}");
        assert!(external[1].ends_with("nobody announces it for this Service"), "{external:?}");
    }

    #[test]
    fn an_annotation_of_another_load_balancer_beside_ours_is_meant_for_that() {
        let both =
            json!({"kube-vip.io/loadbalancerIPs": "192.0.2.1", "metallb.io/loadBalancerIPs": "192.0.2.1"});
        assert_eq!(in_vain(&with(&both, &json!({}))), [""; 0]);
    }

    #[test]
    fn where_to_look_on_names_the_port_and_the_cluster_ip() {
        let service = with(&json!({}), &json!({}));
        let mut address = Announced {
            ip: "192.0.2.1".parse().unwrap(),
            health: Health::Announced,
            node: Some("n1".to_owned()),
            interfaces: vec![],
            since: None,
            by_bgp: vec![],
        };
        let said = beyond(&service, &address).unwrap();
        assert!(said.contains("trace 192.0.2.1") && said.contains("curl 10.96.0.1:80 on a node"), "{said}");
        let routers = vec!["r1".to_owned()];
        let to_routers =
            |node: &str| ToRouters { node: node.to_owned(), routers: routers.clone(), untold: vec![] };
        (address.node, address.by_bgp) = (None, vec![to_routers("n1")]);
        let said = beyond(&service, &address).unwrap();
        assert!(said.starts_with("see on the router whether it took the route to 192.0.2.1"), "{said}");
    }

    #[test]
    fn a_service_that_takes_the_address_of_another_is_named_where_a_port_is_the_same() {
        let web: Service = serde_json::from_value(service("web", Some("192.0.2.1"))).unwrap();
        let other = |name: &str, ip: &str, port: i32| -> v1::Service {
            let spec = json!({"externalIPs": [ip], "ports": [{"port": port}]});
            let metadata = json!({"name": name, "namespace": "default"});
            serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
        };
        let ips = ["192.0.2.1".parse().unwrap()];
        let told = |other| claimed(&web, &ips, &[other]);
        assert!(told(other("thief", "192.0.2.1", 80))[0].starts_with(
            "Service default/thief has 192.0.2.1 in its spec.externalIPs, so nodes may send there what comes for port 80"
        ));
        for harmless in
            [other("a", "192.0.2.1", 81), other("a", "192.0.2.2", 80), other("web", "192.0.2.1", 80)]
        {
            assert_eq!(told(harmless), [""; 0]);
        }
    }

    #[test]
    fn a_policy_that_is_for_its_pods_is_named_and_one_that_may_be_is_not() {
        let mut web = service("web", Some("192.0.2.1"));
        web["spec"]["selector"] = json!({"app": "web", "tier": "front"});
        let web: Service = serde_json::from_value(web).unwrap();
        let told = |spec: Value| {
            let policy = json!({"metadata": {"name": "deny"}, "spec": spec});
            narrowed(&web, &[serde_json::from_value(policy).unwrap()])
        };
        assert!(told(json!({"podSelector": {}})).unwrap().starts_with("NetworkPolicy deny is for its Pods"));
        assert!(
            told(json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}))
                .is_some()
        );
        for other in [
            json!({"podSelector": {}, "policyTypes": ["Egress"]}),
            json!({"podSelector": {"matchLabels": {"app": "db"}}}),
            json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}),
        ] {
            assert_eq!(told(other), None);
        }
    }
}

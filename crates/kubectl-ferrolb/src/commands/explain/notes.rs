//! What a Service does not say that its owner may believe it does, and what lies beyond FerroLB.

use std::net::IpAddr;

use ipam::ServiceKey;
use k8s_openapi::api::core::v1;
use kube::ResourceExt;
use slim::Service;

use crate::nearest::did_you_mean;
use crate::survey::{Announced, list};

/// The groups of MetalLB's annotations.
const GROUPS: [&str; 2] = ["metallb.io", "metallb.universe.tf"];
/// The annotations in them by which a Service asks for something.
const WISHES: [&str; 3] = ["address-pool", "allow-shared-ip", "loadBalancerIPs"];
/// Others in them that mean something.
const OTHERS: [&str; 1] = ["ip-allocated-from-pool"];
/// Annotations of other load balancers that ask for addresses.
const FOREIGN: [&str; 5] = [
    "kube-vip.io/loadbalancerIPs",
    "lbipam.cilium.io/ips",
    "io.cilium/lb-ipam-ips",
    "purelb.io/addresses",
    "purelb.io/service-group",
];

/// What is written on a Service in vain, each with what would have an effect.
pub(crate) fn in_vain(service: &Service) -> Vec<String> {
    let wish = |key: &str| {
        let (group, name) = key.split_once('/')?;
        GROUPS.contains(&group).then(|| name.to_owned())
    };
    let annotations = service.annotations().keys().filter_map(|key| {
        if FOREIGN.contains(&key.as_str()) {
            let ours = if key.ends_with("service-group") { "address-pool" } else { "loadBalancerIPs" };
            // Whoever has written both means another load balancer by this one.
            let both =
                GROUPS.iter().any(|group| service.annotations().contains_key(&format!("{group}/{ours}")));
            return (!both).then(|| {
                format!("annotation {key} is another load balancer's: FerroLB reads metallb.io/{ours}")
            });
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
}

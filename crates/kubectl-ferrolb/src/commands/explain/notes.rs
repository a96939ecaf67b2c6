//! What a Service does not say that its owner may believe it does, and what lies beyond FerroLB.

use std::net::IpAddr;

use kube::ResourceExt;
use slim::Service;

use crate::nearest::did_you_mean;

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
pub(super) fn in_vain(service: &Service) -> Vec<String> {
    let wish = |key: &str| {
        let (group, name) = key.split_once('/')?;
        GROUPS.contains(&group).then(|| name.to_owned())
    };
    let annotations = service.annotations().keys().filter_map(|key| {
        if FOREIGN.contains(&key.as_str()) {
            let ours = if key.ends_with("service-group") { "address-pool" } else { "loadBalancerIPs" };
            return Some(format!(
                "annotation {key} is another load balancer's: FerroLB reads metallb.io/{ours}"
            ));
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

/// Where to look on when an address is announced and does not answer.
pub(super) fn beyond(service: &Service, ip: IpAddr) -> Option<String> {
    let port = service.spec.ports.first()?.port;
    let cluster_ip = service.spec.cluster_ips.first().filter(|it| it.parse::<IpAddr>().is_ok())?;
    let url =
        |host: &str| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Some(format!(
        "kubectl ferrolb trace {ip} asks the LAN; curl {} on a node asks kube-proxy and the Pods, without FerroLB; ping is answered by no Service",
        url(cluster_ip)
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::service;

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
    fn where_to_look_on_names_the_port_and_the_cluster_ip() {
        let said = beyond(&with(&json!({}), &json!({})), "192.0.2.1".parse().unwrap()).unwrap();
        assert!(said.contains("trace 192.0.2.1") && said.contains("curl 10.96.0.1:80 on a node"), "{said}");
    }
}

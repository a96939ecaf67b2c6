//! What Services have of another load balancer, and what they ask it for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kube::ResourceExt;
use slim::{Node, Service};
use translation::Observed;

use crate::commands::foreign::ANNOTATIONS;

/// The Services that the other serves: of no class or of its own, and those that FerroLB is to serve.
fn served<'a>(
    services: &'a [Service],
    ours: Option<&str>,
    theirs: &[&str],
) -> impl Iterator<Item = &'a Service> {
    services.iter().filter(move |service| {
        let class = service.spec.load_balancer_class.as_deref();
        service.spec.type_ == "LoadBalancer"
            && (class == ours || class.is_some_and(|it| theirs.contains(&it)))
    })
}

/// The addresses that stand in their status, each with the Services that have it.
pub(super) fn held(
    services: &[Service],
    ours: Option<&str>,
    theirs: &[&str],
) -> BTreeMap<IpAddr, Vec<String>> {
    let mut held: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for service in served(services, ours, theirs) {
        for ip in Observed::read(service).ips {
            held.entry(ip).or_default().push(title(service));
        }
    }
    held
}

/// Takes out addresses of nodes, which no pool gives, and says of each where it is to be had.
pub(super) fn take_those_of_nodes(held: &mut BTreeMap<IpAddr, Vec<String>>, nodes: &[Node]) -> Vec<String> {
    let of_nodes = nodes.iter().flat_map(|node| node.status.ips().map(|ip| (ip, node.name_any())));
    let of_nodes: BTreeMap<IpAddr, String> = of_nodes.collect();
    let taken = held.extract_if(.., |ip, _| of_nodes.contains_key(ip));
    let told = taken.map(|(ip, services)| {
        format!(
            "{ip} of {} is an address of node {}, which no pool gives: a NodeAddressPool does (--from servicelb)",
            services.join(", "),
            of_nodes[&ip]
        )
    });
    told.collect()
}

/// What of Services has to be changed by hand, one line for each.
pub(super) fn in_need(services: &[Service], ours: Option<&str>, theirs: &[&str]) -> Vec<String> {
    let mut told = Vec::new();
    for service in served(services, ours, theirs) {
        let class = service.spec.load_balancer_class.as_deref();
        if let Some(class) = class.filter(|class| Some(*class) != ours) {
            told.push(format!(
                "Service {}: its class {class} cannot be changed: start FerroLB with loadBalancerClass={class} (in the chart)",
                title(service)
            ));
        }
        let annotations = service.annotations();
        for (key, ours) in ANNOTATIONS {
            let Some(value) = annotations.get(key).filter(|_| !annotations.contains_key(ours)) else {
                continue;
            };
            // Nobody is to paste into a shell what somebody else has written into an annotation.
            let is_plain = value.chars().all(|it| it.is_ascii_alphanumeric() || ".:,_-".contains(it));
            let value = if is_plain { value } else { "..." };
            told.push(format!(
                "Service {}: annotation {key}: kubectl annotate service -n {} {} {ours}={value}",
                title(service),
                service.namespace().unwrap_or_default(),
                service.name_any()
            ));
        }
    }
    told
}

fn title(service: &Service) -> String {
    format!("{}/{}", service.namespace().unwrap_or_default(), service.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    #[test]
    fn services_of_its_class_and_of_none_hold_addresses_and_hear_what_to_change() {
        let with = |name: &str, ip: &str, class: Option<&str>, annotations: serde_json::Value| -> Service {
            let mut it = fixtures::service(name, Some(ip));
            it["spec"]["loadBalancerClass"] = class.into();
            it["metadata"]["annotations"] = annotations;
            serde_json::from_value(it).unwrap()
        };
        let services = [
            with("a", "10.0.0.1", None, json!({"kube-vip.io/loadbalancerIPs": "10.0.0.1"})),
            with("b", "10.0.0.2", Some("its"), json!({"purelb.io/service-group": "$(reboot)"})),
            with("c", "10.0.0.3", Some("other"), json!({})),
            with(
                "d",
                "10.0.0.4",
                None,
                json!({"purelb.io/addresses": "x", "metallb.io/loadBalancerIPs": "y"}),
            ),
        ];
        let ips: Vec<String> = held(&services, None, &["its"]).keys().map(ToString::to_string).collect();
        assert_eq!(ips, ["10.0.0.1", "10.0.0.2", "10.0.0.4"]);
        let node = json!({
            "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.4"}]},
        });
        let mut all = held(&services, None, &["its"]);
        let told = take_those_of_nodes(&mut all, &[serde_json::from_value(node).unwrap()]);
        assert!(told.len() == 1 && told[0].starts_with("10.0.0.4 of default/d is an address of node n1"));
        assert_eq!(all.len(), 2);
        let told = in_need(&services, None, &["its"]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told[0].ends_with("kubectl annotate service -n default a metallb.io/loadBalancerIPs=10.0.0.1")
        );
        assert!(
            told[1].contains("loadBalancerClass=its") && told[2].ends_with("metallb.io/address-pool=...")
        );
    }
}

//! What keeps clients from a Service though its address is announced: ports that nobody behind it serves, and addresses that
//! are on no LAN of their node.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::ServiceKey;
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use placement::{NodeName, Prefix};
use slim::{EndpointSlice, Service, ServicePort};

use super::{Announced, Health, Surveyed, Warning, list};
use crate::snapshot::{Snapshot, Speakers};

/// The EndpointSlices of each Service.
pub(super) struct Slices<'a>(BTreeMap<ServiceKey, Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let mut slices: BTreeMap<ServiceKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in &snapshot.slices {
            if let (Some(namespace), Some(name)) = (slice.namespace(), slice.service_name()) {
                slices.entry(ServiceKey::new(namespace, name)).or_default().push(slice);
            }
        }
        Self(slices)
    }

    /// The ports of a Service that no endpoint serves. None where there is no endpoint at all: that is another matter.
    fn unserved<'s>(&self, service: &'s Service) -> Vec<&'s ServicePort> {
        let slices = self.0.get(&translation::service_key(service)).into_iter().flatten();
        let serving: Vec<_> = slices.filter(|it| it.endpoints.iter().any(slim::Endpoint::serves)).collect();
        if serving.is_empty() {
            return vec![];
        }
        let is_served = |port: &&ServicePort| {
            let name = port.name.as_deref().unwrap_or_default();
            let mut ports = serving.iter().flat_map(|slice| &slice.ports);
            ports.any(|it| it.name.as_deref().unwrap_or_default() == name)
        };
        service.spec.ports.iter().filter(|port| !is_served(port)).collect()
    }

    /// That no node can have an endpoint of its own, since none that serves says where it is, as in slices that somebody has
    /// written for hosts outside the cluster.
    fn nowhere(&self, service: &Service) -> Option<Warning> {
        let slices = self.0.get(&translation::service_key(service)).into_iter().flatten();
        let mut serving = slices.flat_map(|it| &it.endpoints).filter(|it| it.serves()).peekable();
        let local = service.spec.external_traffic_policy.as_deref() == Some("Local");
        (local && serving.peek().is_some() && serving.all(|it| it.node_name.is_none())).then(|| Warning {
            reason: "externalTrafficPolicy is Local, and no endpoint of it says on which node it is, so no node has one".to_owned(),
            remedy: "use externalTrafficPolicy Cluster, as it must be for endpoints outside the cluster, or write endpoints[].nodeName into its EndpointSlices".to_owned(),
        })
    }
}

/// Adds to what is known of a Service whose addresses are announced.
pub(super) fn find(snapshot: &Snapshot, slices: &Slices<'_>, service: &Service, it: &mut Surveyed) {
    let unserved = slices.unserved(service);
    let warning = unserved.first().map(|first| of_ports(service, first, &unserved));
    if unserved.len() == service.spec.ports.len() {
        it.unserved = warning;
    } else {
        it.warnings.extend(warning);
    }
    it.warnings.extend(slices.nowhere(service));
    // A router that is told of an address has a route to it.
    let on_lan_alone = |address: &&Announced| address.health == Health::Announced && !address.is_routed();
    for address in it.addresses.iter().filter(on_lan_alone) {
        let node = address.node.as_deref().map(NodeName::from);
        let off = node.and_then(|node| off_lan(&snapshot.speakers, &node, address.ip));
        it.warnings.extend(off);
    }
}

/// That nobody serves these ports, the first of which tells what to look for.
fn of_ports(service: &Service, first: &ServicePort, all: &[&ServicePort]) -> Warning {
    let numbers: Vec<i32> = all.iter().map(|port| port.port).collect();
    let ports = if all.len() == 1 { "port" } else { "ports" };
    let selector: Vec<String> =
        service.spec.selector.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let (reason, remedy) = match &first.target_port {
        Some(IntOrString::String(target)) if !selector.is_empty() => (
            format!("no ready Pod has a port of the name {target:?}, the targetPort of port {}", first.port),
            format!(
                "correct spec.ports[].targetPort of the Service, or name the port in the Pods' containers: kubectl describe pods -n {} -l {}",
                service.namespace().unwrap_or_default(),
                selector.join(",")
            ),
        ),
        Some(_) | None => (
            format!(
                "none of its EndpointSlices has a port of the name {:?}, that of port {}",
                first.name.as_deref().unwrap_or_default(),
                first.port
            ),
            format!(
                "see which ports they have: kubectl get endpointslices -n {} -l {}={}",
                service.namespace().unwrap_or_default(),
                EndpointSlice::SERVICE_NAME,
                service.name_any()
            ),
        ),
    };
    Warning { reason: format!("{ports} {} refused: {reason}", list(&numbers)), remedy }
}

/// That an address is on no network of the node that announces it, as far as its prefixes tell.
fn off_lan(speakers: &Speakers, node: &NodeName, ip: IpAddr) -> Option<Warning> {
    let prefixes = speakers.prefixes.get(node)?;
    let of_family = || prefixes.values().flatten().filter(|it| it.first().is_ipv4() == ip.is_ipv4());
    of_family().next()?;
    if let Some(prefix) = of_family().find(|prefix| prefix.contains(ip)) {
        return of_no_host(*prefix, ip);
    }
    let mut lans: Vec<String> = of_family().map(ToString::to_string).collect();
    lans.dedup();
    Some(Warning {
        reason: format!(
            "{ip} is in no network of {node} ({}), so hosts there do not ask for it, but their router",
            lans.join(", ")
        ),
        remedy: "give the pool addresses of that LAN, or the router a route to them".to_owned(),
    })
}

/// That an address is on a LAN, and there the one of the network itself or of all hosts, which nobody asks for.
fn of_no_host(lan: Prefix, ip: IpAddr) -> Option<Warning> {
    let network = IpNet::new(lan.first(), lan.length())
        .ok()
        .filter(|it| it.addr().is_ipv4() && it.prefix_len() < 31)?;
    let what = if ip == network.broadcast() {
        "the broadcast address"
    } else if ip == network.network() {
        "the first address, that of the network itself,"
    } else {
        return None;
    };
    Some(Warning {
        reason: format!("{ip} is {what} of {network}, the LAN of its node, so hosts there do not reach it"),
        remedy: "have the Service ask for another address, and leave this one out of the pool: spec.avoidBuggyIPs of the pool leaves out all that end in .0 and .255"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{edited, service, snapshot, told};

    /// What is found of a Service with these ports, whose endpoints serve these.
    fn found(ports: &Value, served: &Value) -> (Option<Warning>, Vec<Warning>) {
        let mut web = service("web", None);
        web["spec"]["ports"] = ports.clone();
        web["spec"]["selector"] = json!({"app": "web"});
        let mut snapshot = snapshot(&[web], &["n1"], &[]);
        snapshot.slices[0].ports = serde_json::from_value(served.clone()).unwrap();
        let mut it = Surveyed::new(&ServiceKey::new("default", "web"));
        find(&snapshot, &Slices::of(&snapshot), &snapshot.services[0], &mut it);
        (it.unserved, it.warnings)
    }

    #[test]
    fn a_port_that_nobody_serves_is_told_with_the_name_that_no_pod_has() {
        let two = json!([{"name": "http", "port": 80, "targetPort": "web"}, {"name": "tls", "port": 443, "targetPort": "htps"}]);
        assert_eq!(found(&two, &json!([{"name": "http"}, {"name": "tls"}])), (None, vec![]));
        let (unserved, warnings) = found(&two, &json!([{"name": "http"}]));
        assert_eq!(unserved, None);
        assert!(warnings[0].reason.contains("port 443 refused") && warnings[0].reason.contains("\"htps\""));
        assert!(warnings[0].remedy.ends_with("kubectl describe pods -n default -l app=web"), "{warnings:?}");
        let (unserved, warnings) = found(&two, &json!([]));
        assert!(unserved.unwrap().reason.contains("ports 80, 443 refused") && warnings.is_empty());
    }

    #[test]
    fn a_port_without_a_name_is_served_by_one_without_a_name() {
        let one = json!([{"port": 80}]);
        for served in [json!([{}]), json!([{"name": ""}])] {
            assert_eq!(found(&one, &served), (None, vec![]), "{served}");
        }
        let unserved = found(&one, &json!([{"name": "http"}])).0.unwrap();
        assert!(unserved.remedy.contains("kubectl get endpointslices -n default"), "{unserved:?}");
    }

    #[test]
    fn endpoints_without_a_node_are_told_of_where_only_local_ones_count() {
        let found = |policy: &str, endpoints: Value| {
            let mut web = service("web", Some("192.0.2.1"));
            web["spec"]["externalTrafficPolicy"] = policy.into();
            let mut snapshot = snapshot(&[web], &[], &[]);
            snapshot.slices[0].endpoints = serde_json::from_value(endpoints).unwrap();
            Slices::of(&snapshot).nowhere(&snapshot.services[0])
        };
        let outside = || json!([{}, {}]);
        let warning = found("Local", outside()).unwrap();
        assert!(warning.reason.contains("no endpoint of it says on which node it is"), "{warning:?}");
        assert!(warning.remedy.starts_with("use externalTrafficPolicy Cluster"), "{warning:?}");
        assert_eq!(found("Cluster", outside()), None);
        assert_eq!(found("Local", json!([{}, {"nodeName": "n1"}])), None, "that one has it");
        assert_eq!(found("Local", json!([])), None, "that there is none is another matter");
        assert_eq!(found("Local", json!([{"conditions": {"ready": false}}])), None, "so is this");
    }

    #[test]
    fn without_a_serving_endpoint_ports_are_not_the_matter() {
        let mut snapshot = snapshot(&[service("web", None)], &[], &[]);
        snapshot.slices[0].ports.clear();
        assert!(Slices::of(&snapshot).unserved(&snapshot.services[0]).is_empty());
    }

    #[test]
    fn an_address_of_another_network_is_told_with_those_of_the_node() {
        let speaker = edited(told("n1", vec![]), |_, interfaces| {
            interfaces[0].prefixes = vec!["192.0.2.0/24".to_owned(), "fd00::/64".to_owned()];
        });
        let speakers = Speakers::read(None, &[speaker]);
        let off = |node: &str, ip: &str| off_lan(&speakers, &node.into(), ip.parse().unwrap());
        assert!(off("n1", "10.99.0.1").unwrap().reason.contains("no network of n1 (192.0.2.0/24)"));
        assert!(off("n1", "fd01::1").unwrap().reason.contains("(fd00::/64)"));
        assert_eq!((off("n1", "192.0.2.9"), off("n1", "fd00::9")), (None, None));
        assert!(off("n1", "192.0.2.255").unwrap().reason.contains("the broadcast address of 192.0.2.0/24"));
        assert!(
            off("n1", "192.0.2.0").unwrap().reason.contains("that of the network itself, of 192.0.2.0/24")
        );
        assert_eq!(off("n1", "fd00::"), None, "routers alone use it");
        assert_eq!(off("n2", "10.99.0.1"), None, "who has told nothing is on any");
    }
}

//! The Services that are watched, with their pools and advertisement.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::objects;
use lab::{Lab, chart, wait_until};
use serde_json::{Value, json};

use crate::observation::{Subject, Subjects};

/// The pool whose addresses Services ask for by annotation: it may be edited, and deleted for a while.
pub(crate) const ASKED: &str = "soak-asked";
const ASKED_ADDRESSES: [&str; 2] =
    ["172.16.211.200-172.16.211.205", "fd00:172:16:211::200-fd00:172:16:211::205"];
/// What is added to it for a while.
pub(crate) const MORE: &str = "172.16.211.225-172.16.211.229";
/// The pool from which the others get what is free.
const GIVEN: &str = "soak-given";
const GIVEN_ADDRESSES: [&str; 1] = ["172.16.211.206-172.16.211.210"];
/// The annotation of Services that share.
const SHARED: &str = "soak";
/// A Service without an annotation is offered nothing of the pool of the others.
const ADDRESSES_WITHIN: Duration = Duration::from_mins(1);

/// A Service, as it is made.
struct Made {
    name: &'static str,
    /// What it asks for; nothing for what is free.
    asks: &'static str,
    shares: bool,
    spec: Value,
}

fn all() -> Vec<Made> {
    let made = |name, asks, shares, mut spec: Value| {
        spec["type"] = json!("LoadBalancer");
        Made { name, asks, shares, spec }
    };
    let port = |port: u16| json!([{"name": "http", "port": port, "targetPort": objects::TARGET_PORT}]);
    let local = json!("Local");
    vec![
        made("cluster", "172.16.211.200", false, json!({})),
        made("local", "172.16.211.201", false, json!({"externalTrafficPolicy": local})),
        made("shared-80", "172.16.211.202", true, json!({"ports": port(80)})),
        made("shared-81", "172.16.211.202", true, json!({"ports": port(81)})),
        made(
            "dual",
            "172.16.211.203,fd00:172:16:211::203",
            false,
            json!({"ipFamilyPolicy": "RequireDualStack"}),
        ),
        made(
            "six",
            "fd00:172:16:211::204",
            false,
            json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}),
        ),
        made(
            "dual-local",
            "172.16.211.205,fd00:172:16:211::205",
            false,
            json!({"ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": local}),
        ),
        made("given-1", "", false, json!({})),
        made("given-2", "", false, json!({})),
    ]
}

/// The pool of those that ask, as it is or with more addresses.
pub(crate) fn asked_pool(more: bool) -> Value {
    let more = more.then_some(MORE);
    let mut pool = objects::pool(ASKED, &ASKED_ADDRESSES.into_iter().chain(more).collect::<Vec<_>>());
    pool["spec"]["autoAssign"] = json!(false);
    pool
}

/// The advertisement of all pools, from all nodes or from all but one.
pub(crate) fn advertisement(without: Option<&str>) -> Value {
    let mut advertisement = objects::advertisement();
    let selector = |node| json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node]}]});
    advertisement["spec"] = json!({"nodeSelectors": without.map(selector).into_iter().collect::<Vec<_>>()});
    advertisement
}

/// Creates pools, advertisement and Services, and returns what is to be watched once all have their addresses. The
/// Pods of [`objects::BACKEND`] are there.
pub(crate) fn serve(lab: &Lab) -> Result<Subjects> {
    let pools = [asked_pool(false), objects::pool(GIVEN, &GIVEN_ADDRESSES), advertisement(None)];
    let made = all();
    let services = made.iter().map(|made| {
        let mut service = objects::service(made.name, &made.spec);
        let annotations = &mut service["metadata"]["annotations"];
        *annotations = json!({});
        if !made.asks.is_empty() {
            annotations["metallb.io/loadBalancerIPs"] = json!(made.asks);
        }
        if made.shares {
            annotations["metallb.io/allow-shared-ip"] = json!(SHARED);
        }
        service
    });
    let documents: Vec<String> = pools.into_iter().chain(services).map(|object| object.to_string()).collect();
    lab.apply(&documents.join("\n---\n"))?;
    wait_until("all Services have addresses", ADDRESSES_WITHIN, || {
        let has = addresses(&lab.kubectl_json(["get", "services", "-n", e2e::NAMESPACE])?);
        made.iter().map(|made| subject(made, &has)).collect()
    })
}

fn subject(made: &Made, has: &BTreeMap<String, BTreeSet<IpAddr>>) -> Result<(String, Subject)> {
    let addresses = has.get(made.name).cloned().unwrap_or_default();
    let asks = made.asks.split_terminator(',').map(str::parse).collect::<Result<BTreeSet<IpAddr>, _>>()?;
    ensure!(!addresses.is_empty(), "{} has none", made.name);
    ensure!(asks.is_empty() || addresses == asks, "{} has {addresses:?}", made.name);
    let sharing = made.shares.then_some(SHARED);
    Ok((made.name.to_owned(), Subject { addresses, sharing, in_edited_pool: !asks.is_empty() }))
}

/// The addresses of the Services in a list of objects.
pub(crate) fn addresses(list: &Value) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let services = list["items"].as_array().into_iter().flatten().filter(|item| item["kind"] == "Service");
    let of = |service: &Value| {
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().into_iter().flatten();
        let addresses = ingress.filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect();
        Some((service["metadata"]["name"].as_str()?.to_owned(), addresses))
    };
    services.filter(|service| service["metadata"]["namespace"] == e2e::NAMESPACE).filter_map(of).collect()
}

/// The Services in a list of objects that none of its EndpointSlices has an endpoint for that serves.
pub(crate) fn unserved(list: &Value) -> BTreeSet<String> {
    let slices =
        list["items"].as_array().into_iter().flatten().filter(|item| item["kind"] == "EndpointSlice");
    let ours = slices.filter(|slice| slice["metadata"]["namespace"] == e2e::NAMESPACE).filter(|slice| {
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        endpoints.into_iter().any(|endpoint| endpoint["conditions"]["serving"] != false)
    });
    let of_service =
        |slice: &Value| Some(slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str()?.to_owned());
    let served: BTreeSet<String> = ours.filter_map(of_service).collect();
    addresses(list).into_keys().filter(|name| !served.contains(name)).collect()
}

/// Creates Services that want an address each, as `count` of them.
pub(crate) fn create_more(lab: &Lab, count: usize) -> Result<()> {
    let services = (0..count).map(|i| objects::load_balancer(&format!("more-{i}")).to_string());
    lab.apply(&services.collect::<Vec<_>>().join("\n---\n")).map(drop)
}

/// Deletes them.
pub(crate) fn delete_more(lab: &Lab, count: usize) -> Result<()> {
    let names: Vec<String> = (0..count).map(|i| format!("more-{i}")).collect();
    let delete = ["delete", "services", "-n", e2e::NAMESPACE, "--ignore-not-found"].map(str::to_owned);
    lab.kubectl(delete.into_iter().chain(names)).map(drop)
}

/// Removes what [`serve`] has made.
pub(crate) fn clear(lab: &Lab) -> Result<()> {
    let names = all().into_iter().map(|made| made.name);
    lab.kubectl(["delete", "services", "-n", e2e::NAMESPACE, "--ignore-not-found"].into_iter().chain(names))?;
    let ours = ["delete", "ipaddresspools,l2advertisements", "--all", "-n", chart::NAMESPACE];
    lab.kubectl(ours).context("removing the pools").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_what_it_asks_for() {
        let list = json!({"items": [
            {"kind": "Pod", "metadata": {"name": "cluster", "namespace": "e2e"}},
            {"kind": "Service", "metadata": {"name": "cluster", "namespace": "e2e"},
             "status": {"loadBalancer": {"ingress": [{"ip": "172.16.211.200"}]}}},
            {"kind": "Service", "metadata": {"name": "local", "namespace": "e2e"}, "status": {}},
        ]});
        let (made, has) = (all(), addresses(&list));
        assert_eq!(has.len(), 2);
        let (name, cluster) = subject(&made[0], &has).unwrap();
        assert_eq!((name.as_str(), cluster.addresses.len(), cluster.in_edited_pool), ("cluster", 1, true));
        assert!(subject(&made[1], &has).is_err());
    }

    #[test]
    fn a_service_is_served_by_an_endpoint_that_serves() {
        let service = |name: &str| json!({"kind": "Service", "metadata": {"name": name, "namespace": "e2e"}});
        let slice = |name: &str, conditions: &[Value]| {
            let endpoints: Vec<_> = conditions.iter().map(|it| json!({"conditions": it})).collect();
            let labels = json!({"kubernetes.io/service-name": name});
            json!({"kind": "EndpointSlice", "endpoints": endpoints,
                "metadata": {"name": name, "namespace": "e2e", "labels": labels}})
        };
        let (serves, fails) = (json!({"ready": true, "serving": true}), json!({"serving": false}));
        let list = json!({"items": [
            service("a"), service("b"), service("c"), service("d"),
            slice("a", &[fails.clone(), serves]), slice("b", &[fails]), slice("c", &[json!({})]),
        ]});
        assert_eq!(unserved(&list), BTreeSet::from(["b".to_owned(), "d".to_owned()]));
    }
}

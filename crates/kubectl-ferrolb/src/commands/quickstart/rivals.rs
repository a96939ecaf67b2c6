//! Others that would give addresses to the same Services.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

/// What K3s puts on the `DaemonSet` that ServiceLB makes for a Service.
const SERVICE_LB: &str = "svccontroller.k3s.cattle.io/svcname";
/// How the K3s of a node was started, as JSON.
const K3S_ARGUMENTS: &str = "node.k3s.io/arguments";
const K3S_ARGUMENTS_OLD: &str = "k3s.io/node-args";

/// Who else serves Services of no class, and what to do; nobody where nothing is seen of anybody.
pub(super) fn found(nodes: &[Node], daemon_sets: &[DaemonSet]) -> Option<(String, String)> {
    const REMEDY: &str = "start the servers of K3s with --disable servicelb, and restart them";
    let proxies: BTreeSet<String> = daemon_sets
        .iter()
        .filter(|it| it.labels().contains_key(SERVICE_LB))
        .map(ResourceExt::name_any)
        .collect();
    if let Some(one) = proxies.first() {
        let what = format!("ServiceLB of K3s serves Services of this cluster (DaemonSet {one})");
        return Some((what, REMEDY.to_owned()));
    }
    let servers = nodes.iter().filter_map(|node| {
        let arguments =
            [K3S_ARGUMENTS, K3S_ARGUMENTS_OLD].iter().find_map(|key| node.annotations().get(*key))?;
        let arguments: Vec<String> = serde_json::from_str(arguments).ok()?;
        (arguments.first()? == "server").then(|| (node.name_any(), arguments))
    });
    let on = |arguments: &[String]| {
        !arguments.iter().any(|it| it.contains("servicelb") || it.contains("disable-cloud-controller"))
    };
    let (server, _) = servers.into_iter().find(|(_, arguments)| on(arguments))?;
    let what = format!("ServiceLB of K3s is on (server {server}), and would serve the same Services");
    Some((what, REMEDY.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn k3s(arguments: &[&str]) -> Node {
        let arguments = serde_json::to_string(arguments).unwrap();
        let node = json!({"metadata": {"name": "pi", "annotations": {K3S_ARGUMENTS_OLD: arguments}}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn service_lb_is_seen_by_its_daemon_sets_and_by_how_k3s_was_started() {
        let daemon_set = |labels: serde_json::Value| {
            let object = json!({"metadata": {"name": "svclb-web-1", "labels": labels}});
            vec![serde_json::from_value::<DaemonSet>(object).unwrap()]
        };
        let its = daemon_set(json!({SERVICE_LB: "web"}));
        assert!(found(&[], &its).unwrap().0.contains("svclb-web-1"));
        assert_eq!(found(&[], &daemon_set(json!({"app": "web"}))), None);
        assert!(found(&[k3s(&["server"])], &[]).unwrap().0.contains("server pi"));
        for off in [
            &["server", "--disable", "servicelb"][..],
            &["server", "--disable=traefik,servicelb"],
            &["server", "--disable-cloud-controller"],
            &["agent"],
        ] {
            assert_eq!(found(&[k3s(off)], &[]), None, "{off:?}");
        }
    }
}

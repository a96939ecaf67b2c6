//! kube-vip: the ConfigMap of its cloud provider.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::carried::{Carried, list};
use super::source::{containers, image_of};

/// What stands for all namespaces that have no range of their own.
const GLOBAL: &str = "global";

/// The pools for the data of the ConfigMap: `cidr-NAMESPACE` and `range-NAMESPACE` hold addresses, separated by commas.
pub(super) fn convert(data: &BTreeMap<String, String>) -> Carried {
    let mut carried = Carried::default();
    let mut entries: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, value) in data {
        let what = format!("ConfigMap kubevip, {key}");
        match key.split_once('-') {
            Some(("cidr" | "range", namespace)) if !namespace.is_empty() => {
                let texts = value.split(',').map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
                entries.entry(namespace).or_default().extend(texts);
            }
            Some(("allow", share)) if share.starts_with("share-") => carried.lose(
                &what,
                "FerroLB shares an address where Services ask for it: annotate those with metallb.io/allow-shared-ip",
            ),
            Some(("interface", _)) => carried.lose(
                &what,
                format!("write interfaces: [{value}] into the L2Advertisement if it is to be announced there only"),
            ),
            _ if key == "search-order" => carried.lose(&what, "FerroLB gives out the lowest free address"),
            _ if key == "skip-end-ips-in-cidr" => {
                carried.lose(&what, "write ranges without these addresses, or avoidBuggyIPs, into the pools");
            }
            _ => carried.lose(&what, "it means nothing here"),
        }
    }
    for (namespace, texts) in entries {
        let mut spec = Map::new();
        if namespace != GLOBAL {
            // kube-vip takes no other for such a namespace; the lower number goes first here.
            let allocation = json!({"priority": 1, "namespaces": [namespace]});
            spec.insert("serviceAllocation".to_owned(), allocation);
        }
        carried.pool(namespace, &format!("ConfigMap kubevip, {namespace}"), &texts, spec);
    }
    if !carried.objects.is_empty() {
        carried.advertisement("kube-vip", json!({}));
    }
    carried
}

/// Whether a Pod announces addresses of Services.
pub(super) fn announces(pod: &Value) -> bool {
    let all = containers(pod);
    all.iter().filter(|it| image_of(it) == "kube-vip").any(|container| {
        let words = ["/command", "/args"].iter().flat_map(|path| list(container, path));
        let by_argument = words.filter_map(Value::as_str).any(|it| matches!(it, "--services" | "service"));
        let variable = list(container, "/env").iter().find(|it| it["name"] == "svc_enable");
        by_argument || variable.is_some_and(|it| it["value"] == "true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn ranges_become_pools_and_those_of_a_namespace_are_for_it() {
        let it = convert(&data(&[
            ("range-global", "192.168.1.240-192.168.1.250,fd00::10-fd00::20"),
            ("cidr-global", "10.1.0.0/29"),
            ("cidr-dev", "10.2.0.0/29"),
            ("allow-share-dev", "true"),
            ("search-order", "desc"),
        ]));
        assert_eq!(it.pools(), ["dev", "global"]);
        assert_eq!(
            it.objects[0]["spec"],
            json!({"addresses": ["10.2.0.0/29"], "serviceAllocation": {"priority": 1, "namespaces": ["dev"]}})
        );
        let addresses = json!(["10.1.0.0/29", "192.168.1.240-192.168.1.250", "fd00::10-fd00::20"]);
        assert_eq!(it.objects[1]["spec"], json!({"addresses": addresses}));
        assert_eq!((&it.objects[2]["kind"], it.lost.len()), (&json!("L2Advertisement"), 2));
        assert!(
            it.lost[0].contains("allow-share-dev: ") && it.lost[0].contains("metallb.io/allow-shared-ip")
        );
    }

    #[test]
    fn addresses_of_a_dhcp_server_are_no_pool() {
        let it = convert(&data(&[("cidr-global", "0.0.0.0/32")]));
        assert!(it.objects.is_empty() && it.lost[0].contains("DHCP"), "{it:?}");
    }

    #[test]
    fn who_serves_the_control_plane_alone_announces_no_services() {
        let pod = |image: &str, enabled: &str| {
            json!({"spec": {"containers": [{
                "image": image, "args": ["manager"], "env": [{"name": "svc_enable", "value": enabled}],
            }]}})
        };
        assert!(announces(&pod("ghcr.io/kube-vip/kube-vip:v0.8.0", "true")));
        assert!(!announces(&pod("ghcr.io/kube-vip/kube-vip:v0.8.0", "false")));
        assert!(!announces(&pod("ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12", "true")));
    }
}

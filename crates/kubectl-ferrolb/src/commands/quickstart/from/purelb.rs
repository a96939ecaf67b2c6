//! PureLB: its ServiceGroups.

use serde_json::{Map, Value, json};

use super::carried::{Carried, list, text};
use super::source::{containers, image_of};

/// The pools for ServiceGroups, each under its name.
pub(super) fn convert(groups: &[Value]) -> Carried {
    let mut carried = Carried::default();
    for group in groups {
        let name = text(group, "/metadata/name");
        let what = format!("ServiceGroup {name}");
        let Some(local) = group["spec"].get("local").filter(|it| it.is_object()) else {
            carried
                .lose(&what, "it is not of type local: FerroLB announces what is on the nodes' own network");
            continue;
        };
        let lists = ["/v4pools", "/v6pools"].iter().flat_map(|path| list(local, path));
        // Of one family each, and, before there were those, of either.
        let single = ["/v4pool", "/v6pool"].iter().filter_map(|path| local.pointer(path));
        let ranges = lists.chain(single).chain([local]).map(|it| text(it, "/pool").to_owned());
        let ranges: Vec<String> = ranges.filter(|it| !it.is_empty()).collect();
        let mut spec = Map::new();
        let namespaces = list(group, "/spec/namespaces");
        if !namespaces.is_empty() {
            spec.insert("serviceAllocation".to_owned(), json!({"namespaces": namespaces}));
        } else if name != "default" {
            spec.insert("autoAssign".to_owned(), json!(false));
        }
        if local.get("multiPool") == Some(&json!(true)) || group["spec"]["multiPool"] == true {
            carried.lose(&what, "multiPool: a Service has one address of each family here");
        }
        carried.pool(name, &what, &ranges, spec);
    }
    if !carried.objects.is_empty() {
        carried.advertisement("purelb", json!({}));
    }
    carried
}

/// Whether a Pod announces addresses of Services.
pub(super) fn announces(pod: &Value) -> bool {
    containers(pod).iter().any(|it| image_of(it) == "lbnodeagent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_local_group_becomes_a_pool_of_its_name_and_that_by_default_gives_unasked() {
        let group = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
        let it = convert(&[
            group(
                "default",
                json!({"local": {
                    "v4pools": [{"subnet": "192.168.1.0/24", "pool": "192.168.1.240-192.168.1.250", "aggregation": "default"}],
                    "v6pools": [{"subnet": "fd00::/64", "pool": "fd00::10-fd00::20"}],
                }}),
            ),
            group("old", json!({"local": {"subnet": "10.0.0.0/24", "pool": "10.0.0.8/29"}})),
            group("one", json!({"local": {"v4pool": {"pool": "10.0.1.0/29"}}, "namespaces": ["a"]})),
            group("box", json!({"netbox": {"url": "http://netbox"}})),
        ]);
        assert_eq!(it.pools(), ["default", "old", "one"]);
        assert_eq!(
            it.objects[0]["spec"],
            json!({"addresses": ["192.168.1.240-192.168.1.250", "fd00::10-fd00::20"]})
        );
        assert_eq!(it.objects[1]["spec"], json!({"addresses": ["10.0.0.8/29"], "autoAssign": false}));
        assert_eq!(it.objects[2]["spec"]["serviceAllocation"], json!({"namespaces": ["a"]}));
        assert!(it.lost.len() == 1 && it.lost[0].starts_with("ServiceGroup box"), "{it:?}");
    }

    #[test]
    fn its_node_agents_announce_and_its_allocator_does_not() {
        let pod = |image: &str| json!({"spec": {"containers": [{"image": image}]}});
        assert!(announces(&pod("registry.gitlab.com/purelb/purelb/lbnodeagent:v0.10.0")));
        assert!(!announces(&pod("registry.gitlab.com/purelb/purelb/allocator:v0.10.0")));
    }
}

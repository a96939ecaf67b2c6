//! Cilium: its pools of addresses and its policies of what is announced on the LAN.

use serde_json::{Map, Value, json};

use super::carried::{Carried, list, text};

/// Keys of labels that Cilium gives Services in selectors.
const NAMESPACE: &str = "io.kubernetes.service.namespace";
const SERVICE_NAME: &str = "io.kubernetes.service.name";

/// The pools and advertisements for `CiliumLoadBalancerIPPool` and `CiliumL2AnnouncementPolicy` objects.
pub(super) fn convert(pools: &[Value], policies: &[Value]) -> Carried {
    let mut carried = Carried::default();
    for pool in pools {
        convert_pool(pool, &mut carried);
    }
    for policy in policies {
        convert_policy(policy, &mut carried);
    }
    if policies.is_empty() && !carried.objects.is_empty() {
        carried.lose(
            "CiliumL2AnnouncementPolicy",
            "there is none, so Cilium announces nothing on the LAN: write an L2Advertisement if FerroLB is to",
        );
    }
    carried
}

fn convert_pool(pool: &Value, carried: &mut Carried) {
    let name = text(pool, "/metadata/name");
    let what = format!("CiliumLoadBalancerIPPool {name}");
    let block = |it: &Value| match (text(it, "/cidr"), text(it, "/start"), text(it, "/stop")) {
        ("", start, "") => start.to_owned(),
        ("", start, stop) => format!("{start}-{stop}"),
        (cidr, _, _) => cidr.to_owned(),
    };
    // Until version 1.15 the field had another name.
    let blocks = list(pool, "/spec/blocks").iter().chain(list(pool, "/spec/cidrs"));
    let blocks: Vec<String> = blocks.map(block).collect();
    if text(pool, "/spec/allowFirstLastIPs") == "No" {
        carried.lose(
            &what,
            "allowFirstLastIPs: No; write ranges without the first and the last address into the pool",
        );
    }
    let mut spec = Map::new();
    if let Some(selector) = pool.pointer("/spec/serviceSelector").filter(|it| it.is_object()) {
        let Some(allocation) = allocation(selector, &what, carried) else { return };
        spec.insert("serviceAllocation".to_owned(), allocation);
    }
    carried.pool(name, &what, &blocks, spec);
}

/// For which Services a pool is: by their labels, or by their namespace, which is a label to Cilium.
fn allocation(selector: &Value, what: &str, carried: &mut Carried) -> Option<Value> {
    let mut selector = selector.clone();
    let mut namespaces: Vec<Value> = Vec::new();
    if let Some(labels) = selector.get_mut("matchLabels").and_then(Value::as_object_mut) {
        namespaces.extend(labels.remove(NAMESPACE));
    }
    if let Some(expressions) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        let of_namespace = |it: &Value| it["key"] == NAMESPACE && it["operator"] == "In";
        let taken: Vec<Value> = expressions.extract_if(.., |it| of_namespace(it)).collect();
        namespaces.extend(taken.iter().flat_map(|it| list(it, "/values").iter().cloned()));
    }
    let text = selector.to_string();
    if text.contains(NAMESPACE) || text.contains(SERVICE_NAME) {
        carried.lose(what, "its serviceSelector goes by the names of Services or by what namespaces are not: write the IPAddressPool by hand, with serviceAllocation");
        return None;
    }
    let is_empty = |key: &str| match selector.get(key) {
        Some(Value::Object(it)) => it.is_empty(),
        Some(Value::Array(it)) => it.is_empty(),
        _ => true,
    };
    let mut allocation = Map::new();
    if !namespaces.is_empty() {
        allocation.insert("namespaces".to_owned(), json!(namespaces));
    }
    if !(is_empty("matchLabels") && is_empty("matchExpressions")) {
        allocation.insert("serviceSelectors".to_owned(), json!([selector]));
    }
    Some(Value::Object(allocation))
}

fn convert_policy(policy: &Value, carried: &mut Carried) {
    let name = text(policy, "/metadata/name");
    let what = format!("CiliumL2AnnouncementPolicy {name}");
    if policy["spec"]["externalIPs"] == true {
        carried.lose(
            &what,
            "externalIPs: FerroLB announces what is in status.loadBalancer, not spec.externalIPs",
        );
    }
    if policy["spec"]["loadBalancerIPs"] != true {
        return;
    }
    let mut spec = Map::new();
    for (from, to) in [("nodeSelector", "nodeSelectors"), ("serviceSelector", "serviceSelectors")] {
        if let Some(selector) = policy["spec"].get(from).filter(|it| it.is_object()) {
            if selector.to_string().contains("io.kubernetes.service.") {
                carried.lose(&what, format!("its {from} goes by names or namespaces of Services: write the L2Advertisement by hand"));
                return;
            }
            spec.insert(to.to_owned(), json!([selector]));
        }
    }
    // Cilium's are regular expressions.
    let names: Option<Vec<&str>> =
        list(policy, "/spec/interfaces").iter().map(|it| literal(it.as_str()?)).collect();
    match names {
        Some(names) if !names.is_empty() => _ = spec.insert("interfaces".to_owned(), json!(names)),
        Some(_) => {}
        None => carried.lose(&what, "interfaces are patterns there and names here: it is announced on all interfaces, until you write their names into the L2Advertisement"),
    }
    carried.advertisement(name, Value::Object(spec));
}

/// The one name that a regular expression matches, if it is one.
fn literal(pattern: &str) -> Option<&str> {
    let inner = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '@');
    (!inner.is_empty() && inner.chars().all(plain)).then_some(inner)
}

/// What Cilium does to addresses of Services, by its ConfigMap and objects; nothing where it lets them alone.
pub(super) fn announces(config: Option<&str>, pools: &[Value], policies: &[Value]) -> Option<String> {
    let policy = policies.iter().find(|it| it["spec"]["loadBalancerIPs"] == true);
    if let Some(policy) = policy.filter(|_| config.is_none_or(|it| it == "true")) {
        return Some(format!("CiliumL2AnnouncementPolicy {}", text(policy, "/metadata/name")));
    }
    let pool = pools.iter().find(|it| it["spec"]["disabled"] != true)?;
    Some(format!("CiliumLoadBalancerIPPool {}, which is not disabled", text(pool, "/metadata/name")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn blocks_become_entries_and_selectors_allocations() {
        let it = convert(
            &[
                object(
                    "a",
                    json!({"blocks": [{"cidr": "10.0.0.0/28"}, {"start": "10.0.1.1", "stop": "10.0.1.9"}, {"start": "10.0.2.1"}]}),
                ),
                object(
                    "b",
                    json!({
                        "cidrs": [{"cidr": "10.1.0.0/28"}], "allowFirstLastIPs": "No",
                        "serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "dev", "color": "red"}},
                    }),
                ),
                object(
                    "c",
                    json!({
                        "blocks": [{"cidr": "10.2.0.0/28"}],
                        "serviceSelector": {"matchExpressions": [{"key": "io.kubernetes.service.namespace", "operator": "In", "values": ["x", "y"]}]},
                    }),
                ),
                object(
                    "d",
                    json!({
                        "blocks": [{"cidr": "10.3.0.0/28"}],
                        "serviceSelector": {"matchLabels": {"io.kubernetes.service.name": "web"}},
                    }),
                ),
            ],
            &[],
        );
        assert_eq!(it.pools(), ["a", "b", "c"]);
        assert_eq!(
            it.objects[0]["spec"]["addresses"],
            json!(["10.0.0.0/28", "10.0.1.1-10.0.1.9", "10.0.2.1/32"])
        );
        assert_eq!(
            it.objects[1]["spec"]["serviceAllocation"],
            json!({"namespaces": ["dev"], "serviceSelectors": [{"matchLabels": {"color": "red"}}]})
        );
        assert_eq!(it.objects[2]["spec"]["serviceAllocation"], json!({"namespaces": ["x", "y"]}));
        let lost = it.lost.join("\n");
        for part in ["allowFirstLastIPs", "CiliumLoadBalancerIPPool d", "there is none"] {
            assert!(lost.contains(part), "{part}: {lost}");
        }
    }

    #[test]
    fn policies_become_advertisements_with_the_names_of_interfaces_where_these_are_names() {
        let node = json!({"matchLabels": {"edge": "true"}});
        let it = convert(
            &[],
            &[
                object(
                    "named",
                    json!({"loadBalancerIPs": true, "interfaces": ["^eth0$"], "nodeSelector": node}),
                ),
                object(
                    "pattern",
                    json!({"loadBalancerIPs": true, "externalIPs": true, "interfaces": ["^eth[0-9]+"]}),
                ),
                object("other", json!({"externalIPs": true})),
            ],
        );
        assert_eq!(it.objects.len(), 2);
        assert_eq!(it.objects[0]["spec"], json!({"interfaces": ["eth0"], "nodeSelectors": [node]}));
        assert_eq!(it.objects[1]["spec"], json!({}));
        assert_eq!(it.lost.iter().filter(|it| it.contains("externalIPs")).count(), 2);
        assert!(it.lost.iter().any(|it| it.contains("pattern: interfaces are patterns")), "{it:?}");
    }

    #[test]
    fn cilium_lets_addresses_alone_without_policies_and_with_its_pools_disabled() {
        let policy = [object("p", json!({"loadBalancerIPs": true}))];
        let (on, off) = ([object("a", json!({}))], [object("a", json!({"disabled": true}))]);
        assert!(announces(Some("true"), &off, &policy).unwrap().contains("Policy p"));
        assert!(announces(None, &off, &policy).is_some(), "nobody knows");
        assert_eq!(announces(Some("false"), &off, &policy), None);
        assert!(announces(None, &on, &[]).unwrap().contains("CiliumLoadBalancerIPPool a"));
        assert_eq!(announces(None, &off, &[]), None);
    }
}

//! What is beside FerroLB and has to do with its addresses: kube-proxy in IPVS mode, MetalLB, and pools that nobody reads.

use std::collections::BTreeSet;

use api::NodeAddressPool;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::client;
use crate::cluster::{Cluster, METALLB};
use crate::programs::Part;
use crate::survey::list;

/// kube-proxy's configuration, as kubeadm writes it.
const KUBE_PROXY: (&str, &str) = ("kube-system", "kube-proxy");
const KUBE_PROXY_KEY: &str = "config.conf";

/// What MetalLB was configured with before 0.13, and the key in it.
const OLD_CONFIG: (&str, &str) = ("config", "config");

/// What is the matter with what runs beside FerroLB, one sentence for each, with what to do. What cannot be read is
/// passed over: it is looked for to explain more, and nothing follows from its absence.
pub(crate) async fn found(cluster: &Cluster) -> Vec<String> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), KUBE_PROXY.0);
    let (map, metallb) = futures::join!(client::get(&maps, KUBE_PROXY.0, KUBE_PROXY.1), metallb(cluster));
    let data = map.ok().flatten().and_then(|map| map.data?.remove(KUBE_PROXY_KEY));
    data.as_deref().and_then(of_kube_proxy).into_iter().chain(metallb).collect()
}

/// What is configured in vain, one sentence for each, with what to do.
pub(crate) async fn unread(cluster: &Cluster) -> Vec<String> {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.system);
    let (old, of_nodes) =
        futures::join!(client::get(&maps, &cluster.system, OLD_CONFIG.0), pools_of_nodes(cluster));
    let old = old.ok().flatten().and_then(|map| of_old_metallb(&map, &cluster.system));
    of_nodes.into_iter().chain(old).collect()
}

/// A configuration that MetalLB has not read since 0.13, either.
fn of_old_metallb(map: &ConfigMap, system: &str) -> Option<String> {
    map.data.as_ref()?.get(OLD_CONFIG.1)?.contains("address-pools").then(|| {
        format!(
            "ConfigMap {} in namespace {system} is of MetalLB before 0.13, and has no effect: kubectl get configmap -n {system} {} -o yaml | kubectl ferrolb convert -f - writes what took its place; delete it when that is applied",
            OLD_CONFIG.0, OLD_CONFIG.0
        )
    })
}

/// `NodeAddressPool`s that nobody reads.
async fn pools_of_nodes(cluster: &Cluster) -> Option<String> {
    let runs = cluster.of_part(Part::Controller).next().is_some();
    if !runs || cluster.serves_node_pools() {
        return None;
    }
    let pools = cluster.of_namespace::<NodeAddressPool>(&cluster.system).await.unwrap_or_default();
    let names: Vec<String> = pools.iter().map(ResourceExt::name_any).collect();
    of_pools_of_nodes(&names)
}

fn of_pools_of_nodes(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| {
        format!(
            "NodeAddressPool {} has no effect, for the controller is not told to serve such pools: set controller.nodeAddressPools.enabled in the chart",
            list(names)
        )
    })
}

/// What kube-proxy does with addresses of Services by this configuration.
fn of_kube_proxy(configuration: &str) -> Option<String> {
    let it: Value = serde_saphyr::from_str(configuration).ok()?;
    (it["mode"] == "ipvs" && it["ipvs"]["strictARP"] != true).then(|| {
        format!(
            "kube-proxy runs in IPVS mode without strictARP, so every node answers ARP for every address: set ipvs.strictARP to true in ConfigMap {} of namespace {}, and restart kube-proxy",
            KUBE_PROXY.1, KUBE_PROXY.0
        )
    })
}

/// MetalLB, where it serves the same Services from another namespace. In the same one, FerroLB waits until it is gone.
async fn metallb(cluster: &Cluster) -> Option<String> {
    if !cluster.programs.as_ref().is_ok_and(|programs| !programs.is_empty()) {
        return None;
    }
    let lists = METALLB.map(|labels| client::list::<Pod>(&cluster.client, None, Some(labels)));
    let pods: Vec<Pod> = join_all(lists).await.into_iter().filter_map(Result::ok).flatten().collect();
    of_metallb(&pods, cluster.rules().class.as_deref(), &cluster.system)
}

/// What MetalLB's Pods mean for a FerroLB that serves this class from this namespace.
fn of_metallb(pods: &[Pod], class: Option<&str>, system: &str) -> Option<String> {
    let same = pods.iter().filter(|pod| pod.namespace().is_some_and(|it| it != system));
    let same = same.filter(|pod| serves(pod, class));
    let namespaces: BTreeSet<String> = same.filter_map(ResourceExt::namespace).collect();
    let namespaces: Vec<String> = namespaces.into_iter().collect();
    (!namespaces.is_empty()).then(|| {
        format!(
            "MetalLB runs in namespace {}, and serves the same Services: two hosts may answer for one address. Remove one of the two, or give one a class (examples/from-metallb)",
            list(&namespaces)
        )
    })
}

/// Whether a Pod of MetalLB serves this class, as far as its command line tells.
pub(crate) fn serves(pod: &Pod, class: Option<&str>) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut words = containers.flat_map(|it| it.command.iter().chain(&it.args).flatten());
    let its = loop {
        let Some(word) = words.next() else { break None };
        match word.trim_start_matches('-').split_once('=') {
            Some(("lb-class", value)) => break Some(value.to_owned()),
            None if word.trim_start_matches('-') == "lb-class" => break words.next().cloned(),
            Some(_) | None => {}
        }
    };
    its.filter(|its| !its.is_empty()).as_deref() == class
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ipvs_without_strict_arp_is_told_and_no_other_mode() {
        let said = of_kube_proxy("kind: KubeProxyConfiguration\nmode: ipvs\nipvs:\n  strictARP: false\n");
        assert!(said.unwrap().contains("set ipvs.strictARP to true in ConfigMap kube-proxy"));
        assert!(of_kube_proxy("mode: ipvs").is_some());
        for fine in ["mode: ipvs\nipvs: {strictARP: true}", "mode: iptables", "mode: ''", "", "[", "a: ["] {
            assert_eq!(of_kube_proxy(fine), None, "{fine}");
        }
    }

    #[test]
    fn a_pool_of_nodes_that_nobody_reads_is_told_with_the_value_to_set() {
        assert_eq!(of_pools_of_nodes(&[]), None);
        let said = of_pools_of_nodes(&["nodes".to_owned()]).unwrap();
        assert!(said.starts_with("NodeAddressPool nodes has no effect"), "{said}");
        assert!(said.ends_with("set controller.nodeAddressPools.enabled in the chart"), "{said}");
    }

    #[test]
    fn an_old_configuration_of_metallb_is_told_and_no_other_configmap_of_that_name() {
        let map = |data: Value| serde_json::from_value(json!({"data": data})).unwrap();
        let said = of_old_metallb(&map(json!({"config": "address-pools:\n- name: a\n"})), "lb").unwrap();
        assert!(
            said.contains("kubectl get configmap -n lb config -o yaml | kubectl ferrolb convert -f -"),
            "{said}"
        );
        for other in [json!({"config": "peers: []"}), json!({"other": "address-pools:"}), json!(null)] {
            assert_eq!(of_old_metallb(&map(other), "lb"), None);
        }
    }

    #[test]
    fn metallb_elsewhere_counts_where_it_serves_the_same_class() {
        let pod = |namespace: &str, arguments: &[&str]| -> Pod {
            let it = json!({
                "metadata": {"name": "speaker", "namespace": namespace},
                "spec": {"containers": [{"name": "speaker", "args": arguments}]},
            });
            serde_json::from_value(it).unwrap()
        };
        let told =
            |arguments: &[&str], class| of_metallb(&[pod("other", arguments)], class, "metallb-system");
        assert!(told(&["--port=7472"], None).unwrap().contains("namespace other"));
        assert_eq!(told(&["--lb-class=x"], None), None);
        assert!(told(&["--lb-class", "x"], Some("x")).is_some());
        assert_eq!(told(&[], Some("x")), None);
        assert_eq!(of_metallb(&[pod("metallb-system", &[])], None, "metallb-system"), None, "FerroLB waits");
    }
}

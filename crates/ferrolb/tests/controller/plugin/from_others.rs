//! `quickstart --from`: what other load balancers have, written for FerroLB, and never while they serve.

use api::{IPAddressPool, L2Advertisement};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::site::{leader, program};
use super::{SYSTEM, account, answered, create, node, plugin, plugin_as, viewer};
use crate::fixture::{Cluster, run, wait};

/// A cluster with a controller of FerroLB, and a Service that has this address of somebody else.
async fn cluster(ip: &str) -> Cluster {
    let cluster = Cluster::start().await;
    account(&cluster, SYSTEM, "ferrolb").await;
    account(&cluster, "default", "default").await;
    node(&cluster, "n1", json!({}), "172.18.0.2").await;
    program(&cluster, "c-1", "controller", "n1", leader()).await;
    cluster.service("web", json!({})).await;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip}]}}});
    cluster.services().patch_status("web", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    cluster
}

/// A Pod in namespace `default`.
async fn other(cluster: &Cluster, name: &str, labels: Value, container: Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"automountServiceAccountToken": false, "containers": [container]},
    });
    create(cluster, ("", "v1", "Pod", "pods"), object).await;
}

async fn gone(cluster: &Cluster, name: &str) {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client.clone());
    pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
}

/// The names of FerroLB's pools and advertisements, and all ranges.
async fn written(cluster: &Cluster) -> (Vec<String>, Vec<String>, Vec<String>) {
    let pools: Api<IPAddressPool> = Api::namespaced(cluster.client.clone(), SYSTEM);
    let pools = pools.list(&ListParams::default()).await.unwrap().items;
    let advertisements: Api<L2Advertisement> = Api::namespaced(cluster.client.clone(), SYSTEM);
    let advertisements = advertisements.list(&ListParams::default()).await.unwrap().items;
    let ranges = pools.iter().flat_map(|pool| pool.spec.addresses.iter().map(|entry| entry.0.clone()));
    let (ranges, names) = (ranges.collect(), pools.iter().map(ResourceExt::name_any).collect());
    (names, advertisements.iter().map(ResourceExt::name_any).collect(), ranges)
}

/// Serves a kind of somebody else, of any fields.
async fn serve(cluster: &Cluster, (group, version, kind, plural): (&str, &str, &str, &str), scope: &str) {
    let crd = json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": scope, "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    });
    let crds: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    crds.create(&PostParams::default(), &serde_json::from_value(crd).unwrap()).await.unwrap();
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let objects: Api<kube::api::DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
    wait("the kind to be served", async || objects.list(&ListParams::default()).await.ok()).await;
}

#[test]
fn the_ranges_of_kube_vip_are_written_once_it_has_let_go_and_every_address_stays() {
    run(async {
        let cluster = cluster("10.7.0.9").await;
        let none = plugin(&cluster, "quickstart --from kube-vip --yes").await;
        assert!(none.code == 1 && none.stdout.contains("no ConfigMap kubevip"), "{none:?}");
        // Without its cloud provider, Services ask for each address by themselves.
        let asks = json!({"metadata": {"annotations": {"kube-vip.io/loadbalancerIPs": "10.7.0.9"}}});
        cluster.patch("web", asks).await;
        let alone = plugin(&cluster, "quickstart --from kube-vip --dry-run -o json").await;
        let kinds = answered(&alone)["items"].to_string();
        assert!(kinds.contains("kept-addresses") && kinds.contains("L2Advertisement"), "{alone:?}");
        let map = json!({
            "metadata": {"name": "kubevip"},
            "data": {"range-global": "10.8.0.1-10.8.0.9", "cidr-dev": "10.8.1.0/29", "search-order": "desc"},
        });
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "kube-system");
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
        let kube_vip = json!({
            "name": "kube-vip", "image": "ghcr.io/kube-vip/kube-vip:v0.8.0",
            "env": [{"name": "svc_enable", "value": "true"}],
        });
        other(&cluster, "kube-vip-1", json!({}), kube_vip).await;

        let refused = plugin(&cluster, "quickstart --from kube-vip --yes").await;
        assert_eq!(refused.code, 1, "{refused:?}");
        for part in ["Pod kube-vip-1 in namespace default", "two would answer", "1. ", "svc_enable=false"] {
            assert!(refused.stdout.contains(part), "{part}: {refused:?}");
        }
        assert!(written(&cluster).await.0.is_empty(), "it was refused");
        let shown = plugin(&cluster, "quickstart --from kube-vip --dry-run -o json").await;
        assert!(shown.code == 0 && shown.stderr.contains("not to be applied yet"), "{shown:?}");
        assert_eq!(answered(&shown)["items"].as_array().map(Vec::len), Some(4), "{shown:?}");
        assert!(shown.stderr.contains("search-order"), "{shown:?}");

        gone(&cluster, "kube-vip-1").await;
        let made = plugin(&cluster, "quickstart --from kube-vip --yes -o json").await;
        assert_eq!(answered(&made)["applied"], true, "{made:?}");
        let said = answered(&made)["evidence"].to_string();
        assert!(said.contains("10.7.0.9 of default/web is in no range"), "{said}");
        assert!(said.contains("metallb.io/loadBalancerIPs=10.7.0.9"), "{said}");
        let (pools, advertisements, ranges) = written(&cluster).await;
        assert_eq!(
            (pools, advertisements),
            (["dev", "global", "kept-addresses"].map(str::to_owned).into(), vec!["kube-vip".to_owned()],)
        );
        assert_eq!(ranges, ["10.8.1.0/29", "10.8.0.1-10.8.0.9", "10.7.0.9/32"]);

        let other = json!({"data": {"range-global": "10.8.0.1-10.8.0.99"}});
        maps.patch("kubevip", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
        let differs = plugin(&cluster, "quickstart --from kube-vip --yes").await;
        assert!(differs.code == 1 && differs.stdout.contains("IPAddressPool global already"), "{differs:?}");
    });
}

#[test]
fn objects_of_purelb_cilium_and_metallb_are_read_and_a_missing_right_is_named() {
    run(async {
        let cluster = cluster("10.6.0.1").await;
        let group = ("purelb.io", "v1", "ServiceGroup", "servicegroups");
        serve(&cluster, group, "Namespaced").await;
        let object = json!({
            "apiVersion": "purelb.io/v1", "kind": "ServiceGroup",
            "metadata": {"name": "default", "namespace": "default"},
            "spec": {"local": {"v4pools": [{"subnet": "10.6.0.0/24", "pool": "10.6.0.0/28"}]}},
        });
        create(&cluster, group, object).await;
        let pool = ("cilium.io", "v2alpha1", "CiliumLoadBalancerIPPool", "ciliumloadbalancerippools");
        serve(&cluster, pool, "Cluster").await;
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(pool.0, pool.1, pool.2), pool.3);
        let pools: Api<kube::api::DynamicObject> = Api::all_with(cluster.client.clone(), &resource);
        let object = json!({
            "apiVersion": "cilium.io/v2alpha1", "kind": pool.2, "metadata": {"name": "blue"},
            "spec": {"blocks": [{"start": "10.6.0.1", "stop": "10.6.0.9"}]},
        });
        pools.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();

        let shown = plugin(&cluster, "quickstart --from purelb --dry-run").await;
        assert!(shown.code == 0 && shown.stdout.contains("10.6.0.0/28"), "{shown:?}");
        assert!(!shown.stdout.contains("kept-addresses"), "it is in that range: {shown:?}");
        let refused = plugin(&cluster, "quickstart --from cilium --yes").await;
        assert!(refused.code == 1 && refused.stdout.contains("blue, which is not disabled"), "{refused:?}");
        let off = Patch::Merge(json!({"spec": {"disabled": true}}));
        pools.patch("blue", &PatchParams::default(), &off).await.unwrap();
        let made = plugin(&cluster, "quickstart --from cilium --yes -o json").await;
        assert_eq!(answered(&made)["applied"], true, "{made:?}");
        assert_eq!(written(&cluster).await.2, ["10.6.0.1-10.6.0.9"]);

        // MetalLB, in another namespace.
        let speaker = json!({"name": "speaker", "image": "metallb", "args": ["--port=7472"]});
        other(&cluster, "speaker", json!({"app": "metallb"}), speaker).await;
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": {"name": "old", "namespace": "default"}, "spec": {"addresses": ["10.5.0.0/28"]},
        });
        create(&cluster, ("metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools"), pool).await;
        let refused = plugin(&cluster, "quickstart --from metallb --yes").await;
        assert!(
            refused.code == 1 && refused.stdout.contains("Pod speaker in namespace default"),
            "{refused:?}"
        );
        gone(&cluster, "speaker").await;
        let made = plugin(&cluster, "quickstart --from metallb --yes -o json").await;
        assert_eq!(answered(&made)["applied"], true, "{made:?}");
        assert_eq!(written(&cluster).await.0, ["blue", "old"]);

        let service_lb = plugin(&cluster, "quickstart --from servicelb --yes").await;
        assert!(
            service_lb.code == 1 && service_lb.stdout.contains("nodeAddressPools.enabled=true"),
            "{service_lb:?}"
        );
        let rules = json!([{"apiGroups": [""], "resources": ["pods", "services", "configmaps"], "verbs": ["get", "list"]}]);
        let (_folder, kubeconfig) = viewer(&cluster, "viewer", rules).await;
        for (source, right) in [
            ("purelb", "list servicegroups.purelb.io"),
            ("cilium", "list ciliumloadbalancerippools.cilium.io"),
            ("metallb", "list ipaddresspools.metallb.io"),
            ("servicelb", "list nodes"),
        ] {
            let line = format!("quickstart --from {source} --dry-run");
            let right = format!("missing right: you may not {right}");
            wait("the rights to be there", async || {
                let said = plugin_as(&kubeconfig, &line).await;
                (said.code == 2 && said.stderr.contains(&right)).then_some(())
            })
            .await;
        }
    });
}

//! The release that Helm has installed.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::{Host, chart, wait_until};
use serde_json::{Value, json};

use crate::{serve, with_cluster};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/ferrolb");
const NAMESPACE: [&str; 2] = ["--namespace", chart::NAMESPACE];

fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    cluster.lab.helm(arguments.iter().chain(&NAMESPACE))
}

/// What there is nothing to count of in good health.
const ABSENT: [&str; 4] = [
    "ferrolb_gossip_frames_refused_total",
    "ferrolb_layer2_conflicts_total",
    "ferrolb_layer2_frames_not_sent_total",
    "ferrolb_layer2_groups_not_joined_total",
];
/// How the names of what there is only with a router begin.
const OF_ROUTERS: [&str; 2] = ["metallb_bgp_", "metallb_bfd_"];

/// The samples that FerroLB's programs show, by name.
fn samples(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for pod in [cluster.pods(Role::Controller)?, cluster.pods(Role::Speaker)?].concat() {
        let (_, text) = cluster.ask_program(&pod, "/metrics")?;
        let name = |line: &str| line.split(['{', ' ']).next().map(str::to_owned);
        names.extend(text.lines().filter(|line| !line.starts_with('#')).filter_map(name));
    }
    Ok(names)
}

/// The names of our metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| ["metallb_", "ferrolb_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn helm_test_asks_for_an_address_and_reaches_it_and_leaves_nothing() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("lan", &["172.16.211.220/32"]), &objects::advertisement()])?;
        let said = helm(cluster, &["test", "ferrolb", "--logs", "--timeout=90s"])?;
        ensure!(said.contains("172.16.211.220:80 leads here"), "{said}");
        wait_until("all of the test is gone", SOON, || {
            let kinds = "pods,services,serviceaccounts,roles,rolebindings";
            let labels = "app.kubernetes.io/component=test";
            let left =
                cluster.lab.kubectl(["get", kinds, "-n", chart::NAMESPACE, "-l", labels, "-o", "name"])?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })
    });
}

#[test]
fn the_samples_that_alerts_and_the_dashboard_name_are_in_a_scrape_as_soon_as_they_have_a_value() {
    with_cluster(|cluster| {
        let address = serve(cluster, "scraped", &["172.16.211.221/32"])?;
        let dashboard = fs::read_to_string(format!("{FOLDER}/files/dashboard.json"))?;
        let rules = fs::read_to_string(format!("{FOLDER}/templates/prometheusrule.yaml"))?;
        let mut wanted = named(&dashboard);
        wanted.extend(named(&rules));
        wanted.retain(|name| !ABSENT.contains(&name.as_str()));
        wanted.retain(|name| OF_ROUTERS.iter().all(|of| !name.starts_with(of)));
        // Whose count begins when something goes.
        cluster.kubectl(["delete", "service", "scraped"])?;
        cluster.balance("scraped")?;
        // The first refresh comes after half a minute.
        wait_until("all are there", SOON * 3, || {
            cluster.ask(address)?;
            let missing: Vec<_> = wanted.difference(&samples(cluster)?).cloned().collect();
            ensure!(missing.is_empty(), "missing: {missing:?}");
            Ok(())
        })
    });
}

#[test]
fn all_speakers_are_given_the_key_that_the_controller_has_made() {
    with_cluster(|cluster| {
        let secret = cluster.lab.kubectl_json(["get", "secret", "ferrolb-gossip", "-n", chart::NAMESPACE])?;
        ensure!(secret["data"]["secretkey"].as_str().is_some_and(|key| key.len() > 32), "it holds no key");
        for node in cluster.lab.nodes() {
            let id = *cluster.processes(Role::Speaker, node)?.first().context("a speaker runs")?;
            let file = format!("/proc/{id}/root/etc/ml_secret_key/secretkey");
            // Kubelet looks at Secrets that were empty when the Pod started about once a minute.
            wait_until(&format!("{node} has it"), SOON * 5, || {
                let size = cluster.lab.run(Host::Node(node), ["stat", "-L", "-c", "%s", &file])?;
                ensure!(size.trim() == "64", "it has {size} bytes");
                Ok(())
            })?;
        }
        Ok(())
    });
}

#[test]
fn a_report_that_nobody_keeps_is_removed() {
    with_cluster(|cluster| {
        let node = cluster.lab.nodes().next().context("there is a node")?;
        let former = |name: &str, component: &str| {
            json!({
                "apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState",
                "metadata": {"name": name, "namespace": chart::NAMESPACE, "labels": {
                    "metallb.io/component-type": component, "metallb.io/node-name": node.to_string()}},
            })
        };
        let names = ["former-controller", "former-speaker"];
        cluster.apply([&former(names[0], "controller"), &former(names[1], "speaker")])?;
        wait_until("both are gone", SOON, || {
            let left =
                cluster.lab.kubectl(["get", "configurationstates", "-n", chart::NAMESPACE, "-o", "name"])?;
            ensure!(!left.contains("former-"), "{left}");
            Ok(())
        })
    });
}

#[test]
fn what_is_uninstalled_leaves_nothing_but_the_crds_and_what_they_hold() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("kept", &["172.16.211.222/32"])])?;
        cluster.uninstall()?;
        left_behind(cluster)?;
        cluster.lab.kubectl(["get", "ipaddresspool", "kept", "-n", chart::NAMESPACE]).map(drop)
    });
}

fn left_behind(cluster: &Cluster) -> Result<()> {
    // Kubernetes' own, and what was asked to stay. Events go by themselves.
    let stays = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match object["kind"].as_str().unwrap_or_default() {
            "ServiceAccount" => name == "default",
            "ConfigMap" => name == "kube-root-ca.crt",
            "IPAddressPool" => name == "kept",
            "CustomResourceDefinition" => name.ends_with(".metallb.io") || name.ends_with(".ferrolb.io"),
            // Kubernetes makes one for each version that the definitions have.
            "APIService" => name.ends_with(".ferrolb.io"),
            kind => kind == "Event",
        }
    };
    let ours = |object: &Value| {
        let metadata = &object["metadata"];
        metadata["namespace"] == chart::NAMESPACE || metadata.to_string().contains("ferrolb")
    };
    wait_until("nothing is left", SOON, || {
        let kinds = cluster.lab.kubectl(["api-resources", "--verbs=list", "-o", "name"])?;
        let kinds: Vec<&str> = kinds.lines().collect();
        let list = cluster.lab.kubectl_json(["get", &kinds.join(","), "--all-namespaces"])?;
        let all = list["items"].as_array().context("there is a list")?;
        let left: Vec<String> = all
            .iter()
            .filter(|object| ours(object) && !stays(object))
            .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
            .collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
}

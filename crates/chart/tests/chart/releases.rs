//! Releases one after another and beside MetalLB, as an API server sees them.

use std::fs;

use chart::folder;
use lab::tools::Program;
use serde_json::{Value, json};

use crate::server::{Cluster, write};

const NAMESPACE: &str = "--namespace=metallb-system";

fn get(cluster: &Cluster, object: &str, field: &str) -> String {
    cluster.kubectl(&["get", object, NAMESPACE, "-o", &format!("jsonpath={field}")])
}

fn owner_of_the_pools(cluster: &Cluster) -> String {
    get(cluster, "crd/ipaddresspools.metallb.io", r"{.metadata.annotations.meta\.helm\.sh/release-name}")
}

/// Uninstalls, and installs under another name in another namespace, with the pools' definitions kept.
fn installs_under_another_name(helm: Program) {
    let (cluster, chart) = (Cluster::start(), folder());
    let chart = chart.to_str().unwrap();
    cluster.helm(helm, &["install", "ferrolb", chart, NAMESPACE, "--create-namespace"]);
    cluster.helm(helm, &["uninstall", "ferrolb", NAMESPACE]);
    let install = ["install", "lb", chart, "--namespace=lb-system", "--create-namespace"];
    let refused = cluster.run(helm, &install);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("meta.helm.sh/release-name"), "{said}");
    let ours = ["get", "deployments,daemonsets,secrets,serviceaccounts", "-A", "-o", "name"];
    let ours = [&ours[..], &["-l", "app.kubernetes.io/name=ferrolb"]].concat();
    assert!(!cluster.kubectl(&ours).contains("ferrolb"), "nothing has been changed");

    // The README's step.
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    assert!(
        readme.contains("helm install lb charts/ferrolb -n lb-system --create-namespace --take-ownership")
    );
    cluster.helm(helm, &[&install[..], &["--take-ownership"]].concat());
    assert_eq!(owner_of_the_pools(&cluster), "lb");
    // From then on all is as usual, and the way back is the same.
    cluster.helm(helm, &["upgrade", "lb", chart, "--namespace=lb-system", "--set=speaker.logLevel=debug"]);
    cluster.helm(helm, &["uninstall", "lb", "--namespace=lb-system"]);
    cluster.helm(helm, &["install", "ferrolb", chart, NAMESPACE, "--take-ownership"]);
    assert_eq!(owner_of_the_pools(&cluster), "ferrolb");
    assert_eq!(cluster.kubectl(&["get", "crds", "-o", "name"]).lines().count(), 11);
}

#[test]
fn after_an_uninstallation_it_installs_under_another_name_in_one_step() {
    installs_under_another_name(Program::Helm);
}

#[test]
fn after_an_uninstallation_helm_3_installs_it_under_another_name_in_one_step() {
    installs_under_another_name(Program::Helm3);
}

#[test]
fn beside_a_release_that_serves_the_same_services_no_other_is_installed() {
    let (helm, cluster, chart) = (Program::Helm, Cluster::start(), folder());
    let chart = chart.to_str().unwrap();
    cluster.helm(helm, &["install", "ferrolb", chart, NAMESPACE, "--create-namespace"]);
    let install = ["install", "lb", chart, "--namespace=lb-system", "--create-namespace", "--take-ownership"];
    let refused = cluster.run(helm, &install);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let part = "FerroLB runs already, as release ferrolb in namespace metallb-system";
    assert!(!refused.status.success() && said.contains(part), "{said}");
    assert_eq!(owner_of_the_pools(&cluster), "ferrolb", "nothing has been changed");
    // Where the two leave each other alone, it is; and the first one can be upgraded from then on.
    cluster.helm(helm, &[&install[..], &["--set=loadBalancerClass=example.com/other"]].concat());
    cluster.helm(helm, &["upgrade", "ferrolb", chart, NAMESPACE, "--take-ownership"]);
}

/// What MetalLB's chart installs that could be taken for ours: selectors can't be changed.
fn metallbs_workloads() -> Value {
    let workload = |kind: &str, part: &str, spec: Value| {
        let labels = json!({"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb",
            "app.kubernetes.io/component": part});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": format!("metallb-{part}"), "namespace": "metallb-system", "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": part, "image": format!("quay.io/metallb/{part}")}]},
                },
            },
        });
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        object
    };
    let items = [
        workload("Deployment", "controller", json!({"replicas": 0})),
        workload("DaemonSet", "speaker", json!({})),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

#[test]
fn it_installs_beside_metallb_with_metallbs_names_and_stays_when_metallb_is_removed() {
    let temporary = tempfile::tempdir().unwrap();
    let metallb = write(temporary.path(), "metallb.json", &metallbs_workloads());
    let chart = folder();
    let readme = fs::read_to_string(folder().join("../../examples/from-metallb/README.md")).unwrap();
    let removals: Vec<&str> = readme
        .lines()
        .map(str::trim)
        .filter(|line| {
            line.starts_with("kubectl delete") && line.contains("-l app.kubernetes.io/instance=metallb")
        })
        .collect();
    assert!(removals.len() >= 3, "{removals:?}");
    for (helm, release, value) in [
        (Program::Helm, "metallb", "fullnameOverride=metallb"),
        (Program::Helm, "metallb", "nameOverride=metallb"),
        (Program::Helm3, "ferrolb", "fullnameOverride=metallb"),
    ] {
        let cluster = Cluster::start();
        cluster.kubectl(&["create", "namespace", "metallb-system"]);
        cluster.kubectl(&["apply", "-f", &metallb]);
        let way: &[&str] = if helm == Program::Helm { &["--server-side=false"] } else { &[] };
        let set = format!("--set={value}");
        let install = ["install", release, chart.to_str().unwrap(), NAMESPACE, "--take-ownership", &set];
        cluster.helm(helm, &[&install[..], way].concat());
        for workload in ["deployment/metallb-controller", "daemonset/metallb-speaker"] {
            let label = get(&cluster, workload, r"{.spec.selector.matchLabels.app\.kubernetes\.io/name}");
            assert_eq!(label, "metallb", "{release} {value}: {workload} is left alone");
        }
        for removal in &removals {
            let words: Vec<&str> = removal.split(' ').skip(1).collect();
            cluster.kubectl(&words);
        }
        let left = cluster.kubectl(&["get", "deployments,daemonsets", NAMESPACE, "-o", "name"]);
        let left: Vec<&str> = left.lines().collect();
        assert!(
            left.len() == 2 && left.iter().all(|name| name.contains("ferrolb")),
            "{release} {value}: {left:?}"
        );
        let rest = cluster.kubectl(&["get", "serviceaccounts,secrets", NAMESPACE, "-o", "name"]);
        let rest = rest.lines().filter(|name| name.contains("ferrolb") && !name.contains("sh.helm.release"));
        assert_eq!(rest.count(), 3, "{release} {value}: two accounts and the gossip's Secret");
    }
}

#[test]
fn an_upgrade_that_replaces_every_object_goes_through() {
    for (helm, force) in
        [(Program::Helm, &["--force-replace", "--server-side=false"][..]), (Program::Helm3, &["--force"])]
    {
        let (cluster, chart) = (Cluster::start(), folder());
        let chart = chart.to_str().unwrap();
        cluster.helm(helm, &["install", "ferrolb", chart, NAMESPACE, "--create-namespace"]);
        let upgrade = ["upgrade", "ferrolb", chart, NAMESPACE, "--set=speaker.logLevel=debug"];
        cluster.helm(helm, &[&upgrade[..], force].concat());
        // Empty, as the controller finds it; it puts the key back.
        assert_eq!(get(&cluster, "secret/ferrolb-gossip", "{.data}"), "");
    }
}

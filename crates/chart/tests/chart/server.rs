//! What an API server says to the manifests.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use chart::{Helm, manifests_folder};
use lab::apiserver::ApiServer;
use lab::tools::{Program, Tools};
use serde_json::{Value, json};

use crate::rendering::objects;

/// Far longer than anything takes: reached only when it will never happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

pub(crate) struct Cluster {
    server: ApiServer,
    tools: Tools,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let tools = Tools::ensure(&[Program::Kubectl, Program::Helm, Program::Helm3]).unwrap();
        Self { server: ApiServer::launch().unwrap(), tools }
    }

    pub(crate) fn run(&self, program: Program, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.tools.path(program));
        command.args(arguments).env("KUBECONFIG", self.server.kubeconfig()).output().unwrap()
    }

    /// Runs kubectl, which must succeed, and returns what it says, warnings included.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        succeed(arguments, self.run(Program::Kubectl, arguments))
    }

    /// Waits until the API server answers for the kinds of all CRDs, each a moment after it has taken the definition.
    pub(crate) fn serves_all_kinds(&self) {
        for crd in self.kubectl(&["get", "crds", "-o", "name"]).lines() {
            let kind = crd.rsplit('/').next().unwrap();
            lab::wait_until("the kind is served", DEADLINE, || {
                let asked = self.run(Program::Kubectl, &["get", kind, "--all-namespaces"]);
                anyhow::ensure!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
                Ok(())
            })
            .unwrap();
        }
    }

    /// The same as `kubectl` for Helm or Helm 3.
    pub(crate) fn helm(&self, helm: Program, arguments: &[&str]) -> String {
        succeed(arguments, self.run(helm, arguments))
    }
}

fn succeed(arguments: &[&str], output: Output) -> String {
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {said}", arguments.join(" "));
    said
}

pub(crate) fn write(folder: &Path, name: &str, object: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, object.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn the_plain_manifests_can_be_applied_again_by_other_tools_and_managers() {
    let cluster = Cluster::start();
    let folder = manifests_folder();
    let file = folder.join("ferrolb.yaml");
    let said = cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    assert!(!said.contains("Warning"), "{said}");
    let said = cluster.kubectl(&["apply", "-k", folder.to_str().unwrap()]);
    let changed: Vec<&str> = said.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    // kubectl always sends the selector of a budget and the strategy of a Deployment anew.
    let sent_anew = ["poddisruptionbudget.policy/ferrolb-controller", "deployment.apps/ferrolb-controller"];
    let sent_anew =
        |line: &&str| sent_anew.iter().any(|known| line.ends_with(&format!("{known} configured")));
    assert!(changed.iter().all(sent_anew), "{changed:?}");
    // Whoever else applies the same text finds no conflict: nothing in it is completed by the API server.
    for manager in ["argocd-controller", "flux"] {
        let manager = format!("--field-manager={manager}");
        cluster.kubectl(&["apply", "--server-side", &manager, "-f", file.to_str().unwrap()]);
    }
    let chart = chart::folder();
    let install =
        ["install", "ferrolb", chart.to_str().unwrap(), "--namespace=metallb-system", "--take-ownership"];
    cluster.helm(Program::Helm, &install);
}

#[test]
fn the_controller_meets_the_restricted_standard_and_the_speaker_lacks_only_what_it_needs() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "namespace", "strict"]);
    cluster.kubectl(&["label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted"]);
    cluster.kubectl(&["create", "serviceaccount", "any", "-n", "strict"]);
    let (helm, folder) = (Helm::find().unwrap(), tempfile::tempdir().unwrap());
    let create = |kind: &str, values: &[&str]| {
        let mut spec = objects(&helm, values, kind).remove(0)["spec"]["template"]["spec"].take();
        spec["serviceAccountName"] = json!("any");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}, "spec": spec});
        let file = write(folder.path(), kind, &pod);
        cluster.run(Program::Kubectl, &["create", "--dry-run=server", "-n", "strict", "-f", &file])
    };
    for values in [&[][..], &["--set=controller.recoverEndpoints=true"]] {
        succeed(&["controller"], create("Deployment", values));
    }
    let refused = create("DaemonSet", &[]);
    let said = String::from_utf8_lossy(&refused.stderr);
    let (_, violations) =
        said.split_once("violates PodSecurity \"restricted:latest\": ").unwrap_or_else(|| panic!("{said}"));
    // The names of the rules that it violates.
    let violated: Vec<&str> =
        violations.split("), ").map(|violation| violation.split(" (").next().unwrap()).collect();
    assert_eq!(violated, ["host namespaces", "hostPort", "unrestricted capabilities"], "{said}");
}

/// Makes what MetalLB leaves behind: its CRDs, as far as it matters here, and a pool. Its BGPPeers are converted by a
/// webhook.
fn install_metallb(cluster: &Cluster, folder: &Path, apply: &[&str]) {
    let mut crds =
        chart::documents(&fs::read_to_string(manifests_folder().join("ferrolb.yaml")).unwrap()).unwrap();
    crds.retain(|object| object["kind"] == "CustomResourceDefinition");
    let peers = crds.iter_mut().find(|crd| crd["metadata"]["name"] == "bgppeers.metallb.io").unwrap();
    peers["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "clientConfig": {"service": {"name": "webhook-service", "namespace": "metallb-system", "path": "/convert"}},
        "conversionReviewVersions": ["v1beta1", "v1beta2"],
    }});
    let crds = write(folder, "metallb.json", &json!({"apiVersion": "v1", "kind": "List", "items": crds}));
    cluster.kubectl(&[apply, &["-f", &crds]].concat());
    cluster.kubectl(&["create", "namespace", "metallb-system"]);
    cluster.serves_all_kinds();
    let pool = json!({"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "lan", "namespace": "metallb-system"}, "spec": {"addresses": ["192.0.2.0/24"]}});
    let pool = write(folder, "pool.json", &pool);
    cluster.kubectl(&["apply", "-f", &pool]);
}

/// What the README has done before FerroLB's manifests are applied. Helm needs it not, where the chart sees the cluster.
fn remove_conversion(cluster: &Cluster) {
    let readme = fs::read_to_string(chart::folder().join("../../examples/from-metallb/README.md")).unwrap();
    let line = readme.lines().map(str::trim).find(|line| line.starts_with("kubectl patch crd ")).unwrap();
    let words: Vec<&str> = line.split(' ').skip(1).map(|word| word.trim_matches('\'')).collect();
    let patch = words.iter().find_map(|word| word.strip_prefix("--patch='")).unwrap();
    let patch = format!("--patch={patch}");
    cluster.kubectl(&[&words[..words.len() - 1], &[&patch]].concat());
}

fn took_over(cluster: &Cluster) {
    let conversion = ["get", "crd", "bgppeers.metallb.io", "-o", "jsonpath={.spec.conversion}"];
    assert_eq!(cluster.kubectl(&conversion), r#"{"strategy":"None"}"#);
    cluster.kubectl(&["get", "ipaddresspool", "lan", "-n", "metallb-system"]);
}

#[test]
fn kubectl_and_helm_take_metallbs_crds_over_with_what_is_in_them() {
    let chart = chart::folder();
    let file = manifests_folder().join("ferrolb.yaml");
    let install =
        ["install", "ferrolb", chart.to_str().unwrap(), "--namespace=metallb-system", "--take-ownership"];
    let as_helm_does = ["apply", "--server-side", "--field-manager=helm"];
    // Helm 3 has no other way than the client's.
    let clients = (Program::Helm, &["--server-side=false"][..]);
    for (apply, (helm, how)) in
        [(&["apply"][..], clients), (&as_helm_does, clients), (&["apply"], (Program::Helm3, &[]))]
    {
        let (cluster, folder) = (Cluster::start(), tempfile::tempdir().unwrap());
        install_metallb(&cluster, folder.path(), apply);
        cluster.helm(helm, &[&install, how].concat());
        took_over(&cluster);
        // Without Helm, by somebody who changes over again.
        cluster.helm(helm, &["uninstall", "ferrolb", "--namespace=metallb-system"]);
        cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        took_over(&cluster);
    }
    for apply in [&["apply"][..], &as_helm_does] {
        let (cluster, folder) = (Cluster::start(), tempfile::tempdir().unwrap());
        install_metallb(&cluster, folder.path(), apply);
        remove_conversion(&cluster);
        cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        took_over(&cluster);
    }
}

#[test]
fn what_helm_installs_it_upgrades_with_the_key_kept_and_removes_all_but_the_crds() {
    let ways = ["--server-side=auto", "--server-side=false", "--server-side=true"];
    installed_upgraded_and_removed(Program::Helm, &ways.map(|way| vec![way]));
}

#[test]
fn so_it_is_with_helm_3() {
    installed_upgraded_and_removed(Program::Helm3, &[vec![]]);
}

/// Upgrades once in each of these ways.
fn installed_upgraded_and_removed(helm: Program, upgrades: &[Vec<&str>]) {
    let cluster = Cluster::start();
    let chart = chart::folder();
    let chart = chart.to_str().unwrap();
    let namespace = "--namespace=metallb-system";
    cluster.helm(helm, &["install", "ferrolb", chart, namespace, "--create-namespace"]);
    let key = r#"{"stringData": {"secretkey": "as the controller writes it"}}"#;
    cluster.kubectl(&["patch", "secret", "ferrolb-gossip", namespace, "--patch", key]);
    let upgrade = ["upgrade", "ferrolb", chart, namespace, "--set=speaker.logLevel=debug"];
    for how in upgrades {
        cluster.helm(helm, &[&upgrade, &how[..]].concat());
        let kept = cluster.kubectl(&[
            "get",
            "secret",
            "ferrolb-gossip",
            namespace,
            "-o",
            "jsonpath={.data.secretkey}",
        ]);
        assert!(!kept.is_empty(), "{how:?}");
    }
    cluster.helm(helm, &["rollback", "ferrolb", "1", namespace]);
    cluster.helm(helm, &["uninstall", "ferrolb", namespace]);
    let ours = ["-l", "app.kubernetes.io/name=ferrolb", "-o", "name"];
    let kinds = "deployments,daemonsets,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,services,configmaps,poddisruptionbudgets,leases";
    assert_eq!(cluster.kubectl(&[&["get", kinds, "--all-namespaces"], &ours[..]].concat()), "");
    assert_eq!(cluster.kubectl(&["get", "crds", "-o", "name"]).lines().count(), 11);
}

//! What an API server says to the manifests.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use chart::{Helm, manifests_folder};
use lab::apiserver::ApiServer;
use lab::tools::{Program, Tools};
use serde_json::{Value, json};

use crate::rendering::objects;

struct Cluster {
    server: ApiServer,
    tools: Tools,
}

impl Cluster {
    fn start() -> Self {
        let (server, tools) = (ApiServer::launch().unwrap(), Tools::ensure(&[Program::Kubectl, Program::Helm]).unwrap());
        Self { server, tools }
    }

    fn run(&self, program: Program, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.tools.path(program));
        command.args(arguments).env("KUBECONFIG", self.server.kubeconfig()).output().unwrap()
    }

    /// Runs kubectl, which must succeed, and returns what it says, warnings included.
    fn kubectl(&self, arguments: &[&str]) -> String {
        succeed(arguments, self.run(Program::Kubectl, arguments))
    }

    fn helm(&self, arguments: &[&str]) -> String {
        succeed(arguments, self.run(Program::Helm, arguments))
    }
}

fn succeed(arguments: &[&str], output: Output) -> String {
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{}: {said}", arguments.join(" "));
    said
}

fn write(folder: &Path, name: &str, object: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, object.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn the_plain_manifests_can_be_applied_and_applied_again_with_kustomize() {
    let cluster = Cluster::start();
    let folder = manifests_folder();
    let file = folder.join("ferrolb.yaml");
    let said = cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    assert!(!said.contains("Warning"), "{said}");
    let said = cluster.kubectl(&["apply", "-k", folder.to_str().unwrap()]);
    let changed: Vec<&str> = said.lines().filter(|line| !line.ends_with(" unchanged")).collect();
    assert!(changed.iter().all(|line| line.starts_with("customresourcedefinition")), "{changed:?}");
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
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
    let (_, violations) = said.split_once("violates PodSecurity \"restricted:latest\": ").unwrap_or_else(|| panic!("{said}"));
    // The names of the rules that it violates.
    let violated: Vec<&str> = violations.split("), ").map(|violation| violation.split(" (").next().unwrap()).collect();
    assert_eq!(violated, ["host namespaces", "hostPort", "unrestricted capabilities"], "{said}");
}

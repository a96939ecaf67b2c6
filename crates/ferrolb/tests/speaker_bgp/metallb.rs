//! What MetalLB tells routers where it speaks BGP by itself, change by change: the same as FerroLB.

use std::process::Command;

use lab::tools::{Program, Tools};
use serde_json::json;
use tempfile::TempDir;

use crate::steps::{self, Whose};
use crate::{Bird, Cluster, NAMESPACE, new_network, wait};

#[test]
#[ignore = "needs BIRD (bird2), and builds the speaker of MetalLB"]
fn metallb_tells_routers_the_same() {
    // In the network of the machine: what it is built from may have to be fetched.
    let tools = Tools::ensure(&[Program::MetallbSpeaker]).unwrap();
    new_network();
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::start();
    cluster.fill_for_steps();
    cluster.add_peers();
    let account = json!({"metadata": {"name": "default"}});
    cluster.create("ServiceAccount", NAMESPACE, &account);
    let bird = Bird::with(&folder, &steps::sessions());
    let _speakers = ["n1", "n2"].map(|node| {
        // It does not start without a Pod.
        let containers = json!([{"name": "speaker", "image": "speaker"}]);
        let spec = json!({"containers": containers, "automountServiceAccountToken": false});
        let pod = json!({"metadata": {"name": node}, "spec": spec});
        wait("a Pod to be accepted", || cluster.try_create("Pod", NAMESPACE, &pod).ok());
        let mut speaker = Command::new(tools.path(Program::MetallbSpeaker));
        speaker
            .args(["--port=0", "--health-probe-port=0", "--namespace", NAMESPACE])
            .args(["--pod-name", node, "--node-name", node])
            .env("METALLB_BGP_TYPE", "native");
        cluster.run(speaker, &folder, &format!("{node}.log"))
    });
    steps::go_through(Whose::All, &cluster, &bird);
}

//! The whole way back: when a node is lost, its endpoints are withdrawn as soon as its addresses move.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Failure, NAMESPACE, Role};
use lab::{Host, NodeId, chart, wait_until};
use serde_json::Value;

use crate::{serve, with_cluster};

/// From when a node falls silent until no new connection is sent there. Kubernetes alone takes 20 s and more in
/// this lab. The goal is two seconds; this is for a machine that does all of the nodes' work.
const RECOVERED_WITHIN: Duration = Duration::from_secs(4);
/// As long as Kubernetes does not notice by itself.
const OBSERVED_FOR: Duration = Duration::from_secs(12);
/// A kubelet looks after its Pods every ten seconds or so.
const CONTRADICTED_WITHIN: Duration = Duration::from_secs(90);
const NODE_BACK_WITHIN: Duration = Duration::from_mins(2);

/// The value that turns it on.
const RECOVER: &str = "controller.recoverEndpoints=true";

/// The condition `Ready` of the Pod that serves on a node.
fn readiness(cluster: &Cluster, node: NodeId) -> Result<Value> {
    let field = format!("spec.nodeName={node}");
    let pods = cluster.kubectl_json([
        "get",
        "pods",
        "-n",
        NAMESPACE,
        "-l",
        "app=web",
        "--field-selector",
        &field,
    ])?;
    let conditions =
        pods["items"][0]["status"]["conditions"].as_array().context("it has conditions")?.clone();
    conditions.into_iter().find(|it| it["type"] == "Ready").context("it has a condition Ready")
}

/// Where the controller runs that leads.
pub(crate) fn node_of_the_leader(cluster: &Cluster) -> Result<NodeId> {
    wait_until("a controller leads", e2e::SOON, || {
        let lease = cluster.kubectl_json(["get", "lease", "ferrolb-controller", "-n", chart::NAMESPACE])?;
        let leader = lease["spec"]["holderIdentity"].as_str().filter(|name| !name.is_empty());
        let pod = ["get", "pod", leader.context("none does")?, "-n", chart::NAMESPACE];
        cluster.kubectl_json(pod)?["spec"]["nodeName"].as_str().context("it has no node")?.parse()
    })
}

fn wait_until_lost(cluster: &Cluster, node: NodeId) -> Result<()> {
    wait_until("the endpoint is marked as lost", e2e::SOON, || {
        let ready = readiness(cluster, node)?;
        ensure!(ready["status"] == "False" && ready["reason"] == "FerroLBNodeLost", "{ready}");
        Ok(())
    })
}

#[test]
fn requests_succeed_again_soon_after_a_node_is_lost_with_its_endpoints_and_the_leading_controller() {
    with_cluster(|cluster| {
        let address = serve(cluster, "recovered", &["172.16.211.213/32"])?;
        let _values = cluster.with_values([RECOVER])?;
        cluster.wait_until_controllers_hear()?;
        let node = node_of_the_leader(cluster)?;
        let silent = SystemTime::now();
        let ((), visits) = cluster.while_visiting(address, || {
            cluster.lab.poweroff(node)?;
            wait_until_lost(cluster, node)?;
            thread::sleep(OBSERVED_FOR);
            Ok(())
        })?;
        let after = |failure: &Failure| failure.at.duration_since(silent).unwrap_or_default();
        let last = visits.failed.iter().map(after).max().unwrap_or_default();
        eprintln!("the last request that failed was sent {last:?} after the node was lost");
        ensure!(last <= RECOVERED_WITHIN, "requests failed until {last:?} after: {:?}", visits.failed);
        ensure!(visits.answered > 0, "no request succeeded");

        cluster.lab.poweron(node)?;
        wait_until("all is well", NODE_BACK_WITHIN, || cluster.wait_until_well())
    });
}

#[test]
fn a_kubelet_that_is_alive_after_all_puts_its_endpoints_back() {
    with_cluster(|cluster| {
        let address = serve(cluster, "contradicted", &["172.16.211.212/32"])?;
        let _values = cluster.with_values([RECOVER])?;
        cluster.wait_until_controllers_hear()?;
        let node = cluster.announcer(address)?;
        cluster.signal(Role::Speaker, node, "STOP")?;
        let marked = wait_until_lost(cluster, node);
        cluster.signal(Role::Speaker, node, "CONT")?;
        marked?;
        wait_until("the endpoint is back", CONTRADICTED_WITHIN, || {
            let ready = readiness(cluster, node)?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(())
        })?;
        cluster.visit(Host::Client, address).map(drop)
    });
}

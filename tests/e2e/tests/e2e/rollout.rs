//! Upgrades and rollbacks of FerroLB while a client makes requests.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::chart;
use serde_json::json;

use crate::with_cluster;

const CONNECTIONS_PER_SECOND: u32 = 1000;
/// What the machine does besides may cost some of them their turn.
const AT_LEAST_PER_SECOND: f64 = 250.0;
const ROLLBACK: [&str; 6] =
    ["rollback", "ferrolb", "--namespace", chart::NAMESPACE, "--wait", "--timeout=120s"];

fn pods(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let pods = [cluster.pods(Role::Controller)?, cluster.pods(Role::Speaker)?].concat();
    let name = |pod: &serde_json::Value| pod["metadata"]["name"].as_str().map(str::to_owned);
    pods.iter().map(|pod| name(pod).context("every Pod has a name")).collect()
}

#[test]
fn no_connection_is_lost_while_ferrolb_is_upgraded_and_rolled_back() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("rollout", &["172.16.211.220/30"]), &objects::advertisement()])?;
        let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
        cluster.apply([&objects::service("local", &local)])?;
        let addresses =
            [cluster.wait_for_address("local")?, cluster.balance("first")?, cluster.balance("second")?];
        for address in addresses {
            cluster.wait_for_answer(address, SOON)?;
        }
        let places = addresses.map(|address| SocketAddr::new(IpAddr::V4(address), 80));
        let new = ["controller.podAnnotations.release=new", "speaker.podAnnotations.release=new"];
        let upgrade = || chart::set(&cluster.lab, new);
        let rollback = || cluster.lab.helm(ROLLBACK).map(drop);
        for (name, change) in [("upgrade", &upgrade as &dyn Fn() -> Result<()>), ("rollback", &rollback)] {
            let before = pods(cluster)?;
            let ((), visits) = cluster.while_visiting_all(&places, CONNECTIONS_PER_SECOND, || {
                change()?;
                cluster.wait_until_well()
            })?;
            eprintln!("{name}: {visits}");
            ensure!(before.is_disjoint(&pods(cluster)?), "{name} has left Pods alone");
            visits.none_may_be_cut()?;
            ensure!(visits.per_second() >= AT_LEAST_PER_SECOND, "too slow: {visits}");
        }
        Ok(())
    });
}

//! FerroLB end to end, in a lab: `cargo xtask test`.

mod allocation;
mod announcing;
mod chart;
mod failover;
mod faults;
mod input;
mod ipv6;
mod migration;
mod moves;
mod quickstart;
mod recovery;
mod rollout;
mod rotation;
mod security;
mod services;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::Result;
use e2e::{Cluster, objects};

static CLUSTER: LazyLock<Result<Cluster>> =
    LazyLock::new(|| Cluster::start(Path::new(env!("CARGO_BIN_EXE_send-frames"))));

/// Runs a test with the cluster, when it is its turn.
fn with_cluster(test: impl FnOnce(&Cluster) -> Result<()>) {
    match &*CLUSTER {
        Ok(cluster) => cluster.run(test),
        Err(error) => panic!("there is no cluster to test with: {error:#}"),
    }
}

/// Creates a pool of these addresses, which are announced, and a Service that gets the first of them; returns it once
/// it answers.
fn serve(cluster: &Cluster, name: &str, addresses: &[&str]) -> Result<Ipv4Addr> {
    cluster.apply([&objects::pool(name, addresses), &objects::advertisement()])?;
    let address = cluster.balance(name)?;
    cluster.wait_for_answer(address, e2e::SOON)?;
    Ok(address)
}

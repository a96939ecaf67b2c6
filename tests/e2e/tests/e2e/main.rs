//! FerroLB end to end, in a lab: `cargo xtask test`.

mod allocation;
mod announcing;
mod bgp;
mod chart;
mod failover;
mod faults;
mod input;
mod ipv6;
mod ipv6_first;
mod migration;
mod moves;
mod node_addresses;
mod page;
mod plugin;
mod policies;
mod quickstart;
mod recovery;
mod rollout;
mod rotation;
mod security;
mod services;
mod soak;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result};
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
    cluster.apply([&objects::load_balancer(name)])?;
    let address = first(addresses)?;
    cluster.wait_until_it_has(name, address)?;
    cluster.wait_for_answer(address, e2e::SOON)?;
    Ok(address)
}

/// The first address of a pool.
fn first(addresses: &[&str]) -> Result<Ipv4Addr> {
    let first =
        addresses.first().and_then(|range| range.split(['/', '-']).next()).context("a pool has addresses")?;
    Ok(first.trim().parse()?)
}

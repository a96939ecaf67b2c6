//! Addresses of IPv6, as the kernels of the client and of the nodes see them.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, SOON, objects};
use lab::{Host, NodeId, wait_until};
use serde_json::{Value, json};

use crate::failover::MOVED_WITHIN;
use crate::with_cluster;

pub(crate) fn visit(cluster: &Cluster, address: Ipv6Addr) -> Result<String> {
    let url = format!("http://[{address}]/");
    let curl = ["curl", "-gsSi", "--fail", "--connect-timeout", "1", "--max-time", "2", &url];
    cluster.lab.run(Host::Client, curl)
}

/// The node where the client believes an address to be.
fn neighbour(cluster: &Cluster, address: Ipv6Addr) -> Result<NodeId> {
    let neighbours =
        cluster.lab.run(Host::Client, ["ip", "-6", "-json", "neighbour", "show", &address.to_string()])?;
    let neighbours: Value = serde_json::from_str(&neighbours)?;
    let mac = neighbours[0]["lladdr"].as_str().context("the client knows no such neighbour")?;
    cluster
        .lab
        .nodes()
        .find(|node| Host::Node(*node).mac() == mac)
        .with_context(|| format!("{mac} is no node"))
}

/// The nodes that listen to what is asked for an address.
fn members_of_group(cluster: &Cluster, address: Ipv6Addr) -> Result<Vec<NodeId>> {
    // RFC 4291 section 2.7.1: the prefix ff02::1:ff00:0/104 and the last three bytes of the address.
    let [.., high, low] = address.segments();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low).to_string();
    let mut members = Vec::new();
    for node in cluster.lab.nodes() {
        let groups = cluster.lab.run(Host::Node(node), ["ip", "-6", "maddress", "show", "dev", "eth0"])?;
        if groups.split_whitespace().any(|word| word == group) {
            members.push(node);
        }
    }
    Ok(members)
}

#[test]
fn an_address_of_ipv6_is_found_by_who_asks_and_moves_at_once_from_a_node_that_loses_power() {
    with_cluster(|cluster| {
        let pool = objects::pool("six", &["fd00:172:16:211::5:216/128"]);
        let service =
            json!({"type": "LoadBalancer", "ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"});
        cluster.apply([&pool, &objects::advertisement(), &objects::service("six", &service)])?;
        let [IpAddr::V6(address)] = cluster.wait_for_addresses("six")?[..] else {
            bail!("not one address of IPv6: {:?}", cluster.addresses("six")?);
        };
        wait_until("the address answers", SOON, || visit(cluster, address))?;
        let first = neighbour(cluster, address)?;
        assert_eq!(members_of_group(cluster, address)?, [first], "who answers listens, and nobody else");

        moves_at_once_without_power(cluster, address)
    });
}

/// That an address which the client has visited moves in time when its node loses power.
pub(crate) fn moves_at_once_without_power(cluster: &Cluster, address: Ipv6Addr) -> Result<()> {
    let first = neighbour(cluster, address)?;
    let silent = Instant::now();
    cluster.lab.poweroff(first)?;
    // Nobody asks meanwhile: the client believes what it is told.
    let second = wait_until("the client is told of another node", SOON, || {
        let now = neighbour(cluster, address)?;
        ensure!(now != first, "it is still {now}");
        Ok(now)
    })?;
    let late = silent.elapsed();
    eprintln!("{address} moved after {late:?}");
    // And as long as it took to look.
    ensure!(late <= MOVED_WITHIN + Duration::from_millis(200), "the client was told after {late:?}");
    wait_until("visits succeed, if not those to the dead endpoint", SOON, || visit(cluster, address))?;
    assert_eq!(neighbour(cluster, address)?, second);
    Ok(())
}

//! What the LAN hears of an address.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::{Arp, Mac};
use e2e::{SOON, objects};
use lab::{Host, wait_until};

use crate::{serve, with_cluster};

/// Five announcements take 4.4 s; on a busy machine a late one may leave no time for the last.
const BURST: usize = 4;
/// 1.1 s, give or take what a busy machine adds between decision and capture. Below a second, old kernels would not heed
/// the second of two.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(2);

#[test]
fn a_takeover_is_told_by_requests_and_replies_to_all_a_good_second_apart() {
    with_cluster(|cluster| {
        let began = SystemTime::now();
        let address = serve(cluster, "burst", &["172.16.211.211/32"])?;
        let mac = Mac::of(Host::Node(cluster.announcer(address)?));
        let frames = wait_until("a burst was captured", SOON, || {
            let frames = cluster.gratuitous_since(address, began)?;
            ensure!(frames.len() >= 2 * BURST, "only {} frames", frames.len());
            Ok(frames)
        })?;

        let to_all = Arp {
            destination: Mac::BROADCAST,
            source: mac,
            operation: 1,
            sender: (mac, address),
            target: (Mac::ZERO, address),
        };
        let request = to_all;
        let reply = Arp { operation: 2, target: (mac, address), ..to_all };
        for expected in [request, reply] {
            let times: Vec<_> =
                frames.iter().filter(|(_, arp)| *arp == expected).map(|(at, _)| *at).collect();
            ensure!(times.len() >= BURST, "{} times {expected}", times.len());
            for pair in times.windows(2) {
                let gap = pair[1].duration_since(pair[0])?;
                ensure!(INTERVAL.contains(&gap), "{gap:?} between two announcements");
            }
        }
        ensure!(frames.iter().all(|(_, arp)| [request, reply].contains(arp)), "unexpected: {frames:?}");
        Ok(())
    });
}

#[test]
fn one_node_answers_whoever_asks_by_broadcast_or_directly() {
    with_cluster(|cluster| {
        let began = SystemTime::now();
        let address = serve(cluster, "asked", &["172.16.211.212/32"])?;
        let node = cluster.announcer(address)?;
        let (mac, client) = (Mac::of(Host::Node(node)), Mac::of(Host::Client));
        let answer = Arp {
            destination: client,
            source: mac,
            operation: 2,
            sender: (mac, address),
            target: (client, Host::Client.ipv4()),
        };
        for destination in [Mac::BROADCAST, mac] {
            let asked = SystemTime::now();
            let question = Arp { destination, ..Arp::question(Host::Client, address) };
            cluster.send([question.write().as_slice()])?;
            wait_until(&format!("a question to {destination} is answered"), SOON, || {
                let seen = cluster.arp_since(asked)?;
                ensure!(seen.iter().any(|(_, arp)| *arp == answer), "there were {seen:?}");
                Ok(())
            })?;
        }
        let claimed: BTreeSet<Mac> =
            cluster.claims_since(address, began)?.into_iter().map(|(_, claimer)| claimer).collect();
        assert_eq!(claimed, BTreeSet::from([mac]), "only one node has ever said that it has the address");
        Ok(())
    });
}

#[test]
fn nobody_answers_for_the_address_of_a_service_that_is_gone() {
    with_cluster(|cluster| {
        let address = serve(cluster, "gone", &["172.16.211.213/32"])?;
        cluster.kubectl(["delete", "service", "gone"])?;
        nobody_answers(cluster, address)
    });
}

#[test]
fn nobody_answers_for_a_service_without_a_ready_endpoint() {
    with_cluster(|cluster| {
        let address = serve(cluster, "empty", &["172.16.211.214/32"])?;
        let nothing = serde_json::json!({"type": "LoadBalancer", "selector": {"app": "nothing"}});
        cluster.apply([&objects::service("empty", &nothing)])?;
        nobody_answers(cluster, address)?;
        assert_eq!(cluster.addresses("empty")?, [address], "the Service keeps its address");
        Ok(())
    });
}

#[test]
fn a_node_that_answers_for_all_addresses_because_of_kube_proxy_is_warned_of() {
    with_cluster(|cluster| {
        let node = cluster.lab.nodes().next().context("there are no nodes")?;
        let link = |action| {
            cluster.lab.run(Host::Node(node), ["ip", "link", action, "kube-ipvs0", "type", "bridge"])
        };
        link("add")?;
        let warned = cluster.wait_for_warning("default", "Node", &node.to_string(), "strictARP");
        link("delete")?;
        warned
    });
}

fn nobody_answers(cluster: &e2e::Cluster, address: std::net::Ipv4Addr) -> Result<()> {
    wait_until(&format!("nobody answers for {address}"), SOON, || {
        let answerers = cluster.answerers(address)?;
        ensure!(answerers.is_empty(), "these answer: {answerers:?}");
        Ok(())
    })
}

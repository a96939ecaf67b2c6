//! What happens to an address when the node that answers for it, or the speaker there, goes away and comes back.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::Mac;
use e2e::{Cluster, Role, SOON};
use lab::{Host, NodeId, chart, wait_until};

use crate::{serve, with_cluster};

/// The API server holds a node that is silent to be alive for 20 s, and some more pass until everybody knows.
const NODE_LOST_WITHIN: Duration = Duration::from_secs(90);
/// A node that is switched on becomes Ready, and then its speaker.
const NODE_BACK_WITHIN: Duration = Duration::from_mins(2);
/// From when a speaker's Pod is known to be unready until another node has taken over.
const MOVED_WITHIN: Duration = Duration::from_secs(1);
/// So many visits in a row tell that no endpoint is dead.
const VISITS: usize = 20;

fn mac(node: NodeId) -> Mac {
    Mac::of(Host::Node(node))
}

/// Waits until a node answers again, and it alone.
fn wait_for_return(cluster: &Cluster, address: Ipv4Addr, node: NodeId, patience: Duration) -> Result<()> {
    wait_until(&format!("{node} answers for {address} again"), patience, || {
        let now = cluster.announcer(address)?;
        ensure!(now == node, "{now} does");
        Ok(())
    })
}

/// That a node other than `first` takes over within a second of `known`. Returns it.
fn moves_in_time(
    cluster: &Cluster,
    address: Ipv4Addr,
    first: NodeId,
    since: SystemTime,
    known: SystemTime,
) -> Result<Mac> {
    let (takeover, second) = wait_until("another node takes over", SOON, || {
        let frames = cluster.gratuitous_since(address, since)?;
        let takeover = frames.into_iter().find(|(_, arp)| arp.source != mac(first));
        takeover.map(|(at, arp)| (at, arp.source)).context("no gratuitous packet of another node")
    })?;
    let late = takeover.duration_since(known).unwrap_or_default();
    ensure!(late <= MOVED_WITHIN, "another node took over {late:?} after it was known");
    Ok(second)
}

#[test]
fn an_address_moves_from_a_node_that_loses_power_and_there_is_no_fight_when_it_returns() {
    with_cluster(|cluster| {
        let address = serve(cluster, "power", &["172.16.211.216/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        cluster.lab.poweroff(first)?;
        let second = cluster.announcer_within(address, NODE_LOST_WITHIN)?;
        assert_ne!(second, first);
        wait_until("visits succeed, the dead endpoint being known", NODE_LOST_WITHIN, || {
            (0..VISITS).try_for_each(|_| cluster.visit(Host::Client, address).map(drop))
        })?;

        let ((), visits) = cluster.while_visiting(address, || {
            cluster.lab.poweron(first)?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            cluster.wait_until_well()
        })?;
        assert_eq!(cluster.answerers(address)?, BTreeSet::from([mac(first)]));
        assert_eq!(cluster.owners_since(address, since)?, [first, second, first].map(mac));
        visits.must_all_succeed()
    });
}

#[test]
fn an_address_moves_within_a_second_of_the_deletion_of_its_speakers_pod() {
    with_cluster(|cluster| {
        let address = serve(cluster, "deleted", &["172.16.211.217/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let pod = cluster.speaker_on(first)?;
        let (second, visits) = cluster.while_visiting(address, || {
            cluster.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &pod, "--wait=false"])?;
            let second = moves_in_time(cluster, address, first, since, SystemTime::now())?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            Ok(second)
        })?;
        assert_eq!(cluster.owners_since(address, since)?, [mac(first), second, mac(first)]);
        visits.must_all_succeed()
    });
}

#[test]
fn an_address_moves_within_a_second_of_its_speakers_pod_turning_unready() {
    with_cluster(|cluster| {
        let address = serve(cluster, "unready", &["172.16.211.218/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let (second, visits) = cluster.while_visiting(address, || {
            let unprobed = cluster.block_probes(first)?;
            wait_for_unready(cluster, first)?;
            let second = moves_in_time(cluster, address, first, since, SystemTime::now())?;
            drop(unprobed);
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            Ok(second)
        })?;
        assert_eq!(cluster.owners_since(address, since)?, [mac(first), second, mac(first)]);
        visits.must_all_succeed()
    });
}

#[test]
fn an_address_moves_within_a_second_of_its_frozen_speaker_being_known_to_be_so() {
    with_cluster(|cluster| {
        let address = serve(cluster, "frozen", &["172.16.211.219/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        cluster.signal(Role::Speaker, first, "STOP")?;
        wait_for_unready(cluster, first)?;
        moves_in_time(cluster, address, first, since, SystemTime::now())?;
        cluster.wait_for_answer(address, SOON)?;

        cluster.signal(Role::Speaker, first, "CONT")?;
        wait_for_return(cluster, address, first, NODE_BACK_WITHIN)
    });
}

/// Waits until it is known that the speaker on a node is not ready.
fn wait_for_unready(cluster: &Cluster, node: NodeId) -> Result<()> {
    let pod = cluster.speaker_on(node)?;
    let unready =
        ["wait", "pod", "-n", chart::NAMESPACE, &pod, "--for=condition=Ready=false", "--timeout=30s"];
    cluster.kubectl(unready).map(drop)
}

//! What happens to an address when the node that answers for it, or the speaker there, goes away and comes back.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::Mac;
use e2e::{Cluster, Role, SOON};
use lab::{Host, NodeId, chart, wait_until};

use crate::{serve, with_cluster};
use std::net::Ipv4Addr;

/// The API server holds a node that is silent to be alive for 20 s, and some more pass until everybody knows.
const NODE_LOST_WITHIN: Duration = Duration::from_secs(90);
/// A node that is switched on becomes Ready, and then its speaker.
const NODE_BACK_WITHIN: Duration = Duration::from_mins(2);
/// From when a speaker's Pod is known to be unready until another node has taken over.
const MOVED_WITHIN: Duration = Duration::from_secs(1);
/// Two nodes may answer at the same time while an address moves, and no longer.
const BOTH_ANSWER_FOR: Duration = Duration::from_secs(1);
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

/// That an address which has moved to `node` since `since` did so once: nobody else claims it any more.
fn is_settled(cluster: &Cluster, address: Ipv4Addr, node: NodeId, since: SystemTime) -> Result<()> {
    let claims = cluster.claims_since(address, since)?;
    let own = claims.iter().find(|(_, claimer)| *claimer == mac(node));
    let (taken_over, _) = own.with_context(|| format!("{node} has not claimed {address}"))?;
    let late: Vec<_> =
        claims.iter().filter(|(at, by)| *by != mac(node) && *at > *taken_over + BOTH_ANSWER_FOR).collect();
    ensure!(late.is_empty(), "after {node} took over at {taken_over:?}, others went on: {late:?}");
    Ok(())
}

/// That within a second of `known` a node other than `first` has taken over.
fn moves_in_time(
    cluster: &Cluster,
    address: Ipv4Addr,
    first: NodeId,
    since: SystemTime,
    known: SystemTime,
) -> Result<()> {
    let takeover = wait_until("another node takes over", SOON, || {
        let frames = cluster.gratuitous_since(address, since)?;
        let takeover = frames.into_iter().find(|(_, arp)| arp.source != mac(first));
        takeover.map(|(at, _)| at).context("no gratuitous packet of another node")
    })?;
    let late = takeover.duration_since(known).unwrap_or_default();
    ensure!(late <= MOVED_WITHIN, "another node took over {late:?} after it was known");
    Ok(())
}

#[test]
fn an_address_moves_from_a_node_that_loses_power_and_there_is_no_fight_when_it_returns() {
    with_cluster(|cluster| {
        let address = serve(cluster, "power", &["172.16.211.216/32"])?;
        let first = cluster.announcer(address)?;
        cluster.lab.poweroff(first)?;
        let second = cluster.announcer_within(address, NODE_LOST_WITHIN)?;
        assert_ne!(second, first);
        wait_until("visits succeed, the dead endpoint being known", NODE_LOST_WITHIN, || {
            (0..VISITS).try_for_each(|_| cluster.visit(Host::Client, address).map(drop))
        })?;

        let back = SystemTime::now();
        let ((), visits) = cluster.while_visiting(address, || {
            cluster.lab.poweron(first)?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            cluster.wait_until_well()
        })?;
        assert_eq!(cluster.announcer(address)?, first);
        is_settled(cluster, address, first, back)?;
        ensure!(
            visits.failed.is_empty(),
            "{} visits succeeded, these failed: {:?}",
            visits.answered,
            visits.failed
        );
        Ok(())
    });
}

#[test]
fn an_address_moves_within_a_second_of_the_deletion_of_its_speakers_pod() {
    with_cluster(|cluster| {
        let address = serve(cluster, "deleted", &["172.16.211.217/32"])?;
        let first = cluster.announcer(address)?;
        let pod = cluster.speaker_on(first)?;
        let since = SystemTime::now();
        let ((), visits) = cluster.while_visiting(address, || {
            cluster.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &pod, "--wait=false"])?;
            moves_in_time(cluster, address, first, since, SystemTime::now())?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)
        })?;
        is_settled_after_return(cluster, address, first, since)?;
        ensure!(
            visits.failed.is_empty(),
            "{} visits succeeded, these failed: {:?}",
            visits.answered,
            visits.failed
        );
        Ok(())
    });
}

#[test]
fn an_address_moves_within_a_second_of_its_speakers_pod_turning_unready() {
    with_cluster(|cluster| {
        let address = serve(cluster, "frozen", &["172.16.211.218/32"])?;
        let first = cluster.announcer(address)?;
        let pod = cluster.speaker_on(first)?;
        let since = SystemTime::now();
        cluster.signal(Role::Speaker, first, "STOP")?;
        let unready =
            ["wait", "pod", "-n", chart::NAMESPACE, &pod, "--for=condition=Ready=false", "--timeout=30s"];
        cluster.kubectl(unready)?;
        moves_in_time(cluster, address, first, since, SystemTime::now())?;
        cluster.wait_for_answer(address, SOON)?;

        let thawed = SystemTime::now();
        cluster.signal(Role::Speaker, first, "CONT")?;
        wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
        is_settled_after_return(cluster, address, first, thawed)
    });
}

/// That `node`, having lost the address to another since `since`, has it back for good.
fn is_settled_after_return(
    cluster: &Cluster,
    address: Ipv4Addr,
    node: NodeId,
    since: SystemTime,
) -> Result<()> {
    let claims = cluster.claims_since(address, since)?;
    let last_of_others = claims.iter().rev().find(|(_, claimer)| *claimer != mac(node)).map(|(at, _)| *at);
    let watched_from = last_of_others.unwrap_or(since);
    cluster.answerers(address)?;
    is_settled(cluster, address, node, watched_from)
}

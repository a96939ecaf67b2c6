//! What happens to an address when the node that answers for it, or the speaker there, goes away and comes back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::Mac;
use e2e::{Cluster, Role, SOON};
use lab::tools::Program;
use lab::{Host, NodeId, chart, wait_until};

use crate::{serve, with_cluster};

/// From when an announcer falls silent until another node has taken over. The machine that runs the tests does
/// all of the nodes' work, which the goal of one second does not allow for.
pub(crate) const MOVED_WITHIN: Duration = Duration::from_millis(1500);
/// The API server holds a node that is silent to be alive for 20 s, and some more pass until everybody knows.
const NODE_LOST_WITHIN: Duration = Duration::from_secs(90);
/// A node that is switched on becomes Ready, and then its speaker.
const NODE_BACK_WITHIN: Duration = Duration::from_mins(2);
/// From when an address begins to return until the tests have seen it.
const RETURN_SEEN_WITHIN: Duration = Duration::from_secs(2);
/// From when a cable is back until one node alone answers.
const HEALED_WITHIN: Duration = Duration::from_millis(1500);
/// How often an address is visited where nothing may be lost.
const MANY_PER_SECOND: u32 = 500;
/// How long a speaker whose Pod is replaced is expected back.
const EXPECTED_FOR: Duration = Duration::from_secs(10);
/// How long the API server is away while a node loses power.
const BLIND_FOR: Duration = Duration::from_secs(30);
/// A burst takes five seconds. What the LAN is told after this time is no part of it,
const BURST_OVER: Duration = Duration::from_secs(10);
/// but what it is told every half a minute, give or take.
const REFRESHED_WITHIN: Duration = Duration::from_secs(45);
/// So many visits in a row tell that no endpoint is dead.
const VISITS: usize = 20;

pub(crate) fn mac(node: NodeId) -> Mac {
    Mac::of(Host::Node(node))
}

/// Waits until a node answers again, and it alone.
pub(crate) fn wait_for_return(
    cluster: &Cluster,
    address: Ipv4Addr,
    node: NodeId,
    patience: Duration,
) -> Result<()> {
    wait_until(&format!("{node} answers for {address} again"), patience, || {
        let now = cluster.announcer(address)?;
        ensure!(now == node, "{now} does");
        Ok(())
    })
}

/// Waits until a node other than `first` tells the LAN that it has the address; how long after `since` that was, and
/// which.
fn takeover(
    cluster: &Cluster,
    address: Ipv4Addr,
    first: NodeId,
    since: SystemTime,
) -> Result<(Duration, Mac)> {
    let (at, second) = wait_until("another node takes over", SOON, || {
        let frames = cluster.gratuitous_since(address, since)?;
        let takeover = frames.into_iter().find(|(_, arp)| arp.source != mac(first));
        takeover.map(|(at, arp)| (at, arp.source)).context("no gratuitous packet of another node")
    })?;
    let after = at.duration_since(since).unwrap_or_default();
    eprintln!("{address} moved after {after:?}");
    Ok((after, second))
}

/// That a node other than `first` takes over soon after `silent`. Returns it.
pub(crate) fn moves_in_time(
    cluster: &Cluster,
    address: Ipv4Addr,
    first: NodeId,
    silent: SystemTime,
) -> Result<Mac> {
    let (late, second) = takeover(cluster, address, first, silent)?;
    ensure!(late <= MOVED_WITHIN, "another node took over after {late:?}");
    Ok(second)
}

#[test]
fn an_address_moves_at_once_from_a_node_that_loses_power_and_there_is_no_fight_when_it_returns() {
    with_cluster(|cluster| {
        let address = serve(cluster, "power", &["172.16.211.216/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let silent = SystemTime::now();
        cluster.lab.poweroff(first)?;
        let second = moves_in_time(cluster, address, first, silent)?;
        wait_until("visits succeed, the dead endpoint being known", NODE_LOST_WITHIN, || {
            (0..VISITS).try_for_each(|_| cluster.visit(Host::Client, address).map(drop))
        })?;

        let (returned, mut visits) = cluster.while_visiting(address, || {
            cluster.lab.poweron(first)?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            let returned = SystemTime::now();
            cluster.wait_until_well()?;
            Ok(returned)
        })?;
        // While the node starts, Kubernetes may take its Pods for ready for a moment that are yet to be started again.
        visits.failed.retain(|failure| failure.at > returned - RETURN_SEEN_WITHIN);
        assert_eq!(cluster.answerers(address)?, BTreeSet::from([mac(first)]));
        assert_eq!(cluster.owners_since(address, since)?, [mac(first), second, mac(first)]);
        cluster.only_moves_may_cost(&visits, &[address], since)
    });
}

#[test]
fn an_address_moves_as_fast_while_the_api_server_is_down_and_is_announced_again_and_again() {
    with_cluster(|cluster| {
        let address = serve(cluster, "blind", &["172.16.211.218/32"])?;
        let first = cluster.announcer(address)?;
        let down = Instant::now();
        cluster.lab.crash(Host::Cp, Program::KubeApiserver)?;
        let silent = SystemTime::now();
        cluster.lab.poweroff(first)?;
        let second = moves_in_time(cluster, address, first, silent)?;
        let moved = SystemTime::now();
        wait_until("the LAN is told again, long after the takeover", REFRESHED_WITHIN, || {
            let told = cluster.gratuitous_since(address, moved + BURST_OVER)?;
            ensure!(!told.is_empty(), "it was not");
            Ok(())
        })?;
        thread::sleep(BLIND_FOR.saturating_sub(down.elapsed()));
        assert_eq!(cluster.owners_since(address, moved)?, [second]);

        cluster.start_api_server()?;
        cluster.lab.poweron(first)?;
        wait_for_return(cluster, address, first, NODE_BACK_WITHIN)
    });
}

#[test]
fn an_address_is_answered_for_elsewhere_but_moves_no_connection_while_its_speakers_pod_is_replaced() {
    with_cluster(|cluster| {
        let address = serve(cluster, "replaced", &["172.16.211.217/32"])?;
        cluster.wait_for_answer(address, SOON)?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let pod = cluster.speaker_on(first)?;
        let place = SocketAddr::new(IpAddr::V4(address), 80);
        let ((), visits) = cluster.while_visiting_all(&[place], MANY_PER_SECOND, || {
            cluster.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &pod, "--wait=false"])?;
            let stand_in = wait_until("another node answers", SOON, || {
                let answerers = cluster.answerers(address)?;
                answerers.into_iter().find(|it| *it != mac(first)).context("none does")
            })?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
            assert_eq!(cluster.owners_since(address, since)?, [mac(first), stand_in, mac(first)]);
            cluster.wait_until_well()
        })?;
        let told = cluster.gratuitous_since(address, since)?;
        ensure!(told.iter().all(|(_, arp)| arp.source == mac(first)), "the LAN was told otherwise: {told:?}");
        eprintln!("{visits}");
        visits.none_may_be_cut()
    });
}

#[test]
fn an_address_moves_in_the_end_when_a_speaker_that_should_be_replaced_is_not() {
    with_cluster(|cluster| {
        let address = serve(cluster, "overdue", &["172.16.211.211/32"])?;
        let first = cluster.announcer(address)?;
        let pod = cluster.speaker_on(first)?;
        let _unwelcome = Tainted::with(cluster, first, "NoSchedule")?;
        let since = SystemTime::now();
        cluster.kubectl(["delete", "pod", "-n", chart::NAMESPACE, &pod, "--wait=false"])?;
        let (after, _) = takeover(cluster, address, first, since)?;
        ensure!(EXPECTED_FOR <= after && after <= EXPECTED_FOR * 3 / 2, "it moved after {after:?}");
        cluster.wait_for_answer(address, SOON).map(drop)
    });
}

#[test]
fn an_address_is_always_answered_for_while_its_node_is_drained_of_all_pods_and_in_use_again() {
    with_cluster(|cluster| {
        let address = serve(cluster, "drained", &["172.16.211.209/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let drained = Tainted::with(cluster, first, "NoExecute")?;
        let second = wait_until("another node has the address to itself", SOON, || {
            let answerers = cluster.answerers(address)?;
            assert!(!answerers.is_empty(), "nobody answers");
            answerers.into_iter().find(|it| *it != mac(first)).context("it has not moved")
        })?;
        let told = cluster.gratuitous_since(address, since)?;
        ensure!(told.iter().any(|(_, arp)| arp.source == second), "the LAN was not told: {told:?}");
        drop(drained);
        wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
        assert_eq!(cluster.owners_since(address, since)?, [mac(first), second, mac(first)]);
        Ok(())
    });
}

/// A node with a taint that no Pod of FerroLB tolerates, until this is dropped.
struct Tainted<'a> {
    cluster: &'a Cluster,
    node: String,
    taint: String,
}

impl<'a> Tainted<'a> {
    fn with(cluster: &'a Cluster, node: NodeId, effect: &str) -> Result<Self> {
        let (node, taint) = (node.to_string(), format!("e2e=unwelcome:{effect}"));
        cluster.kubectl(["taint", "node", &node, &taint])?;
        Ok(Self { cluster, node, taint })
    }
}

impl Drop for Tainted<'_> {
    fn drop(&mut self) {
        let Self { cluster, node, taint } = self;
        if let Err(error) = cluster.kubectl(["taint", "node", node, &format!("{taint}-")]) {
            eprintln!("{error:#}");
        }
    }
}

/// Nobody knows whether a speaker that is stopped and whose Pod stays will be back.
#[test]
fn an_address_moves_at_once_from_a_speaker_that_is_asked_to_stop() {
    with_cluster(|cluster| {
        let address = serve(cluster, "stopped", &["172.16.211.213/32"])?;
        let first = cluster.announcer(address)?;
        let since = SystemTime::now();
        let ((), visits) = cluster.while_visiting(address, || {
            cluster.signal(Role::Speaker, first, "TERM")?;
            moves_in_time(cluster, address, first, since)?;
            wait_for_return(cluster, address, first, NODE_BACK_WITHIN)
        })?;
        cluster.only_moves_may_cost(&visits, &[address], since)
    });
}

#[test]
fn an_address_stays_with_a_speaker_that_kubelet_cannot_probe_while_its_fellows_hear_it() {
    with_cluster(|cluster| {
        let address = serve(cluster, "unprobed", &["172.16.211.215/32"])?;
        let since = SystemTime::now();
        let first = cluster.announcer(address)?;
        let ((), visits) = cluster.while_visiting(address, || {
            let _unprobed = cluster.block_probes(first)?;
            wait_for_unready(cluster, first)
        })?;
        assert_eq!(cluster.owners_since(address, since)?, [mac(first)]);
        visits.must_all_succeed()
    });
}

#[test]
fn an_address_moves_from_a_frozen_speaker_which_is_quiet_when_it_thaws_until_it_knows() {
    with_cluster(|cluster| {
        let address = serve(cluster, "frozen", &["172.16.211.219/32"])?;
        let first = cluster.announcer(address)?;
        let silent = SystemTime::now();
        cluster.signal(Role::Speaker, first, "STOP")?;
        let second = moves_in_time(cluster, address, first, silent)?;
        cluster.wait_for_answer(address, SOON)?;

        cluster.signal(Role::Speaker, first, "CONT")?;
        wait_for_return(cluster, address, first, NODE_BACK_WITHIN)?;
        assert_eq!(cluster.owners_since(address, silent)?, [second, mac(first)]);
        Ok(())
    });
}

#[test]
fn an_address_moves_from_an_unplugged_node_and_one_alone_answers_soon_after_the_cable_is_back() {
    with_cluster(|cluster| {
        let address = serve(cluster, "cable", &["172.16.211.214/32"])?;
        let first = cluster.announcer(address)?;
        let silent = SystemTime::now();
        cluster.lab.unplug(first)?;
        moves_in_time(cluster, address, first, silent)?;
        thread::sleep(UNPLUGGED_FOR);

        let back = SystemTime::now();
        cluster.lab.plug(first)?;
        wait_for_return(cluster, address, first, SOON)?;
        assert_eq!(cluster.answerers(address)?, BTreeSet::from([mac(first)]));
        let others =
            cluster.claims_since(address, back)?.into_iter().filter(|(_, claimer)| *claimer != mac(first));
        let healed =
            others.map(|(at, _)| at.duration_since(back).unwrap_or_default()).max().unwrap_or_default();
        eprintln!("{address} was answered for by another until {healed:?} after the cable was back");
        ensure!(healed <= HEALED_WITHIN, "another node answered until {healed:?} after");
        let told = cluster.gratuitous_since(address, back)?.into_iter();
        let burst = told.filter(|(_, arp)| arp.source == mac(first)).map(|(at, _)| at).min();
        let returned = burst.context("there is no new burst")?.duration_since(back).unwrap_or_default();
        eprintln!("{address} was announced afresh after {returned:?}");
        ensure!(returned <= HEALED_WITHIN, "it was announced afresh only {returned:?} after");
        wait_until("all is well", NODE_BACK_WITHIN, || cluster.wait_until_well())
    });
}

/// Long enough for both sides to have settled in.
const UNPLUGGED_FOR: Duration = Duration::from_secs(5);

/// Waits until it is known that the speaker on a node is not ready.
fn wait_for_unready(cluster: &Cluster, node: NodeId) -> Result<()> {
    let pod = cluster.speaker_on(node)?;
    let unready =
        ["wait", "pod", "-n", chart::NAMESPACE, &pod, "--for=condition=Ready=false", "--timeout=30s"];
    cluster.kubectl(unready).map(drop)
}

//! What FerroLB must live through.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::{self, Arp, Mac};
use e2e::{Cluster, Role, SOON, objects};
use lab::tools::Program;
use lab::{Host, wait_until};

use crate::{serve, with_cluster};

/// Longer than a leader remains one without renewing its lease.
const OUTAGE: Duration = Duration::from_secs(5);
const RECOVERED_WITHIN: Duration = Duration::from_mins(1);

/// Waits until a container of this Pod was started again.
fn wait_for_restart(cluster: &Cluster, pod: &str, before: u64) -> Result<()> {
    wait_until(&format!("{pod} is started again"), RECOVERED_WITHIN, || {
        let restarts = cluster.restarts()?;
        ensure!(restarts.get(pod).is_some_and(|count| *count > before), "restarts: {restarts:?}");
        Ok(())
    })
}

#[test]
fn addresses_answer_on_while_the_api_server_is_down_and_new_ones_are_given_when_it_is_back() {
    with_cluster(|cluster| {
        let address = serve(cluster, "outage", &["172.16.211.240/31"])?;
        let node = cluster.announcer(address)?;
        let restarts = cluster.restarts()?;
        let since = SystemTime::now();
        let ((), visits) = cluster.while_visiting(address, || {
            cluster.lab.crash(Host::Cp, Program::KubeApiserver)?;
            let end = Instant::now() + OUTAGE;
            while Instant::now() < end {
                assert_eq!(cluster.answerers(address)?, BTreeSet::from([Mac::of(Host::Node(node))]));
            }
            cluster.start_api_server()?;
            let second = cluster.balance("after")?;
            assert_eq!(second.octets()[3], 241);
            cluster.wait_for_answer(second, SOON).map(drop)
        })?;
        visits.must_all_succeed()?;
        let claimers: BTreeSet<Mac> =
            cluster.claims_since(address, since)?.into_iter().map(|(_, claimer)| claimer).collect();
        assert_eq!(claimers, BTreeSet::from([Mac::of(Host::Node(node))]));
        assert_eq!(cluster.addresses("outage")?, [address]);
        assert_eq!(cluster.restarts()?, restarts, "nobody gave up");
        Ok(())
    });
}

#[test]
fn garbage_on_the_lan_is_not_answered_and_does_no_harm() {
    with_cluster(|cluster| {
        let address = serve(cluster, "garbage", &["172.16.211.242/32"])?;
        let node = cluster.announcer(address)?;
        let restarts = cluster.restarts()?;
        // Asked by nobody else, so every answer to it is one to what is sent here.
        let stranger = (Mac([2, 0, 0, 0, 0, 0x99]), Ipv4Addr::new(172, 16, 211, 99));
        let question = Arp { sender: stranger, ..Arp::question(Host::Client, address) };
        let mut frames = Vec::new();
        for destination in [Mac::BROADCAST, Mac::of(Host::Node(node))] {
            let good = Arp { destination, ..question }.write();
            // The kernel sends nothing that is shorter than an Ethernet header.
            frames.extend((14..arp::LEN).map(|length| good[..length].to_vec()));
            // Everything between the Ethernet addresses and the sender's says what kind of frame it is.
            for at in 12..22 {
                for value in [0x00, 0x03, 0x7f, 0xff] {
                    let mut frame = good.clone();
                    frame[at] = value;
                    frames.push(frame);
                }
            }
            // A frame of a kilobyte that claims to have addresses of 255 bytes, and one of nothing but ones.
            let mut long = [good.clone(), vec![0xa5; 1000]].concat();
            long[18..20].fill(0xff);
            frames.push(long);
            frames.push([&good[..14], &[0xff; 46]].concat());
        }
        // Some of the bytes above were right already.
        frames.retain(|frame| Arp::read(frame).is_none_or(|arp| arp.operation != 1));
        ensure!(frames.len() > 100, "only {} frames", frames.len());
        let sent = SystemTime::now();
        cluster.send(frames.iter().map(Vec::as_slice))?;

        // The speaker reads in order: when this is answered, all of the above has been read.
        cluster.send([question.write().as_slice()])?;
        let answers = wait_until("a good question is answered", SOON, || {
            let mut seen = cluster.arp_since(sent)?;
            seen.retain(|(_, arp)| arp.destination == stranger.0);
            ensure!(!seen.is_empty(), "it was not");
            Ok(seen)
        })?;
        ensure!(answers.len() == 1, "garbage was answered: {answers:?}");
        assert_eq!(cluster.announcer(address)?, node);
        cluster.wait_for_answer(address, SOON)?;
        assert_eq!(cluster.restarts()?, restarts);
        Ok(())
    });
}

#[test]
fn no_address_is_lost_or_doubled_when_the_controllers_are_killed() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("killed", &["172.16.211.243-172.16.211.252"])])?;
        let before = ["a", "b", "c"].map(|name| Ok((name, cluster.balance(name)?)));
        let before = before.into_iter().collect::<Result<Vec<_>>>()?;
        let restarts = cluster.restarts()?;

        let new: Vec<String> = (0..6).map(|i| format!("new-{i}")).collect();
        let services: Vec<_> = new.iter().map(|name| objects::load_balancer(name)).collect();
        cluster.apply(&services)?;
        for node in cluster.lab.nodes() {
            if !cluster.processes(Role::Controller, node)?.is_empty() {
                cluster.signal(Role::Controller, node, "KILL")?;
            }
        }
        cluster.kubectl(["delete", "service", "b"])?;
        cluster.apply([&objects::load_balancer("late")])?;

        let mut all = BTreeSet::new();
        for name in new.iter().map(String::as_str).chain(["late"]) {
            all.insert(cluster.wait_for_address(name)?);
        }
        for (name, address) in before.into_iter().filter(|(name, _)| *name != "b") {
            assert_eq!(cluster.wait_for_address(name)?, address, "{name} keeps its address");
            all.insert(address);
        }
        assert_eq!(all.len(), new.len() + 3, "everybody has an address of their own: {all:?}");
        for pod in cluster.pods(Role::Controller)? {
            let name = pod["metadata"]["name"].as_str().context("every Pod has a name")?;
            wait_for_restart(cluster, name, restarts.get(name).copied().unwrap_or(0))?;
        }
        Ok(())
    });
}

#[test]
fn an_address_is_not_lost_or_doubled_when_its_speaker_is_killed() {
    with_cluster(|cluster| {
        let address = serve(cluster, "orphan", &["172.16.211.253/32"])?;
        let since = SystemTime::now();
        let node = cluster.announcer(address)?;
        let pod = cluster.speaker_on(node)?;
        let before = cluster.restarts()?.get(&pod).copied().unwrap_or(0);
        cluster.signal(Role::Speaker, node, "KILL")?;
        wait_for_restart(cluster, &pod, before)?;
        cluster.wait_until_well()?;

        let mac = Mac::of(Host::Node(node));
        assert_eq!(cluster.answerers(address)?, BTreeSet::from([mac]), "it ranks first again");
        // Whether another node steps in depends on how soon the container is back.
        let owners = cluster.owners_since(address, since)?;
        ensure!(
            owners.len() <= 3 && owners.last() == Some(&mac),
            "the address went from hand to hand: {owners:?}"
        );
        assert_eq!(cluster.addresses("orphan")?, [address]);
        cluster.wait_for_answer(address, SOON).map(drop)
    });
}

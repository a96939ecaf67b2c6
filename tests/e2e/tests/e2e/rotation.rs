//! The key of the gossip is replaced, as the chart's README has it, while a client makes requests.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Cluster, Desk, Role, SOON, readme};
use lab::{chart, wait_until};

use crate::{serve, with_cluster};

/// What a speaker counts when it holds another one to be dead, or does not understand it.
const TROUBLE: [&str; 3] = [
    "ferrolb_gossip_members_lost_total",
    "ferrolb_gossip_deaths_declared_total",
    "ferrolb_gossip_frames_refused_total",
];
/// As long as a stranger may knock in vain: a speaker is heard within a second.
const KNOCKS_FOR: Duration = Duration::from_secs(5);

/// The key that seals, as the Secret has it.
fn key(cluster: &Cluster) -> Result<Vec<u8>> {
    let template = "--template={{.data.secretkey | base64decode}}";
    let secret = ["get", "secret", "ferrolb-gossip", "-n", chart::NAMESPACE, template];
    Ok(cluster.kubectl(secret)?.into_bytes())
}

/// The sum of all samples of each of these names, by speaker.
fn count(cluster: &Cluster, names: &[&'static str]) -> Result<BTreeMap<(String, &'static str), f64>> {
    let mut counted = BTreeMap::new();
    for pod in cluster.pods(Role::Speaker)? {
        let speaker = pod["metadata"]["name"].as_str().context("every Pod has a name")?;
        let (_, text) = cluster.ask_program(&pod, "/metrics")?;
        for name in names {
            let samples = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
            let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            counted.insert((speaker.to_owned(), *name), values.sum());
        }
    }
    Ok(counted)
}

/// Waits until every speaker has read its keys anew so many times since it was started.
fn wait_until_heeded(cluster: &Cluster, times: &BTreeMap<String, usize>, more: usize) -> Result<()> {
    wait_until("all speakers have the keys", SOON, || {
        for (pod, before) in times {
            let read = keys_read(cluster, pod)?;
            ensure!(read >= before + more, "{pod} has read them {read} times, {before} of them before");
        }
        Ok(())
    })
}

fn keys_read(cluster: &Cluster, pod: &str) -> Result<usize> {
    let log = cluster.kubectl(["logs", "-n", chart::NAMESPACE, pod])?;
    Ok(log.lines().filter(|line| line.contains("gossip keys changed")).count())
}

#[test]
fn nobody_is_lost_while_the_key_is_replaced_and_the_former_one_is_refused_afterwards() {
    let blocks = readme::commands("charts/ferrolb/README.md", "### Replace the key");
    let blocks = blocks.unwrap_or_else(|error| panic!("{error:#}"));
    with_cluster(|cluster| {
        let [block] = &blocks[..] else { bail!("the README has other steps than this test: {blocks:?}") };
        let (patches, others): (Vec<&str>, Vec<&str>) =
            block.lines().partition(|line| line.starts_with("k patch "));
        ensure!(patches.len() == 3, "the README has other steps than this test: {block}");
        let speakers = cluster.lab.nodes().count();

        let address = serve(cluster, "rotation", &["172.16.211.224/32"])?;
        let former = key(cluster)?;
        assert_eq!(cluster.speakers_heard_with(&former, SOON)?, speakers, "the key is in use");
        let trouble = count(cluster, &TROUBLE)?;
        let mut read = BTreeMap::new();
        for pod in cluster.pods(Role::Speaker)? {
            let name = pod["metadata"]["name"].as_str().context("every Pod has a name")?;
            read.insert(name.to_owned(), keys_read(cluster, name)?);
        }

        let desk = Desk::new(cluster)?;
        let ((), visits) = cluster.while_visiting(address, || {
            for command in others {
                desk.type_in(command)?;
            }
            for (step, patch) in (1..).zip(patches) {
                desk.type_in(patch)?;
                desk.type_in("look")?;
                wait_until_heeded(cluster, &read, step)?;
            }
            Ok(())
        })?;
        visits.must_all_succeed()?;
        assert_eq!(count(cluster, &TROUBLE)?, trouble, "a speaker was lost or refused");

        let new = key(cluster)?;
        ensure!(new != former, "the key is the same");
        assert_eq!(cluster.speakers_heard_with(&new, SOON)?, speakers, "the new key is in use");
        assert_eq!(cluster.speakers_heard_with(&former, KNOCKS_FOR)?, 0);
        let refused = count(cluster, &["ferrolb_gossip_frames_refused_total"])?;
        ensure!(refused.values().all(|frames| *frames > 0.0), "nobody has refused anything: {refused:?}");
        Ok(())
    });
}

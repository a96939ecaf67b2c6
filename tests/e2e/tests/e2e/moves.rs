//! What the API server says moves an address, and what it cannot say moves nothing.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::tools::Program;
use lab::{Host, NodeId, wait_until};
use serde_json::{Value, json};

use crate::failover::{mac, moves_in_time, wait_for_return};
use crate::{serve, with_cluster};

const RECOVERED_WITHIN: Duration = Duration::from_mins(1);

#[test]
fn an_address_moves_from_a_node_with_the_label_that_excludes_it() {
    with_cluster(|cluster| {
        let address = serve(cluster, "label", &["172.16.211.230/32"])?;
        let first = cluster.announcer(address)?;
        let node = first.to_string();
        let label = |label| cluster.kubectl(["label", "node", &node, "--overwrite", label]);
        let since = SystemTime::now();
        let (moved, visits) = cluster.while_visiting(address, || {
            let silent = SystemTime::now();
            label("node.kubernetes.io/exclude-from-external-load-balancers=true")?;
            let moved = moves_in_time(cluster, address, first, silent);
            label("node.kubernetes.io/exclude-from-external-load-balancers-")?;
            wait_for_return(cluster, address, first, SOON)?;
            Ok(moved)
        })?;
        moved?;
        cluster.only_moves_may_cost(&visits, &[address], since)
    });
}

#[test]
fn an_address_follows_the_only_endpoint_where_policy_local_wants_one() {
    with_cluster(|cluster| {
        let pods = endpoints(cluster)?;
        let [(first, one), (second, another), ..] = &pods[..] else {
            anyhow::bail!("two Pods are wanted: {pods:?}")
        };
        let label = |pod: &str, label| cluster.kubectl(["label", "pod", pod, "--overwrite", label]);
        label(one, "here=yes")?;
        let spec = json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": {"app": "web", "here": "yes"},
        });
        let pool = objects::pool("follow", &["172.16.211.231/32"]);
        cluster.apply([&pool, &objects::advertisement(), &objects::service("follow", &spec)])?;
        let address = Ipv4Addr::new(172, 16, 211, 231);
        cluster.wait_until_it_has("follow", address)?;
        assert_eq!(cluster.announcer(address)?, *first);

        label(another, "here=yes")?;
        label(one, "here-")?;
        wait_for_return(cluster, address, *second, SOON)?;
        cluster.wait_for_answer(address, SOON)?;
        label(another, "here-")?;
        wait_until("nobody answers for what has no endpoint", SOON, || {
            let answerers = cluster.answerers(address)?;
            ensure!(answerers.is_empty(), "these do: {answerers:?}");
            Ok(())
        })
    });
}

/// The nodes with a Pod of `backend.yaml`, and what that is called.
fn endpoints(cluster: &Cluster) -> Result<Vec<(NodeId, String)>> {
    let pods = cluster.kubectl_json(["get", "pods", "--selector", "app=web"])?;
    let pods = pods["items"].as_array().context("there is a list")?;
    let on = |node: NodeId| {
        let pod = pods.iter().find(|pod| pod["spec"]["nodeName"] == node.to_string())?;
        Some((node, pod.pointer("/metadata/name").and_then(Value::as_str)?.to_owned()))
    };
    Ok(cluster.lab.nodes().filter_map(on).collect())
}

#[test]
fn a_speaker_that_starts_while_the_api_server_is_down_takes_nothing_over_until_it_is_back() {
    with_cluster(|cluster| {
        let address = serve(cluster, "blank", &["172.16.211.232/32"])?;
        let first = cluster.announcer(address)?;
        let before = cluster.processes(Role::Speaker, first)?;
        cluster.lab.crash(Host::Cp, Program::KubeApiserver)?;
        let silent = SystemTime::now();
        cluster.signal(Role::Speaker, first, "KILL")?;
        let second = moves_in_time(cluster, address, first, silent)?;
        wait_until("kubelet starts the speaker again", RECOVERED_WITHIN, || {
            let now = cluster.processes(Role::Speaker, first)?;
            ensure!(!now.is_empty() && now != before, "there is {now:?}");
            Ok(())
        })?;
        for _ in 0..10 {
            assert_eq!(cluster.answerers(address)?, BTreeSet::from([second]), "it knows nothing yet");
        }

        cluster.start_api_server()?;
        wait_for_return(cluster, address, first, RECOVERED_WITHIN)?;
        assert_eq!(cluster.owners_since(address, silent)?, [second, mac(first)]);
        Ok(())
    });
}

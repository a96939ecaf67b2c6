//! `kubectl ferrolb` beside live speakers: what it says is so, and what it foretells happens.

use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, NAMESPACE, SOON, objects};
use lab::{Host, NodeId, wait_until};
use serde_json::{Value, json};

use crate::failover::wait_for_return;
use crate::{serve, with_cluster};

/// What `kubectl ferrolb` says to programs, and its exit status.
pub(crate) fn ferrolb(cluster: &Cluster, arguments: &str) -> Result<(Value, u8)> {
    let script = format!("{} {arguments} -o json; echo \" $?\"", env!("CARGO_BIN_EXE_plugin"));
    let said = cluster.lab.run(Host::Cp, ["sh", "-c", &script])?;
    let (json, status) = said.trim_end().rsplit_once(' ').context("the shell tells the exit status")?;
    Ok((serde_json::from_str(json).with_context(|| format!("{arguments}: {said}"))?, status.parse()?))
}

/// The items of a list.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

#[test]
fn the_plugin_says_of_live_speakers_what_is_so_and_finds_a_foreign_host() {
    with_cluster(|cluster| {
        let address = serve(cluster, "plugin", &["172.16.211.224/31"])?;
        let node = cluster.announcer(address)?.to_string();
        let (status, code) = ferrolb(cluster, "status --wait --timeout 60")?;
        assert_eq!((code, &status["problems"]), (0, &json!([])), "{status}");

        let (nodes, code) = ferrolb(cluster, "nodes")?;
        let announcing: Vec<&Value> =
            items(&nodes).filter(|row| row["announces"] != 0).map(|row| &row["node"]).collect();
        assert_eq!((code, announcing), (0, vec![&json!(node)]), "{nodes}");
        let (peers, code) = ferrolb(cluster, "peers")?;
        let count = cluster.lab.nodes().count();
        assert_eq!((code, items(&peers).count()), (0, count * (count - 1)), "{peers}");
        assert!(items(&peers).all(|row| row["state"] == "Heard"), "{peers}");
        let (ips, code) = ferrolb(cluster, "ips plugin")?;
        let row = items(&ips).find(|row| row["ip"] == address.to_string()).context("it has a row")?;
        assert_eq!(
            (code, &row["node"], row["since"].is_string()),
            (0, &json!(format!("{node}/eth0")), true),
            "{ips}"
        );
        let (story, code) = ferrolb(cluster, &format!("explain {NAMESPACE}/plugin"))?;
        assert_eq!((code, &story["addresses"][0]["announcer"]), (0, &json!(node)), "{story}");

        let (trace, code) = ferrolb(cluster, &format!("trace {address}"))?;
        assert_eq!((code, trace["answerers"].as_array().map(Vec::len)), (0, Some(1)), "{trace}");
        assert_eq!(
            (&trace["answerers"][0]["node"], &trace["answerers"][0]["mac"]),
            (&json!(node), &row["mac"])
        );
        assert_eq!(trace["views"].as_array().map(Vec::len), Some(count), "each node was asked: {trace}");

        let free = "172.16.211.225";
        let (trace, code) = ferrolb(cluster, &format!("trace {free}"))?;
        assert_eq!((code, &trace["answerers"]), (0, &json!([])), "{trace}");
        let foreign =
            |verb| cluster.lab.run(Host::Client, ["ip", "addr", verb, "172.16.211.225/32", "dev", "eth0"]);
        foreign("add")?;
        let found = ferrolb(cluster, &format!("trace {free}"));
        foreign("del")?;
        let (trace, code) = found?;
        assert_eq!(
            (code, &trace["answerers"]),
            (1, &json!([{"node": null, "mac": Host::Client.mac()}])),
            "{trace}"
        );
        Ok(())
    });
}

#[test]
fn a_drain_does_what_whatif_has_foretold() {
    with_cluster(|cluster| {
        let nodes: Vec<NodeId> = cluster.lab.nodes().take(2).collect();
        let outcome = drain(cluster, &nodes);
        for node in &nodes {
            let node = node.to_string();
            cluster.kubectl(["uncordon", &node])?;
            cluster.kubectl(["label", "node", &node, "here-"])?;
        }
        cluster.kubectl(["delete", "deployment", "drained", "--ignore-not-found"])?;
        outcome
    });
}

/// Drains the node that announces a Service whose Pods are on these two nodes.
fn drain(cluster: &Cluster, nodes: &[NodeId]) -> Result<()> {
    for node in nodes {
        cluster.kubectl(["label", "node", &node.to_string(), "here=yes"])?;
    }
    let labels = json!({"app": "drained"});
    let apart = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": labels}});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "drained", "namespace": NAMESPACE},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "nodeSelector": {"here": "yes"}, "terminationGracePeriodSeconds": 1,
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
                "containers": [{
                    "name": "web", "image": "hashicorp/http-echo", "args": ["-text=web", "-listen=:8080"],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                }],
            },
        }},
    });
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "selector": labels});
    let pool = objects::pool("drained", &["172.16.211.226/32"]);
    cluster.apply([&pool, &objects::advertisement(), &deployment, &objects::service("drained", &spec)])?;
    let address = Ipv4Addr::new(172, 16, 211, 226);
    cluster.kubectl(["rollout", "status", "deployment", "drained", "--timeout=60s"])?;
    cluster.wait_until_it_has("drained", address)?;
    let first = cluster.announcer(address)?;
    let second = *nodes.iter().find(|node| **node != first).context("there are two")?;
    // Both endpoints have to be known, to the plugin and to the speakers.
    let foretold = wait_until("whatif knows both endpoints", SOON, || {
        let (foretold, code) = ferrolb(cluster, &format!("whatif drain {first}"))?;
        ensure!(code == 0, "{foretold}");
        Ok(foretold)
    })?;
    let row = items(&foretold).find(|row| row["ip"] == address.to_string()).context("it would move")?;
    assert_eq!((&row["now"], &row["then"]), (&json!(first.to_string()), &json!(second.to_string())), "{row}");
    cluster.kubectl([
        "drain",
        &first.to_string(),
        "--ignore-daemonsets",
        "--pod-selector=app=drained",
        "--timeout=60s",
    ])?;
    wait_for_return(cluster, address, second, SOON)?;
    let (nothing, code) = ferrolb(cluster, &format!("whatif drain {first}"))?;
    assert_eq!((code, items(&nothing).count()), (0, 0), "it is drained already: {nothing}");
    Ok(())
}

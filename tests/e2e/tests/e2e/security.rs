//! What FerroLB's programs may do, as the kernel tells it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role};
use lab::{Host, NodeId};

use crate::with_cluster;

/// capabilities(7)
const CAP_NET_RAW: u64 = 1 << 13;

/// The lines of a `/proc/PID/status`.
fn status(cluster: &Cluster, node: NodeId, file: &str) -> Result<BTreeMap<String, String>> {
    let text = cluster.lab.run(Host::Node(node), ["cat", file])?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

fn has_no_more_rights_than(cluster: &Cluster, role: Role, allowed: u64) -> Result<usize> {
    let mut checked = 0;
    for node in cluster.lab.nodes() {
        for id in cluster.processes(role, node)? {
            let status = status(cluster, node, &format!("/proc/{id}/status"))?;
            let field = |name: &str| status.get(name).with_context(|| format!("{name} is missing"));
            for name in ["Uid", "Gid"] {
                let ids = field(name)?;
                ensure!(ids.split_whitespace().all(|id| id != "0"), "{role} on {node} is root: {name} {ids}");
            }
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let set = u64::from_str_radix(field(name)?, 16)?;
                ensure!(set & !allowed == 0, "{role} on {node} has {name} {set:#x}");
            }
            ensure!(field("NoNewPrivs")? == "1", "{role} on {node} may gain privileges");
            ensure!(field("Seccomp")? == "2", "{role} on {node} may make any system call");
            let mounts = cluster.lab.run(Host::Node(node), ["cat", &format!("/proc/{id}/mounts")])?;
            let root = mounts.lines().find(|line| line.split_whitespace().nth(1) == Some("/"));
            let options = root.and_then(|line| line.split_whitespace().nth(3)).context("it has a root")?;
            ensure!(
                options.split(',').any(|option| option == "ro"),
                "{role} on {node} can write to its files"
            );
            checked += 1;
        }
    }
    Ok(checked)
}

#[test]
fn the_speaker_is_not_root_and_may_use_packet_sockets_and_nothing_else() {
    with_cluster(|cluster| {
        let checked = has_no_more_rights_than(cluster, Role::Speaker, CAP_NET_RAW)?;
        assert_eq!(checked, cluster.lab.nodes().count(), "one on each node");
        Ok(())
    });
}

#[test]
fn the_controller_is_not_root_and_has_no_capability() {
    with_cluster(|cluster| {
        let checked = has_no_more_rights_than(cluster, Role::Controller, 0)?;
        assert_eq!(checked, cluster.pods(Role::Controller)?.len());
        Ok(())
    });
}

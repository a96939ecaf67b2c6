//! Services with the addresses of nodes, as K3s has them: `controller.nodeAddressPools`.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, SOON, objects};
use lab::{Host, NodeId, chart, wait_until};
use serde_json::{Value, json};

use crate::recovery::node_of_the_leader;
use crate::with_cluster;

/// What `examples/k3s/values.yaml` says.
const VALUES: [&str; 3] = [
    "controller.nodeAddressPools.enabled=true",
    "controller.nodeAddressPools.defaultPool.create=true",
    "controller.nodeAddressPools.defaultPool.spec.k3sLabels=true",
];
/// From when a node falls silent until no Service lists it. The goal is one second; this machine does all of the nodes'
/// work, and each look takes a part of a second.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// Until a node that is switched on is listed again.
const BACK_WITHIN: Duration = Duration::from_mins(2);
/// For so long a node must be well before it is listed again.
const DAMPED_FOR: Duration = Duration::from_secs(10);

fn address(node: NodeId) -> Ipv4Addr {
    Host::Node(node).ipv4()
}

/// How long it takes until a Service has these addresses.
fn until_listed(cluster: &Cluster, service: &str, nodes: &[NodeId], patience: Duration) -> Result<Duration> {
    let since = SystemTime::now();
    let mut expected: Vec<IpAddr> = nodes.iter().map(|node| address(*node).into()).collect();
    expected.sort_by_key(ToString::to_string);
    wait_until(&format!("the Service {service} has the addresses of {nodes:?}"), patience, || {
        let listed = cluster.addresses(service)?;
        ensure!(listed == expected, "it has {listed:?}");
        Ok(())
    })?;
    Ok(since.elapsed().unwrap_or_default())
}

fn visit(cluster: &Cluster, node: NodeId, port: u16) -> Result<()> {
    let url = format!("http://{}:{port}/", address(node));
    let curl = ["curl", "-sSi", "--fail", "--connect-timeout", "1", "--max-time", "2", &url];
    wait_until(&format!("{url} answers"), SOON, || cluster.lab.run(Host::Client, curl)).map(drop)
}

/// A Service of this policy and port.
fn of_policy(name: &str, policy: &str, port: u16) -> Value {
    let ports = json!([{"port": port, "targetPort": objects::TARGET_PORT}]);
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "ports": ports});
    objects::service(name, &spec)
}

/// Waits until the pool says that it is known what programs on its nodes listen on.
fn wait_until_listeners_are_known(cluster: &Cluster) -> Result<()> {
    wait_until("the ports of all nodes are known", SOON, || {
        let pool = cluster.kubectl_json(["get", "nodeaddresspool", "nodes", "-n", chart::NAMESPACE])?;
        let conditions = pool["status"]["conditions"].as_array().context("it has conditions")?.clone();
        let known = conditions.into_iter().find(|it| it["type"] == "ListenersKnown");
        ensure!(known.as_ref().is_some_and(|it| it["status"] == "True"), "{known:?}");
        Ok(())
    })
}

#[test]
fn services_have_the_addresses_of_the_nodes_that_serve_and_live() {
    with_cluster(|cluster| {
        let since = SystemTime::now();
        let _values = cluster.with_values(VALUES)?;
        let nodes: Vec<NodeId> = cluster.lab.nodes().collect();
        cluster.apply([&of_policy("every", "Cluster", 80), &of_policy("near", "Local", 81)])?;
        for (service, port) in [("every", 80), ("near", 81)] {
            until_listed(cluster, service, &nodes, SOON)?;
            nodes.iter().try_for_each(|node| visit(cluster, *node, port))?;
        }
        wait_until_listeners_are_known(cluster)?;
        cluster.apply([&of_policy("taken", "Cluster", 80), &of_policy("kubelet", "Cluster", 10_250)])?;
        cluster.wait_for_warning(e2e::NAMESPACE, "Service", "taken", "is in use by e2e/every")?;
        cluster.wait_for_warning(e2e::NAMESPACE, "Service", "kubelet", "is protected by protectedPorts")?;

        cluster.wait_until_controllers_hear()?;
        let leading = node_of_the_leader(cluster)?;
        let lost = *nodes.iter().find(|node| **node != leading).context("there is another node")?;
        let alive: Vec<NodeId> = nodes.iter().copied().filter(|node| *node != lost).collect();
        for node in &nodes {
            let told = cluster.gratuitous_since(address(*node), since)?;
            ensure!(told.is_empty(), "the address of {node} was announced: {told:?}");
        }
        cluster.lab.poweroff(lost)?;
        let gone = until_listed(cluster, "every", &alive, SOON)?;
        until_listed(cluster, "near", &alive, SOON)?;
        eprintln!("{lost} was listed no more {gone:?} after it had lost power");
        ensure!(gone <= GONE_WITHIN, "it was listed for {gone:?}");
        for node in &alive {
            visit(cluster, *node, 81)?;
            let told = cluster.gratuitous_since(address(*node), since)?;
            ensure!(told.is_empty(), "the address of {node} was announced: {told:?}");
        }

        cluster.lab.poweron(lost)?;
        let ready = wait_until("the node is ready", BACK_WITHIN, || {
            let node = cluster.kubectl_json(["get", "node", &lost.to_string()])?;
            let conditions = node["status"]["conditions"].as_array().context("it has conditions")?.clone();
            let ready = conditions.into_iter().find(|it| it["type"] == "Ready").context("it is not ready")?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(SystemTime::now())
        })?;
        while ready.elapsed().unwrap_or_default() < DAMPED_FOR / 2 {
            let listed = cluster.addresses("every")?;
            ensure!(!listed.contains(&address(lost).into()), "it is listed at once: {listed:?}");
            thread::sleep(Duration::from_millis(500));
        }
        until_listed(cluster, "every", &nodes, BACK_WITHIN)?;
        eprintln!("{lost} was listed again {:?} after it was ready", ready.elapsed().unwrap_or_default());
        until_listed(cluster, "near", &nodes, BACK_WITHIN)?;
        visit(cluster, lost, 81)?;
        let pool = ["delete", "nodeaddresspool", "nodes", "-n", chart::NAMESPACE];
        cluster.kubectl(["delete", "services", "--all"])?;
        cluster.kubectl(pool).map(drop)
    });
}

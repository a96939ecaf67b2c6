//! Clusters whose first or only family is IPv6, each a lab of its own.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Role, SOON, objects};
use lab::{Host, IpFamilies, Options, wait_until};
use serde_json::{Value, json};

use crate::ipv6::{moves_at_once_without_power, visit};
use crate::with_cluster;

/// As few as can take over from each other.
const NODES: u8 = 2;

#[test]
fn everything_works_in_a_cluster_of_ipv6_alone() {
    everything_works(IpFamilies::Ipv6);
}

#[test]
fn everything_works_in_a_cluster_of_both_families_with_ipv6_first() {
    everything_works(IpFamilies::Dual6);
}

fn everything_works(families: IpFamilies) {
    // The other tests have the machine to themselves, and so has this one.
    with_cluster(|_| {
        let options = Options { name: "e2e-ipv6".parse()?, nodes: NODES, families, ..Options::default() };
        let cluster = Cluster::start_in(options, Path::new(env!("CARGO_BIN_EXE_send-frames")))?;
        cluster.run_alone(|cluster| programs_answer(cluster).and_then(|()| service_works(cluster)))
    });
}

/// That every program is ready and tells its metrics at each address of its Pod, the first of which is the one that the
/// node is known by; and that the speakers hear each other.
fn programs_answer(cluster: &Cluster) -> Result<()> {
    for role in [Role::Controller, Role::Speaker] {
        let pods = cluster.pods(role)?;
        ensure!(pods.len() == usize::from(NODES), "{} Pods of the {role}", pods.len());
        for pod in &pods {
            let addresses = addresses(pod)?;
            if role == Role::Speaker {
                let node = Host::Node(pod["spec"]["nodeName"].as_str().context("it has a node")?.parse()?);
                let expected = cluster.lab.families().all().iter().map(|family| node.address(*family));
                assert_eq!(addresses, expected.collect::<Vec<_>>());
            }
            for address in addresses {
                for path in ["/healthz", "/readyz", "/metrics"] {
                    let (status, said) = cluster.ask_program_at(address, pod, path)?;
                    ensure!(status == 200, "the {role} answers {path} at {address} with {status}: {said}");
                }
            }
        }
    }
    wait_until("the speakers are members", SOON, || {
        for pod in cluster.pods(Role::Speaker)? {
            let (_, said) = cluster.ask_program(&pod, "/metrics")?;
            let expected = format!("ferrolb_gossip_members {NODES}");
            ensure!(said.lines().any(|line| line == expected), "{} has others", pod["metadata"]["name"]);
        }
        Ok(())
    })
}

/// The addresses of a Pod in their order.
fn addresses(pod: &Value) -> Result<Vec<IpAddr>> {
    let all = pod["status"]["podIPs"].as_array().context("every Pod has addresses")?;
    all.iter().map(|entry| Ok(entry["ip"].as_str().context("an entry has an address")?.parse()?)).collect()
}

/// That a Service gets an address of each of the cluster's families, is reached by all of them, and moves.
fn service_works(cluster: &Cluster) -> Result<()> {
    let pool = objects::pool("first", &["172.16.211.216/32", "fd00:172:16:211::5:216/128"]);
    let service = json!({"type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack"});
    cluster.apply([&pool, &objects::advertisement(), &objects::service("first", &service)])?;
    let addresses = cluster.wait_for_addresses("first")?;
    ensure!(addresses.len() == cluster.lab.families().all().len(), "it has {addresses:?}");
    let mut of_ipv6 = None;
    for address in &addresses {
        match *address {
            IpAddr::V4(address) => drop(cluster.wait_for_answer(address, SOON)?),
            IpAddr::V6(address) => of_ipv6 = Some(address),
        }
    }
    let address = of_ipv6.with_context(|| format!("none is of IPv6: {addresses:?}"))?;
    wait_until("the address answers", SOON, || visit(cluster, address))?;
    moves_at_once_without_power(cluster, address)
}

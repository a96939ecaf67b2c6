//! What people paste first.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use e2e::{Cluster, SOON};
use lab::{Host, wait_until};

use crate::with_cluster;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/quickstart");
const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 16, 211, 200);
const REQUESTS: usize = 1000;

/// Applies the quickstart, waits until its Pods are ready, runs a test, and removes it all.
fn with_quickstart(test: impl FnOnce(&Cluster) -> Result<()>) {
    with_cluster(|cluster| {
        let run = || {
            cluster.lab.kubectl(["apply", "-f", FOLDER])?;
            cluster.lab.kubectl(["rollout", "status", "deployment/web", "--timeout=60s"])?;
            test(cluster)
        };
        let outcome = run();
        cluster.lab.kubectl(["delete", "-f", FOLDER, "--ignore-not-found"])?;
        outcome
    });
}

/// The names of its Pods.
fn pods(cluster: &Cluster) -> Result<Vec<String>> {
    let names = cluster.lab.kubectl(["get", "pods", "-l", "app=web", "-o", "name"])?;
    let names: Vec<_> =
        names.lines().filter_map(|name| name.strip_prefix("pod/")).map(str::to_owned).collect();
    ensure!(names.len() == 3, "the quickstart has the pods {names:?}");
    Ok(names)
}

#[test]
fn the_service_gets_the_first_address_and_a_client_a_node_and_a_pod_reach_it() {
    with_quickstart(|cluster| {
        let ip = wait_until("the Service has an address", SOON, || {
            let service = cluster.lab.kubectl_json(["get", "service", "web"])?;
            let ip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned);
            ip.context("its status names none")
        })?;
        assert_eq!(ip, ADDRESS.to_string());

        let pods = pods(cluster)?;
        let answers = [
            cluster.wait_for_answer(ADDRESS, SOON)?,
            cluster.wait_for_answer_to_pod(&format!("http://{ADDRESS}/"))?,
        ];
        let nodes = cluster.lab.nodes().map(|node| cluster.visit(Host::Node(node), ADDRESS));
        for answer in answers.into_iter().map(Ok).chain(nodes) {
            let answer = answer?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "not 200: {answer}");
            let pod = answer.lines().find_map(|line| line.strip_prefix("X-Pod: "));
            ensure!(pod.is_some_and(|pod| pods.contains(&pod.to_owned())), "no pod of {pods:?}: {answer}");
        }
        Ok(())
    });
}

#[test]
fn a_thousand_requests_are_all_answered_and_every_pod_serves_some() {
    with_quickstart(|cluster| {
        cluster.wait_for_answer(ADDRESS, SOON)?;
        let requests = REQUESTS.to_string();
        let url = format!("http://{ADDRESS}/");
        let report = cluster.lab.run(Host::Client, ["hey", "-n", &requests, "-c", "50", &url])?;
        let statuses: Vec<&str> = report
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('[') && line.ends_with("responses"))
            .collect();
        assert_eq!(statuses, [format!("[200]\t{requests} responses")], "{report}");

        let pods = pods(cluster)?;
        let served = wait_until("the pods have logged all requests", SOON, || {
            let mut served = BTreeMap::new();
            for pod in &pods {
                let log = cluster.lab.kubectl(["logs", pod])?;
                served.insert(pod, log.lines().filter(|line| line.contains("hey/")).count());
            }
            ensure!(served.values().sum::<usize>() == REQUESTS, "they logged {served:?}");
            Ok(served)
        })?;
        ensure!(served.values().all(|requests| *requests > 0), "a pod served nothing: {served:?}");
        Ok(())
    });
}

//! Requests to the Service's address, from a machine that is no part of the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{SOON, Service, print_indented, url};
use crate::plan::Host;
use crate::{Lab, ui, wait_until};

const REQUESTS: usize = 1000;

/// Waits until the address answers, and shows the answer.
pub(super) fn curl(lab: &Lab, address: IpAddr) -> Result<()> {
    let url = url(address);
    let task = ui::task(format_args!("the client gets {url}"), Duration::ZERO);
    let answer = wait_until("the address answers", SOON, || {
        lab.run(
            Host::Client,
            ["curl", "-gsSi", "--fail", "--connect-timeout", "0.5", "--max-time", "2", &url],
        )
    })?;
    task.done();
    let head = answer.lines().take_while(|line| !line.trim().is_empty());
    print_indented(&head.collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// Sends many requests at once, and shows which pods served them.
pub(super) fn hey(lab: &Lab, service: &Service, address: IpAddr) -> Result<()> {
    let (requests, url) = (REQUESTS.to_string(), url(address));
    let pods = lab.kubectl_json(["get", "pods", "-l", &service.selector])?;
    let names = pods["items"].as_array().context("there are pods")?;
    let names: BTreeSet<&str> = names.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    wait_for_all(lab, &names, &url)?;
    let task = ui::task(format_args!("hey -n {requests} -c 50 {url}"), Duration::ZERO);
    // Without keep-alive every request is a connection, and kube-proxy chooses a pod for each.
    let report = lab.run(Host::Client, ["hey", "-n", &requests, "-c", "50", "-disable-keepalive", &url])?;
    let good = report.lines().find_map(|line| line.trim().strip_prefix("[200]")).unwrap_or("0 responses");
    ensure!(
        good.split_whitespace().next() == Some(requests.as_str()),
        "{} of {requests} requests were answered with 200:\n{report}",
        good.trim()
    );
    task.done_with(format_args!("{requests} of {requests} answered with 200"));

    let mut served = Vec::new();
    for name in names {
        let log = lab.kubectl(["logs", name])?;
        served.push((name, log.lines().filter(|line| line.contains("hey/")).count()));
    }
    let lines: Vec<String> = served.iter().map(|(name, count)| format!("{count:>5}  {name}")).collect();
    print_indented(&format!("served  by\n{}", lines.join("\n")));
    ensure!(served.iter().all(|(_, count)| *count > 0), "a pod served nothing");
    Ok(())
}

/// Waits until every pod has served the client: kube-proxy learns of them a moment after they are ready.
fn wait_for_all(lab: &Lab, names: &BTreeSet<&str>, url: &str) -> Result<()> {
    let mut served = BTreeSet::new();
    wait_until("every pod serves the client", SOON, || {
        let answer = lab.run(Host::Client, ["curl", "-gsSi", "--fail", "--max-time", "2", url])?;
        served.extend(answer.lines().filter_map(|line| Some(line.strip_prefix("X-Pod:")?.trim().to_owned())));
        ensure!(names.iter().all(|name| served.contains(*name)), "only {served:?} have");
        Ok(())
    })
}

//! The tour of a lab with a router: its sessions, its routes, and how soon it forwards no more to a node without power.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{SOON, Service, print_indented, traffic};
use crate::plan::{Host, NodeId, Router};
use crate::ui::{self, human};
use crate::{Lab, chart, wait_until};

/// What people paste, besides the web server of the quickstart.
const MANIFESTS: &str = "examples/bgp/bgp.yaml";
const WEB: &str = "examples/quickstart/web.yaml";
/// BFD takes a second. This is for machines that do other things besides; after the hold time, the session has ended anyway.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Shows it, and returns the address of the Service.
pub(super) fn show(lab: &Lab, router: Router, began: Instant) -> Result<IpAddr> {
    let task = ui::task(format_args!("kubectl apply -f {MANIFESTS} -f {WEB}"), Duration::ZERO);
    let [manifests, web] = [MANIFESTS, WEB].map(|file| chart::workspace().join(file).display().to_string());
    lab.kubectl(["apply", "-f", &manifests, "-f", &web])?;
    task.done();
    print_indented(&lab.kubectl(["get", "bgppeers,bgpadvertisements", "-n", chart::NAMESPACE])?);
    sessions(lab, router)?;

    let service = Service::of(lab, &web)?;
    let address = service.wait_for_address(lab)?;
    routes(lab, router, address)?;
    traffic::curl(lab, address)?;
    ui::note(format_args!("the address answers {} after the start", human(began.elapsed())));
    service.wait_for_pods(lab)?;
    traffic::hey(lab, &service, address)?;
    power_off(lab, address)?;
    Ok(address)
}

/// Waits until every node has a session for each family of the lab, and shows them.
fn sessions(lab: &Lab, router: Router) -> Result<()> {
    let all = lab.nodes().count() * lab.families().all().len();
    let task = ui::task(format_args!("every node has its sessions with {router}"), Duration::ZERO);
    wait_until("they are established", SOON, || {
        let up = lab.router_sessions()?;
        ensure!(up == all, "{up} of {all} are");
        Ok(())
    })?;
    task.done_with(format_args!("{all} established"));
    ask(lab, router.shows_sessions(lab.families().first()))
}

/// Waits until the router forwards to every node, and shows its route.
fn routes(lab: &Lab, router: Router, address: IpAddr) -> Result<()> {
    let prefix = prefix(address);
    let task = ui::task(format_args!("{router} has a route to {prefix} by every node"), Duration::ZERO);
    wait_until("it has", SOON, || {
        let hops = lab.next_hops(&prefix)?;
        ensure!(hops.len() == lab.nodes().count(), "it has those by {hops:?}");
        Ok(())
    })?;
    task.done();
    ask(lab, &router.shows_route(&prefix))
}

/// Powers off a node that the router forwards to, and shows how soon it does so no more.
fn power_off(lab: &Lab, address: IpAddr) -> Result<()> {
    let (prefix, family) = (prefix(address), lab.families().first());
    let lost = lab.nodes().last().context("a lab has nodes")?;
    let hop = |node: NodeId| Host::Node(node).address(family);
    let what = format_args!("{lost} carries a share of the traffic; its power is cut");
    let task = ui::task(what, Duration::ZERO);
    lab.poweroff(lost)?;
    let cut = Instant::now();
    wait_until("the router forwards to others only", GONE_WITHIN, || {
        let hops = lab.next_hops(&prefix)?;
        ensure!(!hops.contains(&hop(lost)) && !hops.is_empty(), "it forwards to {hops:?}");
        Ok(())
    })?;
    task.done_with(format_args!("no route by {lost} after {}", human(cut.elapsed())));
    Ok(())
}

fn ask(lab: &Lab, question: &str) -> Result<()> {
    ui::note(format_args!("router: {question}"));
    print_indented(&lab.ask_router(question)?);
    Ok(())
}

pub(super) fn prefix(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}

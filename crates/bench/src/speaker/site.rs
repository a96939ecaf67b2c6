//! A lab with a contender in it, and addresses that one node is to announce: the one to which everything happens.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::arp::Mac;
use e2e::objects;
use lab::{Host, Lab, NodeId, Options, chart, wait_until};
use placement::NodeName;
use serde_json::{Value, json};

use crate::asker::Answer;
use crate::product::Product;
use crate::watch::{Done, Watch};

/// The range that is set aside for benchmarks (RFC 2544).
const POOL: &str = "198.18.0.0/15";
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// No more addresses than that are announced at a time.
pub(crate) const MOST: usize = 3000;
/// How often a question is asked while waiting for many answers: all of the LAN hears each.
pub(crate) const ASKED_EVERY: Duration = Duration::from_micros(500);
/// Until thousands of Services have addresses, endpoints and an announcer.
const SERVED_WITHIN: Duration = Duration::from_mins(6);
/// So long is one node to have answered, and it alone.
const STEADY_FOR: Duration = Duration::from_secs(1);

/// A running lab with a contender.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) product: Product,
    addresses: Vec<Ipv4Addr>,
}

impl Site {
    /// Returns when the contender and the Pods behind all addresses are ready.
    pub(crate) fn start(product: Product) -> Result<Self> {
        let lab = Lab::start(Options { name: "bench".parse()?, ..Options::default() })?;
        product.install(&lab)?;
        lab.apply(include_str!("backend.yaml"))?;
        for object in [objects::pool("bench", &[POOL]), objects::advertisement()] {
            lab.apply(&object.to_string())?;
        }
        lab.run(Host::Client, ["ip", "route", "add", POOL, "dev", "eth0"])?;
        e2e::wait_until_well(&lab)?;
        Ok(Self { lab, product, addresses: Vec::new() })
    }

    /// The addresses that there are, all of them announced by [`Site::victim`] while that is well.
    pub(crate) fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// The node to which everything happens.
    pub(crate) fn victim(&self) -> NodeId {
        self.lab.nodes().next().expect("a lab has nodes")
    }

    /// Its network card.
    pub(crate) fn victim_mac(&self) -> Mac {
        Mac::of(Host::Node(self.victim()))
    }

    /// All nodes, of which the victim is the first.
    fn nodes(&self) -> Vec<NodeName> {
        self.lab.nodes().map(|node| node.to_string().into()).collect()
    }

    /// Creates Services until there are `count` addresses, and waits until all of them are announced.
    pub(crate) fn serve(&mut self, count: usize) -> Result<()> {
        let nodes = self.nodes();
        let all = ranked_first(&nodes[0], &nodes).take(count).collect::<Vec<_>>();
        let new: Vec<Value> = all[self.addresses.len()..].iter().map(|address| service(*address)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": new}).to_string();
        let created =
            self.lab.exec_with_input(Host::Cp, ["kubectl", "create", "-f", "-"], list.as_bytes())?;
        ensure!(created.status.success(), "creating Services: {}", String::from_utf8_lossy(&created.stderr));
        self.addresses = all;
        self.wait_until_announced()
    }

    /// Creates, if need be, a Service with endpoints on all nodes, the victim among them, and an address that the victim
    /// is to announce. It is none of [`Site::addresses`].
    pub(crate) fn serve_everywhere(&self) -> Result<Ipv4Addr> {
        let nodes = self.nodes();
        let address = ranked_first(&nodes[0], &nodes).nth(MOST).context("the pool is large")?;
        let mut service = service(address);
        service["spec"]["selector"] = json!({"app": "everywhere"});
        self.lab.apply(&service.to_string())?;
        Ok(address)
    }

    /// Waits until every address is answered for by the node that is to announce it, and by nobody else.
    pub(crate) fn wait_until_announced(&self) -> Result<()> {
        let watch = Watch {
            addresses: &self.addresses,
            asked_every: ASKED_EVERY,
            done: Done::By(self.victim_mac()),
            visited_every: None,
        };
        let what = format!("{} answers for {} addresses", self.victim(), self.addresses.len());
        let wait = |seen: &crate::watch::Seen| {
            wait_until(&what, SERVED_WITHIN, || {
                let answers = seen.answers();
                let latest: BTreeMap<Ipv4Addr, Mac> = answers.iter().map(|it| (it.address, it.by)).collect();
                let announced = latest.values().filter(|by| **by == self.victim_mac()).count();
                ensure!(announced == self.addresses.len(), "it does for {announced}");
                self.is_steady(&answers)
            })
        };
        watch.during(&self.lab, wait).map(drop)
    }

    /// That of late the victim has answered, and nobody else has.
    pub(crate) fn is_steady(&self, answers: &[Answer]) -> Result<()> {
        let since = SystemTime::now() - STEADY_FOR;
        let late = || answers.iter().rev().take_while(|answer| answer.at > since);
        ensure!(late().next().is_some(), "nobody answers");
        let first = answers.iter().find(|answer| answer.by == self.victim_mac());
        ensure!(first.is_some_and(|answer| answer.at < since), "{} has only just begun", self.victim());
        match late().find(|answer| answer.by != self.victim_mac()) {
            Some(other) => anyhow::bail!("{} answers too", other.by),
            None => Ok(()),
        }
    }

    /// The name of the Pod of the victim's speaker.
    pub(crate) fn speaker(&self) -> Result<String> {
        let node = format!("spec.nodeName={}", self.victim());
        let pods =
            ["get", "pods", "-n", chart::NAMESPACE, "-l", self.product.speakers(), "--field-selector", &node];
        let pods = self.lab.kubectl_json(pods)?;
        let living = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let pod = living.with_context(|| format!("there is no speaker on {}", self.victim()))?;
        Ok(pod["metadata"]["name"].as_str().context("every Pod has a name")?.to_owned())
    }

    /// The process of the victim's speaker, as the node numbers it.
    pub(crate) fn process(&self) -> Result<u32> {
        let found = self.lab.processes(Host::Node(self.victim()), self.product.process())?;
        match found[..] {
            [id] => Ok(id),
            _ => anyhow::bail!("there are {} speakers on {}", found.len(), self.victim()),
        }
    }

    /// Sends that a signal, such as KILL.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let id = self.process()?.to_string();
        self.lab.run(Host::Node(self.victim()), ["kill", "-s", signal, &id]).map(drop)
    }
}

fn service(address: Ipv4Addr) -> Value {
    let [.., a, b, c] = address.octets();
    let spec = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false});
    let mut service = objects::service(&format!("web-{a}-{b}-{c}"), &spec);
    service["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIPs": address.to_string()});
    service
}

/// The addresses of the pool for which a node ranks first; both contenders rank alike.
fn ranked_first<'a>(node: &'a NodeName, nodes: &'a [NodeName]) -> impl Iterator<Item = Ipv4Addr> + 'a {
    let addresses = (0..1 << 16).map(|number| Ipv4Addr::from_bits(FIRST.to_bits() + number));
    addresses.filter(move |address| {
        let candidates = nodes.iter().map(|node| (node, 0));
        placement::rank(IpAddr::V4(*address), candidates).next() == Some(node)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_thousands_of_addresses_for_which_one_of_three_nodes_ranks_first() {
        let nodes = ["n1", "n2", "n3"].map(NodeName::from);
        let addresses: Vec<_> = ranked_first(&nodes[0], &nodes).take(MOST + 1).collect();
        assert_eq!(addresses.len(), MOST + 1);
        assert!(ranked_first(&nodes[1], &nodes).take(MOST).all(|address| !addresses.contains(&address)));
    }
}

//! What the router of a lab has heard, in a lab with FRR.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Host, IpFamily, NodeId, wait_until};
use serde_json::Value;

use crate::{Cluster, SOON};

/// A session of the router with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The state of RFC 4271 section 8.2.2.
    pub state: String,
    /// How often it came up.
    pub established: u64,
    /// How often it ended.
    pub dropped: u64,
}

/// A way to a prefix that the router has heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where packets go.
    pub next_hop: IpAddr,
    /// The communities, with spaces between.
    pub communities: String,
    /// The large ones, with spaces between.
    pub large_communities: String,
    /// Which is preferred within the AS.
    pub local_preference: Option<u64>,
}

/// Connections that the router is asked about, for where it would forward them.
const FIRST_PORT: u16 = 40_000;
const PORTS: u16 = 64;

impl Cluster {
    /// Configures the router by lines, as one types them.
    pub fn configure_router(&self, lines: &str) -> Result<()> {
        let commands = ["configure terminal"].into_iter().chain(lines.lines().map(str::trim));
        let words = ["vtysh"].into_iter().chain(commands.flat_map(|line| ["-c", line]));
        // What it does not understand, it says, and goes on.
        let said = self.lab.run(Host::Router, words)?;
        ensure!(!said.contains('%'), "{said}");
        Ok(())
    }

    /// The sessions of the router, by the addresses of the nodes.
    pub fn router_sessions(&self) -> Result<BTreeMap<IpAddr, Session>> {
        let neighbors = self.ask_router("show bgp neighbors json")?;
        let neighbors = neighbors.as_object().context("it has neighbours")?;
        let session = |(address, it): (&String, &Value)| {
            let count = |field: &str| it[field].as_u64().unwrap_or_default();
            let session = Session {
                state: it["bgpState"].as_str().unwrap_or_default().to_owned(),
                established: count("connectionsEstablished"),
                dropped: count("connectionsDropped"),
            };
            Ok((address.parse()?, session))
        };
        neighbors.iter().filter(|(address, _)| address.parse::<IpAddr>().is_ok()).map(session).collect()
    }

    /// Waits until the router has sessions with these nodes by a family, and with no others.
    pub fn wait_for_sessions(&self, family: IpFamily, nodes: &[NodeId]) -> Result<()> {
        wait_until(&format!("{nodes:?} have sessions by {family:?}"), SOON, || {
            let sessions = self.router_sessions()?;
            for node in self.lab.nodes() {
                let session = &sessions.get(&Host::Node(node).address(family));
                let up = session.is_some_and(|it| it.state == "Established");
                ensure!(up == nodes.contains(&node), "{node}: {session:?}");
            }
            Ok(())
        })
    }

    /// Waits until the BFD session of the router with a node by IPv4 is up.
    pub fn wait_for_bfd(&self, node: NodeId) -> Result<()> {
        let address = Host::Node(node).ipv4().to_string();
        wait_until(&format!("the BFD session with {node} is up"), SOON, || {
            let peers = self.ask_router("show bfd peers json")?;
            let peers = peers.as_array().context("there is a list")?;
            let up = |it: &&Value| it["peer"] == address && it["status"] == "up";
            ensure!(peers.iter().any(|it| up(&it)), "{peers:?}");
            Ok(())
        })
    }

    /// That these nodes' sessions by a family have come up once and never ended.
    pub fn sessions_never_ended(&self, family: IpFamily, nodes: &[NodeId]) -> Result<()> {
        let sessions = self.router_sessions()?;
        for node in nodes {
            let session = sessions.get(&Host::Node(*node).address(family));
            let once = session.is_some_and(|it| it.established == 1 && it.dropped == 0);
            ensure!(once, "the session of {node}: {session:?}");
        }
        Ok(())
    }

    /// What the router has heard of a prefix.
    pub fn paths(&self, prefix: &str) -> Result<Vec<Path>> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let heard = self.ask_router(&format!("show bgp {family} unicast {prefix} json"))?;
        // Where it knows no such prefix, it shows what contains it.
        if heard["prefix"] != prefix {
            return Ok(vec![]);
        }
        let path = |it: &Value| {
            let text = |value: &Value| value["string"].as_str().unwrap_or_default().to_owned();
            // Of IPv6, the link-local address is there too.
            let hops = it["nexthops"].as_array().context("a path has next hops")?;
            let hop = hops.iter().find(|hop| hop["scope"] != "link-local").context("one is global")?;
            Ok(Path {
                next_hop: hop["ip"].as_str().context("it has an address")?.parse()?,
                communities: text(&it["community"]),
                large_communities: text(&it["largeCommunity"]),
                local_preference: it["locPrf"].as_u64(),
            })
        };
        heard["paths"].as_array().into_iter().flatten().map(path).collect()
    }

    /// Waits until the router has heard of a prefix from these nodes and no others, and until its kernel forwards to
    /// all of them.
    pub fn wait_for_paths(&self, prefix: &str, nodes: &[NodeId]) -> Result<Vec<Path>> {
        self.wait_for_paths_within(prefix, nodes, SOON)
    }

    /// The same, with more or less patience.
    pub fn wait_for_paths_within(
        &self,
        prefix: &str,
        nodes: &[NodeId],
        patience: Duration,
    ) -> Result<Vec<Path>> {
        let family = if prefix.contains(':') { IpFamily::V6 } else { IpFamily::V4 };
        let expected: BTreeSet<IpAddr> = nodes.iter().map(|node| Host::Node(*node).address(family)).collect();
        wait_until(&format!("the router's ways to {prefix} are {nodes:?}"), patience, || {
            let paths = self.paths(prefix)?;
            let hops: BTreeSet<IpAddr> = paths.iter().map(|path| path.next_hop).collect();
            ensure!(hops == expected, "it has heard {paths:?}");
            let forwards = self.lab.next_hops(prefix)?;
            ensure!(forwards == expected, "it forwards to {forwards:?}");
            Ok(paths)
        })
    }

    /// Waits until all that the router has heard of a prefix is as wanted.
    pub fn wait_for_attributes(&self, prefix: &str, wanted: impl Fn(&Path) -> bool) -> Result<()> {
        wait_until(&format!("what the router has heard of {prefix} is as it should be"), SOON, || {
            let paths = self.paths(prefix)?;
            ensure!(!paths.is_empty() && paths.iter().all(&wanted), "it has heard {paths:?}");
            Ok(())
        })
    }

    /// To which next hops the router forwards connections of the client to port 80 of `address`.
    pub fn hops_of_connections(&self, address: Ipv4Addr) -> Result<BTreeSet<IpAddr>> {
        let client = Host::Client.address_in(lab::Network::Clients, IpFamily::V4);
        let question = format!("route get {address} from {client} iif eth1 ipproto tcp dport 80 sport");
        let last = FIRST_PORT + PORTS;
        let ask =
            format!("for port in $(seq {FIRST_PORT} {last}); do echo {question} $port; done | ip -batch -");
        let said = self.lab.run(Host::Router, ["sh", "-c", &ask])?;
        let hops = said.lines().filter_map(|line| line.split_once(" via ")?.1.split(' ').next());
        hops.map(|hop| Ok(hop.parse()?)).collect()
    }

    fn ask_router(&self, question: &str) -> Result<Value> {
        let said = self.lab.ask_router(question)?;
        serde_json::from_str(&said).with_context(|| format!("`{question}` gave {said}"))
    }
}

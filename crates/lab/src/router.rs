//! The router of a lab: its programs, what they are configured with, and what they can be asked.
//!
//! The configuration is that of `examples/bgp`, with a neighbour for each node that the lab has.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Lab;
use crate::plan::{Host, IpFamilies, IpFamily, NodeId, Router};

/// A program of the router, and a file that it makes once it can be talked to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Daemon {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) socket: &'static str,
}

/// Of FRR: the first one knows interfaces and writes routes into the kernel; without it, no next hop is reachable. None
/// listens on a port of its own for people; `vtysh` finds their sockets.
const FRR: [Daemon; 3] = [
    Daemon {
        name: "zebra",
        program: "/usr/lib/frr/zebra",
        arguments: &["--log", "stdout", "--vty_port", "0"],
        socket: "/run/frr/zebra.vty",
    },
    Daemon {
        name: "bgpd",
        program: "/usr/lib/frr/bgpd",
        arguments: &["--log", "stdout", "--vty_port", "0"],
        socket: "/run/frr/bgpd.vty",
    },
    Daemon {
        name: "bfdd",
        program: "/usr/lib/frr/bfdd",
        arguments: &["--log", "stdout", "--vty_port", "0"],
        socket: "/run/frr/bfdd.vty",
    },
];

const BIRD: [Daemon; 1] = [Daemon {
    name: "bird",
    program: "/usr/sbin/bird",
    arguments: &["-f", "-c", "/run/lab/hosts/router/bird.conf", "-P", "/run/bird/bird.pid"],
    socket: "/run/bird/bird.ctl",
}];

impl Router {
    pub(crate) fn daemons(self) -> &'static [Daemon] {
        match self {
            Self::Frr => &FRR,
            Self::Bird => &BIRD,
        }
    }

    /// The name of its configuration.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Frr => "frr.conf",
            Self::Bird => "bird.conf",
        }
    }

    /// What the example says, with a neighbour for each node and family.
    pub(crate) fn configuration(self, nodes: u8, families: IpFamilies) -> String {
        let example = match self {
            Self::Frr => include_str!("../../../examples/bgp/frr.conf"),
            Self::Bird => include_str!("../../../examples/bgp/bird.conf"),
        };
        let lines = example.lines().flat_map(|line| match neighbor(line) {
            None => vec![line.to_owned()],
            Some((node, family)) if node.number() == 1 && families.all().contains(&family) => {
                let like = |other: NodeId| {
                    let address = |node| Host::Node(node).address(family).to_string();
                    line.replace(&address(node), &address(other))
                        .replace(&format!(" {node}"), &format!(" {other}"))
                };
                NodeId::all(nodes).map(like).collect()
            }
            Some(_) => vec![],
        });
        lines.map(|line| line + "\n").collect()
    }

    /// What shows its sessions, those that carry addresses of `family` among them, as one types it.
    pub fn shows_sessions(self, family: IpFamily) -> &'static str {
        match (self, family) {
            (Self::Frr, IpFamily::V4) => "show bgp ipv4 unicast summary",
            (Self::Frr, IpFamily::V6) => "show bgp ipv6 unicast summary",
            (Self::Bird, _) => "show protocols",
        }
    }

    /// What shows the route to `prefix`, as one types it.
    pub fn shows_route(self, prefix: &str) -> String {
        match self {
            Self::Frr if prefix.contains(':') => format!("show ipv6 route {prefix}"),
            Self::Frr => format!("show ip route {prefix}"),
            Self::Bird => format!("show route {prefix}"),
        }
    }

    /// What asks it `question` in a shell.
    pub(crate) fn asks_in_a_shell(self, question: &str) -> String {
        match self {
            Self::Frr => format!("vtysh -c '{question}'"),
            Self::Bird => format!("birdc {question}"),
        }
    }

    /// The command that asks it `question`.
    pub fn asks(self, question: &str) -> Vec<&str> {
        match self {
            Self::Frr => vec!["vtysh", "-c", question],
            Self::Bird => ["birdc"].into_iter().chain(question.split(' ')).collect(),
        }
    }
}

/// Of which node a line has the address.
fn neighbor(line: &str) -> Option<(NodeId, IpFamily)> {
    let words = line.split_whitespace().filter_map(|word| word.parse::<IpAddr>().ok());
    let mut of_nodes = words.filter_map(|address| {
        let family = IpFamily::of(address);
        let node =
            NodeId::all(crate::plan::MAX_NODES).find(|node| Host::Node(*node).address(family) == address)?;
        Some((node, family))
    });
    of_nodes.next()
}

impl Lab {
    /// What the router answers to `question`, in its program's own words.
    pub fn ask_router(&self, question: &str) -> Result<String> {
        let router = self.router().context("this lab has no router")?;
        self.run(Host::Router, router.asks(question))
    }

    /// How many sessions of the router are up.
    pub fn router_sessions(&self) -> Result<usize> {
        let (question, word) = match self.router().context("this lab has no router")? {
            Router::Frr => ("show bgp neighbors", "BGP state = Established"),
            Router::Bird => ("show protocols", "Established"),
        };
        Ok(self.ask_router(question)?.matches(word).count())
    }

    /// To which addresses the router forwards what is for `prefix`, by the routes of its kernel for exactly that.
    pub fn next_hops(&self, prefix: &str) -> Result<BTreeSet<IpAddr>> {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let routes = self.run(Host::Router, ["ip", family, "-json", "route", "show", "exact", prefix])?;
        let routes = match routes.trim() {
            "" => Value::Null,
            routes => serde_json::from_str(routes).context("reading routes")?,
        };
        let mut hops = BTreeSet::new();
        for route in routes.as_array().into_iter().flatten() {
            let several = route["nexthops"].as_array().into_iter().flatten();
            for hop in [route].into_iter().chain(several) {
                let gateway = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
                hops.extend(gateway.map(str::parse::<IpAddr>).transpose()?);
            }
        }
        Ok(hops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_the_neighbours_of_a_usual_lab() {
        let same = |text: &str, other: &str| {
            let (mut lines, mut others): (Vec<_>, Vec<_>) = (text.lines().collect(), other.lines().collect());
            lines.sort_unstable();
            others.sort_unstable();
            lines == others
        };
        let frr = include_str!("../../../examples/bgp/frr.conf");
        assert!(same(&Router::Frr.configuration(3, IpFamilies::Dual4), frr));
        let bird = include_str!("../../../examples/bgp/bird.conf");
        assert!(same(&Router::Bird.configuration(3, IpFamilies::Dual4), bird));
    }

    #[test]
    fn each_node_is_a_neighbour_in_the_families_of_the_lab() {
        let frr = Router::Frr.configuration(14, IpFamilies::Ipv4);
        let neighbors = frr.lines().filter(|line| line.contains("peer-group nodes")).collect::<Vec<_>>();
        assert_eq!(neighbors.len(), 14 + 1, "{neighbors:?}");
        assert!(neighbors.contains(&" neighbor 172.16.211.24 peer-group nodes"), "{neighbors:?}");
        let bird = Router::Bird.configuration(2, IpFamilies::Ipv6);
        let neighbors = bird.lines().filter(|line| line.starts_with("protocol bgp")).collect::<Vec<_>>();
        assert_eq!(neighbors.len(), 2, "{neighbors:?}");
        assert!(
            bird.contains("protocol bgp n2_ipv6 from nodes { neighbor fd00:172:16:211::12 as 64512; }\n"),
            "{bird}"
        );
    }
}

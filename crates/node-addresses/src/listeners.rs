//! Ports that programs on the nodes listen on: whoever sent traffic to a Service there would shut the program out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipam::{Port, Protocol};
use objects::NodeName;
use pools::Family;

use crate::Node;

/// A port of a node that a program listens on, at one of its addresses or at all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The port.
    pub port: Port,
    /// The address: `::` for all, since Linux takes IPv4 there too, and `0.0.0.0` for those of IPv4.
    pub at: IpAddr,
}

/// What is no [`Listener`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no port like TCP/80 or TCP/80@192.0.2.1")]
pub struct BadListener;

impl Listener {
    /// Whether others can reach it at all.
    pub fn is_reachable(&self) -> bool {
        match self.at.to_canonical() {
            IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        }
    }

    /// Whether a request to an address of a family of a node reaches it. Whichever of the addresses it was sent to, it may
    /// arrive with another.
    fn is_behind(&self, node: &Node, family: Family) -> bool {
        match self.at {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => family == Family::V4,
            at => Family::of(at) == family && node.internal.iter().chain(&node.external).any(|ip| *ip == at),
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => self.port.fmt(f),
            at => write!(f, "{}@{at}", self.port),
        }
    }
}

impl FromStr for Listener {
    type Err = BadListener;

    fn from_str(text: &str) -> Result<Self, BadListener> {
        let (port, at) = match text.split_once('@') {
            Some((port, at)) => (port, at.parse().map_err(|_| BadListener)?),
            None => (text, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        };
        let (protocol, number) = port.split_once('/').ok_or(BadListener)?;
        let protocol = match protocol {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => return Err(BadListener),
        };
        let number = number.parse().ok().filter(|number| *number > 0).ok_or(BadListener)?;
        Ok(Self { port: Port { protocol, number }, at })
    }
}

/// What is known of the programs on each node.
#[derive(Debug, Default)]
pub(crate) struct Listeners(BTreeMap<NodeName, BTreeSet<Listener>>);

impl Listeners {
    /// These are on a node, or nobody looks there. Whether that changes anything.
    pub(crate) fn set(&mut self, node: &NodeName, now: Option<BTreeSet<Listener>>) -> bool {
        let before = match &now {
            Some(now) => self.0.insert(node.clone(), now.clone()),
            None => self.0.remove(node),
        };
        before != now
    }

    /// Whether somebody looks.
    pub(crate) fn are_known_of(&self, node: &NodeName) -> bool {
        self.0.contains_key(node)
    }

    /// The first of these ports that a program has for requests to addresses of a family of a node.
    pub(crate) fn first(
        &self,
        (name, node): (&NodeName, &Node),
        family: Family,
        mut ports: impl Iterator<Item = Port>,
    ) -> Option<Port> {
        let there = self.0.get(name)?;
        ports.find(|port| there.iter().any(|it| it.port == *port && it.is_behind(node, family)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_written_and_read_again() {
        for text in ["TCP/80", "UDP/53@192.0.2.1", "TCP/8080@0.0.0.0", "SCTP/9@2001:db8::1"] {
            assert_eq!(text.parse::<Listener>().unwrap().to_string(), text);
        }
        assert_eq!("TCP/80@::".parse::<Listener>().unwrap().to_string(), "TCP/80");
        for bad in ["", "80", "TCP/", "TCP/0", "TCP/65536", "tcp/80", "TCP/80@", "TCP/80@here", "TCP/-1"] {
            assert_eq!(bad.parse::<Listener>(), Err(BadListener), "{bad:?}");
        }
    }

    #[test]
    fn a_program_is_in_the_way_at_the_addresses_where_it_listens() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let node = Node {
            internal: addresses(&["192.0.2.1", "2001:db8::1"]),
            external: addresses(&["203.0.113.1"]),
            ..Node::default()
        };
        for (text, v4, v6) in [
            ("TCP/80", true, true),
            ("TCP/80@0.0.0.0", true, false),
            ("TCP/80@192.0.2.1", true, false),
            ("TCP/80@203.0.113.1", true, false),
            ("TCP/80@2001:db8::1", false, true),
            ("TCP/80@169.254.20.10", false, false),
            ("TCP/80@127.0.0.1", false, false),
        ] {
            let listener: Listener = text.parse().unwrap();
            let behind = [Family::V4, Family::V6].map(|family| listener.is_behind(&node, family));
            assert_eq!(behind, [v4, v6], "{text}");
        }
        for (text, reachable) in [
            ("TCP/80", true),
            ("TCP/80@192.0.2.1", true),
            ("TCP/80@127.0.0.53", false),
            ("TCP/80@::1", false),
            ("TCP/80@::ffff:127.0.0.1", false),
            ("TCP/80@169.254.20.10", false),
            ("TCP/80@fe80::1", false),
        ] {
            assert_eq!(text.parse::<Listener>().unwrap().is_reachable(), reachable, "{text}");
        }
    }
}

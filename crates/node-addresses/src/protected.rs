//! Ports of nodes that no Service gets, because something else of the node or of Kubernetes listens there.

use std::fmt;
use std::str::FromStr;

use ipam::{Port, Protocol};
use objects::text::quoted;

/// Ports that are protected unless a pool says otherwise: SSH, BGP, etcd, VXLAN, the API server and the supervisors of K3s
/// and RKE2, the metrics and the gossip of the speakers, kubelet, kube-proxy, the scheduler and the controller managers.
pub const DEFAULT_PROTECTED: [&str; 10] = [
    "TCP/22",
    "TCP/179",
    "TCP/2379-2382",
    "UDP/4789",
    "TCP/6443-6444",
    "TCP/7472",
    "7946",
    "UDP/8472",
    "TCP/9345",
    "TCP/10248-10260",
];

/// Ports that no Service gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedPorts(Vec<PortRange>);

/// Some ports of one protocol or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    protocol: Option<Protocol>,
    first: u16,
    last: u16,
}

/// What is no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no port: write one like 22, TCP/22 or UDP/8000-8010", quoted(.0))]
pub struct BadPort(String);

impl ProtectedPorts {
    /// Whether a port is one of them.
    pub fn contains(&self, port: Port) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }
}

impl Default for ProtectedPorts {
    fn default() -> Self {
        DEFAULT_PROTECTED.iter().filter_map(|text| text.parse().ok()).collect()
    }
}

impl FromIterator<PortRange> for ProtectedPorts {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

impl PortRange {
    fn contains(self, port: Port) -> bool {
        self.protocol.is_none_or(|protocol| protocol == port.protocol)
            && (self.first..=self.last).contains(&port.number)
    }
}

impl FromStr for PortRange {
    type Err = BadPort;

    /// Reads `PORT`, `FIRST-LAST`, and either with `TCP/`, `UDP/` or `SCTP/` before it.
    fn from_str(text: &str) -> Result<Self, BadPort> {
        let bad = || BadPort(text.to_owned());
        let (protocol, ports) = match text.split_once('/') {
            None => (None, text),
            Some(("TCP", ports)) => (Some(Protocol::Tcp), ports),
            Some(("UDP", ports)) => (Some(Protocol::Udp), ports),
            Some(("SCTP", ports)) => (Some(Protocol::Sctp), ports),
            Some(_) => return Err(bad()),
        };
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad);
        let range = Self { protocol, first: number(first)?, last: number(last)? };
        if range.first <= range.last { Ok(range) } else { Err(bad()) }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(protocol) => write!(f, "{}", Port { protocol, number: self.first })?,
            None => write!(f, "{}", self.first)?,
        }
        if self.first == self.last { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, number: u16) -> Port {
        Port { protocol, number }
    }

    #[test]
    fn a_range_is_of_one_protocol_or_of_all() {
        let range = |text: &str| text.parse::<PortRange>().unwrap();
        assert!(range("22").contains(port(Protocol::Udp, 22)));
        assert!(!range("TCP/22").contains(port(Protocol::Udp, 22)));
        for (number, within) in [(9, false), (10, true), (12, true), (13, false)] {
            assert_eq!(range("SCTP/10-12").contains(port(Protocol::Sctp, number)), within, "{number}");
        }
        for text in ["1", "TCP/22", "UDP/8000-8010", "65535"] {
            assert_eq!(range(text).to_string(), text);
        }
        for bad in ["", "0", "65536", "tcp/22", "TCP", "12-10", "1-2-3", "-5", "1-", " 22", "TCP/ 22"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn by_default_what_nodes_need_is_protected_and_what_people_serve_is_not() {
        let ports = ProtectedPorts::default();
        for number in [22, 2379, 6443, 10250, 10256] {
            assert!(ports.contains(port(Protocol::Tcp, number)), "{number}");
        }
        assert!(ports.contains(port(Protocol::Udp, 8472)));
        for number in [53, 80, 443, 8080, 30_080, 32_400] {
            assert!(!ports.contains(port(Protocol::Tcp, number)), "{number}");
        }
        assert_eq!(ports.0.len(), DEFAULT_PROTECTED.len(), "each can be read");
    }
}

//! Who is who in a lab: its name, its hosts, and every address.
//!
//! | host | IPv4 | IPv6 |
//! |---|---|---|
//! | the bridge, default gateway | 172.16.211.1 | fd00:172:16:211::1 |
//! | `cp` | 172.16.211.2 | fd00:172:16:211::2 |
//! | `router`, where there is one | 172.16.211.3 | fd00:172:16:211::3 |
//! | `n1`, `n2`, ... | 172.16.211.11, .12, ... | fd00:172:16:211::11, ::12, ... |
//! | `client` | 172.16.211.100 | fd00:172:16:211::100 |
//!
//! 172.16.211.200 to .210 and fd00:172:16:211::200 to ::210 stay free for address pools. A lab has the addresses of its
//! [`IpFamilies`]. Each has a LAN of its own, so labs may share the plan.
//!
//! With a router, the client is not on the LAN but in a network of its own, 172.16.212.0/24 and fd00:172:16:212::/64,
//! behind it: both have their last digits there too. 172.16.213.0/24 and fd00:172:16:213::/64 are nobody's, for pools
//! whose addresses only routes lead to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use anyhow::{Error, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// The port of the API server.
const API_PORT: u16 = 6443;
/// The mirror of all container registries.
const REGISTRY_PORT: u16 = 5000;
/// The most nodes a lab can have.
pub const MAX_NODES: u8 = 40;

const LAN6: [u16; 4] = [0xfd00, 0x172, 0x16, 0x211];

/// The name of a lab. Labs with different names run side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabName(String);

/// A node, by its number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(u8);

/// A machine on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// The control plane: etcd, the API server and its controllers, and the image registry.
    Cp,
    /// A machine of somebody else: no part of the cluster, no routes to pods.
    Client,
    /// What stands between the client and the nodes, in a lab with a [`Router`].
    Router,
    /// A node of the cluster.
    Node(NodeId),
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The families of addresses that a lab has, the first one first: nodes, Pods and Services are known by that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum IpFamilies {
    /// Both, IPv4 first.
    #[default]
    Dual4,
    /// Both, IPv6 first.
    Dual6,
    /// IPv4 alone. IPv6 is switched off on every host.
    Ipv4,
    /// IPv6 alone.
    Ipv6,
}

/// A network of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// That of the nodes.
    Lan,
    /// That of the client, where a router is between it and the nodes.
    Clients,
}

/// A program that speaks BGP and BFD with every node, and forwards by what it learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Router {
    /// FRRouting.
    Frr,
    /// The BIRD Internet Routing Daemon.
    Bird,
}

/// How kube-proxy writes its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// With nftables, the mode that Kubernetes recommends.
    #[default]
    Nftables,
    /// With iptables.
    Iptables,
}

impl LabName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LabName {
    fn default() -> Self {
        Self("lab".into())
    }
}

impl NodeId {
    /// The nodes of a lab with `count` of them.
    pub fn all(count: u8) -> impl Iterator<Item = Self> + Clone {
        (1..=count.min(MAX_NODES)).map(Self)
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The addresses of this node's pods.
    pub fn pods(self, family: IpFamily) -> String {
        match family {
            IpFamily::V4 => format!("10.244.{}.0/24", self.0),
            IpFamily::V6 => format!("fd00:10:244:{}::/64", self.0),
        }
    }
}

impl IpFamily {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Where one listens to all addresses of this family.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The addresses of Services.
    pub fn services(self) -> &'static str {
        match self {
            Self::V4 => "10.96.0.0/16",
            Self::V6 => "fd00:10:96::/112",
        }
    }

    /// The addresses of all pods.
    pub fn pods(self) -> &'static str {
        match self {
            Self::V4 => "10.244.0.0/16",
            Self::V6 => "fd00:10:244::/48",
        }
    }

    /// All addresses of a network.
    pub fn range(self, network: Network) -> &'static str {
        match (self, network) {
            (Self::V4, Network::Lan) => "172.16.211.0/24",
            (Self::V4, Network::Clients) => "172.16.212.0/24",
            (Self::V6, Network::Lan) => "fd00:172:16:211::/64",
            (Self::V6, Network::Clients) => "fd00:172:16:212::/64",
        }
    }

    /// Where pods find the API server: the first address of Services.
    pub fn kubernetes(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 96, 0, 1).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Where pods ask for names.
    pub fn dns(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(10, 96, 0, 10).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0xa).into(),
        }
    }
}

impl IpFamilies {
    /// The families in their order.
    pub fn all(self) -> &'static [IpFamily] {
        match self {
            Self::Dual4 => &[IpFamily::V4, IpFamily::V6],
            Self::Dual6 => &[IpFamily::V6, IpFamily::V4],
            Self::Ipv4 => &[IpFamily::V4],
            Self::Ipv6 => &[IpFamily::V6],
        }
    }

    /// The first one.
    pub fn first(self) -> IpFamily {
        self.all()[0]
    }

    /// The API server, as every host of the lab reaches it.
    pub fn api_server(self) -> String {
        format!("https://{}", SocketAddr::new(Host::Cp.address(self.first()), API_PORT))
    }

    /// Where the mirror of all container registries listens.
    pub fn registry(self) -> SocketAddr {
        SocketAddr::new(Host::Cp.address(self.first()), REGISTRY_PORT)
    }

    /// What `of` gives for each family, with commas between.
    pub fn list<T: fmt::Display>(self, of: impl Fn(IpFamily) -> T) -> String {
        let texts: Vec<String> = self.all().iter().map(|&family| of(family).to_string()).collect();
        texts.join(",")
    }
}

impl Host {
    /// All hosts of a lab with `nodes` nodes, and perhaps with a router.
    pub fn all(nodes: u8, router: Option<Router>) -> impl Iterator<Item = Self> + Clone {
        let router = router.map(|_| Self::Router);
        [Self::Cp, Self::Client].into_iter().chain(router).chain(NodeId::all(nodes).map(Self::Node))
    }

    fn suffix(self) -> u8 {
        match self {
            Self::Cp => 2,
            Self::Router => 3,
            Self::Client => 100,
            Self::Node(NodeId(number)) => 10 + number,
        }
    }

    /// Its address on the LAN.
    pub fn ipv4(self) -> Ipv4Addr {
        Ipv4Addr::new(172, 16, 211, self.suffix())
    }

    /// Its IPv6 address on the LAN: the same last digits, read as hexadecimal.
    pub fn ipv6(self) -> Ipv6Addr {
        let [a, b, c, d] = LAN6;
        let suffix = u16::from(self.suffix());
        let hexadecimal = suffix / 100 * 0x100 + suffix / 10 % 10 * 0x10 + suffix % 10;
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, hexadecimal)
    }

    /// Its address of a family on the LAN.
    pub fn address(self, family: IpFamily) -> IpAddr {
        match family {
            IpFamily::V4 => self.ipv4().into(),
            IpFamily::V6 => self.ipv6().into(),
        }
    }

    /// Its address of a family in a network, if it is there.
    pub fn address_in(self, network: Network, family: IpFamily) -> IpAddr {
        match (network, self.address(family)) {
            (Network::Lan, address) => address,
            (Network::Clients, IpAddr::V4(address)) => {
                let [a, b, _, d] = address.octets();
                Ipv4Addr::new(a, b, 212, d).into()
            }
            (Network::Clients, IpAddr::V6(address)) => {
                let [a, b, c, _, .., last] = address.segments();
                Ipv6Addr::new(a, b, c, 0x212, 0, 0, 0, last).into()
            }
        }
    }

    /// The hardware address of its network card. A node that comes back has the same card.
    pub fn mac(self) -> String {
        format!("02:00:ac:10:d3:{:02x}", self.suffix())
    }

    /// Whose network card has this hardware address.
    pub fn with_mac(mac: &str, nodes: u8) -> Option<Self> {
        Self::all(nodes, None).chain([Self::Router]).find(|host| host.mac().eq_ignore_ascii_case(mac))
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cp => f.write_str("cp"),
            Self::Client => f.write_str("client"),
            Self::Router => f.write_str("router"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
        })
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}

impl FromStr for LabName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        ensure!(
            (1..=20).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('-'),
            "{text:?} is no name for a lab: use 1 to 20 lower-case letters, digits and hyphens"
        );
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for NodeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('n').map(str::parse) {
            Some(Ok(number @ 1..=MAX_NODES)) => Ok(Self(number)),
            _ => bail!("{text:?} is no node: nodes are called n1, n2 and so on"),
        }
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cp" => Ok(Self::Cp),
            "client" => Ok(Self::Client),
            "router" => Ok(Self::Router),
            _ => text.parse().map(Self::Node).map_err(|_| {
                Error::msg(format!(
                    "{text:?} is no host: hosts are client, cp, router, and the nodes n1, n2 and so on"
                ))
            }),
        }
    }
}

/// Serde uses the text form of the names.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.to_string()
            }
        }
    )*};
}
as_text!(LabName, NodeId, Host);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_follow_the_plan() {
        let n1: Host = "n1".parse().unwrap();
        assert_eq!(n1.ipv4().to_string(), "172.16.211.11");
        assert_eq!(n1.ipv6().to_string(), "fd00:172:16:211::11");
        assert_eq!(Host::Client.ipv6().to_string(), "fd00:172:16:211::100");
    }

    #[test]
    fn behind_a_router_hosts_keep_their_last_digits() {
        let addresses = |host: Host| {
            [IpFamily::V4, IpFamily::V6].map(|family| host.address_in(Network::Clients, family).to_string())
        };
        assert_eq!(addresses(Host::Client), ["172.16.212.100", "fd00:172:16:212::100"]);
        assert_eq!(addresses(Host::Router), ["172.16.212.3", "fd00:172:16:212::3"]);
        assert!(!Host::all(3, None).any(|host| host == Host::Router));
    }

    #[test]
    fn the_first_family_is_the_one_that_programs_are_reached_by() {
        let of = |families: IpFamilies| {
            (families.api_server(), families.registry().to_string(), families.list(IpFamily::services))
        };
        let v4 = ("https://172.16.211.2:6443".to_owned(), "172.16.211.2:5000".to_owned());
        let v6 = ("https://[fd00:172:16:211::2]:6443".to_owned(), "[fd00:172:16:211::2]:5000".to_owned());
        for (families, (api_server, registry), services) in [
            (IpFamilies::Dual4, &v4, "10.96.0.0/16,fd00:10:96::/112"),
            (IpFamilies::Dual6, &v6, "fd00:10:96::/112,10.96.0.0/16"),
            (IpFamilies::Ipv4, &v4, "10.96.0.0/16"),
            (IpFamilies::Ipv6, &v6, "fd00:10:96::/112"),
        ] {
            assert_eq!(of(families), (api_server.clone(), registry.clone(), services.to_owned()));
        }
    }

    #[test]
    fn no_two_hosts_share_an_address_and_none_has_one_of_the_pool() {
        let hosts: Vec<Host> = Host::all(MAX_NODES, Some(Router::Frr)).collect();
        assert_eq!(hosts.len(), 43);
        let distinct: BTreeSet<_> = hosts.iter().map(|host| host.ipv4()).collect();
        assert_eq!(distinct.len(), hosts.len());
        assert!(distinct.iter().all(|address| address.octets()[3] < 200));
    }

    #[test]
    fn a_host_is_known_by_its_network_card() {
        let n3: Host = "n3".parse().unwrap();
        assert_eq!(n3.mac(), "02:00:ac:10:d3:0d");
        assert_eq!(Host::with_mac("02:00:AC:10:D3:0D", 3), Some(n3));
        assert_eq!(Host::with_mac("02:00:ac:10:d3:0d", 2), None);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cp", "client", "router", "n1", "n40"] {
            assert_eq!(name.parse::<Host>().unwrap().to_string(), name);
        }
        for wrong in ["n0", "n41", "n", "N1", "node1", "", "n1x"] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
        assert!("two-labs".parse::<LabName>().is_ok());
        for wrong in ["", "../x", "-a", "A", "a-name-of-more-than-twenty"] {
            assert!(wrong.parse::<LabName>().is_err(), "{wrong}");
        }
    }
}

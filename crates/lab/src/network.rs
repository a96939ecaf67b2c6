//! The LAN: a bridge in the lab's own network namespace, and a network namespace per host with one cable to it.
//!
//! With a router there is a second bridge, for the client's network, and the router has a cable to each of the two.
//! Nothing else leads out of the LAN. All of it is written as batches for the `ip` program.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plan::{Host, IpFamilies, IpFamily, Network, NodeId, Router};
use crate::template;

/// Where kubelet's and kube-proxy's wishes are met in a host that forwards packets, and in the client, which must not.
pub(crate) const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

/// What else is set in a host's network, before its cards are up: new addresses are usable at once, and there is none
/// of IPv6 where the lab has none. A router chooses a next hop by addresses and ports, so that one client sees all.
pub(crate) fn settings(host: Host, families: IpFamilies) -> Vec<(&'static str, &'static str)> {
    let without_ipv6 = if families.all().contains(&IpFamily::V6) { "0" } else { "1" };
    let mut settings = vec![
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/eth0/accept_dad", "0"),
        ("net/ipv6/conf/all/disable_ipv6", without_ipv6),
    ];
    if host == Host::Router {
        settings.extend([
            ("net/ipv6/conf/eth1/accept_dad", "0"),
            ("net/ipv4/fib_multipath_hash_policy", "1"),
            ("net/ipv6/fib_multipath_hash_policy", "1"),
        ]);
    }
    settings
}

/// Makes the bridges.
pub(crate) fn bridges(families: IpFamilies, router: Option<Router>) -> String {
    let mut batch = "link set lo up\n".to_owned();
    let clients = router.map(|_| Network::Clients);
    for network in [Network::Lan].into_iter().chain(clients) {
        let bridge = bridge(network);
        let _ = writeln!(batch, "link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up");
    }
    for &family in families.all() {
        batch.push_str(&address(gateway(family), family, bridge(Network::Lan)));
    }
    batch
}

/// Makes `host`'s namespace with its network cards, cabled to the bridges. For the lab's own namespace.
pub(crate) fn cable(host: Host, router: Option<Router>) -> String {
    let card = |port: String, card: &str, network| {
        format!(
            "link add {port} type veth peer name {card} netns {host}\n\
             link set {port} master {} up\n",
            bridge(network)
        )
    };
    let first = format!("eth0 address {}", host.mac());
    let first = card(port(host), &first, first_network(host, router));
    let second = match host {
        Host::Router => card(format!("{}-1", port(host)), "eth1", Network::Clients),
        Host::Cp | Host::Client | Host::Node(_) => String::new(),
    };
    format!("netns add {host}\n{first}{second}")
}

/// Where `host`'s first network card is.
fn first_network(host: Host, router: Option<Router>) -> Network {
    match host {
        Host::Client if router.is_some() => Network::Clients,
        Host::Client | Host::Cp | Host::Router | Host::Node(_) => Network::Lan,
    }
}

/// Gives `host` its addresses and routes. For the host's namespace.
pub(crate) fn addresses(host: Host, nodes: u8, families: IpFamilies, router: Option<Router>) -> String {
    let mut batch = "link set lo up\nlink set eth0 up\n".to_owned();
    if host == Host::Router {
        batch.push_str("link set eth1 up\n");
    }
    for &family in families.all() {
        batch.push_str(&address(host.address_in(first_network(host, router), family), family, "eth0"));
        batch.push_str(&ways(host, nodes, family, router));
    }
    batch
}

/// What `host` reaches beyond its first network.
fn ways(host: Host, nodes: u8, family: IpFamily, router: Option<Router>) -> String {
    match (host, router) {
        (Host::Client, None) => String::new(),
        (Host::Client, Some(_)) => {
            format!("route add default via {}\n", Host::Router.address_in(Network::Clients, family))
        }
        // All else that it knows, it learns.
        (Host::Router, _) => address(host.address_in(Network::Clients, family), family, "eth1"),
        (Host::Cp | Host::Node(_), router) => {
            // The gateway forwards nothing. But without a default route a process in the host's network that connects
            // to a Service address is refused before kube-proxy's rules can rewrite it.
            let mut ways = format!("route add default via {}\n", gateway(family));
            if router.is_some() {
                let (clients, router) = (family.range(Network::Clients), Host::Router.address(family));
                let _ = writeln!(ways, "route add {clients} via {router}");
            }
            for node in NodeId::all(nodes).filter(|node| Host::Node(*node) != host) {
                let via = Host::Node(node).address(family);
                let _ = writeln!(ways, "route add {} via {via}", node.pods(family));
            }
            ways
        }
    }
}

fn gateway(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(172, 16, 211, 1).into(),
        IpFamily::V6 => Ipv6Addr::new(0xfd00, 0x172, 0x16, 0x211, 0, 0, 0, 1).into(),
    }
}

fn address(address: IpAddr, family: IpFamily, interface: &str) -> String {
    match family {
        IpFamily::V4 => format!("addr add {address}/24 dev {interface}\n"),
        IpFamily::V6 => format!("addr add {address}/64 dev {interface} nodad\n"),
    }
}

/// Connects or disconnects `host`'s cable. For the lab's own namespace.
pub(crate) fn link(host: Host, state: Link) -> String {
    let state = match state {
        Link::Up => "up",
        Link::Down => "down",
    };
    format!("link set {} {state}\n", port(host))
}

/// Takes `host`'s network card and namespace away. For the lab's own namespace.
pub(crate) fn remove(host: Host) -> String {
    format!("link del {}\nnetns del {host}\n", port(host))
}

/// A node's nftables rules: pods leave the cluster with their node's address.
pub(crate) fn masquerade() -> &'static str {
    include_str!("../templates/masquerade.nft")
}

/// A node's CNI configuration.
pub(crate) fn cni(node: NodeId, families: IpFamilies) -> String {
    let everywhere = |family| match family {
        IpFamily::V4 => r#"{"dst": "0.0.0.0/0"}"#,
        IpFamily::V6 => r#"{"dst": "::/0"}"#,
    };
    let range = |family| format!(r#"[{{"subnet": "{}"}}]"#, node.pods(family));
    template::render(
        include_str!("../templates/cni.conflist"),
        &[("routes", &families.list(everywhere)), ("ranges", &families.list(range))],
    )
}

/// Whether a cable is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Down,
}

fn port(host: Host) -> String {
    format!("p-{host}")
}

fn bridge(network: Network) -> &'static str {
    match network {
        Network::Lan => "br0",
        Network::Clients => "br1",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_node_has_routes_to_the_pods_of_the_others() {
        let batch = addresses(Host::Node("n2".parse().unwrap()), 3, IpFamilies::Dual4, None);
        assert!(batch.contains("route add 10.244.1.0/24 via 172.16.211.11\n"));
        assert!(batch.contains("route add fd00:10:244:3::/64 via fd00:172:16:211::13\n"));
        assert!(!batch.contains("10.244.2.0") && !batch.contains("172.16.212."));
    }

    #[test]
    fn the_client_knows_nothing_but_the_lan() {
        assert!(!addresses(Host::Client, 3, IpFamilies::Dual4, None).contains("route"));
    }

    #[test]
    fn with_a_router_the_client_is_behind_it_and_nodes_know_the_way_there() {
        let router = Some(Router::Frr);
        assert!(bridges(IpFamilies::Dual4, router).contains("link add br1 "));
        assert!(!bridges(IpFamilies::Dual4, None).contains("br1"));
        assert!(cable(Host::Client, router).contains("link set p-client master br1 up\n"));
        assert!(cable(Host::Client, None).contains("link set p-client master br0 up\n"));
        let batch = |host| addresses(host, 3, IpFamilies::Dual4, router);
        let client = batch(Host::Client);
        assert!(client.contains("addr add 172.16.212.100/24 dev eth0\n"), "{client}");
        assert!(client.contains("route add default via fd00:172:16:212::3\n"), "{client}");
        for host in [Host::Cp, Host::Node("n2".parse().unwrap())] {
            assert!(batch(host).contains("route add 172.16.212.0/24 via 172.16.211.3\n"), "{host}");
        }
        let router = batch(Host::Router);
        assert!(router.contains("addr add fd00:172:16:212::3/64 dev eth1 nodad\n"), "{router}");
        assert!(!router.contains("route"), "{router}");
    }

    #[test]
    fn a_lab_of_one_family_has_nothing_of_the_other() {
        let router = Some(Router::Bird);
        let all = |families| {
            let hosts = Host::all(3, router).map(|host| addresses(host, 3, families, router));
            hosts.chain([bridges(families, router)]).collect::<String>()
        };
        assert!(!all(IpFamilies::Ipv6).contains("172.16.21"));
        assert!(!all(IpFamilies::Ipv4).contains("fd00:"));
    }

    #[test]
    fn cni_configuration_is_json_with_the_families_in_their_order() {
        for (families, expected) in [
            (IpFamilies::Dual4, json!([[{"subnet": "10.244.7.0/24"}], [{"subnet": "fd00:10:244:7::/64"}]])),
            (IpFamilies::Dual6, json!([[{"subnet": "fd00:10:244:7::/64"}], [{"subnet": "10.244.7.0/24"}]])),
            (IpFamilies::Ipv6, json!([[{"subnet": "fd00:10:244:7::/64"}]])),
        ] {
            let cni: Value = serde_json::from_str(&cni("n7".parse().unwrap(), families)).unwrap();
            let ipam = &cni["plugins"][0]["ipam"];
            assert_eq!(ipam["ranges"], expected);
            assert_eq!(ipam["routes"].as_array().unwrap().len(), families.all().len());
        }
    }
}

//! The LAN: a bridge in the lab's own network namespace, and a network namespace per host with one cable to it.
//!
//! Nothing leads out of the LAN. All of it is written as batches for the `ip` program.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plan::{Host, IpFamilies, IpFamily, NodeId};
use crate::template;

/// Where kubelet's and kube-proxy's wishes are met in a host that forwards packets, and in the client, which must not.
pub(crate) const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

/// What else is set in a host's network, before it has a cable: new addresses are usable at once, and there is none of
/// IPv6 where the lab has none.
pub(crate) fn settings(families: IpFamilies) -> [(&'static str, &'static str); 3] {
    let without_ipv6 = if families.all().contains(&IpFamily::V6) { "0" } else { "1" };
    [
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/eth0/accept_dad", "0"),
        ("net/ipv6/conf/all/disable_ipv6", without_ipv6),
    ]
}

/// Makes the bridge.
pub(crate) fn bridge(families: IpFamilies) -> String {
    let mut batch = "link set lo up\nlink add br0 type bridge mcast_snooping 0\nlink set br0 up\n".to_owned();
    for &family in families.all() {
        batch.push_str(&address(gateway(family), family, "br0"));
    }
    batch
}

/// Makes `host`'s namespace with a network card, cabled to the bridge. For the lab's own namespace.
pub(crate) fn cable(host: Host) -> String {
    format!(
        "netns add {host}\n\
         link add {port} type veth peer name eth0 address {mac} netns {host}\n\
         link set {port} master br0 up\n",
        port = port(host),
        mac = host.mac()
    )
}

/// Gives `host` its addresses and routes. For the host's namespace.
pub(crate) fn addresses(host: Host, nodes: u8, families: IpFamilies) -> String {
    let mut batch = "link set lo up\nlink set eth0 up\n".to_owned();
    for &family in families.all() {
        batch.push_str(&address(host.address(family), family, "eth0"));
        if host == Host::Client {
            continue;
        }
        // The gateway forwards nothing. But without a default route a process in the host's network that connects to a
        // Service address is refused before kube-proxy's rules can rewrite it.
        let _ = writeln!(batch, "route add default via {}", gateway(family));
        for node in NodeId::all(nodes).filter(|node| Host::Node(*node) != host) {
            let _ =
                writeln!(batch, "route add {} via {}", node.pods(family), Host::Node(node).address(family));
        }
    }
    batch
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_node_has_routes_to_the_pods_of_the_others() {
        let batch = addresses(Host::Node("n2".parse().unwrap()), 3, IpFamilies::Dual4);
        assert!(batch.contains("route add 10.244.1.0/24 via 172.16.211.11\n"));
        assert!(batch.contains("route add fd00:10:244:3::/64 via fd00:172:16:211::13\n"));
        assert!(!batch.contains("10.244.2.0"));
    }

    #[test]
    fn the_client_knows_nothing_but_the_lan() {
        assert!(!addresses(Host::Client, 3, IpFamilies::Dual4).contains("route"));
    }

    #[test]
    fn a_lab_of_one_family_has_nothing_of_the_other() {
        let hosts = || Host::all(3).map(|host| addresses(host, 3, IpFamilies::Ipv6)).collect::<String>();
        assert!(!(hosts() + &bridge(IpFamilies::Ipv6)).contains("172.16.211."));
        let hosts = || Host::all(3).map(|host| addresses(host, 3, IpFamilies::Ipv4)).collect::<String>();
        assert!(!(hosts() + &bridge(IpFamilies::Ipv4)).contains("fd00:"));
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

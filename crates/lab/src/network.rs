//! The LAN: a bridge in the lab's own network namespace, and a network namespace per host with one cable to it.
//!
//! Nothing leads out of the LAN. All of it is written as batches for the `ip` program.

use std::fmt::Write;

use crate::plan::{Host, NodeId};
use crate::template;

/// Where kubelet's and kube-proxy's wishes are met in a host that forwards packets, and in the client, which must not.
pub(crate) const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

/// Makes the bridge.
pub(crate) fn bridge() -> String {
    "link set lo up\n\
     link add br0 type bridge mcast_snooping 0\n\
     link set br0 up\n\
     addr add 172.16.211.1/24 dev br0\n\
     addr add fd00:172:16:211::1/64 dev br0 nodad\n"
        .into()
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
pub(crate) fn addresses(host: Host, nodes: u8) -> String {
    let mut batch = format!(
        "link set lo up\n\
         link set eth0 up\n\
         addr add {}/24 dev eth0\n\
         addr add {}/64 dev eth0 nodad\n",
        host.ipv4(),
        host.ipv6()
    );
    if host == Host::Client {
        return batch;
    }
    // The gateway forwards nothing. But without a default route a process in the host's network that connects to a
    // Service address is refused before kube-proxy's rules can rewrite it.
    batch.push_str("route add default via 172.16.211.1\nroute add default via fd00:172:16:211::1\n");
    for node in NodeId::all(nodes).filter(|node| Host::Node(*node) != host) {
        let gateway = Host::Node(node);
        let _ = writeln!(batch, "route add {} via {}", node.pods4(), gateway.ipv4());
        let _ = writeln!(batch, "route add {} via {}", node.pods6(), gateway.ipv6());
    }
    batch
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
pub(crate) fn cni(node: NodeId) -> String {
    let values = [("pods4", node.pods4()), ("pods6", node.pods6())];
    template::render(
        include_str!("../templates/cni.conflist"),
        &[("pods4", &values[0].1), ("pods6", &values[1].1)],
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
    use super::*;

    #[test]
    fn a_node_has_routes_to_the_pods_of_the_others() {
        let batch = addresses(Host::Node("n2".parse().unwrap()), 3);
        assert!(batch.contains("route add 10.244.1.0/24 via 172.16.211.11\n"));
        assert!(batch.contains("route add fd00:10:244:3::/64 via fd00:172:16:211::13\n"));
        assert!(!batch.contains("10.244.2.0"));
    }

    #[test]
    fn the_client_knows_nothing_but_the_lan() {
        assert!(!addresses(Host::Client, 3).contains("route"));
    }

    #[test]
    fn cni_configuration_is_json_with_both_families() {
        let cni: serde_json::Value = serde_json::from_str(&cni("n7".parse().unwrap())).unwrap();
        let ranges = &cni["plugins"][0]["ipam"]["ranges"];
        assert_eq!(ranges[0][0]["subnet"], "10.244.7.0/24");
        assert_eq!(ranges[1][0]["subnet"], "fd00:10:244:7::/64");
    }
}

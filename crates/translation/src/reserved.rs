//! Addresses that no Service is given, since nodes have them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::NodeName;

/// The addresses of nodes, each with the first node that has it.
pub fn reserved(nodes: &BTreeMap<NodeName, Vec<IpAddr>>) -> BTreeMap<IpAddr, NodeName> {
    nodes.iter().rev().flat_map(|(node, ips)| ips.iter().map(|ip| (*ip, node.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_two_nodes_is_the_first_ones() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let nodes = [("n2", ["192.0.2.1", "192.0.2.2"]), ("n1", ["192.0.2.2", "2001:db8::1"])];
        let nodes = nodes.map(|(node, ips)| (node.into(), ips.map(ip).to_vec())).into();
        let expected = [("192.0.2.1", "n2"), ("192.0.2.2", "n1"), ("2001:db8::1", "n1")];
        assert_eq!(reserved(&nodes), expected.map(|(address, node)| (ip(address), node.into())).into());
    }
}

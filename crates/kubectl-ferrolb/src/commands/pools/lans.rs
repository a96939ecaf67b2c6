//! What the LANs of the nodes tell of a pool.

use std::collections::BTreeSet;

use ::pools::{Pool, Range};
use placement::Prefix;

use crate::snapshot::Snapshot;
use crate::survey::list;

/// That ranges of a pool begin on a LAN of the nodes and end elsewhere, or the other way round: hardly anybody means that.
/// Where there are routers that are told, addresses need no LAN.
pub(super) fn doubts(pool: &Pool, snapshot: &Snapshot) -> Vec<String> {
    if !snapshot.bgp.is_empty() {
        return vec![];
    }
    let lans = snapshot.speakers.prefixes.values().flat_map(|it| it.values().flatten());
    let lans: BTreeSet<&Prefix> = lans.collect();
    let doubt = |range: &Range| {
        let (first, last) = (range.first(), range.last());
        let at_an_end: Vec<_> = lans.iter().filter(|lan| lan.contains(first) != lan.contains(last)).collect();
        (!at_an_end.is_empty()).then(|| {
            format!(
                "{range} of spec.addresses reaches beyond {}, the LAN of the nodes, where hosts do not ask for addresses of other networks: look for a slip in it, or write a range for each network",
                list(&at_an_end)
            )
        })
    };
    pool.ranges.iter().filter_map(doubt).collect()
}

#[cfg(test)]
mod tests {
    use api::AddressEntry;
    use serde_json::json;

    use crate::fixtures::{edited, snapshot, told};
    use crate::look::Look;

    /// What is told of a pool with these addresses, where the nodes are on 192.0.2.0/24.
    fn told_of(addresses: &[&str], routers: bool) -> Vec<String> {
        let speakers = ["n1", "n2", "n3"].map(|node| {
            edited(told(node, vec![]), |_, interfaces| {
                interfaces[0].prefixes = vec!["192.0.2.0/24".to_owned(), "2001:db8::/64".to_owned()];
            })
        });
        let mut snapshot = snapshot(&[], &[], &speakers);
        snapshot.pools[0].spec.addresses =
            addresses.iter().map(|it| AddressEntry((*it).to_owned())).collect();
        if routers {
            let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
            let peer = json!({"metadata": {"name": "r1"}, "spec": spec});
            snapshot.bgp.peers = vec![serde_json::from_value(peer).unwrap()];
        }
        let look = Look::new(vec![], speakers.into(), snapshot, None, vec![]);
        super::super::rows(&look).remove(0).warnings
    }

    #[test]
    fn a_range_that_leaves_the_lan_of_the_nodes_is_told_and_one_beside_it_is_not() {
        let said = told_of(&["192.0.2.200-192.0.20.209"], false);
        assert!(
            said.len() == 1 && said[0].contains("192.0.2.200-192.0.20.209 of spec.addresses"),
            "{said:?}"
        );
        assert!(said[0].contains("reaches beyond 192.0.2.0/24"), "{said:?}");
        assert!(told_of(&["2001:db8::ff-2001:db8:0:1::"], false)[0].contains("beyond 2001:db8::/64"));
        for fine in ["192.0.2.200-192.0.2.209", "192.0.2.0/24", "198.51.100.0/24", "2001:db8:1::/64"] {
            assert_eq!(told_of(&[fine], false), [""; 0], "{fine}");
        }
        assert_eq!(told_of(&["192.0.2.200-192.0.20.209"], true), [""; 0], "routers may be told of the rest");
    }
}

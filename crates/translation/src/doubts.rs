//! What the author of a pool may not mean, by the objects beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use objects::{NodeName, PoolName};
use pools::Pools;

/// For each pool the addresses of nodes that it lists, which are never given (`reserved` has those of all nodes), and the
/// pool that overlaps it: one sentence each.
pub fn pool_doubts(
    in_force: &Pools,
    reserved: &BTreeMap<IpAddr, NodeName>,
) -> BTreeMap<PoolName, Vec<String>> {
    let mut doubts = node_doubts(in_force, reserved);
    for pool in in_force.iter() {
        if let Some(other) = &pool.overlapped_by {
            let doubt = format!(
                "an entry of IPAddressPool {other} overlaps this pool, and is not in force: until that is \
                 resolved, Services keep addresses that this pool does not list any more"
            );
            doubts.entry(pool.name.clone()).or_default().push(doubt);
        }
    }
    doubts
}

/// The addresses of nodes that each pool contains.
pub fn node_doubts(
    in_force: &Pools,
    reserved: &BTreeMap<IpAddr, NodeName>,
) -> BTreeMap<PoolName, Vec<String>> {
    let mut doubts: BTreeMap<PoolName, Vec<String>> = BTreeMap::new();
    for (ip, node) in reserved {
        if let Some(pool) = in_force.owner(*ip) {
            let doubt =
                format!("spec.addresses contains {ip}, an address of node {node}, which is never given");
            doubts.entry(pool.name.clone()).or_default().push(doubt);
        }
    }
    doubts
}

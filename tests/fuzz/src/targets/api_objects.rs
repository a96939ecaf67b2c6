//! What the API server has: the objects of the configuration, and those of the cluster.

use api::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use pools::{PoolSpec, Pools};
use serde::de::DeserializeOwned;
use slim::{EndpointSlice, Namespace, Node, Pod};

use super::is_quoted;

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn check(texts: impl IntoIterator<Item = String>) {
    for text in texts {
        assert!(is_quoted(&text), "{text:?}");
    }
}

/// Pools, advertisements and what belongs to them. The first byte says which; an object of each kind is read as each.
pub fn configuration(bytes: &[u8]) {
    if let Some(pool) = read::<IPAddressPool>(bytes) {
        check(pool.warnings());
        let spec = PoolSpec::from(&pool);
        for pool in Pools::new([spec]).iter() {
            check(pool.faults.iter().map(ToString::to_string));
        }
        controller::fuzzing::messages(vec![pool.clone(), pool], &[])
            .into_iter()
            .for_each(|text| check([text]));
    }
    if let Some(advertisement) = read::<L2Advertisement>(bytes) {
        check(advertisement.warnings());
        let (_, faults) = advertisement.read();
        check(faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.why)));
    }
    if let Some(object) = read::<BGPAdvertisement>(bytes) {
        check(object.warnings());
    }
    if let Some(object) = read::<BGPPeer>(bytes) {
        check(object.warnings());
    }
    if let Some(object) = read::<Community>(bytes) {
        check(object.warnings());
    }
    _ = read::<BFDProfile>(bytes);
}

/// Nodes, Pods and the like, as the speakers read them; and whether a Pod is one of MetalLB's.
pub fn cluster(bytes: &[u8]) {
    if let Some(node) = read::<Node>(bytes) {
        speaker::fuzzing::node(&node);
    }
    if let Some(pod) = read::<Pod>(bytes) {
        speaker::fuzzing::pod(&pod);
    }
    if let Some(slice) = read::<EndpointSlice>(bytes) {
        speaker::fuzzing::slice(&slice);
    }
    _ = read::<Namespace>(bytes);
    coexistence::fuzzing::pod(&mut serde_json::Deserializer::from_slice(bytes));
}

//! Who announces an address: candidates, their ranking, and what this node should announce.
//!
//! [`Placement`] is fed with what is known of the cluster ([`Service`]s, endpoints, [`Node`]s, [`Pools`],
//! [`Advertisement`]s and the live members) and says which addresses this node answers for, on which
//! interfaces. Every node computes the same from the same input, so nodes need not talk to agree.
//!
//! The rules are MetalLB's. For one Service:
//!
//! 1. it has its addresses from a pool ([`Pools::pool_of`]), and some endpoint serves;
//! 2. advertisements that match the pool and the Service select nodes;
//! 3. of these, *candidates* are live members whose network is available, which do not carry the label
//!    [`EXCLUDE_LABEL`], and which, with [`TrafficPolicy::Local`], run a serving endpoint;
//! 4. the candidate with the highest score of preferences announces; among equals the one with the lowest
//!    `sha256(node + "#" + address)`, where the address is the Service's first.
//!
//! Nothing here knows a Kubernetes type, a socket or a clock.

mod election;
#[cfg(test)]
mod fixtures;
mod handover;
mod index;
mod input;

pub use election::{Assignment, EXCLUDE_LABEL, ExcludeLabel, Unannounced, rank};
pub use handover::Handovers;
pub use index::{Announcement, Announcements, Change, History, Placement, Released, Takeover};
pub use input::{
    Advertisement, Endpoints, Interfaces, Network, Node, Preference, Service, Sharing, TrafficPolicy,
};
pub use objects::{AdvertisementName, InterfaceName, NodeName, PoolName, ServiceKey, SliceKey};
pub use pools::Pools;

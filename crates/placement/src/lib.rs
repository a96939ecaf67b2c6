//! Who announces an address: candidates, their ranking, and what this node should announce.
//!
//! [`Placement`] is fed with what is known of the cluster ([`Service`]s, endpoints, [`Node`]s, [`Pools`],
//! [`Advertisement`]s and the live members) and says which addresses this node answers for, on which
//! interfaces. Every node computes the same from the same input, so nodes need not talk to agree.
//!
//! ```text
//! Service -> pool -> advertisements -> nodes     eligibility: which nodes may announce a Service, by any protocol
//! address -> its Services -> one announcer       election: among the nodes that may and can, for all of them
//! announcer is this node -> announcement         takeover: who had the address, how it is handed over
//! ```
//!
//! The rules are MetalLB's. For one Service:
//!
//! 1. it has its addresses from a pool ([`Pools::pool_of`]), and some endpoint serves;
//! 2. advertisements that match the pool and the Service select nodes;
//! 3. of these, those are *eligible* that are live members whose network is available, which do not carry the label
//!    [`EXCLUDE_LABEL`], and which, with [`TrafficPolicy::Local`], run a serving endpoint.
//!
//! For one address:
//!
//! 1. the *candidates* are the nodes that are eligible for every Service that uses it, and that can announce it on one
//!    of the interfaces that the advertisements allow ([`Abilities`]), and that have not given it up
//!    ([`Placement::set_conceded`]). A Service that leaves no candidate to the older
//!    ones is left out, and learns why ([`Unannounced::SharedElsewhere`]);
//! 2. of these, those are passed over that have [lost](Ability::Lost) an interface on which another candidate can
//!    announce the address, or on which they may lose it [again](Ability::Unsteady), where some are left. Where the
//!    address is in a [`Prefix`] of some interfaces of a node, only these count for that node;
//! 3. the candidate with the highest score of preferences announces; among equals the one with the lowest
//!    `sha256(node + "#" + address)`, where the address is the first one of the oldest Service that uses it. So the
//!    addresses of a Service that shares none are announced from one node, unless that node cannot announce one
//!    of them. Where they are to be [spread evenly](Spread::Evenly), the home of the address and then its deputy come
//!    before the others of that score (module `spread`);
//! 4. with [no failback](Failback::Never), the candidate that keeps the address goes before all of these (module
//!    `index::keeping`).
//!
//! Nothing here knows a Kubernetes type, a socket or a clock.

mod abilities;
mod change;
mod election;
mod eligibility;
#[cfg(test)]
mod fixtures;
mod handover;
mod index;
mod input;
mod obstacle;
mod prefixes;
mod profile;
mod spread;
mod takeover;
mod versions;

pub use abilities::{Abilities, Ability, ByProtocol};
pub use change::{Change, Moved, Released};
pub use election::{Assignment, Unannounced, rank};
pub use eligibility::{EXCLUDE_LABEL, ExcludeLabel, Ineligible, Unadvertised};
pub use handover::Handovers;
pub use index::{Failback, Placement};
pub use input::{
    Advertisement, Endpoints, Interfaces, Network, Node, Preference, Service, Sharing, TrafficPolicy,
};
pub use objects::{AdvertisementName, InterfaceName, NodeName, PoolName, ServiceKey, SliceKey};
pub use obstacle::Obstacle;
pub use pools::Pools;
pub use prefixes::{NoPrefix, Prefix, Prefixes};
pub use profile::{Disputed, Mac, NodeProfile};
pub use spread::Spread;
pub use takeover::{Announcement, Announcements, History, Takeover};
pub use versions::{Kind, Versions};

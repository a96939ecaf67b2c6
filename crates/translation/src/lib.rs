//! What Kubernetes objects mean to the pure crates: what a Service wants and has ([`Claim`], [`Observed`]), what there is to
//! announce of it ([`SeenService`]), where its endpoints are ([`SeenSlice`]) and what its nodes are like.
//!
//! The controller, the speakers and `kubectl ferrolb` read objects by this crate, so what the plugin predicts is what the
//! programs do. (`IPAddressPool` and `L2Advertisement` are read by the crate `api`, which has their types.)

mod announced;
mod bounded;
mod claim;
mod doubts;
mod observed;
pub mod previous;
mod reserved;
mod turn;

pub use announced::{LoadBalancerClass, Names, SeenService, SeenSlice, read_node, service_key};
pub use claim::{Claim, Rules, SharingScope, Unservable, node_ports, primary_family};
pub use doubts::{node_doubts, pool_doubts};
pub use observed::{Observed, Origin};
pub use reserved::reserved;
pub use turn::{Rank, Turn};

//! What Kubernetes objects mean to the pure crates: what a Service wants and has ([`Claim`], [`Observed`]), what there is to
//! announce of it ([`LoadBalancerClass`]), where its endpoints are and what its nodes are like.
//!
//! The controller, the speakers and `kubectl ferrolb` read objects by this crate, so what the plugin predicts is what the
//! programs do. (`IPAddressPool` and `L2Advertisement` are read by the crate `api`, which has their types.)

mod announced;
mod claim;
mod doubts;
mod observed;
pub mod previous;
mod turn;

pub use announced::{LoadBalancerClass, read_node, read_slice, service_key, slice_key};
pub use claim::{Claim, Rules, SharingScope, Unservable};
pub use doubts::pool_doubts;
pub use observed::Observed;
pub use turn::{Rank, Turn};

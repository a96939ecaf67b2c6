//! Announcing by ARP and NDP.

mod outcome;
mod plan;

pub use outcome::Conflict;
pub(crate) use outcome::{Outcomes, answered_by_peer, claimed};
pub use plan::{Orders, Plan, PortId, Ports, Responder, Rival, Wanted};

/// The name of the protocol, as events and metrics call it.
pub const PROTOCOL: &str = "layer2";

//! Announcing by BGP.
//!
//! Every node that may announce a Service does, so nothing is elected. What a peer is told follows from the objects alone:
//! [`peering`] says which of them are in force, [`Plan`] which prefixes a peer is to have, and with which attributes.

mod foretell;
mod objects;
mod plan;
mod proxy;

pub use foretell::{Foretold, foretell};
pub use objects::BgpInput;
pub(crate) use objects::{Bgp, BgpNews};
pub(crate) use plan::{Change, Here, Plan, Touched, View, here};
pub use plan::{NotAnnounced, Told};
pub use proxy::{Asking, ProxyAnswer};
pub(crate) use proxy::{Need, Proxy};

/// The name of the protocol, as events and metrics call it.
pub const PROTOCOL: &str = "bgp";

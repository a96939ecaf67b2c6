//! Services that get the addresses of nodes instead of addresses of their own: which nodes serve, which of their addresses
//! are listed, and who has which port. No clock, no socket, no cluster.
//!
//! kube-proxy takes traffic to an address of a node as it takes that to any other address of a Service, so nothing has to
//! run on the nodes, and nothing is announced. Since all Services of a pool have the same addresses, what they share out is
//! ports: [`NodeAddresses`] knows who has which, and [`NodeAddresses::assign`] decides anew for one Service.
//!
//! The outcomes are those of ServiceLB of K3s where [`NodePool::k3s_labels`] are honoured.

mod allocator;
mod applicant;
mod claims;
mod endpoints;
mod health;
mod listeners;
mod node;
mod pool;
mod protected;
mod refusal;

pub use allocator::{Decision, Grant, NodeAddresses};
pub use applicant::Applicant;
pub use health::RETURN_AFTER;
pub use listeners::{BadListener, Listener};
pub use node::{EXCLUDE_LABEL, Node};
pub use pool::{AddressKind, K3sLabels, Listening, NodePool};
pub use protected::{BadPort, DEFAULT_PROTECTED, PortRange, ProtectedPorts};
pub use refusal::{NoNodes, Owner, Refusal, Taken};

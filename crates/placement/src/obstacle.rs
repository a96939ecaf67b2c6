//! Why a node is no candidate.

use crate::{Ineligible, Interfaces};

/// Why a node is no candidate for an address of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not announce the Service.
    Ineligible(Ineligible),
    /// It may, but can announce the address on none of these interfaces.
    NoInterface(Interfaces),
    /// It has given the address up, for it has not seen the latest changes of the cluster.
    Outdated,
}

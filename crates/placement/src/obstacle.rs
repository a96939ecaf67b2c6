//! Why a node is no candidate.

use std::fmt;

use crate::{Ineligible, InterfaceName, Interfaces};

/// Why a node is no candidate for an address of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not announce the Service.
    Ineligible(Ineligible),
    /// It may, but can announce the address on none of these interfaces.
    NoInterface(Interfaces),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ineligible(reason) => reason.fmt(f),
            Self::NoInterface(Interfaces::All) => f.write_str("it can announce the address on no interface"),
            Self::NoInterface(Interfaces::Only(names)) => {
                let names: Vec<&str> = names.iter().map(InterfaceName::as_str).collect();
                write!(f, "it can announce the address on none of {}", names.join(", "))
            }
        }
    }
}

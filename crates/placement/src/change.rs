//! What comes to this node and leaves it.

use std::net::IpAddr;

use crate::{Interfaces, NodeName, ServiceKey, Unannounced};

/// An address that another node is to announce from now on, by what is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub vip: IpAddr,
    /// Who is to announce it.
    pub to: NodeName,
    /// On which of its interfaces.
    pub interfaces: Interfaces,
    /// Whether this node announced it until now.
    pub from_here: bool,
    /// How many other candidates rank between that node and this one, if this one is a candidate.
    pub place: Option<usize>,
}

/// A Service that came to this node or left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This node announces these addresses of the Service from now on. Others of it may be announced elsewhere.
    Assigned {
        /// Which Service.
        service: ServiceKey,
        /// Its addresses.
        vips: Vec<IpAddr>,
    },
    /// This node announces no longer just these addresses of the Service.
    Released {
        /// Which Service.
        service: ServiceKey,
        /// The addresses it was announced with.
        vips: Vec<IpAddr>,
        /// What became of it.
        why: Released,
    },
}

/// What became of a Service that this node no longer announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// It is gone, or wants no announcing any more.
    Gone,
    /// Other addresses of it are announced here now.
    Readdressed,
    /// Another node announces it.
    MovedTo(NodeName),
    /// Nobody does.
    Unannounced(Unannounced),
}

//! What a service asks for, and what it gets.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use objects::{Labels, PoolName, ReservationKey};
use pools::Family;

/// Everything about a service that has a say in which address it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its own labels, for pools that select services.
    pub labels: Labels,
    /// Which families it needs.
    pub families: Families,
    /// Whether it asks for something in particular.
    pub addresses: AddressRequest,
    /// With whom it may share an address.
    pub sharing: Sharing,
    /// What it listens on.
    pub ports: BTreeSet<Port>,
}

/// The families that a service needs addresses of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// One address.
    Single(Family),
    /// One of each, from the same pool.
    RequireDual,
    /// One of each from the same pool if there are, else one, of this family if there is.
    PreferDual {
        /// The first of the service's families.
        primary: Family,
    },
}

impl Families {
    /// Whether the service can do anything with an address of this family.
    pub fn need(self, family: Family) -> bool {
        match self {
            Self::Single(only) => family == only,
            Self::RequireDual | Self::PreferDual { .. } => true,
        }
    }

    /// The family to hold on to, when one address only can be had.
    pub(crate) fn primary(self) -> Family {
        match self {
            Self::Single(family) | Self::PreferDual { primary: family } => family,
            Self::RequireDual => Family::V4,
        }
    }

    /// Whether a request for addresses of these families, in ascending order, can be granted. Who asks for addresses
    /// is not preferring anything any more: a service with two families has to name both.
    pub(crate) fn accept_request(self, families: &[Family]) -> bool {
        match self {
            Self::Single(family) => families == [family],
            Self::RequireDual | Self::PreferDual { .. } => families == [Family::V4, Family::V6],
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(family) => family.fmt(f),
            Self::RequireDual | Self::PreferDual { .. } => f.write_str("dual-stack"),
        }
    }
}

/// Which addresses a service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressRequest {
    /// Whatever there is.
    Anything,
    /// An address from this pool.
    From(PoolName),
    /// These addresses and no others: one, or one of each family.
    Exactly {
        /// In ascending order, without duplicates.
        ips: Vec<IpAddr>,
        /// The pool that they must belong to.
        pool: Option<PoolName>,
    },
    /// What this reservation has of the families that the service needs.
    Reserved(ReservationKey),
    /// Something that cannot be read. What the service holds it keeps, since a slip of the pen is no reason to
    /// cut it off, but it gets nothing new.
    Unreadable {
        /// What is wrong.
        why: String,
        /// The pool that what it holds must belong to.
        pool: Option<PoolName>,
    },
}

/// With whom a service may share an address: those with an equal key and an equal backend, of its namespace where that
/// is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharing {
    /// The sharing key, chosen by the user. Without one, the address is for this service alone.
    pub key: Option<Arc<str>>,
    /// Where traffic must arrive: empty when any node will do, else the same for services whose endpoints
    /// are on the same nodes.
    pub backend: Arc<str>,
    /// The only namespace that the others may be of; without one, any.
    pub namespace: Option<Arc<str>>,
}

/// A port that a service listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Which transport.
    pub protocol: Protocol,
    /// 1 to 65535.
    pub number: u16,
}

/// A transport protocol. Two services may share an address on one port number if these differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        write!(f, "{protocol}/{}", self.number)
    }
}

/// Addresses that a service holds: one, or an IPv4 and an IPv6 one in this order, all from one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The addresses.
    pub ips: Vec<IpAddr>,
    /// The pool.
    pub pool: PoolName,
}

/// What the object of a service says it has: the addresses of its status, and the pool that its annotation names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The addresses, in any order. Somebody else may have written them.
    pub ips: Vec<IpAddr>,
    /// The pool.
    pub pool: Option<PoolName>,
}

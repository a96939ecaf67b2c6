//! Why a service cannot have an address, in words for the person who asked for it.

use std::fmt;
use std::net::IpAddr;

use objects::NodeName;
use objects::text::quoted;
use pools::{Fault, Pool, QuotaReached};

use crate::{Families, Family, PoolName, Port, ReservationKey, ServiceKey};

/// Why there is no address to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody has made a pool.
    #[error("there is no IPAddressPool: create one with the addresses that services may get")]
    NoPools,
    /// The pool that is asked for does not exist.
    #[error("unknown pool {}: there is no IPAddressPool by this name", quoted(.0))]
    UnknownPool(String),
    /// None of the pools has these addresses, or no pool has all of them.
    #[error("{} {} IPAddressPool", list(.0), if .0.len() == 1 { "is in no" } else { "are not together in any" })]
    NotInAnyPool(Vec<IpAddr>),
    /// The only entry with the address is not in force.
    #[error(
        "{ip} is in an entry of pool {pool} that is not in force, since it overlaps another pool: see that pool's condition"
    )]
    NotInForce {
        /// As asked for.
        ip: IpAddr,
        /// Whose entry it is.
        pool: PoolName,
    },
    /// The addresses are in another pool than the one that is asked for.
    #[error("{} {} in pool {actual}, not in the requested pool {}", list(.ips), if .ips.len() == 1 { "is" } else { "are" }, .requested)]
    OtherPool {
        /// As asked for.
        ips: Vec<IpAddr>,
        /// As asked for.
        requested: PoolName,
        /// Where the addresses are.
        actual: PoolName,
    },
    /// The addresses are not of the families that the service has.
    #[error("{} {} not fit the service, which is {needed}", list(.ips), if .ips.len() == 1 { "does" } else { "do" })]
    WrongFamilies {
        /// As asked for or held.
        ips: Vec<IpAddr>,
        /// What the service needs.
        needed: Families,
    },
    /// The pool is for other services.
    #[error("pool {0} {1}")]
    NotAdmitted(PoolName, NotAdmitted),
    /// Somebody else has the address.
    #[error("{0}")]
    Taken(#[from] Conflict),
    /// It is an address of a node, which would not be reachable any more.
    #[error("{ip} is an address of node {node}, so it is never given to a service: take it out of the pool")]
    NodeAddress {
        /// The address.
        ip: IpAddr,
        /// Whose it is.
        node: NodeName,
    },
    /// A service that others serve has it.
    #[error("{0} is in the status of a service of another load balancer class")]
    OtherClass(IpAddr),
    /// It is kept for others, or for who names the reservation.
    #[error("{ip} is reserved by {}", reserved_by(.by.as_ref()))]
    Reserved {
        /// The address.
        ip: IpAddr,
        /// By which reservation; none if that is of another namespace, which is not to be told.
        by: Option<ReservationKey>,
    },
    /// It cannot be reserved, since a service of another namespace has it.
    #[error("{0} is in use by a service of another namespace, which keeps it")]
    HeldElsewhere(IpAddr),
    /// The reservation that is asked for does not exist.
    #[error("there is no AddressReservation {0}")]
    UnknownReservation(ReservationKey),
    /// It exists, and has no addresses.
    #[error("AddressReservation {0} is not in force: see its condition Accepted")]
    ReservationNotInForce(ReservationKey),
    /// It has addresses that its status does not say yet.
    #[error("AddressReservation {0} has no address yet")]
    ReservationPending(ReservationKey),
    /// It is for other services.
    #[error("AddressReservation {0} does not select the labels of this service")]
    ReservationForOthers(ReservationKey),
    /// What is asked for cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// No pool has what is needed; each says why.
    #[error("no available IPs: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NothingLeft(Vec<Unsuitable>),
}

fn list(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn reserved_by(reservation: Option<&ReservationKey>) -> String {
    reservation.map_or_else(|| "another namespace".to_owned(), |it| format!("AddressReservation {it}"))
}

fn named(holder: Option<&ServiceKey>) -> String {
    holder.map_or_else(|| "a service of another namespace".to_owned(), ToString::to_string)
}

/// Which part of a pool's selection a service does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Its namespace.
    Namespace(String),
    /// Its labels.
    Labels,
    /// The pool is being deleted.
    Deleted,
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "does not select namespace {namespace}"),
            Self::Labels => f.write_str("does not select the labels of this service"),
            Self::Deleted => f.write_str("has been deleted"),
        }
    }
}

/// Why an address that somebody holds cannot be shared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The services have not agreed on a sharing key.
    #[error("{ip} is in use by {}, and the two do not have the same sharing key", named(.holder.as_ref()))]
    SharingKey {
        /// The address.
        ip: IpAddr,
        /// Who has it, the first of them; none if that is of another namespace, which is not to be told.
        holder: Option<ServiceKey>,
    },
    /// Services of two namespaces are not to share.
    #[error(
        "{ip} is in use by a service of another namespace, and here services share addresses within their namespace only"
    )]
    Namespace {
        /// The address.
        ip: IpAddr,
    },
    /// With externalTrafficPolicy Local, both would have to have their endpoints on the same nodes.
    #[error(
        "{ip} is in use by {}, and with externalTrafficPolicy Local only services with the same selector can share, and only in one namespace", named(.holder.as_ref())
    )]
    Backend {
        /// The address.
        ip: IpAddr,
        /// Who has it, the first of them; none if that is of another namespace, which is not to be told.
        holder: Option<ServiceKey>,
    },
    /// Both listen on the same port.
    #[error("port {port} of {ip} is in use by {}", named(.holder.as_ref()))]
    Port {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: Port,
        /// Who has it; none if that is of another namespace.
        holder: Option<ServiceKey>,
    },
}

/// A pool, and why nothing can be had from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsuitable {
    /// The pool.
    pub pool: PoolName,
    /// Why not.
    pub reason: Reason,
}

/// Why nothing can be had from a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is only for those who name it.
    NotAutomatic,
    /// It is for others.
    NotAdmitted(NotAdmitted),
    /// All of its addresses are held.
    Exhausted {
        /// The family that has run out, where the pool has the other one too.
        family: Option<Family>,
        /// How many are held.
        in_use: u128,
        /// How many there are.
        capacity: u128,
    },
    /// The services of the namespace hold as many of its addresses as they may.
    QuotaReached(QuotaReached),
    /// It has no addresses of a family that is needed.
    NoAddresses(Family),
    /// It lists addresses, but none of this family is in force.
    NotInForce(Family),
}

impl Reason {
    /// Why a pool has nothing free in a family.
    pub(crate) fn nothing_in(pool: &Pool, family: Family, in_use: u128) -> Self {
        let out_of_force =
            |fault: &Fault| matches!(fault, Fault::Entry { .. } | Fault::Overlap { .. } | Fault::NoAddresses);
        match pool.capacity(family) {
            0 if pool.faults.iter().any(out_of_force) => Self::NotInForce(family),
            0 => Self::NoAddresses(family),
            capacity => {
                let family = (pool.capacity(family.other()) > 0).then_some(family);
                Self::Exhausted { family, in_use, capacity }
            }
        }
    }
}

impl fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: ", self.pool)?;
        match &self.reason {
            Reason::NotAutomatic => f.write_str("autoAssign is off"),
            Reason::NotAdmitted(NotAdmitted::Namespace(namespace)) => {
                write!(f, "namespace {namespace} is not selected")
            }
            Reason::NotAdmitted(NotAdmitted::Labels) => f.write_str("the labels are not selected"),
            Reason::NotAdmitted(NotAdmitted::Deleted) => f.write_str("has been deleted"),
            Reason::Exhausted { family, in_use, capacity } => {
                if let Some(family) = family {
                    write!(f, "{family} ")?;
                }
                write!(f, "exhausted ({in_use} of {capacity}")?;
                if in_use < capacity {
                    f.write_str("; the others are of nodes, of services of other classes, or reserved")?;
                }
                f.write_str(")")
            }
            Reason::QuotaReached(reached) => reached.fmt(f),
            Reason::NoAddresses(family) => write!(f, "has no {family} addresses"),
            Reason::NotInForce(family) => {
                write!(f, "has no {family} addresses in force, see its condition Accepted")
            }
        }
    }
}

//! What a Service has by its own account.

use std::net::IpAddr;

use api::names::{ALLOCATED_FROM_POOL, NODE_ADDRESSES};
use ipam::{Assignment, PoolName, Record};
use slim::Service;

use crate::{bounded, previous};

/// The part of a Service's status and annotations that the controller writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The addresses, in the order of the status.
    pub ips: Vec<IpAddr>,
    /// Whether there is something in the list that the controller would not have written.
    pub foreign: bool,
    /// The annotation that names the pool.
    pub pool: Option<String>,
    /// The annotation that keeps what it had before.
    pub previous: Vec<IpAddr>,
    /// Whether the annotation is there that says that the addresses are those of nodes.
    pub origin: Origin,
}

/// Where the addresses of a Service are from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Origin {
    /// An `IPAddressPool`.
    #[default]
    AddressPool,
    /// The nodes of a `NodeAddressPool`.
    NodePool,
}

impl Observed {
    /// Reads a Service.
    pub fn read(service: &Service) -> Self {
        let ingress = &service.status.load_balancer.ingress;
        let ips: Vec<IpAddr> = ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect();
        // The API server fills in ipMode VIP; anything else is somebody's edit.
        let foreign = ips.len() != ingress.len()
            || ingress
                .iter()
                .any(|e| e.hostname.is_some() || e.ip_mode.as_deref().is_some_and(|m| m != "VIP"));
        let annotation = |name| service.metadata.annotations.as_ref().and_then(|all| all.get(name));
        let uid = service.metadata.uid.as_deref();
        // That of another is of no avail, and left alone: it may be in a manifest that is applied time and again.
        let previous = annotation(previous::ANNOTATION).and_then(|text| previous::read(text, uid));
        Self {
            ips,
            foreign,
            pool: annotation(ALLOCATED_FROM_POOL).map(|pool| bounded::name(pool).to_owned()),
            previous: previous.unwrap_or_default(),
            origin: if annotation(NODE_ADDRESSES).is_some() { Origin::NodePool } else { Origin::AddressPool },
        }
    }

    /// What it will be once this assignment is written, or once everything is cleared.
    pub fn of(assignment: Option<&Assignment>, previous: &[IpAddr], origin: Origin) -> Self {
        Self {
            ips: assignment.map(|a| a.ips.clone()).unwrap_or_default(),
            foreign: false,
            pool: assignment.map(|a| a.pool.as_str().to_owned()),
            previous: previous.to_vec(),
            origin,
        }
    }

    /// What the object says that the Service has.
    pub fn record(&self) -> Record {
        Record { ips: self.ips.clone(), pool: self.pool.as_deref().map(PoolName::new) }
    }
}

//! What a controller knows.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Capped;

/// What a controller knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerStatus {
    /// Whether this replica holds the Lease, or needs none.
    pub leads: bool,
    /// Whether it decides: it leads, and every list is complete.
    pub decides: bool,
    /// The load balancer class that it serves; none for Services of no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Another FerroLB that serves the same Services and has precedence. While there is one, nothing is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Elder>,
    /// Whether Services share addresses within their namespace only.
    pub sharing_within_namespace: bool,
    /// The pools. Their usage is known to the replica that decides only.
    pub pools: Capped<PoolState>,
    /// How many Services it serves.
    pub services: usize,
    /// Services that want an address that they do not have, the oldest first.
    pub waiting: Capped<Waiting>,
    /// Services whose status the API server does not take, with what it says.
    pub unwritten: Capped<Waiting>,
    /// How many statuses are to be written.
    pub writes_queued: usize,
}

/// Another FerroLB in the cluster, by the Lease that it elects its leader by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Elder {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub lease: String,
    /// Whether it is renewed at the moment.
    pub runs: bool,
}

/// A pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolState {
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses.
    pub v4: Usage,
    /// Its IPv6 addresses.
    pub v6: Usage,
    /// Entries that are not in force since an older pool lists some of the same addresses: first and last address of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contested: Vec<(IpAddr, IpAddr)>,
    /// What of it is not in force, and what its author may not mean.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether some of it is not in force.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
}

/// How many addresses there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Held by Services.
    pub in_use: u64,
    /// Left, or the largest number that fits.
    pub available: u64,
    /// Kept by AddressReservations, and held by no Service.
    #[serde(skip_serializing_if = "is_zero")]
    pub reserved: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A Service that waits for an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why there is none, as its event says.
    pub reason: String,
}

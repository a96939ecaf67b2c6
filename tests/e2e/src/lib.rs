//! What the end-to-end tests share: one lab with FerroLB in it, and questions that can be asked of it.
//!
//! Tests take turns with a [`Cluster`]. Each creates what it needs, in [`NAMESPACE`] and among FerroLB's resources;
//! when it ends, all of that is removed, what it broke is repaired, and the next one begins with a cluster that works.

pub mod arp;
mod capture;
mod card;
mod cluster;
mod desk;
mod explain;
mod faults;
pub mod objects;
mod observer;
pub mod readme;
mod rights;
pub mod router;
mod visits;

pub use capture::Capture;
pub use card::Card;
pub use cluster::{Cluster, NAMESPACE, SOON, is_well, wait_until_well};
pub use desk::Desk;
pub use faults::{METRICS_PORT, PROBED_PORT, Role, Unprobed};
pub use rights::Values;
pub use visits::{Failure, Trouble, Visits};

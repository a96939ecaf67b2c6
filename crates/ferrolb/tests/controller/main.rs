//! `ferrolb controller` against a real API server.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod allocation;
mod choice;
mod coexistence;
mod families;
mod faults;
mod fixture;
mod gossip_key;
mod node_addresses;
mod plugin;
mod proxy;
mod quota;
mod refusals;
mod requests;
mod reservations;
mod restore;
mod secure_metrics;
mod sharing;
mod space;
mod stability;
mod told;

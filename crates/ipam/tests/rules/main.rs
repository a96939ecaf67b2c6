//! The rules of allocation.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod allocation;
mod fixtures;
mod incremental;
mod model;
mod quota;
mod reservations;
mod stability;

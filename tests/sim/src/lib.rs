//! The speakers in a simulated world: the real pure crates ([`speaker_core`], [`members`], [`placement`], [`layer2`]) on nodes that lose
//! power, on a LAN that loses frames, with clients whose neighbour caches work as those of Linux.
//!
//! Time is virtual, and everything random comes from one seed: what a seed does once it does always. A seed
//! that violates an [invariant](crate::Violation) is reported with everything that happened.
//!
//! ```text
//! cargo test -p sim                                       a few hundred seeds
//! SIM_SEEDS=10000 cargo test --release -p sim invariants  as every night; with SIM_SEEDS=3000..8000 those seeds
//! SIM_SEED=17 cargo test -p sim invariants -- --nocapture     one seed, with its trace
//! ```
//!
//! `world` moves things on; `node` and `speaker` are a node and what runs there, `client` and `neighbour` a
//! client and its cache, `host` is what else there is on a LAN, `lan` the switches and the weather, `cluster` what the
//! API server knows, `faults` what happens, composed by `plan` and told by `story`, and `invariants` (with `meetings`)
//! what must hold all the while. [`routing`] has worlds of their own, with routers.

mod client;
mod cluster;
mod faults;
mod host;
mod invariants;
mod lan;
mod meetings;
mod neighbour;
mod node;
mod plan;
mod random;
pub mod routing;
mod speaker;
mod story;
mod trace;
mod world;

pub use faults::{Direction, Edit, Fault, LanId};
pub use invariants::Violation;
pub use lan::Weather;
pub use random::{Failure, simulate};
pub use trace::Trace;
pub use world::{Requests, Setup, Wiring, World};

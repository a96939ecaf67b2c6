//! Announcing prefixes to routers by BGP (RFC 4271), without a socket or a clock.
//!
//! - [`config`] says what one session is: the other end, the AS numbers, the timers, the families.
//! - [`route`] says what is announced in it: prefixes and their attributes.
//! - [`session`] is one session: a state machine that connects, opens, keeps alive and gives up.
//! - [`rib_out`] is what the peer was told, and what it is still to be told.
//! - [`discovery`] finds the router behind an interface.
//! - [`wire`] reads and writes messages.
//!
//! This end only announces. What the peer announces is checked in its form and forgotten, so that a router which sends a
//! million routes costs no memory.

pub mod config;
pub mod discovery;
#[cfg(any(test, feature = "judge"))]
pub mod judge;
pub mod rib_out;
pub mod route;
pub mod session;
pub mod wire;

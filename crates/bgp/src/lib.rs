//! Announcing prefixes to routers by BGP (RFC 4271), without a socket or a clock.
//!
//! - [`config`] says what one session is: the other end, the AS numbers, the timers, the families.
//! - [`route`] says what is announced in it: prefixes and their attributes.

pub mod config;
pub mod route;

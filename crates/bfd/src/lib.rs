//! Finding out in milliseconds that packets do not get through (BFD: RFC 5880, 5881, 5883), without a socket or a clock.
//!
//! - [`config`] says what one session is: intervals, multiplier, role, echo, hops.
//! - [`packet`] reads and writes control packets.
//! - [`echo`] reads and writes packets that a peer only sends back.
//! - [`frame`] puts these into frames.
//! - [`session`] is one session: a state machine with its timers.
//! - [`demux`] finds the session that a packet is for.
//!
//! Left out: authentication, which MetalLB has no field for, and demand mode, which it does not use either.

pub mod config;
pub mod demux;
pub mod echo;
pub mod frame;
pub mod packet;
pub mod session;

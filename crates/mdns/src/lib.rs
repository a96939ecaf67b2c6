//! Names of Services on a LAN, by Multicast DNS (RFC 6762): which Service has which name, what is said of it on an
//! interface, and who else has it.
//!
//! ```text
//! Services, ports and what they report --> Directory --> Wanted, for each interface --> Responder <--> packets
//!                                              ^                                            |
//!                                              +--------------- Report ---------------------+
//! ```
//!
//! - [`Name`] is a host name of the domain `local` that can be written on the wire.
//! - [`Message`] reads what others send. Only addresses matter; all other data is stepped over, so a record that nobody
//!   here knows makes no message unreadable.
//! - [`Directory`] says which names there are, and which addresses of them this node answers for, and where.
//! - [`Responder`] is one interface: it probes, announces, answers and takes leave.
//!
//! # Several speakers, one name
//!
//! The addresses of a Service may be announced by several nodes, IPv4 by one and IPv6 by another. All of them know all
//! addresses of the name: they probe for the same records, and hold none of them to be a conflict (RFC 6762 section 9 is
//! about records that differ). Each answers for those that it announces itself. When an address moves to another node, the
//! records stay as they are, so no goodbye is said, and caches hold.
//!
//! Nothing here has a socket or a clock, and no input panics.

mod directory;
mod name;
mod responder;
mod wire;

pub use directory::{Directory, Interface, Listed, Notice, Wanted};
pub use name::{BadName, Name};
pub use responder::{Destination, Effect, Ignored, Packet, Purpose, Report, Responder};
pub use wire::{Data, Malformed, Message, Question, Record};

/// The port of Multicast DNS.
pub const PORT: u16 = 5353;
/// The longest message that is read (RFC 6762 section 17).
pub const LONGEST: usize = 9000;

//! Answering for addresses on a LAN: ARP and NDP on the wire, whom to answer, what to say unasked, and who
//! else has an address of ours.
//!
//! - [`ArpFrame`] reads and writes ARP for IPv4 over Ethernet (RFC 826), [`NdpFrame`] neighbour
//!   solicitations and advertisements for IPv6 (RFC 4861).
//! - [`Arp`] and [`Ndp`] give them a common shape, [`Protocol`].
//! - [`Port`] is one interface by one protocol, and decides: it answers questions, tells of takeovers in
//!   bursts and refreshes them (`schedule`), asks before it announces what is fresh (`probes`), and defends
//!   what foreign hosts claim (`claims`). It also finds out whether others answer as they should (`watches`), and
//!   tells whoever wants to know who answers for an address (`inquiries`).
//! - [`Shards`] spreads memberships of multicast groups over sockets.
//!
//! Nothing here has a socket or a clock: frames and the time come in, frames and decisions go out, and no
//! input panics.

mod arp;
mod claims;
mod echoes;
mod groups;
mod inquiries;
mod mac;
mod ndp;
mod port;
mod probes;
mod protocol;
mod rivals;
mod schedule;
mod watches;

use std::time::Duration;

pub use arp::{ArpFrame, ArpFrameError, ArpOperation, Host};
pub use groups::Shards;
pub use mac::MacAddr;
pub use ndp::{ALL_NODES, Cause, Known, NdpFrame, NdpFrameError, NdpMessage, solicited_node};
pub use port::{
    Answered, Begin, Contact, Effect, KnownMacs, Order, Port, Purpose, Report, Stance, Transmission,
    TransmitPolicy,
};
pub use protocol::{Arp, Heard, Ignored, Ndp, Protocol, Question};
pub use schedule::{frame_gap, refresh_gap};

/// So many hosts are remembered for each address that is announced, lest one host with many names fills the memory.
pub const MOST_HOSTS: usize = 8;

/// Who acts so much later than it meant to, stood still, and what it knows may have been overtaken.
const LATE: Duration = Duration::from_millis(500);
/// News of what happened meanwhile take no longer than that to be heard.
const PATIENCE: Duration = Duration::from_millis(300);

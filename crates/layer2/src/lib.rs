//! Answering for addresses on a LAN: ARP and NDP on the wire, whom to answer, what to say unasked, and who
//! else has an address of ours.
//!
//! - [`ArpFrame`] reads and writes ARP for IPv4 over Ethernet (RFC 826), [`NdpFrame`] neighbour
//!   solicitations and advertisements for IPv6 (RFC 4861).
//! - [`Arp`] and [`Ndp`] give them a common shape, [`Protocol`].
//! - [`Port`] is one interface by one protocol, and decides: `port/follow` takes orders, `port/receive` frames, and
//!   `port/transmit` says what goes out unasked, one frame at a time, and in which order.
//!   What is announced is told of in bursts and refreshed by `schedule`; what foreign hosts claim is defended by `claims`.
//! - [`Shards`] spreads memberships of multicast groups over sockets.
//!
//! # Who asks the LAN, and why
//!
//! No question claims anything. `probes` asks in the form of a probe (RFC 5227 section 2.1.1, RFC 4862 section 5.4.2). All
//! others ask about what somebody may announce: by NDP they ask from the link-local address, for the answer to a probe goes
//! to all and changes what clients know. Five modules ask, each for another reason; each knows when, and whose answers count:
//!
//! | module | asks whether | for what is | when | ends with |
//! |---|---|---|---|---|
//! | `probes` | the address is free | ordered, and not answered for yet | 2 or 3 times before it is announced; every 30 s where a foreign host has it, every 3 s where an unheard peer does | [`Report::Free`], [`Report::Taken`], [`Report::Held`] |
//! | `rivals` | an unheard peer that was overruled goes on | announced | once, 0.15 s later | [`Report::Rival`] |
//! | `echoes` | a heard peer still answers after the takeover | announced | once, 3 s later | [`Report::PeerAnswers`] |
//! | `watches` | anybody answers, and who | to be announced by another node, or by a heard peer as well | twice, at a time given, unless somebody is heard before | [`Report::Answered`], [`Report::Silent`] |
//! | `inquiries` | anybody answers, and who | of interest to a person | 3 times, whatever the transmit policy | [`Effect::Answered`] |
//!
//! An answer is a claim like any other: who makes it decides in `port/receive` what becomes of it, for whichever of these
//! reasons it was asked for. The first four share the pace of all that is said unasked (`port/transmit`).
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

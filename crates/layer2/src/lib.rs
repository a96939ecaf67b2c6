//! Answering for addresses on a LAN: ARP on the wire, whom to answer, and when to speak up unasked.
//!
//! - [`ArpFrame`] reads and writes ARP over Ethernet (RFC 826).
//! - [`Responder`] tells whether a frame asks for one of our addresses, and what to reply.
//! - [`Schedule`] tells when to announce which address unasked: in a burst when it is taken over.
//!
//! Nothing here has a socket or a clock: frames and the time come in, frames and decisions go out, and no
//! input panics.

mod arp;
mod mac;
mod responder;
mod schedule;

pub use arp::{ArpFrame, ArpFrameError, ArpOperation, FRAME_LEN, Host};
pub use mac::MacAddr;
pub use responder::{Answer, Ignored, Responder};
pub use schedule::Schedule;

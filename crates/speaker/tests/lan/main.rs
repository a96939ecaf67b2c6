//! The LAN side on real interfaces: a network namespace with a cable, the speaker at one end of it (`lan0`)
//! and a client with raw sockets at the other (`peer0`). Every byte on the cable is looked at.
//!
//! Needs root. The namespace belongs to the thread that made it and is gone with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod arp;
mod conflicts;
mod dhcp;
mod fixture;
mod inquiries;
mod links;
mod ndp;
mod pause;

//! Ports for programs that are told where to listen before they do.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Ports that are looked at. Linux gives outgoing connections others, of which one could be taken between the look and
/// the start of the program that is to listen there.
const PORTS: Range<u16> = 20_000..30_000;

/// A port that nobody listens on, given out once by this process. Other processes begin to look elsewhere.
pub fn free() -> Result<u16> {
    static LOOKED_AT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(97) % count;
    let next = || {
        let at = (first + LOOKED_AT.fetch_add(1, Ordering::Relaxed)) % count;
        let port = PORTS.start + u16::try_from(at).expect("there are fewer");
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok().then_some(port)
    };
    (0..count).find_map(|_| next()).context("no port is free")
}

//! Finding the router behind an interface, for sessions between link-local addresses ("unnumbered").
//!
//! Both ends tell their addresses by router advertisements (RFC 4861): those of the router are listened for, and ours let the
//! router know who is behind its interface. FRR waits for one before it takes a connection. Ours have a router lifetime of 0, so
//! that nobody takes a node for a default router.

mod message;

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

pub use message::{ADVERTISEMENT_TYPE, HOP_LIMIT};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How often a router is asked for as long as none is known (RFC 4861 section 10; RFC 7559 has it go on).
const SOLICIT: Duration = Duration::from_secs(4);
/// How often this end advertises itself to a router that is known, as FRR does it for its peers behind interfaces.
const ADVERTISE: Duration = Duration::from_secs(10);
/// No advertisement follows another sooner (RFC 4861 section 10).
const LEAST: Duration = Duration::from_secs(3);
/// What could not be sent, as while an address is being probed for, is sent after that.
const RETRY: Duration = Duration::from_secs(1);
/// How long a router counts that says 0, which is for no default router: as long as by default (RFC 4861 section 6.2.1).
const LIFETIME: Duration = Duration::from_mins(30);

/// One interface, and the router behind it.
///
/// Tell it what happens by [`Discovery::handle`], at the latest when [`Discovery::poll_timeout`] says so, and then send what
/// [`Discovery::poll_output`] returns until it returns `None`. `now` never goes back.
///
/// There is to be one router behind an interface. Of several, the first that was heard counts until it is overdue; one that is
/// a default router goes before one that is not, as other nodes on the same link are not.
#[derive(Debug)]
pub struct Discovery {
    link: Link,
    router: Option<Router>,
    /// When this end advertises itself next,
    due: Option<Instant>,
    /// and when it did last.
    advertised: Option<Instant>,
    outputs: VecDeque<Vec<u8>>,
    random: SmallRng,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The interface can send and receive.
    Up,
    /// It is gone or down: nothing is known any more.
    Down,
    /// This router was there a moment ago, says the process before this one.
    Known(Ipv6Addr),
    /// An ICMPv6 message has arrived, whose checksum is right.
    Received {
        /// From here,
        from: Ipv6Addr,
        /// with this hop limit left,
        hop_limit: u8,
        /// and with this content.
        octets: &'a [u8],
    },
    /// What was to be sent could not be.
    NotSent,
    /// Time has passed.
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    Down,
}

#[derive(Debug, Clone, Copy)]
struct Router {
    address: Ipv6Addr,
    lifetime: Duration,
    heard: Instant,
}

impl Router {
    fn is_overdue(&self, now: Instant) -> bool {
        let lifetime = if self.lifetime.is_zero() { LIFETIME } else { self.lifetime };
        now.saturating_duration_since(self.heard) > lifetime
    }
}

impl Discovery {
    /// Of an interface that is down. `seed` spreads what many do at the same time.
    pub fn new(seed: u64) -> Self {
        Self {
            link: Link::Down,
            router: None,
            due: None,
            advertised: None,
            outputs: VecDeque::new(),
            random: SmallRng::seed_from_u64(seed),
        }
    }

    /// The router, once it was heard.
    pub fn router(&self) -> Option<Ipv6Addr> {
        self.router.map(|router| router.address)
    }

    /// Something happens.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match (self.link, input) {
            (Link::Down, Input::Up) => {
                self.link = Link::Up;
                self.due = Some(now);
            }
            (_, Input::Down) => {
                self.link = Link::Down;
                self.router = None;
                self.due = None;
                self.advertised = None;
                self.outputs.clear();
            }
            (Link::Up, Input::Received { from, hop_limit, octets }) => {
                if let Some(lifetime) = message::read(from, hop_limit, octets) {
                    self.heard(from, lifetime, now);
                }
            }
            (Link::Up, Input::Known(address)) => self.heard(address, Duration::ZERO, now),
            (Link::Up, Input::NotSent) => {
                self.advertised = None;
                self.due = Some(now + RETRY);
            }
            (Link::Up, Input::Up | Input::Time)
            | (Link::Down, Input::Known(_) | Input::Received { .. } | Input::NotSent | Input::Time) => {}
        }
        if self.due.is_some_and(|due| due <= now) {
            self.advertise(now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The next ICMPv6 message to send to [`Ipv6Addr`] `ff02::1`, with a hop limit of [`HOP_LIMIT`]. Its checksum is missing.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outputs.pop_front()
    }

    fn heard(&mut self, from: Ipv6Addr, lifetime: Duration, now: Instant) {
        let replaces = |known: &Router| {
            known.address == from
                || known.is_overdue(now)
                || (known.lifetime.is_zero() && !lifetime.is_zero())
        };
        if !self.router.as_ref().is_none_or(replaces) {
            return;
        }
        self.router = Some(Router { address: from, lifetime, heard: now });
        // A router that has started anew need not wait. Nodes that hear each other do not answer each other.
        let is_soon = self.advertised.is_some_and(|at| now.saturating_duration_since(at) < LEAST);
        if !lifetime.is_zero() && !is_soon {
            self.due = Some(now);
        }
    }

    fn advertise(&mut self, now: Instant) {
        self.outputs.push_back(message::advertisement());
        if self.router.is_none() {
            self.outputs.push_back(message::solicitation());
        }
        self.advertised = Some(now);
        let pause = if self.router.is_none() { SOLICIT } else { ADVERTISE };
        self.due = Some(now + pause.mul_f64(self.random.random_range(0.75..=1.0)));
    }
}

#[cfg(test)]
mod tests;

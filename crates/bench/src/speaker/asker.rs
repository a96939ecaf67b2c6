//! Who answers for an address: questions by ARP from the client's network card, and what comes back.
//!
//! The questions are those of a host that does not exist. Were they the client's own, its kernel would learn from
//! the answers where an address has moved to, and its connections would fare better than anybody else's.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use e2e::Card;
use e2e::arp::{Arp, Mac};
use lab::{Host, Lab};

/// Who asks.
const STRANGER: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 0x99]), Ipv4Addr::new(172, 16, 211, 99));
/// ETH_P_ARP
const ARP: u16 = 0x0806;
/// How long one answer may take that must come.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Asks by the client's network card.
#[derive(Debug)]
pub(crate) struct Asker(Card);

/// What somebody said of an address when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// When it arrived, by the kernel's clock.
    pub(crate) at: SystemTime,
    pub(crate) address: Ipv4Addr,
    /// Whose network card has the address.
    pub(crate) by: Mac,
}

impl Asker {
    /// Needs the lab's client, and root.
    pub(crate) fn open(lab: &Lab) -> Result<Self> {
        Card::open(lab, ARP).map(Self)
    }

    /// Asks the LAN once who has `address`.
    pub(crate) fn ask(&self, address: Ipv4Addr) -> Result<()> {
        let question =
            Arp { source: STRANGER.0, sender: STRANGER, ..Arp::question(Host::Client, address) }.write();
        self.0.send(&question).with_context(|| format!("asking for {address}"))
    }

    /// The next answer; none if there is none for a moment.
    pub(crate) fn next(&self) -> Result<Option<Answer>> {
        self.0.next(|at, frame| {
            let arp = Arp::read(frame).filter(|arp| arp.operation == 2 && arp.destination == STRANGER.0)?;
            let (by, address) = arp.sender;
            Some(Answer { at, address, by })
        })
    }

    /// Asks for an address that somebody has. Returns how long the answer took.
    pub(crate) fn round_trip(&self, address: Ipv4Addr) -> Result<Duration> {
        let asked = Instant::now();
        self.ask(address)?;
        loop {
            if self.next()?.is_some_and(|answer| answer.address == address) {
                return Ok(asked.elapsed());
            }
            ensure!(asked.elapsed() < ANSWERED_WITHIN, "nobody answers for {address}");
        }
    }
}

//! Questions to the LAN, from the client's network card: who has each address?
//!
//! The questions are those of a host that does not exist. Were they the client's own, its kernel would learn from the
//! answers where an address has moved to, and its requests would fare better than anybody else's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::Card;
use e2e::arp::{Arp, Mac};
use lab::{Host, Lab};

use super::{End, Recorder};
use crate::ndp;
use crate::observation::{Seen, Subjects};

/// Who asks.
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 0x97]);
const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(172, 16, 211, 97);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x97);
/// ETH_P_ARP
const ARP: u16 = 0x0806;
/// How often each address is asked for.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// Who is that much late has stood still.
const LATE: Duration = Duration::from_millis(100);

/// The client's network card, and what is asked there.
#[derive(Debug)]
pub(super) struct Lan {
    arp: Card,
    ndp: Card,
    addresses: BTreeSet<IpAddr>,
}

impl Lan {
    pub(super) fn open(lab: &Lab, subjects: &Subjects) -> Result<Self> {
        let addresses = subjects.values().flat_map(|subject| subject.addresses.iter().copied()).collect();
        Ok(Self { arp: Card::open(lab, ARP)?, ndp: Card::open(lab, ndp::ETHER_TYPE)?, addresses })
    }

    /// Asks for all addresses again and again.
    pub(super) fn ask(&self, recorder: &Recorder, ends: &End) -> Result<()> {
        let mut due = Instant::now();
        while !ends.is_here() {
            for address in &self.addresses {
                self.ask_for(*address).with_context(|| format!("asking for {address}"))?;
            }
            due += ASKED_EVERY;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let late = due.elapsed();
            if late > LATE {
                recorder.now(Seen::Paused(late));
                due = Instant::now();
            }
        }
        Ok(())
    }

    fn ask_for(&self, address: IpAddr) -> Result<()> {
        match address {
            IpAddr::V4(address) => {
                let sender = (STRANGER, STRANGER_V4);
                let question = Arp { source: STRANGER, sender, ..Arp::question(Host::Client, address) };
                self.arp.send(&question.write())
            }
            IpAddr::V6(address) => self.ndp.send(&ndp::question(STRANGER, STRANGER_V6, address)),
        }
    }

    pub(super) fn listen_to_arp(&self, recorder: &Recorder, ends: &End) -> Result<()> {
        while !ends.is_here() {
            let answer = self.arp.next(|at, frame| {
                let arp = Arp::read(frame).filter(|arp| arp.operation == 2 && arp.destination == STRANGER)?;
                let (by, address) = arp.sender;
                Some((at, Seen::Answer { address: IpAddr::V4(address), by }))
            })?;
            answer.into_iter().for_each(|(at, answer)| recorder.at(at, answer));
        }
        Ok(())
    }

    pub(super) fn listen_to_ndp(&self, recorder: &Recorder, ends: &End) -> Result<()> {
        while !ends.is_here() {
            let answer = self.ndp.next(|at, frame| {
                let (address, by) = ndp::answer(frame, STRANGER)?;
                Some((at, Seen::Answer { address: IpAddr::V6(address), by }))
            })?;
            answer.into_iter().for_each(|(at, answer)| recorder.at(at, answer));
        }
        Ok(())
    }
}

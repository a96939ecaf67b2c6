//! A router that takes whatever it is told, and remembers when.
//!
//! While something is measured it only keeps the octets; they are read afterwards, by a decoder that is not FerroLB's.

use std::io::{ErrorKind, Read, Result as IoResult, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use bgp::config::{Asn, Families, HoldTime, RouterId};
use bgp::judge;
use bgp::wire::header::{HEADER, keepalive};
use bgp::wire::open::{Capabilities, Multiprotocol, Open};
use objects::Family;

/// The AS number of every router here.
pub(crate) const ASN: u32 = 64_513;
/// Without a word for so long a session is lost, in seconds.
const HOLD: u16 = 90;
/// Types of messages (RFC 4271 section 4.1).
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;

/// What has happened.
#[derive(Debug)]
enum Event {
    Established,
    Update(Vec<u8>),
    Lost,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<(Instant, Event)>,
}

/// A router, and what is known of the one that talks to it.
#[derive(Debug)]
pub(crate) struct Router {
    log: Arc<Mutex<Log>>,
    known: judge::Router,
    /// The first `read` events are in `known`.
    read: usize,
    established: bool,
    lost: u64,
}

/// What a router was told in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// When the last UPDATE came.
    pub(crate) last: Instant,
    /// How many there were.
    pub(crate) updates: u64,
}

impl Router {
    /// Listens until this program ends. Its address is its BGP identifier, too.
    pub(crate) fn listen(address: Ipv4Addr, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((address, port)).context("listening for BGP")?;
        let log = Arc::new(Mutex::new(Log::default()));
        let here = Arc::clone(&log);
        thread::Builder::new().name("router".into()).spawn(move || {
            // One session at a time: there is one speaker.
            for stream in listener.incoming().flatten() {
                // How it ended shows in the log.
                _ = converse(stream, address, &here);
                record(&here, Event::Lost);
            }
        })?;
        let known = judge::Router::default();
        Ok(Self { log, known, read: 0, established: false, lost: 0 })
    }

    /// Takes in what has come since it was asked last. What UPDATEs there were among it, if any.
    pub(crate) fn read(&mut self) -> Option<Told> {
        let mut told: Option<Told> = None;
        for (at, event) in &lock(&self.log).events[self.read..] {
            self.read += 1;
            match event {
                Event::Established => {
                    self.established = true;
                    self.known.table.clear();
                }
                Event::Lost => {
                    self.lost += u64::from(self.established);
                    self.established = false;
                }
                Event::Update(message) => {
                    self.known.apply(message);
                    told = Some(Told { last: *at, updates: told.map_or(1, |told| told.updates + 1) });
                }
            }
        }
        told
    }

    /// When the last event was that is not read yet.
    pub(crate) fn unread(&self) -> Option<Instant> {
        lock(&self.log).events[self.read..].last().map(|(at, _)| *at)
    }

    /// Whether there was a session when it was read last.
    pub(crate) fn is_established(&self) -> bool {
        self.established
    }

    /// How many prefixes it knew when it was read last.
    pub(crate) fn prefixes(&self) -> usize {
        self.known.table.len()
    }

    /// How many sessions were lost, and how many prefixes withdrawn.
    pub(crate) fn troubles(&self) -> (u64, u64) {
        (self.lost, self.known.withdrawn as u64)
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(log: &Mutex<Log>, event: Event) {
    lock(log).events.push((Instant::now(), event));
}

/// Holds a session until the other end ends it. Every sign of life is answered by one: they come three times in the hold time.
fn converse(mut stream: TcpStream, address: Ipv4Addr, log: &Mutex<Log>) -> IoResult<()> {
    stream.set_nodelay(true)?;
    let (mut established, mut octets, mut buffer) = (false, Vec::new(), vec![0; 1 << 16]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        octets.extend_from_slice(&buffer[..count]);
        let mut rest = &octets[..];
        while let Some(message) = first_message(&mut rest) {
            match message[HEADER - 1] {
                OPEN => stream.write_all(&[open(address)?, keepalive()].concat())?,
                KEEPALIVE if established => stream.write_all(&keepalive())?,
                KEEPALIVE => {
                    established = true;
                    record(log, Event::Established);
                }
                UPDATE => record(log, Event::Update(message.to_vec())),
                _ => return Err(ErrorKind::ConnectionAborted.into()),
            }
        }
        octets = rest.to_vec();
    }
}

/// Takes the first message off, once it is complete.
fn first_message<'a>(octets: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = octets.get(HEADER - 3..HEADER - 1)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?)).max(HEADER);
    let (message, rest) = octets.split_at_checked(length)?;
    *octets = rest;
    Some(message)
}

fn open(address: Ipv4Addr) -> IoResult<Vec<u8>> {
    let invalid = |why: &'static str| std::io::Error::new(ErrorKind::InvalidInput, why);
    let open = Open {
        asn: Asn::try_from(ASN).map_err(|_| invalid("an AS number"))?,
        hold: HoldTime::from_seconds(HOLD).ok_or_else(|| invalid("a hold time"))?,
        router_id: RouterId::try_from(address).map_err(|_| invalid("a BGP identifier"))?,
        capabilities: Capabilities {
            multiprotocol: Multiprotocol::Said(Some(Families::Only(Family::V4))),
            four_octet_asn: true,
            ..Capabilities::default()
        },
    };
    Ok(open.emit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_off_once_it_is_complete() {
        let two = [keepalive(), open(Ipv4Addr::new(192, 0, 2, 1)).unwrap()].concat();
        let mut octets = &two[..];
        assert_eq!(first_message(&mut octets).unwrap(), keepalive());
        assert_eq!(first_message(&mut &octets[..octets.len() - 1]), None);
        assert_eq!(first_message(&mut octets).unwrap()[HEADER - 1], OPEN);
        assert_eq!(first_message(&mut octets), None);
    }
}

//! What is still to come, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::faults::Fault;
use crate::lan::StationId;

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A speaker's time has come.
    Wake(usize),
    Datagram {
        to: usize,
        from: SocketAddr,
        payload: Vec<u8>,
    },
    Frame {
        to: StationId,
        frame: Vec<u8>,
    },
    /// A station says something.
    Send {
        from: StationId,
        frame: Vec<u8>,
    },
    /// The API server tells a speaker of its peers, and of what has changed.
    Peers {
        node: usize,
        boot: u64,
    },
    Changes {
        node: usize,
        boot: u64,
        upto: Option<usize>,
    },
    /// The kernel tells a speaker of its carriers.
    Link(usize),
    /// A speaker tries to have its socket.
    Socket(usize),
    /// A switch asks one of those that it tracks.
    Track(usize),
    Boot(usize),
    /// A speaker notices that its node has another address.
    Restart(usize),
    Resume {
        node: usize,
        boot: u64,
        moves: bool,
    },
    Exit {
        node: usize,
        boot: u64,
    },
    Request {
        client: usize,
    },
    Look,
    Fault(Fault),
}

/// Events by time, and those of one time in the order in which they were put in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.entries.push(Reverse(Entry(at, self.sequence, event)));
    }

    /// When the next event is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.entries.peek().map(|Reverse(entry)| entry.0)
    }

    pub(super) fn pop(&mut self) -> Option<(Duration, Event)> {
        self.entries.pop().map(|Reverse(Entry(at, _, event))| (at, event))
    }
}

#[derive(Debug)]
struct Entry(Duration, u64, Event);

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

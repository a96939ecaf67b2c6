//! What is seen while a script runs: the whole input of the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use e2e::Role;
use e2e::arp::Mac;
use lab::{Host, NodeId};

use crate::fault::Fault;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// After the begin of the script.
    pub at: Duration,
    /// What it was.
    pub what: Seen,
}

/// What can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Somebody answered the question who has an address.
    Answer {
        /// The address.
        address: IpAddr,
        /// Whose network card has it.
        by: Mac,
    },
    /// Whoever asks has stood still until now, for so long.
    Paused(Duration),
    /// A fault begins.
    Began(Fault),
    /// It is undone.
    Undone(Fault),
    /// A fault could not be made or undone.
    Failed(Fault, String),
    /// All is well again after a round of faults.
    Settled,
    /// It did not get well in time, and why.
    Unsettled(String),
    /// The addresses of every Service.
    Services(BTreeMap<String, BTreeSet<IpAddr>>),
    /// Services without a Pod that serves: Kubernetes takes all Pods of a node that it does not hear for not ready.
    Unserved(BTreeSet<String>),
    /// So many events of FerroLB's are new since the last look.
    Events(u64),
    /// How often the container of each of FerroLB's Pods was started again.
    Restarts(BTreeMap<Container, u64>),
    /// The memory of a process, in bytes.
    Memory(Process, u64),
    /// A request to an address was answered, or not.
    Visit {
        /// The address.
        address: IpAddr,
        /// Whether it was answered.
        answered: bool,
    },
}

/// The container of one of FerroLB's Pods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Which program it runs.
    pub role: Role,
    /// The name of the node.
    pub node: String,
    /// The Pod's name and its UID.
    pub pod: String,
}

/// One of FerroLB's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Which program.
    pub role: Role,
    /// Where.
    pub node: NodeId,
    /// Its number there.
    pub id: u32,
    /// When it was started, by the kernel's count of ticks: a number may be used again.
    pub started: u64,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} on {}", self.role, self.id, self.node)
    }
}

/// The Services that are watched, by name.
pub type Subjects = BTreeMap<String, Subject>;

/// A Service that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The addresses that it has at the beginning, and is to keep.
    pub addresses: BTreeSet<IpAddr>,
    /// What Services on the same address have in common; none where an address is to be of one Service only.
    pub sharing: Option<&'static str>,
    /// Whether its pool is the one that may be deleted.
    pub in_edited_pool: bool,
}

/// A node by its network card, or the card where it is no node's.
pub fn name_of(mac: Mac) -> String {
    Host::with_mac(&mac.to_string(), lab::plan::MAX_NODES)
        .map_or_else(|| mac.to_string(), |host| host.to_string())
}

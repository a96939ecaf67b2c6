//! What a speaker knows.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Bgp, Capped};

/// What a speaker knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SpeakerStatus {
    /// Its node.
    pub node: String,
    /// The load balancer class that it serves; none for Services of no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,
    /// Whether it announces from nodes with the label that excludes them too.
    pub ignores_exclude_label: bool,
    /// The addresses that it keeps though others come back that rank before it (`--no-failback`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<IpAddr>,
    /// How its gossip is.
    pub gossip: Gossip,
    /// The other speakers.
    pub peers: Capped<Peer>,
    /// Its interfaces, and whether they are used.
    pub interfaces: Capped<Interface>,
    /// The addresses that fall to this node.
    pub addresses: Capped<Address>,
    /// Addresses of Services that nobody announces, as far as this speaker knows.
    pub unannounced: Capped<Unannounced>,
    /// What it tells routers.
    #[serde(skip_serializing_if = "Bgp::is_empty")]
    pub bgp: Box<Bgp>,
}

/// How the gossip is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gossip {
    /// Whether enough of the others has been heard to act on it.
    pub settled: bool,
    /// Why it does not work, where that can be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How many members there are, this one included.
    pub members: usize,
}

/// Another speaker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Peer {
    /// Its node.
    pub node: String,
    /// How it is heard.
    pub state: PeerState,
    /// Where the API server says that it listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its Ethernet addresses, as it has told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
    /// The interfaces on which it can announce, as it has told; none where it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<Interface>>,
    /// Addresses that fell to it and that it does not answer for, since some other host has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contested: Vec<IpAddr>,
}

/// How another speaker is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PeerState {
    /// It is a live member.
    Heard,
    /// It is being replaced, and expected back in a moment.
    Away,
    /// It has said goodbye, and may go on answering for some seconds.
    Leaving,
    /// The API server lists it, and it is not heard.
    NotHeard,
    /// Something that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Whether it is for the node's own Pods, most likely.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub for_pods: bool,
    /// For IPv4 addresses.
    pub arp: Usability,
    /// For IPv6 addresses.
    pub ndp: Usability,
    /// Whether nothing is sent on it at present, since other speakers may have taken over meanwhile.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// How many addresses are announced on it.
    pub announced: usize,
    /// Whether it failed again soon after it had failed: while it is used, nodes go first whose interface of that name is
    /// steady.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unsteady: bool,
    /// How many seconds that goes on if it does not fail again; none where nobody has said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steady_in_seconds: Option<u64>,
    /// The prefixes of its addresses, as `address/bits`. Where an address is in a prefix of some interfaces of a node, the
    /// loss of others makes no difference to it. A speaker tells others only while it has lost some interface.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// Whether an interface is used by a protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Usability {
    /// It is.
    Used,
    /// It could be until it failed.
    Lost,
    /// It is not, and why.
    Unfit(String),
    /// Nobody has said.
    #[default]
    Unknown,
}

/// An address that falls to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The Services that have it, as `namespace/name`.
    pub services: Vec<String>,
    /// What comes of it.
    pub state: AddressState,
    /// On which interfaces it is announced, or was to be.
    pub interfaces: Vec<String>,
    /// Who else has it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Claimant>,
    /// Why it cannot be announced, where no interface will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What comes of an address that falls to a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AddressState {
    /// It is announced.
    Announced,
    /// It is answered for, and nothing is sent unasked: another node is away for a moment.
    Standby,
    /// The LAN is asked whether anybody has it.
    Probing,
    /// A host that is no speaker has it.
    Conflict,
    /// A speaker has it that is not heard.
    PeerUnheard,
    /// Nothing is said for the moment: this node was cut off, or stood still.
    Muted,
    /// No interface will do.
    NoInterface,
    /// Something that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Another host that has an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claimant {
    /// Its Ethernet address.
    pub mac: String,
    /// Where it was heard.
    pub interface: String,
    /// The node whose speaker it is, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How many seconds ago it was heard last; none where the LAN is asked for the address again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_heard_seconds: Option<u64>,
}

/// An address that nobody announces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unannounced {
    /// The Service, as `namespace/name`.
    pub service: String,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Why, in one sentence.
    pub reason: String,
}

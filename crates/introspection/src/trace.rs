//! Who answers for an address on the LAN, as a speaker has found out by asking.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The path at which a speaker is asked who answers for an address: `/trace?ip=ADDRESS`.
pub const TRACE_PATH: &str = "/trace";

/// Who answers for an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Trace {
    /// The node of the speaker that has asked.
    pub node: String,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// What was heard on each interface that the speaker uses for addresses of this family.
    pub places: Vec<TracedPlace>,
}

/// What was heard on an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TracedPlace {
    /// The interface.
    pub interface: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Whether it could be asked there.
    pub asked: bool,
    /// Whether this speaker answers for the address there; it does not hear itself.
    pub here: bool,
    /// The Ethernet addresses of the others that answer, up to some number.
    pub answers: Vec<String>,
}

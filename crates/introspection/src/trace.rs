//! What a speaker has found out by asking its LAN: who answers for an address, and which DHCP servers there are.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// The path at which a speaker is asked who answers for an address: `/trace?ip=ADDRESS`; or, with `?dhcp`, which DHCP servers
/// there are, and with `?dhcp=ADDRESS` what they offer to who would like that address.
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

/// Which DHCP servers there are, and what they would give out to somebody new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DhcpServers {
    /// The node of the speaker that has asked.
    pub node: String,
    /// What was heard on each interface that the speaker uses for IPv4.
    pub places: Vec<DhcpPlace>,
}

/// What DHCP servers say on an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DhcpPlace {
    /// The interface.
    pub interface: String,
    /// Whether they could be asked there.
    pub asked: bool,
    /// What they offer, up to some number.
    pub offers: Vec<DhcpOffer>,
}

/// What a DHCP server would give out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DhcpOffer {
    /// The server.
    pub server: Ipv4Addr,
    /// The address that it offers.
    pub address: Ipv4Addr,
    /// The length of the prefix that the address is in, if it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_length: Option<u8>,
    /// The router that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Ipv4Addr>,
    /// For how long it would lease the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
}

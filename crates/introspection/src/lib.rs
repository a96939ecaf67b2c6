//! What the programs tell of themselves at `/status`: one JSON document, whose version is in `apiVersion`, whose kind says
//! which program it is of. A speaker also tells who answers for an address on the LAN, and which DHCP servers
//! it has ([`TRACE_PATH`]).
//!
//! The programs write it and `kubectl ferrolb` reads it, maybe of another version: fields that a reader does not know are
//! passed over, those that a writer does not know are empty. Lists are bounded ([`Capped`]), so that a document never has
//! more than some megabytes.

mod bgp;
mod capped;
mod controller;
mod speaker;
mod trace;

use serde::{Deserialize, Serialize};

pub use bgp::{BfdSession, Bgp, BgpRoute, BgpSession, BgpUnannounced};
pub use capped::Capped;
pub use controller::{ControllerStatus, Elder, PoolState, Usage, Waiting};
pub use speaker::{
    Address, AddressState, Claimant, Gossip, Interface, Peer, PeerState, SpeakerStatus, Unannounced,
    Usability,
};
pub use trace::{DhcpOffer, DhcpPlace, DhcpServers, TRACE_PATH, Trace, TracedPlace};

/// Where a program serves its document, unless it is told otherwise.
pub const DEFAULT_PORT: u16 = 7472;

/// The Lease that controllers elect their leader by, unless they are told otherwise.
pub const DEFAULT_LEASE: &str = "ferrolb-controller";

/// The version of the documents.
pub const API_VERSION: &str = "ferrolb.io/v1alpha1";

/// The header with a token that was made for reading documents, see [`TOKEN_AUDIENCE`]: the API server passes no other
/// credentials on to Pods.
pub const TOKEN_HEADER: &str = "x-ferrolb-token";

/// Whom such a token is for: it is good for nothing but reading documents, least of all with the API server.
pub const TOKEN_AUDIENCE: &str = "ferrolb.io/status";

/// What a program tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// [`API_VERSION`].
    pub api_version: String,
    /// The version of the program.
    pub version: String,
    /// What it waits for before it is ready; empty once it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// What it knows.
    #[serde(flatten)]
    pub status: Status,
}

/// What a program knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Status {
    /// A controller.
    ControllerStatus(ControllerStatus),
    /// A speaker.
    SpeakerStatus(SpeakerStatus),
    /// A speaker that was asked who answers for an address.
    Trace(Trace),
    /// A speaker that was asked which DHCP servers there are.
    DhcpServers(DhcpServers),
}

impl Document {
    /// A document of this version of the program.
    pub fn new(waiting_for: Vec<String>, status: Status) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { api_version: API_VERSION.to_owned(), version, waiting_for, status }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_names_its_version_and_kind_and_reads_back() {
        let status = SpeakerStatus { node: "n1".to_owned(), ..SpeakerStatus::default() };
        let document = Document::new(vec!["members".to_owned()], Status::SpeakerStatus(status));
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!((&json["apiVersion"], &json["kind"]), (&json!(API_VERSION), &json!("SpeakerStatus")));
        assert_eq!(json["node"], "n1");
        assert_eq!(serde_json::from_value::<Document>(json).unwrap(), document);
    }

    #[test]
    fn fields_of_other_versions_are_passed_over_and_missing_ones_are_empty() {
        let json = json!({"apiVersion": API_VERSION, "kind": "ControllerStatus", "version": "9.9.9", "new": {"a": 1}});
        let document: Document = serde_json::from_value(json).unwrap();
        assert_eq!(document.status, Status::ControllerStatus(ControllerStatus::default()));
    }

    #[test]
    fn an_interface_of_an_earlier_version_is_read_and_one_that_is_steady_looks_like_it() {
        let json = json!({"name": "eth0", "arp": "Used", "ndp": "Used", "announced": 2});
        let interface: Interface = serde_json::from_value(json.clone()).unwrap();
        assert!(
            !interface.unsteady && interface.steady_in_seconds.is_none() && interface.prefixes.is_empty()
        );
        assert_eq!(serde_json::to_value(interface).unwrap(), json);
        let interface = Interface {
            unsteady: true,
            steady_in_seconds: Some(12),
            prefixes: vec!["192.0.2.0/24".to_owned()],
            ..Interface::default()
        };
        let json = serde_json::to_value(&interface).unwrap();
        assert_eq!((&json["unsteady"], &json["steadyInSeconds"]), (&json!(true), &json!(12)));
        assert_eq!(serde_json::from_value::<Interface>(json).unwrap(), interface);
    }

    #[test]
    fn what_a_later_version_says_of_an_address_is_no_reason_to_read_nothing() {
        let json = json!({"ip": "192.0.2.1", "state": "Somersault"});
        let address: Address = serde_json::from_value(json).unwrap();
        assert_eq!(address.state, AddressState::Unknown);
    }
}

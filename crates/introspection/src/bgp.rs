//! What a speaker tells routers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Capped;

/// What a speaker tells routers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bgp {
    /// The sessions that its node is to have.
    pub sessions: Capped<BgpSession>,
    /// What is announced in them, or is to be as soon as they are established.
    pub routes: Capped<BgpRoute>,
    /// Services that an advertisement may be meant for and that are not announced from this node.
    pub unannounced: Capped<BgpUnannounced>,
}

impl Bgp {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.sessions.items.is_empty() && self.routes.items.is_empty() && self.unannounced.items.is_empty()
    }
}

/// A session with a router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpSession {
    /// The name of the `BGPPeer`.
    pub peer: String,
    /// Where the router is, like `192.0.2.1:179`.
    pub address: String,
    /// Where the session stands, as RFC 4271 calls it.
    pub state: String,
    /// How it came to this, in a few words.
    pub reason: String,
    /// The address of this end, as long as there is a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// What the router of an established session is not told, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_back: Vec<String>,
    /// How many prefixes the router was told of.
    pub announced: usize,
    /// For how many seconds it has been established, or has not been; none where it is tried for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// The BFD session beside it, where one is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSession>,
}

/// A BFD session with a router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BfdSession {
    /// Where the session stands, as RFC 5880 calls it.
    pub state: String,
    /// What is wrong, where it is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is announced about a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BgpRoute {
    /// The prefix, like `192.0.2.1/32`.
    pub prefix: String,
    /// The Services that have addresses in it, as `NAMESPACE/NAME`.
    pub services: Vec<String>,
    /// The names of the `BGPPeer`s that are told this.
    pub peers: Vec<String>,
    /// The local preference.
    pub local_preference: u32,
    /// Communities, like `64512:1`, and large ones, like `large:64512:1:2`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
    /// How often more than once the AS number stands in the AS path.
    #[serde(skip_serializing_if = "is_zero")]
    pub as_path_prepend: u8,
    /// How many endpoints on the node the link bandwidth community tells of, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// A Service that is not announced by BGP from a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BgpUnannounced {
    /// The Service, as `NAMESPACE/NAME`.
    pub service: String,
    /// Why, in one word as upstream has it: `notOwner`, `noLocalEndpoints` and the like.
    pub reason: String,
}

//! A router, as its `BGPPeer` describes it.

use std::num::NonZeroU16;

use bfd::config::Profile;
use bgp::config::{
    AsNumbers, Families, Hops, PORT, Password, RestartTime, RouterId, SessionConfig, Timers, Transport,
};
use objects::{
    BfdProfileName, BgpPeerName, Family, InterfaceName, Labels, SecretName, Selector, any_matches,
};

/// What a `BGPPeer` says. What differs from node to node is left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: BgpPeerName,
    /// When it was created, in seconds of the API server's clock: of two that are the same, the older counts.
    pub created: Option<i64>,
    /// The nodes that connect to it; all when empty.
    pub node_selectors: Vec<Selector>,
    /// The way to it.
    pub transport: Transport,
    /// Its TCP port.
    pub port: NonZeroU16,
    /// The VRF of the node that leads to it.
    pub vrf: Option<InterfaceName>,
    /// The AS numbers of both ends.
    pub asns: AsNumbers,
    /// The BGP identifier of this end; without it, the address of the node.
    pub router_id: Option<RouterId>,
    /// Hold, keepalive and connect time.
    pub timers: Timers,
    /// Where the password is.
    pub password: PasswordSource,
    /// How far away it may be.
    pub hops: Hops,
    /// The families whose routes are exchanged.
    pub families: Families,
    /// For how long it is asked to keep routes while this end restarts.
    pub graceful_restart: Option<RestartTime>,
    /// The profile of the BFD session beside the BGP session.
    pub bfd: Option<BfdProfileName>,
}

/// Where the password of a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// There is none.
    None,
    /// In the object.
    Given(Password),
    /// In this Secret.
    Secret(SecretName),
}

impl Peer {
    /// One of which nothing else is said: a session carries the family of its addresses, and both where its end is an
    /// interface.
    pub fn new(name: BgpPeerName, transport: Transport, asns: AsNumbers) -> Self {
        let families = match transport {
            Transport::Interface(_) => Families::Both,
            Transport::V4 { .. } => Families::Only(Family::V4),
            Transport::V6 { .. } => Families::Only(Family::V6),
        };
        Self {
            name,
            created: None,
            node_selectors: vec![],
            transport,
            port: PORT,
            vrf: None,
            asns,
            router_id: None,
            timers: Timers::default(),
            password: PasswordSource::None,
            hops: Hops::One,
            families,
            graceful_restart: None,
            bfd: None,
        }
    }

    /// Whether a node with these labels connects to it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selectors.is_empty() || any_matches(&self.node_selectors, labels)
    }

    /// Whether a session with `other` would be with the same router.
    pub(crate) fn is_same_router(&self, other: &Self) -> bool {
        let end = |peer: &Self| match &peer.transport {
            Transport::Interface(name) => Err(name.clone()),
            Transport::V4 { peer, .. } => Ok((*peer).into()),
            Transport::V6 { peer, .. } => Ok(std::net::IpAddr::from(*peer)),
        };
        (end(self), self.port, &self.vrf) == (end(other), other.port, &other.vrf)
    }

    /// The session with it, of a node whose identifier is `router_id` unless another is asked for.
    pub(crate) fn session(
        &self,
        router_id: RouterId,
        password: Option<Password>,
        bfd: Option<Profile>,
    ) -> SessionConfig {
        SessionConfig {
            name: self.name.clone(),
            transport: self.transport.clone(),
            port: self.port,
            vrf: self.vrf.clone(),
            asns: self.asns,
            router_id: self.router_id.unwrap_or(router_id),
            timers: self.timers,
            password,
            hops: self.hops,
            families: self.families,
            graceful_restart: self.graceful_restart,
            bfd,
        }
    }
}

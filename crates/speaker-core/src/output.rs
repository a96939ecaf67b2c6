//! What follows from what a speaker learns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bgp::config::SessionConfig;
use bgp::route::Routes;
use members::{Absence, LinkState, Profile};
use objects::{BgpPeerName, Few, SecretName};
use placement::{Change, InterfaceName, Interfaces, NodeName, ServiceKey};

use crate::announce::bgp::Asking;
use crate::announce::layer2::Ports;
use crate::configuration::ConfigurationNews;
use crate::impairments::{Impact, Impairment};
use crate::input::List;
use crate::left_over::LeftOver;

/// Something that is to be done, in the order in which it comes.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// What there is to do on which interface by which protocol. Replaces what was said before.
    Ports(Ports),
    /// Something for the gossip.
    Gossip(Gossip),
    /// This node begins to announce a Service, or ceases to.
    Moved(Change),
    /// An event about a Service, for its owner to read.
    Notice(ServiceKey, Notice),
    /// What the status of a Service says.
    Status {
        /// Which.
        service: ServiceKey,
        /// Where it is announced from here; `None` if it has no status any more.
        interfaces: Option<Interfaces>,
    },
    /// The BGP sessions of this node are these. What a peer is told stays as it is, and that of one that is gone is
    /// forgotten.
    BgpSessions(BTreeMap<BgpPeerName, SessionConfig>),
    /// A peer is told this, and nothing else any more. Peers that are told the same share it.
    BgpRoutes(BgpPeerName, Arc<Routes>),
    /// These Secrets hold passwords for BGP sessions, and no others are wanted.
    BgpSecrets(BTreeSet<SecretName>),
    /// Whether kube-proxy is to be asked if it passes traffic for a Service to endpoints of this node. What it says comes back by [`BgpInput::Proxy`](crate::announce::bgp::BgpInput::Proxy).
    AskProxy(ServiceKey, Asking),
    /// These Services are announced though kube-proxy has not said so.
    ProxyOverdue(BTreeSet<ServiceKey>),
    /// A Service is announced to these peers.
    BgpStatus {
        /// Which.
        service: ServiceKey,
        /// The peers; none any more.
        peers: Arc<BTreeSet<BgpPeerName>>,
        /// The addresses of it that they were told of until now.
        before: Few<IpAddr>,
        /// Those that they are told of.
        vips: Few<IpAddr>,
    },
    /// Every Service that is announced from here by BGP was named by a [`Self::BgpStatus`].
    BgpStatusesComplete,
    /// Every Service that is announced from here was named by a [`Self::Status`]: no other has one.
    StatusesComplete,
    /// Nothing is reported any more: this speaker stops.
    LastStatuses,
    /// These reports are to be removed; [`Input::LeftOver`](crate::Input::LeftOver) says what came of it.
    LeftOver(LeftOver),
    /// What our goodbye would be for, if we were asked to stop now; `None` where a word of that may be on its way. At
    /// first it is [`Absence::Open`].
    Absence(Option<Absence>),
    /// How many members there are.
    Members(usize),
    /// A list is complete.
    Reached(List),
    /// Every list is.
    Loaded,
    /// These interfaces of this node are on one LAN, each with another: one of them answers for an address. Told once.
    SameLan(BTreeSet<InterfaceName>),
    /// This speaker is without something, or has it again, and whether it is ready all the same. Told when it changes.
    Impaired(Impairment, Impact),
    /// This speaker gives these addresses up and no others: peers have seen changes of the cluster that it has not seen.
    Conceded(BTreeSet<IpAddr>),
    /// These peers are asked to give these addresses up, for they do not seem to have seen the latest changes.
    Disputed(BTreeMap<NodeName, BTreeSet<IpAddr>>),
    /// Something about an object of the configuration.
    Configuration(ConfigurationNews),
    /// One line for each object of the configuration that is not in force as it stands. Replaces what was said before.
    Problems(Vec<String>),
}

/// What the gossip is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gossip {
    /// Where the others listen, as the API server lists them.
    SetPeers(BTreeMap<NodeName, SocketAddr>),
    /// From where everybody may speak, as the API server lists it.
    SetAddresses(BTreeMap<NodeName, BTreeSet<IpAddr>>),
    /// What to tell everybody of ourselves.
    SetProfile(Profile),
    /// All is known that it takes to take over anything.
    TakePart,
    /// Whether the interface that the gossip goes through can carry anything.
    SetLink(LinkState),
    /// This member leaves, and need not wait for us any longer.
    ConfirmLeave(NodeName),
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether all is well.
    pub severity: Severity,
    /// One word in camel case.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Whether all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Notice {
    pub(crate) fn normal(reason: &'static str, message: String) -> Self {
        Self { severity: Severity::Normal, reason, message }
    }

    pub(crate) fn warning(reason: &'static str, message: String) -> Self {
        Self { severity: Severity::Warning, reason, message }
    }
}

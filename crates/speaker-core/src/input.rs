//! What a speaker learns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use members::News;
use placement::{
    Advertisement, AdvertisementName, Endpoints, InterfaceName, Kind, Node, NodeName, PoolName, Service,
    ServiceKey, SliceKey,
};
use pools::PoolSpec;

use crate::announce::bgp::BgpInput;
use crate::departure::{NodeState, PodState};
use crate::disputes::Seen;
use crate::interfaces::Links;

/// Something that a speaker learns.
#[derive(Debug, Clone)]
pub enum Input {
    /// Services that have addresses to announce. `None` also for those that have none any more.
    Services(Changes<ServiceKey, Service>),
    /// Slices of serving endpoints, each with its Service.
    Endpoints(Changes<SliceKey, (ServiceKey, Endpoints)>),
    /// Nodes.
    Nodes(Changes<NodeName, Node>),
    /// Pools.
    Pools(Changes<PoolName, PoolSpec>),
    /// Advertisements, each with what of it cannot be read.
    Advertisements(Changes<AdvertisementName, (Advertisement, Vec<String>)>),
    /// Something of the objects about BGP.
    Bgp(BgpInput),
    /// How much has been seen of one kind of these.
    Seen(Kind, Seen),
    /// Where the other speakers listen, as the API server lists them.
    Peers(BTreeMap<NodeName, SocketAddr>),
    /// All addresses from which each may speak who takes part in the gossip, as the API server lists them.
    Addresses(BTreeMap<NodeName, BTreeSet<IpAddr>>),
    /// Our own Pod is new or different.
    OwnPod(PodState),
    /// Our own node is new or different.
    OwnNode(NodeState),
    /// What happened among the members, and who they are now.
    Members(News),
    /// The interfaces of this node, all of them.
    Interfaces(Links),
    /// Whether the interfaces can be followed; if not, they may differ from what was said last. [`Self::Interfaces`] says that
    /// they can.
    InterfacesFollowed(bool),
    /// The interface that the gossip goes through, if that is known.
    GossipInterface(Option<InterfaceName>),
    /// What one of the [ports](crate::Output::Ports) on an interface has to say.
    Port(InterfaceName, layer2::Report),
    /// Why the gossip does not work, or that it does.
    Trouble(Option<Trouble>),
    /// The nodes that are alive: their kubelets say so to the API server.
    ReadyNodes(BTreeSet<NodeName>),
    /// Whether the API server can be reached, as far as the watches tell.
    ApiReachable(bool),
    /// The [reports of the dead](crate::Output::LeftOver) are removed, or are to be tried again then.
    LeftOver(Option<Instant>),
    /// Somebody asked this speaker to stop.
    Stop,
    /// Time has passed.
    Time,
}

/// Why the gossip does not work, as far as a speaker can see by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its socket cannot be had: another program has the port, or the address is gone.
    Unbound,
    /// All that is received is sealed with other keys.
    OtherKey,
}

/// What is new of the objects of one kind.
#[derive(Debug, Clone)]
pub struct Changes<K, V> {
    /// The objects that are new, different, or (`None`) gone.
    pub each: Vec<(K, Option<V>)>,
    /// Whether all objects of the kind are known after this.
    pub complete: bool,
}

/// Lists that must be complete before anything is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// Services.
    Services,
    /// Slices of endpoints.
    EndpointSlices,
    /// Nodes.
    Nodes,
    /// Pools.
    Pools,
    /// Advertisements.
    Advertisements,
    /// The Pods of the speakers.
    Speakers,
    /// The members.
    Members,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Services,
        Self::EndpointSlices,
        Self::Nodes,
        Self::Pools,
        Self::Advertisements,
        Self::Speakers,
        Self::Members,
    ];

    /// Whether announcing by BGP waits for it too: nothing is elected there, so it does not matter who else is alive.
    pub(crate) const fn is_for_bgp(self) -> bool {
        match self {
            Self::Services | Self::EndpointSlices | Self::Nodes | Self::Pools => true,
            Self::Advertisements | Self::Speakers | Self::Members => false,
        }
    }

    /// What `/readyz` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::EndpointSlices => "endpointslices",
            Self::Nodes => "nodes",
            Self::Pools => "ipaddresspools",
            Self::Advertisements => "l2advertisements",
            Self::Speakers => "speaker pods",
            Self::Members => "members",
        }
    }
}

impl Input {
    /// The list that is complete with this, if one is.
    pub(crate) fn completes(&self) -> Option<List> {
        match self {
            Self::Services(changes) => changes.complete.then_some(List::Services),
            Self::Endpoints(changes) => changes.complete.then_some(List::EndpointSlices),
            Self::Nodes(changes) => changes.complete.then_some(List::Nodes),
            Self::Pools(changes) => changes.complete.then_some(List::Pools),
            Self::Advertisements(changes) => changes.complete.then_some(List::Advertisements),
            Self::Peers(_) => Some(List::Speakers),
            Self::Members(news) => news.view.settled.then_some(List::Members),
            Self::Addresses(_)
            | Self::Bgp(_)
            | Self::Seen(..)
            | Self::OwnPod(_)
            | Self::OwnNode(_)
            | Self::Interfaces(_)
            | Self::InterfacesFollowed(_)
            | Self::GossipInterface(_)
            | Self::LeftOver(_)
            | Self::Port(..)
            | Self::Trouble(_)
            | Self::ReadyNodes(_)
            | Self::ApiReachable(_)
            | Self::Stop
            | Self::Time => None,
        }
    }
}

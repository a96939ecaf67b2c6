//! The objects that decisions are made from, at one moment.

mod bgp;
mod elsewhere;
mod named;
mod speakers;

use api::{AddressReservation, IPAddressPool, L2Advertisement};
use placement::{ExcludeLabel, Failback, Spread};
use slim::{EndpointSlice, Namespace, Node, Service};
use translation::Rules;

pub(crate) use self::bgp::{BgpObjects, Route, Routing};
pub(crate) use self::elsewhere::{ADVERTISEMENT, Elsewhere, FOR_ROUTERS, POOL, ROUTER, part};
pub(crate) use self::named::missing_pools;
pub(crate) use self::speakers::{Source, Speakers};

/// The objects that decisions are made from.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// What the programs were told of Services.
    pub(crate) rules: Rules,
    pub(crate) exclude_label: ExcludeLabel,
    pub(crate) spread: Spread,
    pub(crate) failback: Failback,
    /// Whether `NodeAddressPool`s are served, too.
    pub(crate) node_pools: bool,
    pub(crate) services: Vec<Service>,
    pub(crate) pools: Vec<IPAddressPool>,
    pub(crate) reservations: Vec<AddressReservation>,
    pub(crate) advertisements: Vec<L2Advertisement>,
    pub(crate) bgp: BgpObjects,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) slices: Vec<EndpointSlice>,
    pub(crate) speakers: Speakers,
    /// Pools and advertisements that FerroLB does not read.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// Whether there is a controller, as far as that is known.
    pub(crate) controller: bool,
}

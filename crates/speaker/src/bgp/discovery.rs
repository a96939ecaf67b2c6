//! The routers behind interfaces: one task for all of them, see [`bgp::discovery`].
//!
//! ```text
//!               the interfaces                    router advertisements
//!   bgp::run -------------------> run, a task <-----------------------> the links
//!   Peer     <-------------------
//!               Found: the router behind each, or why there is none
//! ```
//!
//! Both ways state is told, each time as a whole (`watch`). There is neither a task nor a socket as long as no peer is to be
//! found by an interface.

mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bgp::config::{SessionConfig, Transport};
use bgp::discovery::{Discovery, Input};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrIn6;
use objects::InterfaceName;
use socket::Socket;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

/// How often to look whether interfaces have come or gone.
const LOOK: Duration = Duration::from_secs(1);

/// The router behind each interface that a peer is to be found by, or why there is none.
pub(super) type Found = BTreeMap<InterfaceName, Result<Router, Trouble>>;

/// A router that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Router {
    /// Its link-local address.
    pub(super) address: Ipv6Addr,
    /// The index of the interface that it is behind.
    pub(super) interface: NonZeroU32,
}

/// Why there is no router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody has looked yet.
    #[error("the router is being looked for")]
    Unknown,
    /// Other nodes may have one.
    #[error("this node has no such interface")]
    NoInterface,
    /// It is not up, or has no carrier.
    #[error("the interface is down")]
    Down,
    /// IPv6 may be switched off on it.
    #[error("the interface has no IPv6 link-local address")]
    NoLinkLocal,
    /// The router says nothing.
    #[error("no router has advertised itself on the interface: let it send IPv6 router advertisements there")]
    Silent,
    /// It takes `CAP_NET_RAW`.
    #[error("router advertisements can be neither sent nor received: {0}")]
    NoSocket(String),
}

impl Trouble {
    /// Whether nothing can get through to a router that was found before.
    fn cuts(&self) -> bool {
        match self {
            Self::NoInterface | Self::Down | Self::NoLinkLocal => true,
            Self::Unknown | Self::Silent | Self::NoSocket(_) => false,
        }
    }
}

/// All interfaces that peers are to be found by.
pub(super) struct Routers {
    /// Until there is a task.
    known: BTreeMap<InterfaceName, Router>,
    wanted: watch::Sender<BTreeSet<InterfaceName>>,
    found: watch::Sender<Found>,
    task: Option<AbortHandle>,
}

impl Routers {
    /// Of some interfaces the routers are known from the process before.
    pub(super) fn new(known: BTreeMap<InterfaceName, Router>) -> Self {
        let found = known.iter().map(|(name, router)| (name.clone(), Ok(*router))).collect();
        Self { known, wanted: watch::Sender::default(), found: watch::Sender::new(found), task: None }
    }

    /// These interfaces, and no others.
    pub(super) fn want(&mut self, interfaces: BTreeSet<InterfaceName>) {
        if self.task.is_none() && !interfaces.is_empty() {
            let known = std::mem::take(&mut self.known);
            let task = run(known, self.wanted.subscribe(), self.found.clone());
            self.task = Some(tokio::spawn(task).abort_handle());
        }
        kubekit::send_if_new(&self.wanted, interfaces);
    }

    /// What is known of each.
    pub(super) fn found(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }
}

impl Drop for Routers {
    fn drop(&mut self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

/// The interface behind which the peer of a session is to be found, if that is how it is found.
pub(super) fn interface(config: &SessionConfig) -> Option<&InterfaceName> {
    match &config.transport {
        Transport::Interface(name) => Some(name),
        Transport::V4 { .. } | Transport::V6 { .. } => None,
    }
}

/// The router of one session.
#[derive(Debug)]
pub(super) struct Whereabouts {
    found: watch::Receiver<Found>,
    interface: Option<InterfaceName>,
    /// As it was when somebody looked.
    router: Option<Router>,
}

/// What has become of the router of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// It is there, or it is another one.
    Found,
    /// Nothing gets through to it.
    Lost,
}

impl Whereabouts {
    pub(super) fn new(found: watch::Receiver<Found>, config: &SessionConfig) -> Self {
        let mut new = Self { found, interface: None, router: None };
        new.follow(config);
        new
    }

    /// The session is like this from now on.
    pub(super) fn follow(&mut self, config: &SessionConfig) {
        let interface = interface(config).cloned();
        if interface != self.interface {
            self.interface = interface;
            self.router = None;
        }
        self.look();
    }

    /// Waits until there may be something to say. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.interface.is_none() || self.found.changed().await.is_err() {
            pending::<()>().await;
        }
    }

    pub(super) fn look(&mut self) -> News {
        match self.now() {
            Some(Ok(router)) => {
                let before = self.router.replace(router);
                if before == Some(router) { News::None } else { News::Found }
            }
            Some(Err(trouble)) if trouble.cuts() && self.router.take().is_some() => News::Lost,
            Some(Err(_)) | None => News::None,
        }
    }

    /// The router, or why there is none; `None` for a peer that is not found by an interface.
    pub(super) fn now(&self) -> Option<Result<Router, Trouble>> {
        let interface = self.interface.as_ref()?;
        // What is new is left to be seen by `changed`.
        let found = self.found.borrow();
        Some(found.get(interface).cloned().unwrap_or(Err(Trouble::Unknown)))
    }
}

/// An interface that is there, or why it is of no use.
type Seen = Result<NonZeroU32, Trouble>;

struct Interface {
    seen: Seen,
    discovery: Discovery,
}

async fn run(
    mut known: BTreeMap<InterfaceName, Router>,
    mut wanted: watch::Receiver<BTreeSet<InterfaceName>>,
    found: watch::Sender<Found>,
) {
    let mut interfaces: BTreeMap<InterfaceName, Interface> = BTreeMap::new();
    let mut socket: Result<Socket, Trouble> = Err(Trouble::Unknown);
    let mut look_at = Instant::now();
    loop {
        let due = interfaces.values().filter_map(|it| it.discovery.poll_timeout()).chain([look_at]).min();
        let heard = async {
            match &socket {
                Ok(socket) => socket.receive().await,
                Err(_) => pending().await,
            }
        };
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                look_at = Instant::now();
            }
            heard = heard => match heard {
                Ok(heard) => {
                    let now = Instant::now();
                    let of = |it: &&mut Interface| it.seen.as_ref().is_ok_and(|it| it.get() == heard.interface);
                    for interface in interfaces.values_mut().filter(of) {
                        let (from, hop_limit, octets) = (heard.from, heard.hop_limit, heard.octets());
                        interface.discovery.handle(Input::Received { from, hop_limit, octets }, now);
                    }
                }
                Err(error) => {
                    debug!(%error, "router advertisements are listened for anew");
                    socket = Err(Trouble::Unknown);
                }
            },
            () = kubekit::due(due) => {}
        }
        let now = Instant::now();
        if look_at <= now {
            look_at = now + LOOK;
            look(&mut interfaces, &wanted.borrow_and_update(), now);
            for (name, Router { address, interface }) in std::mem::take(&mut known) {
                let of_it = interfaces.get_mut(&name).filter(|it| it.seen == Ok(interface));
                of_it.into_iter().for_each(|it| it.discovery.handle(Input::Known(address), now));
            }
            open(&mut socket, interfaces.is_empty());
        }
        for (name, Interface { seen, discovery }) in &mut interfaces {
            discovery.handle(Input::Time, now);
            while let Some(message) = discovery.poll_output() {
                let (Ok(socket), Ok(index)) = (&socket, &seen) else { break };
                if let Err(error) = socket.send(&message, *index).await {
                    debug!(interface = %name, %error, "no router advertisement is sent");
                    discovery.handle(Input::NotSent, now);
                    break;
                }
            }
        }
        tell(&interfaces, socket.as_ref().err(), &found);
    }
}

/// Brings up to date which interfaces there are.
fn look(interfaces: &mut BTreeMap<InterfaceName, Interface>, wanted: &BTreeSet<InterfaceName>, now: Instant) {
    interfaces.retain(|name, _| wanted.contains(name));
    if wanted.is_empty() {
        return;
    }
    let all: Vec<InterfaceAddress> = getifaddrs().into_iter().flatten().collect();
    for name in wanted {
        let seen = see(name, &all);
        let interface = interfaces.entry(name.clone()).or_insert_with(|| Interface {
            seen: Err(Trouble::Unknown),
            discovery: Discovery::new(rand::random()),
        });
        if interface.seen != seen {
            interface.seen = seen;
            // Another one of the same name is not the one that was there.
            interface.discovery.handle(Input::Down, now);
        }
        if interface.seen.is_ok() {
            interface.discovery.handle(Input::Up, now);
        }
    }
}

fn see(name: &InterfaceName, all: &[InterfaceAddress]) -> Seen {
    let of_it = || all.iter().filter(|it| it.interface_name == name.as_str());
    let first = of_it().next().ok_or(Trouble::NoInterface)?;
    let works = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    if !first.flags.contains(works) {
        return Err(Trouble::Down);
    }
    let v6 = |it: &InterfaceAddress| it.address.and_then(|it| it.as_sockaddr_in6().map(SockaddrIn6::ip));
    if !of_it().filter_map(v6).any(|ip| ip.is_unicast_link_local()) {
        return Err(Trouble::NoLinkLocal);
    }
    let index = if_nametoindex(name.as_str()).map_err(|_| Trouble::NoInterface)?;
    NonZeroU32::new(index).ok_or(Trouble::NoInterface)
}

/// Sees to it that there is a socket if one is needed, and none otherwise.
fn open(socket: &mut Result<Socket, Trouble>, is_idle: bool) {
    if is_idle {
        *socket = Err(Trouble::Unknown);
    } else if socket.is_err() {
        *socket = Socket::open().map_err(|error| Trouble::NoSocket(error.to_string()));
    }
}

fn tell(
    interfaces: &BTreeMap<InterfaceName, Interface>,
    trouble: Option<&Trouble>,
    found: &watch::Sender<Found>,
) {
    let router = |Interface { seen, discovery }: &Interface| match (seen, discovery.router(), trouble) {
        (Err(trouble), ..) | (Ok(_), None, Some(trouble)) => Err(trouble.clone()),
        (Ok(_), None, None) => Err(Trouble::Silent),
        (Ok(interface), Some(address), _) => Ok(Router { address, interface: *interface }),
    };
    let now: Found = interfaces.iter().map(|(name, it)| (name.clone(), router(it))).collect();
    found.send_if_modified(|found| {
        if *found == now {
            return false;
        }
        for (interface, router) in &now {
            let before = found.get(interface);
            match router {
                _ if before == Some(router) => {}
                Ok(Router { address, .. }) => info!(%interface, router = %address, "router found"),
                Err(reason) if before.is_some_and(Result::is_ok) => {
                    warn!(%interface, %reason, "router lost");
                }
                Err(reason) => debug!(%interface, %reason, "no router"),
            }
        }
        *found = now;
        true
    });
}

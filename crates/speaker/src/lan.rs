//! The LAN side: makes the announcements of this node true on its interfaces.
//!
//! ```text
//!               Wanted             Orders
//!   cluster --------------> Lan ------------> Interface, one for each protocol on each interface,
//!      ^                    |  ^                 |  ^    with a layer2::Port inside
//!      |                    |  |                 |  |
//!      |                    |  netlink           |  packet socket, memberships of groups
//!      |       Report       |                    |
//!      +--------------------+--------------------+
//! ```
//!
//! What goes down is state, each time as a whole (`watch`: whoever reads late skips what was overtaken);
//! what goes up are changes, of which none may be lost (a bounded queue).
//!
//! An interface that goes down, is deleted, enslaved, renamed or changes its address ends its tasks; one that
//! comes (back) gets new ones, which announce everything afresh: the LAN may have learned other things in the
//! meantime. What happens to one protocol, such as a new link-local address, does not touch the other.

mod follower;
mod interface;
mod links;
mod memberships;
mod report;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use follower::Follower;
use interface::Orders;
use layer2::{Arp, Begin, MacAddr, Ndp, Order, Protocol, Voice};
pub use links::{BadPattern, ExcludeInterfaces, Unfit};
use links::{Link, Links};
use placement::{Announcement, History, InterfaceName};
pub use report::{Conflict, Interface, Report, Wanted};
use socket::Listen;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, error, info};

use crate::Metrics;

/// Between attempts to talk to netlink.
const RETRY: Duration = Duration::from_secs(1);

/// Makes sure that this program may use packet sockets. One that may not would be elected, and then keep
/// silent.
///
/// Without root, the program's file brings the capability along but leaves it to the program to switch it
/// on, for one thread: to be called before there are others.
pub fn claim_packet_sockets() -> anyhow::Result<()> {
    // Where this fails the socket tells, and says so better.
    _ = caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW);
    socket::PacketSocket::unbound().map(drop).context(
        "opening a packet socket: the speaker needs the capability NET_RAW. Where it is granted and this \
         comes all the same, the image store dropped the mark on the program's file: run it as root, with \
         NET_RAW as its only capability",
    )
}

/// How the LAN side is to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Interfaces that are never announced on.
    pub exclude: ExcludeInterfaces,
    /// How often each address is announced while nothing changes, lest switches forget it; `None` for never.
    pub refresh_interval: Option<Duration>,
}

/// How many reports may wait to be read. When there are more, the LAN side waits too: each tells a change,
/// so none may be lost. Whoever reads them never waits for the LAN side, so nobody waits for ever.
pub const REPORTS: usize = 1024;

/// Does on the LAN what `wanted` says, for ever, and reports on it.
pub async fn run(
    options: Options,
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
) {
    let mut lan = Lan { options, wanted, reports, metrics, links: Links::new(), running: BTreeMap::new() };
    loop {
        match lan.follow().await {
            Ok(()) => return,
            Err(error) => {
                error!(error = format!("{error:#}"), "cannot follow the interfaces, trying again");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

struct Lan {
    options: Options,
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
    /// What was seen last.
    links: Links,
    running: BTreeMap<Place, Running>,
}

/// Where an address can be announced, and how. When any of that changes, it is another place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    index: u32,
    name: InterfaceName,
    station: Station,
}

/// Who speaks there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Station {
    Arp(Arp),
    Ndp(Ndp),
}

/// The task of a place, for as long as this lives.
struct Running {
    orders: watch::Sender<Orders>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lan {
    /// Follows the interfaces and what is wanted, until nobody wants anything any more.
    async fn follow(&mut self) -> anyhow::Result<()> {
        let mut follower = Follower::new(self.options.exclude.clone())?;
        loop {
            let mut next = pin!(follower.next());
            let links = loop {
                tokio::select! {
                    links = &mut next => break links?,
                    changed = self.wanted.changed() => match changed {
                        Ok(()) => self.give_orders(),
                        Err(_) => return Ok(()),
                    },
                }
            };
            self.update(links).await;
        }
    }

    /// Starts and stops what the interfaces make possible.
    async fn update(&mut self, links: Links) {
        if self.links == links {
            return;
        }
        let places: BTreeSet<Place> = links.iter().flat_map(|(index, link)| places(*index, link)).collect();
        self.running.retain(|place, _| {
            let stays = places.contains(place);
            if !stays {
                info!(interface = %place.name, protocol = place.station.name(), "no longer announced on");
            }
            stays
        });
        for place in places {
            if !self.running.contains_key(&place) {
                let (protocol, mac) = (place.station.name(), place.station.mac());
                info!(interface = %place.name, protocol, %mac, "announced on");
                let running = self.start(place.clone());
                self.running.insert(place, running);
            }
        }
        for (index, link) in &links {
            if self.links.get(index) != Some(link) {
                let Link { name, mac: _, arp, ndp } = link;
                debug!(interface = %name, ?arp, ?ndp, "interface seen");
            }
        }
        for protocol in [ARP, NDP] {
            let count = self.running.keys().filter(|place| place.station.name() == protocol).count();
            self.metrics.interfaces(protocol, count);
        }
        self.links = links;
        self.give_orders();
        // Nobody wants to know when this fails.
        _ = self.reports.send(Report::Interfaces(self.links.values().map(Link::report).collect())).await;
    }

    /// Tells each place what to do there, unless it knows.
    fn give_orders(&mut self) {
        let wanted = self.wanted.borrow_and_update();
        let mut friends = wanted.fellows.clone();
        friends.known.extend(self.links.values().filter_map(|link| link.mac));
        let friends = Arc::new(friends);
        let vips: Vec<_> = self.running.keys().map(|place| place.orders(&wanted)).collect();
        let in_all = vips.iter().map(BTreeMap::len).sum();
        for ((place, running), vips) in self.running.iter().zip(vips) {
            let refresh_gap = layer2::refresh_gap(vips.len(), in_all);
            let silent = wanted.silent.as_ref().is_some_and(|silent| silent.contains(&place.name));
            let voice = if silent { Voice::Silent } else { wanted.voice };
            let orders = Orders { vips, friends: Arc::clone(&friends), refresh_gap, voice };
            running.orders.send_if_modified(|current| {
                let different = *current != orders;
                *current = orders;
                different
            });
        }
    }

    fn start(&self, place: Place) -> Running {
        let (sender, orders) = watch::channel(Orders::default());
        let task = match place.station {
            Station::Arp(arp) => tokio::spawn(self.interface(place, arp, Listen::Arp, orders).run()),
            Station::Ndp(ndp) => tokio::spawn(self.interface(place, ndp, Listen::Ndp, orders).run()),
        };
        Running { orders: sender, task: task.abort_handle() }
    }

    fn interface<P>(
        &self,
        place: Place,
        protocol: P,
        listen: Listen,
        orders: watch::Receiver<Orders>,
    ) -> interface::Interface<P> {
        interface::Interface {
            index: place.index,
            name: place.name,
            protocol,
            listen,
            refresh_interval: self.options.refresh_interval,
            orders,
            reports: self.reports.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

fn places(index: u32, link: &Link) -> impl Iterator<Item = Place> {
    let stations = [link.arp.ok().map(Station::Arp), link.ndp.ok().map(Station::Ndp)];
    let name = link.name.clone();
    stations.into_iter().flatten().map(move |station| Place { index, name: name.clone(), station })
}

impl Place {
    /// What of `wanted` is to be done here.
    fn orders(&self, wanted: &Wanted) -> BTreeMap<IpAddr, Order> {
        let here = wanted.announcements.iter().filter(|(vip, announcement)| {
            self.station.speaks_for(**vip) && announcement.interfaces.contains(&self.name)
        });
        let order = |(vip, announcement): (&IpAddr, &Announcement)| {
            let begin = match announcement.history {
                History::New => Begin::Probe,
                History::Announced => Begin::Announce,
                History::Lent => Begin::Answer,
            };
            (*vip, Order { takeover: announcement.takeover.0, begin })
        };
        here.map(order).collect()
    }
}

const ARP: &str = "arp";
const NDP: &str = "ndp";

impl Station {
    fn name(self) -> &'static str {
        match self {
            Self::Arp(_) => ARP,
            Self::Ndp(_) => NDP,
        }
    }

    fn mac(self) -> MacAddr {
        match self {
            Self::Arp(arp) => arp.mac,
            Self::Ndp(ndp) => ndp.mac,
        }
    }

    fn speaks_for(self, vip: IpAddr) -> bool {
        match self {
            Self::Arp(_) => Arp::own(vip).is_some(),
            Self::Ndp(_) => Ndp::own(vip).is_some(),
        }
    }
}

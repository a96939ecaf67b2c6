//! The LAN side: makes the announcements of this node true on its interfaces.
//!
//! ```text
//!               Ports              Orders
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
//! The core decides which ports there are and what to do at each: an interface that goes down, is deleted, enslaved,
//! renamed or changes its address is no port any more, and one that comes (back) another, where everything is announced
//! afresh. What happens to one protocol, such as a new link-local address, does not touch the other.

mod addresses;
mod closing;
mod dhcp;
mod follower;
mod inquiries;
mod interface;
mod links;
mod memberships;
mod patterns;
mod pulse;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
pub(crate) use closing::ClosedLater;
use follower::Follower;
use inquiries::Inquiry;
use interface::Failure;
use kubekit::http::trace::TraceQuestion;
use kubekit::{Progress, Watchdog};
pub use patterns::{BadPattern, InterfacePatterns};
use placement::{InterfaceName, NodeName};
use pulse::Pulse;
use socket::{Listen, PacketSocket, Reception};
use speaker_core::announce::layer2::{Orders, PortId, Ports, Responder};
use speaker_core::{Link, Links, Unfit};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, error, info};

use crate::{Metrics, packet_socket};

/// How often the metrics of addresses and interfaces that are gone are dropped.
const TIDY: Duration = Duration::from_secs(10);
/// Between attempts to talk to netlink, and to open a socket.
const RETRY: Duration = Duration::from_secs(1);

/// Makes sure that this program may use packet sockets. One that may not would be elected, and then keep
/// silent.
///
/// Without root, the program's file brings the capability along but leaves it to the program to switch it
/// on, for one thread: to be called before there are others.
pub fn claim_packet_sockets() -> anyhow::Result<()> {
    // Where this fails the socket tells, and says so better.
    _ = caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW);
    packet_socket::unbound().map(drop).context(
        "opening a packet socket: the speaker needs the capability NET_RAW. Where it is granted and this \
         comes all the same, the image store dropped the mark on the program's file: run it as root, with \
         NET_RAW as its only capability",
    )
}

/// How the LAN side is to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Interfaces that are never announced on.
    pub exclude: InterfacePatterns,
    /// Interfaces that are told to receive what is sent to others as well. The chips of some drop broadcasts and multicasts
    /// else that they take to be for others, most wireless ones of single-board computers among them.
    pub promiscuous: InterfacePatterns,
    /// How often each address is announced while nothing changes, lest switches forget it; `None` for never.
    pub refresh_interval: Option<Duration>,
    /// Watches the tasks.
    pub watchdog: Watchdog,
}

/// How many reports may wait to be read. When there are more, the LAN side waits too: each tells a change,
/// so none may be lost. Whoever reads them never waits for the LAN side, so nobody waits for ever.
pub const REPORTS: usize = 1024;

/// What the LAN side has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The interfaces of this node as they are now: the first report, and again when something changed.
    Interfaces(Links),
    /// Whether the interfaces can be followed; if not, the last report of them stands. Told when it changes.
    Follows(bool),
    /// What a port on an interface says.
    Port(InterfaceName, layer2::Report),
}

/// Who wants to know who answers for addresses on the LAN, and by which name this node answers.
#[derive(Debug)]
pub struct Inquirers {
    /// This node.
    pub node: NodeName,
    /// What they want to know.
    pub questions: mpsc::Receiver<TraceQuestion>,
}

/// Does on the LAN what `ports` says, for ever, and reports on it.
pub async fn run(
    options: Options,
    ports: watch::Receiver<Ports>,
    reports: mpsc::Sender<Report>,
    inquirers: Inquirers,
    metrics: Metrics,
) {
    let pulse = Arc::new(Pulse::new(Instant::now()));
    let beating = Arc::clone(&pulse);
    let _ends_with_this = Task(tokio::spawn(async move { beating.run().await }).abort_handle());
    let progress = options.watchdog.task("interfaces");
    let mut tidy = interval(TIDY);
    tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (failed, failures) = mpsc::channel(1);
    let mut lan = Lan {
        options,
        ports,
        reports,
        inquirers,
        metrics,
        pulse,
        tidy,
        retry: interval(RETRY),
        seen: None,
        links: None,
        follows: true,
        running: BTreeMap::new(),
        failed,
        failures,
        broken: BTreeSet::new(),
    };
    lan.retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match lan.follow(&progress).await {
            Ok(()) => return,
            Err(error) => {
                error!(error = format!("{error:#}"), "cannot follow the interfaces, trying again");
                lan.set_follows(false).await;
            }
        }
        progress.mark();
        tokio::time::sleep(RETRY).await;
    }
}

struct Lan {
    options: Options,
    ports: watch::Receiver<Ports>,
    reports: mpsc::Sender<Report>,
    inquirers: Inquirers,
    metrics: Metrics,
    pulse: Arc<Pulse>,
    tidy: Interval,
    retry: Interval,
    /// What was seen last, and what was told of it.
    seen: Option<Links>,
    links: Option<Links>,
    follows: bool,
    running: BTreeMap<PortId, Running>,
    /// Where no socket can be had.
    failed: mpsc::Sender<Failure>,
    failures: mpsc::Receiver<Failure>,
    broken: BTreeSet<Failure>,
}

/// The task of a port, for as long as this lives.
struct Running {
    orders: watch::Sender<Arc<Orders>>,
    inquiries: mpsc::Sender<Inquiry>,
    _task: Task,
}

/// A task that ends with this.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Lan {
    /// Follows the interfaces and what is wanted, until nobody wants anything any more.
    async fn follow(&mut self, progress: &Progress) -> anyhow::Result<()> {
        let mut follower = Follower::start(self.options.exclude.clone())?;
        loop {
            tokio::select! {
                links = follower.next() => {
                    self.seen = Some(links?);
                    self.set_follows(true).await;
                    self.report().await;
                }
                Some(failure) = self.failures.recv() => {
                    self.broken.insert(failure);
                    self.report().await;
                }
                _ = self.retry.tick(), if !self.broken.is_empty() => {
                    self.broken.retain(|it| PacketSocket::open(it.index, it.listen, it.reception).is_err());
                    self.report().await;
                }
                changed = self.ports.changed() => match changed {
                    Ok(()) => self.give_orders(),
                    Err(_) => return Ok(()),
                },
                Some(question) = self.inquirers.questions.recv() => {
                    inquiries::inquire(question, self.inquirers.node.to_string(), &self.running);
                }
                _ = self.tidy.tick() => self.tidy_metrics(),
                () = progress.beat() => {}
            }
        }
    }

    async fn set_follows(&mut self, follows: bool) {
        if std::mem::replace(&mut self.follows, follows) != follows {
            _ = self.reports.send(Report::Follows(follows)).await;
        }
    }

    /// What was seen is told, but nothing is announced where no socket can be had: others may be able to.
    async fn report(&mut self) {
        let Some(mut links) = self.seen.clone() else { return };
        self.broken.retain(|it| links.contains_key(&it.index));
        for Failure { index, listen, reception: _ } in &self.broken {
            let Some(link) = links.get_mut(index) else { continue };
            match listen {
                Listen::Arp => link.arp = link.arp.and(Err(Unfit::NoSocket)),
                Listen::Ndp => link.ndp = link.ndp.and(Err(Unfit::NoSocket)),
            }
        }
        let before = self.links.as_ref();
        if before == Some(&links) {
            return;
        }
        for (index, link) in &links {
            if before.and_then(|before| before.get(index)) != Some(link) {
                let Link { name, purpose: _, mac: _, arp, ndp, lan: _ } = link;
                debug!(interface = %name, ?arp, ?ndp, "interface seen");
            }
        }
        self.links = Some(links.clone());
        // Nobody wants to know when this fails.
        _ = self.reports.send(Report::Interfaces(links)).await;
    }

    /// Starts and stops ports, and tells each what to do, unless it knows.
    fn give_orders(&mut self) {
        let ports = self.ports.borrow_and_update().clone();
        self.running.retain(|port, _| {
            let stays = ports.contains_key(port);
            if !stays {
                info!(interface = %port.name, protocol = port.responder.name(), "responder stopped");
            }
            stays
        });
        for (port, orders) in ports {
            if let Some(running) = self.running.get(&port) {
                kubekit::send_if_new(&running.orders, orders);
            } else {
                let (protocol, mac) = (port.responder.name(), port.responder.mac());
                info!(interface = %port.name, protocol, %mac, "responder started");
                let running = self.start(port.clone(), orders);
                self.running.insert(port, running);
            }
        }
        for protocol in ["arp", "ndp"] {
            let count = self.running.keys().filter(|port| port.responder.name() == protocol).count();
            self.metrics.interfaces(protocol, count);
        }
    }

    fn tidy_metrics(&self) {
        let vips: BTreeSet<_> =
            self.ports.borrow().values().flat_map(|orders| orders.vips.keys().copied()).collect();
        self.metrics.keep(&vips, &self.running.keys().map(|port| port.name.clone()).collect());
    }

    fn start(&self, port: PortId, orders: Arc<Orders>) -> Running {
        let (sender, orders) = watch::channel(orders);
        let (inquiries, to_ask) = mpsc::channel(inquiries::WAITING);
        let told = (orders, to_ask);
        let task = match port.responder {
            Responder::Arp(arp) => tokio::spawn(self.interface(port, arp, Listen::Arp, told).run()),
            Responder::Ndp(ndp) => tokio::spawn(self.interface(port, ndp, Listen::Ndp, told).run()),
        };
        Running { orders: sender, inquiries, _task: Task(task.abort_handle()) }
    }

    fn interface<P>(
        &self,
        port: PortId,
        protocol: P,
        listen: Listen,
        (orders, inquiries): (watch::Receiver<Arc<Orders>>, mpsc::Receiver<Inquiry>),
    ) -> interface::Interface<P> {
        let progress = self.options.watchdog.task(format!("{} on {}", port.responder.name(), port.name));
        let is_promiscuous = self.options.promiscuous.contains(port.name.as_str());
        let reception = if is_promiscuous { Reception::Promiscuous } else { Reception::Own };
        interface::Interface {
            index: port.index,
            name: port.name,
            protocol,
            listen,
            reception,
            refresh_interval: self.options.refresh_interval,
            orders,
            inquiries,
            reports: self.reports.clone(),
            failures: self.failed.clone(),
            metrics: self.metrics.clone(),
            pulse: Arc::clone(&self.pulse),
            progress,
        }
    }
}

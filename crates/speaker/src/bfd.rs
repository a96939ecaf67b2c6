//! BFD: whether packets get through to routers and back, found out within milliseconds, on a thread of its own.
//!
//! ```text
//!               Order: which sessions                      control packets, UDP 3784 and 4784; echo packets, 3785
//!   bgp::run ---------------------------> Driver, a thread <---------------------------------> routers
//!   bgp::Peer <-------------------------   with a bfd::session::Session for each peer
//!               Statuses: how each is doing
//! ```
//!
//! Both ways state is told, each time as a whole (`watch`: whoever reads late skips what was overtaken). Nothing else runs on
//! the thread: what takes a while, such as an UPDATE for thousands of prefixes, makes no packet of BFD late. It asks the kernel
//! for short turns, which on a busy node it then gets sooner.
//!
//! There is no thread, and no port is taken, as long as nobody wants a session.

mod driver;
mod filter;
mod handover;
mod listener;
mod metrics;
mod peer;
mod route;
mod sender;
mod tap;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use bfd::config::Profile;
use bfd::packet::{Diagnostic, State};
pub(crate) use handover::{Incoming, ListenerForm, Outgoing, SessionForm};
pub use metrics::BfdMetrics;
use nix::sys::eventfd::{EfdFlags, EventFd};
use objects::InterfaceName;
use tokio::sync::{oneshot, watch};
use tracing::error;

/// The way to a peer. There is one session on each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The peer.
    pub peer: IpAddr,
    /// Where packets come from, of the same family; where the kernel has them come from otherwise.
    pub source: Option<IpAddr>,
    /// The interface that the peer is behind, where that has to be said: with link-local addresses.
    pub interface: Option<InterfaceName>,
    /// The VRF device that leads to the peer.
    pub vrf: Option<InterfaceName>,
}

/// A session that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How it works.
    pub profile: Profile,
    /// How far the peer is.
    pub distance: Distance,
}

/// How far a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// On a network of this node.
    OneHop,
    /// Behind routers.
    ManyHops,
    /// On a network of this node if its address is in one; behind routers otherwise.
    ByAddress,
}

/// Which sessions there are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Order {
    /// These, and no others.
    Sessions(BTreeMap<Way, Wanted>),
    /// None any more.
    End(Ending),
}

/// How all sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Each peer is told that there is to be no session.
    AdminDown,
    /// Nobody is told anything. Peers that keep routes for a restart would drop them if they were.
    Silent,
}

/// How each session is doing.
pub type Statuses = BTreeMap<Way, Status>;

/// How a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Why it was last down.
    pub diagnostic: Diagnostic,
    /// The address of this end, where one is known.
    pub local: Option<IpAddr>,
    /// The UDP port that its packets arrive at, where this node does not let it be listened on.
    pub refused_port: Option<u16>,
    /// How often packets ceased to get through that did: nobody who reads late misses one.
    pub failures: u64,
}

/// All sessions of BFD.
pub struct Bfd {
    orders: watch::Sender<Order>,
    statuses: watch::Sender<Statuses>,
    metrics: BfdMetrics,
    /// Until there is a thread.
    taken_over: Incoming,
    thread: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    wake: Arc<EventFd>,
    /// One question at a time: whoever asks waits for the answer.
    questions: SyncSender<oneshot::Sender<Outgoing>>,
    /// Closed when it has ended.
    ended: oneshot::Receiver<()>,
}

impl Bfd {
    /// There is no session yet.
    pub fn new(metrics: BfdMetrics) -> Self {
        Self::resume(Incoming::default(), metrics)
    }

    /// There are these, of another process, if they are among the first that are wanted.
    pub(crate) fn resume(taken_over: Incoming, metrics: BfdMetrics) -> Self {
        Self {
            orders: watch::Sender::new(Order::Sessions(BTreeMap::new())),
            statuses: watch::Sender::default(),
            metrics,
            taken_over,
            thread: None,
        }
    }

    /// How each session is doing.
    pub fn statuses(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// These sessions are wanted, and no others. What is changed of one is told to its peer, and it goes on.
    pub fn want(&mut self, sessions: BTreeMap<Way, Wanted>) {
        let is_wanted = !sessions.is_empty();
        let is_new = kubekit::send_if_new(&self.orders, Order::Sessions(sessions));
        if self.thread.is_none() && is_wanted {
            match self.start() {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => error!(%error, "BFD has no thread"),
            }
        } else if is_new {
            self.wake();
        }
    }

    /// Ends them all, and waits until that is done.
    pub async fn end(self, ending: Ending) {
        self.orders.send_replace(Order::End(ending));
        self.wake();
        if let Some(thread) = self.thread {
            // An error is what says that it has ended.
            _ = thread.ended.await;
        }
    }

    /// All sessions that are up, for another process to go on with. They go on here until they are ended.
    pub(crate) async fn handed_over(&self) -> Outgoing {
        let Some(thread) = &self.thread else { return Outgoing::default() };
        let (asked, answer) = oneshot::channel();
        if thread.questions.try_send(asked).is_err() {
            return Outgoing::default();
        }
        self.wake();
        answer.await.unwrap_or_default()
    }

    fn start(&mut self) -> io::Result<Thread> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_value_and_flags(0, flags)?);
        let (ends, ended) = oneshot::channel();
        let (questions, asked) = sync_channel(1);
        let driver = driver::Driver::new(
            self.orders.subscribe(),
            Arc::clone(&wake),
            self.statuses.clone(),
            self.metrics.clone(),
            std::mem::take(&mut self.taken_over),
            asked,
        );
        std::thread::Builder::new().name("bfd".to_owned()).spawn(move || {
            driver.run();
            drop(ends);
        })?;
        Ok(Thread { wake, questions, ended })
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            // It fails where nobody has looked 2^64 times.
            _ = thread.wake.write(1);
        }
    }
}

/// In logs, as short as it can be understood.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.fmt(f)?;
        self.interface.iter().try_for_each(|interface| write!(f, "%{interface}"))?;
        self.vrf.iter().try_for_each(|vrf| write!(f, " in VRF {vrf}"))
    }
}

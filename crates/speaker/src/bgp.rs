//! The routers' side: holds the sessions that are wanted, and announces in each what is wanted there.
//!
//! ```text
//!            Wanted              Peering
//!   core ------------> run ------------------> Peer, one for each router, with a bgp::session::Session inside
//!     ^                                          |  ^
//!     |              Statuses                    |  TCP connection
//!     +------------------------------------------+
//! ```
//!
//! Beside sessions that ask for it there are those of [`crate::bfd`], and they end when these fail. Routers that are known by an
//! interface only are found by the task in `discovery`.
//!
//! Both ways state is told, each time as a whole (`watch`: whoever reads late skips what was overtaken), so nobody waits for
//! a router that is slow. Routes are shared by all sessions in which they are the same, and compared with what was wanted before
//! where they are not the same in memory.

mod attempts;
mod beside;
mod connect;
mod discovery;
mod handover;
mod metrics;
mod next_hop;
mod peer;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use beside::Beside;
pub use beside::BfdStatus;
use bgp::config::{RestartTime, SessionConfig};
use bgp::route::Routes;
use bgp::session::{Farewell, Past, State};
use discovery::{Found, Routers, Whereabouts};
pub use handover::{Incoming, Request};
pub(crate) use handover::{Outgoing, SessionForm, Taken};
pub use metrics::BgpMetrics;
use objects::BgpPeerName;
use peer::{Answers, Order, Peer, Surroundings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::bfd::{self, Bfd, Ending};

/// What there is to be.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// These sessions, and no others. Sessions that are left out are ended.
    Sessions(BTreeMap<BgpPeerName, Peering>),
    /// None any more: each ends like this, and then everything does.
    Nothing(Farewell),
}

impl Default for Wanted {
    fn default() -> Self {
        Self::Sessions(BTreeMap::new())
    }
}

/// A session, and what is announced in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Peering {
    /// The session.
    pub config: Arc<SessionConfig>,
    /// Every route that there is.
    pub routes: Arc<Routes>,
}

/// How each session is doing.
pub type Statuses = BTreeMap<BgpPeerName, Status>;

/// How a session is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: State,
    /// How it came to this, in a few words.
    pub why: String,
    /// The address of this end, as long as there is a connection.
    pub local: Option<IpAddr>,
    /// What the peer of an established session is not told, and why, in words.
    pub held_back: Vec<String>,
    /// How many prefixes the peer was told of.
    pub announced: usize,
    /// Where the peer is, like `192.0.2.1:179`.
    pub address: String,
    /// The BFD session beside it, where one is wanted.
    pub bfd: Option<BfdStatus>,
}

/// How long sessions may take to end: longer than it takes to leave by [`Farewell::Leave`].
const FAREWELL: Duration = Duration::from_secs(4);

/// What was before this process. It can't know whether there was another, but a router keeps routes for that long only: where
/// the node has been up for longer, it has forwarded ever since the router last heard of it.
pub(crate) fn past() -> Past {
    let uptime = std::fs::read_to_string("/proc/uptime").ok();
    let seconds = uptime.and_then(|text| text.split('.').next()?.parse().ok());
    let up: u64 = seconds.unwrap_or_default();
    if up > RestartTime::default().seconds().into() { Past::Restarted } else { Past::Fresh }
}

/// For how long sessions may take to say as what another process can go on with them: none has to wait for anything.
const STAND_STILL: Duration = Duration::from_millis(500);

/// Does what is wanted, until nothing is wanted any more, and tells how each session is doing. Every session begins as `past`
/// says.
pub async fn run(
    wanted: watch::Receiver<Wanted>,
    past: Past,
    statuses: watch::Sender<Statuses>,
    metrics: BgpMetrics,
) {
    let (_nobody, requests) = mpsc::channel(1);
    run_from(Incoming::default(), requests, wanted, past, statuses, metrics).await;
}

/// The same with sessions of another process, which go on as they are until it is said for the first time what is wanted. By a
/// request the sessions of this one go to another.
pub async fn run_from(
    incoming: Incoming,
    mut requests: mpsc::Receiver<Request>,
    mut wanted: watch::Receiver<Wanted>,
    past: Past,
    statuses: watch::Sender<Statuses>,
    metrics: BgpMetrics,
) {
    let began = Instant::now();
    let Incoming { sessions: taken_over, bfd: mut bfd_taken_over } = incoming;
    // The router may have ended the others with their BGP sessions: the new ones are not to end when that is found.
    let ways = taken_over.iter().filter_map(|it| beside::wanted(it.session.config(), it.router));
    bfd_taken_over.keep(&ways.map(|(way, _)| way).collect());
    let mut running: BTreeMap<BgpPeerName, watch::Sender<Order>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut bfd = Bfd::resume(bfd_taken_over, metrics.bfd.clone());
    let known = taken_over
        .iter()
        .filter_map(|it| Some((discovery::interface(it.session.config())?.clone(), it.router?)));
    let mut routers = Routers::new(known.collect());
    let mut found = routers.found();
    let mut now = if taken_over.is_empty() {
        wanted.borrow_and_update().clone()
    } else {
        Wanted::Sessions(taken_over.iter().map(peering).collect())
    };
    let mut taken_over: BTreeMap<BgpPeerName, handover::Resumed> =
        taken_over.into_iter().map(|it| (it.session.config().name.clone(), it)).collect();
    let farewell = loop {
        let sessions = match now {
            Wanted::Sessions(sessions) => sessions,
            Wanted::Nothing(farewell) => break farewell,
        };
        running.retain(|name, order| {
            let stays = sessions.contains_key(name);
            if !stays {
                order.send_replace(Order::End(Farewell::Cease));
            }
            stays
        });
        let configs: Vec<Arc<SessionConfig>> = sessions.values().map(|it| Arc::clone(&it.config)).collect();
        routers.want(configs.iter().filter_map(|it| discovery::interface(it).cloned()).collect());
        bfd.want(besides(&configs, &found.borrow_and_update()));
        for (name, peering) in &sessions {
            let order = Order::Hold(peering.clone());
            if let Some(running) = running.get(name) {
                kubekit::send_if_new(running, order);
                continue;
            }
            let (sender, orders) = watch::channel(order);
            let surroundings = Surroundings {
                beside: Beside::new(bfd.statuses()),
                whereabouts: Whereabouts::new(routers.found(), &peering.config),
                statuses: statuses.clone(),
                began,
                metrics: metrics.clone(),
            };
            let peer = match taken_over.remove(name) {
                Some(resumed) => {
                    info!(peer = %name, "BGP session goes on from the speaker before");
                    metrics.taken_over();
                    Peer::resume(resumed, orders, surroundings)
                }
                None => Peer::new(peering.clone(), orders, past, surroundings),
            };
            tasks.spawn(peer.run());
            running.insert(name.clone(), sender);
        }
        loop {
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_ok() {
                        break;
                    }
                    return;
                }
                Some(Request { sessions: reply, taken }) = requests.recv() => {
                    _ = reply.send(hand_over(&running, &bfd).await);
                    if let Ok(Taken) = taken.await {
                        vanish(&running, tasks, bfd).await;
                        return;
                    }
                    for (name, peering) in &sessions {
                        let order = Order::Hold(peering.clone());
                        running.get(name).into_iter().for_each(|it| _ = it.send_replace(order.clone()));
                    }
                }
                Ok(()) = found.changed() => bfd.want(besides(&configs, &found.borrow_and_update())),
                // A session that was ended.
                Some(_) = tasks.join_next() => {}
            }
        }
        now = wanted.borrow_and_update().clone();
    };
    for order in running.values() {
        order.send_replace(Order::End(farewell));
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, all).await.is_err() {
        warn!("some BGP sessions could not be ended in time");
    }
    // Not before: to a peer that is told first that there is to be no BFD, no session was ended for a restart.
    bfd.end(match farewell {
        Farewell::Leave | Farewell::Cease => Ending::AdminDown,
        Farewell::Silent => Ending::Silent,
    })
    .await;
}

/// A session of another process, as it was there.
fn peering(resumed: &handover::Resumed) -> (BgpPeerName, Peering) {
    let config = resumed.session.config().clone();
    let routes = Arc::clone(resumed.session.rib().routes());
    (config.name.clone(), Peering { config: Arc::new(config), routes })
}

/// Has all sessions stand still, but for those of BFD, which are missed after milliseconds, and says as what another process can
/// go on with them.
async fn hand_over(running: &BTreeMap<BgpPeerName, watch::Sender<Order>>, bfd: &Bfd) -> Outgoing {
    let (sender, mut answers) = mpsc::channel(running.len().max(1));
    for order in running.values() {
        order.send_replace(Order::StandStill(Answers(sender.clone())));
    }
    let mut sessions = Vec::new();
    let all = async {
        for _ in running {
            sessions.extend(answers.recv().await.flatten());
        }
    };
    if tokio::time::timeout(STAND_STILL, all).await.is_err() {
        warn!("some BGP sessions do not say how they are, and end");
    }
    Outgoing { sessions, bfd: bfd.handed_over().await }
}

/// Everything ends here without a word.
async fn vanish(running: &BTreeMap<BgpPeerName, watch::Sender<Order>>, mut tasks: JoinSet<()>, bfd: Bfd) {
    for order in running.values() {
        order.send_replace(Order::Vanish);
    }
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(STAND_STILL, all).await.is_err() {
        tasks.shutdown().await;
    }
    bfd.end(Ending::Silent).await;
}

/// The BFD sessions beside BGP sessions. Of two on one way, the first in order of names.
fn besides(configs: &[Arc<SessionConfig>], found: &Found) -> BTreeMap<bfd::Way, bfd::Wanted> {
    let router = |config| found.get(discovery::interface(config)?)?.as_ref().ok().copied();
    configs.iter().rev().filter_map(|config| beside::wanted(config, router(config))).collect()
}

/// A peer as metrics and logs name it, by where it is: `192.0.2.1:179`, or `eth0:179`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PeerAddress(String);

impl PeerAddress {
    fn of(config: &SessionConfig) -> Self {
        Self(match config.transport.peer() {
            Some(address @ IpAddr::V6(_)) => format!("[{address}]:{}", config.port),
            Some(address @ IpAddr::V4(_)) => format!("{address}:{}", config.port),
            None => format!("{}:{}", config.transport, config.port),
        })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

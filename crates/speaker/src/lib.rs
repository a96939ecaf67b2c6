//! The speaker: makes the addresses of Services reachable on the LAN, one of these on every node.
//!
//! ```text
//! API server --> cluster: translates, and asks the core what to do <-- gossip: who is alive
//!                   |  ^
//!                   |  | interfaces, and what ports report
//!                   v  |
//! netlink -----> lan: one task for each port, with layer2 and a packet socket
//!
//! cluster -----> mdns: one task for each interface, with mdns::Responder and its sockets
//!
//! cluster -----> bgp: one task for each router, with a session and a TCP connection
//! ```
//!
//! Decisions are made in the pure crate [`speaker_core`], with `members` and [`layer2`]; here are the watches, the sockets
//! and the tasks that connect them. When the API server is away, what was last known stays in force.

mod address;
pub mod bfd;
pub mod bgp;
mod cluster;
mod configuration;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod handover;
mod ipvs;
mod kernel;
mod kube_proxy;
pub mod lan;
mod listening;
pub mod mdns;
mod metrics;
mod objects;
mod packet_socket;
mod secrets;
mod status;
mod watches;

use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use self::objects::LoadBalancerClass;
use ::bgp::session::Farewell;
use anyhow::Context;
use api::ConfigurationStateStatus;
use bgp::BgpMetrics;
use cluster::{Cluster, Outputs, RouterOutputs};
pub use coexistence::BesideMetalLb;
use coexistence::{Conflicts, Of, WAITING_FOR};
use futures::StreamExt;
use gossip::Absence;
pub use gossip::Preset as Failover;
use handover::Meeting;
use kube::Client;
use kubekit::events::Publisher;
use kubekit::http::status::Questions;
use kubekit::http::{self, Readiness};
use kubekit::write::Writes;
use kubekit::{Identity, Progress, Watchdog, keep, telemetry};
pub use lan::InterfacePatterns;
use mdns::MdnsMetrics;
pub use metrics::Metrics;
use placement::NodeName;
pub use placement::{ExcludeLabel, Failback, Spread};
use prometheus_client::registry::Registry;
use speaker_core::announce::layer2::Ports;
use speaker_core::{Gossip, List};
use status::Reported;
use status::routed::Routed;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};
use watches::Inputs;

/// What a speaker must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node it runs on.
    pub node_name: NodeName,
    /// Its namespace and Pod.
    pub identity: Identity,
    /// The class of the Services to announce; `None` for those that name none.
    pub lb_class: Option<String>,
    /// Where probes and metrics are served.
    pub http: http::Config,
    /// Interfaces that are never announced on.
    pub exclude_interfaces: InterfacePatterns,
    /// Interfaces that are to receive what is sent to others as well, see [`lan::Options::promiscuous`].
    pub promiscuous_interfaces: InterfacePatterns,
    /// How often each address is announced while nothing changes; `None` for never.
    pub refresh_interval: Option<Duration>,
    /// Whether nodes can be excluded by a label.
    pub exclude_label: ExcludeLabel,
    /// How nodes are ranked for an address that are preferred alike.
    pub spread: Spread,
    /// Whether addresses go back to nodes that come back.
    pub failback: Failback,
    /// Whether foreign hosts that answer for an address do not keep it from being announced, as where a router answers for
    /// all addresses (proxy ARP).
    pub ignore_conflicts: bool,
    /// Where the gossip among the speakers is spoken; `None` for the Pod's address, or without a Pod the node's
    /// `InternalIP` (all addresses if it has none), and [`GOSSIP_PORT`].
    /// All speakers use the same port.
    pub gossip_bind: Option<SocketAddr>,
    /// What the gossip is sealed with, see [`gossip::Config::key_files`].
    pub gossip_key_files: Vec<PathBuf>,
    /// How fast a dead peer is found.
    pub failover: Failover,
    /// Whether names of Services are answered for on the LAN.
    pub mdns: mdns::Names,
    /// Whether to report which ports programs on this node listen on.
    pub report_listeners: bool,
    /// What to do while MetalLB serves the same Services.
    pub beside_metallb: BesideMetalLb,
    /// Whether sessions with routers go from one Pod to the next.
    pub handover: Handover,
}

/// Whether sessions with routers go from the speaker of one Pod to that of the next on the same node, see [`handover`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handover {
    /// They end with the Pod: only one runs on a node at a time.
    Off,
    /// A speaker waits for the end of the one that runs on its node already.
    On,
}

/// The port of the gossip, which is that of MetalLB's.
pub const GOSSIP_PORT: u16 = 7946;

/// Within this we hear that our Pod is deleted, if kubelet was faster to stop us. Who has heard nothing by then leaves for good,
/// as a node does that is shut down without a cordon: routers that move their traffic and take it back a moment later lose
/// nothing, while those that keep routes to a node that is off lose all of it until BFD or the time of a restart runs out.
const NEWS: Duration = Duration::from_millis(250);
/// How long it may take to delete the last reports before the end.
const LAST_REPORTS: Duration = Duration::from_secs(1);

/// How often to look, while sessions of the speaker before go on, whether MetalLB is there.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take to say on the LAN that names are given up.
const LAST_NAMES: Duration = Duration::from_millis(200);

/// How a speaker takes its leave of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    /// The others take over.
    Goodbye,
    /// The others are about to go too, so an address that moved to one of them would cost connections for nothing.
    Silent,
}

/// Runs a speaker until it is asked to stop by SIGTERM or SIGINT; then it goes on until the others have taken over,
/// which takes some milliseconds, and some seconds when they do not answer. If a `DaemonSet` is about to replace its
/// Pod, they only stand in for it, so that nobody's connections move to another node and back. It also ends when a
/// speaker of MetalLB runs, and then at once.
///
/// Fails only when it cannot start: without a configuration of the cluster, with a key that cannot be used, or
/// when `http_bind` is taken. [`lan::claim_packet_sockets`] comes first. An API server that cannot be reached is
/// waited for. There is little to compute, so a runtime of one thread serves best.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = kubekit::client().await?;
    let metrics = AllMetrics::default();
    let mut routers = match config.handover {
        Handover::Off => Routers::start(bgp::Incoming::default(), &metrics.bgp),
        Handover::On => match Routers::succeed(&config, &metrics.bgp).await? {
            Some(routers) => routers,
            None => return Ok(()),
        },
    };
    let mut registry = Registry::default();
    metrics.speaker.register(&mut registry);
    metrics.gossip.register(&mut registry);
    metrics.bgp.register(&mut registry);
    metrics.mdns.register(&mut registry);
    let readiness = Readiness::waiting_for(List::ALL.map(List::name).into_iter().chain([WAITING_FOR]));
    let (stop, stopped) = oneshot::channel();
    let writes = Writes::default();
    writes.register(&mut registry);
    telemetry::register(&mut registry);
    let instance = config.identity.instance();
    let publisher = Publisher::start(client.clone(), "metallb-speaker", instance, writes.clone());
    publisher.register(&mut registry);
    let mut conflicts = Conflicts::watch(
        Of::Speakers,
        &client,
        &config.identity,
        config.lb_class.clone(),
        config.beside_metallb,
    );

    info!(node = %config.node_name, namespace = %config.identity.namespace, "speaker starts");
    let watchdog = Watchdog::default();
    let (status, questions) = http::status::channel();
    let (trace, traced) = http::trace::channel();
    let content = http::Content {
        readiness: readiness.clone(),
        watchdog: watchdog.clone(),
        metrics: registry,
        status,
        trace: Some(trace),
        namespace: config.identity.namespace.clone(),
    };
    let mut serving = pin!(http::serve(config.http.clone(), content));
    loop {
        let look_again = async {
            if routers.inherits {
                tokio::time::sleep(LOOK).await;
            } else {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = conflicts.wait_until_gone(&readiness, &publisher) => break,
            served = &mut serving => return served,
            asked = kubekit::stop_requested() => {
                routers.end(Farewell::Leave).await;
                return asked.context("waiting for signals");
            }
            // Whoever waits for the end of MetalLB has nothing to say to routers.
            () = look_again => if conflicts.is_one() {
                routers.end(Farewell::Silent).await;
                routers = Routers::start(bgp::Incoming::default(), &metrics.bgp);
            }
        }
    }
    let api = Api { client, publisher, writes };
    let inquirers = lan::Inquirers { node: config.node_name.clone(), questions: traced };
    let told = (readiness, watchdog, questions, inquirers);
    let mut work = pin!(work(config, api, told, metrics, routers, stopped));
    tokio::select! {
        done = &mut work => return done,
        served = &mut serving => return served,
        () = conflicts.wait_for_one() => {
            info!("MetalLB serves the same Services: what is started next waits");
            _ = stop.send(Parting::Silent);
        }
        asked = kubekit::stop_requested() => {
            asked.context("waiting for signals")?;
            _ = stop.send(Parting::Goodbye);
        }
    }
    info!("speaker stops");
    tokio::select! {
        done = work => done,
        served = serving => served,
    }
}

/// What a speaker talks to the API server with.
struct Api {
    client: Client,
    publisher: Publisher,
    writes: Writes,
}

/// What is counted, by who counts it.
#[derive(Default)]
struct AllMetrics {
    speaker: Metrics,
    gossip: gossip::Metrics,
    bgp: BgpMetrics,
    mdns: MdnsMetrics,
}

/// Connects the parts and runs them until it is asked to stop.
async fn work(
    config: Config,
    Api { client, publisher, writes }: Api,
    (readiness, watchdog, questions, inquirers): (Readiness, Watchdog, Questions, lan::Inquirers),
    AllMetrics { speaker: metrics, gossip: gossip_metrics, bgp: _, mdns: mdns_metrics }: AllMetrics,
    Routers {
        wanted: wanted_sessions,
        statuses: sessions_do,
        sessions: all_sessions,
        task: mut routers,
        inherits,
    }: Routers,
    parting: oneshot::Receiver<Parting>,
) -> anyhow::Result<()> {
    let (node, namespace) = (&config.node_name, &config.identity.namespace);
    let bind = match config.gossip_bind {
        Some(address) => address,
        None => SocketAddr::new(address::of_gossip(&client, &config.identity, node).await, GOSSIP_PORT),
    };
    let gossip_config = gossip::Config {
        name: node.clone(),
        bind,
        preset: config.failover,
        key_files: config.gossip_key_files.clone(),
        profile: gossip::Profile::default(),
    };
    let (gossip, news) = gossip::start(gossip_config, gossip_metrics)?;

    let (ports, on_lan) = watch::channel(Ports::default());
    let (reporter, reports) = mpsc::channel(lan::REPORTS);
    let (statuses, wanted_statuses) = keep::wanted();
    let (state, wanted_state) = keep::wanted();
    let (owner, now_owner) = watch::channel(None);
    let (left_over, to_remove) = mpsc::channel(1);
    let (removed, now_removed) = mpsc::channel(1);
    let (listed, now_listed) = watch::channel(address::Listed::default());
    let (listens, now_listening) =
        watch::channel(address::Listening { address: Some(bind), interface: None });
    let (absence, mut our_absence) = watch::channel(Some(Absence::Open));
    let (wanted_secrets, secrets_to_read) = watch::channel(BTreeSet::new());
    let (read_secrets, secrets) = mpsc::channel(secrets::NEWS);
    let (asked_proxy, to_ask) = watch::channel(kube_proxy::Asked::new());
    let (proxy_answers, proxy) = mpsc::channel(kube_proxy::ANSWERS);
    let (routed, wanted_routed) = keep::wanted();
    let (names, served) = watch::channel(mdns::Served::default());
    let (name_reporter, name_reports) = mpsc::channel(mdns::REPORTS);
    let (take_back, withdrawn) = oneshot::channel();
    let (stop, stop_requested) = oneshot::channel();
    let outputs = Outputs {
        ports,
        statuses: Some(statuses),
        left_over,
        state,
        owner,
        gossip: pass_on(gossip.clone()),
        listed,
        absence,
        publisher,
        names: (config.mdns == mdns::Names::Answered).then_some(names),
    };
    let to_routers = RouterOutputs {
        wanted: wanted_sessions.clone(),
        secrets: wanted_secrets,
        proxy: asked_proxy,
        statuses: Some(routed),
        inherits,
    };
    let inputs = Inputs {
        reports,
        gossip: news,
        trouble: gossip.trouble(),
        left_over: now_removed,
        address: now_listening,
        sessions: sessions_do,
        secrets,
        names: name_reports,
        proxy,
        listening: config.report_listeners.then(|| listening::follow().boxed()),
        stop: stop_requested,
    };

    let progress = watchdog.task("core");
    tokio::spawn(watch_gossip(gossip.clone(), watchdog.task("gossip")));
    let choice = address::Choice::new(bind, config.gossip_bind.is_some());
    tokio::spawn(address::follow(choice, now_listed, gossip.clone(), listens));
    let own_states = configuration::source(&client, namespace, node);
    let state_of = {
        let (node, owner) = (node.clone(), now_owner.clone());
        move |name: &str, status: &ConfigurationStateStatus| {
            configuration::state(name, &node, owner.borrow().as_ref(), status.clone())
        }
    };
    tokio::spawn(keep::keep(own_states, wanted_state, writes.clone(), state_of));
    let own_statuses = status::source(&client, namespace, node);
    let remove =
        status::left_over::remove_all(client.clone(), namespace.clone(), to_remove, removed, writes.clone());
    tokio::spawn(remove);
    let status_of = {
        let (node, owner) = (node.clone(), now_owner.clone());
        move |name: &str, reported: &Reported| status::status(name, &node, owner.borrow().as_ref(), reported)
    };
    let mut statuses = tokio::spawn(keep::keep(own_statuses, wanted_statuses, writes.clone(), status_of));
    let own_routed = status::source(&client, namespace, node);
    let routed_of = {
        let (node, owner) = (node.clone(), now_owner);
        move |name: &str, routed: &Routed| {
            status::routed::status(name, &node, owner.borrow().as_ref(), routed)
        }
    };
    let mut all_routed = tokio::spawn(keep::keep(own_routed, wanted_routed, writes, routed_of));
    let to_read = secrets::follow(client.clone(), namespace.clone(), secrets_to_read, read_secrets);
    tokio::spawn(to_read);
    tokio::spawn(kube_proxy::follow(to_ask, bind.ip(), proxy_answers));
    let (needed, is_needed) = oneshot::channel();
    let meeting = Meeting::of(&config);
    let successor = match config.handover {
        Handover::On => tokio::spawn(meeting.successor(is_needed)),
        Handover::Off => tokio::spawn(ready(None)),
    };
    let cluster = Cluster::new(&config, bind, readiness, metrics.clone(), outputs, to_routers);
    let mut names = tokio::spawn(mdns::run(served, withdrawn, name_reporter, mdns_metrics, watchdog.clone()));
    let options = lan::Options {
        exclude: config.exclude_interfaces.clone(),
        promiscuous: config.promiscuous_interfaces.clone(),
        refresh_interval: config.refresh_interval,
        watchdog,
    };
    let goodbye = async {
        let parting = parting.await;
        _ = stop.send(());
        let is_silent = parting == Ok(Parting::Silent);
        let absence = async {
            if is_silent {
                return None;
            }
            let known = tokio::time::timeout(NEWS, our_absence.wait_for(Option::is_some)).await;
            Some(known.ok().and_then(|known| *known.ok()?).unwrap_or(Absence::Open))
        };
        let give = async {
            _ = needed.send(());
            match successor.await {
                Ok(Some(successor)) if !is_silent => successor.give(&all_sessions).await,
                _ => false,
            }
        };
        // Whoever goes on with the sessions is about to take part in the gossip too, whatever becomes of the node.
        let is_given = give.await;
        let absence = if is_given { Some(Absence::Brief) } else { absence.await };
        if !is_given {
            wanted_sessions.send_replace(bgp::Wanted::Nothing(farewell(absence)));
        }
        // The others take addresses over when they hear that this one leaves, and it answers for them until it ends: what takes
        // its time comes before.
        _ = (&mut routers).await;
        let leave = async {
            let Some(absence) = absence else { return };
            info!(%absence, "saying goodbye");
            let unconfirmed = gossip.leave(absence).await;
            if !unconfirmed.is_empty() {
                let unconfirmed = ::objects::text::listed(&unconfirmed);
                warn!(unconfirmed, "not every member has confirmed our goodbye");
            }
        };
        leave.await;
        if absence == Some(Absence::Open) {
            _ = take_back.send(());
            _ = tokio::time::timeout(LAST_NAMES, &mut names).await;
        }
        let reports = async { tokio::join!(&mut statuses, &mut all_routed) };
        if tokio::time::timeout(LAST_REPORTS, reports).await.is_err() {
            warn!("some reports on what this node announces could not be deleted in time");
        }
    };
    let class = LoadBalancerClass(config.lb_class.clone());
    let events = watches::events(&client, namespace, class, inputs);
    tokio::select! {
        () = cluster.run(events, questions, progress) => anyhow::bail!("the watches ended"),
        () = lan::run(options, on_lan, reporter, inquirers, metrics) => anyhow::bail!("nothing to announce"),
        () = goodbye => Ok(()),
    }
}

/// The sessions with routers, and the task that holds them.
struct Routers {
    wanted: watch::Sender<bgp::Wanted>,
    statuses: watch::Receiver<bgp::Statuses>,
    sessions: handover::Sessions,
    task: JoinHandle<()>,
    /// Whether there are sessions of the speaker before.
    inherits: bool,
}

impl Routers {
    fn start(before: bgp::Incoming, metrics: &BgpMetrics) -> Self {
        let inherits = !before.is_empty();
        let (wanted, to_do) = watch::channel(bgp::Wanted::default());
        let (done, statuses) = watch::channel(bgp::Statuses::new());
        let (sessions, requests) = handover::Sessions::channel();
        let holding = bgp::run_from(before, requests, to_do, bgp::past(), done, metrics.clone());
        Self { wanted, statuses, sessions, task: tokio::spawn(holding), inherits }
    }

    /// Waits for the end of the speaker that runs on this node already, if there is one, and goes on with its sessions. `None`:
    /// this one is asked to stop meanwhile.
    async fn succeed(config: &Config, metrics: &BgpMetrics) -> anyhow::Result<Option<Self>> {
        // Until the speaker before has ended, it answers the probes of this Pod as well: what keeps this one from running is
        // to be found while the other runs.
        gossip::keys_in(&config.gossip_key_files)?;
        let mut stop = pin!(kubekit::stop_requested());
        let meeting = Meeting::of(config);
        let given = async {
            match meeting.predecessor().await {
                Some(predecessor) => {
                    info!("waiting for the end of the speaker before");
                    predecessor.sessions().await
                }
                None => None,
            }
        };
        let given = tokio::select! {
            given = given => given,
            asked = &mut stop => return asked.map(|()| None).context("waiting for signals"),
        };
        let (before, taken) = given.unzip();
        let before = before.unwrap_or_default();
        let count = before.len();
        let mut routers = Self::start(before, metrics);
        let alone = async {
            let all_run = routers.statuses.wait_for(|statuses| statuses.len() >= count);
            _ = tokio::time::timeout(NEWS, all_run).await;
            if let Some(taken) = taken {
                taken.started().await;
            }
            let http = &config.http;
            let secure = http.secure_metrics.as_ref().map(|it| it.bind);
            handover::until_free([http.bind].into_iter().chain(secure)).await;
        };
        tokio::select! {
            () = alone => Ok(Some(routers)),
            asked = stop => {
                routers.end(Farewell::Leave).await;
                asked.map(|()| None).context("waiting for signals")
            }
        }
    }

    async fn end(self, farewell: Farewell) {
        self.wanted.send_replace(bgp::Wanted::Nothing(farewell));
        _ = self.task.await;
    }
}

/// How to end the sessions with routers: those that keep the routes of who restarts are told nothing by a speaker that
/// another one is about to follow on the same node.
fn farewell(absence: Option<Absence>) -> Farewell {
    match absence {
        None | Some(Absence::Brief) => Farewell::Silent,
        Some(Absence::Open) => Farewell::Leave,
    }
}

/// Tells the gossip what it is told. It keeps the latest of each thing until it gets round to it, so neither it nor
/// whoever tells it ever waits for the other, and nothing piles up.
fn pass_on(gossip: gossip::Handle) -> Box<dyn Fn(Gossip) + Send> {
    Box::new(move |instruction| match instruction {
        Gossip::SetPeers(peers) => gossip.set_peers(peers),
        Gossip::SetAddresses(addresses) => gossip.set_addresses(addresses),
        Gossip::SetProfile(profile) => gossip.set_profile(profile),
        Gossip::TakePart => gossip.take_part(),
        Gossip::SetLink(state) => gossip.set_link(state),
        Gossip::ConfirmLeave(node) => gossip.confirm_leave(node),
    })
}

/// Tells the watchdog of the gossip's task, as long as that answers.
async fn watch_gossip(gossip: gossip::Handle, progress: Progress) {
    loop {
        gossip.answers().await;
        progress.beat().await;
    }
}

//! Gives every Service of type `LoadBalancer` an address and writes it into the Service's status.
//!
//! ```text
//! watch Services, IPAddressPools, Namespaces
//!    -> Index: owns all state and decides (ipam::Allocator inside)
//!    -> writes, a bounded number at a time, one in flight for each Service
//!    -> results -> Index
//! ```
//!
//! One task runs the loop of [`run`]: it waits for something to happen, lets the Index take it in, and
//! starts the writes that follow. No state is shared, so there is no lock; writes are futures that the same
//! task polls, so there is no channel that could fill up either.

mod advertisements;
mod catalog;
mod claim;
mod entry;
mod gossip_key;
mod index;
mod metrics;
mod recovery;
mod remark;
mod report;
mod settle;
mod unsupported;
mod verdict;
mod write;

use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use api::{IPAddressPool, L2Advertisement};
pub use coexistence::BesideMetalLb;
use coexistence::{Conflicts, Of, WAITING_FOR};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client, Resource};
use kubekit::events::{Notice, Publisher, Severity};
use kubekit::http::{self, Readiness};
use kubekit::keep::keep;
use kubekit::lease::{Election, Leadership, Leads, Timing};
use kubekit::slim::{Namespace, Service};
use kubekit::{Change, Identity, due, watch, watch_as};
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::entry::Seen;
use crate::index::{Index, Role};
pub use crate::metrics::Metrics;
pub use crate::recovery::Recovery;
use crate::unsupported::{BgpAdvertisement, BgpPeer};
use crate::write::{Ended, NotWritten};

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespace and Pod of this program.
    pub identity: Identity,
    /// Serve only Services of this load balancer class; without it, those of none.
    pub lb_class: Option<String>,
    /// Where metrics and probes are served.
    pub http_bind: SocketAddr,
    /// The Lease that replicas elect a leader by; without one, this program leads from the start.
    pub lease: Option<String>,
    /// Whether and how to withdraw the endpoints of lost nodes.
    pub recovery: Option<Recovery>,
    /// What to do while MetalLB serves the same Services.
    pub beside_metallb: BesideMetalLb,
    /// The Secret that the key of the speakers' gossip is written to; without one, no key is made.
    pub gossip_secret: Option<String>,
}

/// Status writes that may be on their way at once: enough to keep an API server busy, and few enough to
/// leave it room for others.
const MOST_WRITES: usize = 32;

/// How long changes are collected before counters are brought up to date, those in the status of pools
/// among them, and how long to wait after a failure.
const COUNTERS_DELAY: Duration = Duration::from_millis(200);
const COUNTERS_RETRY: Duration = Duration::from_secs(1);

/// The lists that have to be complete before anything is decided, as `/readyz` names them.
const LISTS: [&str; 3] = ["list of Services", "list of IPAddressPools", "list of Namespaces"];

/// Runs until the program is asked to stop, or MetalLB turns up.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = kubekit::client().await?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let gossip_metrics = gossip::Metrics::default();
    if config.recovery.is_some() {
        gossip_metrics.register(&mut registry);
    }
    let readiness = Readiness::waiting_for(LISTS.into_iter().chain([WAITING_FOR]));
    info!(namespace = config.identity.namespace, class = config.lb_class, "controller starting");
    let (me, namespace) = (config.identity.instance(), config.identity.namespace.as_str());
    let events = Publisher::start(client.clone(), "metallb-controller", me.clone());
    let mut conflicts = Conflicts::watch(
        Of::MetalLb,
        &client,
        &config.identity,
        config.lb_class.clone(),
        config.beside_metallb,
    );
    let mut serving = pin!(http::serve(config.http_bind, readiness.clone(), registry));
    // The speakers cannot start without it, not even to wait.
    let mut keeping_key = pin!(gossip_key::keep(client.clone(), namespace, config.gossip_secret.as_deref()));
    tokio::select! {
        result = &mut serving => return result,
        () = &mut keeping_key => anyhow::bail!("the watch of the gossip's Secret has ended"),
        () = conflicts.wait_until_gone(&readiness, &events) => {}
        result = kubekit::stop_requested() => return result.context("waiting for signals"),
    }
    let leadership = config.lease.clone().map(|name| {
        let owner = config.identity.owner();
        let election =
            Election { namespace: namespace.to_owned(), name, me, owner, timing: Timing::default() };
        election.start(client.clone())
    });
    let leads = leadership.as_ref().map_or_else(Leads::always, Leadership::leads);
    if let Some(recovery) = &config.recovery {
        let namespace = namespace.to_owned();
        recovery::start(recovery, gossip_metrics, client.clone(), namespace, leads.clone(), events.clone());
    }
    tokio::select! {
        result = serving => result?,
        () = keeping_key => anyhow::bail!("the watch of the gossip's Secret has ended"),
        () = control(client.clone(), &config, leads, events, &metrics, &readiness) => {
            anyhow::bail!("all watches have ended")
        }
        () = conflicts.wait_for_one() => info!("MetalLB serves the same Services: what is started next waits"),
        result = kubekit::stop_requested() => result.context("waiting for signals")?,
    }
    info!("controller stopping");
    if let Some(leadership) = leadership {
        leadership.resign().await;
    }
    Ok(())
}

/// A change of some kind.
enum Incoming {
    Services(Change<Seen>),
    Pools(Change<IPAddressPool>),
    Advertisements(Change<L2Advertisement>),
    Namespaces(Change<Namespace>),
    BgpPeers(Change<BgpPeer>),
    BgpAdvertisements(Change<BgpAdvertisement>),
}

async fn control(
    client: Client,
    config: &Config,
    mut leads: Leads,
    events: Publisher,
    metrics: &Metrics,
    readiness: &Readiness,
) {
    let mut index = Index::new(Instant::now());
    let mut changes = watches(&client, config);
    let mut writes = FuturesUnordered::new();
    let mut reports = FuturesUnordered::new();
    let (report, reported) = watch::channel(None);
    let mut reporting = pin!(keep(report::source(&client, &config.identity.namespace), reported));
    let mut counters_due: Option<Instant> = None;
    loop {
        index.set_role(role(&leads), Instant::now());
        while writes.len() < MOST_WRITES
            && role(&leads) == Role::Leader
            && let Some(write) = index.next_write()
        {
            writes.push(write::service_status(client.clone(), write));
        }
        while events.has_room()
            && let Some((about, notice)) = index.next_notice()
        {
            tell(&events, about, notice);
        }
        let retry = index.next_retry();
        tokio::select! {
            () = leads.changed() => {
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            change = changes.next() => {
                let Some(change) = change else { return };
                metrics.updates.inc();
                take_in(&mut index, change);
                show_progress(&index, readiness);
                counters_due.get_or_insert(Instant::now() + COUNTERS_DELAY);
            }
            Some(Ended { write, result, took }) = writes.next() => {
                metrics.wrote(&result, took);
                if let Some(latency) = index.written(&write, result, Instant::now()) {
                    metrics.settled(latency);
                }
            }
            () = due(retry) => index.retry(Instant::now()),
            () = events.room(), if index.has_notice() => {}
            () = &mut reporting => return,
            Some(result) = reports.next() => {
                if let Err(NotWritten) = result {
                    counters_due.get_or_insert(Instant::now() + COUNTERS_RETRY);
                }
            }
            () = due(counters_due), if reports.is_empty() => {
                counters_due = None;
                metrics.show(&index);
                reports.extend(outdated_statuses(&client, &index));
                report.send_replace(report::wanted(&index, config.identity.owner(), Timestamp::now()));
            }
        }
    }
}

/// Writes of the statuses that do not say what they should.
fn outdated_statuses(client: &Client, index: &Index) -> Vec<BoxFuture<'static, Result<(), NotWritten>>> {
    let now = Timestamp::now();
    let pools = index.outdated_pool_statuses(now).into_iter();
    let pools =
        pools.map(|(about, status)| write::status::<IPAddressPool>(client.clone(), about, status).boxed());
    let advertisements = index.outdated_advertisement_statuses(now).into_iter();
    let advertisements = advertisements
        .map(|(about, status)| write::status::<L2Advertisement>(client.clone(), about, status).boxed());
    pools.chain(advertisements).collect()
}

/// What this replica may do at this moment.
fn role(leads: &Leads) -> Role {
    if leads.leads(Instant::now()) { Role::Leader } else { Role::Follower }
}

fn watches(client: &Client, config: &Config) -> SelectAll<BoxStream<'static, Incoming>> {
    fn of<K>(api: Api<K>, incoming: fn(Change<K>) -> Incoming) -> BoxStream<'static, Incoming>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        watch(api).map(incoming).boxed()
    }
    let client = || client.clone();
    let (namespace, class) = (config.identity.namespace.as_str(), config.lb_class.clone());
    let read = move |service: Service| Seen::read(&service, class.as_deref());
    futures::stream::select_all([
        watch_as(Api::all(client()), read).map(Incoming::Services).boxed(),
        of(Api::namespaced(client(), namespace), Incoming::Pools),
        of(Api::namespaced(client(), namespace), Incoming::Advertisements),
        of(Api::all(client()), Incoming::Namespaces),
        of(Api::namespaced(client(), namespace), Incoming::BgpPeers),
        of(Api::namespaced(client(), namespace), Incoming::BgpAdvertisements),
    ])
}

fn take_in(index: &mut Index, change: Incoming) {
    match change {
        Incoming::Services(change) => index.services(change, Instant::now()),
        Incoming::Pools(change) => index.pools(change, Instant::now()),
        Incoming::Advertisements(change) => index.advertisements(change, Instant::now()),
        Incoming::Namespaces(change) => index.namespaces(change, Instant::now()),
        Incoming::BgpPeers(change) => index.unsupported(change, Instant::now()),
        Incoming::BgpAdvertisements(change) => index.unsupported(change, Instant::now()),
    }
}

fn show_progress(index: &Index, readiness: &Readiness) {
    let lists = index.lists();
    for (name, complete) in LISTS.into_iter().zip([lists.services, lists.pools, lists.namespaces]) {
        if complete {
            readiness.reached(name);
        }
    }
}

fn tell(events: &Publisher, about: ObjectReference, notice: Notice) {
    let object = about.name.as_deref().unwrap_or_default();
    let (kind, namespace) = (about.kind.as_deref(), about.namespace.as_deref());
    if notice.severity == Severity::Warning {
        warn!(kind, namespace, object, reason = notice.reason, why = notice.message, "warned its owner");
    }
    events.publish(about, notice);
}

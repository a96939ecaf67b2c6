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

mod catalog;
mod claim;
mod entry;
mod index;
#[cfg(test)]
mod index_tests;
mod metrics;
mod settle;
mod write;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use api::IPAddressPool;
use futures::{
    StreamExt,
    stream::{FuturesUnordered, SelectAll},
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Api, Client};
use kubekit::{
    Change, Identity,
    events::{Notice, Publisher, Severity},
    http::{self, Readiness},
    slim::{Namespace, Service},
    watch,
};
use prometheus_client::registry::Registry;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::{
    index::{Index, Role},
    metrics::Metrics,
    write::{Ended, NotWritten},
};

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespace and Pod of this program.
    pub identity: Identity,
    /// Serve only Services of this load balancer class; without it, those of none.
    pub lb_class: Option<String>,
    /// Where metrics and probes are served.
    pub http_bind: SocketAddr,
}

/// Status writes that may be on their way at once: enough to keep an API server busy, and few enough to
/// leave it room for others.
const MOST_WRITES: usize = 32;

/// How long changes of a pool's counters are collected before its status is written, and how long to wait
/// before another attempt.
const POOL_STATUS_DELAY: Duration = Duration::from_millis(200);
const POOL_STATUS_RETRY: Duration = Duration::from_secs(1);

/// The lists that have to be complete before anything is decided, as `/readyz` names them.
const LISTS: [&str; 3] = ["list of Services", "list of IPAddressPools", "list of Namespaces"];

/// Runs until the program is asked to stop.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = kubekit::client().await?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let readiness = Readiness::waiting_for(LISTS);
    info!(namespace = config.identity.namespace, class = config.lb_class, "controller starting");
    tokio::select! {
        result = http::serve(config.http_bind, readiness.clone(), registry) => result,
        () = control(client, &config, &metrics, &readiness) => anyhow::bail!("all watches have ended"),
        result = kubekit::stop_requested() => {
            info!("controller stopping");
            result.context("waiting for signals")
        }
    }
}

/// A change of some kind.
enum Incoming {
    Services(Change<Service>),
    Pools(Change<IPAddressPool>),
    Namespaces(Change<Namespace>),
}

async fn control(client: Client, config: &Config, metrics: &Metrics, readiness: &Readiness) {
    let instance = config.identity.instance();
    let events = Publisher::start(client.clone(), "metallb-controller", instance);
    let mut index = Index::new(config.lb_class.clone());
    index.set_role(Role::Leader);
    let mut changes = watches(&client, &config.identity.namespace);
    let mut writes = FuturesUnordered::new();
    let mut pool_writes = FuturesUnordered::new();
    let mut pools_due: Option<Instant> = None;
    loop {
        let retry = index.next_retry();
        tokio::select! {
            change = changes.next() => {
                let Some(change) = change else { return };
                metrics.updates.inc();
                take_in(&mut index, change);
                show_progress(&index, readiness);
            }
            Some(Ended { write, result, took }) = writes.next() => {
                metrics.wrote(&result, took);
                index.written(&write, result, std::time::Instant::now());
            }
            Some(result) = pool_writes.next() => {
                match result {
                    Ok(()) => {}
                    Err(NotWritten) => {
                        pools_due.get_or_insert(Instant::now() + POOL_STATUS_RETRY);
                    }
                }
                continue;
            }
            () = sleep_until(retry.unwrap_or_else(std::time::Instant::now).into()), if retry.is_some() => {
                index.retry(std::time::Instant::now());
            }
            () = sleep_until(pools_due.unwrap_or_else(Instant::now)), if pools_due.is_some() && pool_writes.is_empty() => {
                pools_due = None;
                metrics.show(&index);
                for (pool, status) in index.outdated_pool_statuses() {
                    pool_writes.push(write::pool_status(client.clone(), pool, status));
                }
                continue;
            }
        }
        pools_due.get_or_insert(Instant::now() + POOL_STATUS_DELAY);
        while writes.len() < MOST_WRITES
            && let Some(write) = index.next_write()
        {
            writes.push(write::service_status(client.clone(), write));
        }
        for (about, notice) in index.take_notices() {
            tell(&events, about, notice);
        }
    }
}

fn watches(client: &Client, namespace: &str) -> SelectAll<futures::stream::BoxStream<'static, Incoming>> {
    let services = watch(Api::<Service>::all(client.clone())).map(Incoming::Services).boxed();
    let pools =
        watch(Api::<IPAddressPool>::namespaced(client.clone(), namespace)).map(Incoming::Pools).boxed();
    let namespaces = watch(Api::<Namespace>::all(client.clone())).map(Incoming::Namespaces).boxed();
    futures::stream::select_all([services, pools, namespaces])
}

fn take_in(index: &mut Index, change: Incoming) {
    match change {
        Incoming::Services(change) => index.services(change),
        Incoming::Pools(change) => index.pools(change),
        Incoming::Namespaces(change) => index.namespaces(change),
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
        warn!(kind, namespace, object, reason = notice.reason, why = notice.message, "cannot be served");
    }
    events.publish(about, notice);
}

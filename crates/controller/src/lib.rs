//! Gives every Service of type `LoadBalancer` an address and writes it into the Service's status.
//!
//! ```text
//! watch Services, IPAddressPools, Namespaces, Nodes
//!    -> Index: owns all state and decides (ipam::Allocator inside)
//!    -> writes, a bounded number at a time, one in flight for each Service
//!    -> results -> Index
//! ```
//!
//! [`run`] starts the parts and stops them. One task runs the loop of [`control`]: it waits for something to happen,
//! lets the Index take it in, and starts the writes that follow. No state is shared, so there is no lock; writes are
//! futures that the same task polls, so there is no channel that could fill up either.

mod acceptance;
mod advertisements;
mod bgp_objects;
mod bgp_sessions;
mod configuration_state;
mod control;
mod default_node_pool;
mod entry;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gossip_key;
mod index;
mod metrics;
mod node_pool_objects;
mod pool_objects;
mod recovery;
mod reservation_objects;
mod statuses;
mod turns;
mod warning;
mod write;

use std::pin::pin;

use anyhow::Context;
pub use coexistence::BesideMetalLb;
use coexistence::{Conflicts, LeaseName, Of, Precedence, WAITING_FOR};
use kubekit::events::Publisher;
use kubekit::http::{self, Readiness};
use kubekit::lease::{Election, Leadership, Leads, Timing};
use kubekit::write::Writes;
use kubekit::{Identity, Watchdog, telemetry};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use tracing::info;

use crate::index::List;
pub use crate::metrics::Metrics;
use crate::recovery::Lost;
pub use crate::recovery::{LostEndpoints, Recovery};
pub use translation::SharingScope;

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Namespace and Pod of this program.
    pub identity: Identity,
    /// Serve only Services of this load balancer class; without it, those of none.
    pub lb_class: Option<String>,
    /// Between whom addresses are shared.
    pub address_sharing: SharingScope,
    /// Where metrics and probes are served.
    pub http: http::Config,
    /// The Lease that replicas elect a leader by; without one, this program leads from the start.
    pub lease: Option<String>,
    /// Whether and how to find out which nodes are lost, and what to do then.
    pub recovery: Option<Recovery>,
    /// What to do while MetalLB serves the same Services.
    pub beside_metallb: BesideMetalLb,
    /// The Secret that the key of the speakers' gossip is written to; without one, no key is made.
    pub gossip_secret: Option<String>,
    /// Whether Services can have the addresses of nodes.
    pub node_address_pools: bool,
    /// What the `NodeAddressPool` says that is made where there is none; without it, none is made.
    pub default_node_address_pool: Option<Map<String, Value>>,
}

/// Runs until the program is asked to stop, or MetalLB turns up.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = kubekit::client().await?;
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let gossip_metrics = gossip::Metrics::default();
    if config.recovery.is_some() {
        gossip_metrics.register(&mut registry);
    }
    let lists = List::needed(config.node_address_pools);
    let readiness = Readiness::waiting_for(lists.iter().map(|list| list.name()).chain([WAITING_FOR]));
    info!(namespace = config.identity.namespace, class = config.lb_class, "controller starting");
    let (me, namespace) = (config.identity.instance(), config.identity.namespace.as_str());
    let writes = Writes::default();
    writes.register(&mut registry);
    telemetry::register(&mut registry);
    let events = Publisher::start(client.clone(), "metallb-controller", me.clone(), writes.clone());
    events.register(&mut registry);
    let mut conflicts = Conflicts::watch(
        Of::MetalLb,
        &client,
        &config.identity,
        config.lb_class.clone(),
        config.beside_metallb,
    );
    let watchdog = Watchdog::default();
    let (status, questions) = http::status::channel();
    let content = http::Content {
        readiness: readiness.clone(),
        watchdog: watchdog.clone(),
        metrics: registry,
        status,
        trace: None,
        namespace: namespace.to_owned(),
    };
    let mut serving = pin!(http::serve(config.http.clone(), content));
    // The speakers cannot start without it, not even to wait.
    let mut keeping_key =
        pin!(gossip_key::keep(client.clone(), namespace, config.gossip_secret.as_deref(), writes.clone()));
    tokio::select! {
        result = &mut serving => return result,
        () = &mut keeping_key => anyhow::bail!("the watch of the gossip's Secret has ended"),
        () = conflicts.wait_until_gone(&readiness, &events) => {}
        result = kubekit::stop_requested() => return result.context("waiting for signals"),
    }
    let own_lease =
        LeaseName { namespace: namespace.to_owned(), name: config.lease.clone().unwrap_or_default() };
    let precedence = Precedence::follow(&client, own_lease, config.lb_class.clone());
    let owner = config.identity.installation(&client).await;
    let leadership = config.lease.clone().map(|name| {
        let (labels, annotations) = coexistence::marks(config.lb_class.as_deref());
        let (namespace, timing) = (namespace.to_owned(), Timing::default());
        let election = Election { namespace, name, me, owner, labels, annotations, timing };
        election.start(client.clone(), writes.clone(), readiness.clone(), &watchdog)
    });
    let leads = precedence.first(leadership.as_ref().map_or_else(Leads::always, Leadership::leads));
    let mut telling_of_elder = pin!(precedence.clone().tell(config.identity.reference(), &events));
    let mut lost = Lost::unknown();
    if let Some(recovery) = &config.recovery {
        let namespace = namespace.to_owned();
        let (client, leads, events) = (client.clone(), leads.clone(), events.clone());
        lost = recovery::start(recovery, gossip_metrics, client, namespace, leads, events, writes.clone());
    }
    if let Some(spec) = config.default_node_address_pool.clone().filter(|_| config.node_address_pools) {
        let (client, leads, writes) = (client.clone(), leads.clone(), writes.clone());
        tokio::spawn(default_node_pool::make(client, namespace.to_owned(), spec, leads, writes));
    }
    let told = (&readiness, watchdog.task("index"), questions, lost, precedence);
    let control = control::run(client.clone(), &config, leads, events.clone(), writes, &metrics, told);
    tokio::select! {
        result = serving => result?,
        () = keeping_key => anyhow::bail!("the watch of the gossip's Secret has ended"),
        () = metrics.turns.count(control) => {
            anyhow::bail!("all watches have ended")
        }
        () = &mut telling_of_elder => anyhow::bail!("the watch of other installations has ended"),
        () = conflicts.wait_for_one() => info!("MetalLB serves the same Services: what is started next waits"),
        result = kubekit::stop_requested() => result.context("waiting for signals")?,
    }
    info!("controller stopping");
    if let Some(leadership) = leadership {
        leadership.resign().await;
    }
    Ok(())
}

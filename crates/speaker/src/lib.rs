//! The speaker: makes the addresses of Services reachable on the LAN, one of these on every node.
//!
//! ```text
//! API server --> cluster: what is known, and with placement what to announce
//!                   |
//!                   | the announcements of this node
//!                   v
//! netlink -----> lan: one task per interface, with layer2 and a packet socket
//! ```
//!
//! Decisions are made in the pure crates [`placement`] and [`layer2`]; here are the watches, the sockets and
//! the tasks that connect them. When the API server is away, what was last known stays in force.

mod cluster;
mod configuration;
mod known;
pub mod lan;
mod metrics;
mod objects;
mod outcome;
mod status;
mod watches;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use kubekit::Identity;
use kubekit::events::Publisher;
use kubekit::http::Readiness;
use kubekit::keep::keep;
use placement::NodeName;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tracing::info;

use cluster::{Cluster, Outputs};
pub use lan::ExcludeInterfaces;
use lan::Wanted;
pub use metrics::Metrics;
pub use placement::ExcludeLabel;

/// The name of what this speaker does, as events and metrics call it.
const PROTOCOL: &str = "layer2";

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
    pub http_bind: SocketAddr,
    /// Interfaces that are never announced on.
    pub exclude_interfaces: ExcludeInterfaces,
    /// How often each address is announced while nothing changes; `None` for never.
    pub refresh_interval: Option<Duration>,
    /// Whether nodes can be excluded by a label.
    pub exclude_label: ExcludeLabel,
}

/// Runs a speaker until it is asked to stop by SIGTERM or SIGINT.
///
/// Fails only when it cannot start: without a configuration of the cluster, or when `http_bind` is taken.
/// [`lan::claim_packet_sockets`] comes first. An API server that cannot be reached is waited for. There is little
/// to compute, so a runtime of one thread serves best.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let client = kubekit::client().await?;
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let readiness = Readiness::waiting_for(watches::LISTS);
    let publisher = Publisher::start(client.clone(), "metallb-speaker", config.identity.instance());
    let (wanted, on_lan) = watch::channel(Wanted::default());
    let (reporter, reports) = mpsc::channel(lan::REPORTS);
    let (statuses, wanted_statuses) = watch::channel(None);
    let (state, wanted_state) = watch::channel(None);
    let outputs = Outputs { wanted, statuses, state, publisher };

    let (node, namespace) = (&config.node_name, &config.identity.namespace);
    info!(%node, %namespace, "speaker starts");
    let events = watches::events(&client, namespace, reports);
    let report_statuses = keep(status::source(&client, namespace, node), wanted_statuses);
    let report_state = keep(configuration::source(&client, namespace, node), wanted_state);
    let cluster = Cluster::new(&config, readiness.clone(), metrics.clone(), outputs);
    let options =
        lan::Options { exclude: config.exclude_interfaces, refresh_interval: config.refresh_interval };
    tokio::select! {
        () = cluster.run(events) => anyhow::bail!("the watches ended"),
        () = report_statuses => anyhow::bail!("nothing to report"),
        () = report_state => anyhow::bail!("nothing to report"),
        () = lan::run(options, on_lan, reporter, metrics) => anyhow::bail!("nothing to announce"),
        served = kubekit::http::serve(config.http_bind, readiness, registry) => served,
        asked = kubekit::stop_requested() => {
            asked.context("waiting for signals")?;
            info!("speaker stops");
            Ok(())
        }
    }
}

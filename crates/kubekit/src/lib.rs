//! What the controller and the speaker share in dealing with a cluster: objects without the fields that
//! nobody reads (crate [`slim`]), lists and watches as one stream of changes ([`watch()`]), events
//! ([`events::Publisher`]), writes ([`write::Writes`]), the election of a leader ([`lease`]), and what an operator looks at ([`http`], [`telemetry`]).

pub mod events;
#[cfg(test)]
mod fake;
pub mod http;
mod identity;
pub mod keep;
pub mod lease;
mod mirror;
pub mod open_files;
pub mod speakers;
pub mod telemetry;
mod version;
mod watch;
mod watchdog;
pub mod write;

use std::future::pending;
use std::time::{Duration, Instant};

pub use identity::Identity;
pub use mirror::Mirror;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::Sender;
use tokio::time::sleep_until;
pub use version::Version;
pub use watch::{Change, Known, Reachability, Source, Watched, watch, watch_as, watch_history, watch_known};
pub use watchdog::{Progress, Watchdog};

/// How long a single request to the API server may take, retries included. Without a bound of our own, the
/// client goes on for minutes when the server says that it is overloaded.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A client from `KUBECONFIG`, `~/.kube/config` or the service account of the Pod. Does not connect yet.
pub async fn client() -> anyhow::Result<kube::Client> {
    use anyhow::Context;
    let mut config = kube::Config::infer()
        .await
        .context("no cluster to talk to: set KUBECONFIG, or run in a Pod with a service account")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    // Longer than any watch is silent.
    config.read_timeout = Some(watch::SILENCE + Duration::from_secs(15));
    kube::Client::try_from(config).context("building a client from the cluster's configuration")
}

/// Completes when it is time; never, if there is nothing to wait for.
pub async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Lets whoever watches know `value`, unless it is what they know. Whether it is news.
pub fn send_if_new<T: PartialEq>(sender: &Sender<T>, value: T) -> bool {
    sender.send_if_modified(|current| {
        let new = *current != value;
        *current = value;
        new
    })
}

/// Completes when the program is asked to stop, by SIGTERM or SIGINT.
pub async fn stop_requested() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

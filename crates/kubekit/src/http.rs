//! The small web server that probes, Prometheus and `kubectl ferrolb` ask: `/healthz`, `/readyz`, `/metrics`, `/status` and,
//! of a speaker, `/trace`.
//!
//! It has a thread of its own, for whoever reaches a node's port is a stranger, and nothing that strangers send may keep
//! gossip, ARP or the Lease waiting. What they can take is bounded:
//!
//! - **Connections** ([`connections`]): a fixed number is open at a time. Where one too many comes, the oldest of whoever
//!   has most goes. So probes need no room of their own, nor the server to know who sends them: a probe asks as soon as it
//!   is connected and is answered at once, long before it is the oldest, and a flood from one host drives out itself.
//! - **Time**: each connection has some seconds for its headers, as many between two requests, and half a minute in all.
//! - **Work**: a connection may ask some dozens of times; metrics are rendered a few times a second, whoever asks, and
//!   sent at a pace ([`page`]); the LAN is asked a few times a second ([`trace`]); where TLS and reviews of tokens cost more, connections are taken at a pace too.
//! - **Memory**: a few kilobytes for the headers and in the kernel's buffers.
//!
//! Probes are always plain and for everybody. Metrics, `/status` and `/trace` are either the same, or have a port of their own, with
//! TLS ([`tls`]) and for those only whom the API server allows it ([`review`]), as MetalLB's metrics have.

mod connections;
#[cfg(fuzzing)]
pub mod fuzzing;
mod listen;
mod pace;
mod page;
mod review;
pub mod status;
pub mod tls;
pub mod trace;

use std::collections::BTreeSet;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::Context;
use connections::Limits;
pub use listen::listen;
use page::{Page, answer};
use prometheus_client::registry::Registry;
use review::Reviewer;
use status::StatusSource;
use tls::{Certificates, Tls};
use tokio::sync::{oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use trace::TraceSource;
use tracing::{error, info};

use crate::watchdog::{LOOK_EVERY, Watchdog};

/// What a program still waits for before it is ready. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<BTreeSet<&'static str>>>);

impl Readiness {
    /// Not ready before all of these are there.
    pub fn waiting_for(what: impl IntoIterator<Item = &'static str>) -> Self {
        Self(Arc::new(watch::Sender::new(what.into_iter().collect())))
    }

    /// One of them is there.
    pub fn reached(&self, what: &'static str) {
        self.0.send_if_modified(|missing| missing.remove(what));
    }

    /// One of them is missing again.
    pub fn lost(&self, what: &'static str) {
        self.0.send_if_modified(|missing| missing.insert(what));
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// What is missing.
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.borrow().iter().copied().collect()
    }
}

/// Where what is served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where probes are answered; metrics too, in plain text and for everybody, unless they are secured.
    pub bind: SocketAddr,
    /// Metrics for those only whom the API server allows `get` on the URL `/metrics`.
    pub secure_metrics: Option<SecureMetrics>,
}

/// Metrics with TLS, authentication and authorisation.
#[derive(Debug, Clone)]
pub struct SecureMetrics {
    /// Where they are served.
    pub bind: SocketAddr,
    /// With which certificate, and how.
    pub tls: Tls,
}

/// What is served.
#[derive(Debug)]
pub struct Content {
    /// For `/readyz`.
    pub readiness: Readiness,
    /// For `/healthz`.
    pub watchdog: Watchdog,
    /// For `/metrics`.
    pub metrics: Registry,
    /// For `/status`.
    pub status: StatusSource,
    /// For `/trace`, of a program that can ask the LAN.
    pub trace: Option<TraceSource>,
    /// The namespace of the program: who may make tokens for its service accounts may read `/status`.
    pub namespace: String,
}

/// Serves until this is dropped, on a thread of its own. Fails at once when an address is taken, and after some seconds
/// when this host does not have it.
pub async fn serve(config: Config, content: Content) -> anyhow::Result<()> {
    let (done, served) = oneshot::channel();
    // Dropped with this future, which ends the thread.
    let (_stop, stopped) = oneshot::channel::<()>();
    let serving = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.context("making a runtime").and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    result = serve_here(config, content) => result,
                    _ = stopped => Ok(()),
                }
            })
        });
        _ = done.send(result);
    };
    thread::Builder::new().name("http".to_owned()).spawn(serving).context("starting a thread")?;
    served.await.context("the thread that serves metrics and probes is gone")?
}

async fn serve_here(config: Config, content: Content) -> anyhow::Result<()> {
    let Config { bind, secure_metrics } = config;
    let watchdog = content.watchdog.clone();
    let namespace = content.namespace.clone();
    let page = Arc::new(Page::new(content));
    let listener = listen::listen_soon(bind, "--http-bind").await?;
    let address = listener.local_addr().context("finding out where it listens")?;
    let Some(SecureMetrics { bind, tls }) = secure_metrics else {
        info!(%address, "metrics and probes are served");
        let everything = connections::serve(listener, Limits::PLAIN, move |stream, limits| {
            let page = Arc::clone(&page);
            limits.talk(stream, move |request| answer(Arc::clone(&page), request))
        });
        tokio::select! {
            () = everything => return Ok(()),
            () = look(&watchdog) => return Ok(()),
        }
    };
    info!(%address, "probes are served");
    let certificates = Arc::new(Certificates::start(tls)?);
    let reviewer = Arc::new(Reviewer::new(crate::client().await?, &namespace));
    let secured = listen::listen_soon(bind, "--metrics-bind").await?;
    let address = secured.local_addr().context("finding out where it listens")?;
    info!(%address, "metrics are served, with TLS, to those whom the API server allows it");
    let content = Arc::clone(&page);
    let probes = connections::serve(listener, Limits::PLAIN, move |stream, limits| {
        let page = Arc::clone(&content);
        limits.talk(stream, move |request| ready(page.probe(&request)))
    });
    let current = Arc::clone(&certificates);
    let metrics = connections::serve(secured, Limits::SECURE, move |stream, limits| {
        let (page, reviewer) = (Arc::clone(&page), Arc::clone(&reviewer));
        let acceptor = current.acceptor();
        async move {
            let Some(stream) = limits.shake_hands(acceptor.accept(stream)).await else { return };
            let answer = move |request| review::answer(Arc::clone(&reviewer), Arc::clone(&page), request);
            limits.talk(stream, answer).await;
        }
    });
    tokio::select! {
        () = probes => Ok(()),
        () = metrics => Ok(()),
        () = certificates.follow() => Ok(()),
        () = look(&watchdog) => Ok(()),
    }
}

/// Keeps an eye on the tasks, for ever, and says in the log when one gets stuck or goes on.
async fn look(watchdog: &Watchdog) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = BTreeSet::new();
    loop {
        ticks.tick().await;
        let stuck: BTreeSet<String> =
            watchdog.look(Instant::now()).into_iter().map(|stuck| stuck.name).collect();
        for task in stuck.difference(&before) {
            error!(task, "a task makes no progress: /healthz fails until it goes on");
        }
        for task in before.difference(&stuck) {
            info!(task, "the task goes on");
        }
        before = stuck;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing() {
        let readiness = Readiness::waiting_for(["services", "pools"]);
        assert_eq!(readiness.missing(), ["pools", "services"]);
        readiness.reached("services");
        readiness.reached("pools");
        assert!(readiness.is_ready());
        readiness.lost("pools");
        assert_eq!(readiness.missing(), ["pools"]);
    }
}

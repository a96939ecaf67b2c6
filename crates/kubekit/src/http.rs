//! The small web server that probes and Prometheus ask: `/healthz`, `/readyz` and `/metrics`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

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

    fn answer(&self) -> Response {
        let missing: Vec<&str> = self.0.borrow().iter().copied().collect();
        if missing.is_empty() {
            "ok\n".into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", missing.join(", ")))
                .into_response()
        }
    }
}

/// Serves for ever. Fails at once when the address cannot be had.
pub async fn serve(bind: SocketAddr, readiness: Readiness, metrics: Registry) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(bind).await.with_context(|| format!("listening on {bind} (see --http-bind)"))?;
    axum::serve(listener, router(readiness, metrics)).await.context("serving metrics and probes")
}

fn router(readiness: Readiness, metrics: Registry) -> Router {
    let metrics = Arc::new(metrics);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness.answer()))
        .route("/metrics", get(async move || encode(&metrics)))
}

fn encode(metrics: &Registry) -> Response {
    // Some of upstream's counters have names that OpenMetrics does not allow. The older format takes all.
    const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, PROMETHEUS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_what_is_missing() {
        let readiness = Readiness::waiting_for(["services", "pools"]);
        assert_eq!(readiness.answer().status(), StatusCode::SERVICE_UNAVAILABLE);
        readiness.reached("services");
        readiness.reached("pools");
        assert!(readiness.is_ready());
        assert_eq!(readiness.answer().status(), StatusCode::OK);
        readiness.lost("pools");
        assert!(!readiness.is_ready());
    }
}

//! The chart, as Helm, an API server and Prometheus see it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod network;
mod operations;
mod rendering;
mod server;
mod values;

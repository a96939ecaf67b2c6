//! The chart, as Helm, an API server and Prometheus see it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod admission;
mod labels;
mod metrics;
mod names;
mod network;
mod nulls;
mod operations;
mod readmes;
mod releases;
mod rendering;
mod server;
mod values;

//! A real Kubernetes cluster on one machine, without Docker.

pub mod apiserver;
pub mod audit;
pub mod browser;
mod cgroup;
pub mod chart;
pub mod cli;
mod cluster;
mod control;
pub mod debian;
mod demo;
pub mod images;
mod init;
mod keeper;
pub mod metallb;
mod network;
mod pki;
pub mod plan;
pub mod policies;
pub mod ports;
pub mod preflight;
pub mod process;
pub mod roles;
mod router;
mod state;
mod template;
pub mod tools;
mod ui;

pub use cluster::{Lab, Options, down, wait_until};
pub use control::{HostStatus, Power};
pub use plan::{Host, IpFamilies, IpFamily, LabName, Network, NodeId, ProxyMode, Router};

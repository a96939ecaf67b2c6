//! A real Kubernetes cluster on one machine, without Docker.

pub mod apiserver;
mod pki;
pub mod process;
mod template;
pub mod tools;
mod ui;

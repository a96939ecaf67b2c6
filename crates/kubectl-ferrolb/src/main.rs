//! `kubectl ferrolb`: why an address is where it is, why there is none, and what would happen if.
//!
//! ```text
//! API server --> cluster.rs: objects, each list or why it cannot be had --+
//!     |                                                                   +--> commands/: answers --> output.rs
//!     +-- Pod proxy --> ask.rs: /status of the programs ------------------+
//!                       predict.rs: the decisions, by crates ipam, pools and placement
//! ```
//!
//! Nothing is decided here: objects are read by the crate `translation`, as the programs read them, and the answers come
//! from the crates that decide. What cannot be looked at is named, and never taken for "all is well".

mod answer;
mod ask;
mod client;
mod cluster;
mod commands;
mod look;
mod options;
mod output;
mod predict;
mod programs;
mod remedy;
mod snapshot;
mod survey;

use std::process::ExitCode;

use clap::Parser;

use crate::answer::Exit;
use crate::options::Cli;

fn main() -> ExitCode {
    if let Some(code) = commands::completion::for_kubectl() {
        return code;
    }
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return Exit::CouldNotLook.into();
        }
    };
    match runtime.block_on(commands::run(&cli)) {
        Ok(answer) => output::print(&answer, cli.output).into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            Exit::CouldNotLook.into()
        }
    }
}

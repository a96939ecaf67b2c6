//! Answers for names of Services on the LAN: each interface where any are announced has a task with a [`Responder`] and a
//! socket for each family.
//!
//! # Beside another responder
//!
//! A node may run avahi or systemd-resolved, which have port 5353 as well. The sockets here share it, and are bound to the
//! addresses of the groups: they hear what is sent to all, and nothing that is meant for the other one. So nothing is asked
//! for by unicast either (RFC 6762 section 15.1).

mod interface;
mod metrics;
mod socket;

use std::collections::{BTreeMap, BTreeSet};

use ::mdns::{Interface, Report, Wanted};
use interface::Task;
use kubekit::Watchdog;
pub use metrics::MdnsMetrics;
use placement::{InterfaceName, Prefix};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

/// Whether names of Services are answered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Nothing is heard or said.
    Silent,
    /// They are, on the LAN.
    Answered,
}

/// What is to be answered for where.
pub type Served = BTreeMap<Interface, Serve>;

/// What is to be answered for on one interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serve {
    /// The names.
    pub wanted: Wanted,
    /// The prefixes of the interface.
    pub prefixes: BTreeSet<Prefix>,
}

/// How many reports may wait to be read. When there are more, the interfaces wait; whoever reads never waits for them.
pub const REPORTS: usize = 64;

/// Answers for what is `served`, until that is to be taken back, and reports on it.
pub async fn run(
    mut served: watch::Receiver<Served>,
    mut take_back: oneshot::Receiver<()>,
    reports: mpsc::Sender<(InterfaceName, Report)>,
    metrics: MdnsMetrics,
    watchdog: Watchdog,
) {
    let mut running: BTreeMap<Interface, Task> = BTreeMap::new();
    loop {
        tokio::select! {
            changed = served.changed() => {
                if changed.is_err() {
                    return;
                }
                let served = served.borrow_and_update().clone();
                running.retain(|interface, _| served.contains_key(interface));
                for (interface, serve) in served {
                    if let Some(task) = running.get(&interface) {
                        task.serve(serve);
                    } else if !serve.wanted.here.is_empty() {
                        info!(interface = %interface.1, "answering for names by Multicast DNS");
                        let progress = watchdog.task(format!("mdns on {}", interface.1));
                        let task = Task::start(interface.clone(), serve, reports.clone(), metrics.clone(), progress);
                        running.insert(interface, task);
                    }
                }
            }
            Ok(()) = &mut take_back => {
                let all = std::mem::take(&mut running).into_values().map(Task::take_back);
                futures::future::join_all(all).await;
                return;
            }
        }
    }
}

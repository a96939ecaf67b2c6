//! The LAN side: makes the announcements of this node true on its interfaces.
//!
//! One task follows the interfaces through netlink (`links`) and keeps one task running for each that can
//! be announced on (`interface`). An interface that goes down, is deleted, enslaved or changes its address
//! ends its task; one that comes (back) gets a new one, which announces everything afresh: the LAN may have
//! learned other things in the meantime.

mod interface;
mod links;
mod report;
mod socket;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, error, info};

use crate::Metrics;
use links::{Follower, Link, Links, Seen};

pub use links::{ExcludeInterfaces, Unfit};
pub use report::{Conflict, Interface, Report, Wanted};

/// Between attempts to talk to netlink.
const RETRY: Duration = Duration::from_secs(1);

/// Makes sure that this program may use packet sockets. One that may not would be elected, and then keep
/// silent.
///
/// Without root, the program's file brings the capability along but leaves it to the program to switch it
/// on, for one thread: to be called before there are others.
pub fn claim_packet_sockets() -> anyhow::Result<()> {
    // Where this fails the socket tells, and says so better.
    _ = caps::raise(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW);
    socket::PacketSocket::unbound().map(drop).context(
        "opening a packet socket: the speaker needs the capability NET_RAW. Where it is granted and this \
         comes all the same, the image store dropped the mark on the program's file: run it as root, with \
         NET_RAW as its only capability",
    )
}

/// How the LAN side is to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Interfaces that are never announced on.
    pub exclude: ExcludeInterfaces,
    /// How often each address is announced while nothing changes, lest switches forget it; `None` for never.
    pub refresh_interval: Option<Duration>,
}

/// How many reports may wait to be read. When there are more, the LAN side waits too: each tells a change,
/// so none may be lost. Whoever reads them never waits for the LAN side, so nobody waits for ever.
pub const REPORTS: usize = 1024;

/// Does on the LAN what `wanted` says, for ever, and reports on it.
pub async fn run(
    options: Options,
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
) {
    let mut lan = Lan { wanted, reports, metrics, links: None, running: BTreeMap::new() };
    loop {
        if let Err(error) = lan.follow(options.exclude.clone()).await {
            error!(error = format!("{error:#}"), "cannot follow the interfaces, trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

struct Lan {
    wanted: watch::Receiver<Wanted>,
    reports: mpsc::Sender<Report>,
    metrics: Metrics,
    /// What was seen last.
    links: Option<Links>,
    running: BTreeMap<u32, Running>,
}

struct Running {
    link: Link,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lan {
    async fn follow(&mut self, exclude: ExcludeInterfaces) -> anyhow::Result<()> {
        let mut follower = Follower::new(exclude)?;
        loop {
            let links = follower.next().await?;
            self.update(links).await;
        }
    }

    async fn update(&mut self, links: Links) {
        if self.links.as_ref() == Some(&links) {
            return;
        }
        self.running.retain(|index, running| {
            let stays = links.get(index).is_some_and(|seen| seen.link.as_ref() == Ok(&running.link));
            if !stays {
                info!(interface = %running.link.name, "interface is announced on no longer");
            }
            stays
        });
        for (index, seen) in &links {
            match &seen.link {
                Ok(link) if !self.running.contains_key(index) => {
                    info!(interface = %link.name, mac = %link.mac, "interface is announced on");
                    self.running.insert(*index, self.start(link.clone()));
                }
                Err(reason) if self.links.as_ref().and_then(|links| links.get(index)) != Some(seen) => {
                    debug!(interface = %seen.name, %reason, "interface is not announced on");
                }
                _ => {}
            }
        }
        self.metrics.interfaces(self.running.len());
        // Nobody wants to know when this fails.
        _ = self.reports.send(Report::Interfaces(links.values().map(Seen::report).collect())).await;
        self.links = Some(links);
    }

    fn start(&self, link: Link) -> Running {
        let task =
            interface::run(link.clone(), self.wanted.clone(), self.reports.clone(), self.metrics.clone());
        Running { link, task: tokio::spawn(task).abort_handle() }
    }
}

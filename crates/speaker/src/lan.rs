//! The LAN side: makes the announcements of this node true on its interfaces.
//!
//! One task follows the interfaces through netlink (`links`) and keeps one task running for each that can
//! be announced on (`interface`). An interface that goes down, is deleted, enslaved or changes its address
//! ends its task; one that comes (back) gets a new one, which announces everything afresh: the LAN may have
//! learned other things in the meantime.

mod interface;
mod links;
mod socket;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use placement::Announcements;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, error, info};

use crate::Metrics;
use links::{Follower, Link, Links};

pub use links::ExcludeInterfaces;

/// Between attempts to talk to netlink.
const RETRY: Duration = Duration::from_secs(1);

/// Finds out whether this program may use packet sockets. One that may not would be elected, and then keep
/// silent.
pub fn check() -> anyhow::Result<()> {
    socket::PacketSocket::unbound()
        .map(drop)
        .context("opening a packet socket: the speaker needs the capability NET_RAW")
}

/// Announces on the LAN what `announcements` says, for ever.
///
/// The channel holds the whole state: a reader that is behind skips what has been overtaken, so there is no
/// queue that could be full.
pub async fn run(
    exclude: ExcludeInterfaces,
    announcements: watch::Receiver<Arc<Announcements>>,
    metrics: Metrics,
) {
    let mut lan = Lan { announcements, metrics, links: Links::new(), running: BTreeMap::new() };
    loop {
        if let Err(error) = lan.follow(exclude.clone()).await {
            error!(error = format!("{error:#}"), "cannot follow the interfaces, trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

struct Lan {
    announcements: watch::Receiver<Arc<Announcements>>,
    metrics: Metrics,
    links: Links,
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
            self.update(links);
        }
    }

    fn update(&mut self, links: Links) {
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
                Err(reason) if self.links.get(index) != Some(seen) => {
                    debug!(interface = %seen.name, %reason, "interface is not announced on");
                }
                _ => {}
            }
        }
        self.links = links;
        self.metrics.interfaces(self.running.len());
    }

    fn start(&self, link: Link) -> Running {
        let task = interface::run(link.clone(), self.announcements.clone(), self.metrics.clone());
        Running { link, task: tokio::spawn(task).abort_handle() }
    }
}

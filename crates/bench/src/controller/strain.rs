//! More of one thing than most clusters have, and what it costs a controller.

use std::time::{Duration, Instant};

use anyhow::Result;
use bench::contender::{Contender, Process};
use tokio::time::timeout;

use crate::cluster::{Cluster, Shape};
use crate::observer::Observer;

/// What there is much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strain {
    /// 40 pools of 500 entries are created, then a Service.
    Entries,
    /// 1000 pools are created, then a Service.
    Pools,
    /// 10 000 Services with one sharing key wait when the controller starts.
    Sharing,
    /// The pool is deleted that 1000 Services have their addresses from.
    Deletion,
}

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Until all Services had what they should; nothing if that was not within [`PATIENCE`].
    pub(crate) all: Option<Duration>,
    /// On a processor, until there was nothing to do any more.
    pub(crate) cpu: Duration,
    /// The longest that the loop went on without a pause, from the start of the program; for FerroLB only.
    pub(crate) longest_turn: Option<Duration>,
}

/// MetalLB takes minutes for what takes FerroLB a second.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

const SERVICES: usize = 1000;
const SHARING: usize = 10_000;

impl Strain {
    /// As the table names it.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Entries => "40 pools of 500 entries",
            Self::Pools => "1000 pools",
            Self::Sharing => "10 000 Services with one sharing key",
            Self::Deletion => "deletion of a pool with 1000 Services",
        }
    }

    /// Puts a controller to it, on an API server of its own.
    pub(crate) async fn measure(self, contender: &Contender) -> Result<Cost> {
        match self {
            Self::Entries => pools(contender, 40, 500).await,
            Self::Pools => pools(contender, 1000, 1).await,
            Self::Sharing => sharing(contender).await,
            Self::Deletion => deletion(contender).await,
        }
    }
}

async fn pools(contender: &Contender, count: u32, entries: u32) -> Result<Cost> {
    let mut cluster = Cluster::without_pools().await?;
    let mut observer = Observer::start(cluster.client()).await?;
    let controller = contender.start(cluster.server(), &[])?;
    let before = controller.quiet().await?;
    let start = Instant::now();
    cluster.create_pools(count, entries).await?;
    cluster.create_services(1, Shape::Alone).await?;
    settle(&controller, &mut observer, 1, start, before).await
}

async fn sharing(contender: &Contender) -> Result<Cost> {
    let mut cluster = Cluster::start().await?;
    cluster.create_services(SHARING, Shape::Sharing).await?;
    let mut observer = Observer::start(cluster.client()).await?;
    let start = Instant::now();
    let controller = contender.start(cluster.server(), &[])?;
    settle(&controller, &mut observer, SHARING, start, Duration::ZERO).await
}

async fn deletion(contender: &Contender) -> Result<Cost> {
    let mut cluster = Cluster::start().await?;
    let mut observer = Observer::start(cluster.client()).await?;
    let controller = contender.start(cluster.server(), &[])?;
    cluster.create_services(SERVICES, Shape::Alone).await?;
    observer.wait_for(SERVICES).await?;
    let before = controller.quiet().await?;
    let start = Instant::now();
    cluster.delete_pool().await?;
    settle(&controller, &mut observer, 0, start, before).await
}

/// Waits until so many Services have an address, and there is nothing to do any more.
async fn settle(
    controller: &Process,
    observer: &mut Observer,
    served: usize,
    start: Instant,
    before: Duration,
) -> Result<Cost> {
    let all = match timeout(PATIENCE, observer.wait_for(served)).await {
        Ok(seen) => Some(seen?.last - start),
        Err(_elapsed) => None,
    };
    let cpu = if all.is_some() { controller.quiet().await? } else { controller.cpu()? };
    Ok(Cost { all, cpu: cpu.saturating_sub(before), longest_turn: controller.longest_turn().await? })
}

//! Sees by a watch, as any user could, which Services have an address.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::BoxStream;
use kube::{Api, Client, ResourceExt};
use kubekit::{Change, watch};
use slim::Service;
use tokio::time::timeout;

/// The slowest contender takes a fraction of this.
const DEADLINE: Duration = Duration::from_mins(20);

/// A watch of all Services.
pub(crate) struct Observer {
    changes: BoxStream<'static, Change<Service>>,
    served: HashSet<String>,
}

/// When Services were seen to have an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// The first of them.
    pub(crate) first: Instant,
    /// The last.
    pub(crate) last: Instant,
}

impl Observer {
    /// Returns once all that is there has been seen.
    pub(crate) async fn start(client: Client) -> Result<Self> {
        let changes = watch(Api::<Service>::all(client)).boxed();
        let mut observer = Self { changes, served: HashSet::new() };
        observer.next().await?;
        Ok(observer)
    }

    /// Waits until exactly this many Services have an address.
    pub(crate) async fn wait_for(&mut self, count: usize) -> Result<Seen> {
        let before = self.served.len();
        let mut first = None;
        while self.served.len() != count {
            self.next()
                .await
                .with_context(|| format!("{} Services have an address, {count} should", self.served.len()))?;
            if self.served.len() != before {
                first.get_or_insert_with(Instant::now);
            }
        }
        let last = Instant::now();
        Ok(Seen { first: first.unwrap_or(last), last })
    }

    async fn next(&mut self) -> Result<()> {
        let change = timeout(DEADLINE, self.changes.next()).await;
        match change.context("nothing happens any more")?.context("the watch has ended")? {
            Change::Reset(services) => {
                self.served.clear();
                services.iter().for_each(|service| self.see(service));
            }
            Change::Apply(service) => self.see(&service),
            Change::Delete(service) => _ = self.served.remove(&service.name_any()),
        }
        Ok(())
    }

    fn see(&mut self, service: &Service) {
        if service.status.load_balancer.ingress.is_empty() {
            self.served.remove(&service.name_any());
        } else {
            self.served.insert(service.name_any());
        }
    }
}

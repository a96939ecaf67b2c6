//! What a contender goes through, and the figures that come of it.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use bench::contender::{Contender, Memory, Process};
use tokio::time::sleep;

use crate::cluster::{Cluster, Shape, Status};
use crate::observer::Observer;
use crate::requests::Requests;
use crate::strain::{Cost, Strain};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How many Services wait when the controller starts, once for each number.
    pub(crate) services: Vec<u32>,
    /// Whether to count what is asked of the API server in a minute in which nothing happens.
    pub(crate) idle: bool,
    /// Whether to measure what a usual cluster asks of a controller.
    pub(crate) usual: bool,
    /// What else to put it to.
    pub(crate) strains: Vec<Strain>,
}

/// All figures of one contender.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) usual: Option<Usual>,
    pub(crate) strains: Vec<(Strain, Cost)>,
}

/// What a usual cluster asks of a controller.
#[derive(Debug)]
pub(crate) struct Usual {
    /// With no Service at all.
    pub(crate) empty: Memory,
    /// Once for each number of the plan.
    pub(crate) fills: Vec<Fill>,
    /// With the last number of Services in place.
    pub(crate) full: Full,
    /// With twice that number; for FerroLB only, since it takes MetalLB very long.
    pub(crate) doubled: Option<Memory>,
}

/// Services wait, and the controller is started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) services: u32,
    /// How long as many status patches take, without a controller.
    pub(crate) raw: Duration,
    /// From the start of the program until it led; for FerroLB only.
    pub(crate) leading: Option<Duration>,
    /// Until the first Service had an address.
    pub(crate) first: Duration,
    /// Until all had.
    pub(crate) all: Duration,
    /// Until there was nothing to do any more.
    pub(crate) cpu: Duration,
    /// The longest that the loop went on without a pause; for FerroLB only.
    pub(crate) longest_turn: Option<Duration>,
    pub(crate) memory: Memory,
}

/// Everybody has an address.
#[derive(Debug)]
pub(crate) struct Full {
    /// Five seconds in which nothing happens.
    pub(crate) at_rest: Duration,
    /// The five seconds after a Service was deleted.
    pub(crate) delete: Duration,
    /// The five seconds after the pool got an annotation.
    pub(crate) edit: Duration,
    /// A restart, until there was nothing to do any more.
    pub(crate) restart: Duration,
    /// Writes of a Service or its status in that time.
    pub(crate) restart_writes: u64,
    pub(crate) restart_memory: Memory,
    /// Requests in a minute in which nothing happened.
    pub(crate) idle: Option<Requests>,
}

/// One contender's turn.
pub(crate) struct Scenario<'a> {
    contender: Contender,
    plan: &'a Plan,
}

impl<'a> Scenario<'a> {
    pub(crate) fn new(contender: Contender, plan: &'a Plan) -> Self {
        Self { contender, plan }
    }

    /// Takes all measurements.
    pub(crate) async fn run(&self) -> Result<Figures> {
        self.measure().await.with_context(|| self.contender.to_string())
    }

    async fn measure(&self) -> Result<Figures> {
        let usual = if self.plan.usual { Some(self.usual().await?) } else { None };
        let mut strains = Vec::new();
        for &strain in &self.plan.strains {
            self.progress(strain.what());
            strains.push((strain, strain.measure(&self.contender).await?));
        }
        Ok(Figures { usual, strains })
    }

    async fn usual(&self) -> Result<Usual> {
        let empty = self.empty().await?;
        let mut fills = Vec::new();
        let mut last = None;
        for &services in &self.plan.services {
            // The one before ends first: two API servers would slow each other down.
            drop(last.take());
            let (fill, cluster, controller) = self.fill(services).await?;
            fills.push(fill);
            last = Some((cluster, controller, services));
        }
        let (mut cluster, controller, services) = last.context("no number of Services was given")?;
        let (full, controller) = self.full(&mut cluster, controller).await?;
        let doubled = match self.contender {
            Contender::FerroLb(_) => Some(self.double(&mut cluster, &controller, services).await?),
            Contender::MetalLb(_) => None,
        };
        Ok(Usual { empty, fills, full, doubled })
    }

    fn progress(&self, what: &str) {
        eprintln!("{}: {what}", self.contender);
    }

    async fn empty(&self) -> Result<Memory> {
        self.progress("no Services");
        let cluster = Cluster::start().await?;
        let controller = self.contender.start(cluster.server(), &[])?;
        controller.quiet().await?;
        controller.memory()
    }

    async fn fill(&self, services: u32) -> Result<(Fill, Cluster, Process)> {
        let count = usize::try_from(services)?;
        self.progress(&format!("{services} Services: raw rate"));
        let mut cluster = Cluster::start().await?;
        cluster.create_services(count, Shape::Alone).await?;
        let mut observer = Observer::start(cluster.client()).await?;
        let start = Instant::now();
        let (written, seen) = tokio::join!(cluster.write_statuses(Status::Served), observer.wait_for(count));
        written?;
        let raw = seen?.last - start;
        let (written, seen) = tokio::join!(cluster.write_statuses(Status::Waiting), observer.wait_for(0));
        written?;
        seen?;

        self.progress(&format!("{services} Services: until all have an address"));
        let (start, clock) = (Instant::now(), SystemTime::now());
        let controller = self.contender.start(cluster.server(), &[])?;
        let seen = observer.wait_for(count).await?;
        drop(observer);
        let leading = cluster.leading_since().await?.and_then(|since| since.duration_since(clock).ok());
        let cpu = controller.quiet().await?;
        let (memory, longest_turn) = (controller.memory()?, controller.longest_turn().await?);
        let (first, all) = (seen.first - start, seen.last - start);
        Ok((Fill { services, raw, leading, first, all, cpu, longest_turn, memory }, cluster, controller))
    }

    async fn full(&self, cluster: &mut Cluster, controller: Process) -> Result<(Full, Process)> {
        let with_controller = self.idle(cluster).await?;

        let at_rest = five_seconds_since(controller.cpu()?, &controller).await?;
        self.progress("one Service is deleted");
        let before = controller.cpu()?;
        cluster.delete_one().await?;
        let delete = five_seconds_since(before, &controller).await?;

        controller.quiet().await?;
        self.progress("the pool gets an annotation");
        let before = controller.cpu()?;
        cluster.touch_pool().await?;
        let edit = five_seconds_since(before, &controller).await?;

        controller.quiet().await?;
        controller.stop()?;
        let without = self.idle(cluster).await?;
        let idle = with_controller.zip(without).map(|(with, without)| with.since(&without));

        self.progress("restart");
        let before = cluster.requests().await?;
        let controller = self.contender.start(cluster.server(), &[])?;
        let restart = controller.quiet().await?;
        let requests = cluster.requests().await?.since(&before);
        let restart_writes = requests.writes("services/status") + requests.writes("services");
        let restart_memory = controller.memory()?;
        Ok((Full { at_rest, delete, edit, restart, restart_writes, restart_memory, idle }, controller))
    }

    /// What is asked of the API server in a minute. It asks itself for things too, so what counts is the
    /// difference that a controller makes.
    async fn idle(&self, cluster: &Cluster) -> Result<Option<Requests>> {
        if !self.plan.idle {
            return Ok(None);
        }
        self.progress("an idle minute");
        let before = cluster.requests().await?;
        sleep(Duration::from_mins(1)).await;
        Ok(Some(cluster.requests().await?.since(&before)))
    }

    async fn double(&self, cluster: &mut Cluster, controller: &Process, services: u32) -> Result<Memory> {
        let count = 2 * usize::try_from(services)?;
        self.progress(&format!("{count} Services"));
        // One was deleted.
        let mut observer = Observer::start(cluster.client()).await?;
        let (created, seen) =
            tokio::join!(cluster.create_services(count, Shape::Alone), observer.wait_for(count));
        created?;
        seen?;
        controller.quiet().await?;
        controller.memory()
    }
}

async fn five_seconds_since(before: Duration, controller: &Process) -> Result<Duration> {
    sleep(Duration::from_secs(5)).await;
    Ok(controller.cpu()?.saturating_sub(before))
}

//! A look at everything: objects, programs, and what follows from both.

use std::cell::OnceCell;

use placement::Placement;

use crate::ask::{self, Told};
use crate::client;
use crate::cluster::{Cluster, Instead};
use crate::output::{Cell, Tone, cell};
use crate::predict::Allocation;
use crate::programs::Part;
use crate::snapshot::Snapshot;
use crate::survey::{Health, Reports, Sources, Surveyed, survey};

/// Everything.
pub(crate) struct Look {
    pub(crate) controllers: Vec<Told>,
    pub(crate) speakers: Vec<Told>,
    pub(crate) snapshot: Snapshot,
    pub(crate) allocation: Allocation,
    pub(crate) placement: Placement,
    pub(crate) reports: Option<Reports>,
    pub(crate) services: Vec<Surveyed>,
    /// Lists that could not be had. What follows from them is not known.
    pub(crate) failures: Vec<String>,
    /// Programs that could not be asked, with the reasons. What follows from objects is known all the same.
    pub(crate) unasked: Vec<String>,
    /// Those of them that could not be asked since a right is missing.
    pub(crate) forbidden: Vec<String>,
}

impl Look {
    /// Looks at everything.
    pub(crate) async fn at(cluster: &Cluster) -> Self {
        let (controllers, speakers) =
            futures::join!(cluster.ask(Part::Controller), cluster.ask(Part::Speaker));
        let ((snapshot, failures), reports) =
            futures::join!(cluster.snapshot(&speakers), cluster.announced());
        let mut failures = failures;
        let reports = reports.map_err(|failure| failures.push(failure)).ok();
        let mut look = Self::new(controllers, speakers, snapshot, reports, client::told(&failures));
        if let Some(Instead::MetalLb(_)) = cluster.instead {
            let why = "MetalLB serves it, which tells this program nothing";
            look.services.iter_mut().for_each(|service| without_guesses(service, why));
        }
        look
    }

    pub(crate) fn new(
        controllers: Vec<Told>,
        speakers: Vec<Told>,
        snapshot: Snapshot,
        reports: Option<Reports>,
        failures: Vec<String>,
    ) -> Self {
        let allocation = Allocation::decide(&snapshot);
        let placement = snapshot.placed_now();
        let sources = Sources {
            placement: &placement,
            speakers: &speakers,
            reports: reports.as_ref(),
            source: snapshot.speakers.source,
            routing: OnceCell::new(),
        };
        let mut services = survey(&snapshot, &allocation, &sources);
        if !failures.is_empty() {
            let why = "the reason cannot be told while lists are missing";
            services.iter_mut().for_each(|service| without_guesses(service, why));
        }
        let unasked = ask::failures(controllers.iter().chain(&speakers));
        let forbidden = ask::forbidden(controllers.iter().chain(&speakers));
        Self {
            controllers,
            speakers,
            snapshot,
            allocation,
            placement,
            reports,
            services,
            failures,
            unasked,
            forbidden,
        }
    }
}

/// Where something is missing, nothing follows from what is not in it.
fn without_guesses(service: &mut Surveyed, why: &str) {
    service.unserved = None;
    service.warnings.clear();
    let guessed = |health| matches!(health, Health::Waiting | Health::Silent | Health::Starting);
    if guessed(service.health) {
        service.health = Health::Unknown;
        service.reasons = vec![why.to_owned()];
        service.remedies.clear();
    }
    for address in &mut service.addresses {
        if guessed(address.health) {
            address.health = Health::Unknown;
        }
    }
}

impl Look {
    /// Programs that could not be asked though there is a right to, in lines for people.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Cell> {
        let notes = self.unasked.iter().filter(|it| !self.forbidden.contains(it));
        notes.map(|note| cell(format!("note: {note}"), Tone::Dim))
    }

    /// The same with these Services, where not all could be listed.
    pub(crate) fn with_services(self, services: Vec<slim::Service>) -> Self {
        let snapshot = Snapshot { services, ..self.snapshot };
        Self::new(self.controllers, self.speakers, snapshot, self.reports, self.failures)
    }
}

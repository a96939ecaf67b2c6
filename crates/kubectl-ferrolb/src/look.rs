//! A look at everything: objects, programs, and what follows from both.

mod decided;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use introspection::Elder;
use ipam::ServiceKey;
use jiff::{SignedDuration, Timestamp};
use placement::Placement;

use crate::ask::{self, Told};
use crate::client;
use crate::cluster::{Cluster, Instead};
use crate::output::{Cell, Tone, cell};
use crate::predict::Allocation;
use crate::programs::Part;
use crate::snapshot::Snapshot;
use crate::survey::{Health, Reports, Sources, Surveyed, survey};

/// An address is written sooner than this, unless the API server refuses it.
const WRITTEN_WITHIN: SignedDuration = SignedDuration::from_secs(10);

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
        look.tell_decided();
        look.tell_unwritten(Timestamp::now());
        look.tell_elder();
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

/// Why nothing can be told of a Service that another installation serves, from this namespace.
pub(crate) fn served_from(namespace: &str) -> String {
    format!(
        "FerroLB in namespace {namespace} serves it: --system-namespace {namespace} looks at it by what is there"
    )
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
    /// Tells of Services to which no address has been written for so long that more than time is missing.
    fn tell_unwritten(&mut self, now: Timestamp) {
        let late = self.snapshot.services.iter().filter(|service| {
            let created = service.metadata.creation_timestamp.as_ref();
            service.metadata.deletion_timestamp.is_none()
                && created.is_some_and(|created| now.duration_since(created.0) > WRITTEN_WITHIN)
        });
        let late: BTreeSet<ServiceKey> = late.map(translation::service_key).collect();
        for service in &mut self.services {
            let waits = service.health == Health::Starting && service.addresses.is_empty();
            if waits && service.key.as_ref().is_some_and(|key| late.contains(key)) {
                service.health = Health::Waiting;
                service.reasons.push(
                    "that takes less than a second, unless the API server refuses it, as where an admission webhook or a right is missing"
                        .to_owned(),
                );
                service.remedies.push(
                    "the log of the controller that leads (kubectl ferrolb status names it) says what the API server refuses"
                        .to_owned(),
                );
            }
        }
    }

    /// The FerroLB in another namespace that the controllers wait for.
    pub(crate) fn elder(&self) -> Option<&Elder> {
        self.controllers.iter().find_map(|told| told.controller()?.waits_for.as_ref())
    }

    /// Tells nothing of Services that another installation serves: its pools and advertisements count, which were not looked at.
    fn tell_elder(&mut self) {
        let Some(why) = self.elder().map(|elder| served_from(&elder.namespace)) else { return };
        self.services.iter_mut().for_each(|service| without_guesses(service, &why));
    }

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

#[cfg(test)]
mod tests {
    use introspection::{ControllerStatus, Document, Status};

    use super::*;
    use crate::fixtures::{service, snapshot, speaker_on};
    use crate::programs::Program;

    #[test]
    fn who_waits_for_another_installation_says_of_no_service_that_it_lacks_a_pool() {
        let elder = Elder { namespace: "b".to_owned(), lease: "l".to_owned(), runs: true };
        let looked = |waits_for: Option<Elder>| {
            let status = ControllerStatus { waits_for, ..ControllerStatus::default() };
            let program = Program { part: Part::Controller, ..speaker_on("n1") };
            let document = Ok(Document::new(vec![], Status::ControllerStatus(status)));
            let mut snapshot = snapshot(&[service("web", None)], &[], &[]);
            snapshot.pools.clear();
            let controllers = vec![Told { program, document }];
            let mut look = Look::new(controllers, vec![], snapshot, Some(Reports::new()), vec![]);
            look.tell_elder();
            look.services.remove(0)
        };
        assert_eq!(looked(None).health, Health::Waiting);
        let waits = looked(Some(elder));
        assert_eq!((waits.health, waits.remedies.len()), (Health::Unknown, 0));
        assert!(waits.reasons[0].contains("--system-namespace b"), "{waits:?}");
    }

    #[test]
    fn a_service_whose_address_is_not_written_for_long_waits_for_more_than_time() {
        let created: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let health = |after: i64, ip: Option<&str>| {
            let mut web = service("web", ip);
            web["metadata"]["creationTimestamp"] = created.to_string().into();
            let mut look =
                Look::new(vec![], vec![], snapshot(&[web], &["n1"], &[]), Some(Reports::new()), vec![]);
            look.tell_unwritten(created + SignedDuration::from_secs(after));
            look.services.remove(0)
        };
        assert_eq!(health(2, None).health, Health::Starting);
        let late = health(60, None);
        assert_eq!(late.health, Health::Waiting);
        assert!(late.reasons[0].contains("about to write 192.0.2."), "{late:?}");
        assert!(late.remedies[0].contains("what the API server refuses"), "{late:?}");
        assert_ne!(health(60, Some("192.0.2.1")).health, Health::Waiting);
    }
}

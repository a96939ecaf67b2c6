//! One Service as the Index knows it: what it wants, what its status says, and what it should say.

use std::net::IpAddr;
use std::time::Instant;

use ipam::{Assignment, Family, PoolName, Port, Record, ServiceKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::Version;
use kubekit::write::{Contest, Undone};
use slim::Service;
use translation::{Claim, Observed, Origin, Rules};

use crate::index::Unwritten;
use crate::warning::{self, Warning};

/// A Service as the API server showed it: what the controller reads of it, and no more.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) key: ServiceKey,
    pub(crate) created: Option<Timestamp>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Version,
    pub(crate) claim: Claim,
    pub(crate) observed: Observed,
    /// Whether it is being deleted, and waits for its finalizers only.
    pub(crate) deleting: bool,
    pub(crate) warnings: Vec<Warning>,
    /// The first of its families.
    pub(crate) primary: Family,
    /// Its node ports, where they matter.
    pub(crate) node_ports: Box<[Port]>,
}

impl Seen {
    /// Reads a Service.
    pub(crate) fn read(service: &Service, rules: &Rules) -> Self {
        Self {
            key: ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any()),
            created: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            uid: service.metadata.uid.clone(),
            version: Version::of(service),
            claim: Claim::read(service, rules),
            observed: Observed::read(service),
            deleting: service.metadata.deletion_timestamp.is_some(),
            warnings: warning::read(service),
            primary: translation::primary_family(service),
            node_ports: Box::default(),
        }
    }

    /// The same with the ports that are open on all nodes for it.
    pub(crate) fn with_node_ports(self, service: &Service) -> Self {
        Self { node_ports: translation::node_ports(service), ..self }
    }
}

/// How a version of a Service became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// In a full list, which tells what is, also when that is older than what was known: somebody may have brought the
    /// cluster back from a backup.
    List,
    /// In a watch.
    Watch,
}

/// What a newer version of a Service brings.
#[derive(Debug)]
pub(crate) struct Updated {
    /// Whether there is anything to decide.
    pub(crate) changed: bool,
    /// Whether somebody else wrote over the status, and what to do about that.
    pub(crate) undone: Option<Undone>,
}

/// One Service.
#[derive(Debug)]
pub(crate) struct Entry {
    /// When it was created: who is older is served first.
    pub(crate) created: Option<Timestamp>,
    pub(crate) uid: Option<String>,
    /// The version that `observed` is of.
    pub(crate) version: Version,
    pub(crate) claim: Claim,
    pub(crate) observed: Observed,
    pub(crate) goal: Goal,
    /// Whether the goal was reached once. From then on the status is the source of truth again: who edits
    /// it by hand means it.
    pub(crate) settled: bool,
    pub(crate) writing: Writing,
    /// Since when the status is off.
    pub(crate) off_since: Option<Instant>,
    /// How many writes failed in a row.
    pub(crate) failures: u32,
    /// Why its status could not be written, while it cannot.
    pub(crate) unwritten: Option<Unwritten>,
    /// Whether it is being deleted.
    pub(crate) deleting: bool,
    /// What it had and has lost through no wish of its own, at most one address of a family.
    pub(crate) previous: Vec<IpAddr>,
    /// Somebody else who writes its status.
    pub(crate) contest: Contest,
    /// Not to be written before this time, because of somebody who goes on writing it.
    pub(crate) paused: Option<Instant>,
    /// The last refusal that was told, to tell none twice.
    pub(crate) refusal: Option<String>,
    /// The warnings that it calls for, and those that have been told.
    pub(crate) warnings: Vec<Warning>,
    pub(crate) emitted: Vec<Warning>,
    /// The first of its families.
    pub(crate) primary: Family,
    /// Its node ports, where they matter.
    pub(crate) node_ports: Box<[Port]>,
}

/// What the status of a Service should say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Whatever it says: the Service is not ours, or its turn has not come.
    #[default]
    Whatever,
    /// No address.
    Nothing,
    /// These addresses.
    Have(Assignment),
    /// These addresses, which are those of nodes.
    Nodes(Assignment),
}

impl Goal {
    /// What is to be given; nothing to clear all, and nothing at all when whatever is there may stay.
    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        match self {
            Self::Have(assignment) | Self::Nodes(assignment) => Some(assignment),
            Self::Nothing | Self::Whatever => None,
        }
    }

    /// Where the addresses are from, and what the object is to say about that.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Nodes(_) => Origin::NodePool,
            Self::Whatever | Self::Nothing | Self::Have(_) => Origin::AddressPool,
        }
    }

    fn met_by(&self, observed: &Observed, previous: &[IpAddr]) -> bool {
        match self {
            Self::Whatever => true,
            Self::Nothing | Self::Have(_) | Self::Nodes(_) => {
                *observed == Observed::of(self.assignment(), previous, self.origin())
            }
        }
    }
}

/// Whether a write is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Writing {
    /// None is.
    #[default]
    Idle,
    /// It waits for its turn.
    Queued,
    /// The API server has it.
    InFlight,
    /// It failed and waits for a while.
    Delayed,
    /// The API server has another version, or none any more; the watch is to tell, and brings the next attempt with it.
    AwaitingNews,
}

impl Entry {
    /// A Service that was not known before.
    pub(crate) fn new(seen: Seen) -> Self {
        let Seen { key: _, created, uid, version, claim, observed, deleting, warnings, primary, node_ports } =
            seen;
        Self {
            created,
            uid,
            version,
            claim,
            goal: Goal::Whatever,
            settled: true,
            writing: Writing::Idle,
            off_since: None,
            failures: 0,
            unwritten: None,
            deleting,
            previous: observed.previous.clone(),
            contest: Contest::default(),
            paused: None,
            refusal: None,
            warnings,
            emitted: Vec::new(),
            primary,
            node_ports,
            observed,
        }
    }

    /// Takes in a newer version of the Service.
    pub(crate) fn update(&mut self, seen: Seen, source: Source, now: Instant) -> Updated {
        // The echo of an older write may come after the answer to a newer one. A full list is never an echo.
        if source == Source::Watch && seen.version.is_older_than(&self.version) {
            return Updated { changed: false, undone: None };
        }
        let mut undone = None;
        let rewritten =
            seen.claim != self.claim || seen.warnings != self.warnings || seen.deleting != self.deleting;
        // Whoever serves it has given it others.
        let moved = seen.claim == Claim::OtherClass && seen.observed.ips != self.observed.ips;
        if seen.observed != self.observed {
            let was_right = self.goal != Goal::Whatever && self.settled && !self.is_off();
            // The API server itself clears the status of a Service whose type changes.
            if was_right && !rewritten && !self.goal.met_by(&seen.observed, &self.previous) {
                // Services take turns anyway, so their pauses need not be spread.
                let this = self.contest.undone(now, 0.0);
                self.paused = (!this.pause.is_zero()).then(|| now + this.pause);
                undone = Some(this);
            }
            self.settled = true;
        }
        if rewritten && self.writing == Writing::Delayed {
            // Whoever changes a Service need not wait for what was in the way before.
            self.writing = Writing::Idle;
            self.paused = None;
        }
        if self.writing == Writing::AwaitingNews {
            self.writing = Writing::Idle;
        }
        self.version = seen.version;
        self.observed = seen.observed;
        self.claim = seen.claim;
        self.deleting = seen.deleting;
        self.warnings = seen.warnings;
        self.primary = seen.primary;
        self.node_ports = seen.node_ports;
        Updated { changed: rewritten || moved || self.is_off(), undone }
    }

    /// What it comes with when it is decided anew: what its object says, unless something better is on its way there.
    /// Addresses that somebody writes by hand are meant; the annotation that names their pool is ours alone, and who
    /// applies a manifest without it means nothing by that.
    pub(crate) fn record(&self) -> Record {
        match &self.goal {
            Goal::Have(assignment) if !self.settled || same(&assignment.ips, &self.observed.ips) => {
                Record { ips: assignment.ips.clone(), pool: Some(assignment.pool.clone()) }
            }
            Goal::Nothing if !self.settled => Record::default(),
            // No IPAddressPool has those.
            Goal::Nodes(_) => Record::default(),
            Goal::Have(_) | Goal::Nothing | Goal::Whatever => match self.observed.origin {
                Origin::AddressPool => self.observed.record(),
                Origin::NodePool => Record::default(),
            },
        }
    }

    /// The pool whose nodes' addresses it has.
    pub(crate) fn node_pool(&self) -> Option<PoolName> {
        match (&self.goal, self.observed.origin) {
            (Goal::Nodes(assignment), _) => Some(assignment.pool.clone()),
            (Goal::Have(_), _) | (_, Origin::AddressPool) => None,
            (Goal::Nothing | Goal::Whatever, Origin::NodePool) => {
                self.observed.pool.as_deref().map(PoolName::new)
            }
        }
    }

    /// Sets what the status should say.
    pub(crate) fn aim(&mut self, goal: Goal) {
        self.settled = goal.met_by(&self.observed, &self.previous);
        self.goal = goal;
    }

    /// Whether it is FerroLB's to serve, if that can be done.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.claim, Claim::Ours(_) | Claim::Unservable(_))
    }

    /// Whether the status has to be written.
    pub(crate) fn is_off(&self) -> bool {
        !self.goal.met_by(&self.observed, &self.previous)
    }

    /// From now on somebody else decides. A write that is under way goes on.
    pub(crate) fn forget_decision(&mut self) {
        self.goal = Goal::Whatever;
        self.settled = true;
        self.unwritten = None;
        self.previous.clone_from(&self.observed.previous);
        if self.writing != Writing::InFlight {
            self.writing = Writing::Idle;
        }
    }

    /// The object, for events about it.
    pub(crate) fn reference(&self, key: &ServiceKey) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            uid: self.uid.clone(),
            resource_version: Some(self.version.as_str().to_owned()),
            field_path: None,
        }
    }
}

/// Whether these are the same addresses, in whatever order.
fn same(some: &[IpAddr], others: &[IpAddr]) -> bool {
    some.len() == others.len() && some.iter().all(|ip| others.contains(ip))
}

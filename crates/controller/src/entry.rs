//! One Service as the Index knows it: what it wants, what its status says, and what it should say.

use std::net::IpAddr;
use std::time::Instant;

use api::names::ALLOCATED_FROM_POOL;
use ipam::{Assignment, ServiceKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::ResourceExt;
use kubekit::Version;
use kubekit::slim::Service;

use crate::claim::Claim;
use crate::remark::{self, Remark};

/// A Service as the API server showed it: what the controller reads of it, and no more.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) key: ServiceKey,
    pub(crate) created: Option<Timestamp>,
    pub(crate) uid: Option<String>,
    pub(crate) version: Version,
    pub(crate) claim: Claim,
    pub(crate) observed: Observed,
    pub(crate) remarks: Vec<Remark>,
}

impl Seen {
    /// Reads a Service. `class` is the load balancer class that is served.
    pub(crate) fn read(service: &Service, class: Option<&str>) -> Self {
        Self {
            key: ServiceKey::new(service.namespace().unwrap_or_default(), service.name_any()),
            created: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            uid: service.metadata.uid.clone(),
            version: Version::of(service),
            claim: Claim::read(service, class),
            observed: Observed::read(service),
            remarks: remark::read(service),
        }
    }
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
    /// The last complaint that was made about it, to make none twice.
    pub(crate) complaint: Option<String>,
    /// What there is to remark on it, and what of that has been told.
    pub(crate) remarks: Vec<Remark>,
    pub(crate) told: Vec<Remark>,
}

/// The part of a Service's status and annotations that the controller writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The addresses, in the order of the status.
    pub(crate) ips: Vec<IpAddr>,
    /// Whether there is something in the list that the controller would not have written.
    pub(crate) foreign: bool,
    /// The annotation that names the pool.
    pub(crate) pool: Option<String>,
}

impl Observed {
    fn read(service: &Service) -> Self {
        let ingress = &service.status.load_balancer.ingress;
        let ips: Vec<IpAddr> = ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect();
        // The API server fills in ipMode VIP; anything else is somebody's edit.
        let foreign = ips.len() != ingress.len()
            || ingress
                .iter()
                .any(|e| e.hostname.is_some() || e.ip_mode.as_deref().is_some_and(|m| m != "VIP"));
        let annotations = service.metadata.annotations.as_ref();
        Self { ips, foreign, pool: annotations.and_then(|a| a.get(ALLOCATED_FROM_POOL)).cloned() }
    }

    /// What it will be once this assignment is written, or once everything is cleared.
    pub(crate) fn of(assignment: Option<&Assignment>) -> Self {
        assignment.map_or_else(Self::default, |a| Self {
            ips: a.ips.clone(),
            foreign: false,
            pool: Some(a.pool.to_string()),
        })
    }
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
}

impl Goal {
    fn met_by(&self, observed: &Observed) -> bool {
        match self {
            Self::Whatever => true,
            Self::Nothing => *observed == Observed::of(None),
            Self::Have(assignment) => *observed == Observed::of(Some(assignment)),
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
}

impl Entry {
    /// A Service that was not known before.
    pub(crate) fn new(seen: Seen) -> Self {
        let Seen { key: _, created, uid, version, claim, observed, remarks } = seen;
        Self {
            created,
            uid,
            version,
            claim,
            observed,
            goal: Goal::Whatever,
            settled: true,
            writing: Writing::Idle,
            off_since: None,
            failures: 0,
            complaint: None,
            remarks,
            told: Vec::new(),
        }
    }

    /// Takes in a newer version of the Service. Whether there is anything new to decide.
    pub(crate) fn update(&mut self, seen: Seen) -> bool {
        // The echo of an older write may come after the answer to a newer one.
        if seen.version.is_older_than(&self.version) {
            return false;
        }
        if seen.observed != self.observed {
            self.settled = true;
        }
        let rewritten = seen.claim != self.claim || seen.remarks != self.remarks;
        self.version = seen.version;
        self.observed = seen.observed;
        self.claim = seen.claim;
        self.remarks = seen.remarks;
        rewritten || self.is_off()
    }

    /// The addresses that it comes with when it is decided anew: those of its status, unless better ones
    /// are on their way there.
    pub(crate) fn current(&self) -> &[IpAddr] {
        match &self.goal {
            Goal::Have(assignment) if !self.settled => &assignment.ips,
            Goal::Nothing if !self.settled => &[],
            Goal::Have(_) | Goal::Nothing | Goal::Whatever => &self.observed.ips,
        }
    }

    /// Sets what the status should say.
    pub(crate) fn aim(&mut self, goal: Goal) {
        self.settled = goal.met_by(&self.observed);
        self.goal = goal;
    }

    /// Whether the status has to be written.
    pub(crate) fn is_off(&self) -> bool {
        !self.goal.met_by(&self.observed)
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

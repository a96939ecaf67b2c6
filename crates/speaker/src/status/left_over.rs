//! `ServiceL2Status` of the dead: one that was killed cannot delete what it reported, and its Pod, whose end would take
//! the reports along, may stay. Who announces a Service now removes what nodes that are gone reported of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api::{ServiceL2Status, names};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use kubekit::REQUEST_TIMEOUT;
use kubekit::write::{Answer, Intent, Object, Writes};
use objects::text::label_value;
use placement::{NodeName, ServiceKey};
use tokio::sync::watch;
use tracing::info;

/// What others do about their reports after a change, they have done by then: who says goodbye deletes them itself.
const SETTLE: Duration = Duration::from_secs(1);
/// Services that are asked for by name; with more, all reports are listed.
const BY_NAME: usize = 20;

/// What must be known to tell a report of the dead.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The Services that are announced from here.
    pub(crate) announced: BTreeSet<ServiceKey>,
    /// The nodes whose reports are theirs: members, those that are away for a moment, and our own.
    pub(crate) alive: BTreeSet<NodeName>,
}

/// Removes what is left over, for as long as `known` may change. While it is nothing, nothing is known of the others, and
/// nothing is removed.
pub(crate) async fn remove(
    statuses: Api<ServiceL2Status>,
    mut known: watch::Receiver<Option<Known>>,
    writes: Writes,
) {
    let mut suspects = Suspects::default();
    known.mark_changed();
    loop {
        let due = suspects.due;
        tokio::select! {
            changed = known.changed() => {
                if changed.is_err() {
                    return;
                }
                suspects.follow(known.borrow_and_update().as_ref(), Instant::now());
            }
            () = kubekit::due(due), if due.is_some() => {
                let again = look(&statuses, &suspects, &writes).await;
                suspects.looked(again);
            }
        }
    }
}

/// Of which Services somebody else may have left reports.
#[derive(Debug, Default)]
struct Suspects {
    known: Known,
    /// The Services to look at.
    services: BTreeSet<ServiceKey>,
    /// When to look; nothing while there is nothing to look at or nothing known.
    due: Option<Instant>,
}

impl Suspects {
    /// What is known now. A Service that has come here is looked at, and all are when a node has died.
    fn follow(&mut self, known: Option<&Known>, now: Instant) {
        let Some(known) = known else {
            self.due = None;
            return;
        };
        let before = std::mem::replace(&mut self.known, known.clone());
        self.services.retain(|service| known.announced.contains(service));
        if before.alive.is_subset(&known.alive) {
            self.services.extend(known.announced.difference(&before.announced).cloned());
        } else {
            self.services.clone_from(&known.announced);
        }
        self.due = (!self.services.is_empty()).then(|| now + SETTLE);
    }

    /// All of them were looked at, unless it is to be tried again then.
    fn looked(&mut self, again: Option<Instant>) {
        self.due = again;
        if again.is_none() {
            self.services.clear();
        }
    }

    /// Which reports to ask for.
    fn selector(&self) -> String {
        if self.services.len() > BY_NAME {
            return names::SERVICE_NAME.to_owned();
        }
        let services: BTreeSet<_> = self.services.iter().map(|service| label_value(&service.name)).collect();
        let services: Vec<_> = services.into_iter().collect();
        format!("{} in ({})", names::SERVICE_NAME, services.join(","))
    }

    /// Whether a report is of a Service that is looked at, and of a node that is gone.
    fn is_left_over(&self, status: &ServiceL2Status) -> bool {
        let label = |name| status.labels().get(name).map(String::as_str).unwrap_or_default();
        let (name, namespace) = (label(names::SERVICE_NAME), label(names::SERVICE_NAMESPACE));
        let node = label(names::ANNOUNCING_NODE);
        let is = |service: &&ServiceKey| {
            label_value(&service.name) == name && label_value(&service.namespace) == namespace
        };
        !node.is_empty()
            && self.services.iter().any(|service| is(&service))
            && !self.known.alive.iter().any(|alive| label_value(alive.as_str()) == node)
    }
}

/// Removes what is left over of the suspects, once. When to try what failed again.
async fn look(statuses: &Api<ServiceL2Status>, suspects: &Suspects, writes: &Writes) -> Option<Instant> {
    // What the API server has at hand will do: nothing is removed that has changed since.
    let parameters = ListParams::default().labels(&suspects.selector()).match_any();
    let about = Object::new(ServiceL2Status::kind(&()), statuses.namespace().unwrap_or_default(), "");
    let list = match writes.perform(&about, Intent::Read, REQUEST_TIMEOUT, statuses.list(&parameters)).await {
        Answer::Done(list) => list,
        Answer::Conflict | Answer::Gone => return None,
        Answer::Refused(failure) | Answer::Unavailable(failure) => return Some(failure.again),
    };
    let mut again = None;
    for status in list.items.iter().filter(|status| suspects.is_left_over(status)) {
        match remove_one(statuses, status, writes).await {
            Answer::Done(()) => info!(labels = ?status.labels(), "removed what a node reported that is gone"),
            // Somebody has written it since: that one lives. Or it is gone already.
            Answer::Conflict | Answer::Gone => {}
            Answer::Refused(failure) | Answer::Unavailable(failure) => again = again.max(Some(failure.again)),
        }
    }
    again
}

/// Removes a report as it was seen, and no later one.
async fn remove_one(
    statuses: &Api<ServiceL2Status>,
    status: &ServiceL2Status,
    writes: &Writes,
) -> Answer<()> {
    let (name, namespace) = (status.name_any(), statuses.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: status.uid(), resource_version: status.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let about = Object::new(ServiceL2Status::kind(&()), namespace, &name);
    let request = async { statuses.delete(&name, &parameters).await.map(drop) };
    writes.perform(&about, Intent::Change, REQUEST_TIMEOUT, request).await
}

#[cfg(test)]
mod tests;

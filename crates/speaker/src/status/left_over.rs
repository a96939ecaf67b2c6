//! Removes `ServiceL2Status` of the dead, when the core says so: [`LeftOver`] has the reason.

use std::collections::BTreeSet;
use std::time::Instant;

use api::{ServiceL2Status, names};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use kubekit::REQUEST_TIMEOUT;
use kubekit::write::{Answer, Intent, Object, Writes};
use objects::text::label_value;
use speaker_core::LeftOver;
use tokio::sync::mpsc;
use tracing::info;

/// Services that are asked for by name; with more, all reports are listed.
const BY_NAME: usize = 20;

/// Removes what is left over as long as there may be more, and says of each whether it is removed, or when to try again.
pub(crate) async fn remove_all(
    statuses: Api<ServiceL2Status>,
    mut left_over: mpsc::Receiver<LeftOver>,
    results: mpsc::Sender<Option<Instant>>,
    writes: Writes,
) {
    while let Some(left_over) = left_over.recv().await {
        let again = remove(&statuses, &left_over, &writes).await;
        if results.send(again).await.is_err() {
            return;
        }
    }
}

/// Which reports to ask for.
fn selector(left_over: &LeftOver) -> String {
    if left_over.services.len() > BY_NAME {
        return names::SERVICE_NAME.to_owned();
    }
    let services = left_over.services.iter().map(|service| label_value(&service.name));
    let services: Vec<_> = services.collect::<BTreeSet<_>>().into_iter().collect();
    format!("{} in ({})", names::SERVICE_NAME, services.join(","))
}

fn is_left_over(status: &ServiceL2Status, left_over: &LeftOver) -> bool {
    let label = |name| status.labels().get(name).map(String::as_str).unwrap_or_default();
    let [service, namespace, node] =
        [names::SERVICE_NAME, names::SERVICE_NAMESPACE, names::ANNOUNCING_NODE].map(label);
    left_over.contains(service, namespace, node)
}

/// Removes what is left over. When to try what failed again.
async fn remove(statuses: &Api<ServiceL2Status>, left_over: &LeftOver, writes: &Writes) -> Option<Instant> {
    // What the API server has at hand will do: nothing is removed that has changed since.
    let parameters = ListParams::default().labels(&selector(left_over)).match_any();
    let about = Object::new(ServiceL2Status::kind(&()), statuses.namespace().unwrap_or_default(), "");
    let list = match writes.perform(&about, Intent::Read, REQUEST_TIMEOUT, statuses.list(&parameters)).await {
        Answer::Done(list) => list,
        Answer::Conflict | Answer::Gone => return None,
        Answer::Refused(failure) | Answer::Unavailable(failure) => return Some(failure.again),
    };
    let mut again = None;
    for status in list.items.iter().filter(|status| is_left_over(status, left_over)) {
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

//! Removes `ServiceL2Status` and `ServiceBGPStatus` of the dead, when the core says so: [`LeftOver`] has the reason.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Instant;

use api::{ServiceBGPStatus, ServiceL2Status, names};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use kubekit::REQUEST_TIMEOUT;
use kubekit::write::{Answer, Intent, Object, Writes};
use objects::text::label_value;
use serde::de::DeserializeOwned;
use speaker_core::LeftOver;
use tokio::sync::mpsc;
use tracing::info;

/// Services that are asked for by name; with more, all reports are listed.
const BY_NAME: usize = 20;

/// Removes what is left over as long as there may be more, and says of each whether it is removed, or when to try again.
pub(crate) async fn remove_all(
    client: Client,
    namespace: String,
    mut left_over: mpsc::Receiver<LeftOver>,
    results: mpsc::Sender<Option<Instant>>,
    writes: Writes,
) {
    let on_lan: Api<ServiceL2Status> = Api::namespaced(client.clone(), &namespace);
    let routed: Api<ServiceBGPStatus> = Api::namespaced(client, &namespace);
    while let Some(left_over) = left_over.recv().await {
        let mut again = None;
        if !left_over.services.is_empty() {
            let is_left_over = |status: &ServiceL2Status| is_left_over(status, &left_over);
            again = remove(&on_lan, &selector(&left_over), is_left_over, &writes).await;
        }
        if left_over.routed {
            let is_of_the_dead =
                |status: &ServiceBGPStatus| left_over.is_dead(label(status, names::ANNOUNCING_NODE));
            again = again.max(remove(&routed, names::ANNOUNCING_NODE, is_of_the_dead, &writes).await);
        }
        if results.send(again).await.is_err() {
            return;
        }
    }
}

/// Which reports about the LAN to ask for.
fn selector(left_over: &LeftOver) -> String {
    if left_over.services.len() > BY_NAME {
        return names::SERVICE_NAME.to_owned();
    }
    let services = left_over.services.iter().map(|service| label_value(&service.name));
    let services: Vec<_> = services.collect::<BTreeSet<_>>().into_iter().collect();
    format!("{} in ({})", names::SERVICE_NAME, services.join(","))
}

fn is_left_over(status: &ServiceL2Status, left_over: &LeftOver) -> bool {
    let [service, namespace, node] =
        [names::SERVICE_NAME, names::SERVICE_NAMESPACE, names::ANNOUNCING_NODE].map(|it| label(status, it));
    left_over.contains(service, namespace, node)
}

fn label<'a>(status: &'a impl ResourceExt, name: &str) -> &'a str {
    status.labels().get(name).map(String::as_str).unwrap_or_default()
}

/// Removes which of the reports that a selector finds are left over. When to try what failed again.
async fn remove<K>(
    statuses: &Api<K>,
    selector: &str,
    is_left_over: impl Fn(&K) -> bool,
    writes: &Writes,
) -> Option<Instant>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    // What the API server has at hand will do: nothing is removed that has changed since.
    let parameters = ListParams::default().labels(selector).match_any();
    let about = Object::new(K::kind(&()), statuses.namespace().unwrap_or_default(), "");
    let list = match writes.perform(&about, Intent::Read, REQUEST_TIMEOUT, statuses.list(&parameters)).await {
        Answer::Done(list) => list,
        Answer::Conflict | Answer::Gone => return None,
        Answer::Refused(failure) | Answer::Unavailable(failure) => return Some(failure.again),
    };
    let mut again = None;
    for status in list.items.iter().filter(|status| is_left_over(status)) {
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
async fn remove_one<K>(statuses: &Api<K>, status: &K, writes: &Writes) -> Answer<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let (name, namespace) = (status.name_any(), statuses.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: status.uid(), resource_version: status.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let about = Object::new(K::kind(&()), namespace, &name);
    let request = async { statuses.delete(&name, &parameters).await.map(drop) };
    writes.perform(&about, Intent::Change, REQUEST_TIMEOUT, request).await
}

#[cfg(test)]
mod tests;

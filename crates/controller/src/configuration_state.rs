//! The `ConfigurationState` named `controller`: one object that says whether all pools are in force.

use std::collections::BTreeMap;

use api::{ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use kubekit::Source;
use kubekit::keep::Wanted;

use crate::index::Index;

const NAME: &str = "controller";
const COMPONENT: &str = "controller";

/// The objects that the report is kept among.
pub(crate) fn source(client: &Client, namespace: &str) -> Source<ConfigurationState> {
    let api = Api::namespaced(client.clone(), namespace);
    Source::labelled(api, format!("{}={COMPONENT}", names::COMPONENT_TYPE))
}

/// The reports of the speakers.
pub(crate) fn of_speakers(client: &Client, namespace: &str) -> Source<ConfigurationState> {
    let api = Api::namespaced(client.clone(), namespace);
    Source::labelled(api, format!("{}=speaker", names::COMPONENT_TYPE))
}

/// Says what to report; nothing while another replica does.
pub(crate) fn report(
    to: &Wanted<ConfigurationState>,
    index: &Index,
    owner: Option<OwnerReference>,
    now: Timestamp,
) {
    if !index.decides() {
        return to.suspend();
    }
    let problems: Vec<String> = index.problems().collect();
    let mut state = ConfigurationState::new(NAME, ConfigurationStateSpec::default());
    state.metadata.labels = Some(BTreeMap::from([(names::COMPONENT_TYPE.to_owned(), COMPONENT.to_owned())]));
    state.metadata.owner_references = owner.map(|owner| vec![owner]);
    state.status = Some(ConfigurationStateStatus::new("poolReconcilerValid", &problems, now));
    to.set(NAME.to_owned(), Some(state));
    to.complete();
}

//! The `ConfigurationState` named `controller`: one object that says whether all pools are in force.

use std::collections::BTreeMap;

use api::{ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus, names};
use jiff::Timestamp;
use kube::{Api, Client};
use kubekit::{Source, keep::Wanted};

use crate::index::Index;

const NAME: &str = "controller";
const COMPONENT: &str = "controller";

/// The objects that the report is kept among.
pub(crate) fn source(client: &Client, namespace: &str) -> Source<ConfigurationState> {
    Source {
        api: Api::namespaced(client.clone(), namespace),
        labels: Some(format!("{}={COMPONENT}", names::COMPONENT_TYPE)),
        fields: None,
    }
}

/// What to report; nothing while another replica does.
pub(crate) fn wanted(index: &Index, now: Timestamp) -> Wanted<ConfigurationState> {
    if !index.decides() {
        return None;
    }
    let problems: Vec<String> = index.problems().collect();
    let mut state = ConfigurationState::new(NAME, ConfigurationStateSpec::default());
    state.metadata.labels = Some(BTreeMap::from([(names::COMPONENT_TYPE.to_owned(), COMPONENT.to_owned())]));
    state.status = Some(ConfigurationStateStatus::new("poolReconcilerValid", &problems, now));
    Some(BTreeMap::from([(NAME.to_owned(), state)]))
}

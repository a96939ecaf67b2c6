//! Which objects of the configuration are not in force as they stand, told in the log, in metrics and in the
//! `ConfigurationState` of this speaker.

use std::collections::BTreeMap;
use std::fmt::Display;

use api::{ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use kubekit::Source;
use objects::text::{label_value, object_name};
use placement::NodeName;
use tracing::{info, warn};

use crate::Metrics;

/// What the label of the component says of all speakers.
const COMPONENT: &str = "speaker";
/// The condition of the part that reads the configuration, as upstream names it.
const CONDITION: &str = "configReconcilerValid";

/// The objects that are not in force as they stand, and why.
#[derive(Debug)]
pub(crate) struct Configuration {
    invalid: BTreeMap<(&'static str, String), String>,
    metrics: Metrics,
}

impl Configuration {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { invalid: BTreeMap::new(), metrics }
    }

    /// What of an object is not in force. Everything else in it is, and no other object suffers.
    pub(crate) fn assess<F: Display>(&mut self, kind: &'static str, name: &str, faults: &[F]) {
        if faults.is_empty() {
            return self.valid(kind, name);
        }
        let error = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let object = (kind, name.to_owned());
        if self.invalid.get(&object) != Some(&error) {
            warn!(kind, name, error, "not all of it is in force");
        }
        self.invalid.insert(object, error);
        self.metrics.update_error();
        self.metrics.config_stale(true);
    }

    /// All of an object is in force, or it is gone.
    pub(crate) fn valid(&mut self, kind: &'static str, name: &str) {
        if self.invalid.remove(&(kind, name.to_owned())).is_some() {
            info!(kind, name, "valid again");
            self.metrics.config_stale(!self.invalid.is_empty());
        }
    }

    /// One line for each object that is not in force as it stands.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.invalid.iter().map(|((kind, name), error)| format!("{kind} {name}: {error}")).collect()
    }
}

/// The `ConfigurationState` of the speaker on `node`, to be kept among those of [`source`].
pub(crate) fn state(
    node: &NodeName,
    owner: Option<&OwnerReference>,
    problems: &[String],
    now: Timestamp,
) -> BTreeMap<String, ConfigurationState> {
    let name = object_name(&format!("{COMPONENT}-{node}"), "");
    let mut state = ConfigurationState::new(&name, ConfigurationStateSpec::default());
    let labels = [(names::COMPONENT_TYPE, COMPONENT), (names::NODE_NAME, node.as_str())];
    state.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), label_value(value))).into());
    state.metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
    state.status = Some(ConfigurationStateStatus::new(CONDITION, problems, now));
    BTreeMap::from([(name, state)])
}

/// The `ConfigurationState`s of this speaker.
pub(crate) fn source(client: &Client, namespace: &str, node: &NodeName) -> Source<ConfigurationState> {
    let api = Api::namespaced(client.clone(), namespace);
    let value = label_value(node.as_str());
    Source::labelled(api, format!("{}={COMPONENT},{}={value}", names::COMPONENT_TYPE, names::NODE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_until_it_is_right_or_gone() {
        let mut configuration = Configuration::new(Metrics::default());
        configuration.assess("IPAddressPool", "a", &["out of order", "too small"]);
        configuration.assess("L2Advertisement", "a", &["no such operator"]);
        assert_eq!(
            configuration.problems(),
            ["IPAddressPool a: out of order; too small", "L2Advertisement a: no such operator"]
        );
        configuration.assess::<&str>("IPAddressPool", "a", &[]);
        assert_eq!(configuration.problems(), ["L2Advertisement a: no such operator"]);
        configuration.valid("L2Advertisement", "a");
        assert!(configuration.problems().is_empty());
    }

    #[test]
    fn the_state_is_that_of_this_node() {
        let owner = OwnerReference { name: "pod".to_owned(), ..OwnerReference::default() };
        let states = state(&"n1".into(), Some(&owner), &[], Timestamp::UNIX_EPOCH);
        let metadata = &states["speaker-n1"].metadata;
        assert_eq!(metadata.labels.as_ref().unwrap()[names::NODE_NAME], "n1");
        assert_eq!(metadata.owner_references.as_deref(), Some(&[owner][..]));
    }

    #[test]
    fn a_node_with_a_long_name_has_a_state_that_the_api_server_takes() {
        let node = NodeName::new(format!("{}.example.org", "n".repeat(241)));
        let states = state(&node, None, &[], Timestamp::UNIX_EPOCH);
        let (name, state) = states.first_key_value().unwrap();
        let labels = state.metadata.labels.as_ref().unwrap();
        assert!(name.starts_with("speaker-nnn") && name.len() <= 253, "{name}");
        assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
    }
}

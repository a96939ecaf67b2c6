//! `ConfigurationState`: which objects of the configuration are not in force as they stand, for people to read.

use std::collections::BTreeSet;

use api::{ConfigurationState, ConfigurationStateSpec, ConfigurationStateStatus, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use kubekit::Source;
use node_addresses::Listener;
use objects::text::{label_value, object_name};
use placement::NodeName;

use crate::ipvs::Mode;

/// What the label of the component says of all speakers.
const COMPONENT: &str = "speaker";
/// The condition of the part that reads the configuration, as upstream names it.
const CONDITION: &str = "configReconcilerValid";

/// As many ports as a message takes, with addresses.
const MOST_LISTENERS: usize = 512;

/// The name of the `ConfigurationState` of the speaker on `node`.
pub(crate) fn name(node: &NodeName) -> String {
    object_name(&format!("{COMPONENT}-{node}"), "")
}

/// What it says, with one line for each problem, how kube-proxy runs where that matters to the controller, the ports that
/// programs listen on if that is to be told, and how the sessions with routers are doing.
pub(crate) fn status(
    problems: &[String],
    mode: Mode,
    listeners: Option<&BTreeSet<Listener>>,
    sessions: Vec<Condition>,
    now: Timestamp,
) -> ConfigurationStateStatus {
    let mut status = ConfigurationStateStatus::new(CONDITION, problems, now);
    let is_so = |type_: &str, reason: &str, message: String| Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: None,
        last_transition_time: Time(now),
    };
    status.conditions.extend(match mode {
        Mode::Ipvs => {
            let message =
                "kube-proxy binds the addresses of Services on this node: none can have those of nodes";
            Some(is_so(names::KUBE_PROXY_IPVS, "InterfaceFound", message.to_owned()))
        }
        Mode::Other => None,
    });
    let listening = |listeners| is_so(names::LISTENING_PORTS, "Seen", listing(listeners));
    status.conditions.extend(listeners.map(listening));
    status.conditions.extend(sessions);
    status
}

/// Ports in order, so that those that most people know are there in any case.
fn listing(listeners: &BTreeSet<Listener>) -> String {
    let more = listeners.len().saturating_sub(MOST_LISTENERS);
    let mut ordered: Vec<&Listener> = listeners.iter().collect();
    ordered.sort_by_key(|it| (it.port.number, **it));
    let shown = ordered.iter().take(MOST_LISTENERS).map(ToString::to_string);
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(" ")
}

/// The `ConfigurationState` of this name, to be kept among those of [`source`].
pub(crate) fn state(
    name: &str,
    node: &NodeName,
    owner: Option<&OwnerReference>,
    status: ConfigurationStateStatus,
) -> ConfigurationState {
    let mut state = ConfigurationState::new(name, ConfigurationStateSpec::default());
    let labels = [(names::COMPONENT_TYPE, COMPONENT), (names::NODE_NAME, node.as_str())];
    state.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), label_value(value))).into());
    state.metadata.owner_references = owner.map(|owner| vec![owner.clone()]);
    state.status = Some(status);
    state
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

    fn state_of(node: &NodeName, owner: Option<&OwnerReference>) -> ConfigurationState {
        state(&name(node), node, owner, status(&[], Mode::Other, None, vec![], Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn the_state_is_that_of_this_node() {
        let owner = OwnerReference { name: "pod".to_owned(), ..OwnerReference::default() };
        let metadata = state_of(&"n1".into(), Some(&owner)).metadata;
        assert_eq!(metadata.name.as_deref(), Some("speaker-n1"));
        assert_eq!(metadata.labels.as_ref().unwrap()[names::NODE_NAME], "n1");
        assert_eq!(metadata.owner_references.as_deref(), Some(&[owner][..]));
    }

    #[test]
    fn ipvs_is_reported_beside_the_configuration_and_nothing_else_is() {
        let types = |mode| {
            let status = status(&[], mode, None, vec![], Timestamp::UNIX_EPOCH);
            status.conditions.into_iter().map(|it| (it.type_, it.status)).collect::<Vec<_>>()
        };
        let valid = (CONDITION.to_owned(), "True".to_owned());
        assert_eq!(types(Mode::Other), std::slice::from_ref(&valid));
        assert_eq!(types(Mode::Ipvs), [valid, ("KubeProxyIPVS".to_owned(), "True".to_owned())]);
    }

    #[test]
    fn ports_are_listed_the_lowest_first_in_a_message_that_the_api_server_takes() {
        let message = |listeners: &BTreeSet<Listener>| {
            let status = status(&[], Mode::Other, Some(listeners), vec![], Timestamp::UNIX_EPOCH);
            status.conditions.into_iter().find(|it| it.type_ == names::LISTENING_PORTS).unwrap().message
        };
        let few = ["TCP/8080", "UDP/53", "TCP/22@10.0.0.1"].map(|text| text.parse().unwrap());
        assert_eq!(message(&few.into()), "TCP/22@10.0.0.1 UDP/53 TCP/8080");
        assert_eq!(message(&BTreeSet::new()), "");
        let at = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff";
        let many =
            (1_u16..=9999).map(|port| format!("SCTP/{}@{at}", 65_535 - port).parse().unwrap()).collect();
        let message = message(&many);
        assert!(message.len() <= objects::text::CONDITION_MESSAGE && message.ends_with("and 9487 more"));
        assert!(message.starts_with("SCTP/55536@"), "{message}");
    }

    #[test]
    fn a_node_with_a_long_name_has_a_state_that_the_api_server_takes() {
        let node = NodeName::new(format!("{}.example.org", "n".repeat(241)));
        let metadata = state_of(&node, None).metadata;
        let (name, labels) = (metadata.name.unwrap(), metadata.labels.unwrap());
        assert!(name.starts_with("speaker-nnn") && name.len() <= 253, "{name}");
        assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
    }
}

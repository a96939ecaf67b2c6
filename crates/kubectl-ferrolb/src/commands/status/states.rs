//! What the programs refuse of the configuration that shows in no object of it, such as a Secret that a peer names.

use std::collections::BTreeMap;

use api::ConfigurationState;
use kube::ResourceExt;

use super::{NAMED, Problem};
use crate::cluster::Cluster;
use crate::output::some;

/// What their `ConfigurationState`s say beyond what is told already. Nothing where they cannot be read: it is found out
/// otherwise that rights are missing.
pub(super) async fn problems(cluster: &Cluster, told: &[Problem]) -> Vec<Problem> {
    let states = cluster.of_namespace::<ConfigurationState>(&cluster.system).await.unwrap_or_default();
    beyond(&states, told)
}

fn beyond(states: &[ConfigurationState], told: &[Problem]) -> Vec<Problem> {
    let mut by_sentence: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for state in states {
        let conditions = state.status.iter().flat_map(|status| &status.conditions);
        let lines = conditions.filter(|it| it.status == "False").flat_map(|it| it.message.lines());
        // Each begins with the object that it is about.
        for (about, reason) in lines.filter_map(|line| line.split_once(": ")) {
            if about.split_whitespace().count() == 2 && told.iter().all(|it| it.about != about) {
                let who = state.name_any();
                let who =
                    who.strip_prefix("speaker-").map_or_else(|| who.clone(), |node| format!("node {node}"));
                by_sentence.entry((about.to_owned(), reason.to_owned())).or_default().push(who);
            }
        }
    }
    let problem = |((about, reason), who): ((String, String), Vec<String>)| Problem {
        about,
        reason: format!("{reason} (so says {})", some(&who, NAMED)),
        remedy: None,
    };
    by_sentence.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_all_speakers_say_is_told_once_and_what_is_told_already_is_not() {
        let state = |name: &str, message: &str| -> ConfigurationState {
            let condition = json!({
                "type": "configReconcilerValid", "status": "False", "reason": "ConfigurationError",
                "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let it = json!({
                "metadata": {"name": name}, "spec": {}, "status": {"result": "Invalid", "conditions": [condition]},
            });
            serde_json::from_value(it).unwrap()
        };
        let secret = "BGPPeer r1: spec.passwordSecret: there is no Secret nope: create it";
        let both = format!("{secret}\nBGPPeer r2: spec.bfdProfile: there is no BFDProfile x");
        let states =
            [state("speaker-n1", &both), state("speaker-n2", secret), state("speaker-n3", "and 3 more")];
        let told = Problem {
            about: "BGPPeer r2".to_owned(),
            reason: "there is no BFDProfile x".to_owned(),
            remedy: None,
        };
        let [found] = &beyond(&states, &[told])[..] else { panic!("one") };
        assert_eq!(found.about, "BGPPeer r1");
        assert_eq!(
            found.reason,
            "spec.passwordSecret: there is no Secret nope: create it (so says node n1, node n2)"
        );
    }
}

//! Why a container does not run, as the Pod's status says it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus};

/// So much is told of what a program said last.
const LAST_WORDS: usize = 300;

/// Why the container of this name does not run; nothing where it does.
pub(super) fn why(status: &PodStatus, container: &str) -> Option<String> {
    let containers = status.container_statuses.iter().flatten();
    let Some(it) = containers.clone().find(|it| it.name == container) else {
        return (status.phase.as_deref() != Some("Running")).then(|| not_begun(status));
    };
    match it.state.as_ref()? {
        ContainerState { running: Some(_), .. } => None,
        ContainerState { terminated: Some(end), .. } => Some(ended(end)),
        ContainerState { waiting, .. } => Some(waits(
            it,
            waiting.as_ref().and_then(|it| it.reason.as_deref()).unwrap_or_default(),
            waiting.as_ref().and_then(|it| it.message.as_deref()).unwrap_or_default(),
        )),
    }
}

/// Of a Pod that no kubelet has taken up.
fn not_begun(status: &PodStatus) -> String {
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|it| it.type_ == "PodScheduled" && it.status == "False")
        .and_then(|it| it.message.as_deref());
    match unscheduled {
        Some(why) => format!("it finds no node: {why}"),
        None => "it is not started yet".to_owned(),
    }
}

/// Of a container that is to be started.
fn waits(it: &ContainerStatus, reason: &str, message: &str) -> String {
    match reason {
        "CrashLoopBackOff" => {
            let end = it.last_state.as_ref().and_then(|last| last.terminated.as_ref());
            let ended = end.map_or_else(|| "it ends".to_owned(), ended);
            format!("{ended}, {} times by now", it.restart_count)
        }
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            format!("its image {} cannot be had: {message}", it.image)
        }
        // What it waits for is told by events alone.
        "ContainerCreating" | "PodInitializing" | "" => "it is not started yet".to_owned(),
        other if message.is_empty() => format!("it cannot be started: {other}"),
        other => format!("it cannot be started: {other}: {message}"),
    }
}

/// Of a container that has ended: what it said last, where the Pod's status has that.
fn ended(end: &ContainerStateTerminated) -> String {
    let reason = end.reason.as_deref().filter(|it| !matches!(*it, "Error" | "Completed"));
    let how = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let said = end.message.as_deref().unwrap_or_default();
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let from = said.char_indices().rev().nth(LAST_WORDS - 1).map_or(0, |(index, _)| index);
    let said = if said.is_empty() { String::new() } else { format!(": {}", &said[from..]) };
    format!("it ended with exit status {}{how}{said}", end.exit_code)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> Option<String> {
        why(&serde_json::from_value(status.clone()).unwrap(), "speaker")
    }

    fn container(state: &Value) -> Value {
        json!({"phase": "Running", "containerStatuses": [{
            "name": "speaker", "image": "ferrolb:1", "imageID": "", "ready": false, "restartCount": 3, "state": state,
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "Error: opening a\n packet socket"}},
        }]})
    }

    #[test]
    fn what_keeps_a_container_from_running_is_told_in_its_own_words() {
        let waiting = |reason: &str, message: &str| {
            container(&json!({"waiting": {"reason": reason, "message": message}}))
        };
        for (status, expected) in [
            (container(&json!({"running": {}})), None),
            (
                waiting("CrashLoopBackOff", "back-off 40s"),
                Some("it ended with exit status 1: Error: opening a packet socket, 3 times by now"),
            ),
            (waiting("ImagePullBackOff", "not found"), Some("its image ferrolb:1 cannot be had: not found")),
            (
                waiting("CreateContainerConfigError", "secret \"x\" not found"),
                Some("it cannot be started: CreateContainerConfigError: secret \"x\" not found"),
            ),
            (waiting("RunContainerError", ""), Some("it cannot be started: RunContainerError")),
            (waiting("ContainerCreating", ""), Some("it is not started yet")),
            (
                container(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
                Some("it ended with exit status 137 (OOMKilled)"),
            ),
            (json!({"phase": "Pending"}), Some("it is not started yet")),
            (json!({"phase": "Running"}), None),
            (
                json!({"phase": "Pending", "conditions": [
                    {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"},
                ]}),
                Some("it finds no node: 0/3 nodes are available"),
            ),
        ] {
            assert_eq!(told(&status).as_deref(), expected, "{status}");
        }
    }

    #[test]
    fn of_a_long_last_word_the_end_is_told() {
        let message = format!("{} the reason", "ä".repeat(5000));
        let end = json!({"exitCode": 1, "message": message});
        let said = told(&container(&json!({"terminated": end}))).unwrap();
        assert!(said.chars().count() < 340 && said.ends_with("ä the reason"), "{said}");
    }
}

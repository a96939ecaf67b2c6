//! What the API server says, time and again: addresses of Services, restarts of FerroLB's containers, its events.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::Role;
use lab::{Lab, chart};
use serde_json::Value;

use super::{End, Recorder};
use crate::observation::{Container, Seen};
use crate::site;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Events are looked at less often: there are many.
const LOOKS_PER_EVENTS: u32 = 5;
/// An API server that stands still is not waited for.
const TIMEOUT: &str = "--request-timeout=5s";

pub(super) fn look(lab: &Lab, recorder: &Recorder, ends: &End) {
    let mut events = None;
    for turn in 0_u32.. {
        if ends.is_here() {
            break;
        }
        // Who cannot be asked has been switched off by the script.
        if let Ok(list) = lab.kubectl_json(["get", "services,endpointslices,pods", "-A", TIMEOUT]) {
            recorder.now(Seen::Services(site::addresses(&list)));
            recorder.now(Seen::Unserved(site::unserved(&list)));
            recorder.now(Seen::Restarts(restarts(&list)));
        }
        if turn.is_multiple_of(LOOKS_PER_EVENTS)
            && let Ok(list) = lab.kubectl_json(["get", "events", "-A", TIMEOUT])
        {
            recorder.now(Seen::Events(new_events(&mut events, &list)));
        }
        ends.wait(EVERY);
    }
}

fn restarts(list: &Value) -> BTreeMap<Container, u64> {
    let pods = list["items"].as_array().into_iter().flatten().filter(|item| {
        item["kind"] == "Pod"
            && item["metadata"]["namespace"] == chart::NAMESPACE
            && item["metadata"]["labels"]["app.kubernetes.io/name"] == "ferrolb"
    });
    let container = |pod: &Value| {
        let metadata = &pod["metadata"];
        let component = metadata["labels"]["app.kubernetes.io/component"].as_str()?;
        let role =
            [Role::Controller, Role::Speaker].into_iter().find(|role| role.to_string() == component)?;
        let (name, uid) = (metadata["name"].as_str()?, metadata["uid"].as_str()?);
        let node = pod["spec"]["nodeName"].as_str()?.to_owned();
        let count = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
        Some((Container { role, node, pod: format!("{name} ({uid})") }, count))
    };
    pods.filter_map(container).collect()
}

/// How often FerroLB has told of something since the last look. What it told before the first one is no news.
fn new_events(known: &mut Option<BTreeMap<String, u64>>, list: &Value) -> u64 {
    let ours = |event: &&Value| {
        let component = &event["reportingComponent"];
        component.as_str().is_some_and(|component| component.starts_with("metallb-"))
    };
    let count = |event: &Value| {
        let uid = event["metadata"]["uid"].as_str()?.to_owned();
        Some((uid, event["series"]["count"].as_u64().or(event["count"].as_u64()).unwrap_or(1)))
    };
    let now = list["items"].as_array().into_iter().flatten().filter(ours).filter_map(count);
    let now: BTreeMap<String, u64> = now.collect();
    let is_first = known.is_none();
    let known = known.get_or_insert_default();
    let mut new = 0;
    for (uid, count) in now {
        let before = known.entry(uid).or_insert(0);
        new += count.saturating_sub(*before);
        *before = count.max(*before);
    }
    if is_first { 0 } else { new }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_counted_once_and_again_when_they_repeat() {
        let event = |uid: &str, count: u64, by: &str| json!({"metadata": {"uid": uid}, "count": count, "reportingComponent": by});
        let list = |events: &[Value]| json!({"items": events});
        let mut known = None;
        assert_eq!(new_events(&mut known, &list(&[event("a", 3, "metallb-speaker")])), 0);
        let later =
            [event("a", 5, "metallb-speaker"), event("b", 1, "metallb-controller"), event("c", 9, "kubelet")];
        assert_eq!(new_events(&mut known, &list(&later)), 3);
        assert_eq!(new_events(&mut known, &list(&later[..1])), 0, "an event expires");
        assert_eq!(new_events(&mut known, &list(&later)), 0);
    }

    #[test]
    fn restarts_are_those_of_our_containers() {
        let pod = |name: &str, app: &str| {
            json!({"kind": "Pod",
                "metadata": {"name": name, "uid": "u", "namespace": chart::NAMESPACE,
                    "labels": {"app.kubernetes.io/name": app, "app.kubernetes.io/component": "speaker"}},
                "spec": {"nodeName": "n2"},
                "status": {"containerStatuses": [{"restartCount": 4}]}})
        };
        let list = json!({"items": [pod("ours", "ferrolb"), pod("other", "web"), {"kind": "Service"}]});
        let expected = Container { role: Role::Speaker, node: "n2".to_owned(), pod: "ours (u)".to_owned() };
        assert_eq!(restarts(&list), BTreeMap::from([(expected, 4)]));
    }
}

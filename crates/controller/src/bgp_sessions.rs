//! How the BGP sessions of all nodes are doing, as their speakers report it, put together for each router.

use std::collections::BTreeMap;

use api::{ConfigurationState, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kubekit::{Change, Mirror};
use objects::text::{self, CONDITION_MESSAGE};

use crate::acceptance::first_of;

/// Of so many nodes without a session it is told why.
const FEW: usize = 5;

/// What the speakers report.
#[derive(Debug, Default)]
pub(crate) struct BgpSessions {
    mirror: Mirror<String>,
    /// By the name of the report.
    reports: BTreeMap<String, Report>,
}

/// What one speaker reports.
#[derive(Debug)]
struct Report {
    node: String,
    /// For each router, how the session is doing.
    sessions: BTreeMap<String, Session>,
}

/// A session as it is reported.
#[derive(Debug, Clone)]
enum Session {
    Established,
    /// It is established, but BFD is down beside it, or not all is announced in it.
    Impaired(String),
    /// What keeps it from being established.
    Down(String),
}

impl BgpSessions {
    /// Takes in a change of the speakers' reports.
    pub(crate) fn change(&mut self, change: Change<ConfigurationState>) {
        for (name, state) in self.mirror.update(change, ResourceExt::name_any) {
            match state {
                Some(state) => _ = self.reports.insert(name, Report::read(&state)),
                None => _ = self.reports.remove(&name),
            }
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether all nodes that have told of a session with the router have it, where any has. `known` is what the condition says
    /// now.
    pub(crate) fn condition(
        &self,
        peer: &str,
        known: Option<&Condition>,
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Condition> {
        let of = |report: &'_ Report| report.sessions.get(peer).cloned().map(|it| (report.node.clone(), it));
        let all: BTreeMap<String, Session> = self.reports.values().filter_map(of).collect();
        if all.is_empty() {
            return None;
        }
        let (mut failed, mut impaired) = (Vec::new(), Vec::new());
        for (node, session) in &all {
            match session {
                Session::Established => {}
                Session::Impaired(why) => impaired.push(format!("{node}: {why}")),
                Session::Down(why) => failed.push(format!("{node}: {why}")),
            }
        }
        let (status, reason) =
            if failed.is_empty() { ("True", "Established") } else { ("False", "NotEstablished") };
        let number = format!("{} of {} nodes", all.len() - failed.len(), all.len());
        let parts = [vec![number], first_of(&[failed, impaired].concat(), FEW)].concat();
        let since = known.filter(|known| known.status == status);
        Some(Condition {
            type_: names::SESSIONS_ESTABLISHED.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: text::shorten(&text::printable(&parts.join("; ")), CONDITION_MESSAGE),
            observed_generation: generation,
            last_transition_time: since.map_or(Time(now), |known| known.last_transition_time.clone()),
        })
    }
}

impl Report {
    fn read(state: &ConfigurationState) -> Self {
        let node = state.labels().get(names::NODE_NAME).cloned().unwrap_or_else(|| state.name_any());
        let conditions = state.status.iter().flat_map(|status| &status.conditions);
        let sessions = conditions.filter_map(|it| {
            let peer = it.type_.strip_prefix(names::BGP_SESSION)?;
            let session = match (&*it.status, &*it.reason) {
                ("True", names::WITHOUT_BFD | names::PARTLY_ANNOUNCED) => {
                    Session::Impaired(it.message.clone())
                }
                ("True", _) => Session::Established,
                (_, _) => Session::Down(it.message.clone()),
            };
            Some((peer.to_owned(), session))
        });
        Self { node, sessions: sessions.collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(node: &str, status: &str, message: &str) -> ConfigurationState {
        reported(node, status, "x", message)
    }

    fn reported(node: &str, status: &str, reason: &str, message: &str) -> ConfigurationState {
        let condition = json!({
            "type": "session.ferrolb.io/router", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let metadata = json!({"name": format!("speaker-{node}"), "labels": {"metallb.io/node-name": node}});
        let kind = json!({"apiVersion": "metallb.io/v1beta1", "kind": "ConfigurationState"});
        let mut object = json!({"metadata": metadata, "status": {"conditions": [condition]}});
        object.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    fn said(sessions: &BgpSessions) -> Option<(String, String)> {
        let condition = sessions.condition("router", None, None, Timestamp::UNIX_EPOCH)?;
        Some((condition.status, condition.message))
    }

    #[test]
    fn a_router_has_all_its_sessions_or_it_is_told_which_nodes_have_none_and_why() {
        let mut sessions = BgpSessions::default();
        assert_eq!(said(&sessions), None);
        let refused = "192.0.2.1:179: no TCP connection";
        sessions.change(Change::Reset(vec![report("n1", "True", ""), report("n2", "False", refused)]));
        let line = |status: &str, message: &str| Some((status.to_owned(), message.to_owned()));
        assert_eq!(said(&sessions), line("False", "1 of 2 nodes; n2: 192.0.2.1:179: no TCP connection"));
        assert_eq!(sessions.condition("another", None, None, Timestamp::UNIX_EPOCH), None);
        sessions.change(Change::Apply(report("n2", "True", "")));
        assert_eq!(said(&sessions), line("True", "2 of 2 nodes"));
        let bfd = "192.0.2.1:179: BFD is down: no control packet came in time";
        sessions.change(Change::Apply(reported("n2", "True", names::WITHOUT_BFD, bfd)));
        assert_eq!(said(&sessions), line("True", &format!("2 of 2 nodes; n2: {bfd}")));
        sessions.change(Change::Delete(report("n2", "True", "")));
        assert_eq!(said(&sessions), line("True", "1 of 1 nodes"));
        let many = (10..17).map(|number| report(&format!("n{number}"), "False", "x"));
        sessions.change(Change::Reset(many.collect()));
        assert!(said(&sessions).unwrap().1.ends_with("n14: x; and 2 more"), "{:?}", said(&sessions));
    }

    #[test]
    fn a_node_that_does_not_announce_all_is_named_with_the_reason() {
        let mut sessions = BgpSessions::default();
        let why = "192.0.2.1:179: IPv6 routes are not announced: x";
        let partly = reported("n2", "True", "PartlyAnnounced", why);
        sessions.change(Change::Reset(vec![report("n1", "True", ""), partly]));
        let message = format!("2 of 2 nodes; n2: {why}");
        assert_eq!(said(&sessions), Some(("True".to_owned(), message)));
    }

    #[test]
    fn the_time_of_the_last_transition_stays_while_the_status_does() {
        let mut sessions = BgpSessions::default();
        sessions.change(Change::Reset(vec![report("n1", "True", "")]));
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let first = sessions.condition("router", None, Some(1), at(1)).unwrap();
        sessions.change(Change::Apply(report("n2", "True", "")));
        let second = sessions.condition("router", Some(&first), Some(1), at(2)).unwrap();
        assert_eq!(second.last_transition_time, first.last_transition_time);
        sessions.change(Change::Apply(report("n2", "False", "x")));
        let third = sessions.condition("router", Some(&second), Some(1), at(3)).unwrap();
        assert_eq!(third.last_transition_time, Time(at(3)));
    }
}

//! `NodeAddressPool` objects, what they say, and what is to be said about each.

use std::collections::BTreeMap;

use api::{NodeAddressPool, NodeAddressPoolStatus, names};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kubekit::events::Notice;
use kubekit::{Change, Mirror};
use node_addresses::{Listening, NodePool};
use objects::text;
use objects::{NodeName, PoolName};

use crate::acceptance::{Acceptance, Assessment};

/// As many nodes as a message names.
const MOST_NAMED: usize = 10;

/// All `NodeAddressPool` objects, by name.
#[derive(Debug, Default)]
pub(crate) struct NodePoolObjects {
    mirror: Mirror<PoolName>,
    objects: BTreeMap<PoolName, Object>,
}

#[derive(Debug)]
struct Object {
    acceptance: Acceptance,
    assessment: Assessment,
    pool: NodePool,
    /// What its status says now.
    status: Option<NodeAddressPoolStatus>,
}

/// Who uses a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    /// Selected nodes that take traffic.
    pub(crate) nodes: usize,
    /// Services that have addresses from it.
    pub(crate) services: usize,
    /// Selected nodes of which nobody tells what programs listen on, though it matters.
    pub(crate) unwatched: Vec<NodeName>,
}

impl NodePoolObjects {
    /// Takes in a change.
    pub(crate) fn change(&mut self, change: Change<NodeAddressPool>) {
        for (name, object) in self.mirror.update(change, |object| PoolName::new(object.name_any())) {
            match object {
                Some(object) => self.put(name, &object),
                None => _ = self.objects.remove(&name),
            }
        }
    }

    /// What they say.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &NodePool> {
        self.objects.values().map(|object| &object.pool)
    }

    /// Takes in which of the names are those of `IPAddressPool`s, which come first.
    pub(crate) fn assess(&mut self, is_address_pool: impl Fn(&PoolName) -> bool) {
        for (name, object) in &mut self.objects {
            let contested = is_address_pool(name).then(|| {
                "there is an IPAddressPool by the same name, which is what Services that name it get"
                    .to_owned()
            });
            object.assessment = match (&object.assessment, contested) {
                (Assessment::Rejected { .. }, _) => continue,
                (_, Some(doubt)) => Assessment::Doubtful(vec![doubt]),
                (_, None) => Assessment::Accepted,
            };
        }
    }

    /// Events that are due, and the objects that they are about.
    pub(crate) fn emit(&mut self) -> Vec<(ObjectReference, Notice)> {
        let emit = |object: &mut Object| {
            Some((object.acceptance.reference.clone(), object.acceptance.emit(&object.assessment)?))
        };
        self.objects.values_mut().filter_map(emit).collect()
    }

    /// Objects whose status does not say what it should, and what that is.
    pub(crate) fn outdated(
        &self,
        in_use: impl Fn(&NodePool) -> InUse,
        now: Timestamp,
    ) -> Vec<(ObjectReference, NodeAddressPoolStatus)> {
        let outdated = |object: &Object| {
            let (condition, _) = object.acceptance.condition(&object.assessment, now);
            let InUse { nodes, services, unwatched } = in_use(&object.pool);
            let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
            let status = NodeAddressPoolStatus {
                nodes: count(nodes),
                services: count(services),
                conditions: [Some(condition), object.listeners_known(&unwatched, now)]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            (object.status.as_ref() != Some(&status)).then(|| (object.acceptance.reference.clone(), status))
        };
        self.objects.values().filter_map(outdated).collect()
    }

    fn put(&mut self, name: PoolName, object: &NodeAddressPool) {
        let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
        let acceptance = Acceptance::new(object, conditions);
        let (pool, unreadable) = object.read();
        let faults: Vec<String> =
            unreadable.into_iter().map(|it| format!("{}: {}", it.field, it.why)).collect();
        let reason = (!faults.is_empty()).then_some("Invalid");
        let assessment = Assessment::new(reason, faults, Vec::new());
        let status = object.status.clone();
        match self.objects.get_mut(&name) {
            Some(known) => {
                known.acceptance.update(acceptance);
                (known.assessment, known.pool, known.status) = (assessment, pool, status);
            }
            None => _ = self.objects.insert(name, Object { acceptance, assessment, pool, status }),
        }
    }
}

impl Object {
    /// Whether it is known what programs listen on, where that matters.
    fn listeners_known(&self, unwatched: &[NodeName], now: Timestamp) -> Option<Condition> {
        match self.pool.listeners {
            Listening::Ignored => return None,
            Listening::Protected => {}
        }
        let (status, reason, message) = match unwatched {
            [] => ("True", "Reported", String::new()),
            [..] => ("False", "NotReported", not_known(unwatched)),
        };
        let known = self.status.iter().flat_map(|status| &status.conditions);
        let since = known.clone().find(|it| it.type_ == names::LISTENERS_KNOWN && it.status == status);
        Some(Condition {
            type_: names::LISTENERS_KNOWN.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: None,
            last_transition_time: since.map_or(Time(now), |it| it.last_transition_time.clone()),
        })
    }
}

fn not_known(unwatched: &[NodeName]) -> String {
    let named = text::listed(unwatched.iter().take(MOST_NAMED));
    let more = match unwatched.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "no speaker reports which ports programs listen on, and whether kube-proxy runs in IPVS mode, on {named}{more}: \
         there, only protectedPorts are protected"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: Value) -> NodeAddressPool {
        serde_json::from_value(json!({"metadata": {"name": "a", "generation": 1}, "spec": spec})).unwrap()
    }

    #[test]
    fn faults_and_a_name_that_an_address_pool_has_are_told_once() {
        let mut all = NodePoolObjects::default();
        all.change(Change::Reset(vec![object(json!({"protectedPorts": ["ssh"]}))]));
        all.assess(|_| true);
        let told: Vec<String> = all.emit().into_iter().map(|(_, notice)| notice.message).collect();
        assert!(told.len() == 1 && told[0].contains("spec.protectedPorts[0]"), "{told:?}");
        let (_, status) = &all.outdated(|_| InUse::default(), Timestamp::UNIX_EPOCH)[0];
        assert_eq!(status.conditions[0].status, "False");
        all.change(Change::Apply(object(json!({}))));
        all.assess(|_| true);
        assert!(all.emit()[0].1.message.contains("IPAddressPool by the same name"));
        all.assess(|_| true);
        assert!(all.emit().is_empty());
        all.assess(|_| false);
        let in_use = |_: &NodePool| InUse { nodes: 2, services: 3, unwatched: vec![] };
        let (_, status) = all.outdated(in_use, Timestamp::UNIX_EPOCH).remove(0);
        assert_eq!((status.nodes, status.services, &*status.conditions[0].status), (2, 3, "True"));
        let written = NodeAddressPool { status: Some(status), ..object(json!({})) };
        all.change(Change::Apply(written));
        assert!(all.outdated(in_use, Timestamp::UNIX_EPOCH).is_empty());
    }

    #[test]
    fn nodes_of_which_nobody_tells_what_listens_there_are_named() {
        let mut all = NodePoolObjects::default();
        all.change(Change::Reset(vec![object(json!({}))]));
        all.assess(|_| false);
        let nodes = |count: usize| (1..=count).map(|at| NodeName::from(format!("n{at}"))).collect();
        let known = |all: &NodePoolObjects, count| {
            let in_use = |_: &NodePool| InUse { unwatched: nodes(count), ..InUse::default() };
            let (_, status) = all.outdated(in_use, Timestamp::UNIX_EPOCH).remove(0);
            status.conditions.into_iter().find(|it| it.type_ == "ListenersKnown")
        };
        let condition = known(&all, 12).unwrap();
        assert_eq!(condition.status, "False");
        assert!(
            condition.message.contains("n9, n10 and 2 more: there, only protectedPorts"),
            "{condition:?}"
        );
        let condition = known(&all, 0).unwrap();
        assert_eq!((&*condition.status, &*condition.message), ("True", ""));
        all.change(Change::Apply(object(json!({"protectListeners": false}))));
        assert_eq!(known(&all, 0), None);
    }
}

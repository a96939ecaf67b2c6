//! `kubectl ferrolb pools`.

mod lans;

use ::pools::{Family, PoolSpec, Quota};
use api::{IPAddressPool, NodeAddressPool};
use kube::ResourceExt;
use objects::PoolName;
use serde::Serialize;

use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::output::{Cell, Page, Table, Tone, cell};

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PoolRow {
    pub(crate) name: String,
    /// Not known where lists are missing.
    pub(crate) v4: Option<Count>,
    pub(crate) v6: Option<Count>,
    pub(crate) addresses: Vec<String>,
    pub(crate) auto_assign: bool,
    /// How many addresses are reserved and held by no Service.
    pub(crate) reserved: usize,
    /// How many addresses one namespace may have; nothing when as many as there are.
    pub(crate) quota: Option<String>,
    /// For whom it is; nothing when for all.
    pub(crate) only_for: Option<String>,
    /// What of it is not in force.
    pub(crate) faults: Vec<String>,
    /// What its author may not mean.
    pub(crate) warnings: Vec<String>,
}

/// A pool of nodes, whose addresses Services have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodePoolRow {
    name: String,
    /// Selected nodes that take traffic, and Services that have their addresses.
    nodes: i64,
    services: i64,
    /// `Auto`, `External` or `Internal`.
    addresses: String,
    auto_assign: bool,
    /// What the controller says of it.
    faults: Vec<String>,
    warnings: Vec<String>,
}

/// A pool of either kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    Addresses(PoolRow),
    Nodes(NodePoolRow),
}

impl NodePoolRow {
    fn of(object: &NodeAddressPool) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let (mut faults, mut warnings) = (vec![], vec![]);
        for condition in status.conditions.into_iter().filter(|it| !it.message.is_empty()) {
            match (condition.type_ == api::ACCEPTED, condition.status == "True") {
                (true, false) => faults.push(condition.message),
                (true, true) | (false, false) => warnings.push(condition.message),
                (false, true) => {}
            }
        }
        Self {
            name: object.name_any(),
            nodes: status.nodes,
            services: status.services,
            addresses: format!("{:?}", object.spec.addresses),
            auto_assign: object.spec.auto_assign,
            faults,
            warnings,
        }
    }
}

/// How many addresses of a family there are; the largest number where there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    pub(crate) in_use: u64,
    pub(crate) free: u64,
}

impl Count {
    /// As `2/11`: in use, and all.
    pub(crate) fn text(self) -> String {
        match (self.in_use, self.free) {
            (0, 0) => "-".to_owned(),
            (in_use, u64::MAX) => format!("{in_use}/many"),
            (in_use, free) => format!("{in_use}/{}", in_use.saturating_add(free)),
        }
    }

    /// Whether there were addresses, and none is left.
    pub(crate) fn is_full(self) -> bool {
        self.in_use > 0 && self.free == 0
    }
}

/// The pools of a look, in order.
pub(crate) fn rows(look: &Look) -> Vec<PoolRow> {
    let mut doubts = translation::pool_doubts(look.allocation.pools(), &look.allocation.reserved);
    let known = look.failures.is_empty();
    let mut objects: Vec<&IPAddressPool> = look.snapshot.pools.iter().collect();
    objects.sort_by_key(|object| object.name_any());
    objects
        .into_iter()
        .map(|object| {
            let name = PoolName::new(object.name_any());
            let count = |family| {
                let usage = look.allocation.usage(&name, family);
                let number = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
                Count { in_use: number(usage.in_use), free: number(usage.available) }
            };
            let in_force = look.allocation.pools().get(&name);
            let mut doubts = doubts.remove(&name).unwrap_or_default();
            doubts.extend(in_force.into_iter().flat_map(|pool| lans::doubts(pool, &look.snapshot)));
            PoolRow {
                v4: known.then(|| count(Family::V4)),
                v6: known.then(|| count(Family::V6)),
                addresses: object.spec.addresses.iter().map(|entry| entry.0.clone()).collect(),
                auto_assign: object.spec.auto_assign,
                reserved: look.allocation.unused_reserved(&name),
                quota: in_force.and_then(|pool| quota(pool.quota)),
                only_for: only_for(&PoolSpec::from(object)),
                faults: in_force.into_iter().flat_map(|pool| &pool.faults).map(ToString::to_string).collect(),
                warnings: object.warnings().into_iter().chain(doubts).collect(),
                name: name.to_string(),
            }
        })
        .collect()
}

fn quota(quota: Quota) -> Option<String> {
    match quota {
        Quota::Unlimited => None,
        Quota::AtMost(most) => Some(most.to_string()),
        Quota::Unreadable => Some("unreadable".to_owned()),
    }
}

fn only_for(spec: &PoolSpec) -> Option<String> {
    let allocation = spec.allocation.as_ref()?;
    let mut parts: Vec<String> =
        allocation.namespaces.iter().map(|name| format!("namespace {name}")).collect();
    if !allocation.namespace_selectors.is_empty() {
        parts.push("namespaces by label".to_owned());
    }
    if !allocation.service_selectors.is_empty() {
        parts.push("Services by label".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The pools, and how full they are.
pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let rows = rows(&look);
    let mut table =
        Table::new(["POOL", "IPV4", "IPV6", "AUTO", "+RESERVED", "+QUOTA", "+ADDRESSES", "FOR", "MESSAGE"]);
    for row in &rows {
        let count = |count: Option<Count>| match count {
            Some(count) => cell(count.text(), if count.is_full() { Tone::Warn } else { Tone::Plain }),
            None => cell("?", Tone::Warn),
        };
        table.row([
            row.name.clone().into(),
            count(row.v4),
            count(row.v6),
            if row.auto_assign { "yes".into() } else { "no".into() },
            row.reserved.to_string().into(),
            row.quota.clone().unwrap_or_else(|| "-".to_owned()).into(),
            row.addresses.join(",").into(),
            row.only_for.clone().unwrap_or_else(|| "all".to_owned()).into(),
            messages(&row.faults, &row.warnings),
        ]);
    }
    let mut failures = look.failures;
    let of_nodes = if cluster.serves_node_pools() {
        cluster.of_namespace::<NodeAddressPool>(&cluster.system).await.unwrap_or_else(|failure| {
            failures.push(failure.to_string());
            vec![]
        })
    } else {
        vec![]
    };
    let of_nodes: Vec<NodePoolRow> = of_nodes.iter().map(NodePoolRow::of).collect();
    let mut table_of_nodes =
        Table::new(["POOL OF NODES", "NODES", "SERVICES", "AUTO", "+ADDRESSES", "MESSAGE"]);
    for row in &of_nodes {
        table_of_nodes.row([
            row.name.clone().into(),
            row.nodes.to_string().into(),
            row.services.to_string().into(),
            if row.auto_assign { "yes".into() } else { "no".into() },
            row.addresses.clone().into(),
            messages(&row.faults, &row.warnings),
        ]);
    }
    let none = if failures.is_empty() {
        format!(
            "No IPAddressPools found in namespace {}, so no Service gets an address of one (kubectl ferrolb quickstart).",
            cluster.system
        )
    } else {
        "Nothing can be told.".to_owned()
    };
    let problem = rows.iter().map(|row| &row.faults).chain(of_nodes.iter().map(|row| &row.faults));
    let problem = problem.into_iter().any(|faults| !faults.is_empty());
    let mut page = Page::default();
    if !rows.is_empty() || of_nodes.is_empty() {
        page.table(table, &none);
    }
    if !of_nodes.is_empty() {
        page.table(table_of_nodes, "");
    }
    let rows = rows.into_iter().map(Row::Addresses).chain(of_nodes.into_iter().map(Row::Nodes));
    let rows: Vec<Row> = rows.collect();
    Ok(Answer::list("PoolList", &rows, page).problem_if(problem).not_seen(failures))
}

/// What is wrong, and what may be.
fn messages(faults: &[String], warnings: &[String]) -> Cell {
    let tone = match (faults, warnings) {
        ([], []) => Tone::Plain,
        ([], _) => Tone::Warn,
        _ => Tone::Bad,
    };
    cell(faults.iter().chain(warnings).cloned().collect::<Vec<_>>().join("; "), tone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pool_of_nodes_is_shown_with_what_the_controller_says_of_it() {
        let condition = |kind: &str, status: &str, message: &str| {
            json!({
                "type": kind, "status": status, "reason": "R", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let conditions = [
            condition("Accepted", "False", "spec.protectedPorts[0]: bad"),
            condition("ListenersKnown", "False", "no speaker on n2"),
        ];
        let object = json!({
            "metadata": {"name": "nodes"}, "spec": {"addresses": "External"},
            "status": {"nodes": 2, "services": 3, "conditions": conditions},
        });
        let row = NodePoolRow::of(&serde_json::from_value(object).unwrap());
        assert_eq!((row.nodes, row.services, &*row.addresses, row.auto_assign), (2, 3, "External", true));
        assert_eq!(
            (row.faults, row.warnings),
            (vec!["spec.protectedPorts[0]: bad".to_owned()], vec!["no speaker on n2".to_owned()],)
        );
        let fine = json!({"metadata": {"name": "nodes"}, "status": {"nodes": 2, "services": 3, "conditions": [
            condition("Accepted", "True", ""), condition("ListenersKnown", "True", ""),
        ]}});
        let row = NodePoolRow::of(&serde_json::from_value(fine).unwrap());
        assert!(row.faults.is_empty() && row.warnings.is_empty(), "{row:?}");
    }
}

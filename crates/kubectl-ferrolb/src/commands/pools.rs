//! `kubectl ferrolb pools`.

use ::pools::{Family, PoolSpec};
use api::IPAddressPool;
use kube::ResourceExt;
use objects::PoolName;
use serde::Serialize;

use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::output::{Page, Table, Tone, cell};

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
    /// For whom it is; nothing when for all.
    pub(crate) only_for: Option<String>,
    /// What of it is not in force.
    pub(crate) faults: Vec<String>,
    /// What its author may not mean.
    pub(crate) warnings: Vec<String>,
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
            let of_others = doubts.remove(&name).unwrap_or_default();
            PoolRow {
                v4: known.then(|| count(Family::V4)),
                v6: known.then(|| count(Family::V6)),
                addresses: object.spec.addresses.iter().map(|entry| entry.0.clone()).collect(),
                auto_assign: object.spec.auto_assign,
                only_for: only_for(&PoolSpec::from(object)),
                faults: in_force.into_iter().flat_map(|pool| &pool.faults).map(ToString::to_string).collect(),
                warnings: object.warnings().into_iter().chain(of_others).collect(),
                name: name.to_string(),
            }
        })
        .collect()
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
    let mut table = Table::new(["POOL", "IPV4", "IPV6", "AUTO", "+ADDRESSES", "FOR", "MESSAGE"]);
    for row in &rows {
        let count = |count: Option<Count>| match count {
            Some(count) => cell(count.text(), if count.is_full() { Tone::Warn } else { Tone::Plain }),
            None => cell("?", Tone::Warn),
        };
        let messages = row.faults.iter().chain(&row.warnings).cloned().collect::<Vec<_>>().join("; ");
        let tone = if !row.faults.is_empty() {
            Tone::Bad
        } else if row.warnings.is_empty() {
            Tone::Plain
        } else {
            Tone::Warn
        };
        table.row([
            row.name.clone().into(),
            count(row.v4),
            count(row.v6),
            if row.auto_assign { "yes".into() } else { "no".into() },
            row.addresses.join(",").into(),
            row.only_for.clone().unwrap_or_else(|| "all".to_owned()).into(),
            cell(messages, tone),
        ]);
    }
    let none = if look.failures.is_empty() {
        format!("No IPAddressPools found in namespace {}.", cluster.system)
    } else {
        "Nothing can be told.".to_owned()
    };
    let problem = rows.iter().any(|row| !row.faults.is_empty());
    let page = Page::of(table, &none);
    Ok(Answer::list("PoolList", &rows, page).problem_if(problem).not_seen(look.failures))
}

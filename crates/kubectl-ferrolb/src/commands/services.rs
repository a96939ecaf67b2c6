//! `kubectl ferrolb services`.

use std::collections::BTreeMap;

use anyhow::bail;
use kube::ResourceExt;
use slim::Service;

use super::{Scope, foreign};
use crate::answer::Answer;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::nearest::did_you_mean;
use crate::output::{Page, Table, Tone, cell, some};
use crate::survey::{Announced, Health, Surveyed, list};

/// The Services of type LoadBalancer that FerroLB serves.
pub(crate) async fn run(cluster: &Cluster, scope: Scope, problems: bool) -> anyhow::Result<Answer> {
    let mut look = Look::at(cluster).await;
    let namespace = match &scope {
        Scope::All => None,
        Scope::Of(namespace) => Some(namespace.as_str()),
        Scope::Default => Some(cluster.default_namespace.as_str()),
    };
    if look.snapshot.services.is_empty()
        && !look.failures.is_empty()
        && let Some(namespace) = namespace
        && let Ok(services) = cluster.of_namespace::<Service>(namespace).await
    {
        // Whoever may not see all may see these.
        look = look.with_services(services);
    }
    let of_scope = |it: &Surveyed| namespace.is_none_or(|namespace| it.namespace == namespace);
    let wanted = |it: &Surveyed| of_scope(it) && (!problems || it.is_problem() || !it.warnings.is_empty());
    let services: Vec<&Surveyed> = look.services.iter().filter(|it| wanted(it)).collect();
    if let Some(namespace) = namespace
        && services.is_empty()
        && look.failures.is_empty()
        && look.snapshot.namespaces.iter().all(|it| it.name_any() != namespace)
    {
        let near = did_you_mean(namespace, look.snapshot.namespaces.iter().map(ResourceExt::name_any));
        bail!("there is no namespace {namespace}{near}");
    }
    let none = match (problems, namespace) {
        (true, _) => "No problems found.".to_owned(),
        (false, Some(namespace)) => {
            format!("No Services of type LoadBalancer found in namespace {namespace} (-A: in all).")
        }
        (false, None) => "No Services of type LoadBalancer found.".to_owned(),
    };
    let foreign = foreign::found(&look.snapshot, namespace);
    let none = if look.failures.is_empty() { none } else { "Nothing can be told.".to_owned() };
    let mut page = Page::of(table(&services), &none);
    foreign.iter().for_each(|it| page.line(cell(format!("note: {it}"), Tone::Dim)));
    let unknown = services.iter().any(|it| it.health == Health::Unknown);
    let failures = if unknown {
        [look.failures, look.unasked].concat()
    } else {
        look.notes().for_each(|note| page.line(note));
        [look.failures, look.forbidden].concat()
    };
    let problem = services.iter().any(|it| it.is_problem());
    Ok(Answer::list("ServiceList", &services, page).problem_if(problem).not_seen(failures))
}

/// So many nodes are named that tell the same routers.
const NODES: usize = 3;

/// A row for each.
pub(crate) fn table(services: &[&Surveyed]) -> Table {
    let mut table = Table::new(["SERVICE", "IP", "STATE", "NODE/IF", "+POOL", "REASON"]);
    for it in services {
        let tone = tone(it.health);
        let ips: Vec<_> = it.addresses.iter().map(|address| address.ip).collect();
        let mut places: Vec<String> = it.addresses.iter().flat_map(places).collect();
        places.dedup();
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        table.row([
            it.title().into(),
            or_none(list(&ips)).into(),
            cell(it.health.word(), tone),
            or_none(list(&places)).into(),
            it.pool.clone().unwrap_or_else(|| "-".to_owned()).into(),
            it.all_reasons().collect::<Vec<_>>().join("; ").into(),
        ]);
    }
    table
}

/// Who announces an address: the node with its interfaces, and the nodes that tell routers, together where they tell the
/// same ones.
pub(crate) fn places(address: &Announced) -> Vec<String> {
    if !matches!(address.health, Health::Announced | Health::Starting) {
        return vec![];
    }
    let mut by_routers: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
    for it in address.by_bgp.iter().filter(|it| !it.routers.is_empty()) {
        by_routers.entry(&it.routers).or_default().push(&it.node);
    }
    let on_lan = address.node.iter().map(|node| place(node, &address.interfaces));
    let to_routers = by_routers
        .into_iter()
        .map(|(routers, nodes)| format!("{} to {}", some(&nodes, NODES), list(routers)));
    on_lan.chain(to_routers).collect()
}

/// A node with its interfaces.
pub(crate) fn place(node: &str, interfaces: &[String]) -> String {
    if interfaces.is_empty() { node.to_owned() } else { format!("{node}/{}", interfaces.join("+")) }
}

/// The tone of a state.
pub(crate) fn tone(health: Health) -> Tone {
    match health {
        Health::Announced => Tone::Good,
        Health::Starting | Health::Unknown => Tone::Warn,
        Health::Waiting | Health::Silent | Health::Conflict => Tone::Bad,
    }
}

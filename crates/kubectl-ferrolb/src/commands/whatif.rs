//! `kubectl ferrolb whatif`: what would move, what would lose its address or its announcer.
//!
//! The snapshot is decided as it is and as it would be, by the crates that the programs decide with; what differs is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, bail};
use api::{IPAddressPool, L2Advertisement};
use ipam::ServiceKey;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use objects::SliceKey;
use placement::{NodeName, Placement, Unadvertised, Unannounced};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slim::{Node, Pod};

use super::manifests;
use crate::answer::Answer;
use crate::client::Failure;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::options::{Add, Delete, WhatIf};
use crate::output::{Page, Table, Tone, cell};
use crate::predict::Allocation;
use crate::snapshot::{Snapshot, Source};
use crate::survey::list;

/// What becomes of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Its addresses, or why it has none.
    addresses: Vec<IpAddr>,
    no_address: Option<String>,
    /// Who announces each, or why nobody does.
    announcers: Vec<Result<NodeName, String>>,
    /// Whether nobody does only because no Pod is ready.
    without_endpoint: bool,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    service: String,
    ip: String,
    now: String,
    then: String,
    /// While the node is off, where that is another thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<String>,
    /// `moves`, `gains`, `loses` or `stays`.
    effect: &'static str,
    note: String,
}

/// Tells what a change would do.
pub(crate) async fn run(cluster: &Cluster, change: &WhatIf) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let source = look.snapshot.speakers.source;
    let snapshot = look.snapshot;
    let failures = look.failures;
    if !failures.is_empty() {
        let none = Page::of(Table::new(["SERVICE"]), "Nothing can be foretold while lists are missing.");
        return Ok(Answer::list("PredictionList", &[] as &[Difference], none).not_seen(failures));
    }
    let answer = match change {
        WhatIf::Drain { node } => drain(snapshot, node, &Staying::on(cluster, node).await)?,
        WhatIf::Delete(Delete::Pool { pool }) => changed(snapshot, |then| {
            let before = then.pools.len();
            then.pools.retain(|it| it.name_any() != *pool);
            if then.pools.len() == before {
                bail!("there is no IPAddressPool {pool} in namespace {}", cluster.system);
            }
            Ok(())
        })?,
        WhatIf::Apply { filenames } => {
            let manifests = manifests::read(filenames)?;
            changed(snapshot, |then| apply(then, &manifests, cluster))?
        }
        WhatIf::Add(Add::Node { labels, name }) => {
            let node = new_node(name, labels)?;
            changed(snapshot, |then| {
                if then.nodes.iter().any(|it| it.name_any() == *name) {
                    bail!("there is a node {name} already: choose another --name");
                }
                then.speakers.members.insert(name.as_str().into());
                then.nodes.push(node);
                Ok(())
            })?
        }
    };
    Ok(match source {
        Source::Gossip => answer,
        Source::Pods => answer.with_note(
            "note: no speaker can be asked, so those count as alive whose Pods are ready, and as able to announce on every interface",
        ),
    })
}

/// What a drain does, and then switching the node off.
fn drain(snapshot: Snapshot, node: &str, staying: &Staying) -> anyhow::Result<Answer> {
    let name = NodeName::from(node);
    if !snapshot.nodes.iter().any(|it| it.name_any() == node) {
        bail!("there is no node {node}");
    }
    let (now, allocation) = snapshot.settled();
    let before = states(&allocation, &now.placed_now());
    let mut drained = now.clone();
    for slice in &mut drained.slices {
        let key = translation::slice_key(slice);
        let mut index = 0;
        slice.endpoints.retain(|endpoint| {
            index += 1;
            endpoint.node_name.as_deref() != Some(node) || staying.has(&key, index - 1)
        });
    }
    let after = states(&allocation, &drained.placed_now());
    for slice in &mut drained.slices {
        slice.endpoints.retain(|endpoint| endpoint.node_name.as_deref() != Some(node));
    }
    let mut members = drained.speakers.members.clone();
    members.remove(&name);
    let off = states(&allocation, &drained.placed(members));
    let mut differences = Vec::new();
    for (key, state) in &before {
        let (Some(then), Some(off)) = (after.get(key), off.get(key)) else { continue };
        for (index, ip) in state.addresses.iter().enumerate() {
            let who = |state: &State| state.announcers.get(index).cloned().unwrap_or(Err(String::new()));
            let (now, then_who, off_who) = (who(state), who(then), who(off));
            if now == then_who && now == off_who {
                continue;
            }
            let lost = now.is_ok() && (then_who.is_err() || off_who.is_err());
            let why = then_who.as_ref().err().or(off_who.as_ref().err()).cloned();
            let effect = if lost {
                "loses"
            } else if now.is_err() {
                "stays"
            } else {
                "moves"
            };
            let remark = match (lost, then.without_endpoint || off.without_endpoint) {
                (true, true) => {
                    format!("OUTAGE until a Pod is ready elsewhere: only {node} has serving endpoints")
                }
                (true, false) => format!("OUTAGE: {}", why.unwrap_or_default()),
                (false, _) if then_who == now => format!("stays on {node} until that is switched off"),
                (false, _) => String::new(),
            };
            differences.push(Difference {
                service: key.to_string(),
                ip: ip.to_string(),
                now: shown(&now),
                then: shown(&then_who),
                off: Some(shown(&off_who)),
                effect,
                note: remark,
            });
        }
    }
    let mut table = Table::new(["SERVICE", "IP", "NOW", "DRAINED", "OFF", "NOTE"]);
    for it in &differences {
        let off = it.off.clone().unwrap_or_default();
        table.row([
            it.service.clone().into(),
            it.ip.clone().into(),
            it.now.clone().into(),
            it.then.clone().into(),
            off.into(),
            cell(&it.note, note_tone(it)),
        ]);
    }
    let mut page = Page::of(
        table,
        &format!("Nothing would change: {node} announces nothing, and no Service depends on it."),
    );
    if !differences.is_empty() {
        page.line(cell(
            "DRAINED: its Pods are evicted but for those of DaemonSets, such as its speaker. OFF: the node is switched off.",
            Tone::Dim,
        ));
        if let Err(why) = &staying.0 {
            page.line(cell(format!("note: all endpoints there count as evicted: {why}"), Tone::Dim));
        }
    }
    let outage = differences.iter().any(|it| it.effect == "loses");
    Ok(Answer::list("PredictionList", &differences, page).problem_if(outage))
}

/// The endpoints that stay on a node which is drained, those of Pods that DaemonSets run: by slice, and which of it. Or why
/// they cannot be known.
struct Staying(Result<BTreeSet<(SliceKey, usize)>, String>);

impl Staying {
    async fn on(cluster: &Cluster, node: &str) -> Self {
        let found = async {
            let pods: Vec<Pod> = cluster.all().await?;
            let slices: Vec<EndpointSlice> = cluster.all().await?;
            let stay = pods.iter().filter(|pod| pod.spec.node_name.as_deref() == Some(node));
            let stay = stay.filter(|pod| pod.is_of_a_daemon_set());
            let stay: BTreeSet<_> =
                stay.map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any())).collect();
            let mut staying = BTreeSet::new();
            for slice in slices {
                let namespace = slice.namespace().unwrap_or_default();
                let key = SliceKey::new(namespace.as_str(), slice.name_any());
                for (index, endpoint) in slice.endpoints.into_iter().enumerate() {
                    let pod = endpoint.target_ref.filter(|it| it.kind.as_deref() == Some("Pod"));
                    if pod.is_some_and(|it| stay.contains(&(namespace.clone(), it.name.unwrap_or_default())))
                    {
                        staying.insert((key.clone(), index));
                    }
                }
            }
            Ok(staying)
        };
        Self(found.await.map_err(|failure: Failure| failure.to_string()))
    }

    fn has(&self, slice: &SliceKey, index: usize) -> bool {
        self.0.as_ref().is_ok_and(|staying| staying.contains(&(slice.clone(), index)))
    }
}

/// What any other change does.
fn changed(
    snapshot: Snapshot,
    change: impl FnOnce(&mut Snapshot) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let (now, allocation) = snapshot.settled();
    let before = states(&allocation, &now.placed_now());
    let mut then = now;
    change(&mut then)?;
    let (then, allocation) = then.settled();
    let after = states(&allocation, &then.placed_now());
    let keys: BTreeSet<&ServiceKey> = before.keys().chain(after.keys()).collect();
    let nothing = State::default();
    let mut differences = Vec::new();
    for key in keys {
        let (now, then) = (before.get(key).unwrap_or(&nothing), after.get(key).unwrap_or(&nothing));
        if now != then {
            differences.extend(difference(key, now, then));
        }
    }
    let faults = new_faults(&allocation, &then);
    let mut table = Table::new(["SERVICE", "NOW", "THEN", "NOTE"]);
    for it in &differences {
        table.row([
            it.service.clone().into(),
            it.now.clone().into(),
            it.then.clone().into(),
            cell(&it.note, note_tone(it)),
        ]);
    }
    let mut page = Page::of(table, "No Service would change.");
    faults.iter().for_each(|fault| page.line(cell(format!("not in force: {fault}"), Tone::Bad)));
    let loses = differences.iter().any(|it| it.effect == "loses");
    Ok(Answer::list("PredictionList", &differences, page).problem_if(loses || !faults.is_empty()))
}

/// What would not be in force.
fn new_faults(allocation: &Allocation, then: &Snapshot) -> Vec<String> {
    let pools = allocation
        .pools()
        .iter()
        .flat_map(|pool| pool.faults.iter().map(|fault| format!("IPAddressPool {}: {fault}", pool.name)));
    let advertisements = then.advertisements.iter().flat_map(|it| {
        let faults = it.read().1.into_iter();
        faults.map(|fault| format!("L2Advertisement {}: {}: {}", it.name_any(), fault.field, fault.why))
    });
    pools.chain(advertisements).collect()
}

/// The rows for a Service that would change.
fn difference(key: &ServiceKey, now: &State, then: &State) -> Vec<Difference> {
    let with = |state: &State| -> String {
        if state.addresses.is_empty() {
            return "-".to_owned();
        }
        let each = state.addresses.iter().zip(&state.announcers);
        let text = |(ip, who): (&IpAddr, &Result<NodeName, String>)| format!("{ip} {}", shown(who));
        list(&each.map(text).collect::<Vec<_>>())
    };
    let silent = |state: &State| state.announcers.iter().find_map(|who| who.as_ref().err()).cloned();
    let (effect, note) = match (now.addresses.is_empty(), then.addresses.is_empty()) {
        (false, true) => {
            let why = then.no_address.clone().unwrap_or_else(|| "it is gone".to_owned());
            ("loses", format!("LOSES its address: {why}"))
        }
        (true, false) => match silent(then) {
            None => ("gains", "gets an address".to_owned()),
            Some(why) => ("stays", format!("gets an address that nobody announces: {why}")),
        },
        (true, true) => ("stays", then.no_address.clone().unwrap_or_default()),
        (false, false) => {
            let other = now.addresses != then.addresses;
            let address = if other { "CHANGES its address" } else { "" };
            match (silent(now), silent(then)) {
                (None, Some(why)) => ("loses", format!("OUTAGE: {why}")),
                (Some(_), None) if other => ("gains", format!("{address}, and is announced")),
                (Some(_), None) => ("gains", "is announced".to_owned()),
                (_, _) if other => ("moves", address.to_owned()),
                (Some(_), Some(why)) => ("stays", why),
                (None, None) => ("moves", "moves".to_owned()),
            }
        }
    };
    let ip = list(&then.addresses);
    let (now, then) = (with(now), with(then));
    vec![Difference { service: key.to_string(), ip, now, then, off: None, effect, note }]
}

fn note_tone(difference: &Difference) -> Tone {
    match difference.effect {
        "loses" => Tone::Bad,
        "gains" => Tone::Good,
        _ => Tone::Plain,
    }
}

fn shown(who: &Result<NodeName, String>) -> String {
    who.as_ref().map_or_else(|_| "-".to_owned(), ToString::to_string)
}

/// What becomes of each Service.
fn states(allocation: &Allocation, placement: &Placement) -> BTreeMap<ServiceKey, State> {
    let state = |(key, fate): (&ServiceKey, &crate::predict::Fate)| {
        let mut state = State::default();
        match &fate.outcome {
            Err(why) => state.no_address = Some(why.to_string()),
            Ok(assignment) => state.addresses.clone_from(&assignment.ips),
        }
        let outcomes: BTreeMap<IpAddr, _> = placement.assignments(key).collect();
        for ip in &state.addresses {
            state.announcers.push(match outcomes.get(ip) {
                Some(Ok(elected)) => Ok(elected.announcer.clone()),
                Some(Err(why)) => {
                    state.without_endpoint |=
                        matches!(why, Unannounced::Unadvertised(Unadvertised::NoEndpoint));
                    Err(placement.reason(key, *ip).unwrap_or_default())
                }
                None => Err(String::new()),
            });
        }
        (key.clone(), state)
    };
    allocation.fates.iter().map(state).collect()
}

/// Puts the objects of manifests into a snapshot.
fn apply(then: &mut Snapshot, manifests: &[manifests::Manifest], cluster: &Cluster) -> anyhow::Result<()> {
    fn decoded<K: DeserializeOwned>(manifest: &manifests::Manifest) -> anyhow::Result<K> {
        serde_json::from_value(manifest.object.clone())
            .with_context(|| format!("{}: reading {}", manifest.place, manifest.title()))
    }
    fn put<K: kube::Resource + Clone>(all: &mut Vec<K>, mut new: K) {
        let same = |it: &K| (it.namespace(), it.name_any()) == (new.namespace(), new.name_any());
        match all.iter().position(same) {
            Some(at) => {
                // It stays the same object: who was first is still so.
                new.meta_mut().creation_timestamp.clone_from(&all[at].meta().creation_timestamp);
                new.meta_mut().uid.clone_from(&all[at].meta().uid);
                all[at] = new;
            }
            None => {
                new.meta_mut().creation_timestamp =
                    Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now()));
                all.push(new);
            }
        }
    }
    let mut known = 0;
    for manifest in manifests {
        let in_system = [cluster.system.as_str(), ""].contains(&manifest.text("/metadata/namespace"));
        known += 1;
        match (manifest.group(), manifest.kind()) {
            ("metallb.io", "IPAddressPool") if in_system => {
                let mut pool: IPAddressPool = decoded(manifest)?;
                pool.metadata.namespace = Some(cluster.system.clone());
                let status = then.pools.iter().find(|it| it.name_any() == pool.name_any());
                pool.status = status.and_then(|it| it.status.clone());
                put(&mut then.pools, pool);
            }
            ("metallb.io", "L2Advertisement") if in_system => {
                let mut advertisement: L2Advertisement = decoded(manifest)?;
                advertisement.metadata.namespace = Some(cluster.system.clone());
                put(&mut then.advertisements, advertisement);
            }
            ("", "Service") => {
                let mut service: slim::Service = decoded(manifest)?;
                let namespace = service.namespace().unwrap_or_else(|| cluster.default_namespace.clone());
                service.metadata.namespace = Some(namespace.clone());
                let name = service.name_any();
                let there = then
                    .services
                    .iter()
                    .find(|it| it.namespace().as_ref() == Some(&namespace) && it.name_any() == name);
                complete(&mut service, there);
                put(&mut then.services, service);
            }
            ("", "Node") => put(&mut then.nodes, decoded(manifest)?),
            ("", "Namespace") => put(&mut then.namespaces, decoded(manifest)?),
            _ => known -= 1,
        }
    }
    if known == 0 {
        bail!(
            "nothing in there has a say in who gets which address: IPAddressPools and L2Advertisements of namespace {}, Services, Nodes and Namespaces do",
            cluster.system
        );
    }
    Ok(())
}

/// A manifest of a Service lacks what the API server gives it.
fn complete(service: &mut slim::Service, there: Option<&slim::Service>) {
    if let Some(there) = there {
        service.status = there.status.clone();
        let recorded = there.annotations().iter().filter(|(name, _)| {
            [api::names::ALLOCATED_FROM_POOL, api::names::PREVIOUS_IPS].contains(&name.as_str())
        });
        let recorded: Vec<_> = recorded.map(|(name, value)| (name.clone(), value.clone())).collect();
        service.metadata.annotations.get_or_insert_default().extend(recorded);
        if service.spec.cluster_ips.is_empty() {
            service.spec.cluster_ips.clone_from(&there.spec.cluster_ips);
        }
    }
    if service.spec.cluster_ips.is_empty() && service.spec.cluster_ip.as_deref() != Some("None") {
        let families = match &service.spec.ip_families[..] {
            [] => vec!["IPv4".to_owned()],
            families => families.to_vec(),
        };
        let ip = |family: &String| if family == "IPv6" { "fd00::1" } else { "10.0.0.1" }.to_owned();
        service.spec.cluster_ips = families.iter().map(ip).collect();
    }
}

/// A node with these labels, written as `KEY=VALUE,...`.
fn new_node(name: &str, labels: &str) -> anyhow::Result<Node> {
    let mut node = Node::default();
    node.metadata.name = Some(name.to_owned());
    for label in labels.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key.is_empty() {
            bail!("{label:?} is not a label: write KEY=VALUE");
        }
        node.metadata.labels.get_or_insert_default().insert(key.to_owned(), value.to_owned());
    }
    Ok(node)
}

//! `kubectl ferrolb whatif`: what would move, what would lose its address or its announcer.
//!
//! The snapshot is decided as it is and as it would be, by the crates that the programs decide with; what differs is told.

mod apply;
mod routes;
mod state;
mod staying;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::bail;
use ipam::ServiceKey;
use kube::ResourceExt;
use objects::SliceKey;
use placement::{NodeName, Placement};
use serde::Serialize;
use translation::{Claim, Observed, Origin};

use self::apply::{apply, new_node};
pub(crate) use self::routes::brief;
use self::state::{State, difference, is_to_routers, shown, states};
pub(crate) use self::staying::Staying;
use super::manifests::{self, Manifest};
use super::status::{lacking_for_routers, routers_warnings};
use crate::answer::Answer;
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::nearest::did_you_mean;
use crate::options::{Add, Delete, WhatIf};
use crate::output::{Page, Table, Tone, cell, some};
use crate::predict::Allocation;
use crate::routed::is_established;
use crate::snapshot::{ADVERTISEMENT, FOR_ROUTERS, POOL, ROUTER, Routing, Snapshot, Source, Speakers};
use crate::survey::list;

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Difference {
    pub(crate) service: String,
    pub(crate) ip: String,
    /// Of a route: the router that is told of it. Its nodes are all that tell this router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) router: Option<String>,
    pub(crate) now: String,
    pub(crate) then: String,
    /// While the node is off, where that is another thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) off: Option<String>,
    /// `moves`, `gains`, `loses`, `changes` (its address), `lacks` (a new Service an address or an announcer) or `stays`.
    pub(crate) effect: &'static str,
    pub(crate) note: String,
}

impl Difference {
    /// Whether it is one that somebody may not want: clients lose a Service, or would have to know another address of it.
    pub(crate) fn is_problem(&self) -> bool {
        matches!(self.effect, "loses" | "changes" | "lacks")
    }
}

/// Tells what a change would do.
pub(crate) async fn run(cluster: &Cluster, change: &WhatIf) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let speakers = look.snapshot.speakers.clone();
    let without_session = without_session(&look);
    let forbidden = look.forbidden;
    let snapshot = look.snapshot;
    let failures = look.failures;
    if !failures.is_empty() {
        let none = Page::of(Table::new(["SERVICE"]), "Nothing can be foretold while lists are missing.");
        return Ok(Answer::list("PredictionList", &[] as &[Difference], none).not_seen(failures));
    }
    let answer = match change {
        WhatIf::Drain { node } => drain(snapshot, node, &Staying::on(cluster, node).await)?,
        WhatIf::Delete(delete) => changed(snapshot, |then| {
            let system = &cluster.system;
            match delete {
                Delete::Pool { pool } => remove(&mut then.pools, POOL, pool, system),
                Delete::L2Advertisement { name } => {
                    remove(&mut then.advertisements, ADVERTISEMENT, name, system)
                }
                Delete::BgpAdvertisement { name } => {
                    remove(&mut then.bgp.advertisements, FOR_ROUTERS, name, system)
                }
                Delete::BgpPeer { name } => remove(&mut then.bgp.peers, ROUTER, name, system),
            }
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
    let answer = noted(answer.not_seen(forbidden), &speakers);
    let tells_routes = answer.machine["items"].as_array().is_some_and(|it| it.iter().any(is_route));
    Ok(match without_session {
        Some(note) if tells_routes => answer.with_note(&note),
        Some(_) | None => answer,
    })
}

fn is_route(difference: &serde_json::Value) -> bool {
    difference.get("router").is_some()
}

/// That routers are told nothing at present by some nodes that are to tell them.
fn without_session(look: &Look) -> Option<String> {
    let speakers = look.speakers.iter().filter_map(Told::speaker);
    let down = speakers.flat_map(|speaker| {
        let sessions = speaker.bgp.sessions.items.iter().filter(|session| !is_established(session));
        sessions.map(|session| format!("{} with {}", speaker.node, session.peer))
    });
    let down: Vec<String> = down.collect();
    (!down.is_empty()).then(|| {
        format!(
            "note: there is no BGP session of {} at present (kubectl ferrolb bgp): what is foretold of it holds once there is one",
            some(&down, 3)
        )
    })
}

/// Takes an object out.
fn remove<K: kube::Resource>(
    objects: &mut Vec<K>,
    kind: &str,
    name: &str,
    system: &str,
) -> anyhow::Result<()> {
    let Some(at) = objects.iter().position(|it| it.name_any() == name) else {
        let near = did_you_mean(name, objects.iter().map(ResourceExt::name_any));
        bail!("there is no {kind} {name} in namespace {system}{near}");
    };
    objects.remove(at);
    Ok(())
}

/// With what is not known of the speakers, or holds for a moment only.
fn noted(answer: Answer, speakers: &Speakers) -> Answer {
    let answer = speakers.unsteady().into_iter().fold(answer, |answer, waits| {
        answer.with_note(&format!("note: {waits}; what moves back to it after that is not foretold"))
    });
    match speakers.source {
        Source::Gossip => answer,
        Source::Pods => answer.with_note(
            "note: no speaker can be asked, so those count as alive whose Pods are ready, and as able to announce on every interface",
        ),
    }
}

/// What differs once a node is drained, and then switched off.
pub(crate) fn drained(snapshot: Snapshot, node: &str, staying: &Staying) -> anyhow::Result<Vec<Difference>> {
    let name = NodeName::from(node);
    if !snapshot.nodes.iter().any(|it| it.name_any() == node) {
        let near = did_you_mean(node, snapshot.nodes.iter().map(ResourceExt::name_any));
        bail!("there is no node {node}{near}");
    }
    let (now, allocation) = snapshot.settled();
    let placed = now.placed_now();
    let told_before = now.bgp.routing(&placed, &now.speakers.members);
    let before = states(&allocation, &placed, &told_before);
    let mut drained = now.clone();
    for slice in &mut drained.slices {
        let key = SliceKey::new(slice.namespace().unwrap_or_default(), slice.name_any());
        let mut index = 0;
        slice.endpoints.retain(|endpoint| {
            index += 1;
            endpoint.node_name.as_deref() != Some(node) || staying.has(&key, index - 1)
        });
    }
    let placed = drained.placed_now();
    let told_after = drained.bgp.routing(&placed, &drained.speakers.members);
    let after = states(&allocation, &placed, &told_after);
    for slice in &mut drained.slices {
        slice.endpoints.retain(|endpoint| endpoint.node_name.as_deref() != Some(node));
    }
    let mut members = drained.speakers.members.clone();
    members.remove(&name);
    let placed = drained.placed(members.clone());
    let told_off = drained.bgp.routing(&placed, &members);
    let off = states(&allocation, &placed, &told_off);
    let mut differences = Vec::new();
    for (key, state) in &before {
        let (Some(then), Some(off)) = (after.get(key), off.get(key)) else { continue };
        for (index, ip) in state.addresses.iter().enumerate() {
            let who = |state: &State| state.announcers.get(index).cloned().unwrap_or(Err(String::new()));
            let (now, then_who, off_who) = (who(state), who(then), who(off));
            // Why nobody announces an address may change without a difference to anybody.
            if now.as_ref().ok() == then_who.as_ref().ok() && now.as_ref().ok() == off_who.as_ref().ok() {
                continue;
            }
            // Which nodes tell routers is told route by route.
            if [&now, &then_who, &off_who].into_iter().all(is_to_routers) {
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
                router: None,
                now: shown(&now),
                then: shown(&then_who),
                off: Some(shown(&off_who)),
                effect,
                note: remark,
            });
        }
    }
    differences.extend(routes::differences(&told_before, &told_after, Some(&told_off)));
    Ok(differences)
}

/// What a drain does, and then switching the node off.
fn drain(snapshot: Snapshot, node: &str, staying: &Staying) -> anyhow::Result<Answer> {
    let of_node = with_addresses_of(&snapshot, node);
    let differences = drained(snapshot, node, staying)?;
    let mut table = Table::new(["SERVICE", "IP", "NOW", "DRAINED", "OFF", "NOTE"]);
    for it in differences.iter().filter(|it| it.router.is_none()) {
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
    let without_rows = if differences.is_empty() && of_node.is_empty() {
        format!("Nothing would change: {node} announces nothing, and no Service depends on it.")
    } else {
        "No address would be announced by another node on the LAN, or by none.".to_owned()
    };
    let mut page = Page::of(table, &without_rows);
    page.append(routes::page(&differences));
    if !of_node.is_empty() {
        let verb = if of_node.len() == 1 { "has" } else { "have" };
        let keys: Vec<&ServiceKey> = of_node.iter().map(|(key, _)| key).collect();
        page.line(format!(
            "{} {verb} an address of {node} itself, by a NodeAddressPool: it goes from the status when {node} is off, and stays until then where a Pod elsewhere serves",
            list(&keys)
        ));
        let all: Vec<&ServiceKey> = of_node.iter().filter(|(_, all)| *all).map(|(key, _)| key).collect();
        if !all.is_empty() {
            let verb = if all.len() == 1 { "has" } else { "have" };
            let text = format!("{} {verb} no other address, so clients need another one then", list(&all));
            page.line(cell(text, Tone::Bad));
        }
    }
    if !differences.is_empty() {
        page.line(cell(
            "DRAINED: its Pods are evicted but for those of DaemonSets, such as its speaker. OFF: the node is switched off.",
            Tone::Dim,
        ));
    }
    let missing =
        staying.0.as_ref().err().map(|why| format!("all endpoints on {node} count as evicted: {why}"));
    let problem = differences.iter().any(Difference::is_problem) || of_node.iter().any(|(_, all)| *all);
    Ok(Answer::list("PredictionList", &differences, page).problem_if(problem).not_seen(missing))
}

/// The Services that have an address of a node itself, and whether they have no other. Which nodes serve, the controller
/// alone knows.
fn with_addresses_of(snapshot: &Snapshot, node: &str) -> Vec<(ServiceKey, bool)> {
    let node = snapshot.nodes.iter().find(|it| it.name_any() == node);
    let ips: BTreeSet<IpAddr> = node.into_iter().flat_map(|node| node.status.ips()).collect();
    let has = |service: &slim::Service| {
        let it = Observed::read(service);
        let of_node = it.origin == Origin::NodePool && it.ips.iter().any(|ip| ips.contains(ip));
        of_node.then(|| (translation::service_key(service), it.ips.iter().all(|ip| ips.contains(ip))))
    };
    snapshot.services.iter().filter_map(has).collect()
}

/// What any other change does.
fn changed(
    snapshot: Snapshot,
    change: impl FnOnce(&mut Snapshot) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let (now, allocation) = snapshot.settled();
    let placed = now.placed_now();
    let told_before = now.bgp.routing(&placed, &now.speakers.members);
    let before = states(&allocation, &placed, &told_before);
    let faults_before = faults(&allocation, &now, &placed, &told_before);
    let mut then = now;
    change(&mut then)?;
    let (then, allocation) = then.settled();
    let placed = then.placed_now();
    let told_after = then.bgp.routing(&placed, &then.speakers.members);
    let mut after = states(&allocation, &placed, &told_after);
    for key in before.keys().filter(|key| !allocation.fates.contains_key(*key)) {
        after.extend(
            left(&then, key).map(|why| (key.clone(), State { no_address: Some(why), ..State::default() })),
        );
    }
    let keys: BTreeSet<&ServiceKey> = before.keys().chain(after.keys()).collect();
    let nothing = State::default();
    let mut differences = Vec::new();
    for key in keys {
        let (now, then) = (before.get(key).unwrap_or(&nothing), after.get(key).unwrap_or(&nothing));
        let only_routes = now.addresses == then.addresses
            && !now.addresses.is_empty()
            && now.announcers.iter().chain(&then.announcers).all(is_to_routers);
        if now != then && !only_routes {
            differences.extend(difference(key, now, then));
        }
    }
    differences.extend(routes::differences(&told_before, &told_after, None));
    let mut faults = faults(&allocation, &then, &placed, &told_after);
    faults.retain(|fault| !faults_before.contains(fault));
    let mut table = Table::new(["SERVICE", "NOW", "THEN", "NOTE"]);
    for it in differences.iter().filter(|it| it.router.is_none()) {
        table.row([
            it.service.clone().into(),
            it.now.clone().into(),
            it.then.clone().into(),
            cell(&it.note, note_tone(it)),
        ]);
    }
    let mut page = Page::of(table, "No Service would change.");
    page.append(routes::page(&differences));
    faults.iter().for_each(|fault| page.line(cell(format!("not in force: {fault}"), Tone::Bad)));
    let problem = differences.iter().any(Difference::is_problem) || !faults.is_empty();
    Ok(Answer::list("PredictionList", &differences, page).problem_if(problem))
}

/// What is not in force.
fn faults(allocation: &Allocation, then: &Snapshot, placement: &Placement, routing: &Routing) -> Vec<String> {
    let pools = allocation
        .pools()
        .iter()
        .flat_map(|pool| pool.faults.iter().map(|fault| format!("IPAddressPool {}: {fault}", pool.name)));
    let advertisements = then.advertisements.iter().flat_map(|it| {
        let faults = it.read().1.into_iter();
        faults.map(|fault| format!("L2Advertisement {}: {}: {}", it.name_any(), fault.field, fault.why))
    });
    let reservations = allocation.unreserved.iter();
    let reservations = reservations.map(|(key, why)| format!("AddressReservation {key}: {why}"));
    let of_bgp: BTreeSet<_> = then.bgp.faults(placement).into_iter().chain(routing.faults.clone()).collect();
    let of_bgp = of_bgp.into_iter().map(|(about, why)| format!("{about}: {why}"));
    pools.chain(advertisements).chain(reservations).chain(of_bgp).collect()
}

/// Something about an object, which is named first, or about all of a kind.
pub(crate) type About = (String, String);

/// What would be wrong with objects about BGP if these manifests were applied, and what their authors may not mean.
pub(crate) fn faults_of_routers(
    mut then: Snapshot,
    manifests: &[Manifest],
    cluster: &Cluster,
) -> (Vec<About>, Vec<About>) {
    if apply(&mut then, manifests, cluster).is_err() {
        return (vec![], vec![]);
    }
    let placed = then.placed_now();
    let routing = then.bgp.routing(&placed, &then.speakers.members);
    let faults: BTreeSet<_> = then.bgp.faults(&placed).into_iter().chain(routing.faults).collect();
    let warnings = routers_warnings(&then);
    let warnings = warnings.iter().filter_map(|it| it.split_once(": "));
    let owned = |(about, why): (&str, &str)| (about.to_owned(), why.to_owned());
    let lacking = lacking_for_routers(&then).map(|(kind, why)| (kind.to_owned(), why));
    (faults.into_iter().collect(), warnings.map(owned).chain(lacking).collect())
}

/// Why a Service that is there is not FerroLB's any more.
fn left(then: &Snapshot, key: &ServiceKey) -> Option<String> {
    let service = then.services.iter().find(|it| translation::service_key(it) == *key)?;
    match Claim::read(service, &then.rules) {
        Claim::OtherType => Some(format!("its type becomes {}", service.spec.type_)),
        Claim::OtherClass => {
            Some("its spec.loadBalancerClass becomes that of another load balancer".to_owned())
        }
        Claim::Ours(_) | Claim::Unservable(_) => None,
    }
}

fn note_tone(difference: &Difference) -> Tone {
    match difference.effect {
        "loses" | "changes" | "lacks" => Tone::Bad,
        "gains" => Tone::Good,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests;

//! `kubectl ferrolb whatif`: what would move, what would lose its address or its announcer.
//!
//! The snapshot is decided as it is and as it would be, by the crates that the programs decide with; what differs is told.

mod apply;
mod routes;
mod staying;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::bail;
use ipam::ServiceKey;
use kube::ResourceExt;
use objects::SliceKey;
use placement::{NodeName, Placement, Unadvertised, Unannounced};
use serde::Serialize;
use translation::{Claim, Observed, Origin};

use self::apply::{apply, new_node};
pub(crate) use self::routes::brief;
pub(crate) use self::staying::Staying;
use super::manifests;
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

/// What becomes of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    /// Its addresses, or why it has none.
    addresses: Vec<IpAddr>,
    no_address: Option<String>,
    /// Who announces each, or why nobody does.
    announcers: Vec<Result<Announcer, String>>,
    /// Whether nobody does only because no Pod is ready.
    without_endpoint: bool,
}

/// Who announces an address.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Announcer {
    /// This node, on its LAN.
    Node(NodeName),
    /// These nodes, to routers alone.
    ToRouters(BTreeSet<NodeName>),
}

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
    /// `moves`, `gains`, `loses` or `stays`.
    pub(crate) effect: &'static str,
    pub(crate) note: String,
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
        page.line(format!(
            "{} {verb} an address of {node} itself, by a NodeAddressPool: it goes from the status when {node} is off, and stays until then where a Pod elsewhere serves",
            list(&of_node)
        ));
    }
    if !differences.is_empty() {
        page.line(cell(
            "DRAINED: its Pods are evicted but for those of DaemonSets, such as its speaker. OFF: the node is switched off.",
            Tone::Dim,
        ));
    }
    let missing =
        staying.0.as_ref().err().map(|why| format!("all endpoints on {node} count as evicted: {why}"));
    let outage = differences.iter().any(|it| it.effect == "loses");
    Ok(Answer::list("PredictionList", &differences, page).problem_if(outage).not_seen(missing))
}

/// The Services that have an address of a node itself. Which nodes serve, the controller alone knows.
fn with_addresses_of(snapshot: &Snapshot, node: &str) -> Vec<ServiceKey> {
    let node = snapshot.nodes.iter().find(|it| it.name_any() == node);
    let ips: BTreeSet<IpAddr> = node.into_iter().flat_map(|node| node.status.ips()).collect();
    let has = |service: &&slim::Service| {
        let it = Observed::read(service);
        it.origin == Origin::NodePool && it.ips.iter().any(|ip| ips.contains(ip))
    };
    snapshot.services.iter().filter(has).map(translation::service_key).collect()
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
    let faults = new_faults(&allocation, &then, &placed, &told_after);
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
    let loses = differences.iter().any(|it| it.effect == "loses");
    Ok(Answer::list("PredictionList", &differences, page).problem_if(loses || !faults.is_empty()))
}

/// What would not be in force.
fn new_faults(
    allocation: &Allocation,
    then: &Snapshot,
    placement: &Placement,
    routing: &Routing,
) -> Vec<String> {
    let pools = allocation
        .pools()
        .iter()
        .flat_map(|pool| pool.faults.iter().map(|fault| format!("IPAddressPool {}: {fault}", pool.name)));
    let advertisements = then.advertisements.iter().flat_map(|it| {
        let faults = it.read().1.into_iter();
        faults.map(|fault| format!("L2Advertisement {}: {}: {}", it.name_any(), fault.field, fault.why))
    });
    let of_bgp: BTreeSet<_> = then.bgp.faults(placement).into_iter().chain(routing.faults.clone()).collect();
    let of_bgp = of_bgp.into_iter().map(|(about, why)| format!("{about}: {why}"));
    pools.chain(advertisements).chain(of_bgp).collect()
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

/// The rows for a Service that would change.
fn difference(key: &ServiceKey, now: &State, then: &State) -> Vec<Difference> {
    let with = |state: &State| -> String {
        if state.addresses.is_empty() {
            return "-".to_owned();
        }
        let each = state.addresses.iter().zip(&state.announcers);
        let text = |(ip, who): (&IpAddr, &Result<Announcer, String>)| format!("{ip} {}", shown(who));
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
            // Kubernetes looks for the Pods of a new Service when it is there.
            Some(_) if then.without_endpoint && now.no_address.is_none() => (
                "gains",
                "gets an address, which is announced as soon as one of its Pods is ready".to_owned(),
            ),
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
    vec![Difference { service: key.to_string(), ip, router: None, now, then, off: None, effect, note }]
}

fn note_tone(difference: &Difference) -> Tone {
    match difference.effect {
        "loses" => Tone::Bad,
        "gains" => Tone::Good,
        _ => Tone::Plain,
    }
}

fn is_to_routers(who: &Result<Announcer, String>) -> bool {
    matches!(who, Ok(Announcer::ToRouters(_)))
}

fn shown(who: &Result<Announcer, String>) -> String {
    match who {
        Ok(Announcer::Node(node)) => node.to_string(),
        Ok(Announcer::ToRouters(nodes)) => format!("{} by BGP", list(&nodes.iter().collect::<Vec<_>>())),
        Err(_) => "-".to_owned(),
    }
}

/// What becomes of each Service.
fn states(allocation: &Allocation, placement: &Placement, routing: &Routing) -> BTreeMap<ServiceKey, State> {
    let state = |(key, fate): (&ServiceKey, &crate::predict::Fate)| {
        let mut state = State::default();
        match &fate.outcome {
            Err(why) => state.no_address = Some(why.to_string()),
            Ok(assignment) => state.addresses.clone_from(&assignment.ips),
        }
        let outcomes: BTreeMap<IpAddr, _> = placement.assignments(key).collect();
        for ip in &state.addresses {
            let to_routers = routing.nodes(key, *ip);
            state.announcers.push(match outcomes.get(ip) {
                Some(Ok(elected)) => Ok(Announcer::Node(elected.announcer.clone())),
                Some(Err(_)) if !to_routers.is_empty() => Ok(Announcer::ToRouters(to_routers)),
                Some(Err(Unannounced::Unadvertised(Unadvertised::NoAdvertisement)))
                    if let Some(silent) = routing.why_silent(key) =>
                {
                    state.without_endpoint |= silent.is_without_endpoint();
                    Err(silent.reason)
                }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{edited, service, snapshot, told};
    use crate::output::Style;

    #[test]
    fn a_drain_names_who_has_the_address_of_the_node_itself() {
        let mut web = service("web", Some("10.0.0.1"));
        web["metadata"]["annotations"] = json!({"ferrolb.io/node-addresses": "nodes"});
        let mut snapshot = snapshot(&[web], &["n1", "n2", "n3"], &[]);
        let status = json!({"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]});
        snapshot.nodes[0].status = serde_json::from_value(status).unwrap();
        assert_eq!(with_addresses_of(&snapshot, "n1"), [ServiceKey::new("default", "web")]);
        assert!(with_addresses_of(&snapshot, "n2").is_empty());
        let page =
            drain(snapshot, "n1", &Staying(Ok(BTreeSet::new()))).unwrap().page.render(Style::default());
        assert!(page.contains("default/web has an address of n1 itself"), "{page}");
    }

    #[test]
    fn a_service_that_leaves_is_told_with_how_and_a_new_one_waits_for_its_pods_only() {
        let now = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &[]);
        let noted = |change: &dyn Fn(&mut Snapshot)| {
            let answer = changed(now.clone(), |then| {
                change(then);
                Ok(())
            });
            answer.unwrap().machine["items"][0]["note"].as_str().unwrap().to_owned()
        };
        let as_node_port = noted(&|then| "NodePort".clone_into(&mut then.services[0].spec.type_));
        assert_eq!(as_node_port, "LOSES its address: its type becomes NodePort");
        let to_another = noted(&|then| then.services[0].spec.load_balancer_class = Some("x".to_owned()));
        assert!(to_another.contains("that of another load balancer"), "{to_another}");
        assert_eq!(noted(&|then| then.services.clear()), "LOSES its address: it is gone");
        let new = noted(&|then| then.services.push(serde_json::from_value(service("new", None)).unwrap()));
        assert!(new.ends_with("announced as soon as one of its Pods is ready"), "{new}");
    }

    #[test]
    fn a_drain_goes_by_interfaces_that_failed_twice_and_says_so() {
        let drained_of = |unsteady: &str| {
            let speakers = ["n1", "n2", "n3"].map(|node| {
                edited(told(node, vec![]), |node, interfaces| {
                    interfaces[0].unsteady = node == unsteady;
                    interfaces[0].steady_in_seconds = (node == unsteady).then_some(7);
                })
            });
            let snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &speakers);
            let announcer =
                snapshot.placed_now().announcer("192.0.2.1".parse().unwrap()).unwrap().to_string();
            let answer = drain(snapshot.clone(), &announcer, &Staying(Ok(BTreeSet::new()))).unwrap();
            let answer = noted(answer, &snapshot.speakers);
            let off = answer.machine["items"][0]["off"].as_str().unwrap().to_owned();
            (announcer, off, answer.page.render(Style::default()))
        };
        let (first, second, page) = drained_of("none");
        assert!(!page.contains("waits"), "{page}");
        let (same, third, page) = drained_of(&second);
        assert_eq!(same, first);
        assert!(![&first, &second].contains(&&third), "{third}");
        assert!(page.contains(&format!("note: {second} waits 7 s more")), "{page}");
    }

    /// Three nodes with a speaker each, and a Service on two of them that is announced to one router alone.
    fn routed(policy: &str) -> Snapshot {
        let mut web = service("web", Some("192.0.2.1"));
        web["spec"]["externalTrafficPolicy"] = policy.into();
        let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
        let mut snapshot = snapshot(&[web], &["n1", "n2"], &speakers);
        snapshot.advertisements.clear();
        let object = |value| serde_json::from_value(value).unwrap();
        snapshot.bgp.advertisements = vec![object(json!({"metadata": {"name": "all"}}))];
        let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
        snapshot.bgp.peers =
            vec![serde_json::from_value(json!({"metadata": {"name": "r1"}, "spec": spec})).unwrap()];
        snapshot
    }

    fn rows(answer: &Answer) -> Vec<String> {
        let items = answer.machine["items"].as_array().unwrap().iter();
        let text = |it: &serde_json::Value, field: &str| it[field].as_str().unwrap_or("").to_owned();
        items
            .map(|it| {
                ["ip", "router", "now", "then", "effect", "note"].map(|field| text(it, field)).join("|")
            })
            .collect()
    }

    #[test]
    fn a_drain_tells_which_node_withdraws_which_route() {
        let answer = |policy| drain(routed(policy), "n2", &Staying(Ok(BTreeSet::new()))).unwrap();
        let local = answer("Local");
        assert_eq!(rows(&local), ["192.0.2.1/32|r1|n1, n2|n1|moves|n2 withdraws it"]);
        // With policy Cluster the node goes on as long as it is there.
        let cluster = answer("Cluster");
        assert_eq!(
            rows(&cluster)[0],
            "192.0.2.1/32|r1|n1, n2, n3|n1, n2, n3|moves|n2 withdraws it when it is switched off"
        );
        let page = cluster.page.render(Style::default());
        assert!(page.contains("ROUTE") && page.contains("r1"), "{page}");
    }

    #[test]
    fn a_service_that_no_router_is_told_of_any_more_is_lost() {
        let mut one = routed("Local");
        one.slices[0].endpoints.retain(|it| it.node_name.as_deref() == Some("n2"));
        let answer = drain(one, "n2", &Staying(Ok(BTreeSet::new()))).unwrap();
        let rows = rows(&answer);
        assert!(rows[0].contains("|n2 by BGP|-|loses|OUTAGE until a Pod is ready elsewhere"), "{rows:?}");
        assert_eq!(rows[1], "192.0.2.1/32|r1|n2|-|loses|r1 is told of it by no node any more");
        assert_eq!(answer.exit, crate::answer::Exit::Problem);
    }

    #[test]
    fn a_peer_that_is_deleted_and_an_advertisement_that_is_changed_are_told_route_by_route() {
        let deleted =
            changed(routed("Cluster"), |then| remove(&mut then.bgp.peers, ROUTER, "r1", "lb")).unwrap();
        let gone = rows(&deleted);
        assert!(gone[0].contains("OUTAGE"), "{gone:?}");
        assert!(gone[1].ends_with("|n1, n2, n3|-|loses|r1 is told of it by no node any more"), "{gone:?}");
        let nothing = changed(routed("Cluster"), |then| remove(&mut then.bgp.peers, ROUTER, "r2", "lb"));
        assert!(nothing.unwrap_err().to_string().starts_with("there is no BGPPeer r2 in namespace lb"));
        let narrowed = changed(routed("Cluster"), |then| {
            let selector = json!([{"matchLabels": {"kubernetes.io/hostname": "n1"}}]);
            then.nodes[0].metadata.labels =
                Some([("kubernetes.io/hostname".to_owned(), "n1".to_owned())].into());
            then.bgp.advertisements[0].spec.node_selectors = serde_json::from_value(selector).unwrap();
            Ok(())
        });
        assert_eq!(rows(&narrowed.unwrap())[0], "192.0.2.1/32|r1|n1, n2, n3|n1|moves|n2, n3 withdraw it");
        let wrong = changed(routed("Cluster"), |then| {
            then.bgp.advertisements[0].spec.communities = vec!["nobody-has-defined-it".to_owned()];
            Ok(())
        });
        let page = wrong.unwrap().page.render(Style::default());
        assert!(page.contains("not in force: BGPAdvertisement all: spec.communities[0]"), "{page}");
    }
}

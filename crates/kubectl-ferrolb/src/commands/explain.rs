//! `kubectl ferrolb explain`: a Service's way from the pool to the wire.

mod events;
mod notes;
mod routers;

use std::net::IpAddr;

use anyhow::bail;
use introspection::{Address, SpeakerStatus};
use ipam::{AddressRequest, Families, Family, Request, ServiceKey};
use k8s_openapi::api::core::v1;
use kube::{Api, ResourceExt};
use placement::{Interfaces, NodeName, Obstacle, Unadvertised, Unannounced};
use serde::Serialize;
use slim::Service;
use translation::{Claim, Origin};

use super::nodes::unfit;
use super::services::{place, tone};
use crate::answer::Answer;
use crate::ask::Told;
use crate::client;
use crate::cluster::Cluster;
use crate::look::{Look, served_from};
use crate::nearest::did_you_mean_in;
use crate::output::{Page, Tone, cell};
use crate::predict::{NoAddress, assignment};
use crate::remedy::{self, Advertised};
use crate::routed::routed;
use crate::snapshot::Source;
use crate::surroundings;
use crate::survey::{Health, Report, Surveyed, list, remedy_of, told_of};

pub(crate) use self::notes::in_vain;
use self::routers::{is_for_routers, tell_routers};

/// So many nodes are named of which the same is true.
const NODES: usize = 6;

/// The whole story.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Story {
    service: String,
    health: Option<&'static str>,
    asks_for: Option<String>,
    addresses: Vec<AddressStory>,
    /// Why there is no address.
    waiting: Option<String>,
    /// Why each pool gives none.
    pools: Vec<PoolReason>,
    remedies: Vec<String>,
    /// What is written on the Service in vain, or lies beyond FerroLB.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolReason {
    pool: String,
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressStory {
    ip: IpAddr,
    announcer: Option<String>,
    /// Why nobody announces it.
    silent: Option<String>,
    /// Nodes that would announce it one after the other.
    ranking: Vec<String>,
    /// Nodes that rank before the announcer and are passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<PassedOver>,
    /// Nodes that are out.
    out: Vec<NodeReason>,
    /// What the speakers say of it.
    on_the_lan: Vec<String>,
    /// What they say that routers are told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    by_bgp: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PassedOver {
    node: String,
    reason: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeReason {
    node: String,
    reason: String,
    remedy: String,
}

/// Explains a Service, given as `NAME` or `NAMESPACE/NAME`.
pub(crate) async fn run(cluster: &Cluster, namespace: Option<&str>, service: &str) -> anyhow::Result<Answer> {
    let kinds = ["service/", "services/", "svc/"];
    let name = kinds.iter().find_map(|kind| service.strip_prefix(kind)).unwrap_or(service);
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name),
        None => (namespace.unwrap_or(&cluster.default_namespace).to_owned(), name),
    };
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), &namespace);
    let found =
        client::get(&services, &namespace, name).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let Some(object) = found else {
        let near = did_you_mean_in((&namespace, name), titles(cluster, &namespace).await);
        bail!("there is no Service {namespace}/{name}{near}");
    };
    let mut look = Look::at(cluster).await;
    let key = ServiceKey::new(namespace.as_str(), name);
    let mut page = Page::default();
    page.field("Service", format!("{key}, {}", shape(&object)));
    if let Some(not_ours) = not_ours(&object, &look) {
        page.field(cell("Not served", Tone::Warn), &not_ours);
        let story = Story { service: key.to_string(), waiting: Some(not_ours), ..Story::default() };
        return Ok(Answer::object("Explanation", &story, page).problem_if(true));
    }
    if look.services.iter().all(|it| it.key.as_ref() != Some(&key)) {
        if look.failures.is_empty() {
            bail!("Service {key} was deleted meanwhile");
        }
        look = look.with_services(vec![object.clone()]);
    }
    let Some(surveyed) = look.services.iter().find(|it| it.key.as_ref() == Some(&key)).cloned() else {
        bail!("Service {key} was deleted meanwhile");
    };
    let mut story = tell(&mut look, &key, &surveyed, &mut page);
    for note in in_vain(&object) {
        page.field(cell("In vain", Tone::Warn), &note);
        story.notes.push(note);
    }
    let whole: Api<v1::Service> = Api::namespaced(cluster.client.clone(), &namespace);
    if let Ok(Some(whole)) = client::get(&whole, &namespace, name).await {
        let holders = look.allocation.holders();
        let of = |ip: IpAddr| holders.get(&ip).into_iter().flatten().map(|(holder, _)| holder.clone());
        for note in notes::beside(&whole, |ip| of(ip).filter(|holder| *holder != key).collect()) {
            page.field(cell("Nodes", Tone::Warn), &note);
            story.notes.push(note);
        }
    }
    let of_nodes = look.allocation.fates.get(&key).is_some_and(|it| it.observed.origin == Origin::NodePool);
    let ips: Vec<IpAddr> = surveyed.addresses.iter().map(|address| address.ip).collect();
    for note in notes::around(cluster, &object, &ips).await {
        page.field(cell("Nodes", Tone::Warn), &note);
        story.notes.push(note);
    }
    for warning in &surveyed.warnings {
        page.field(cell("Warning", Tone::Warn), format!("{}\n-> {}", warning.reason, warning.remedy));
        story.notes.push(format!("{}: {}", warning.reason, warning.remedy));
    }
    // Whoever may see nothing but a namespace may see what was said of the Services there; and what pools of nodes refuse,
    // the controller alone knows.
    let waits_for_nodes = look.snapshot.node_pools && surveyed.health == Health::Waiting;
    let by_events = waits_for_nodes || !look.failures.is_empty();
    let uid = object.metadata.uid.as_deref();
    for said in if by_events { events::last(cluster, &key, uid).await } else { vec![] } {
        page.field("Last event", &said);
        story.notes.push(said);
    }
    for (what, remedy) in cluster.rivals(&look.controllers) {
        page.field(cell("FerroLB twice", Tone::Bad), format!("{what}\n-> {remedy}"));
        story.notes.push(format!("FerroLB: {what}: {remedy}"));
    }
    let has_address = !surveyed.addresses.is_empty() && !of_nodes;
    for beside in if has_address { surroundings::found(cluster).await } else { vec![] } {
        page.field(cell("Beside", Tone::Warn), &beside);
        story.notes.push(beside);
    }
    let mut announced = surveyed.addresses.iter().filter(|it| it.health == Health::Announced && !of_nodes);
    if let Some(note) = announced.next().and_then(|it| notes::beyond(&object, it)) {
        page.field(cell("No answer?", Tone::Dim), &note);
        story.notes.push(note);
    }
    let failures = if surveyed.health == Health::Unknown {
        [look.failures, look.unasked].concat()
    } else {
        look.notes().for_each(|note| page.line(note));
        [look.failures, look.forbidden].concat()
    };
    Ok(Answer::object("Explanation", &story, page).problem_if(surveyed.is_problem()).not_seen(failures))
}

/// The Services that there are, as far as they can be seen: as `NAMESPACE/NAME`.
async fn titles(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let seen = match cluster.all::<Service>().await {
        // Whoever may not see all may see these.
        Err(_) => cluster.of_namespace::<Service>(namespace).await,
        all => all,
    };
    let title = |it: &Service| format!("{}/{}", it.namespace().unwrap_or_default(), it.name_any());
    seen.iter().flatten().map(title).collect()
}

/// What kind of Service it is.
fn shape(service: &Service) -> String {
    let policy = service.spec.external_traffic_policy.as_deref().unwrap_or("Cluster");
    let families = if service.spec.ip_families.is_empty() {
        String::new()
    } else {
        format!(", {}", service.spec.ip_families.join(" and "))
    };
    format!("type {}, externalTrafficPolicy {policy}{families}", service.spec.type_)
}

/// Why FerroLB does not serve a Service, if it does not.
fn not_ours(service: &Service, look: &Look) -> Option<String> {
    let rules = &look.snapshot.rules;
    match Claim::read(service, rules) {
        Claim::Ours(_) | Claim::Unservable(_) => None,
        Claim::OtherType => Some(format!(
            "its type is {}, and only Services of type LoadBalancer get an address: set spec.type to LoadBalancer",
            service.spec.type_
        )),
        Claim::OtherClass => {
            let class = |class: &Option<String>| {
                class.as_ref().map_or_else(|| "no class".to_owned(), |class| format!("class {class}"))
            };
            let (its, ours) = (class(&service.spec.load_balancer_class), class(&rules.class));
            Some(format!(
                "it is for another load balancer: its spec.loadBalancerClass is {its}, and FerroLB serves {ours} (the field can be set only when a Service is created)"
            ))
        }
    }
}

/// Tells the story on the page.
fn tell(look: &mut Look, key: &ServiceKey, surveyed: &Surveyed, page: &mut Page) -> Story {
    let fate = look.allocation.fates.get(key).cloned();
    let mut story = Story {
        service: key.to_string(),
        health: Some(surveyed.health.word()),
        asks_for: fate.as_ref().and_then(|fate| Some(asks_for(fate.request.as_ref()?))),
        ..Story::default()
    };
    page.field("State", cell(surveyed.health.word(), tone(surveyed.health)));
    if matches!(surveyed.health, Health::Unknown | Health::Starting) {
        surveyed.reasons.iter().for_each(|reason| page.field("  why", reason));
    }
    if let Some(asks_for) = &story.asks_for {
        page.field("Asks for", asks_for);
    }
    let unknown = look.elder().map(|elder| format!("here: {}", served_from(&elder.namespace)));
    let unknown = unknown.or((!look.failures.is_empty()).then(|| "while lists are missing".to_owned()));
    let certain = unknown.is_none();
    match fate.as_ref().map(|fate| &fate.outcome) {
        Some(Ok(assignment)) => {
            page.field("Address", format!("{} from pool {}", list(&assignment.ips), assignment.pool));
            if surveyed.health == Health::Waiting {
                surveyed.reasons.iter().for_each(|reason| page.field(cell("Not written", Tone::Bad), reason));
                story.waiting = surveyed.reasons.first().cloned();
            }
        }
        Some(Err(why)) if certain => {
            // Of pools of nodes, the controller knows more than objects tell.
            let by_nodes = matches!(why, NoAddress::Refused(_)) && look.snapshot.node_pools;
            let said = surveyed.reasons.first().filter(|_| by_nodes).cloned();
            let said = said.unwrap_or_else(|| why.to_string());
            page.field(cell("No address", Tone::Bad), &said);
            story.waiting = Some(said);
            if let NoAddress::Refused(_) = why {
                for (pool, reason) in look.allocation.reasons_by_pool(key) {
                    page.field(format!("  pool {pool}"), &reason);
                    story.pools.push(PoolReason { pool: pool.to_string(), reason });
                }
            }
            let by_name = fate.as_ref().and_then(|fate| fate.by_name.as_ref());
            let families = fate.as_ref().and_then(|fate| Some(fate.request.as_ref()?.families));
            let elsewhere = &look.snapshot.elsewhere;
            let remedy = if by_nodes {
                surveyed.remedies.first().cloned()
            } else {
                remedy::of_no_address(why, by_name, families, look.allocation.pools(), elsewhere)
            };
            remedy.iter().for_each(|remedy| page.field("  to do", remedy));
            story.remedies.extend(remedy);
        }
        Some(Err(_)) | None => {
            let why = unknown.as_deref().unwrap_or("while lists are missing");
            page.field(cell("Address", Tone::Warn), unseen(surveyed, why));
        }
    }
    if let Some(denied) = fate.as_ref().and_then(|fate| fate.denied.as_ref()) {
        page.field(cell("Keeps it", Tone::Warn), denied);
    }
    if let Some(incomplete) = fate.as_ref().and_then(|fate| fate.incomplete.as_ref()) {
        page.field(cell("Second", Tone::Warn), incomplete);
    }
    let of_nodes = fate.as_ref().is_some_and(|fate| fate.observed.origin == Origin::NodePool);
    for address in surveyed.addresses.iter().filter(|_| of_nodes) {
        let node = address.node.as_deref().unwrap_or("that has it");
        page.field(
            "On the LAN",
            format!("node {node} answers for {} itself: nothing is announced", address.ip),
        );
    }
    for address in surveyed.addresses.iter().filter(|_| !of_nodes) {
        let told = tell_address(look, key, address.ip, certain, page, &mut story.remedies);
        story.addresses.push(told);
    }
    if let Some(unserved) = &surveyed.unserved {
        page.field(cell("Ports", Tone::Bad), &unserved.reason);
        page.field("  to do", &unserved.remedy);
        story.notes.push(unserved.reason.clone());
        story.remedies.push(unserved.remedy.clone());
    }
    for remedy in &surveyed.remedies {
        if !story.remedies.contains(remedy) {
            page.field("To do", remedy);
            story.remedies.push(remedy.clone());
        }
    }
    story
}

/// What is known of the addresses of a Service where `why` nothing more can be told.
fn unseen(surveyed: &Surveyed, why: &str) -> String {
    let ips: Vec<IpAddr> = surveyed.addresses.iter().map(|address| address.ip).collect();
    if ips.is_empty() {
        format!("why there is none cannot be told {why}")
    } else {
        format!("{}, by the Service's status; who announces it cannot be told {why}", list(&ips))
    }
}

/// What a Service asks for, in words.
fn asks_for(request: &Request) -> String {
    let families = match request.families {
        Families::Single(family) => format!("an {family} address"),
        Families::RequireDual => "an IPv4 and an IPv6 address".to_owned(),
        Families::PreferDual { primary } => format!("an IPv4 and an IPv6 address, or {primary} alone"),
    };
    let what = match &request.addresses {
        AddressRequest::Anything => format!("{families} from any pool"),
        AddressRequest::From(pool) => {
            format!("{families} from pool {pool} (annotation metallb.io/address-pool)")
        }
        AddressRequest::Exactly { ips, pool: None } => {
            format!("exactly {} (annotation or loadBalancerIP)", list(ips))
        }
        AddressRequest::Exactly { ips, pool: Some(pool) } => {
            format!("exactly {} from pool {pool}", list(ips))
        }
        AddressRequest::Reserved(reservation) => {
            format!("what AddressReservation {reservation} has (annotation ferrolb.io/address-reservation)")
        }
        AddressRequest::Unreadable { why, .. } => format!("something that cannot be read: {why}"),
    };
    match &request.sharing.key {
        Some(key) => format!("{what}; may share it with Services of sharing key {key:?}"),
        None => what,
    }
}

fn tell_address(
    look: &Look,
    key: &ServiceKey,
    ip: IpAddr,
    certain: bool,
    page: &mut Page,
    remedies: &mut Vec<String>,
) -> AddressStory {
    let mut story = AddressStory {
        ip,
        announcer: None,
        silent: None,
        ranking: vec![],
        passed_over: vec![],
        out: vec![],
        on_the_lan: vec![],
        by_bgp: vec![],
    };
    if certain {
        tell_election(look, key, ip, &mut story, page, remedies);
    }
    let told: Vec<(&SpeakerStatus, &Address)> = look
        .speakers
        .iter()
        .filter_map(Told::speaker)
        .flat_map(|speaker| speaker.addresses.items.iter().map(move |address| (speaker, address)))
        .filter(|(_, address)| address.ip == Some(ip))
        .collect();
    for (speaker, address) in told {
        let quiet = matches!(
            address.state,
            introspection::AddressState::Announced | introspection::AddressState::Standby
        ) && address.conflicts.is_empty();
        let said = if quiet {
            let place = place(&speaker.node, &address.interfaces);
            let standby = address.state == introspection::AddressState::Standby;
            let how = if standby {
                "answers for it as a stand-in, and sends nothing unasked"
            } else {
                "announces it"
            };
            format!("{place} {how}")
        } else {
            told_of(speaker, address)
        };
        page.field(cell("On the LAN", if quiet { Tone::Good } else { Tone::Bad }), &said);
        story.on_the_lan.push(said);
        let remedy =
            remedy::of_state(address.state, &Advertised::of(&look.placement, key)).filter(|_| !quiet);
        if let Some(remedy) = remedy.filter(|it| remedies.iter().all(|other| other != it)) {
            page.field("  to do", &remedy);
            remedies.push(remedy);
        }
    }
    tell_routers(look, key, ip, &mut story, page);
    let reports = look.reports.as_ref().and_then(|reports| reports.get(key)).into_iter().flatten();
    if story.on_the_lan.is_empty() {
        for Report { node, interfaces, .. } in reports {
            let said = format!("{} has reported that it announces the Service", place(node, interfaces));
            page.field("Reported", &said);
            story.on_the_lan.push(said);
        }
    }
    story
}

/// Who is elected, and why the others are not.
fn tell_election(
    look: &Look,
    key: &ServiceKey,
    ip: IpAddr,
    story: &mut AddressStory,
    page: &mut Page,
    remedies: &mut Vec<String>,
) {
    match assignment(&look.placement, key, ip) {
        Some(Ok(elected)) => {
            story.announcer = Some(elected.announcer.to_string());
            let ranking = look.snapshot.ranking(key, ip);
            story.ranking = ranking.iter().map(ToString::to_string).collect();
            let by = match look.snapshot.speakers.source {
                Source::Gossip => "",
                Source::Pods => " (by the objects in the API: no speaker can be asked)",
            };
            page.field("Announcer", format!("{} for {ip}{by}", elected.announcer));
            page.field("  ranking", story.ranking.join(" > "));
            for (node, interfaces) in look.placement.passed_over(ip) {
                let reason = look.snapshot.speakers.why_passed_over(&node, &interfaces);
                page.field(format!("  {node} is passed over"), &reason);
                story.passed_over.push(PassedOver { node: node.to_string(), reason });
            }
        }
        Some(Err(Unannounced::Unadvertised(Unadvertised::NoAdvertisement)))
            if is_for_routers(look, key, ip) =>
        {
            page.field("On the LAN", "nobody answers: no L2Advertisement is for it");
            let members = &look.snapshot.speakers.members;
            let silent = look.snapshot.bgp.routing(&look.placement, members).why_silent(key, ip);
            let is_routed = !routed(look.speakers.iter().filter_map(Told::speaker), key, ip).is_empty();
            if let Some(silent) = silent.filter(|_| !is_routed) {
                page.field(cell("No router", Tone::Bad), &silent.reason);
                story.silent = Some(silent.reason);
            }
            return;
        }
        Some(Err(why)) => {
            let reason = look.placement.reason(key, ip).unwrap_or_default();
            page.field(cell("No announcer", Tone::Bad), format!("{ip}: {reason}"));
            story.silent = Some(reason);
            let remedy = remedy_of(&look.snapshot, &look.placement, key, ip, &why);
            if !matches!(why, Unannounced::NoCandidate) {
                page.field("  to do", &remedy);
            }
            remedies.push(remedy);
        }
        None => {}
    }
    if let Some(Ok(obstacles)) = look.placement.obstacles(key, ip) {
        let silent = story.silent.is_some();
        let advertised = Advertised::of(&look.placement, key);
        for (node, obstacle) in obstacles {
            let (reason, remedy) = {
                let has_pod = look.snapshot.speakers.has_pod(&node);
                let remedy = remedy::of_obstacle(&obstacle, &node, &advertised, &look.snapshot);
                let words = remedy::words_of(&obstacle, &advertised, has_pod);
                let unfit = if let Obstacle::NoInterface(wanted) = &obstacle {
                    why_unfit(look, &node, wanted, ip)
                } else {
                    String::new()
                };
                (if unfit.is_empty() { words } else { format!("{words} ({unfit})") }, remedy)
            };
            let text = if silent { format!("{reason}\n-> {remedy}") } else { reason.clone() };
            page.field(format!("  {node} is out"), text);
            story.out.push(NodeReason { node: node.to_string(), reason, remedy });
        }
    }
}

/// Why a node cannot announce an address on these interfaces, as its own speaker tells.
fn why_unfit(look: &Look, node: &NodeName, wanted: &Interfaces, ip: IpAddr) -> String {
    let mut speakers = look.speakers.iter().filter_map(Told::speaker);
    let speaker = speakers.find(|speaker| speaker.node == node.as_str());
    speaker.map(|it| unfit(&it.interfaces.items, wanted, Family::of(ip))).unwrap_or_default()
}

#[cfg(test)]
mod tests;

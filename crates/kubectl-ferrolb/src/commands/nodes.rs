//! `kubectl ferrolb nodes`.

use std::collections::{BTreeMap, BTreeSet};

use introspection::{AddressState, BgpSession, Interface, PeerState, SpeakerStatus, Usability};
use ipam::Family;
use kube::ResourceExt;
use placement::{EXCLUDE_LABEL, Interfaces};
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::output::{Cell, Page, Table, Tone, cell, some};
use crate::routed::{is_established, lasting, trouble};
use crate::survey::list;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeRow {
    pub(crate) node: String,
    /// `ready`, or what keeps its speaker from that.
    pub(crate) speaker: String,
    /// How many addresses it announces; not known where nobody can be asked.
    pub(crate) announces: Option<usize>,
    pub(crate) interfaces: Vec<Interface>,
    /// Its sessions with routers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sessions: Vec<SessionOfNode>,
    /// How many prefixes it announces to some router.
    pub(crate) routes: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) problem: bool,
}

/// A session of a node with a router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionOfNode {
    pub(crate) peer: String,
    pub(crate) address: String,
    pub(crate) established: bool,
    /// For how long it has been so, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lasting: Option<String>,
    /// What is wrong with it, or with BFD beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

/// The nodes, and what each announces.
pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let rows = rows(&look);
    let has_routers = rows.iter().any(|row| !row.sessions.is_empty());
    let mut table = if has_routers {
        Table::new(["NODE", "SPEAKER", "ANNOUNCES", "INTERFACES", "+NOT USED", "BGP", "NOTE"])
    } else {
        Table::new(["NODE", "SPEAKER", "ANNOUNCES", "INTERFACES", "+NOT USED", "NOTE"])
    };
    for row in &rows {
        let announces = row.announces.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let used: Vec<String> = row.interfaces.iter().filter(|it| is_used(it)).map(by_protocol).collect();
        let unused = unused(&row.interfaces);
        let known = !row.interfaces.is_empty();
        let used = if used.is_empty() && known { "none".to_owned() } else { list(&used) };
        let name = row.node.clone().into();
        let speaker = cell(&row.speaker, if row.problem { Tone::Bad } else { Tone::Good });
        let used = if used.is_empty() { "?".into() } else { used.into() };
        let (announces, unused, notes) = (announces.into(), unused.into(), row.notes.join("; ").into());
        if has_routers {
            table.row([name, speaker, announces, used, unused, of_routers(row), notes]);
        } else {
            table.row([name, speaker, announces, used, unused, notes]);
        }
    }
    let none = if look.failures.is_empty() { "No nodes found." } else { "Nothing can be told." };
    let page = Page::of(table, none);
    let problem = rows.iter().any(|row| row.problem);
    let failures = [look.failures, look.unasked].concat();
    Ok(Answer::list("NodeList", &rows, page).problem_if(problem).not_seen(failures))
}

/// How many sessions with routers a node has, and how many routes are told in them.
fn of_routers(row: &NodeRow) -> Cell {
    let established = row.sessions.iter().filter(|session| session.established).count();
    let routes = if row.routes == 1 { "1 route".to_owned() } else { format!("{} routes", row.routes) };
    match row.sessions.len() {
        0 => "-".into(),
        all => cell(
            format!("{established}/{all} up, {routes}"),
            if established == all { Tone::Good } else { Tone::Bad },
        ),
    }
}

/// The sessions of a node with routers.
fn sessions(status: &SpeakerStatus) -> Vec<SessionOfNode> {
    let session = |it: &BgpSession| SessionOfNode {
        peer: it.peer.clone(),
        address: it.address.clone(),
        established: is_established(it),
        lasting: it.for_seconds.map(lasting),
        trouble: trouble(it),
    };
    status.bgp.sessions.items.iter().map(session).collect()
}

/// How many prefixes a speaker tells some router of.
fn routes(status: &SpeakerStatus) -> usize {
    let sessions = &status.bgp.sessions.items;
    let is_told = |peer: &String| sessions.iter().any(|it| it.peer == *peer && is_established(it));
    let routes = status.bgp.routes.items.iter().filter(|route| route.peers.iter().any(is_told));
    routes.map(|route| &route.prefix).collect::<BTreeSet<_>>().len()
}

/// The nodes of a look, in order.
pub(crate) fn rows(look: &Look) -> Vec<NodeRow> {
    let told: BTreeMap<&str, &Told> =
        look.speakers.iter().filter_map(|told| Some((told.program.node.as_deref()?, told))).collect();
    let mut nodes: Vec<_> = look.snapshot.nodes.iter().collect();
    nodes.sort_by_key(|node| node.name_any());
    nodes.into_iter().map(|node| row(node, told.get(&*node.name_any()).copied(), look)).collect()
}

fn row(node: &slim::Node, told: Option<&Told>, look: &Look) -> NodeRow {
    let name = node.name_any();
    let status = told.and_then(Told::speaker);
    let (speaker, mut problem) = match (told, status) {
        (None, _) if look.snapshot.speakers.pods_on.is_none() => ("not known".to_owned(), false),
        (None, _) => ("none".to_owned(), look.speakers.is_empty()),
        (Some(told), _) if !told.program.ready && is_down(node) => ("not ready".to_owned(), true),
        (Some(told), _) if told.program.down.is_some() => ("not running".to_owned(), true),
        (Some(told), _) if !told.program.ready => (format!("not ready: {}", told.not_ready()), true),
        (Some(_), Some(_)) => ("ready".to_owned(), false),
        (Some(_), None) => ("ready, cannot be asked".to_owned(), false),
    };
    let mut notes: Vec<String> = told.and_then(|told| told.program.down.clone()).into_iter().collect();
    if told.is_none() && look.snapshot.speakers.pods_on.is_some() {
        notes.push(format!("no speaker runs here, so it announces nothing: {}", no_speaker(Some(node))));
    }
    if is_down(node) {
        problem = true;
        notes.push("the node is not ready".to_owned());
    }
    if node.labels().contains_key(EXCLUDE_LABEL) {
        let ignored = status.is_some_and(|status| status.ignores_exclude_label);
        let effect = if ignored { "which FerroLB is told to ignore" } else { "so it announces nothing" };
        notes.push(format!("label {EXCLUDE_LABEL}, {effect}"));
    }
    if slim::is_true(&node.status.conditions, "NetworkUnavailable") {
        notes.push("condition NetworkUnavailable, so it announces nothing".to_owned());
    }
    if node.spec.unschedulable {
        notes.push("cordoned".to_owned());
    }
    if let Some(status) = status {
        // Without anything to announce on the LAN, no interface is needed.
        let is_needed = !look.snapshot.advertisements.is_empty();
        problem |= has_no_interface(status) && is_needed;
        if has_no_interface(status) && is_needed {
            notes.push("no interface that it can announce on".to_owned());
        }
        if let Some(trouble) = &status.gossip.trouble {
            problem = true;
            notes.push(format!("waits for {trouble}"));
        }
        let unheard = unheard(status);
        if !unheard.is_empty() {
            problem = true;
            notes.push(format!("does not hear {}", list(&unheard)));
        }
        let muted = status.interfaces.items.iter().filter(|it| it.muted).map(|it| &it.name);
        let muted: Vec<&String> = muted.collect();
        if !muted.is_empty() {
            notes.push(format!("says nothing on {} at present", list(&muted)));
        }
    }
    let sessions = status.map(sessions).unwrap_or_default();
    for SessionOfNode { peer, established, trouble, lasting, .. } in &sessions {
        let Some(why) = trouble else { continue };
        problem = true;
        let since = lasting.as_ref().map(|it| format!(" for {it}")).unwrap_or_default();
        notes.push(if *established {
            format!("{peer}: {why}")
        } else {
            format!("no session with {peer}{since}: {why}")
        });
    }
    NodeRow {
        node: name,
        speaker,
        announces: status.map(announces),
        sessions,
        routes: status.map(routes).unwrap_or_default(),
        interfaces: status.map(|status| status.interfaces.items.clone()).unwrap_or_default(),
        notes,
        problem,
    }
}

/// Why a node may have no speaker, and where to look.
pub(crate) fn no_speaker(node: Option<&slim::Node>) -> String {
    let taints = node.into_iter().flat_map(|node| &node.spec.taints);
    let keeps_off = |taint: &&slim::Taint| {
        let is_strict = taint.effect == "NoSchedule" || taint.effect == "NoExecute";
        // Those of Kubernetes itself every DaemonSet tolerates, and those of control planes the chart's.
        let tolerated = ["node.kubernetes.io/", "node-role.kubernetes.io/"];
        is_strict && !tolerated.iter().any(|prefix| taint.key.starts_with(prefix))
    };
    let text = |slim::Taint { key, value, effect }: &slim::Taint| {
        if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
    };
    let taints: Vec<String> = taints.filter(keeps_off).map(text).collect();
    if taints.is_empty() {
        return "see nodeSelector and tolerations of the speaker's DaemonSet, and the taints of the node"
            .to_owned();
    }
    format!(
        "its taint {} keeps off Pods that do not tolerate it: add that to the tolerations of the speaker's DaemonSet (speaker.tolerations in the chart), or look at its nodeSelector",
        taints.join(", ")
    )
}

/// Whether kubelet has told that the node is not ready, or has fallen silent.
pub(crate) fn is_down(node: &slim::Node) -> bool {
    node.status.conditions.iter().any(|it| it.type_ == "Ready")
        && !slim::is_true(&node.status.conditions, "Ready")
}

/// The nodes whose speakers this one does not hear.
pub(crate) fn unheard(status: &SpeakerStatus) -> Vec<&String> {
    let peers = status.peers.items.iter();
    peers.filter(|peer| peer.state == PeerState::NotHeard).map(|peer| &peer.node).collect()
}

/// How many addresses a speaker answers for.
pub(crate) fn announces(status: &SpeakerStatus) -> usize {
    let speaks = |state| matches!(state, AddressState::Announced | AddressState::Standby);
    status.addresses.items.iter().filter(|address| speaks(address.state)).count() + status.addresses.more
}

/// Whether a speaker can announce nowhere.
pub(crate) fn has_no_interface(status: &SpeakerStatus) -> bool {
    !status.interfaces.items.iter().any(is_used) && status.interfaces.more == 0
}

/// Whether an interface is used by a protocol.
pub(crate) fn is_used(interface: &Interface) -> bool {
    interface.arp == Usability::Used || interface.ndp == Usability::Used
}

/// An interface that is used, and by what where not by both.
pub(crate) fn by_protocol(interface: &Interface) -> String {
    let protocols = match (&interface.arp, &interface.ndp) {
        (Usability::Used, Usability::Used) => "",
        (Usability::Used, _) => " (IPv4)",
        (_, _) => " (IPv6)",
    };
    format!("{}{protocols}", interface.name)
}

/// The interfaces that are not used, those together that are not for the same reason; and those that are used for one family
/// only.
fn unused(interfaces: &[Interface]) -> String {
    let unused = interfaces.iter().filter(|it| !is_used(it)).map(|it| (it.name.clone(), why_not(it)));
    let by_half = interfaces.iter().filter(|it| is_used(it)).filter_map(|it| {
        let family = if it.arp == Usability::Used { Family::V6 } else { Family::V4 };
        Some((format!("{} ({family})", it.name), why_unfit(it, family)?))
    });
    by_reason(unused.chain(by_half))
}

/// Why a node can announce nothing of a family, interface by interface: on all of them, or on these. That some are excluded
/// by their names tells nothing, unless all are.
pub(crate) fn unfit(interfaces: &[Interface], wanted: &Interfaces, family: Family) -> String {
    const EXCLUDED: &str = "its name is excluded";
    let is_wanted = |it: &&Interface| wanted.contains(&it.name.as_str().into());
    let unfit = interfaces.iter().filter(is_wanted);
    let unfit: Vec<(String, &str)> =
        unfit.filter_map(|it| Some((it.name.clone(), why_unfit(it, family)?))).collect();
    let telling = |(_, why): &&(String, &str)| *why != EXCLUDED;
    if unfit.iter().any(|it| telling(&it)) {
        return by_reason(unfit.iter().filter(telling).cloned());
    }
    by_reason(unfit)
}

/// Why an interface is not used for a family, where that is told.
fn why_unfit(interface: &Interface, family: Family) -> Option<&str> {
    let usability = match family {
        Family::V4 => &interface.arp,
        Family::V6 => &interface.ndp,
    };
    match usability {
        Usability::Unfit(why) => Some(why.as_str()),
        Usability::Lost => Some("it has failed"),
        Usability::Used | Usability::Unknown => None,
    }
}

/// Those together of which the same is said.
fn by_reason<'a>(all: impl IntoIterator<Item = (String, &'a str)>) -> String {
    const NAMED: usize = 2;
    let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, why) in all {
        match by_reason.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(name),
            None => by_reason.push((why, vec![name])),
        }
    }
    let told = |(why, names): (&str, Vec<String>)| format!("{}: {why}", some(&names, NAMED));
    by_reason.into_iter().map(told).collect::<Vec<_>>().join("; ")
}

/// Why an interface is not used.
pub(crate) fn why_not(interface: &Interface) -> &str {
    match (&interface.arp, &interface.ndp) {
        (Usability::Unfit(why), _) | (_, Usability::Unfit(why)) => why.as_str(),
        (Usability::Lost, _) | (_, Usability::Lost) => "it has failed",
        (_, _) => "nobody has said why",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn interfaces_that_are_not_used_for_one_reason_are_told_of_together() {
        let unfit = |name: &str, why: &str| Interface {
            name: name.to_owned(),
            arp: Usability::Unfit(why.to_owned()),
            ndp: Usability::Unfit(why.to_owned()),
            ..Interface::default()
        };
        let used = Interface { name: "eth0".to_owned(), arp: Usability::Used, ..Interface::default() };
        let pods = ["lo", "veth1", "veth2", "veth3"].map(|name| unfit(name, "its name is excluded"));
        let all: Vec<Interface> = pods.into_iter().chain([used, unfit("eth1", "it has no link")]).collect();
        assert_eq!(unused(&all), "lo, veth1 and 2 more: its name is excluded; eth1: it has no link");
        assert_eq!(unused(&[]), "");
    }

    #[test]
    fn what_keeps_an_interface_from_one_family_is_told_where_the_other_is_announced() {
        let why = "it has no link-local IPv6 address";
        let half = Interface {
            name: "eth0".to_owned(),
            arp: Usability::Used,
            ndp: Usability::Unfit(why.to_owned()),
            ..Interface::default()
        };
        let excluded = || Usability::Unfit("its name is excluded".to_owned());
        let lo =
            Interface { name: "lo".to_owned(), arp: excluded(), ndp: excluded(), ..Interface::default() };
        let all = [lo.clone(), half];
        assert_eq!(unused(&all), format!("lo: its name is excluded; eth0 (IPv6): {why}"));
        assert_eq!(unfit(&all, &Interfaces::All, Family::V6), format!("eth0: {why}"));
        let only = |name: &str| Interfaces::only([name.into()]);
        assert_eq!(unfit(&all, &only("eth9"), Family::V6), "");
        assert_eq!(unfit(&[lo], &Interfaces::All, Family::V4), "lo: its name is excluded");
    }

    #[test]
    fn the_taints_that_keep_a_speaker_off_are_named_and_not_those_that_it_tolerates() {
        let node = |taints: serde_json::Value| -> slim::Node {
            serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}})).unwrap()
        };
        let said = no_speaker(Some(&node(json!([
            {"key": "dedicated", "value": "db", "effect": "NoSchedule"},
            {"key": "slow", "effect": "PreferNoSchedule"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        ]))));
        assert!(said.starts_with("its taint dedicated=db:NoSchedule keeps off"), "{said}");
        for node in [None, Some(&node(json!([])))] {
            assert!(no_speaker(node).starts_with("see nodeSelector"));
        }
    }

    #[test]
    fn a_node_is_down_when_it_says_or_is_said_to_be_not_ready() {
        let node = |conditions: serde_json::Value| -> slim::Node {
            serde_json::from_value(json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}}))
                .unwrap()
        };
        for (status, down) in [("True", false), ("False", true), ("Unknown", true)] {
            assert_eq!(is_down(&node(json!([{"type": "Ready", "status": status}]))), down, "{status}");
        }
        assert!(!is_down(&node(json!([]))), "nobody has said");
    }
}

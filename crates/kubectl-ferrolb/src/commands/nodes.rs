//! `kubectl ferrolb nodes`.

use std::collections::BTreeMap;

use introspection::{AddressState, Interface, SpeakerStatus, Usability};
use kube::ResourceExt;
use placement::EXCLUDE_LABEL;
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::output::{Page, Table, Tone, cell};
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
    pub(crate) notes: Vec<String>,
    pub(crate) problem: bool,
}

/// The nodes, and what each announces.
pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let rows = rows(&look);
    let mut table = Table::new(["NODE", "SPEAKER", "ANNOUNCES", "INTERFACES", "+NOT USED", "NOTE"]);
    for row in &rows {
        let announces = row.announces.map_or_else(|| "?".to_owned(), |count| count.to_string());
        let used: Vec<String> = row.interfaces.iter().filter(|it| is_used(it)).map(by_protocol).collect();
        let unused: Vec<String> = row.interfaces.iter().filter(|it| !is_used(it)).map(why_not).collect();
        let known = !row.interfaces.is_empty();
        let used = if used.is_empty() && known { "none".to_owned() } else { list(&used) };
        table.row([
            row.node.clone().into(),
            cell(&row.speaker, if row.problem { Tone::Bad } else { Tone::Good }),
            announces.into(),
            if used.is_empty() { "?".into() } else { used.into() },
            unused.join("; ").into(),
            row.notes.join("; ").into(),
        ]);
    }
    let none = if look.failures.is_empty() { "No nodes found." } else { "Nothing can be told." };
    let page = Page::of(table, none);
    let problem = rows.iter().any(|row| row.problem);
    let failures = [look.failures, look.unasked].concat();
    Ok(Answer::list("NodeList", &rows, page).problem_if(problem).not_seen(failures))
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
        (None, _) if look.speakers.is_empty() => ("not known".to_owned(), false),
        (None, _) => ("none".to_owned(), false),
        (Some(told), _) if !told.program.ready => {
            let waiting = told.document.as_ref().map(|it| it.waiting_for.join(", ")).unwrap_or_default();
            let why =
                if waiting.is_empty() { told.program.phase.clone() } else { format!("waits for {waiting}") };
            (format!("not ready: {why}"), true)
        }
        (Some(_), Some(_)) => ("ready".to_owned(), false),
        (Some(_), None) => ("ready, cannot be asked".to_owned(), false),
    };
    let mut notes = Vec::new();
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
        problem |= has_no_interface(status);
        if has_no_interface(status) {
            notes.push("no interface that it can announce on".to_owned());
        }
        if let Some(trouble) = &status.gossip.trouble {
            problem = true;
            notes.push(format!("waits for {trouble}"));
        }
        let muted = status.interfaces.items.iter().filter(|it| it.muted).map(|it| &it.name);
        let muted: Vec<&String> = muted.collect();
        if !muted.is_empty() {
            notes.push(format!("says nothing on {} at present", list(&muted)));
        }
    }
    NodeRow {
        node: name,
        speaker,
        announces: status.map(announces),
        interfaces: status.map(|status| status.interfaces.items.clone()).unwrap_or_default(),
        notes,
        problem,
    }
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

/// An interface that is not used, and why.
pub(crate) fn why_not(interface: &Interface) -> String {
    let why = match (&interface.arp, &interface.ndp) {
        (Usability::Unfit(why), _) | (_, Usability::Unfit(why)) => why.as_str(),
        (Usability::Lost, _) | (_, Usability::Lost) => "it has failed",
        (_, _) => "nobody has said why",
    };
    format!("{}: {why}", interface.name)
}

//! `kubectl ferrolb peers`.

use introspection::PeerState;
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::{self, Told};
use crate::cluster::Cluster;
use crate::output::{Page, Table, Tone, cell};
use crate::programs::Part;
use crate::survey::list;

/// How one speaker hears another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PeerRow {
    speaker: String,
    peer: String,
    state: PeerState,
    address: Option<String>,
    macs: Vec<String>,
    note: Option<String>,
}

/// How each speaker hears the others.
pub(crate) async fn run(cluster: &Cluster) -> anyhow::Result<Answer> {
    let told = cluster.ask(Part::Speaker).await;
    let mut failures = ask::failures(&told);
    failures.extend(cluster.programs.as_ref().err().map(ToString::to_string));
    let mut rows = Vec::new();
    let mut trouble = Vec::new();
    for status in told.iter().filter_map(Told::speaker) {
        if let Some(why) = &status.gossip.trouble {
            trouble.push(format!("speaker {} waits for {why}", status.node));
        } else if !status.gossip.settled {
            trouble.push(format!("speaker {} has not heard enough of the others yet", status.node));
        }
        for peer in &status.peers.items {
            let contested = &peer.contested;
            rows.push(PeerRow {
                speaker: status.node.clone(),
                peer: peer.node.clone(),
                state: peer.state,
                address: peer.address.clone(),
                macs: peer.macs.clone(),
                note: (!contested.is_empty())
                    .then(|| format!("does not answer for {}, which other hosts have", list(contested))),
            });
        }
    }
    let mut table = Table::new(["SPEAKER", "PEER", "STATE", "ADDRESS", "+MAC", "NOTE"]);
    for row in &rows {
        let (word, tone) = word(row.state);
        table.row([
            row.speaker.clone().into(),
            row.peer.clone().into(),
            cell(word, tone),
            row.address.clone().unwrap_or_else(|| "-".to_owned()).into(),
            list(&row.macs).into(),
            row.note.clone().unwrap_or_default().into(),
        ]);
    }
    let none = match (told.iter().filter_map(Told::speaker).count(), failures.is_empty()) {
        (1, _) => "There is one speaker, so it has no peers.".to_owned(),
        (_, true) => format!(
            "No speakers found in namespace {}, so nobody announces (kubectl ferrolb status).",
            cluster.system
        ),
        (_, false) => "Nothing can be told.".to_owned(),
    };
    let mut page = Page::of(table, &none);
    trouble.iter().for_each(|line| page.line(cell(line, Tone::Bad)));
    let unheard = rows.iter().any(|row| row.state == PeerState::NotHeard);
    Ok(Answer::list("PeerList", &rows, page).problem_if(unheard || !trouble.is_empty()).not_seen(failures))
}

/// A word for people, and its tone.
pub(crate) fn word(state: PeerState) -> (&'static str, Tone) {
    match state {
        PeerState::Heard => ("heard", Tone::Good),
        PeerState::Away => ("away", Tone::Warn),
        PeerState::Leaving => ("leaving", Tone::Warn),
        PeerState::NotHeard => ("not heard", Tone::Bad),
        PeerState::Unknown => ("unknown", Tone::Warn),
    }
}

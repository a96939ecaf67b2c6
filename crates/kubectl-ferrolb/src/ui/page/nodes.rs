//! The nodes, and what each announces.

use introspection::Interface;
use maud::{Markup, html};

use super::{counted, drain};
use crate::commands::nodes::{NodeRow, by_protocol, is_used, why_not};
use crate::survey::list;
use crate::ui::query::Query;
use crate::ui::view::{NodeView, Seen};
use crate::ui::watching::Drain;

/// As many addresses of a node are shown.
const ADDRESSES: usize = 8;
/// As many nodes are shown with all that is known of them.
const NODES: usize = 60;

pub(super) fn section(seen: &Seen, query: &Query, drain: Option<&(&str, Result<Drain, String>)>) -> Markup {
    let most = seen.nodes.iter().map(|node| node.announced.len()).max().unwrap_or(0);
    let mut nodes: Vec<&NodeView> = seen.nodes.iter().collect();
    nodes.sort_by_key(|node| !node.row.problem);
    html! {
        section.nodes aria-labelledby="nodes" {
            h2 #nodes tabindex="-1" { "Nodes" span.count { (seen.nodes.len()) } }
            @if let Some((node, outcome)) = drain { (drain::panel(node, outcome, query)) }
            @if seen.nodes.is_empty() {
                p.empty { @if seen.complete { "There are no nodes." } @else { "Nodes cannot be listed." } }
            }
            ul.cards.nodes {
                @for node in nodes.iter().take(NODES) { (card(node, most, query)) }
            }
            @if nodes.len() > NODES {
                p.more { "and " (nodes.len() - NODES) " more nodes without a problem: kubectl ferrolb nodes" }
            }
        }
    }
}

fn card(NodeView { row, announced }: &NodeView, most: usize, query: &Query) -> Markup {
    // What is the matter with a node whose speaker is ready, its notes tell.
    let (class, word) = match (row.problem, &*row.speaker) {
        (true, "ready") => ("bad silent", "problem"),
        (true, speaker) => ("bad silent", speaker),
        (false, "ready") => ("good", "ready"),
        (false, speaker) => ("dim", speaker),
    };
    let used: Vec<String> = row.interfaces.iter().filter(|it| is_used(it)).map(by_protocol).collect();
    let unused: Vec<&Interface> = row.interfaces.iter().filter(|it| !is_used(it)).collect();
    let drained = query.drain.as_deref() == Some(&row.node);
    let simulation = query.with_drain(Some(&row.node)).link();
    html! {
        li class={ "card node" @if drained { " drained" } @if row.problem { " problem" } } data-key={ "node " (row.node) } {
            div.top {
                h3 { (row.node) }
                span class={ "state " (class) } { span.shape aria-hidden="true" {} (word) }
            }
            p.big {
                b data-flash { (announced.len()) }
                @if announced.len() == 1 { " address announced" } @else { " addresses announced" }
            }
            (super::pools::bar(announced.len() as u64, most.max(1) as u64, 1))
            @if !announced.is_empty() {
                ul.chips aria-label={ "Addresses that " (row.node) " announces" } {
                    @for held in announced.iter().take(ADDRESSES) {
                        li data-key=(held.ip) {
                            a.chip href={ (query.with_words(&format!("ip:{}", held.ip)).link()) "#services" } title=(held.service) {
                                (held.ip)
                            }
                        }
                    }
                    @if announced.len() > ADDRESSES {
                        li data-key="more" {
                            a.chip.more href={ (query.with_words(&format!("node:{}", row.node)).link()) "#services" } {
                                "+" (announced.len() - ADDRESSES) span.hidden { " more" }
                            }
                        }
                    }
                }
            }
            @for note in &row.notes { p.note { (note) } }
            @if !row.sessions.is_empty() { (sessions(row)) }
            div.bottom {
                @if !row.interfaces.is_empty() {
                    details.interfaces {
                        summary {
                            @if used.is_empty() { "no interface" } @else { "on " (shortened(&used)) }
                        }
                        @if used.len() > 2 { p { "Used: " (list(&used)) } }
                        @for it in &unused { p { (it.name) ": " (why_not(it)) } }
                        @if unused.is_empty() { p { "All interfaces that there are." } }
                    }
                }
                a.button href={ (simulation) "#drain" } { "Simulate drain" span.hidden { " of " (row.node) } }
            }
        }
    }
}

/// The sessions with routers: how many there are, and each.
fn sessions(row: &NodeRow) -> Markup {
    let established = row.sessions.iter().filter(|session| session.established).count();
    let all = row.sessions.len();
    html! {
        details.sessions {
            summary data-flash class=[(established < all).then_some("bad-text")] {
                "BGP: " (established) "/" (all) @if all == 1 { " router, " } @else { " routers, " }
                (counted(row.routes, "route", "routes"))
            }
            @for it in &row.sessions {
                p {
                    (it.peer) " (" (it.address) "): "
                    @if it.established { "established" } @else { "no session" }
                    @if let Some(lasting) = &it.lasting { " for " (lasting) }
                }
            }
        }
    }
}

fn shortened(used: &[String]) -> String {
    match used {
        [] | [_] | [_, _] => list(used),
        [first, ..] => format!("{first} and {}", counted(used.len() - 1, "other", "others")),
    }
}

//! What a drain would do.

use maud::{Markup, html};

use super::{counted, heads};
use crate::commands::whatif::{Difference, brief};
use crate::ui::query::Query;
use crate::ui::watching::Drain;

/// As many differences are shown.
const SHOWN: usize = 100;

pub(super) fn panel(node: &str, outcome: &Result<Drain, String>, query: &Query) -> Markup {
    html! {
        div.panel #drain tabindex="-1" role="region" aria-labelledby="drain-title" {
            div.top {
                h3 #drain-title { "If " (node) " is drained, then switched off" }
                a.button href={ (query.with_drain(None).link()) "#nodes" } { "Close" }
            }
            @match outcome {
                Err(why) => { p.bad-text { "That cannot be told: " (why) } }
                Ok(drain) => { (told(node, drain)) }
            }
        }
    }
}

fn told(node: &str, Drain { differences, notes }: &Drain) -> Markup {
    let (routes, addresses): (Vec<&Difference>, Vec<&Difference>) =
        differences.iter().partition(|it| it.router.is_some());
    let count = |effect: &str| addresses.iter().filter(|it| it.effect == effect).count();
    let (moves, loses) = (count("moves"), count("loses"));
    html! {
        p.lead {
            @if differences.is_empty() {
                "Nothing would change: " (node) " announces nothing, and no Service depends on it."
            } @else {
                @if moves > 0 { b { (counted(moves, "address", "addresses")) } @if moves == 1 { " moves" } @else { " move" } " to another node" }
                @if moves > 0 && loses > 0 { ", and " }
                @if loses > 0 {
                    b.bad-text { (counted(loses, "address", "addresses")) @if loses == 1 { " is" } @else { " are" } " lost" }
                }
                @if moves == 0 && loses == 0 { "No address moves or is lost" }
                "."
                @if !routes.is_empty() {
                    " By BGP, " b { (counted(routes.len(), "route", "routes")) } " would change."
                }
            }
        }
        @for note in notes { p.note { (note) } }
        @if !differences.is_empty() {
            @if !addresses.is_empty() { (table(&addresses)) }
            @if !routes.is_empty() { (table_of_routes(&routes)) }
            @let more = addresses.len().saturating_sub(SHOWN) + routes.len().saturating_sub(SHOWN);
            @if more > 0 {
                p.more { "and " (more) " more: kubectl ferrolb whatif drain " (node) }
            }
            p.note {
                "Drained: its Pods are evicted but for those of DaemonSets, such as its speaker. Off: the node is switched off. \
                 Decided by the code that FerroLB itself decides by; nothing is done."
            }
        }
    }
}

fn table_of_routes(routes: &[&Difference]) -> Markup {
    let mut rows = routes.to_vec();
    rows.sort_by_key(|it| it.effect != "loses");
    html! {
        table.list role="table" {
            caption.hidden { "Routes by BGP" }
            (heads(&["Route", "Router", "Now by", "Drained by", "Off by", "Note"]))
            tbody role="rowgroup" {
                @for it in rows.into_iter().take(SHOWN) {
                    tr role="row" {
                        th.mono scope="row" role="rowheader" data-label="Route" title=(it.service) { (it.ip) }
                        td role="cell" data-label="Router" { (it.router.as_deref().unwrap_or("-")) }
                        td role="cell" data-label="Now by" { (brief(&it.now)) }
                        td role="cell" data-label="Drained by" { (brief(&it.then)) }
                        td role="cell" data-label="Off by" { (brief(it.off.as_deref().unwrap_or("-"))) }
                        td role="cell" data-label="Note" class=[(it.effect == "loses").then_some("bad-text")] { (it.note) }
                    }
                }
            }
        }
    }
}

fn table(differences: &[&Difference]) -> Markup {
    let mut rows = differences.to_vec();
    rows.sort_by_key(|it| it.effect != "loses");
    html! {
        table.list role="table" {
            (heads(&["Service", "Address", "Now", "Drained", "Off", "Note"]))
            tbody role="rowgroup" {
                @for it in rows.into_iter().take(SHOWN) {
                    tr role="row" {
                        th scope="row" role="rowheader" data-label="Service" { (it.service) }
                        td.mono role="cell" data-label="Address" { (it.ip) }
                        td role="cell" data-label="Now" { (it.now) }
                        td role="cell" data-label="Drained" { (it.then) }
                        td role="cell" data-label="Off" { (it.off.as_deref().unwrap_or("-")) }
                        td role="cell" data-label="Note" class=[(it.effect == "loses").then_some("bad-text")] {
                            @if it.note.is_empty() { @if it.effect == "moves" { "moves" } @else { "-" } } @else { (it.note) }
                        }
                    }
                }
            }
        }
    }
}

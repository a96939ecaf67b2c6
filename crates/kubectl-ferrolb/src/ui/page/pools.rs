//! The pools as bars, and their addresses one by one.

use maud::{Markup, html};

use super::grouped;
use crate::commands::ips::IpRow;
use crate::commands::pools::{Count, PoolRow};
use crate::survey::list;
use crate::ui::query::Query;
use crate::ui::view::{PoolView, Seen};

/// A pool with as many addresses is shown with all of them at first.
const OPEN: usize = 256;
/// As many pools are open at first.
const OPEN_POOLS: usize = 4;

pub(super) fn section(seen: &Seen, query: &Query) -> Markup {
    html! {
        section.pools aria-labelledby="pools" {
            h2 #pools { "Pools" span.count { (seen.pools.len()) } }
            @if seen.pools.is_empty() {
                p.empty { @if seen.complete { "There are no IPAddressPools." } @else { "Pools cannot be listed." } }
            }
            @for (index, pool) in seen.pools.iter().enumerate() { (one(pool, index, query)) }
            @if !seen.pools.is_empty() { (legend()) }
        }
    }
}

fn one(PoolView { row, cells, more }: &PoolView, index: usize, query: &Query) -> Markup {
    let open = index < OPEN_POOLS && *more == 0 && cells.len() <= OPEN;
    html! {
        div class={ "card pool" @if !row.faults.is_empty() { " problem" } } data-key={ "pool " (row.name) } {
            div.top {
                h3 { a href={ (query.with_words(&format!("pool:{}", row.name)).link()) "#services" } { (row.name) } }
                p.note { (kind(row)) }
            }
            @match (row.v4, row.v6) {
                (Some(v4), Some(v6)) => {
                    (count(v4, "IPv4"))
                    (count(v6, "IPv6"))
                    @if v4.text() == "-" && v6.text() == "-" { p.note { "None of its addresses can be given." } }
                }
                (_, _) => { p.note { "How many are in use cannot be told." } }
            }
            @for fault in &row.faults { p.bad-text { "Not in force: " (fault) } }
            @for warning in &row.warnings { p.note { (warning) } }
            @if !cells.is_empty() {
                details open[open] {
                    summary { span.mono { (shortened(&row.addresses)) } }
                    ol.cells {
                        @for cell in cells { (single(cell, query)) }
                    }
                    @if *more > 0 { p.more { "and " (more) " more: kubectl ferrolb ips " (row.name) } }
                }
            }
        }
    }
}

fn kind(row: &PoolRow) -> String {
    let for_whom = row.only_for.as_ref().map(|it| format!("for {it}"));
    let asked_for = (!row.auto_assign).then(|| "given only where asked for".to_owned());
    let quota = row.quota.as_ref().map(|most| format!("at most {most} for each namespace"));
    let reserved = (row.reserved > 0).then(|| format!("{} reserved", row.reserved));
    let parts: Vec<String> = for_whom.into_iter().chain(asked_for).chain(quota).chain(reserved).collect();
    list(&parts)
}

fn count(count: Count, family: &str) -> Markup {
    if count.in_use == 0 && count.free == 0 {
        return html! {};
    }
    let all = count.in_use.saturating_add(count.free);
    html! {
        div.usage {
            p {
                b data-flash { (grouped(count.in_use)) }
                @if count.free == u64::MAX { " of many " } @else { " of " (grouped(all)) " " }
                span.family { (family) } " in use"
                @if count.is_full() { span.full { "full" } }
            }
            (bar(count.in_use, all, count.free))
        }
    }
}

/// A bar that is filled in part. It says nothing that is not said beside it.
pub(super) fn bar(filled: u64, all: u64, free: u64) -> Markup {
    // In thousandths, of which each that is in use has at least a few to be seen.
    let share = (u128::from(filled) * 1000).checked_div(u128::from(all)).unwrap_or(0);
    let width = if filled > 0 { share.clamp(8, 1000) } else { 0 };
    let class = if filled > 0 && free == 0 { "bar whole" } else { "bar" };
    html! {
        svg class=(class) viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" {
            rect.rest width="1000" height="10" {}
            rect.part width=(width) height="10" {}
        }
    }
}

/// An address, or a run of free ones.
fn single(cell: &IpRow, query: &Query) -> Markup {
    let class = match cell.state {
        "in use" => "used",
        "free" => "free",
        "conflict" | "not heard" => "conflict",
        "silent" => "silent",
        "node" => "of-node",
        _ => "left-out",
    };
    let services = list(&cell.services);
    let mut about = format!("{}: {}", cell.ip, cell.state);
    for (word, text) in [
        ("by", Some(&services).filter(|it| !it.is_empty())),
        ("on", cell.node.as_ref()),
        ("with", cell.mac.as_ref()),
        ("-", cell.note.as_ref()),
    ] {
        if let Some(text) = text {
            about = format!("{about} {word} {text}");
        }
    }
    let run = cell.state == "free" && cell.ip.contains('-');
    html! {
        @if run {
            li.run { (cell.ip) " free" }
        } @else if cell.services.is_empty() {
            li class={ "cell " (class) } title=(about) { span.hidden { (about) } }
        } @else {
            li class={ "cell " (class) } data-key=(cell.ip) {
                a href={ (query.with_words(&format!("ip:{}", cell.ip)).link()) "#services" } title=(about) {
                    span.hidden { (about) }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend aria-hidden="true" {
            li { span.cell.used {} "in use" }
            li { span.cell.free {} "free" }
            li { span.cell.silent {} "no announcer" }
            li { span.cell.conflict {} "conflict" }
            li { span.cell.of-node {} "of a node" }
            li { span.cell.left-out {} "left out" }
        }
    }
}

fn shortened(addresses: &[String]) -> String {
    match addresses {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        few => list(few),
    }
}

//! How it is, in one line and a few numbers, and what somebody should see to.

use maud::{Markup, html};

use super::{counted, grouped};
use crate::commands::status::{Programs, Summary, together};
use crate::output::some;
use crate::ui::query::Query;
use crate::ui::view::{Seen, View};

/// So many problems are shown at once.
const PROBLEMS: usize = 12;
/// And so many when the user wants to see more.
const MORE_PROBLEMS: usize = 200;
/// So many are named for which a problem is the same.
const NAMED: usize = 3;
/// So much of what could not be seen is named at first.
const NOT_SEEN: usize = 6;

/// What is the same for some: what that is about, the reason, and what to do.
type Problem<'a> = (Vec<&'a str>, &'a str, Option<&'a str>);

/// How it is.
enum Verdict {
    Looking,
    /// The cluster cannot be reached, and why.
    Lost(String),
    /// So many problems.
    Problems(usize),
    /// No problem is seen, and not everything is seen.
    Partly,
    Well,
}

fn verdict(view: &View) -> Verdict {
    match (&view.trouble, &view.seen) {
        (Some(why), _) => Verdict::Lost(why.clone()),
        (None, None) => Verdict::Looking,
        (None, Some(Seen { summary, .. })) => match (summary.problems.len(), summary.not_seen.is_empty()) {
            (0, true) => Verdict::Well,
            (0, false) => Verdict::Partly,
            (problems, _) => Verdict::Problems(problems),
        },
    }
}

/// The title of the window: what is the matter comes first, for it is all that a tab shows.
pub(super) fn title(view: &View) -> String {
    let cluster = &view.cluster;
    match verdict(view) {
        Verdict::Looking => format!("FerroLB - {cluster}"),
        Verdict::Lost(_) => format!("Not reached - {cluster} - FerroLB"),
        Verdict::Problems(count) => {
            format!("{} - {cluster} - FerroLB", counted(count, "problem", "problems"))
        }
        Verdict::Partly => format!("Partly seen - {cluster} - FerroLB"),
        Verdict::Well => format!("All is well - {cluster} - FerroLB"),
    }
}

/// The headline, and the numbers.
pub(super) fn headline(view: &View) -> Markup {
    let (class, text, below) = match verdict(view) {
        Verdict::Looking => ("dim", "Looking at the cluster".to_owned(), None),
        Verdict::Lost(why) => ("bad", "The cluster cannot be reached".to_owned(), Some(why)),
        Verdict::Problems(count) => (
            "bad",
            counted(count, "problem", "problems"),
            view.seen.as_ref().map(|seen| services(&seen.summary)),
        ),
        Verdict::Partly => (
            "warn",
            "No problem in what can be seen".to_owned(),
            Some("Not everything can be seen: what is missing is named below.".to_owned()),
        ),
        Verdict::Well => {
            ("good", "All is well".to_owned(), view.seen.as_ref().map(|seen| services(&seen.summary)))
        }
    };
    html! {
        section class={ "headline " (class) } aria-label="Summary" {
            div.verdict role="status" {
                h1 { span.shape aria-hidden="true" {} (text) }
                @if let Some(below) = below { p { (below) } }
                @if view.trouble.is_some() && view.seen.is_some() { p { "What is below was seen before." } }
            }
            @if let Some(seen) = &view.seen { (numbers(seen)) }
        }
    }
}

fn services(summary: &Summary) -> String {
    let it = &summary.services;
    if it.all == 0 {
        return "No Service of type LoadBalancer asks for an address.".to_owned();
    }
    let mut parts = Vec::new();
    for (count, what) in [
        (it.announced, "announced"),
        (it.starting, "on the way"),
        (it.silent, "without announcer"),
        (it.conflicts, "in conflict"),
        (it.unknown, "not known"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let waiting = counted(it.waiting, "Service waits", "Services wait");
    if it.waiting > 0 {
        parts.push(format!("{waiting} for an address"));
    }
    if it.announced == it.addresses && parts.len() == 1 {
        let to_routers = summary.bgp.as_ref().is_some_and(|bgp| bgp.prefixes > 0);
        return if to_routers {
            "Every address is announced."
        } else {
            "Every address is announced by one node."
        }
        .to_owned();
    }
    format!("Addresses: {}.", parts.join(", "))
}

fn numbers(seen: &Seen) -> Markup {
    let summary = &seen.summary;
    let ready = |programs: &Programs| match programs.all {
        0 => "none".to_owned(),
        all => format!("{}/{all}", programs.ready),
    };
    let leader = match (&seen.leader_on, &summary.leader) {
        (Some(node), _) => format!("led from {node}"),
        (None, Some(pod)) => format!("led by {pod}"),
        (None, None) => "no leader known".to_owned(),
    };
    let services = &summary.services;
    let where_from = counted(summary.pools.len(), "pool", "pools");
    html! {
        dl.numbers {
            div { dt { "Services" } dd { (grouped(services.all as u64)) } dd.note { "of type LoadBalancer" } }
            div { dt { "Addresses" } dd { (grouped(services.addresses as u64)) } dd.note { "from " (where_from) } }
            div { dt { "Speakers" } dd { (ready(&summary.speakers)) } dd.note { (seen.hearing) } }
            @if let Some(it) = &summary.bgp {
                div {
                    dt { "BGP sessions" }
                    dd { (it.established) "/" (it.sessions) }
                    dd.note { (counted(it.prefixes, "prefix announced", "prefixes announced")) }
                }
            }
            div { dt { "Controllers" } dd { (ready(&summary.controllers)) } dd.note { (leader) } }
        }
    }
}

/// What somebody should see to, what could not be seen, and what authors may not mean.
pub(super) fn problems(seen: &Seen, query: &Query) -> Markup {
    let Summary { problems, warnings, not_seen, .. } = &seen.summary;
    let problems = together(problems);
    html! {
        @if !problems.is_empty() {
            section.problems aria-labelledby="problems" {
                h2 #problems { "Problems" }
                ul.cards {
                    @for it in problems.iter().take(PROBLEMS) { (problem(it)) }
                }
                @if problems.len() > PROBLEMS { (more_problems(&problems[PROBLEMS..], query)) }
            }
        }
        @if !not_seen.is_empty() {
            section.missing aria-labelledby="missing" {
                h2 #missing { "What could not be seen" }
                (texts(&not_seen[..not_seen.len().min(NOT_SEEN)]))
                @if not_seen.len() > NOT_SEEN {
                    details {
                        summary { "and " (not_seen.len() - NOT_SEEN) " more" }
                        (texts(&not_seen[NOT_SEEN..]))
                    }
                }
            }
        }
        @if !warnings.is_empty() {
            details.warnings #warnings {
                summary { (counted(warnings.len(), "warning", "warnings")) " about the configuration" }
                (texts(warnings))
            }
        }
    }
}

fn more_problems(rest: &[Problem<'_>], query: &Query) -> Markup {
    let (rest, untold) = rest.split_at(rest.len().min(MORE_PROBLEMS));
    html! {
        details.rest {
            summary { "and " (rest.len() + untold.len()) " more" }
            ul.cards { @for it in rest { (problem(it)) } }
            @if !untold.is_empty() {
                p.more {
                    a href={ (query.with_problems(true).link()) "#services" } {
                        "and " (untold.len()) " more: all Services with a problem"
                    }
                }
            }
        }
    }
}

fn texts(texts: &[String]) -> Markup {
    html! { ul.plain { @for text in texts { li { (text) } } } }
}

fn problem((about, reason, remedy): &Problem<'_>) -> Markup {
    html! {
        li.card.problem {
            h3 { span.shape aria-hidden="true" {} (some(about, NAMED)) }
            p { (sentence(reason)) }
            @if let Some(remedy) = remedy {
                p.remedy { span.label { "What to do" } (sentence(remedy)) }
            }
        }
    }
}

/// Begins with a capital letter, unless it begins with a name or a command.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let word = text.split(' ').next().unwrap_or_default();
    match letters.next() {
        Some(first) if word != "kubectl" && word.chars().all(char::is_alphabetic) => {
            first.to_uppercase().chain(letters).collect()
        }
        Some(_) | None => text.to_owned(),
    }
}

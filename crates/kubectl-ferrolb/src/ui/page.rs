//! The page as HTML: all of it, and the part of it that is replaced when something has changed.

mod drain;
mod nodes;
mod overview;
mod pools;
mod services;
mod timeline;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use objects::text::printable;

use self::overview::{headline, title};
use super::query::Query;
use super::view::View;
use super::watching::Drain;
use crate::survey::Health;

/// What a page shows.
pub(super) struct Shown<'a> {
    pub(super) version: u64,
    pub(super) view: &'a View,
    pub(super) query: &'a Query,
    /// The node whose drain is simulated, and what comes of it.
    pub(super) drain: Option<(&'a str, Result<Drain, String>)>,
    pub(super) looked: Option<Timestamp>,
}

/// The whole page.
pub(super) fn document(shown: &Shown<'_>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title(shown.view)) }
                link rel="icon" href="icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="style.css";
                script src="page.js" defer {}
                noscript { meta http-equiv="refresh" content="10"; }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.masthead {
                    p.brand { span.mark aria-hidden="true" {} "FerroLB" }
                    p.cluster { span.hidden { "Cluster: " } (shown.view.cluster) }
                    nav aria-label="Sections" {
                        a href="#nodes" { "Nodes" }
                        a href="#pools" { "Pools" }
                        a href="#timeline" { "Timeline" }
                        a href="#services" { "Services" }
                    }
                    p.live #live data-state="still" {
                        span.pulse aria-hidden="true" {}
                        span #live-text {
                            @match shown.looked {
                                Some(at) => { "Seen " (time(at)) }
                                None => { "Looking" }
                            }
                        }
                    }
                }
                (contents(shown))
                footer.foot {
                    p { "Read with your own rights, from this machine only. Nothing of this page runs in the cluster." }
                }
            }
        }
    };
    tamed(page)
}

/// The part that is replaced.
pub(super) fn fragment(shown: &Shown<'_>) -> String {
    tamed(contents(shown))
}

/// No text may turn the direction of writing or hide what is beside it, wherever it has come from. HTML needs none of these
/// characters.
fn tamed(page: Markup) -> String {
    let page = page.into_string();
    printable(&page).into_owned()
}

fn contents(shown: &Shown<'_>) -> Markup {
    let view = shown.view;
    html! {
        main #main tabindex="-1" data-version=(shown.version) data-title=(title(view)) {
            (headline(view))
            @if let Some(seen) = &view.seen {
                (overview::problems(seen, shown.query))
                (nodes::section(seen, shown.query, shown.drain.as_ref()))
                div.columns {
                    (pools::section(seen, shown.query))
                    (timeline::section(view, shown.query))
                }
                (services::section(seen, shown.query))
            }
        }
    }
}

/// A moment, which the script shows in the user's zone.
fn time(at: Timestamp) -> Markup {
    let text = at.to_string();
    let clock = text.get(11..19).unwrap_or(&text).to_owned();
    html! { time datetime=(text) { (clock) " UTC" } }
}

/// How something is: a shape and a word, so that no colour says anything alone.
fn state(health: Health) -> Markup {
    let class = match health {
        Health::Announced => "state good",
        Health::Starting => "state busy",
        Health::Unknown => "state dim",
        Health::Waiting => "state bad waiting",
        Health::Silent => "state bad silent",
        Health::Conflict => "state bad conflict",
    };
    html! { span class=(class) { span.shape aria-hidden="true" {} (health.word()) } }
}

/// The heads of a table's columns.
fn heads(names: &[&str]) -> Markup {
    html! {
        thead role="rowgroup" {
            tr role="row" { @for name in names { th scope="col" role="columnheader" { (name) } } }
        }
    }
}

/// `1 address`, `2 addresses`.
fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// A number with a gap between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;

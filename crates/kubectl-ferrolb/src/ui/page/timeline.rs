//! What has moved, the latest first.

use maud::{Markup, html};

use super::{counted, time};
use crate::output::some;
use crate::ui::query::Query;
use crate::ui::timeline::{Entry, What};
use crate::ui::view::{Held, View};

/// As many entries are shown at first.
const SHOWN: usize = 10;
/// As many addresses of an entry are named.
const NAMED: usize = 3;
/// And as many nodes.
const NODES: usize = 4;

pub(super) fn section(view: &View, query: &Query) -> Markup {
    let (first, rest) = view.timeline.split_at(view.timeline.len().min(SHOWN));
    html! {
        section.timeline aria-labelledby="timeline" {
            h2 #timeline { "Timeline" }
            @if view.timeline.is_empty() {
                p.empty { "Nothing has moved yet. What moves while this page is served is shown here." }
            }
            @if !first.is_empty() { ol.events { @for it in first { (entry(it, query)) } } }
            @if !rest.is_empty() {
                details {
                    summary { (rest.len()) " earlier" }
                    ol.events { @for it in rest { (entry(it, query)) } }
                }
            }
            @if let Some(why) = &view.no_history { p.note { "Begins with this page: " (why) "." } }
        }
    }
}

fn entry(Entry { at, what, addresses }: &Entry, query: &Query) -> Markup {
    let how_many = counted(addresses.len(), "address", "addresses");
    let (class, text) = match what {
        What::Moved { from, to } => {
            ("moved", html! { (how_many) " moved from " b { (from) } " to " b { (to) } })
        }
        What::Began { on } => ("good", html! { (how_many) " announced by " b { (on) } }),
        What::Silent { before } => {
            ("bad silent", html! { (how_many) " without announcer, before on " b { (before) } })
        }
        What::Conflict => ("bad conflict", html! { "Another host has " (how_many) }),
        What::Given => ("dim", html! { (how_many) " given back" }),
        What::SpeakerDown { node } => {
            ("bad silent", html! { "The speaker on " b { (node) } " is not ready any more" })
        }
        What::SessionsDown { router, nodes, why: _ } => {
            ("bad silent", html! { b { (some(nodes, NODES)) } " lost the BGP session with " b { (router) } })
        }
        What::SessionsUp { router, nodes } => {
            let verb = if nodes.len() == 1 { " has a BGP session with " } else { " have BGP sessions with " };
            ("good", html! { b { (some(nodes, NODES)) } (verb) b { (router) } })
        }
        What::SpeakerUp { node } => ("good", html! { "The speaker on " b { (node) } " is ready" }),
    };
    let key = format!("{at} {what:?}");
    html! {
        li class={ "event state " (class) } data-key=(key) {
            span.shape aria-hidden="true" {}
            div {
                p { (text) }
                @if !addresses.is_empty() { p.note { (named(addresses, query)) } }
                @if let What::SessionsDown { why, .. } = what { p.note { (why) } }
            }
            (time(*at))
        }
    }
}

fn named(addresses: &[Held], query: &Query) -> Markup {
    html! {
        @for held in addresses.iter().take(NAMED) {
            span.pair {
                a.mono href={ (query.with_words(&format!("ip:{}", held.ip)).link()) "#services" } { (held.ip) }
                " " (held.service)
            }
        }
        @if addresses.len() > NAMED { span.pair { "and " (addresses.len() - NAMED) " more" } }
    }
}

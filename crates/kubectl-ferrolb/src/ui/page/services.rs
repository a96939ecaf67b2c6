//! The Services: found by words, a page at a time.

use maud::{Markup, html};

use super::{counted, heads, state};
use crate::commands::services::places;
use crate::survey::Surveyed;
use crate::ui::query::{PER_PAGE, Query};
use crate::ui::view::Seen;

pub(super) fn section(seen: &Seen, query: &Query) -> Markup {
    let wanted: Vec<&Surveyed> = seen.services.iter().filter(|service| query.wants(service)).collect();
    let pages = wanted.len().div_ceil(PER_PAGE).max(1);
    let page = query.page.min(pages - 1);
    let problems = seen.services.iter().filter(|service| service.is_problem()).count();
    html! {
        section.services aria-labelledby="services" {
            h2 #services tabindex="-1" { "Services" span.count { (seen.services.len()) } }
            (filter(query, problems))
            p.found role="status" {
                @if !query.words.is_empty() || query.problems {
                    (counted(wanted.len(), "Service", "Services")) " found"
                }
            }
            @if wanted.is_empty() {
                p.empty {
                    @if !query.words.is_empty() { "No Service has all of these words." }
                    @else if query.problems { "No Service has a problem." }
                    @else if seen.complete { "There are no Services of type LoadBalancer." }
                    @else { "Services cannot be listed." }
                }
            } @else {
                (table(&wanted[page * PER_PAGE..wanted.len().min((page + 1) * PER_PAGE)], query))
                @if pages > 1 { (pager(query, page, pages)) }
            }
        }
    }
}

fn filter(query: &Query, problems: usize) -> Markup {
    let current = |so: bool| so.then_some("true");
    html! {
        form.filter role="search" method="get" action="./#services" {
            label {
                span.hidden { "Find Services by name, address, node, pool or state" }
                input #find type="search" name="q" value=(query.words) autocomplete="off" spellcheck="false"
                    placeholder="Find by name, address, node, pool or state" maxlength="200";
            }
            @if query.problems { input type="hidden" name="show" value="problems"; }
            @if let Some(node) = &query.drain { input type="hidden" name="drain" value=(node); }
            button.button { "Find" }
            div.tabs role="group" aria-label="Which Services" {
                a href={ (query.with_problems(false).link()) "#services" } aria-current=[current(!query.problems)] { "All" }
                a href={ (query.with_problems(true).link()) "#services" } aria-current=[current(query.problems)] {
                    "With a problem" span.count { (problems) }
                }
            }
        }
    }
}

fn table(services: &[&Surveyed], query: &Query) -> Markup {
    html! {
        table.list.services role="table" {
            caption.hidden { "Services of type LoadBalancer" }
            (heads(&["Service", "Address", "Announced by", "Pool", "State"]))
            tbody role="rowgroup" { @for service in services { (row(service, query)) } }
        }
    }
}

fn row(service: &Surveyed, query: &Query) -> Markup {
    let bad = service.is_problem();
    html! {
        tr role="row" data-key={ "service " (service.title()) } class=[bad.then_some("problem")] {
            th scope="row" role="rowheader" data-label="Service" {
                span.namespace { (service.namespace) "/" } (service.name)
            }
            td.mono role="cell" data-label="Address" {
                @if service.addresses.is_empty() { "-" }
                @for address in &service.addresses { span.line { (address.ip) } }
            }
            td role="cell" data-label="Announced by" data-flash {
                @if service.addresses.is_empty() { "-" }
                @for address in &service.addresses {
                    @let announced_by = places(address);
                    @if announced_by.is_empty() { span.line { "-" } }
                    @for place in &announced_by { span.line { (place) } }
                }
            }
            td role="cell" data-label="Pool" {
                @match &service.pool {
                    Some(pool) => { a href={ (query.with_words(&format!("pool:{pool}")).link()) "#services" } { (pool) } }
                    None => { "-" }
                }
            }
            td role="cell" data-label="State" {
                (state(service.health))
                @for reason in service.all_reasons() { p.reason { (reason) } }
                @for remedy in service.all_remedies() { p.remedy { span.label { "What to do" } (remedy) } }
                @if bad { p.remedy { span.label { "Why" } code { "kubectl ferrolb explain " (service.title()) } } }
            }
        }
    }
}

fn pager(query: &Query, page: usize, pages: usize) -> Markup {
    let to = |page: usize| format!("{}#services", query.with_page(page).link());
    html! {
        nav.pager aria-label="Pages of Services" {
            @if page > 0 { a.button rel="prev" href=(to(page - 1)) { "Previous" } }
            @else { span.button.off { "Previous" } }
            span { "Page " (page + 1) " of " (pages) }
            @if page + 1 < pages { a.button rel="next" href=(to(page + 1)) { "Next" } }
            @else { span.button.off { "Next" } }
        }
    }
}

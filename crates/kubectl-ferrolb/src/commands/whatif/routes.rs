//! Which routes would be withdrawn, and which announced.

use std::collections::BTreeSet;

use objects::NodeName;

use super::{Difference, note_tone};
use crate::output::{Page, Table, cell, some};
use crate::snapshot::{Route, Routing};
use crate::survey::list;

/// So many nodes are named in a row.
const FEW: usize = 4;

/// The routes that differ, each with the nodes that tell a router of it: now, then, and after that if there is such a time.
pub(super) fn differences(now: &Routing, then: &Routing, off: Option<&Routing>) -> Vec<Difference> {
    let last = off.unwrap_or(then);
    let all = [now, then, last].into_iter().flat_map(|it| it.routes.keys());
    let mut differences = Vec::new();
    for key in all.collect::<BTreeSet<_>>() {
        let (prefix, router) = key;
        let of = |routing: &Routing| routing.routes.get(key).cloned().unwrap_or_default();
        let (before, after, end) = (of(now), of(then), of(last));
        if before.nodes == after.nodes && before.nodes == end.nodes {
            continue;
        }
        let services = [&before, &after, &end].into_iter().flat_map(|it| it.services.iter());
        let services: BTreeSet<_> = services.collect();
        let effect = match (before.nodes.is_empty(), after.nodes.is_empty() || end.nodes.is_empty()) {
            (true, _) => "gains",
            (false, true) => "loses",
            (false, false) => "moves",
        };
        differences.push(Difference {
            service: list(&services.into_iter().collect::<Vec<_>>()),
            ip: prefix.to_string(),
            router: Some(router.to_string()),
            now: shown(&before),
            then: shown(&after),
            off: off.map(|_| shown(&end)),
            effect,
            note: note(router.as_str(), effect, &before, &after, &end),
        });
    }
    differences
}

fn note(router: &str, effect: &str, before: &Route, after: &Route, end: &Route) -> String {
    if effect == "loses" {
        return format!("{router} is told of it by no node any more");
    }
    let verb = |nodes: Vec<&NodeName>, one: &str, many: &str, when: &str| {
        let verb = if nodes.len() == 1 { one } else { many };
        (!nodes.is_empty()).then(|| format!("{} {verb} it{when}", list(&nodes)))
    };
    let minus = |a: &Route, b: &Route| -> Vec<NodeName> { a.nodes.difference(&b.nodes).cloned().collect() };
    let (withdrawn, later) = (minus(before, after), minus(after, end));
    let begun = minus(after, before);
    let parts = [
        verb(withdrawn.iter().collect(), "withdraws", "withdraw", ""),
        verb(later.iter().collect(), "withdraws", "withdraw", " when it is switched off"),
        verb(begun.iter().collect(), "announces", "announce", ""),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A table of the routes among differences; nothing where there is none.
pub(super) fn page(differences: &[Difference]) -> Page {
    let rows: Vec<(&Difference, &String)> =
        differences.iter().filter_map(|it| Some((it, it.router.as_ref()?))).collect();
    let mut page = Page::default();
    if rows.is_empty() {
        return page;
    }
    page.line("");
    let mut table = if rows.iter().any(|(it, _)| it.off.is_some()) {
        Table::new(["ROUTE", "+SERVICES", "ROUTER", "NOW BY", "DRAINED BY", "OFF BY", "NOTE"])
    } else {
        Table::new(["ROUTE", "+SERVICES", "ROUTER", "NOW BY", "THEN BY", "NOTE"])
    };
    for (it, router) in rows {
        let (prefix, services) = (it.ip.clone().into(), it.service.clone().into());
        let (now, then) = (brief(&it.now).into(), brief(&it.then).into());
        let (told, note) = (router.clone().into(), cell(&it.note, note_tone(it)));
        match &it.off {
            Some(off) => table.row([prefix, services, told, now, then, brief(off).into(), note]),
            None => table.row([prefix, services, told, now, then, note]),
        }
    }
    page.table(table, "");
    page
}

/// Names with commas between them, the first of many.
pub(crate) fn brief(names: &str) -> String {
    let all: Vec<&str> = names.split(", ").collect();
    if all.len() > FEW { some(&all, FEW - 1) } else { names.to_owned() }
}

fn shown(route: &Route) -> String {
    if route.nodes.is_empty() { "-".to_owned() } else { list(&route.nodes.iter().collect::<Vec<_>>()) }
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn of_many_nodes_the_first_are_named() {
        assert_eq!(brief("n1, n2, n3, n4"), "n1, n2, n3, n4");
        assert_eq!(brief("n1, n2, n3, n4, n5"), "n1, n2, n3 and 2 more");
        assert_eq!(brief("-"), "-");
    }
}

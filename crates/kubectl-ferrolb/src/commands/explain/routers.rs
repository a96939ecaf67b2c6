//! What routers are told of a Service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::ServiceKey;

use super::{AddressStory, NODES};
use crate::ask::Told;
use crate::look::Look;
use crate::output::{Page, Tone, cell, some};
use crate::routed::{Remark, Routed, routed, why_not};
use crate::survey::list;

/// Which routers are told, by which nodes, and why others tell them nothing.
pub(super) fn tell_routers(
    look: &Look,
    key: &ServiceKey,
    ip: IpAddr,
    story: &mut AddressStory,
    page: &mut Page,
) {
    let speakers = || look.speakers.iter().filter_map(Told::speaker);
    // Nodes of which the same is true are told of together.
    let mut alike: Vec<(Routed, Vec<String>)> = Vec::new();
    for it in routed(speakers(), key, ip) {
        let same =
            |(other, _): &&mut (Routed, Vec<String>)| Routed { node: it.node.clone(), ..other.clone() } == it;
        match alike.iter_mut().find(same) {
            Some((_, nodes)) => nodes.push(it.node),
            None => alike.push((it.clone(), vec![it.node])),
        }
    }
    for (Routed { prefix, told, untold, without_bfd, .. }, nodes) in alike {
        let one = nodes.len() == 1;
        let mut parts = Vec::new();
        if !told.is_empty() {
            let verb = if one { "announces" } else { "announce" };
            parts.push(format!("{verb} {prefix} to {}", list(&told)));
        }
        let remarks = |what: &str, remarks: &[Remark]| -> Vec<String> {
            remarks.iter().map(|Remark { peer, why }| format!("{what} {peer}: {why}")).collect()
        };
        parts.extend(remarks(if one { "has no session with" } else { "have no session with" }, &untold));
        let late = if one { "would notice late that it lost" } else { "would notice late that they lost" };
        parts.extend(remarks(late, &without_bfd));
        let tone = match (untold.is_empty(), without_bfd.is_empty()) {
            (true, true) => Tone::Good,
            (true, false) => Tone::Warn,
            (false, _) => Tone::Bad,
        };
        let said = format!("{} {}", some(&nodes, NODES), parts.join(", "));
        page.field(cell("By BGP", tone), &said);
        story.by_bgp.push(said);
    }
    let service = key.to_string();
    let mut silent: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for speaker in speakers() {
        for it in speaker.bgp.unannounced.items.iter().filter(|it| it.service == service) {
            silent.entry(why_not(&it.reason)).or_default().push(&speaker.node);
        }
    }
    for (why, nodes) in silent {
        let verb = if nodes.len() == 1 { "tells" } else { "tell" };
        let said = format!("{} {verb} routers nothing: {why}", some(&nodes, NODES));
        page.field(cell("By BGP", Tone::Dim), &said);
        story.by_bgp.push(said);
    }
}

/// Whether routers are told of an address, or are to be.
pub(super) fn is_for_routers(look: &Look, key: &ServiceKey, ip: IpAddr) -> bool {
    let is_routed = || !routed(look.speakers.iter().filter_map(Told::speaker), key, ip).is_empty();
    let members = &look.snapshot.speakers.members;
    is_routed() || look.snapshot.bgp.routing(&look.placement, members).why_silent(key, ip).is_some()
}

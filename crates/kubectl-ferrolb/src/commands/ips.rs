//! `kubectl ferrolb ips`.

mod conflicts;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ::pools::{Pool, Range, is_buggy, successor};
use introspection::AddressState;
use jiff::Timestamp;
use objects::PoolName;
use serde::Serialize;

use self::conflicts::since_of_conflicts;
use super::services::places;
use crate::answer::Answer;
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::nearest::did_you_mean;
use crate::output::{Page, Table, Tone, cell};
use crate::survey::{Health, Surveyed, list};

/// As many free addresses are listed one by one; more are a range.
const ONE_BY_ONE: u128 = 256;

/// An address, or a run of free ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IpRow {
    pub(crate) ip: String,
    pub(crate) pool: String,
    pub(crate) state: &'static str,
    pub(crate) services: Vec<String>,
    pub(crate) node: Option<String>,
    pub(crate) mac: Option<String>,
    /// Since when the node announces it, or another host has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    pub(crate) note: Option<String>,
}

/// The addresses of all pools, or of one.
pub(crate) async fn run(cluster: &Cluster, pool: Option<&str>) -> anyhow::Result<Answer> {
    let look = Look::at(cluster).await;
    let wanted = |it: &&Pool| pool.is_none_or(|name| it.name.as_str() == name);
    let pools: Vec<&Pool> = look.allocation.pools().iter().filter(wanted).collect();
    if let (Some(name), true, true) = (pool, pools.is_empty(), look.failures.is_empty()) {
        let pools = look.allocation.pools().iter().map(|pool| pool.name.to_string());
        anyhow::bail!(
            "there is no IPAddressPool {name} in namespace {}{}",
            cluster.system,
            did_you_mean(name, pools)
        );
    }
    let mut rows: Vec<IpRow> = pools.iter().flat_map(|pool| rows(&look, pool)).collect();
    let untold = since_of_conflicts(cluster, &mut rows).await;
    let mut table = Table::new(["IP", "STATE", "SERVICE", "NODE/IF", "MAC", "SINCE", "+POOL", "+NOTE"]);
    let now = Timestamp::now();
    for row in &rows {
        let tone = match row.state {
            "in use" => Tone::Good,
            "free" => Tone::Dim,
            "reserved" => Tone::Plain,
            "conflict" | "not heard" => Tone::Bad,
            _ => Tone::Warn,
        };
        let or_none = |text: Option<&String>| text.cloned().unwrap_or_else(|| "-".to_owned());
        let services = if row.services.is_empty() { "-".to_owned() } else { list(&row.services) };
        table.row([
            row.ip.clone().into(),
            cell(row.state, tone),
            services.into(),
            or_none(row.node.as_ref()).into(),
            or_none(row.mac.as_ref()).into(),
            row.since.as_deref().map_or_else(|| "-".to_owned(), |since| age(since, now)).into(),
            row.pool.clone().into(),
            row.note.clone().unwrap_or_default().into(),
        ]);
    }
    let none = if look.failures.is_empty() { "No addresses found." } else { "Nothing can be told." };
    let mut page = Page::of(table, none);
    look.notes().for_each(|note| page.line(note));
    for (reservation, why) in &look.allocation.unreserved {
        let said = format!("note: AddressReservation {reservation} is not in force: {why}");
        page.line(cell(said, Tone::Warn));
    }
    if !look.unasked.is_empty() {
        page.line(cell("note: conflicts that only those know of are not shown", Tone::Dim));
    }
    if let Some(why) = untold {
        page.line(cell(
            format!("note: since when addresses are in conflict cannot be told: {why}"),
            Tone::Dim,
        ));
    }
    let problem = rows.iter().any(|row| matches!(row.state, "conflict" | "not heard" | "silent"));
    Ok(Answer::list("IPList", &rows, page)
        .problem_if(problem)
        .not_seen([look.failures, look.forbidden].concat()))
}

/// What the speakers say of an address.
fn contested(look: &Look) -> BTreeMap<IpAddr, (&'static str, String)> {
    let mut contested = BTreeMap::new();
    for speaker in look.speakers.iter().filter_map(Told::speaker) {
        for address in &speaker.addresses.items {
            let state = match address.state {
                AddressState::Conflict => "conflict",
                AddressState::PeerUnheard => "not heard",
                AddressState::Announced
                | AddressState::Standby
                | AddressState::Probing
                | AddressState::Muted
                | AddressState::NoInterface
                | AddressState::Unknown => continue,
            };
            let macs: Vec<&String> = address.conflicts.iter().map(|claimant| &claimant.mac).collect();
            if let Some(ip) = address.ip {
                contested.insert(ip, (state, list(&macs)));
            }
        }
    }
    contested
}

/// The addresses of a pool, and those that Services hold from it.
pub(crate) fn rows(look: &Look, pool: &Pool) -> Vec<IpRow> {
    let holders = look.allocation.holders();
    let surveyed: BTreeMap<String, &Surveyed> = look.services.iter().map(|it| (it.title(), it)).collect();
    // What no Service is seen to have may be in use all the same.
    let free_state = if look.failures.is_empty() { "free" } else { "unknown" };
    let contested = contested(look);
    let macs = announcing_macs(look);
    let reservations = look.allocation.reservations();
    let mut rows = Vec::new();
    let row = |ip: String, state| IpRow {
        ip,
        pool: pool.name.to_string(),
        state,
        services: vec![],
        node: None,
        mac: None,
        since: None,
        note: None,
    };
    let held = |ip: IpAddr| {
        let (services, from): (Vec<String>, Vec<&PoolName>) =
            holders.get(&ip)?.iter().map(|(key, pool)| (key.to_string(), pool)).unzip();
        let shown = services.iter().find_map(|title| surveyed.get(title));
        let address = shown.and_then(|it| it.addresses.iter().find(|address| address.ip == ip));
        let node = address.and_then(|address| address.node.clone());
        let mut row = row(ip.to_string(), "in use");
        if address.is_some_and(|address| address.health == Health::Silent) {
            row.state = "silent";
        }
        row.mac = node.as_ref().and_then(|node| {
            let interface = address.and_then(|address| address.interfaces.first())?;
            macs.get(&(node.clone(), interface.clone())).cloned()
        });
        row.node = address.map(places).filter(|places| !places.is_empty()).map(|places| list(&places));
        row.since = address.and_then(|address| address.since.clone());
        let undisturbed = address.is_some_and(|address| address.health == Health::Announced);
        if let Some((state, by)) = contested.get(&ip) {
            if undisturbed {
                // Another speaker, which does not hear the one that announces it, would do so too.
                row.note = Some(format!("another speaker hears {by} answer, and does not hear its gossip"));
                row.services = services;
                return Some(row);
            }
            row.state = state;
            (row.node, row.mac) = (None, Some(by.clone()));
        }
        if from.iter().any(|from| **from != pool.name) {
            row.note = Some(format!("held from pool {}", from[0]));
        }
        if let (None, Some(by)) = (&row.note, reservations.get(&ip)) {
            row.note = Some(format!("reserved by AddressReservation {by}"));
        }
        row.services = services;
        Some(row)
    };
    let mut seen = Vec::new();
    for range in &pool.ranges {
        let mut special: Vec<IpAddr> = holders.keys().copied().filter(|ip| range.contains(*ip)).collect();
        let nodes = look.allocation.reserved.keys().copied().filter(|ip| range.contains(*ip));
        special.extend(nodes);
        special.extend(reservations.keys().copied().filter(|ip| range.contains(*ip)));
        special.sort();
        special.dedup();
        let mut next = Some(range.first());
        for ip in special {
            if let (Some(first), Some(last)) = (next, ::pools::predecessor(ip)) {
                free(pool, (first, last), free_state, &mut rows, &row);
            }
            seen.push(ip);
            match (held(ip), look.allocation.reserved.get(&ip)) {
                (Some(held), _) => rows.push(held),
                (None, Some(node)) => rows.push(IpRow {
                    note: Some(format!("an address of node {node}, never given")),
                    node: Some(node.to_string()),
                    ..row(ip.to_string(), "node")
                }),
                (None, None) => rows.extend(reservations.get(&ip).map(|by| IpRow {
                    note: Some(format!("reserved by AddressReservation {by}")),
                    ..row(ip.to_string(), "reserved")
                })),
            }
            next = successor(ip);
        }
        if let Some(first) = next {
            free(pool, (first, range.last()), free_state, &mut rows, &row);
        }
    }
    // Services may hold what the pool does not list any more.
    for (ip, held_by) in &holders {
        if !seen.contains(ip) && held_by.iter().any(|(_, from)| *from == pool.name) {
            rows.extend(
                held(*ip).map(|it| IpRow { note: Some("not listed by the pool any more".to_owned()), ..it }),
            );
        }
    }
    rows
}

/// For how long something has been, as kubectl says it.
fn age(since: &str, now: Timestamp) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "-".to_owned() };
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The Ethernet addresses of the speakers' interfaces.
fn announcing_macs(look: &Look) -> BTreeMap<(String, String), String> {
    let speakers = look.speakers.iter().filter_map(Told::speaker);
    let macs = speakers.flat_map(|speaker| {
        let interfaces = speaker.interfaces.items.iter();
        interfaces.filter_map(|it| Some(((speaker.node.clone(), it.name.clone()), it.mac.clone()?)))
    });
    macs.collect()
}

/// Adds free addresses, one by one where they are few.
fn free(
    pool: &Pool,
    (first, last): (IpAddr, IpAddr),
    state: &'static str,
    rows: &mut Vec<IpRow>,
    row: &impl Fn(String, &'static str) -> IpRow,
) {
    let Ok(range) = Range::new(first, last) else { return };
    if range.size() > ONE_BY_ONE {
        rows.push(row(format!("{first}-{last}"), state));
        return;
    }
    let mut next = Some(first);
    while let Some(ip) = next.filter(|ip| *ip <= last) {
        let state = if pool.avoid_buggy_ips && is_buggy(ip) { "left out" } else { state };
        rows.push(row(ip.to_string(), state));
        next = successor(ip);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{address, service, snapshot, told};

    #[test]
    fn how_long_ago_something_was_is_told_in_one_number() {
        let now: Timestamp = "2026-05-10T12:00:00Z".parse().unwrap();
        for (since, expected) in [
            ("2026-05-10T11:59:55Z", "5s"),
            ("2026-05-10T11:30:00Z", "30m"),
            ("2026-05-10T02:00:00Z", "10h"),
            ("2026-05-01T12:00:00Z", "9d"),
            ("2026-05-10T12:00:09Z", "0s"),
            ("soon", "-"),
        ] {
            assert_eq!(age(since, now), expected, "{since}");
        }
    }

    #[test]
    fn a_reserved_address_is_shown_with_its_reservation_whether_or_not_a_service_has_it() {
        let reservation = |name: &str, ip: &str| {
            let object = json!({
                "metadata": {"name": name, "namespace": "default"}, "spec": {"addresses": [ip]},
                "status": {"addresses": [ip], "pool": "lan"},
            });
            serde_json::from_value::<api::AddressReservation>(object).unwrap()
        };
        let mut snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1"], &[]);
        snapshot.reservations = vec![
            reservation("later", "192.0.2.2"),
            reservation("web", "192.0.2.1"),
            reservation("far", "10.9.9.9"),
        ];
        let look = Look::new(vec![], vec![], snapshot, None, vec![]);
        let pool = look.allocation.pools().iter().next().unwrap();
        let rows = rows(&look, pool);
        let note = |row: &IpRow| row.note.clone().unwrap_or_default();
        assert_eq!(note(&rows[0]), "reserved by AddressReservation default/web");
        assert_eq!(
            (rows[1].state, &*note(&rows[1])),
            ("reserved", "reserved by AddressReservation default/later")
        );
        let refused = look.allocation.unreserved.values().collect::<Vec<_>>();
        assert_eq!(refused, ["10.9.9.9 is in no IPAddressPool"]);
    }

    #[test]
    fn what_one_node_announces_is_in_use_though_another_that_does_not_hear_it_would_announce_it_too() {
        const IP: &str = "192.0.2.1";
        let speakers = [
            told("n1", vec![address(IP, AddressState::PeerUnheard, &[("02:00:00:00:00:02", Some("n2"))])]),
            told("n2", vec![address(IP, AddressState::Announced, &[])]),
            told("n3", vec![]),
        ];
        let snapshot = snapshot(&[service("web", Some(IP))], &["n1", "n2", "n3"], &speakers);
        let look = Look::new(vec![], speakers.to_vec(), snapshot, None, vec![]);
        let pool = look.allocation.pools().iter().next().unwrap();
        let rows = rows(&look, pool);
        assert_eq!((rows[0].state, rows[0].node.as_deref()), ("in use", Some("n2/eth0")));
        assert!(rows[0].note.as_ref().is_some_and(|note| note.contains("02:00:00:00:00:02")), "{rows:?}");
        assert_eq!(rows[1].state, "free");
    }
}

//! Addresses that stay where they are, or come back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::{AddressRequest, Families, Family, PoolName, Refusal, Request, Usage};
use objects::{Labels, NodeName};
use pools::{Allocation, PoolSpec, Pools};

use crate::fixtures::*;

fn dual(families: Families) -> Request {
    Request { families, ..request() }
}

fn nodes(ips: &[&str]) -> BTreeMap<IpAddr, NodeName> {
    ips.iter().map(|ip| (ip.parse().unwrap(), NodeName::from("n1"))).collect()
}

#[test]
fn a_family_that_is_not_concerned_keeps_its_address() {
    let prefer = Families::PreferDual { primary: Family::V4 };
    let (v4, v6) = (Families::Single(Family::V4), Families::Single(Family::V6));
    for (families, current, expected) in [
        (v4, &["10.0.0.5", "fd00::5"][..], &["10.0.0.5"][..]),
        (v6, &["10.0.0.5", "fd00::5"], &["fd00::5"]),
        (Families::RequireDual, &["10.0.0.5"], &["10.0.0.5", "fd00::"]),
        (Families::RequireDual, &["fd00::5"], &["10.0.0.0", "fd00::5"]),
        (prefer, &["10.0.0.5"], &["10.0.0.5", "fd00::"]),
        (prefer, &["192.0.2.1", "fd00::5"], &["10.0.0.0", "fd00::5"]),
        (Families::RequireDual, &["10.0.0.5", "fd99::1"], &["10.0.0.5", "fd00::"]),
    ] {
        let mut allocator = allocator([pool("p", &["10.0.0.0/24", "fd00::/120"])]);
        assert_eq!(
            assign_from(&mut allocator, "a", &dual(families), current),
            Ok(ips(expected)),
            "{current:?}"
        );
    }
}

#[test]
fn a_family_that_a_pool_loses_takes_the_other_along_only_where_both_are_required() {
    let prefer = dual(Families::PreferDual { primary: Family::V4 });
    for (request, expected) in [(prefer, Some(ips(&["10.0.0.5"]))), (dual(Families::RequireDual), None)] {
        let mut allocator = allocator([pool("p", &["10.0.0.0/24", "fd00::/120"])]);
        let before = &["10.0.0.5", "fd00::5"];
        assert!(assign_from(&mut allocator, "a", &request, before).is_ok());
        allocator.set_pools(Pools::new([pool("p", &["10.0.0.0/24"])]));
        assert_eq!(assign_from(&mut allocator, "a", &request, before).ok(), expected);
        allocator.set_pools(Pools::new([pool("p", &["10.0.0.0/24", "fd00::/120"])]));
        let former = ips(before);
        let decision = allocator.assign(&key("a"), &Labels::new(), &request, &record(&[]), &former);
        assert_eq!(decision.outcome.unwrap().ips, former, "what it had comes back");
    }
}

#[test]
fn what_a_service_had_is_preferred_while_it_is_free() {
    let mut allocator = allocator([pool("a", &["10.0.0.0/24"]), pool("b", &["10.1.0.0/24"])]);
    let mut again = |name: &str, former: &[&str]| {
        let former = ips(former);
        allocator.assign(&key(name), &Labels::new(), &request(), &record(&[]), &former).outcome.unwrap().ips
    };
    assert_eq!(again("a", &["10.1.0.7"]), ips(&["10.1.0.7"]));
    assert_eq!(again("b", &["10.1.0.7"]), ips(&["10.0.0.0"]), "somebody has it");
    assert_eq!(again("c", &["192.0.2.1"]), ips(&["10.0.0.1"]), "no pool has it");
}

#[test]
fn a_status_that_somebody_spoils_is_put_right_with_the_same_address() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/24"])]);
    assert_eq!(assign_from(&mut allocator, "a", &request(), &["10.0.0.9"]), Ok(ips(&["10.0.0.9"])));
    for spoilt in [&["192.0.2.1"][..], &["fd00::1"], &["10.0.0.1", "10.0.0.2"], &[]] {
        assert_eq!(
            assign_from(&mut allocator, "a", &request(), spoilt),
            Ok(ips(&["10.0.0.9"])),
            "{spoilt:?}"
        );
    }
}

#[test]
fn a_spoilt_status_is_put_right_also_where_the_service_would_be_given_nothing_new() {
    let closed = PoolSpec { auto_assign: false, ..pool("p", &["10.0.0.0/24"]) };
    let unreadable = AddressRequest::Unreadable { why: "it is no address".to_owned(), pool: None };
    let misspelt = Request { addresses: unreadable, ..request() };
    for (spec, request) in [(closed, request()), (pool("p", &["10.0.0.0/24"]), misspelt)] {
        let mut allocator = allocator([spec]);
        assert!(assign(&mut allocator, "new", &request).is_err());
        for status in [&["10.0.0.9"][..], &["192.0.2.1"], &["10.0.0.1", "10.0.0.2"], &[]] {
            assert_eq!(
                assign_from(&mut allocator, "a", &request, status),
                Ok(ips(&["10.0.0.9"])),
                "{status:?}"
            );
        }
    }
}

#[test]
fn a_service_stays_with_its_recorded_pool_when_an_older_one_claims_its_address() {
    let old = PoolSpec { auto_assign: false, ..pool("abad", &["10.0.0.32/31"]) };
    let good = PoolSpec { created: Some(2), ..pool("good", &["10.0.0.32/31"]) };
    let mut allocator = allocator([old, good]);
    let usage = |allocator: &ipam::Allocator, pool: &str| allocator.usage(&PoolName::new(pool), Family::V4);
    assert_eq!(usage(&allocator, "good"), Usage { in_use: 0, available: 0 });
    let recorded = from_pool(&["10.0.0.32"], "good");
    assert_eq!(assign_record(&mut allocator, "a", &request(), &recorded), Ok(ips(&["10.0.0.32"])));
    assert_eq!(allocator.assignment(&key("a")).unwrap().pool, PoolName::new("good"));
    assert_eq!(usage(&allocator, "good"), Usage { in_use: 1, available: 0 });
    assert_eq!(usage(&allocator, "abad"), Usage { in_use: 0, available: 1 });
    let naming = Request { addresses: AddressRequest::From(PoolName::new("abad")), ..request() };
    assert_eq!(assign(&mut allocator, "b", &naming), Ok(ips(&["10.0.0.33"])));
    assert!(assign(&mut allocator, "c", &naming).is_err());
    allocator.release(&key("a"));
    assert_eq!(assign(&mut allocator, "c", &naming), Ok(ips(&["10.0.0.32"])), "free for its owner now");
}

#[test]
fn an_address_that_no_pool_lists_is_kept_during_a_dispute_and_given_to_nobody_else() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/31"])]);
    assign(&mut allocator, "a", &request()).unwrap();
    assert!(allocator.set_pools(Pools::new([pool("p", &["10.0.0.0-9.0.0.0", "10.0.9.0/32"])])).is_empty());
    let recorded = from_pool(&["10.0.0.0"], "p");
    assert_eq!(assign_record(&mut allocator, "a", &request(), &recorded), Ok(ips(&["10.0.0.0"])));
    assert_eq!(allocator.usage(&PoolName::new("p"), Family::V4), Usage { in_use: 1, available: 1 });
    allocator.release(&key("a"));
    let wanting = Request { addresses: exactly(&["10.0.0.0"]), ..request() };
    assert!(assign(&mut allocator, "b", &wanting).is_err());
}

#[test]
fn a_selector_that_cannot_be_read_takes_nothing_away_and_admits_nobody_new() {
    let allocation = Allocation {
        service_selectors: vec![objects::Selector::nothing()],
        uncertain: true,
        ..Allocation::default()
    };
    let mut allocator = allocator([PoolSpec { allocation: Some(allocation), ..pool("p", &["10.0.0.0/24"]) }]);
    let recorded = from_pool(&["10.0.0.5"], "p");
    assert_eq!(assign_record(&mut allocator, "a", &request(), &recorded), Ok(ips(&["10.0.0.5"])));
    assert!(assign(&mut allocator, "b", &request()).is_err());
}

#[test]
fn an_address_of_a_node_is_never_given() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    assign(&mut allocator, "a", &request()).unwrap();
    assert_eq!(allocator.set_reserved(nodes(&["10.0.0.0", "10.0.0.1", "192.0.2.1"])), [key("a")]);
    let usage = |allocator: &ipam::Allocator| allocator.usage(&PoolName::new("p"), Family::V4);
    assert_eq!(usage(&allocator), Usage { in_use: 1, available: 2 });
    let decision = allocator.assign(&key("a"), &Labels::new(), &request(), &record(&["10.0.0.0"]), &[]);
    assert!(matches!(decision.lost, Some(Refusal::NodeAddress { .. })), "{decision:?}");
    assert_eq!(decision.outcome.unwrap().ips, ips(&["10.0.0.2"]));
    assert_eq!(usage(&allocator), Usage { in_use: 1, available: 1 });
    let wanting = Request { addresses: exactly(&["10.0.0.1"]), ..request() };
    let refusal = assign(&mut allocator, "b", &wanting).unwrap_err().to_string();
    assert!(refusal.contains("10.0.0.1 is an address of node n1"), "{refusal}");
    let full = pool("n", &["192.0.2.1/32"]);
    let mut of_nodes = crate::fixtures::allocator([full]);
    of_nodes.set_reserved(nodes(&["192.0.2.1"]));
    let refusal = assign(&mut of_nodes, "b", &request()).unwrap_err().to_string();
    assert!(
        refusal.ends_with(
            "exhausted (0 of 1; the others are of nodes, of services of other classes, or reserved)"
        ),
        "{refusal}"
    );
    assert_eq!(allocator.set_reserved(nodes(&["10.0.0.3"])), []);
    assert_eq!(
        assign(&mut allocator, "b", &wanting),
        Ok(ips(&["10.0.0.1"])),
        "the node has another address now"
    );
    assert_eq!(usage(&allocator), Usage { in_use: 2, available: 1 });
}

#[test]
fn nobody_joins_an_address_that_has_become_one_of_a_node() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    assert_eq!(assign(&mut allocator, "a", &sharing("k", &[80])), Ok(ips(&["10.0.0.0"])));
    assign(&mut allocator, "b", &sharing("k", &[80])).unwrap();
    allocator.set_reserved(nodes(&["10.0.0.0"]));
    assert_eq!(assign(&mut allocator, "c", &sharing("k", &[443])), Ok(ips(&["10.0.0.1"])));
}

#[test]
fn reserved_addresses_stay_reserved_when_the_pools_change() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/31"])]);
    allocator.set_reserved(nodes(&["10.0.0.0"]));
    allocator.set_pools(Pools::new([pool("q", &["10.0.0.0/31"])]));
    assert_eq!(assign(&mut allocator, "a", &request()), Ok(ips(&["10.0.0.1"])));
    assert!(assign(&mut allocator, "b", &request()).is_err());
}

#[test]
fn ten_thousand_services_of_one_key_find_their_addresses_without_looking_at_each_other() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/16"])]);
    for n in 0..10_000_u32 {
        // Every address has one service on port 80 and one on port 443.
        let request = sharing("k", if n % 2 == 0 { &[80] } else { &[443] });
        let given = assign(&mut allocator, &format!("s{n}"), &request).unwrap();
        assert_eq!(given, [IpAddr::V4((0x0a00_0000 + n / 2).into())]);
    }
    allocator.release(&key("s2468"));
    assert_eq!(
        assign(&mut allocator, "again", &sharing("k", &[80])),
        Ok(vec![IpAddr::V4((0x0a00_0000 + 1234).into())])
    );
}

#[test]
fn an_address_of_a_service_that_others_serve_is_not_given_and_not_taken() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    assert_eq!(assign_from(&mut allocator, "mine", &request(), &["10.0.0.1"]), Ok(ips(&["10.0.0.1"])));
    assert!(!allocator.set_elsewhere(&key("theirs"), ips(&["10.0.0.0", "10.0.0.1", "192.0.2.1"])));
    assert!(!allocator.set_elsewhere(&key("theirs-too"), ips(&["10.0.0.0"])));
    // Who has it keeps it, now and when everything is decided anew.
    for _ in 0..2 {
        assert_eq!(assign_from(&mut allocator, "mine", &request(), &["10.0.0.1"]), Ok(ips(&["10.0.0.1"])));
        allocator.set_pools(Pools::new([pool("p", &["10.0.0.0/30"]), pool("q", &["10.1.0.0/30"])]));
    }
    assert_eq!(assign(&mut allocator, "a", &request()), Ok(ips(&["10.0.0.2"])));
    let asks = Request { addresses: exactly(&["10.0.0.0"]), ..request() };
    assert_eq!(assign(&mut allocator, "b", &asks), Err(Refusal::OtherClass("10.0.0.0".parse().unwrap())));
    allocator.release(&key("mine"));
    let usage = allocator.usage(&PoolName::new("p"), Family::V4);
    assert_eq!((usage.in_use, usage.available), (1, 1), "two of four are elsewhere");
    assert!(allocator.set_elsewhere(&key("theirs"), []), "it had one alone");
    assert_eq!(allocator.usage(&PoolName::new("p"), Family::V4).available, 2);
    assert!(allocator.set_elsewhere(&key("theirs-too"), []));
    assert_eq!(assign(&mut allocator, "b", &asks), Ok(ips(&["10.0.0.0"])));
}

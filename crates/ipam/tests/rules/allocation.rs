//! The rules of allocation, one sentence each.

use ipam::{
    AddressRequest, Allocator, Conflict, Families, Family, NotAdmitted, PoolName, Record, Refusal, Request,
    ServiceKey, Sharing, Usage,
};
use objects::{Labels, Requirement, Selector};
use pools::{PoolSpec, Pools};

use crate::fixtures::*;

#[test]
fn a_freed_address_is_the_next_to_be_given() {
    let mut allocator = allocator([pool("p", &["10.0.0.1-10.0.0.9"])]);
    for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
        assert_eq!(assign(&mut allocator, name, &request()), Ok(ips(&[ip])));
    }
    allocator.release(&key("b"));
    assert_eq!(assign(&mut allocator, "d", &request()), Ok(ips(&["10.0.0.2"])));
    assert_eq!(allocator.usage(&PoolName::new("p"), Family::V4), Usage { in_use: 3, available: 6 });
}

#[test]
fn what_a_service_has_it_keeps_even_when_a_lower_address_is_free() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/24"])]);
    assert_eq!(assign_from(&mut allocator, "a", &request(), &["10.0.0.77"]), Ok(ips(&["10.0.0.77"])));
    assert_eq!(assign_from(&mut allocator, "a", &request(), &["10.0.0.77"]), Ok(ips(&["10.0.0.77"])));
}

#[test]
fn what_it_may_not_have_it_loses_and_is_told_why() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/24"])]);
    assign(&mut allocator, "a", &request()).unwrap();
    let lost = |allocator: &mut Allocator, current: &str| {
        allocator.assign(&key("b"), &Labels::new(), &request(), &record(&[current]), &[]).lost
    };
    assert_eq!(lost(&mut allocator, "192.0.2.1"), Some(Refusal::NotInAnyPool(ips(&["192.0.2.1"]))));
    assert!(matches!(
        lost(&mut allocator, "10.0.0.0"),
        Some(Refusal::Taken(Conflict::SharingKey { holder, .. })) if holder == Some(key("a"))
    ));
    assert_eq!(lost(&mut allocator, "fd00::1"), None, "the wrong family is nobody's doing");
}

#[test]
fn a_requested_address_is_given_or_nothing_is() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/24"])]);
    let wanting = |ip: &str| Request { addresses: exactly(&[ip]), ..request() };
    assert_eq!(assign(&mut allocator, "a", &wanting("10.0.0.9")), Ok(ips(&["10.0.0.9"])));
    assert!(matches!(assign(&mut allocator, "b", &wanting("10.0.0.9")), Err(Refusal::Taken(_))));
    assert!(matches!(assign(&mut allocator, "b", &wanting("10.9.0.9")), Err(Refusal::NotInAnyPool(_))));
    assert!(matches!(assign(&mut allocator, "b", &wanting("fd00::1")), Err(Refusal::WrongFamilies { .. })));
    assert_eq!(
        assign_from(&mut allocator, "a", &wanting("10.0.0.8"), &["10.0.0.9"]),
        Ok(ips(&["10.0.0.8"])),
        "a changed request moves the service"
    );
}

#[test]
fn nothing_is_given_out_from_an_entry_that_overlaps_an_older_pool_and_that_is_said() {
    let older = PoolSpec { created: Some(1), ..pool("older", &["10.0.0.0/30"]) };
    let newer = PoolSpec { created: Some(2), ..pool("newer", &["10.0.0.0/29", "10.0.9.0/32"]) };
    let mut allocator = allocator([older, newer]);
    let wants = |addresses| Request { addresses, ..request() };
    let from_newer = || wants(AddressRequest::From(PoolName::new("newer")));
    assert_eq!(assign(&mut allocator, "a", &from_newer()), Ok(ips(&["10.0.9.0"])));
    assert!(assign(&mut allocator, "b", &from_newer()).is_err());
    let refusal = assign(&mut allocator, "c", &wants(exactly(&["10.0.0.5"]))).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "10.0.0.5 is in an entry of pool newer that is not in force, since it overlaps another pool: see that pool's condition"
    );
    assert_eq!(assign(&mut allocator, "d", &wants(exactly(&["10.0.0.1"]))), Ok(ips(&["10.0.0.1"])));
}

#[test]
fn a_request_that_cannot_be_read_takes_nothing_away_and_gives_nothing() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/24"])]);
    let unreadable = Request {
        addresses: AddressRequest::Unreadable { why: "no address".into(), pool: None },
        ..request()
    };
    assert_eq!(assign_from(&mut allocator, "a", &unreadable, &["10.0.0.4"]), Ok(ips(&["10.0.0.4"])));
    assert_eq!(assign(&mut allocator, "b", &unreadable), Err(Refusal::Unreadable("no address".into())));
    let elsewhere = AddressRequest::Unreadable { why: "no address".into(), pool: Some(PoolName::new("q")) };
    let moving = Request { addresses: elsewhere, ..request() };
    assert!(
        assign_from(&mut allocator, "a", &moving, &["10.0.0.4"]).is_err(),
        "another pool is asked for, and that can be read"
    );
}

#[test]
fn a_named_pool_is_used_also_without_auto_assign() {
    let manual = PoolSpec { auto_assign: false, ..pool("manual", &["10.1.0.0/30"]) };
    let mut allocator = allocator([pool("auto", &["10.0.0.0/32"]), manual]);
    let naming = |name: &str| Request { addresses: AddressRequest::From(PoolName::new(name)), ..request() };
    assert_eq!(assign(&mut allocator, "a", &naming("manual")), Ok(ips(&["10.1.0.0"])));
    assert_eq!(assign(&mut allocator, "b", &request()), Ok(ips(&["10.0.0.0"])));
    assert_eq!(
        assign(&mut allocator, "c", &request()).unwrap_err().to_string(),
        "no available IPs: pool auto: exhausted (1 of 1); pool manual: autoAssign is off"
    );
    assert_eq!(assign(&mut allocator, "c", &naming("gone")), Err(Refusal::UnknownPool("gone".into())));
    assert_eq!(
        assign_from(&mut allocator, "b", &naming("manual"), &["10.0.0.0"]),
        Ok(ips(&["10.1.0.1"])),
        "naming another pool moves the service"
    );
}

#[test]
fn pinned_pools_come_first_by_priority_and_only_for_their_own() {
    let gold = |priority, range| {
        let mut pool = pinned("gold", &[range], priority);
        let web = Selector::from_iter([Requirement::equals("app", "web")]);
        pool.allocation.as_mut().unwrap().service_selectors = vec![web];
        pool
    };
    let pools = [pool("open", &["10.0.0.0/32"]), pinned("last", &["10.1.0.0/32"], 0), gold(2, "10.2.0.0/32")];
    let mut allocator = allocator(pools);
    let web = Request { labels: Labels::from([("app".into(), "web".into())]), ..request() };
    assert_eq!(assign(&mut allocator, "a", &web), Ok(ips(&["10.2.0.0"])));
    assert_eq!(assign(&mut allocator, "b", &web), Ok(ips(&["10.1.0.0"])));
    assert_eq!(assign(&mut allocator, "c", &web), Ok(ips(&["10.0.0.0"])));
    let into_gold = Request { addresses: exactly(&["10.2.0.0"]), ..request() };
    assert_eq!(
        assign(&mut allocator, "d", &into_gold),
        Err(Refusal::NotAdmitted(PoolName::new("gold"), NotAdmitted::Labels)),
        "asking for the address is no way round the selection"
    );
}

#[test]
fn an_address_is_shared_by_equal_keys_on_different_ports() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    assert_eq!(assign(&mut allocator, "a", &sharing("k", &[80])), Ok(ips(&["10.0.0.0"])));
    assert_eq!(assign(&mut allocator, "b", &sharing("k", &[80])), Ok(ips(&["10.0.0.1"])));
    let join = |key: &str, port| Request { addresses: exactly(&["10.0.0.0"]), ..sharing(key, &[port]) };
    assert_eq!(assign(&mut allocator, "c", &join("k", 443)), Ok(ips(&["10.0.0.0"])));
    let refusal = |allocator: &mut Allocator, request: &Request| match assign(allocator, "d", request) {
        Err(Refusal::Taken(conflict)) => conflict,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(&mut allocator, &join("k", 443)), Conflict::Port { .. }));
    assert!(matches!(refusal(&mut allocator, &join("other", 9)), Conflict::SharingKey { .. }));
    let local = Sharing { key: Some("k".into()), backend: "app=web".into(), ..Sharing::default() };
    assert!(matches!(
        refusal(&mut allocator, &Request { sharing: local, ..join("k", 9) }),
        Conflict::Backend { .. }
    ));
    assert_eq!(allocator.usage(&PoolName::new("p"), Family::V4).in_use, 2);
}

#[test]
fn an_address_that_had_no_room_for_one_request_is_found_by_the_next() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/31"])]);
    assert_eq!(assign(&mut allocator, "a", &sharing("k", &[80])), Ok(ips(&["10.0.0.0"])));
    let second = Request { addresses: exactly(&["10.0.0.1"]), ..sharing("k", &[90]) };
    assert_eq!(assign(&mut allocator, "b", &second), Ok(ips(&["10.0.0.1"])));
    assert_eq!(assign(&mut allocator, "c", &sharing("k", &[80, 443])), Ok(ips(&["10.0.0.1"])));
    assert_eq!(assign(&mut allocator, "d", &sharing("k", &[443])), Ok(ips(&["10.0.0.0"])));
}

#[test]
fn a_free_address_is_preferred_to_sharing_one_that_comes_later() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    let second = Request { addresses: exactly(&["10.0.0.1"]), ..sharing("k", &[80]) };
    assert_eq!(assign(&mut allocator, "a", &second), Ok(ips(&["10.0.0.1"])));
    assert_eq!(assign(&mut allocator, "b", &sharing("k", &[443])), Ok(ips(&["10.0.0.0"])));
    assert_eq!(
        assign(&mut allocator, "c", &sharing("k", &[81])),
        Ok(ips(&["10.0.0.0"])),
        "sharing an earlier one"
    );
}

#[test]
fn a_full_pool_still_has_room_for_those_who_share() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/31"])]);
    assign(&mut allocator, "a", &request()).unwrap();
    assign(&mut allocator, "b", &sharing("k", &[80])).unwrap();
    assert_eq!(assign(&mut allocator, "c", &sharing("k", &[443])), Ok(ips(&["10.0.0.1"])));
    assert!(assign(&mut allocator, "d", &sharing("k", &[80])).is_err());
}

#[test]
fn the_only_service_on_an_address_may_change_its_key_in_place() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    assign(&mut allocator, "a", &sharing("k", &[80])).unwrap();
    assert_eq!(
        assign_from(&mut allocator, "a", &sharing("new", &[80]), &["10.0.0.0"]),
        Ok(ips(&["10.0.0.0"]))
    );
    let join = Request { addresses: exactly(&["10.0.0.0"]), ..sharing("new", &[81]) };
    assign(&mut allocator, "b", &join).unwrap();
    assert_eq!(
        assign_from(&mut allocator, "a", &sharing("third", &[80]), &["10.0.0.0"]),
        Ok(ips(&["10.0.0.1"])),
        "with company it has to leave"
    );
}

#[test]
fn two_families_come_from_one_pool() {
    let pools = [pool("both", &["10.0.0.0/32", "fd00::/128"]), pool("a-v4", &["10.1.0.0/30"])];
    let mut allocator = allocator(pools);
    let require = Request { families: Families::RequireDual, ..request() };
    let prefer = Request { families: Families::PreferDual { primary: Family::V6 }, ..request() };
    assert_eq!(assign(&mut allocator, "a", &require), Ok(ips(&["10.0.0.0", "fd00::"])));
    assert_eq!(
        assign(&mut allocator, "b", &require).unwrap_err().to_string(),
        "no available IPs: pool a-v4: has no IPv6 addresses; pool both: IPv4 exhausted (1 of 1)"
    );
    assert_eq!(assign(&mut allocator, "b", &prefer), Ok(ips(&["10.1.0.0"])), "better one than none");
}

#[test]
fn that_a_pool_lacks_a_family_is_told_also_when_the_other_has_run_out() {
    let mut allocator = allocator([pool("four", &["10.0.0.0/32"]), pool("six", &["fd00::/128"])]);
    let single = |family| Request { families: Families::Single(family), ..request() };
    assign(&mut allocator, "a", &single(Family::V4)).unwrap();
    assign(&mut allocator, "b", &single(Family::V6)).unwrap();
    let require = Request { families: Families::RequireDual, ..request() };
    assert_eq!(
        assign(&mut allocator, "c", &require).unwrap_err().to_string(),
        "no available IPs: pool four: has no IPv6 addresses; pool six: has no IPv4 addresses"
    );
}

#[test]
fn who_prefers_two_families_gets_the_second_when_its_own_pool_has_it() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    let prefer = Request { families: Families::PreferDual { primary: Family::V4 }, ..request() };
    assert_eq!(assign(&mut allocator, "a", &prefer), Ok(ips(&["10.0.0.0"])));
    for current in [&[][..], &["10.0.0.0"]] {
        let decision = allocator.assign(&key("a"), &Labels::new(), &prefer, &record(current), &[]);
        assert!(decision.incomplete.is_some(), "told when it comes with {current:?}");
    }
    allocator
        .set_pools(Pools::new([pool("other", &["fd00::/64"]), pool("p", &["10.0.0.0/30", "fd01::/64"])]));
    assert_eq!(assign_from(&mut allocator, "a", &prefer, &["10.0.0.0"]), Ok(ips(&["10.0.0.0", "fd01::"])));
}

#[test]
fn who_asks_for_addresses_has_to_name_one_of_each_family_that_it_has() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30", "fd00::/64"])]);
    let dual = Families::PreferDual { primary: Family::V4 };
    let both = Request { families: dual, addresses: exactly(&["10.0.0.1", "fd00::7"]), ..request() };
    let one = Request { families: dual, addresses: exactly(&["10.0.0.1"]), ..request() };
    assert!(matches!(assign(&mut allocator, "a", &one), Err(Refusal::WrongFamilies { .. })));
    assert_eq!(assign(&mut allocator, "a", &both), Ok(ips(&["10.0.0.1", "fd00::7"])));
}

#[test]
fn a_request_that_cannot_be_read_does_not_leave_one_address_where_two_are_required() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    let addresses = AddressRequest::Unreadable { why: "ten".to_owned(), pool: None };
    let slip = |families| Request { families, addresses: addresses.clone(), ..request() };
    assert_eq!(assign(&mut allocator, "a", &request()), Ok(ips(&["10.0.0.0"])));
    let prefer = slip(Families::PreferDual { primary: Family::V4 });
    assert_eq!(assign_from(&mut allocator, "a", &prefer, &["10.0.0.0"]), Ok(ips(&["10.0.0.0"])));
    assert!(assign_from(&mut allocator, "a", &slip(Families::RequireDual), &["10.0.0.0"]).is_err());
}

#[test]
fn who_has_an_address_and_asks_for_no_other_keeps_it_unless_it_needs_two() {
    let mut allocator =
        allocator([pool("dual", &["10.0.0.0/30", "fd00::/64"]), pool("v4", &["10.0.1.0/30"])]);
    let prefer = Families::PreferDual { primary: Family::V4 };
    let single = Families::Single(Family::V4);
    for (name, ip, families, kept) in [
        ("a", "10.0.0.1", single, true),
        ("b", "10.0.0.2", prefer, true),
        ("c", "10.0.0.3", Families::RequireDual, false),
        ("d", "10.0.1.1", prefer, true),
        ("e", "10.0.1.2", Families::RequireDual, false),
    ] {
        let mut request = Request { families: single, addresses: exactly(&[ip]), ..request() };
        assert_eq!(assign(&mut allocator, name, &request), Ok(ips(&[ip])));
        request.families = families;
        let now = assign_from(&mut allocator, name, &request, &[ip]);
        assert_eq!(now.ok(), kept.then(|| ips(&[ip])), "{name}");
    }
}

#[test]
fn services_follow_their_addresses_when_pools_change() {
    let mut allocator = allocator([pool("old", &["10.0.0.0/24"])]);
    for name in ["a", "b"] {
        assign(&mut allocator, name, &request()).unwrap();
    }
    assert_eq!(allocator.set_pools(Pools::new([pool("new", &["10.0.0.0/32", "10.9.0.0/24"])])), [key("b")]);
    assert_eq!(allocator.assignment(&key("a")).unwrap().pool, PoolName::new("new"));
    assert_eq!(allocator.assignment(&key("b")), None);
    assert_eq!(allocator.usage(&PoolName::new("new"), Family::V4).in_use, 1);
    assert_eq!(allocator.set_pools(Pools::new([])), [key("a")]);
    assert_eq!(assign(&mut allocator, "a", &request()), Err(Refusal::NoPools));
}

#[test]
fn a_pool_of_any_size_is_ready_at_once() {
    let mut allocator =
        allocator([PoolSpec { avoid_buggy_ips: true, ..pool("huge", &["10.0.0.0/8", "::/0"]) }]);
    let dual = Request { families: Families::RequireDual, ..request() };
    assert_eq!(assign(&mut allocator, "a", &dual), Ok(ips(&["10.0.0.1", "::"])));
    let usage = allocator.usage(&PoolName::new("huge"), Family::V6);
    assert_eq!(usage, Usage { in_use: 1, available: u128::MAX - 1 });
}

#[test]
fn where_addresses_are_shared_within_a_namespace_those_of_others_are_never_found() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    let of = |namespace: &str, port| {
        let request = sharing("k", &[port]);
        let sharing = Sharing { namespace: Some(namespace.into()), ..request.sharing };
        Request { sharing, ..request }
    };
    let mut assign_of = |namespace: &str, name: &str, request: &Request| {
        let key = ServiceKey::new(namespace, name);
        let decision = allocator.assign(&key, &Labels::new(), request, &Record::default(), &[]);
        decision.outcome.map(|assignment| assignment.ips)
    };
    assert_eq!(assign_of("one", "a", &of("one", 80)), Ok(ips(&["10.0.0.0"])));
    assert_eq!(assign_of("two", "a", &of("two", 81)), Ok(ips(&["10.0.0.1"])));
    assert_eq!(assign_of("two", "b", &of("two", 82)), Ok(ips(&["10.0.0.1"])));
    assert_eq!(assign_of("one", "b", &of("one", 83)), Ok(ips(&["10.0.0.0"])));
    let asks = Request { addresses: exactly(&["10.0.0.0"]), ..of("two", 84) };
    let refusal = assign_of("two", "c", &asks).unwrap_err();
    assert!(matches!(refusal, Refusal::Taken(Conflict::Namespace { .. })), "{refusal}");
}

#[test]
fn a_refusal_names_nobody_of_another_namespace_and_shows_no_control_characters() {
    let mut allocator = allocator([pool("p", &["10.0.0.0/30"])]);
    let asks = |key: &str, port| Request { addresses: exactly(&["10.0.0.1"]), ..sharing(key, &[port]) };
    assert_eq!(assign(&mut allocator, "secret", &asks("k", 80)), Ok(ips(&["10.0.0.1"])));
    let other = ServiceKey::new("other", "a");
    let local = |request: Request| Request {
        sharing: Sharing { backend: "other/app=a".into(), ..request.sharing },
        ..request
    };
    for request in [asks("k", 80), asks("wrong", 81), local(asks("k", 82))] {
        let decision = allocator.assign(&other, &Labels::new(), &request, &Record::default(), &[]);
        let text = decision.outcome.unwrap_err().to_string();
        assert!(text.contains("in use by a service of another namespace"), "{text}");
        assert!(!text.contains("secret") && !text.contains("prod"), "{text}");
        let text = assign(&mut allocator, "b", &request).unwrap_err().to_string();
        assert!(text.contains("prod/secret"), "{text}");
    }
    let pool = Some(PoolName::new("x\u{1b}[31m\ny"));
    let addresses = AddressRequest::Exactly { ips: ips(&["10.0.0.2"]), pool };
    let text = assign(&mut allocator, "c", &Request { addresses, ..request() }).unwrap_err().to_string();
    assert!(text.ends_with(r#"the requested pool "x\u{1b}[31m\ny""#), "{text}");
}

//! Reservations: addresses that are kept for a namespace, whether or not a service has them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipam::{
    AddressRequest, Allocator, Assignment, Families, Family, Quota, Record, Refusal, Request, Reservation,
    ReservationKey, ServiceKey, Wanted,
};
use objects::{Labels, Requirement, Selector};
use pools::{Allocation, PoolSpec, Pools};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::fixtures::*;

type Outcomes = BTreeMap<ReservationKey, Result<Assignment, Refusal>>;

fn reservation_in(namespace: &str, name: &str, wanted: Wanted) -> Reservation {
    let key = ReservationKey::new(namespace, name);
    Reservation { key, created: None, wanted, service_selectors: vec![], record: Record::default() }
}

fn of(name: &str, addresses: &[&str]) -> Reservation {
    reservation_in("prod", name, Wanted::Addresses(ips(addresses)))
}

fn from_pool(name: &str, families: &[Family]) -> Reservation {
    reservation_in("prod", name, Wanted::AnyOf { pool: "p".into(), families: families.to_vec() })
}

fn set(allocator: &mut Allocator, reservations: &[Reservation]) -> Outcomes {
    allocator.set_reservations(reservations.to_vec(), &BTreeMap::new())
}

/// Has them decided, their statuses written, and seen again.
fn settle(allocator: &mut Allocator, reservations: &mut [Reservation]) -> Outcomes {
    let outcomes = set(allocator, reservations);
    for Reservation { key, wanted, record, .. } in reservations.iter_mut() {
        match (&outcomes[key], wanted) {
            (Ok(Assignment { ips, pool }), _) => {
                *record = Record { ips: ips.clone(), pool: Some(pool.clone()) };
            }
            (Err(_), Wanted::Addresses(_)) => *record = Record::default(),
            (Err(_), Wanted::AnyOf { .. }) => {}
        }
    }
    set(allocator, reservations)
}

fn naming(name: &str) -> Request {
    Request { addresses: AddressRequest::Reserved(ReservationKey::new("prod", name)), ..request() }
}

fn two_families(name: &str) -> Request {
    Request { families: Families::RequireDual, ..naming(name) }
}

fn dual() -> Allocator {
    allocator([pool("p", &["10.0.0.0/30", "fd00::/126"])])
}

fn refusal(allocator: &mut Allocator, name: &str, request: &Request) -> String {
    assign(allocator, name, request).unwrap_err().to_string()
}

#[test]
fn a_reserved_address_is_given_to_who_names_the_reservation_and_to_nobody_else() {
    let mut allocator = dual();
    settle(&mut allocator, &mut [of("web", &["10.0.0.0"])]);
    assert_eq!(allocator.unused_reserved(&"p".into(), Family::V4), 1);
    assert_eq!(assign(&mut allocator, "first", &request()).unwrap(), ips(&["10.0.0.1"]));
    let exactly = Request { addresses: exactly(&["10.0.0.0"]), ..request() };
    let said = refusal(&mut allocator, "exact", &exactly);
    assert_eq!(said, "10.0.0.0 is reserved by AddressReservation prod/web");
    let other = ServiceKey::new("dev", "exact");
    let decision = allocator.assign(&other, &Labels::new(), &exactly, &Record::default(), &[]);
    assert_eq!(decision.outcome.unwrap_err().to_string(), "10.0.0.0 is reserved by another namespace");
    assert_eq!(assign(&mut allocator, "web", &naming("web")).unwrap(), ips(&["10.0.0.0"]));
    assert_eq!(allocator.unused_reserved(&"p".into(), Family::V4), 0);
    let said = refusal(&mut allocator, "second", &naming("web"));
    assert!(said.contains("is in use by prod/web"), "{said}");
    allocator.release(&key("web"));
    assert_eq!(assign(&mut allocator, "second", &naming("web")).unwrap(), ips(&["10.0.0.0"]));
    let said = refusal(&mut allocator, "third", &naming("wbe"));
    assert_eq!(said, "there is no AddressReservation prod/wbe");
}

#[test]
fn nobody_gets_what_its_status_does_not_say_yet() {
    let mut allocator = dual();
    let mut reservations = [from_pool("web", &[])];
    let outcomes = set(&mut allocator, &reservations);
    let chosen = outcomes.values().next().unwrap().as_ref().unwrap();
    assert_eq!(chosen.ips, ips(&["10.0.0.0", "fd00::"]));
    let said = refusal(&mut allocator, "web", &naming("web"));
    assert_eq!(said, "AddressReservation prod/web has no address yet");
    assert_eq!(assign(&mut allocator, "other", &request()).unwrap(), ips(&["10.0.0.1"]), "nor do others");
    settle(&mut allocator, &mut reservations);
    assert_eq!(assign(&mut allocator, "web", &naming("web")).unwrap(), ips(&["10.0.0.0"]));
}

#[test]
fn what_was_chosen_from_a_pool_stays_whatever_is_free() {
    let mut allocator = dual();
    assign(&mut allocator, "first", &request()).unwrap();
    let mut reservations = [from_pool("web", &[Family::V4])];
    settle(&mut allocator, &mut reservations);
    allocator.release(&key("first"));
    let outcomes = set(&mut allocator, &reservations);
    assert_eq!(outcomes.values().next().unwrap().as_ref().unwrap().ips, ips(&["10.0.0.1"]));
    let mut restarted = dual();
    set(&mut restarted, &reservations);
    assert_eq!(assign(&mut restarted, "web", &naming("web")).unwrap(), ips(&["10.0.0.1"]));
}

#[test]
fn a_service_gets_the_addresses_of_its_families() {
    let mut allocator = dual();
    settle(&mut allocator, &mut [of("both", &["10.0.0.0", "fd00::"]), of("one", &["10.0.0.1"])]);
    let six = Request { families: Families::Single(Family::V6), ..naming("both") };
    assert_eq!(assign(&mut allocator, "six", &six).unwrap(), ips(&["fd00::"]));
    allocator.release(&key("six"));
    assert_eq!(assign(&mut allocator, "both", &two_families("both")).unwrap(), ips(&["10.0.0.0", "fd00::"]));
    let said = refusal(&mut allocator, "one", &two_families("one"));
    assert_eq!(said, "10.0.0.1 does not fit the service, which is dual-stack");
    let prefers = Request { families: Families::PreferDual { primary: Family::V6 }, ..naming("one") };
    assert_eq!(assign(&mut allocator, "one", &prefers).unwrap(), ips(&["10.0.0.1"]), "and no other");
}

#[test]
fn of_two_the_first_has_the_address_unless_the_other_had_it_before() {
    let mut allocator = dual();
    let created = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let mut reservations = [
        Reservation { created: created(1), ..of("b", &["10.0.0.0"]) },
        Reservation { created: created(2), ..of("a", &["10.0.0.0"]) },
    ];
    let outcomes = settle(&mut allocator, &mut reservations);
    assert!(outcomes[&ReservationKey::new("prod", "b")].is_ok());
    let refused = outcomes[&ReservationKey::new("prod", "a")].as_ref().unwrap_err();
    assert_eq!(refused.to_string(), "10.0.0.0 is reserved by AddressReservation prod/b");
    let said = refusal(&mut allocator, "a", &naming("a"));
    assert_eq!(said, "AddressReservation prod/a is not in force: see its condition Accepted");
    reservations[0].created = created(3);
    let outcomes = set(&mut allocator, &reservations);
    assert!(outcomes[&ReservationKey::new("prod", "b")].is_ok(), "it is recorded");
}

#[test]
fn who_holds_an_address_keeps_it_and_only_its_own_namespace_can_reserve_it() {
    let mut allocator = dual();
    assign(&mut allocator, "old", &request()).unwrap();
    let theirs = reservation_in("dev", "theirs", Wanted::Addresses(ips(&["10.0.0.0"])));
    let outcomes = set(&mut allocator, std::slice::from_ref(&theirs));
    assert_eq!(outcomes[&theirs.key], Err(Refusal::HeldElsewhere(ips(&["10.0.0.0"])[0])));
    let ours = of("ours", &["10.0.0.0"]);
    let mut both = [theirs, ours];
    let outcomes = settle(&mut allocator, &mut both);
    assert!(outcomes[&both[1].key].is_ok());
    assert_eq!(assign(&mut allocator, "old", &request()).unwrap(), ips(&["10.0.0.0"]));
    assert!(refusal(&mut allocator, "new", &naming("ours")).contains("in use by prod/old"));
    allocator.release(&key("old"));
    assert_eq!(assign(&mut allocator, "again", &request()).unwrap(), ips(&["10.0.0.1"]));
    assert_eq!(assign(&mut allocator, "new", &naming("ours")).unwrap(), ips(&["10.0.0.0"]));
}

#[test]
fn a_service_keeps_what_it_has_when_its_reservation_goes_or_is_not_in_force() {
    let mut allocator = dual();
    let mut reservations = [of("web", &["10.0.0.2"])];
    settle(&mut allocator, &mut reservations);
    assign(&mut allocator, "web", &naming("web")).unwrap();
    set(&mut allocator, &[]);
    let keep = |allocator: &mut Allocator| {
        let decision = allocator.assign(&key("web"), &Labels::new(), &naming("web"), &Record::default(), &[]);
        (decision.outcome.unwrap().ips, decision.denied.map(|why| why.to_string()))
    };
    let said = "there is no AddressReservation prod/web".to_owned();
    assert_eq!(keep(&mut allocator), (ips(&["10.0.0.2"]), Some(said)));
    // Made again, it asks for another address, which the service then gets.
    settle(&mut allocator, &mut [of("web", &["10.0.0.3"])]);
    assert_eq!(keep(&mut allocator), (ips(&["10.0.0.3"]), None));
}

#[test]
fn reservations_count_for_the_quota_of_their_namespace_and_an_address_once() {
    let limited = |most| PoolSpec { quota: Quota::AtMost(most), ..pool("p", &["10.0.0.0/28"]) };
    let mut allocator = allocator([limited(2)]);
    let mut reservations = [of("a", &["10.0.0.1"]), of("b", &["10.0.0.2"]), of("c", &["10.0.0.3"])];
    let outcomes = settle(&mut allocator, &mut reservations);
    let refused = outcomes[&reservations[2].key].as_ref().unwrap_err().to_string();
    assert!(refused.contains("quota of namespace prod reached (2 in use, at most 2"), "{refused}");
    assert!(refusal(&mut allocator, "x", &request()).contains("quota of namespace prod reached"));
    assert_eq!(assign(&mut allocator, "a", &naming("a")).unwrap(), ips(&["10.0.0.1"]));
    allocator.set_pools(Pools::new([limited(1)]));
    let outcomes = set(&mut allocator, &reservations);
    assert!(outcomes[&reservations[1].key].is_ok(), "who has it keeps it when the quota is lowered");
    allocator.release(&key("a"));
    set(&mut allocator, &[]);
    assert!(assign(&mut allocator, "x", &request()).is_ok());
}

#[test]
fn a_pool_reserves_only_for_whom_it_is() {
    let allocation = Allocation { namespaces: BTreeSet::from(["dev".to_owned()]), ..Allocation::default() };
    let mut allocator = allocator([PoolSpec { allocation: Some(allocation), ..pool("p", &["10.0.0.0/28"]) }]);
    for reservation in [of("web", &["10.0.0.1"]), from_pool("web", &[])] {
        let outcomes = set(&mut allocator, std::slice::from_ref(&reservation));
        let refused = outcomes[&reservation.key].as_ref().unwrap_err().to_string();
        assert_eq!(refused, "pool p does not select namespace prod");
    }
    let refused = |allocator: &mut Allocator, reservation: &Reservation| {
        let outcomes = set(allocator, std::slice::from_ref(reservation));
        outcomes[&reservation.key].as_ref().unwrap_err().to_string()
    };
    assert_eq!(refused(&mut allocator, &of("web", &["192.0.2.1"])), "192.0.2.1 is in no IPAddressPool");
    let unknown = Wanted::AnyOf { pool: "q".into(), families: vec![] };
    assert!(refused(&mut allocator, &reservation_in("dev", "web", unknown)).contains("unknown pool"));
    let six = Wanted::AnyOf { pool: "p".into(), families: vec![Family::V6] };
    assert!(refused(&mut allocator, &reservation_in("dev", "web", six)).contains("has no IPv6 addresses"));
}

#[test]
fn only_services_that_it_selects_get_it() {
    let mut allocator = dual();
    let web = Selector::from_iter([Requirement::equals("app", "web")]);
    settle(&mut allocator, &mut [Reservation { service_selectors: vec![web], ..of("web", &["10.0.0.0"]) }]);
    let said = refusal(&mut allocator, "db", &naming("web"));
    assert_eq!(said, "AddressReservation prod/web does not select the labels of this service");
    let labels = Labels::from([("app".into(), "web".into())]);
    assert!(assign(&mut allocator, "web", &Request { labels, ..naming("web") }).is_ok());
}

#[test]
fn what_no_pool_has_any_more_is_reserved_again_when_one_has_it() {
    let mut allocator = dual();
    let mut reservations = [of("web", &["10.0.0.0"])];
    settle(&mut allocator, &mut reservations);
    allocator.set_pools(Pools::new([pool("p", &["10.0.0.2/31"])]));
    assert!(set(&mut allocator, &reservations)[&reservations[0].key].is_err());
    assert_eq!(assign(&mut allocator, "x", &request()).unwrap(), ips(&["10.0.0.2"]));
    allocator.set_pools(Pools::new([pool("q", &["10.0.0.0/31"]), pool("p", &["10.0.0.2/31"])]));
    assert!(set(&mut allocator, &reservations)[&reservations[0].key].is_ok());
    let exactly = Request { addresses: exactly(&["10.0.0.0"]), ..request() };
    assert!(assign(&mut allocator, "y", &exactly).is_err());
}

#[derive(Debug, Clone)]
enum Operation {
    Assign {
        service: u8,
        addresses: AddressRequest,
    },
    Release {
        service: u8,
    },
    /// These reservations, by their numbers, with what each wants.
    Reserve(BTreeMap<u8, Wanted>),
    /// The API server has the statuses.
    Record,
}

fn namespace(number: u8) -> &'static str {
    if number.is_multiple_of(2) { "one" } else { "two" }
}

fn reservation_key(number: u8) -> ReservationKey {
    ReservationKey::new(namespace(number), format!("r{number}"))
}

fn operation() -> impl Strategy<Value = Operation> {
    let ip = || (0u8..6).prop_map(|last| IpAddr::from([10, 0, 0, last]));
    let wanted = prop_oneof![
        2 => ip().prop_map(|ip| Wanted::Addresses(vec![ip])),
        1 => Just(Wanted::AnyOf { pool: "p".into(), families: vec![] }),
    ];
    let addresses = prop_oneof![
        2 => Just(AddressRequest::Anything),
        1 => ip().prop_map(|ip| AddressRequest::Exactly { ips: vec![ip], pool: None }),
        3 => (0u8..4).prop_map(|number| AddressRequest::Reserved(reservation_key(number))),
    ];
    prop_oneof![
        4 => (0u8..6, addresses).prop_map(|(service, addresses)| Operation::Assign { service, addresses }),
        2 => (0u8..6).prop_map(|service| Operation::Release { service }),
        2 => proptest::collection::btree_map(0u8..4, wanted, 0..4).prop_map(Operation::Reserve),
        3 => Just(Operation::Record),
    ]
}

proptest! {
    #[test]
    fn nothing_reserved_goes_astray(operations in vec(operation(), 1..40), most in 1u32..5) {
        let quota = Quota::AtMost(most);
        let mut allocator = allocator([PoolSpec { quota, ..pool("p", &["10.0.0.0-10.0.0.4"]) }]);
        let mut reservations: Vec<Reservation> = vec![];
        for operation in operations {
            match operation {
                Operation::Assign { service, addresses } => {
                    let key = ServiceKey::new(namespace(service), format!("s{service}"));
                    let addresses = match addresses {
                        AddressRequest::Reserved(name) => {
                            AddressRequest::Reserved(ReservationKey::new(namespace(service), &*name.name))
                        }
                        other => other,
                    };
                    let before = allocator.assignment(&key).map(|it| it.ips.clone()).unwrap_or_default();
                    let request = Request { addresses, ..request() };
                    let reserved: BTreeMap<IpAddr, ReservationKey> = allocator
                        .reservations()
                        .flat_map(|(key, it)| it.ips.iter().map(move |ip| (*ip, key.clone())))
                        .collect();
                    let decision = allocator.assign(&key, &Labels::new(), &request, &Record::default(), &[]);
                    for ip in decision.outcome.iter().flat_map(|it| &it.ips).filter(|ip| !before.contains(ip)) {
                        if let Some(by) = reserved.get(ip) {
                            prop_assert_eq!(&request.addresses, &AddressRequest::Reserved(by.clone()));
                            let recorded = reservations.iter().find(|it| it.key == *by).unwrap();
                            prop_assert_eq!(&recorded.record.ips, &vec![*ip], "its status says so");
                        }
                    }
                }
                Operation::Release { service } => {
                    allocator.release(&ServiceKey::new(namespace(service), format!("s{service}")));
                    set(&mut allocator, &reservations);
                }
                Operation::Reserve(wanted) => {
                    let known: BTreeMap<_, _> =
                        reservations.drain(..).map(|it| (it.key.clone(), it.record)).collect();
                    for (number, wanted) in wanted {
                        let key = reservation_key(number);
                        let record = known.get(&key).cloned().unwrap_or_default();
                        reservations.push(Reservation {
                            record,
                            ..reservation_in(namespace(number), &key.name, wanted)
                        });
                    }
                    let outcomes = set(&mut allocator, &reservations);
                    let refused = reservations.iter_mut().filter(|it| outcomes[&it.key].is_err());
                    refused.for_each(|it| it.record = Record::default());
                }
                Operation::Record => _ = settle(&mut allocator, &mut reservations),
            }
            let reserved: Vec<(IpAddr, &ReservationKey)> = allocator
                .reservations()
                .flat_map(|(key, it)| it.ips.iter().map(move |ip| (*ip, key)))
                .collect();
            let distinct: BTreeSet<IpAddr> = reserved.iter().map(|(ip, _)| *ip).collect();
            prop_assert_eq!(distinct.len(), reserved.len(), "each has one owner");
            let mut of_namespace: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
            for (ip, key) in &reserved {
                of_namespace.entry(&key.namespace).or_default().insert(*ip);
            }
            let mut held = BTreeSet::new();
            for (key, it) in allocator.holders() {
                of_namespace.entry(&key.namespace).or_default().extend(&it.ips);
                held.extend(it.ips.iter().copied());
                let others = reserved.iter().filter(|(ip, by)| it.ips.contains(ip) && by.namespace != key.namespace);
                prop_assert_eq!(others.count(), 0, "no other namespace can reserve what it holds");
            }
            prop_assert!(of_namespace.values().all(|ips| ips.len() <= most as usize), "{:?}", of_namespace);
            let usage = allocator.usage(&"p".into(), Family::V4);
            prop_assert_eq!(usage.in_use, held.len() as u128);
            prop_assert_eq!(usage.available, 5 - held.union(&distinct).count() as u128);
            prop_assert_eq!(allocator.unused_reserved(&"p".into(), Family::V4), distinct.difference(&held).count());
        }
    }
}

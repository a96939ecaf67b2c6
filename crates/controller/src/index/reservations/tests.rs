use std::time::Instant;

use api::AddressReservation;
use jiff::Timestamp;
use kubekit::Change;
use serde_json::{Value, json};

use crate::index::tests::{Cluster, pool};

const NAMING: &str = "ferrolb.io/address-reservation";

/// An object in the namespace of the Services, or in another one.
fn reservation_in(
    namespace: &str,
    name: &str,
    second: u32,
    spec: Value,
    status: Value,
) -> AddressReservation {
    let created = format!("2026-01-01T00:00:{second:02}Z");
    let object = json!({
        "metadata": {"name": name, "namespace": namespace, "uid": name, "creationTimestamp": created},
        "spec": spec, "status": status,
    });
    serde_json::from_value(object).unwrap()
}

fn reservation(name: &str, second: u32, addresses: &[&str]) -> AddressReservation {
    reservation_in("default", name, second, json!({"addresses": addresses}), Value::Null)
}

fn naming(name: &str) -> Value {
    json!({"metadata": {"annotations": {NAMING: name}}})
}

fn apply(cluster: &mut Cluster, reservation: AddressReservation) {
    cluster.index.reservations(Change::Apply(reservation), Instant::now());
}

/// What the statuses of those are to be that do not say what they should: name, addresses, and what the condition says.
fn outdated(cluster: &mut Cluster) -> Vec<(String, Vec<String>, String)> {
    cluster.index.decide(usize::MAX);
    let all = cluster.index.outdated_reservation_statuses(Timestamp::UNIX_EPOCH);
    let told = |status: &api::AddressReservationStatus| {
        let condition = &status.conditions[0];
        format!("{} {}", condition.status, condition.message).trim().to_owned()
    };
    all.into_iter().map(|(about, it)| (about.name.unwrap(), it.addresses.clone(), told(&it))).collect()
}

/// Has the statuses written, and seen again.
fn write_statuses(cluster: &mut Cluster, reservations: &mut [AddressReservation]) {
    cluster.index.decide(usize::MAX);
    for (about, status) in cluster.index.outdated_reservation_statuses(Timestamp::UNIX_EPOCH) {
        let object = reservations.iter_mut().find(|it| it.metadata.name == about.name).unwrap();
        object.status = Some(status);
        apply(cluster, object.clone());
    }
    assert!(outdated(cluster).is_empty());
}

#[test]
fn a_service_gets_what_it_names_when_the_status_says_so_and_others_never() {
    let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/31")], &[]);
    let mut all = [reservation("web", 1, &["10.0.0.0"])];
    apply(&mut cluster, all[0].clone());
    cluster.apply("web", naming("web"));
    assert!(cluster.write_all().is_empty());
    assert!(cluster.notices()[0].contains("AddressReservation default/web has no address yet"));
    assert_eq!(outdated(&mut cluster), [("web".to_owned(), vec!["10.0.0.0".to_owned()], "True".to_owned())]);
    write_statuses(&mut cluster, &mut all);
    assert_eq!(cluster.write_all(), ["web 10.0.0.0"]);
    cluster.delete("web");
    cluster.apply("other", json!({}));
    assert_eq!(cluster.write_all(), ["other 10.0.0.1"]);
    cluster.apply("web", naming("web"));
    assert_eq!(cluster.write_all(), ["web 10.0.0.0"]);
}

#[test]
fn what_is_recorded_is_kept_through_a_restart_before_anybody_is_decided() {
    let status = json!({"addresses": ["10.0.0.1"], "pool": "a"});
    let mut cluster = Cluster::new(false);
    cluster.index.set_role(crate::index::Role::Leader, Instant::now());
    let now = Instant::now();
    let other = cluster.store("other", json!({}));
    let web = cluster.store("web", naming("web"));
    cluster.index.services(Change::Reset(vec![other, web]), now);
    cluster.index.pools(Change::Reset(vec![pool("a", "10.0.0.1/32")]), now);
    cluster.index.namespaces(Change::Reset(vec![]), now);
    cluster.index.nodes(Change::Reset(vec![]), now);
    assert!(cluster.write_all().is_empty(), "what is reserved is not known yet");
    let chosen = reservation_in("default", "web", 1, json!({"pool": "a"}), status);
    cluster.index.reservations(Change::Reset(vec![chosen]), now);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1"]);
}

#[test]
fn the_older_of_two_is_in_force_and_each_reason_is_told_once() {
    let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/31")], &[]);
    let mut all = [
        reservation("late", 2, &["10.0.0.0"]),
        reservation("early", 1, &["10.0.0.0"]),
        reservation_in("other", "theirs", 3, json!({"addresses": ["10.0.0.0"]}), Value::Null),
        reservation("nowhere", 1, &["192.0.2.1"]),
        reservation_in("default", "bad", 1, json!({}), Value::Null),
    ];
    for it in &all {
        apply(&mut cluster, it.clone());
    }
    let told: Vec<String> =
        outdated(&mut cluster).into_iter().map(|(name, _, told)| format!("{name}: {told}")).collect();
    assert_eq!(
        told,
        [
            "bad: False spec: it names neither addresses nor a pool",
            "early: True",
            "late: False 10.0.0.0 is reserved by AddressReservation default/early",
            "nowhere: False 192.0.2.1 is in no IPAddressPool",
            "theirs: False 10.0.0.0 is reserved by another namespace",
        ]
    );
    assert_eq!(cluster.notices().iter().filter(|it| it.contains("ConfigurationError")).count(), 4);
    write_statuses(&mut cluster, &mut all);
    assert!(cluster.notices().is_empty());
    let early = all[1].clone();
    cluster.index.reservations(Change::Delete(early), Instant::now());
    let told = outdated(&mut cluster);
    assert_eq!(told[0].0, "late");
    assert_eq!(told[0].1, ["10.0.0.0"]);
}

#[test]
fn what_a_service_holds_can_be_reserved_by_its_own_namespace_and_by_another_when_it_is_given_up() {
    let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/31")], &[("old", json!({}))]);
    assert_eq!(cluster.write_all(), ["old 10.0.0.0"]);
    let theirs = reservation_in("other", "theirs", 1, json!({"addresses": ["10.0.0.0"]}), Value::Null);
    let mut all = [theirs];
    apply(&mut cluster, all[0].clone());
    let told = outdated(&mut cluster).remove(0).2;
    assert_eq!(told, "False 10.0.0.0 is in use by a service of another namespace, which keeps it");
    write_statuses(&mut cluster, &mut all);
    cluster.delete("old");
    assert_eq!(
        outdated(&mut cluster),
        [("theirs".to_owned(), vec!["10.0.0.0".to_owned()], "True".to_owned())]
    );

    cluster.apply("new", json!({}));
    assert_eq!(cluster.write_all(), ["new 10.0.0.1"]);
    apply(&mut cluster, reservation("ours", 2, &["10.0.0.1"]));
    let told = outdated(&mut cluster);
    let ours = told.iter().find(|(name, ..)| name == "ours").unwrap();
    assert_eq!(ours.1, ["10.0.0.1"]);
    assert_eq!(ours.2, "True Service default/new has it and does not ask for it: it keeps it");
    cluster.apply("new", naming("ours"));
    let told = outdated(&mut cluster);
    assert_eq!(told.iter().find(|(name, ..)| name == "ours").unwrap().2, "True", "it asks for it now");
}

#[test]
fn a_service_keeps_its_address_when_the_reservation_is_deleted_and_is_told() {
    let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/31")], &[("web", naming("web"))]);
    let mut all = [reservation("web", 1, &["10.0.0.1"])];
    apply(&mut cluster, all[0].clone());
    write_statuses(&mut cluster, &mut all);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1"]);
    cluster.notices();
    cluster.index.reservations(Change::Delete(all[0].clone()), Instant::now());
    assert!(cluster.write_all().is_empty());
    let notices = cluster.notices();
    assert!(
        notices[0].contains("invalid requested loadbalancer IPs: there is no AddressReservation default/web"),
        "{notices:?}"
    );
}

/// How long one change takes among 5 000 Services and 500 reservations, printed.
#[test]
#[ignore = "a measurement: run it with --nocapture"]
fn one_change_among_many_is_measured() {
    type Measured = Box<dyn FnMut(&mut Cluster, usize)>;
    let mut cluster = Cluster::start(&[pool("a", "10.0.0.0/16")], &[]);
    let address = |number: usize| format!("10.0.{}.{}", 100 + number / 250, number % 250);
    let named = |number: usize| format!("r{number:03}");
    let make = |number: usize, addresses: Vec<String>| {
        let status = json!({"addresses": addresses, "pool": "a"});
        let mut it = reservation("", 1, &[]);
        it.metadata.name = Some(named(number));
        it.metadata.uid = it.metadata.name.clone();
        it.spec.addresses = addresses;
        it.status = serde_json::from_value(status).unwrap();
        it
    };
    let all: Vec<AddressReservation> = (0..500).map(|number| make(number, vec![address(number)])).collect();
    cluster.index.reservations(Change::Reset(all.clone()), Instant::now());
    // One that waits: for what another one has.
    apply(&mut cluster, make(999, vec![address(0)]));
    for number in 0..5000 {
        let overlay = if number < 500 { naming(&named(number)) } else { json!({}) };
        cluster.apply(&format!("s{number:04}"), overlay);
    }
    assert_eq!(cluster.write_all().len(), 5000);
    let mut row = |what: &str, mut change: Measured| {
        let mut took = std::time::Duration::ZERO;
        for round in 0..50 {
            change(&mut cluster, round);
            let began = Instant::now();
            cluster.index.decide(usize::MAX);
            took += began.elapsed();
            cluster.write_all();
        }
        println!("{what:<50} {:>10.1} us", took.as_secs_f64() * 1e6 / 50.0);
    };
    let port = |round: usize| json!({"spec": {"ports": [{"port": 81 + round}]}});
    row("a Service has another port", Box::new(move |it, round| it.apply("s1000", port(round))));
    row("a Service that names one has another port", {
        Box::new(move |it, round| {
            let mut overlay = port(round);
            overlay["metadata"] = naming("r007")["metadata"].clone();
            it.apply("s0007", overlay);
        })
    });
    row("a Service is deleted", Box::new(|it, round| it.delete(&format!("s{:04}", 2000 + round))));
    row("a Service names one and no more", {
        Box::new(|it, round| it.apply("s1001", if round % 2 == 0 { naming("r008") } else { json!({}) }))
    });
    row("a reservation is for others and again for all", {
        Box::new(move |it, round| {
            let mut changed = all[9].clone();
            let selector = json!([{"matchLabels": {"app": "web"}}]);
            if round % 2 == 0 {
                changed.spec.service_selectors = serde_json::from_value(selector).unwrap();
            }
            apply(it, changed);
        })
    });
}

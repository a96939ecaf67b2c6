use serde_json::json;

use super::*;
use crate::survey::Announced;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn service(name: &str, ip: &str, health: Health, node: Option<&str>) -> Surveyed {
    let address = Announced {
        ip: ip.parse().unwrap(),
        health,
        node: node.map(str::to_owned),
        interfaces: vec![],
        since: None,
        by_bgp: vec![],
    };
    Surveyed {
        key: None,
        namespace: "default".to_owned(),
        name: name.to_owned(),
        health,
        pool: None,
        addresses: vec![address],
        reasons: vec![],
        remedies: vec![],
        unserved: None,
        warnings: vec![],
    }
}

fn on(node: &str) -> Vec<Surveyed> {
    vec![service("web", "192.0.2.1", Health::Announced, Some(node))]
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn whats(timeline: &Timeline) -> Vec<What> {
    timeline.entries().iter().map(|entry| entry.what.clone()).collect()
}

fn event(service: &str, node: &str, seconds: i64) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {"kind": "Service", "namespace": "default", "name": service},
        "reason": "nodeAssigned", "message": format!("announcing from node \"{node}\" with protocol \"layer2\""),
        "lastTimestamp": at(seconds).to_string(),
    }))
    .unwrap()
}

#[test]
fn the_first_look_tells_nothing_and_each_change_after_it_is_told_once() {
    let mut timeline = Timeline::default();
    for services in [on("n1"), on("n1"), on("n2"), on("n2")] {
        timeline.observe(AT, &services, &[]);
    }
    assert_eq!(whats(&timeline), [What::Moved { from: "n1".to_owned(), to: "n2".to_owned() }]);
    assert_eq!(timeline.entries()[0].addresses[0].service, "default/web");
}

#[test]
fn what_nobody_can_tell_for_a_moment_is_no_change() {
    let mut timeline = Timeline::default();
    for health in [Health::Unknown, Health::Starting] {
        timeline.observe(AT, &on("n1"), &[]);
        timeline.observe(AT, &[service("web", "192.0.2.1", health, Some("n2"))], &[]);
    }
    timeline.observe(AT, &on("n1"), &[]);
    assert_eq!(whats(&timeline), []);
    timeline.observe(AT, &[service("web", "192.0.2.1", Health::Unknown, None)], &[]);
    timeline.observe(AT, &on("n2"), &[]);
    assert_eq!(whats(&timeline), [What::Moved { from: "n1".to_owned(), to: "n2".to_owned() }]);
}

#[test]
fn addresses_that_move_together_are_one_entry() {
    let many = |node: &str| -> Vec<Surveyed> {
        let one = |number: u8| {
            service(&format!("s{number}"), &format!("192.0.2.{number}"), Health::Announced, Some(node))
        };
        (1..=20).map(one).collect()
    };
    let mut timeline = Timeline::default();
    timeline.observe(AT, &many("n1"), &[]);
    timeline.observe(AT, &many("n2"), &[]);
    assert_eq!(timeline.entries().len(), 1);
    assert_eq!(timeline.entries()[0].addresses.len(), 20);
}

#[test]
fn silence_conflict_return_and_giving_back_are_told() {
    let mut timeline = Timeline::default();
    let looks = [
        on("n1"),
        vec![service("web", "192.0.2.1", Health::Silent, None)],
        on("n1"),
        vec![service("web", "192.0.2.1", Health::Conflict, Some("n1"))],
        vec![],
    ];
    for services in looks {
        timeline.observe(AT, &services, &[]);
    }
    let mut told = whats(&timeline);
    told.reverse();
    let n1 = || "n1".to_owned();
    assert_eq!(told, [What::Silent { before: n1() }, What::Began { on: n1() }, What::Conflict, What::Given]);
}

#[test]
fn events_tell_what_was_before_the_first_look() {
    let mut timeline = Timeline::default();
    let events =
        [event("web", "n2", 100), event("web", "n1", 10), event("web", "n1", 11), event("gone", "n1", 12)];
    timeline.recall(&events, &on("n2"));
    let [moved, began] = timeline.entries() else { panic!("{:?}", timeline.entries()) };
    assert_eq!(
        (moved.at, &moved.what),
        (at(100), &What::Moved { from: "n1".to_owned(), to: "n2".to_owned() })
    );
    assert_eq!((began.at, &began.what), (at(10), &What::Began { on: "n1".to_owned() }));
}

#[test]
fn nodes_that_announce_to_routers_do_not_take_an_address_from_each_other() {
    let by_bgp = |node: &str, seconds: i64| {
        let mut it = event("web", node, seconds);
        it.message = Some(format!("announcing from node \"{node}\" with protocol \"bgp\""));
        it
    };
    let mut timeline = Timeline::default();
    timeline.recall(&[by_bgp("n1", 10), by_bgp("n2", 11), event("web", "n3", 12)], &on("n3"));
    assert_eq!(whats(&timeline), [What::Began { on: "n3".to_owned() }]);
}

#[test]
fn events_of_one_takeover_are_one_entry_and_odd_ones_are_passed_over() {
    let services = [on("n1"), vec![service("api", "192.0.2.2", Health::Announced, Some("n1"))]].concat();
    let mut odd = event("web", "n1", 10);
    odd.message = Some("announcing from node \"".to_owned());
    let mut timeline = Timeline::default();
    timeline.recall(&[odd, Event::default(), event("web", "n1", 20), event("api", "n1", 22)], &services);
    assert_eq!(timeline.entries().len(), 1, "{:?}", timeline.entries());
    assert_eq!(timeline.entries()[0].addresses.len(), 2);
}

#[test]
fn only_so_many_are_kept() {
    let mut timeline = Timeline::default();
    for look in 0..2 * KEPT {
        timeline.observe(AT, &on(if look % 2 == 0 { "n1" } else { "n2" }), &[]);
    }
    assert_eq!(timeline.entries().len(), KEPT);
}

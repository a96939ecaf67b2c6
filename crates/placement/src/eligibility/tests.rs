use objects::{Requirement, Selector};

use super::*;
use crate::fixtures::*;
use crate::{Preference, ServiceKey};

fn zone(value: &str) -> Selector {
    Selector::from_iter([Requirement::equals("zone", value)])
}

/// Three nodes, each in a zone of its own, a pool and no advertisement.
fn cluster(advertisements: impl IntoIterator<Item = Advertisement>) -> Eligibility {
    let mut it = Eligibility::new(ExcludeLabel::Honoured);
    for name in ["a", "b", "c"] {
        it.members.insert(name.into());
        it.nodes.insert(name.into(), Node { labels: labels(&[("zone", name)]), ..node(name) });
    }
    it.pools = pools([pool("pool", "10.0.0.0/24")]);
    it.advertisements = advertisements.into_iter().map(|ad| (ad.name.clone(), ad)).collect();
    it.refresh();
    it
}

fn selecting(name: &str, zones: &[&str], interfaces: &[&str]) -> Advertisement {
    Advertisement {
        node_selectors: zones.iter().map(|value| zone(value)).collect(),
        interfaces: only(interfaces),
        preferences: zones.iter().map(|value| Preference { weight: 10, selector: zone(value) }).collect(),
        ..advertisement(name)
    }
}

fn eligible(it: &Eligibility, service: &Service, slices: &[&Endpoints]) -> Vec<(String, u32)> {
    let eligible = it.eligible(service, slices).unwrap();
    eligible.nodes.iter().map(|(node, standing)| (node.to_string(), standing.score)).collect()
}

#[test]
fn scores_and_interfaces_add_up_over_the_advertisements_that_select_a_node() {
    let it =
        cluster([selecting("one", &["a", "b"], &["eth0"]), selecting("two", &["b", "c"], &["eth1", "eth2"])]);
    let (web, slice) = (service("web", "10.0.0.1"), serving(&["a"]));
    let expected = [("a", 10), ("b", 20), ("c", 10)].map(|(node, score)| (node.to_owned(), score));
    assert_eq!(eligible(&it, &web, &[&slice]), expected);
    let eligible = it.eligible(&web, &[&slice]).unwrap();
    assert_eq!(eligible.interfaces(&"a".into()), only(&["eth0"]));
    assert_eq!(eligible.interfaces(&"b".into()), only(&["eth0", "eth1", "eth2"]));
    assert_eq!(eligible.interfaces(&"x".into()), only(&[]));
    assert_eq!(it.highest_score(&"b".into()), Some(20));
    assert_eq!(it.highest_score(&"x".into()), None);
}

#[test]
fn endpoints_of_all_slices_count() {
    let it = cluster([advertisement("ad")]);
    let local = Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") };
    let (one, two, none) = (serving(&["a"]), serving(&["c"]), serving(&[]));
    let expected = ["a", "c"].map(|node| (node.to_owned(), 0));
    assert_eq!(eligible(&it, &local, &[&one, &none, &two]), expected);
    assert_eq!(it.eligible(&local, &[&none]).unwrap_err(), Unadvertised::NoEndpoint);
    assert_eq!(it.eligible(&local, &[]).unwrap_err(), Unadvertised::NoEndpoint);
}

#[test]
fn a_member_that_is_away_stays_eligible_but_is_not_live() {
    let mut it = cluster([advertisement("ad")]);
    it.members.remove(&"b".into());
    it.away.insert("b".into());
    it.members.remove(&"c".into());
    it.refresh();
    let (web, slice) = (service("web", "10.0.0.1"), serving(&["a"]));
    let eligible = it.eligible(&web, &[&slice]).unwrap();
    let live: Vec<_> = eligible.nodes.iter().map(|(node, standing)| (node.as_str(), standing.live)).collect();
    assert_eq!(live, [("a", true), ("b", false)]);
    assert_eq!(it.ineligible(&web, &[&slice], &"b".into()), Ok(None));
    assert_eq!(it.ineligible(&web, &[&slice], &"c".into()), Ok(Some(Ineligible::NotMember)));
}

#[test]
fn refreshing_the_node_that_changed_is_as_good_as_refreshing_all() {
    type Step = fn(&mut Eligibility);
    let steps: [Step; 6] = [
        |it| assert!(it.members.remove(&"b".into())),
        |it| assert!(it.away.insert("b".into())),
        |it| assert!(it.members.insert("b".into())),
        |it| it.nodes.get_mut(&"b".into()).unwrap().labels = labels(&[("zone", "a")]),
        |it| it.nodes.get_mut(&"b".into()).unwrap().network = Network::Unavailable,
        |it| assert!(it.nodes.remove(&"b".into()).is_some()),
    ];
    let mut it = cluster([selecting("one", &["a"], &["eth0"]), advertisement("two")]);
    for step in steps {
        step(&mut it);
        it.refresh_node(&"b".into());
        let one_by_one = it.selected.clone();
        it.refresh();
        assert_eq!(one_by_one, it.selected);
    }
    assert!(!it.selected[&"two".into()].contains_key(&"b".into()));
}

#[test]
fn the_first_reason_that_holds_is_told() {
    let mut it = cluster([selecting("one", &["a"], &["eth0"])]);
    let local = Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") };
    let slice = serving(&["b"]);
    let reason = |it: &Eligibility, node: &str| it.ineligible(&local, &[&slice], &node.into()).unwrap();
    assert_eq!(reason(&it, "a"), Some(Ineligible::NoLocalEndpoint));
    assert_eq!(reason(&it, "b"), Some(Ineligible::NotSelected));
    it.nodes.get_mut(&"b".into()).unwrap().labels = labels(&[(EXCLUDE_LABEL, "")]);
    assert_eq!(reason(&it, "b"), Some(Ineligible::Excluded));
    it.exclude_label = ExcludeLabel::Ignored;
    assert_eq!(reason(&it, "b"), Some(Ineligible::NotSelected));
    it.nodes.get_mut(&"b".into()).unwrap().network = Network::Unavailable;
    assert_eq!(reason(&it, "b"), Some(Ineligible::NetworkUnavailable));
    it.members.remove(&"b".into());
    assert_eq!(reason(&it, "b"), Some(Ineligible::NotMember));
    assert_eq!(reason(&it, "x"), Some(Ineligible::NoNode));
}

#[test]
fn a_service_needs_a_pool_then_an_endpoint_then_an_advertisement() {
    let mut it = cluster([]);
    let slice = serving(&["a"]);
    let why = |it: &Eligibility, service: &Service, slices: &[&Endpoints]| it.eligible(service, slices).err();
    let (web, outside) = (service("web", "10.0.0.1"), service("web", "10.9.0.1"));
    assert_eq!(why(&it, &outside, &[]), Some(Unadvertised::NoPool));
    assert_eq!(why(&it, &web, &[]), Some(Unadvertised::NoEndpoint));
    assert_eq!(why(&it, &web, &[&slice]), Some(Unadvertised::NoAdvertisement));
    let east = Advertisement { service_selectors: vec![zone("east")], ..advertisement("east") };
    it.advertisements.insert(east.name.clone(), east);
    it.refresh();
    assert_eq!(why(&it, &web, &[&slice]), Some(Unadvertised::NoAdvertisement));
    let key = ServiceKey::new("default", "east");
    let east = Service { key, labels: labels(&[("zone", "east")]), ..web };
    assert_eq!(why(&it, &east, &[&slice]), None);
    let shared = Service { sharing: Sharing::Shared, ..east };
    assert_eq!(why(&it, &shared, &[&slice]), Some(Unadvertised::SharedYetSelected));
}

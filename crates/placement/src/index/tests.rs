//! How the index follows a cluster that changes.

use super::*;
use crate::fixtures::*;
use crate::{
    Ability, Announcement, Change, History, Ineligible, Network, Obstacle, Released, TrafficPolicy,
    Unadvertised, Unannounced,
};

/// A node's view of a cluster of three, where node-b comes first for 10.0.0.1 and 10.0.0.2.
fn placement(me: &str) -> Placement {
    let mut it = Placement::new(me.into(), ExcludeLabel::Honoured);
    for name in ["node-a", "node-b", "node-c"] {
        it.set_node(node(name));
    }
    it.set_members(members(&["node-a", "node-b", "node-c"]));
    it.set_pools(pools([pool("pool", "10.0.0.0/24")]));
    it.set_advertisement(advertisement("ad"));
    assert_eq!(it.settle(), []);
    it
}

fn with_web(me: &str) -> Placement {
    let mut it = placement(me);
    it.set_service(service("web", "10.0.0.1"));
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it
}

fn members(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|name| (*name).into()).collect()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn slice(name: &str) -> SliceKey {
    SliceKey::new("default", name)
}

fn assigned(name: &str, vip: &str) -> Change {
    Change::Assigned { service: key(name), vips: vec![ip(vip)] }
}

fn released(name: &str, vip: &str, why: Released) -> Change {
    Change::Released { service: key(name), vips: vec![ip(vip)], why }
}

fn announced(it: &Placement) -> Vec<String> {
    it.announcements().keys().map(ToString::to_string).collect()
}

#[test]
fn one_node_of_three_announces() {
    for (me, expected) in [("node-a", 0), ("node-b", 1), ("node-c", 0)] {
        let mut it = with_web(me);
        assert_eq!(it.settle().len(), expected, "{me}");
        assert_eq!(it.announcements().len(), expected, "{me}");
    }
}

#[test]
fn an_address_moves_with_its_announcer_and_back_again() {
    let mut b = with_web("node-b");
    let mut a = with_web("node-a");
    assert_eq!(b.settle(), [assigned("web", "10.0.0.1")]);
    assert_eq!(a.settle(), []);
    for it in [&mut a, &mut b] {
        it.set_members(members(&["node-a", "node-c"]));
    }
    assert_eq!(a.settle(), [assigned("web", "10.0.0.1")]);
    assert_eq!(b.settle(), [released("web", "10.0.0.1", Released::MovedTo("node-a".into()))]);
    assert!(b.announcements().is_empty());
    a.set_members(members(&["node-a", "node-b", "node-c"]));
    assert_eq!(a.settle(), [released("web", "10.0.0.1", Released::MovedTo("node-b".into()))]);
}

#[test]
fn being_told_the_same_again_changes_nothing() {
    let mut it = with_web("node-b");
    it.settle();
    let before = it.announcements().clone();
    it.set_service(service("web", "10.0.0.1"));
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it.set_node(node("node-a"));
    it.set_members(members(&["node-a", "node-b", "node-c"]));
    it.set_pools(pools([pool("pool", "10.0.0.0/24")]));
    it.set_advertisement(advertisement("ad"));
    assert!(matches!(&it.stale, Stale::Some { vips, nodes } if vips.is_empty() && nodes.is_empty()));
    assert_eq!(it.settle(), []);
    assert_eq!(it.announcements(), &before);
}

#[test]
fn an_unrelated_change_leaves_the_takeover_as_it_is() {
    let mut it = with_web("node-b");
    it.settle();
    let before = it.announcements().clone();
    it.set_node(Node { network: Network::Unavailable, ..node("node-c") });
    it.set_endpoints(&slice("web-2"), &key("web"), serving(&["node-c"]));
    it.set_pools(pools([pool("pool", "10.0.0.0/24"), pool("other", "10.0.9.0/24")]));
    assert_eq!(it.settle(), []);
    assert_eq!(it.announcements(), &before);
}

#[test]
fn coming_back_is_a_new_takeover() {
    let mut it = with_web("node-b");
    it.settle();
    let first = it.announcements()[&ip("10.0.0.1")].takeover;
    it.set_members(members(&["node-a"]));
    it.settle();
    it.set_members(members(&["node-a", "node-b"]));
    it.settle();
    assert_ne!(it.announcements()[&ip("10.0.0.1")].takeover, first);
}

#[test]
fn what_a_member_that_is_away_would_announce_is_standby_until_it_is_back_or_expected_no_longer() {
    let history = |it: &Placement| it.announcements().get(&ip("10.0.0.1")).map(|own| own.history);
    for back in [true, false] {
        let mut it = with_web("node-a");
        it.settle();
        it.set_members(members(&["node-a", "node-c"]));
        it.set_away(members(&["node-b"]));
        assert_eq!(it.settle(), [assigned("web", "10.0.0.1")]);
        assert_eq!(history(&it), Some(History::Standby));
        let standby = it.last_takeover();
        it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-c"]));
        it.settle();
        assert_eq!((history(&it), it.last_takeover()), (Some(History::Standby), standby));

        it.set_away(members(&[]));
        if back {
            it.set_members(members(&["node-a", "node-b", "node-c"]));
        }
        it.settle();
        assert_eq!(history(&it), (!back).then_some(History::Announced));
        assert_eq!(it.takeovers_since(standby).len(), usize::from(!back), "the LAN is told");
    }
}

#[test]
fn what_is_announced_here_already_is_no_standby_any_more() {
    let mut it = with_web("node-a");
    it.set_members(members(&["node-a", "node-c"]));
    it.settle();
    let before = it.announcements().clone();
    it.set_away(members(&["node-b"]));
    it.settle();
    assert_eq!(it.announcements(), &before);
}

#[test]
fn an_address_that_nobody_has_announced_yet_is_no_standby() {
    let mut it = placement("node-a");
    it.set_members(members(&["node-a", "node-c"]));
    it.set_away(members(&["node-b"]));
    it.settle();
    it.set_service(service("web", "10.0.0.1"));
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it.settle();
    assert_eq!(it.announcements()[&ip("10.0.0.1")].history, History::New);
}

#[test]
fn whatever_an_address_depends_on_withdraws_it_when_it_goes() {
    type Removal = fn(&mut Placement);
    let removals: [(Removal, Released); 6] = [
        (|it| it.remove_service(&key("web")), Released::Gone),
        (|it| it.remove_endpoints(&slice("web-1")), Released::Unannounced(Unadvertised::NoEndpoint.into())),
        (|it| it.set_pools(Pools::default()), Released::Unannounced(Unadvertised::NoPool.into())),
        (
            |it| it.remove_advertisement(&"ad".into()),
            Released::Unannounced(Unadvertised::NoAdvertisement.into()),
        ),
        (|it| it.remove_node(&"node-b".into()), Released::MovedTo("node-a".into())),
        (|it| it.set_members([].into()), Released::Unannounced(Unannounced::NoCandidate)),
    ];
    for (remove, why) in removals {
        let mut it = with_web("node-b");
        it.settle();
        remove(&mut it);
        assert_eq!(it.settle(), [released("web", "10.0.0.1", why)]);
        assert!(it.announcements().is_empty());
        assert!(it.mine.is_empty());
    }
}

#[test]
fn endpoints_add_up_over_slices_and_follow_a_slice_to_another_service() {
    let mut it = placement("node-b");
    let local = |name, vip| Service { traffic_policy: TrafficPolicy::Local, ..service(name, vip) };
    it.set_service(local("one", "10.0.0.1"));
    it.set_service(local("two", "10.0.0.2"));
    it.set_endpoints(&slice("x"), &key("one"), serving(&["node-c"]));
    assert_eq!(it.settle(), []);
    it.set_endpoints(&slice("y"), &key("one"), serving(&["node-b"]));
    assert_eq!(it.settle(), [assigned("one", "10.0.0.1")]);
    it.set_endpoints(&slice("y"), &key("two"), serving(&["node-b"]));
    assert_eq!(
        it.settle(),
        [released("one", "10.0.0.1", Released::MovedTo("node-c".into())), assigned("two", "10.0.0.2")]
    );
}

#[test]
fn a_new_address_replaces_the_old_one() {
    let mut it = with_web("node-b");
    it.settle();
    it.set_service(service("web", "10.0.0.2"));
    assert_eq!(
        it.settle(),
        [released("web", "10.0.0.1", Released::Readdressed), assigned("web", "10.0.0.2")]
    );
    assert_eq!(announced(&it), ["10.0.0.2"]);
}

#[test]
fn a_shared_address_stays_while_one_of_its_services_wants_it() {
    let mut it = with_web("node-b");
    it.set_service(service("dns", "10.0.0.1"));
    it.set_endpoints(&slice("dns-1"), &key("dns"), serving(&["node-c"]));
    assert_eq!(it.settle(), [assigned("dns", "10.0.0.1"), assigned("web", "10.0.0.1")]);
    let before = it.announcements().clone();
    it.remove_service(&key("web"));
    assert_eq!(it.settle(), [released("web", "10.0.0.1", Released::Gone)]);
    assert_eq!(it.announcements(), &before);
    it.remove_service(&key("dns"));
    it.settle();
    assert!(it.announcements().is_empty());
}

#[test]
fn an_address_is_new_once_and_only_to_one_who_saw_it_come() {
    let history = |it: &mut Placement, vip: &str| {
        it.settle();
        it.announcements().get(&ip(vip)).map(|announcement| announcement.history)
    };
    let mut it = placement("node-b");
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it.set_service(service("web", "10.0.0.1"));
    assert_eq!(history(&mut it, "10.0.0.1"), Some(History::New));
    it.set_service(service("web", "10.0.0.2"));
    assert_eq!(history(&mut it, "10.0.0.2"), Some(History::New));
    it.set_members(members(&["node-a"]));
    assert_eq!(history(&mut it, "10.0.0.2"), None);
    it.set_members(members(&["node-a", "node-b"]));
    assert_eq!(history(&mut it, "10.0.0.2"), Some(History::Announced));

    let mut elsewhere = placement("node-a");
    elsewhere.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    elsewhere.set_service(service("web", "10.0.0.1"));
    assert_eq!(history(&mut elsewhere, "10.0.0.1"), None);
    elsewhere.set_members(members(&["node-a"]));
    assert_eq!(history(&mut elsewhere, "10.0.0.1"), Some(History::Announced));
}

#[test]
fn what_waits_for_its_first_endpoint_is_still_new_then() {
    let mut it = placement("node-b");
    it.set_service(service("web", "10.0.0.1"));
    it.settle();
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it.settle();
    assert_eq!(it.announcements()[&ip("10.0.0.1")].history, History::New);
}

#[test]
fn a_restart_takes_nothing_for_new() {
    let mut it = Placement::new("node-b".into(), ExcludeLabel::Honoured);
    it.set_node(node("node-b"));
    it.set_members(members(&["node-b"]));
    it.set_pools(pools([pool("pool", "10.0.0.0/24")]));
    it.set_advertisement(advertisement("ad"));
    it.set_service(service("web", "10.0.0.1"));
    it.set_endpoints(&slice("web-1"), &key("web"), serving(&["node-a"]));
    it.settle();
    assert_eq!(it.announcements()[&ip("10.0.0.1")].history, History::Announced);
}

#[test]
fn reasserting_is_a_new_takeover_of_everything_and_no_change_of_services() {
    let mut it = with_web("node-b");
    it.settle();
    let before = it.announcements().clone();
    it.reassert();
    assert_eq!(it.settle(), []);
    assert!(it.announcements().keys().eq(before.keys()));
    assert_ne!(it.announcements(), &before);
}

#[test]
fn other_interfaces_are_no_new_takeover() {
    let mut it = with_web("node-b");
    it.settle();
    let before = it.announcements()[&ip("10.0.0.1")].clone();
    it.set_advertisement(Advertisement { interfaces: only(&["eth1"]), ..advertisement("ad") });
    assert_eq!(it.settle(), []);
    let expected = Announcement { interfaces: only(&["eth1"]), ..before };
    assert_eq!(it.announcements()[&ip("10.0.0.1")], expected);
}

#[test]
fn a_service_can_be_announced_by_two_nodes_one_for_each_family() {
    let mut b = placement("node-b");
    let mut a = placement("node-a");
    let key = key("dual");
    let mut both = pool("pool", "10.0.0.0/24");
    both.entries.push("fd00::/120".into());
    let dual = Service { vips: ["10.0.0.1", "fd00::1"].map(ip).to_vec(), ..service("dual", "10.0.0.1") };
    for it in [&mut a, &mut b] {
        it.set_pools(pools([both.clone()]));
        it.set_service(dual.clone());
        it.set_endpoints(&slice("dual-1"), &key, serving(&["node-a"]));
        it.settle();
        it.set_abilities("node-b".into(), able(&[("eth0", true, false)]));
    }
    assert_eq!(a.settle(), [assigned("dual", "fd00::1")]);
    let before =
        Change::Released { service: key.clone(), vips: dual.vips.clone(), why: Released::Readdressed };
    assert_eq!(b.settle(), [before, assigned("dual", "10.0.0.1")]);
    assert_eq!((announced(&a), announced(&b)), (vec!["fd00::1".into()], vec!["10.0.0.1".into()]));
    let announcers: Vec<String> =
        a.assignments(&key).map(|(_, it)| it.as_ref().unwrap().announcer.to_string()).collect();
    assert_eq!(announcers, ["node-b", "node-a"]);
    let obstacles = a.obstacles(&key, ip("fd00::1")).unwrap().unwrap();
    assert_eq!(obstacles, [("node-b".into(), Obstacle::NoInterface(Interfaces::All))].into());

    b.set_abilities("node-b".into(), Abilities::Unknown);
    assert_eq!(b.settle().len(), 2);
    assert_eq!(announced(&b).len(), 2);
}

#[test]
fn every_node_that_is_out_has_its_reason() {
    let mut it = with_web("node-a");
    let reason = |it: &mut Placement| {
        it.settle();
        let mut obstacles = it.obstacles(&key("web"), ip("10.0.0.1")).unwrap().unwrap();
        obstacles.remove(&"node-b".into())
    };
    assert_eq!(reason(&mut it), None);
    it.set_abilities("node-b".into(), able(&[]));
    assert_eq!(reason(&mut it), Some(Obstacle::NoInterface(Interfaces::All)));
    it.set_advertisement(Advertisement { interfaces: only(&["eth1", "eth2"]), ..advertisement("ad") });
    assert_eq!(reason(&mut it), Some(Obstacle::NoInterface(only(&["eth1", "eth2"]))));
    it.set_service(Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") });
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::NoLocalEndpoint)));
    let selector = objects::Selector::from_iter([objects::Requirement::equals("zone", "x")]);
    it.set_advertisement(Advertisement { node_selectors: vec![selector], ..advertisement("ad") });
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::NotSelected)));
    it.set_node(Node { labels: labels(&[(crate::EXCLUDE_LABEL, "")]), ..node("node-b") });
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::Excluded)));
    it.set_node(Node { network: Network::Unavailable, ..node("node-b") });
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::NetworkUnavailable)));
    it.set_members(members(&["node-a", "node-c"]));
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::NotMember)));
    it.remove_node(&"node-b".into());
    it.set_members(members(&["node-a", "node-b"]));
    assert_eq!(reason(&mut it), Some(Obstacle::Ineligible(Ineligible::NoNode)));
    it.remove_advertisement(&"ad".into());
    assert_eq!(it.obstacles(&key("web"), ip("10.0.0.1")), Some(Err(Unadvertised::NoAdvertisement)));
}

#[test]
fn who_ranks_first_and_is_passed_over_is_told_with_the_interfaces_that_it_lost() {
    let mut it = with_web("node-a");
    let passed_over = |it: &mut Placement| {
        it.settle();
        let told = it.passed_over(ip("10.0.0.1")).into_iter();
        let told = told.flat_map(|(node, lost)| lost.into_iter().map(move |lost| (node.to_string(), lost)));
        told.map(|(node, (name, ability))| (node, name.to_string(), ability)).collect::<Vec<_>>()
    };
    let both = able(&[("eth0", true, true), ("eth1", true, true)]);
    for node in ["node-a", "node-b", "node-c"] {
        it.set_abilities(node.into(), both.clone());
    }
    assert_eq!(passed_over(&mut it), []);
    it.set_abilities("node-c".into(), one_lost("eth0", "eth1"));
    assert_eq!(passed_over(&mut it), [], "node-c is not the first");
    it.set_abilities("node-b".into(), one_lost("eth0", "eth1"));
    assert_eq!(passed_over(&mut it), [("node-b".to_owned(), "eth1".to_owned(), Ability::Lost)]);
    it.set_abilities("node-b".into(), able(&[]));
    assert_eq!(passed_over(&mut it), [], "it is no candidate at all");
    it.set_abilities("node-b".into(), one_lost("eth0", "eth1"));
    it.set_members(members(&["node-a", "node-c"]));
    assert_eq!(passed_over(&mut it), [], "nor while it is dead");
    it.set_members(members(&["node-b"]));
    assert_eq!(passed_over(&mut it), [], "it announces, as the last");
    let service = it.services.get(&key("web")).cloned().unwrap();
    it.set_members(members(&["node-a", "node-b", "node-c"]));
    it.set_service(Service { traffic_policy: TrafficPolicy::Local, ..service });
    assert_eq!(passed_over(&mut it), [], "it may not");
}

//! Peers that are heard, and have seen another state of the cluster.

use placement::{Disputed, Kind, Versions};

use super::*;
use crate::disputes::Seen;

/// n1 and n2, both of which n1 hears, and n1 has seen everything up to this version.
fn seen_up_to(version: u64) -> Fixture {
    use Kind::{Advertisements, EndpointSlices, Nodes, Pools, Services};
    let mut it = complete();
    let known = Seen { complete: version, newest: version };
    it.all([Services, EndpointSlices, Nodes, Pools, Advertisements].map(|kind| Input::Seen(kind, known)));
    it.after(n2_says(NodeProfile::default()));
    it
}

/// What n2 tells of itself.
fn n2_says(profile: NodeProfile) -> Input {
    let profile = NodeProfile { macs: [THEIRS.0].into(), ..profile };
    seen(n2_tells(crate::peers::profile(&profile)))
}

/// n2 has seen everything up to this version, and wants n1 to give the address up.
fn asked(version: u64, vip: &str) -> Input {
    let versions = Versions([version; Kind::COUNT]);
    let disputed = Disputed { versions, by_node: [("n1".into(), [ip(vip)].into())].into() };
    n2_says(NodeProfile { disputed, ..NodeProfile::default() })
}

fn told_disputes(it: &Fixture) -> Vec<(String, String)> {
    let of = |output: &Output| match output {
        Output::Disputed(by_node) => by_node.clone(),
        _ => BTreeMap::new(),
    };
    let all = it.outputs.iter().flat_map(of);
    all.flat_map(|(node, vips)| vips.into_iter().map(move |vip| (node.to_string(), vip.to_string())))
        .collect()
}

#[test]
fn what_peers_that_have_seen_more_ask_for_is_given_up_and_told_until_they_do_no_more() {
    let mut it = seen_up_to(7);
    assert_eq!(it.after(asked(7, "192.0.2.2")), ["192.0.2.2"]);
    assert!(it.after(asked(8, "192.0.2.2")).is_empty());
    assert!(it.said(&Output::Conceded([ip("192.0.2.2")].into())));
    it.now += Duration::from_millis(200);
    it.after(Input::Time);
    assert_eq!(it.core.profile.conceded, [ip("192.0.2.2")].into());
    assert_eq!(it.after(n2_says(NodeProfile::default())), ["192.0.2.2"]);
}

#[test]
fn what_a_peer_gives_up_falls_to_the_next() {
    let mut it = seen_up_to(7);
    let conceded = [ip("192.0.2.1")].into();
    let profile = NodeProfile { conceded, ..NodeProfile::default() };
    assert_eq!(it.after(n2_says(profile)), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.order("192.0.2.1").begin, Begin::Ask);
    assert_eq!(it.after(n2_says(NodeProfile::default())), ["192.0.2.2"]);
}

#[test]
fn what_a_peer_gives_up_is_told_on_the_service_once_and_by_who_announces_it() {
    let gives_up = |vip: &str| {
        let conceded = [ip(vip)].into();
        n2_says(NodeProfile { conceded, ..NodeProfile::default() })
    };
    for vip in ["192.0.2.1", "192.0.2.2"] {
        let mut it = seen_up_to(7);
        it.after(gives_up(vip));
        let told: Vec<_> = it.outputs.iter().filter_map(told_of).collect();
        let [message] = &told[..] else { panic!("{told:?}") };
        assert!(message.contains(vip) && message.contains("\"n2\" reaches the API server"), "{message}");
        it.after(gives_up(vip));
        assert_eq!(it.outputs.iter().filter_map(told_of).count(), 0);
    }
    // It takes that over later.
    let mut it = seen_up_to(7);
    let n3 = NodeProfile { macs: [FOREIGN.0].into(), ..NodeProfile::default() };
    let with_n3 = |profile: NodeProfile| {
        let profiles = [("n3".into(), crate::peers::profile(&profile))].into();
        seen(View { profiles, ..view(&["n1", "n2", "n3"], true) })
    };
    it.after(with_n3(n3.clone()));
    it.after(with_n3(NodeProfile { conceded: [ip("192.0.2.1")].into(), ..n3 }));
    it.after(members(&["n1"]));
    assert!(it.orders().contains_key(&ip("192.0.2.1")));
    assert_eq!(it.outputs.iter().filter_map(told_of).count(), 0, "n2 has told it");
}

fn told_of(output: &Output) -> Option<&str> {
    match output {
        Output::Notice(_, notice) if notice.reason == "nodeOutdated" => Some(&notice.message),
        _ => None,
    }
}

#[test]
fn a_peer_that_is_heard_and_answers_too_is_asked_to_give_way_unless_it_leaves() {
    let answered = || Input::Port("eth0".into(), Report::Answered { vip: ip("192.0.2.2"), by: THEIRS });
    let mut it = seen_up_to(7);
    it.after(answered());
    assert_eq!(told_disputes(&it), [("n2".into(), "192.0.2.2".into())]);
    assert_eq!(it.core.profile.disputed.versions, Versions([7; Kind::COUNT]));

    let mut it = seen_up_to(7);
    it.after(happened(Event::Leaving { node: "n2".into(), absence: Absence::Open }, view(&["n1"], true)));
    it.after(answered());
    assert_eq!(told_disputes(&it), []);
}

#[test]
fn a_peer_that_answers_too_and_does_not_react_counts_as_one_that_does_not_hear_us() {
    let contact = |it: &Fixture| it.ordered_macs().contacts[&THEIRS];
    let mut it = seen_up_to(7);
    it.after(Input::Port("eth0".into(), Report::Answered { vip: ip("192.0.2.2"), by: THEIRS }));
    assert_eq!(contact(&it), Contact::Heard, "it may still react");
    it.now = it.core.poll_timeout().expect("it is waited for");
    it.after(Input::Time);
    assert_eq!(contact(&it), Contact::Unheard);
    it.now += Duration::from_mins(4);
    it.after(Input::Time);
    assert_eq!(contact(&it), Contact::Unheard);
    it.now += Duration::from_mins(1);
    it.after(Input::Time);
    assert_eq!(contact(&it), Contact::Heard, "it may hear us by now");
}

#[test]
fn who_asks_for_what_is_announced_here_and_has_not_seen_more_is_asked_the_same() {
    let mut it = seen_up_to(7);
    it.after(asked(6, "192.0.2.2"));
    assert_eq!(told_disputes(&it), [("n2".into(), "192.0.2.2".into())]);
    let mut it = seen_up_to(7);
    it.after(asked(6, "192.0.2.1"));
    assert_eq!(told_disputes(&it), [], "it announces that");
}

/// n1 is excluded, so 192.0.2.2 falls to n2.
#[test]
fn where_nobody_answers_for_what_has_moved_to_a_peer_it_is_asked_to_give_way() {
    let excluded = || {
        let (name, node) = node("n1");
        let labels = Labels::from([(placement::EXCLUDE_LABEL.into(), String::new())]);
        Input::Nodes(one(name, node.map(|node| Node { labels, ..node })))
    };
    for silent in [true, false] {
        let mut it = seen_up_to(7);
        assert!(it.after(excluded()).is_empty());
        let ask = it.ports.values().next().expect("eth0").watched[&ip("192.0.2.2")];
        assert_eq!(ask, it.now + Duration::from_secs(1));
        let vip = ip("192.0.2.2");
        let report = if silent { Report::Silent { vip } } else { Report::Answered { vip, by: THEIRS } };
        it.now = ask;
        it.after(Input::Port("eth0".into(), report));
        it.now += Duration::from_millis(300);
        it.after(Input::Time);
        assert_eq!(told_disputes(&it).len(), usize::from(silent));
        assert_eq!(it.ports.values().next().expect("eth0").watched, BTreeMap::new());
    }
}

#[test]
fn nothing_is_watched_for_at_the_start() {
    let mut it = fixture();
    it.all(lists());
    assert_eq!(it.ports.values().next().expect("eth0").watched, BTreeMap::new());
}

#[test]
fn who_has_given_an_address_up_does_not_tell_that_nobody_announces_it() {
    let told = |given_up: bool| {
        let mut it = seen_up_to(7);
        it.after(members(&["n1"]));
        if given_up {
            it.after(members(&["n1", "n2"]));
            it.after(asked(8, "192.0.2.1"));
            it.after(asked(8, "192.0.2.2"));
        }
        it.outputs.clear();
        // By what n1 knows, n2 has no right to them.
        it.after(Input::Nodes(one("n2".into(), excluded("n2"))));
        if !given_up {
            it.after(Input::Nodes(one("n1".into(), excluded("n1"))));
        }
        it.now += Duration::from_secs(6);
        it.after(Input::Time);
        it.told().into_iter().filter(|reason| *reason == "notAnnounced").count()
    };
    assert_eq!((told(true), told(false)), (0, 2));
}

fn excluded(name: &str) -> Option<Node> {
    let labels = Labels::from([(placement::EXCLUDE_LABEL.into(), String::new())]);
    node(name).1.map(|node| Node { labels, ..node })
}

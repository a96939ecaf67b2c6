//! A node that hears nobody, or does not reach the API server.

use super::*;
use crate::cut_off::{CutOff, Reach};

fn wait(it: &mut Fixture, seconds: u64) {
    it.now += Duration::from_secs(seconds);
    it.after(Input::Time);
}

/// n1 hears n2 no more, whose node goes on as the API server has it.
fn alone() -> Fixture {
    let mut it = complete();
    it.after(seen(n2_tells(told(&[THEIRS], &[]))));
    it.after(Input::ReadyNodes(["n1", "n2"].map(NodeName::from).into()));
    it.after(members(&["n1"]));
    it
}

fn held(vip: &str) -> Input {
    Input::Port("eth0".into(), Report::Held { vip: ip(vip), by: THEIRS })
}

const LOST: Output = Output::Reach(CutOff::Peers, Reach::Lost);
const REACHED: Output = Output::Reach(CutOff::Peers, Reach::Reached);

#[test]
fn who_hears_nobody_says_that_it_announces_only_what_the_lan_leaves_to_it() {
    let mut it = alone();
    assert_eq!((it.told(), it.reported()), (vec![], vec!["two".to_owned()]));
    it.after(held("192.0.2.1"));
    wait(&mut it, 1);
    assert_eq!((it.told(), it.reported()), (vec!["peerUnheard"], vec!["two".to_owned()]));
}

#[test]
fn who_hears_nobody_though_a_peer_answers_on_the_lan_is_not_ready_until_it_hears_somebody() {
    let mut it = alone();
    it.after(held("192.0.2.1"));
    wait(&mut it, 1);
    assert!(!it.said(&LOST));
    wait(&mut it, 1);
    assert!(it.said(&LOST));
    assert_eq!(it.core.status().gossip.trouble.as_deref(), Some(CutOff::Peers.name()));
    it.after(members(&["n1", "n2"]));
    assert!(it.said(&REACHED));
}

#[test]
fn who_hears_nobody_though_nodes_go_on_is_not_ready_after_a_minute_unless_they_are_gone() {
    for gone in [false, true] {
        let mut it = alone();
        wait(&mut it, 50);
        if gone {
            it.after(Input::ReadyNodes(["n1".into()].into()));
        }
        wait(&mut it, 11);
        assert_eq!(it.said(&LOST), !gone);
    }
    let mut it = alone();
    it.after(peers(&[1]));
    wait(&mut it, 61);
    assert!(!it.said(&LOST), "no other speaker is listed");
    let mut it = alone();
    it.after(members(&["n1", "n3"]));
    wait(&mut it, 61);
    assert!(!it.said(&LOST), "n3 is heard");
}

#[test]
fn nobody_is_told_that_no_node_announces_a_service_by_who_may_be_cut_off() {
    let mut it = alone();
    let (key, local) = service("local", "192.0.2.7");
    let local = local.map(|it| Service { traffic_policy: TrafficPolicy::Local, ..it });
    it.all([
        Input::Services(one(key, local)),
        Input::Endpoints(one(endpoints("local").0, endpoints("local").1)),
    ]);
    wait(&mut it, 20);
    assert!(!it.told().contains(&"notAnnounced"), "n3, where its endpoint is, may well announce it");
    assert!(it.core.poll_timeout().is_none_or(|at| at > it.now), "nothing is due that is not done");
    it.after(Input::Advertisements(one("ad".into(), None)));
    wait(&mut it, 6);
    assert_eq!(it.told(), ["notAnnounced"; 3], "that is so whoever lives");
    let mut it = complete();
    let (key, local) = service("local", "192.0.2.7");
    let local = local.map(|it| Service { traffic_policy: TrafficPolicy::Local, ..it });
    it.all([
        Input::Services(one(key, local)),
        Input::Endpoints(one(endpoints("local").0, endpoints("local").1)),
    ]);
    wait(&mut it, 6);
    assert_eq!(it.told(), ["notAnnounced"], "n2 is heard");
}

#[test]
fn who_does_not_reach_the_api_server_is_not_ready_after_a_while() {
    let mut it = complete();
    it.after(Input::ApiReachable(false));
    wait(&mut it, 29);
    assert!(!it.said(&Output::Reach(CutOff::Api, Reach::Lost)));
    wait(&mut it, 1);
    assert!(it.said(&Output::Reach(CutOff::Api, Reach::Lost)));
    wait(&mut it, 300);
    assert!(it.said(&Output::Reach(CutOff::Api, Reach::GivenUp)));
    it.after(Input::ApiReachable(true));
    assert!(it.said(&Output::Reach(CutOff::Api, Reach::Reached)));
}

#[test]
fn a_gossip_that_comes_and_goes_makes_few_events() {
    let mut it = alone();
    let mut told = 0;
    for _ in 0..60 {
        for input in [held("192.0.2.1"), seen(n2_tells(told_by_n2())), members(&["n1"])] {
            it.after(input);
            told += it.told().len();
            wait(&mut it, 3);
            told += it.told().len();
        }
    }
    assert!(told <= 20, "{told} events in nine minutes");
}

fn told_by_n2() -> members::Profile {
    told(&[THEIRS], &[])
}

//! Interfaces, foreign hosts, and peers that are heard on the LAN alone.

use layer2::MOST_HOSTS;

use super::*;

#[test]
fn link_loss_mutes_only_the_interface_of_the_gossip_until_the_peers_are_heard() {
    let mut it = complete();
    it.after(Input::GossipInterface(Some("eth0".into())));
    let change = |arp| interfaces(&[link("eth0", OURS, arp), link("eth1", THEIRS, Ok(()))]);
    let policies = |it: &Fixture| -> Vec<(String, TransmitPolicy)> {
        it.ports.iter().map(|(port, orders)| (port.name.to_string(), orders.transmit_policy)).collect()
    };
    let of = |name: &str, transmit_policy| (name.to_owned(), transmit_policy);
    it.after(change(Err(Unfit::NoCarrier)));
    assert!(it.said(&Output::Gossip(Gossip::SetLink(LinkState::Down))));
    it.after(seen(View::default()));
    assert_eq!(policies(&it), [of("eth1", TransmitPolicy::Normal)]);
    it.after(change(Ok(())));
    assert!(it.said(&Output::Gossip(Gossip::SetLink(LinkState::Up))));
    it.after(seen(View::default()));
    assert_eq!(
        policies(&it),
        [of("eth0", TransmitPolicy::Muted), of("eth1", TransmitPolicy::Normal)],
        "nobody was heard yet"
    );
    it.after(members(&["n1", "n2"]));
    assert_eq!(policies(&it), [of("eth0", TransmitPolicy::Normal), of("eth1", TransmitPolicy::Normal)]);
    it.after(seen(View::default()));
    assert_eq!(
        policies(&it),
        [of("eth0", TransmitPolicy::Muted), of("eth1", TransmitPolicy::Muted)],
        "the process paused"
    );
}

#[test]
fn an_address_that_a_foreign_host_has_is_not_reported_as_announced() {
    let mut it = complete();
    let (key, new) = service("new", "192.0.2.6");
    it.all([Input::Services(one(key, new)), Input::Endpoints(list([endpoints("new")]))]);
    let vip = ip("192.0.2.6");
    assert_eq!(it.order("192.0.2.6").begin, Begin::Probe);
    assert_eq!(it.reported(), ["two"], "the LAN has not been asked yet");
    it.after(Input::Port("eth0".into(), Report::Taken { vip, by: FOREIGN }));
    it.now += Duration::from_secs(1);
    it.after(Input::Time);
    assert_eq!(it.told(), ["addressConflict"]);
    assert_eq!(it.reported(), ["two"]);
    it.after(Input::Port("eth0".into(), Report::Free { vip }));
    assert_eq!(it.told(), ["nodeAssigned"]);
    assert_eq!(it.reported(), ["new", "two"]);
    assert_eq!(it.order("192.0.2.6").begin, Begin::Ask, "an interface that comes later asks");
}

#[test]
fn a_foreign_host_that_claims_an_address_is_told_of_once_on_its_service() {
    let mut it = complete();
    let claim = || Input::Port("eth0".into(), Report::Claimed { vip: ip("192.0.2.2"), by: FOREIGN });
    it.after(claim());
    assert_eq!(it.told(), ["addressConflict"]);
    it.now += Duration::from_secs(10);
    it.after(claim());
    assert!(it.told().is_empty());
}

#[test]
fn a_conflict_is_told_to_the_peers() {
    let mut it = complete();
    it.after(Input::Port("eth0".into(), Report::Taken { vip: ip("192.0.2.2"), by: FOREIGN }));
    assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.2"])));
    it.after(Input::Port("eth0".into(), Report::Free { vip: ip("192.0.2.2") }));
    assert!(it.said(&own(&[("eth0", OURS)], &[])));
}

#[test]
fn the_first_conflicts_are_told_at_once_and_those_that_follow_together() {
    let mut it = complete();
    it.after(members(&["n1"]));
    let held = |vip| Input::Port("eth0".into(), Report::Held { vip: ip(vip), by: THEIRS });
    let free = |vip| Input::Port("eth0".into(), Report::Free { vip: ip(vip) });
    let start = it.now;
    for _ in 0..2 {
        it.after(held("192.0.2.1"));
        assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.1"])));
        it.after(free("192.0.2.1"));
        assert!(it.said(&own(&[("eth0", OURS)], &[])));
    }
    for vip in ["192.0.2.1", "192.0.2.2"] {
        it.after(held(vip));
        assert!(!it.outputs.iter().any(|output| matches!(output, Output::Gossip(Gossip::SetProfile(_)))));
    }
    it.now = it.core.poll_timeout().expect("it is told soon");
    assert_eq!(it.now, start + Duration::from_millis(200));
    it.after(Input::Time);
    assert!(it.said(&own(&[("eth0", OURS)], &["192.0.2.1", "192.0.2.2"])));
}

#[test]
fn of_two_peers_that_do_not_hear_each_other_the_better_ranked_goes_on() {
    let mut it = complete();
    let both = n2_tells(told(&[THEIRS], &[]));
    it.after(seen(both.clone()));
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    let rival = |vip| Input::Port("eth0".into(), Report::Rival { vip: ip(vip), by: THEIRS });
    it.all([rival("192.0.2.1"), rival("192.0.2.2")]);
    assert_eq!(it.order("192.0.2.1").stance, Stance::Yields);
    assert!(matches!(it.order("192.0.2.2").stance, Stance::Insists(_)));
    it.now += Duration::from_secs(1);
    it.after(Input::Time);
    assert_eq!(it.told(), ["peerUnheard"]);
    it.after(seen(both));
    assert_eq!(it.order("192.0.2.2").stance, Stance::Alone, "it is heard again");
}

#[test]
fn an_address_is_left_to_a_peer_only_on_the_interface_where_that_one_answers() {
    let mut it = complete();
    let other = MacAddr([2, 0, 0, 0, 1, 1]);
    let both_links = interfaces(&[link("eth0", OURS, Ok(())), link("eth1", other, Ok(()))]);
    it.after(both_links);
    let both = n2_tells(told(&[THEIRS], &[]));
    it.after(seen(both));
    it.after(members(&["n1"]));
    it.after(Input::Port("eth1".into(), Report::Rival { vip: ip("192.0.2.1"), by: THEIRS }));
    let stances = |it: &Fixture| -> Vec<Stance> {
        it.ports.values().map(|orders| orders.vips[&ip("192.0.2.1")].stance).collect()
    };
    assert_eq!(stances(&it), [Stance::Alone, Stance::Yields]);
    it.after(Input::Port("eth0".into(), Report::Free { vip: ip("192.0.2.1") }));
    assert_eq!(stances(&it), [Stance::Alone, Stance::Yields]);
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", other, Ok(()))]));
    assert_eq!(stances(&it), [Stance::Alone; 2], "it may be plugged in elsewhere");
}

/// It may have started anew, and not know our name any more; so it goes by what both can see.
#[test]
fn a_peer_that_goes_on_though_it_should_yield_by_rank_is_judged_by_ethernet_address() {
    let lower = MacAddr([0; 6]);
    for (theirs, goes_on) in [(THEIRS, true), (lower, false)] {
        let mut it = complete();
        let both = n2_tells(told(&[theirs], &[]));
        it.after(seen(both));
        it.after(members(&["n1"]));
        let rival = || Input::Port("eth0".into(), Report::Rival { vip: ip("192.0.2.2"), by: theirs });
        let insists = |it: &Fixture| matches!(it.order("192.0.2.2").stance, Stance::Insists(_));
        it.after(rival());
        assert!(insists(&it), "n1 ranks first");
        it.now += Duration::from_millis(150);
        it.after(rival());
        assert_eq!(insists(&it), goes_on);
        it.now += Duration::from_secs(10);
        it.after(rival());
        assert!(insists(&it), "that was another dispute");
    }
}

/// Neither knows the name of the other.
#[test]
fn of_two_peers_that_never_heard_each_other_the_one_with_the_lower_ethernet_address_goes_on() {
    let rival = |by| Input::Port("eth0".into(), Report::Rival { vip: ip("192.0.2.2"), by });
    let lower = MacAddr([0; 6]);
    // Also where each hears nobody else.
    for heard in [&["n1", "n2"][..], &["n1"]] {
        for (by, goes_on) in [(THEIRS, true), (lower, false)] {
            let mut it = complete();
            it.after(peers(&[1, 2, 3]));
            it.after(members(heard));
            it.after(rival(by));
            let insists = matches!(it.order("192.0.2.2").stance, Stance::Insists(_));
            assert_eq!(insists, goes_on, "{heard:?}, {by}");
        }
    }
}

#[test]
fn a_host_that_answers_under_ever_new_names_where_a_peer_was_never_heard_fills_no_memory() {
    let mut it = complete();
    it.after(peers(&[1, 2, 3]));
    it.after(members(&["n1", "n2"]));
    for number in 0..100 {
        it.now += Duration::from_millis(1);
        let by = MacAddr([2, 0, 0, 0, 1, number]);
        it.after(Input::Port("eth0".into(), Report::Rival { vip: ip("192.0.2.2"), by }));
    }
    let rivals = &it.core.wanted.rivals[&ip("192.0.2.2")];
    assert_eq!(rivals.len(), MOST_HOSTS);
    assert!(rivals.contains_key(&("eth0".into(), MacAddr([2, 0, 0, 0, 1, 99]))), "the latest is known");
}

#[test]
fn an_address_moves_away_from_an_interface_that_fails() {
    let both = || interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Ok(()))]);
    let failed = || interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Err(Unfit::NoCarrier))]);
    let mut it = complete();
    assert_eq!(it.all([both(), seen(able(&["eth0", "eth1"]))]), ["192.0.2.2"]);
    assert!(it.after(failed()).is_empty(), "n2 can announce on both");
    assert_eq!(it.after(both()), ["192.0.2.2"]);
    assert_eq!(it.all([seen(able(&["eth0"])), failed()]), ["192.0.2.2"], "n2 has no eth1 either");
}

#[test]
fn nothing_is_left_to_others_that_are_not_heard_for_an_interface_that_fails() {
    let mut it = complete();
    let links = |eth1| [link("eth0", OURS, Ok(())), link("eth1", FOREIGN, eth1)];
    it.after(Input::GossipInterface(Some("eth1".into())));
    it.all([interfaces(&links(Ok(()))), seen(able(&["eth0", "eth1"]))]);
    assert_eq!(it.after(interfaces(&links(Err(Unfit::NoCarrier)))), ["192.0.2.2"]);
    assert_eq!(it.after(interfaces(&links(Ok(())))), ["192.0.2.2"]);
}

#[test]
fn a_gossip_that_goes_through_another_interface_is_cut_off_or_not_by_that_one() {
    let mut it = complete();
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Err(Unfit::NoCarrier))]));
    let link_is = |it: &Fixture, state| it.said(&Output::Gossip(Gossip::SetLink(state)));
    it.after(Input::GossipInterface(Some("eth1".into())));
    assert!(link_is(&it, LinkState::Down));
    it.after(Input::GossipInterface(Some("eth0".into())));
    assert!(link_is(&it, LinkState::Up));
}

#[test]
fn an_address_falls_only_to_a_node_that_has_an_interface_for_it() {
    let mut it = complete();
    let on_eth1 = |name: &str| {
        let interfaces = Interfaces::only(["eth1".into()]);
        (name.into(), Some((Advertisement { interfaces, ..Advertisement::new(name) }, vec![])))
    };
    it.after(Input::Advertisements(list([on_eth1("ad")])));
    it.after(interfaces(&[link("eth1", OURS, Ok(()))]));
    assert_eq!(it.after(seen(able(&["eth0"]))), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.after(seen(able(&["eth1"]))), ["192.0.2.2"]);
    assert!(it.after(interfaces(&[link("eth0", OURS, Ok(()))])).is_empty());
    assert!(it.reported().is_empty());
}

fn with_prefix(name: &str, mac: MacAddr, arp: Result<(), Unfit>, address: &str) -> Link {
    let prefixes = placement::Prefix::of(ip(address), 24).into_iter().collect();
    Link { lan: Lan { prefixes, ..Lan::default() }, ..link(name, mac, arp) }
}

#[test]
fn an_interface_of_another_lan_that_fails_moves_nothing() {
    for (eth1_is, moves) in [("198.51.100.1", false), ("192.0.2.77", true)] {
        let links = |eth1| {
            let eth0 = with_prefix("eth0", OURS, Ok(()), "192.0.2.201");
            interfaces(&[eth0, with_prefix("eth1", FOREIGN, eth1, eth1_is)])
        };
        let mut it = complete();
        it.all([links(Ok(())), seen(able(&["eth0", "eth1"]))]);
        assert_eq!(it.after(links(Err(Unfit::NoCarrier))).is_empty(), moves, "{eth1_is}");
    }
}

#[test]
fn an_address_stays_away_from_an_interface_that_fails_again_and_again_unless_nobody_else_can() {
    let links = |eth1| interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, eth1)]);
    let mut it = complete();
    it.all([links(Ok(())), seen(able(&["eth0", "eth1"]))]);
    let mut moves = 0;
    let mut here = true;
    for _ in 0..12 {
        for eth1 in [Err(Unfit::NoCarrier), Ok(())] {
            let is_here = !it.after(links(eth1)).is_empty();
            assert!(eth1.is_ok() || !is_here, "the first node is left at once");
            moves += u32::from(std::mem::replace(&mut here, is_here) != is_here);
            it.now += Duration::from_millis(200);
        }
    }
    assert_eq!((moves, here), (3, false));
    assert_eq!(it.after(seen(able(&["eth0"]))), ["192.0.2.2"], "n2 has no eth1 any more");
    assert!(it.after(seen(able(&["eth0", "eth1"]))).is_empty());
    it.now = it.core.memory.deadline().expect("it is steady then");
    assert_eq!(it.after(Input::Time), ["192.0.2.2"]);
}

#[test]
fn an_interface_that_failed_often_is_no_worse_once_another_one_is_found_on_its_lan() {
    let links = |eth1| interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, eth1)]);
    let mut it = complete();
    it.all([links(Ok(())), seen(able(&["eth0", "eth1"]))]);
    for eth1 in [Err(Unfit::NoCarrier), Ok(()), Err(Unfit::NoCarrier), Ok(())] {
        it.now += Duration::from_millis(200);
        it.after(links(eth1));
    }
    assert!(it.after(Input::Time).is_empty(), "eth1 is on trial");
    assert_eq!(it.after(Input::Port("eth1".into(), Report::SameLan { by: OURS })), ["192.0.2.2"]);
}

#[test]
fn a_peer_that_goes_on_answering_is_told_of_once() {
    let mut it = complete();
    it.after(seen(n2_tells(told(&[THEIRS], &[]))));
    let answers = || Input::Port("eth0".into(), Report::PeerAnswers { vip: ip("192.0.2.2"), by: THEIRS });
    it.after(answers());
    assert_eq!(it.told(), ["peerAnswers"]);
    it.after(answers());
    assert!(it.told().is_empty());
}

#[test]
fn peers_and_foreign_hosts_that_answer_by_turns_are_told_of_within_the_budget_of_the_service() {
    let vip = ip("192.0.2.2");
    let by = |number| MacAddr([2, 0, 0, 0, 1, number]);
    for report in [|vip, by| Report::PeerAnswers { vip, by }, |vip, by| Report::Claimed { vip, by }] {
        let mut it = complete();
        let mut told = 0;
        for number in 0..60 {
            it.after(Input::Port("eth0".into(), report(vip, by(number))));
            told += it.told().len();
            it.now += Duration::from_secs(1);
        }
        assert_eq!(told, 5, "the sixth was for its announcement");
    }
}

/// The path from n2 is lost, and others say what it tells.
#[test]
fn where_a_peer_can_announce_is_believed_of_others_and_nothing_else() {
    let on = |name: &str, interface: &str| {
        let interfaces = Interfaces::only([interface.into()]);
        (name.into(), Some((Advertisement { interfaces, ..Advertisement::new(name) }, vec![])))
    };
    let mut it = complete();
    it.after(Input::Advertisements(list([on("ad", "eth1")])));
    it.after(interfaces(&[link("eth1", OURS, Ok(()))]));
    let heard = able(&["eth1"]);
    assert_eq!(it.after(seen(heard.clone())), ["192.0.2.2"]);
    let unable = NodeProfile {
        macs: [FOREIGN.0].into(),
        abilities: Abilities::Known([].into()),
        conceded: [ip("192.0.2.2")].into(),
        ..NodeProfile::default()
    };
    let relayed = [("n2".into(), crate::peers::profile(&unable))].into();
    assert_eq!(it.after(seen(View { relayed, ..heard.clone() })), ["192.0.2.1", "192.0.2.2"]);
    let known = it.known_macs();
    assert_eq!(known.contacts.get(&THEIRS), Some(&Contact::Unheard), "the LAN is asked");
    assert!(!known.contacts.contains_key(&FOREIGN), "nobody is vouched for by others");
    assert_eq!(it.after(seen(heard)), ["192.0.2.2"], "it speaks itself again");
}

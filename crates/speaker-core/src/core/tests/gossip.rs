//! What the members are, and what follows for what is announced from here.

use super::*;

#[test]
fn addresses_move_as_members_come_and_go() {
    let mut it = complete();
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[test]
fn all_interfaces_are_muted_until_the_peers_are_heard() {
    let mut it = complete();
    assert_eq!(it.transmit_policy(), TransmitPolicy::Normal);
    it.after(seen(View::default()));
    assert_eq!(it.transmit_policy(), TransmitPolicy::Muted);
    it.after(members(&["n1", "n2"]));
    assert_eq!(it.transmit_policy(), TransmitPolicy::Normal);
}

#[test]
fn a_view_that_is_not_settled_is_no_ground_to_act_on() {
    let mut it = complete();
    assert_eq!(it.after(seen(view(&["n1"], false))), ["192.0.2.2"]);
}

#[test]
fn the_gossip_is_told_of_the_other_speakers_and_of_none_as_well() {
    let mut it = fixture();
    let said = |peers: &[(&str, u8)]| {
        let peer = |(name, last): &(&str, u8)| ((*name).into(), ([192, 0, 2, *last], 7946).into());
        Output::Gossip(Gossip::SetPeers(peers.iter().map(peer).collect()))
    };
    it.after(peers(&[1, 2]));
    assert!(it.said(&said(&[("n2", 202)])));
    it.after(peers(&[1, 2]));
    assert!(!it.said(&said(&[("n2", 202)])), "that is known");
    it.after(peers(&[1]));
    assert!(it.said(&said(&[])));
}

#[test]
fn a_peer_that_may_have_announced_all_along_is_overruled_by_a_new_takeover() {
    let mut it = complete();
    let before = it.orders();
    it.after(happened(Event::Joined("n2".into()), view(&["n1", "n2"], true)));
    assert_eq!(it.orders(), before);
    it.after(happened(Event::Returned("n2".into()), view(&["n1", "n2"], true)));
    assert_ne!(it.orders(), before);
    assert_eq!(it.orders().len(), 1);
}

#[test]
fn however_often_one_is_held_dead_or_others_come_back_the_lan_is_told_a_few_times_and_once_more_at_the_end() {
    for event in [Event::PresumedDead, Event::Returned("n2".into())] {
        let mut it = complete();
        let mut orders = vec![];
        let both = || view(&["n1", "n2"], true);
        it.after(members(&["n1", "n2"]));
        let before = it.order("192.0.2.2");
        it.after(happened(event.clone(), both()));
        assert_ne!(it.order("192.0.2.2"), before, "the first is told at once");
        for _ in 0..25_000 {
            it.now += Duration::from_millis(1);
            it.after(happened(event.clone(), both()));
            orders.push(it.order("192.0.2.2"));
        }
        orders.dedup();
        assert!((12..=16).contains(&orders.len()), "{}", orders.len());
        it.now += Duration::from_millis(1);
        it.after(happened(event, both()));
        let last = it.order("192.0.2.2");
        let due = it.core.poll_timeout().expect("the last is told as well");
        assert!(due <= it.now + Duration::from_secs(3));
        it.now = due;
        it.after(Input::Time);
        assert_ne!(it.order("192.0.2.2"), last);
        let last = it.order("192.0.2.2");
        it.now += Duration::from_hours(1);
        it.after(Input::Time);
        assert_eq!(it.order("192.0.2.2"), last, "and then no more");
    }
}

#[test]
fn going_and_coming_back_is_a_new_takeover_even_when_both_come_together() {
    let mut it = complete();
    let before = it.orders();
    assert_eq!(it.all([members(&["n2"]), members(&["n1", "n2"])]), ["192.0.2.2"]);
    assert_ne!(it.orders(), before);

    let mut it = complete();
    it.after(members(&["n1"]));
    let before = it.order("192.0.2.1");
    it.all([members(&["n1", "n2"]), members(&["n1"])]);
    assert_ne!(it.order("192.0.2.1"), before);
}

#[test]
fn nothing_is_announced_before_this_node_is_a_member() {
    let mut it = fixture();
    let mut inputs = Vec::from(lists());
    inputs.pop();
    it.all(inputs);
    assert!(it.after(members(&["n2"])).is_empty());
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"]);
}

#[test]
fn the_ethernet_addresses_of_speakers_are_made_known() {
    let mut it = complete();
    assert_eq!(it.known_macs(), known(&[], 1));
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", FOREIGN, Ok(()))]));
    assert!(it.said(&own(&[("eth0", OURS), ("eth1", FOREIGN)], &[])));
    it.after(interfaces(&[link("eth0", OURS, Ok(()))]));
    let both = n2_tells(told(&[THEIRS], &[]));
    it.after(seen(both));
    assert_eq!(it.known_macs(), known(&[(THEIRS, Contact::Heard)], 0));
    it.after(members(&["n1"]));
    assert_eq!(
        it.known_macs(),
        known(&[(THEIRS, Contact::Unheard)], 0),
        "it may be cut off, and speak all the same"
    );
    it.after(Input::Nodes(one("n2".into(), None)));
    assert_eq!(it.known_macs(), known(&[], 0), "its node is gone");
}

#[test]
fn whoever_cannot_hear_its_peers_takes_none_for_heard() {
    let mut it = complete();
    let both = n2_tells(told(&[THEIRS], &[]));
    it.after(seen(both));
    let contact = |it: &Fixture| it.ordered_macs().contacts[&THEIRS];
    assert_eq!(contact(&it), Contact::Heard);
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert_eq!(contact(&it), Contact::Unheard);
    it.after(Input::Trouble(None));
    assert_eq!(contact(&it), Contact::Heard);
}

#[test]
fn nothing_is_taken_over_while_the_gossip_cannot_work() {
    let mut it = complete();
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert!(it.said(&Output::Impaired(Impairment::GossipAddress, Impact::NotReady)));
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.2"]);
    assert_eq!(it.after(Input::Trouble(None)), ["192.0.2.1", "192.0.2.2"]);
    assert!(it.said(&Output::Impaired(Impairment::GossipAddress, Impact::None)));

    let mut it = fixture();
    it.after(Input::Trouble(Some(Trouble::Unbound)));
    assert!(it.all(lists()).is_empty() && !it.said(&Output::Loaded), "nor at the start");
    assert_eq!(it.after(Input::Trouble(None)), ["192.0.2.2"]);
}

#[test]
fn whose_reports_are_left_over_is_known_only_while_the_others_are_heard() {
    let left_over = |it: &mut Fixture, input: Input| {
        it.after(input);
        it.now += Duration::from_secs(1);
        it.after(Input::Time);
        let found = it.outputs.iter().find_map(|output| match output {
            Output::LeftOver(left_over) => Some(left_over.clone()),
            _ => None,
        });
        it.after(Input::LeftOver(None));
        found.map(|it| (it.services.len(), it.alive.len()))
    };
    let mut it = complete();
    assert_eq!(left_over(&mut it, Input::Time), Some((1, 2)), "what was there before this speaker");
    assert_eq!(left_over(&mut it, Input::Trouble(Some(Trouble::Unbound))), None);
    assert_eq!(left_over(&mut it, members(&["n1"])), None, "who knows whether n2 is dead");
    assert_eq!(left_over(&mut it, seen(View { away: ["n2".into()].into(), ..view(&["n1"], true) })), None);
    it.after(Input::Trouble(None));
    assert_eq!(left_over(&mut it, spoken("192.0.2.1")), Some((1, 2)), "one came, and n2 is back in a moment");
    assert_eq!(left_over(&mut it, seen(view(&["n1"], false))), None, "nothing is settled");
    assert_eq!(left_over(&mut it, members(&["n1"])), Some((2, 1)));
    it.after(Input::Stop);
    assert_eq!(left_over(&mut it, members(&["n3"])), None);
}

/// What this node last told that it keeps, if it told anything.
fn told_kept(it: &Fixture) -> Option<Vec<String>> {
    let told = it.outputs.iter().rev().find_map(|output| match output {
        Output::Gossip(Gossip::SetProfile(profile)) => Some(NodeProfile::decode(profile.as_bytes())),
        _ => None,
    });
    Some(told?.kept.iter().map(ToString::to_string).collect())
}

#[test]
fn without_failback_what_was_taken_over_is_told_and_stays() {
    let mut it = fixture_with(Spread::ByHash, Failback::Never);
    it.all(lists());
    it.all([spoken("192.0.2.2")]);
    it.now += Duration::from_secs(1);
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(told_kept(&it), None, "the LAN is asked");
    it.after(Input::Port("eth0".into(), Report::Free { vip: ip("192.0.2.1") }));
    assert_eq!(told_kept(&it), Some(vec!["192.0.2.1".to_owned()]));
    assert_eq!(it.core.status(it.now).kept, [ip("192.0.2.1")]);
    it.now += Duration::from_secs(1);
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.1", "192.0.2.2"], "n2 is back");
    it.now += Duration::from_secs(1);
    it.after(Input::Nodes(one("n2".into(), None)));
    it.now += Duration::from_secs(1);
    it.after(Input::Time);
    assert!(it.core.kept().is_empty(), "there is nobody to keep it from");
}

#[test]
fn without_failback_nothing_is_kept_that_the_node_before_goes_on_answering_for() {
    let mut it = fixture_with(Spread::ByHash, Failback::Never);
    it.all(lists());
    let (vip, theirs) = (ip("192.0.2.1"), MacAddr([2, 0, 0, 0, 0, 0]));
    it.after(seen(n2_tells(told(&[theirs], &[]))));
    it.now += Duration::from_secs(1);
    assert_eq!(it.after(members(&["n1"])), ["192.0.2.1", "192.0.2.2"]);
    let on_eth0 = |report| Input::Port("eth0".into(), report);
    it.after(on_eth0(Report::Held { vip, by: theirs }));
    assert!(it.core.kept().is_empty(), "n2 is cut off, and has it");
    it.now += Duration::from_secs(1);
    assert_eq!(it.after(members(&["n1", "n2"])), ["192.0.2.2"], "n2 is back");

    it.now += Duration::from_secs(1);
    it.after(members(&["n1"]));
    let mut kept_after = |report| {
        it.after(on_eth0(report));
        it.now += Duration::from_secs(1);
        it.after(Input::Time);
        it.core.kept().iter().copied().collect::<Vec<_>>()
    };
    assert_eq!(kept_after(Report::Free { vip }), [vip]);
    assert_eq!(kept_after(Report::Rival { vip, by: theirs }), [vip], "it goes before n2");
    let kept = kept_after(Report::Rival { vip, by: theirs });
    assert!(kept.is_empty(), "n2 is not impressed, and has the lesser address");
}

#[test]
fn what_another_keeps_stays_there_until_it_is_lost_or_its_node_is_removed() {
    let kept = |vips: &[&str]| {
        let kept = vips.iter().map(|vip| ip(vip)).collect();
        n2_tells(crate::peers::profile(&NodeProfile {
            macs: [THEIRS.0].into(),
            kept,
            ..NodeProfile::default()
        }))
    };
    let start = |failback| {
        let mut it = fixture_with(Spread::ByHash, failback);
        it.all(lists());
        it
    };
    let mut it = start(Failback::Always);
    assert_eq!(it.after(seen(kept(&["192.0.2.2"]))), ["192.0.2.2"], "that counts for nothing");
    let mut it = start(Failback::Never);
    assert!(it.after(seen(kept(&["192.0.2.2"]))).is_empty());
    assert_eq!(it.after(seen(kept(&[]))), ["192.0.2.2"]);
    assert!(it.after(seen(kept(&["192.0.2.2"]))).is_empty());
    it.after(Input::Nodes(one("n2".into(), None)));
    it.after(Input::Nodes(Changes { each: vec![node("n2")], complete: false }));
    assert_eq!(it.after(Input::Time), ["192.0.2.2"], "what the former node kept is forgotten");
}

#[test]
fn what_one_keeps_that_is_not_heard_is_known_by_the_word_of_others() {
    let mut it = fixture_with(Spread::ByHash, Failback::Never);
    it.all(lists());
    let kept = [ip("192.0.2.2")].into();
    let profile = NodeProfile { macs: [THEIRS.0].into(), kept, ..NodeProfile::default() };
    let relayed = View {
        relayed: [("n2".into(), crate::peers::profile(&profile))].into(),
        ..view(&["n1", "n2"], true)
    };
    assert!(it.after(seen(relayed)).is_empty());
}

//! What the LAN says when an address is taken over, and what is made of peers that answer.

use super::*;

fn asking(contact: Contact) -> Bench<Arp> {
    let mut bench = Bench::new(ARP);
    bench.port.set_known_macs(known_macs(THEIRS, contact), bench.now);
    bench.order(&[(V4, 1, Begin::Ask)]);
    bench
}

fn here(mac: MacAddr) -> [u8; 42] {
    ArpFrame::reply(mac, V4, Host { mac: OURS, ip: Ipv4Addr::UNSPECIFIED }).emit()
}

#[test]
fn a_takeover_asks_the_lan_twice_and_announces_when_nobody_answers() {
    let mut bench = asking(Contact::Unheard);
    bench.advance(ms(79));
    assert_eq!(bench.times(Purpose::Probe), [0, 40]);
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::NotAnnounced));
    bench.advance(ms(1));
    assert_eq!(bench.times(Purpose::Takeover), [80, 80]);
}

#[test]
fn an_unheard_peer_that_answers_keeps_the_address_for_as_long_as_it_does() {
    let (vip, by) = (V4.into(), THEIRS);
    let mut bench = asking(Contact::Unheard);
    assert_eq!(bench.hear(here(THEIRS)), Ok(()));
    bench.advance(ms(2_999));
    assert_eq!((bench.times(Purpose::Probe), bench.reports()), (vec![0], vec![Report::Held { vip, by }]));
    bench.advance(ms(1));
    assert_eq!(bench.hear(here(THEIRS)), Ok(()));
    bench.advance(ms(3_200));
    assert_eq!(bench.times(Purpose::Takeover), [6_080, 6_080], "it is gone");
    assert_eq!(bench.reports().len(), 3, "{:?}", bench.reports());
}

#[test]
fn what_a_peer_held_is_asked_for_at_once_when_that_peer_is_heard() {
    let mut bench = asking(Contact::Unheard);
    assert_eq!(bench.hear(here(THEIRS)), Ok(()));
    bench.advance(ms(500));
    bench.port.set_known_macs(known(THEIRS), bench.now);
    bench.work();
    assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Peer));
    bench.advance(ms(100));
    assert_eq!(bench.times(Purpose::Takeover), [580, 580]);
}

#[test]
fn a_heard_peer_that_answers_is_no_witness() {
    let mut bench = asking(Contact::Heard);
    assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Peer));
    bench.advance(ms(100));
    assert_eq!(bench.times(Purpose::Takeover), [80, 80]);
}

#[test]
fn a_foreign_host_is_not_overruled_by_a_takeover_but_may_be_a_peer_that_was_never_heard() {
    let (vip, by) = (V4.into(), THEIRS);
    for (unseen, expected) in [(0, Report::Taken { vip, by }), (1, Report::Held { vip, by })] {
        let mut bench = Bench::new(ARP);
        bench.port.set_known_macs(KnownMacs { unseen, ..known(PEER) }, bench.now);
        bench.order(&[(V4, 1, Begin::Ask)]);
        assert_eq!(bench.hear(here(THEIRS)), Ok(()));
        bench.advance(ms(2_500));
        assert_eq!((bench.times(Purpose::Takeover), bench.reports()), (vec![], vec![expected]));
    }
}

#[test]
fn a_router_that_answers_for_everything_can_be_overruled() {
    let mut bench = Bench::probing(ARP, V4);
    bench.port.set_overrules(true);
    assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Overruled));
    bench.advance(ms(300));
    assert_eq!(bench.times(Purpose::Takeover).len(), 2);
}

#[test]
fn an_address_that_is_answered_for_already_is_not_asked_for_again() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.order(&[(V4, 2, Begin::Ask)]);
    assert_eq!((bench.times(Purpose::Probe), bench.times(Purpose::Takeover).len()), (vec![], 2));
}

#[test]
fn of_two_peers_that_both_answer_one_yields_and_the_other_insists() {
    let order = |stance| [(V4, Order { takeover: 1, begin: Begin::Announce, stance })].into();
    let rival = || {
        let mut bench = Bench::announcing(ARP, V4);
        bench.port.set_known_macs(known_macs(THEIRS, Contact::Unheard), bench.now);
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
        assert_eq!(bench.reports(), [Report::Rival { vip: V4.into(), by: THEIRS }]);
        assert!(bench.times(Purpose::Defence).is_empty(), "it may be the other that goes on");
        bench
    };
    let mut loser = rival();
    loser.port.set_orders(order(Stance::Yields), loser.now);
    loser.work();
    assert_eq!(loser.hear(arp_request(V4).emit()), Err(Ignored::NotAnnounced));
    loser.advance(ms(3_100));
    assert_eq!(loser.times(Purpose::Takeover), [13_080, 13_080], "nobody answers any more");

    let mut winner = rival();
    winner.port.set_orders(order(Stance::Insists(1)), winner.now);
    winner.work();
    assert_eq!(winner.times(Purpose::Takeover), [10_000, 10_000]);
    assert_eq!(winner.hear(arp_request(V4).emit()), Ok(()));
}

#[test]
fn a_peer_that_is_overruled_is_asked_soon_whether_it_goes_on() {
    for overrules in [false, true] {
        let mut bench = Bench::announcing(ARP, V4);
        bench.port.set_overrules(overrules);
        bench.port.set_known_macs(KnownMacs { unseen: 1, ..known(PEER) }, bench.now);
        let claim = || ArpFrame::gratuitous_request(THEIRS, V4).emit();
        assert_eq!(bench.hear(claim()), Ok(()));
        let insists = Order { takeover: 1, begin: Begin::Announce, stance: Stance::Insists(1) };
        bench.port.set_orders([(V4, insists)].into(), bench.now);
        bench.work();
        bench.advance(ms(20));
        assert_eq!(bench.hear(claim()), Ok(()), "that may have crossed ours");
        let rival = Report::Rival { vip: V4.into(), by: THEIRS };
        let told = |bench: &Bench<Arp>| bench.reports().into_iter().filter(|it| *it == rival).count();
        assert_eq!(told(&bench), 1);
        bench.advance(ms(130));
        assert_eq!(bench.times(Purpose::Probe), [10_150]);
        assert_eq!(bench.hear(here(THEIRS)), Ok(()));
        assert_eq!(told(&bench), 2);
    }
}

#[test]
fn each_of_several_peers_that_answer_is_told_of_at_once() {
    let mut bench = Bench::announcing(ARP, V4);
    let other = MacAddr([2, 0, 0, 0, 0, 4]);
    bench.port.set_known_macs(KnownMacs { unseen: 2, ..known(PEER) }, bench.now);
    for by in [THEIRS, other] {
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(by, V4).emit()), Ok(()));
    }
    assert_eq!(bench.reports(), [THEIRS, other].map(|by| Report::Rival { vip: V4.into(), by }));
}

/// Neither knows the other where both never heard it.
#[test]
fn who_claims_what_is_announced_may_be_a_peer_that_was_never_heard() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_known_macs(KnownMacs { unseen: 1, ..known(PEER) }, bench.now);
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
    bench.advance(ms(1_000));
    assert_eq!(bench.reports(), [Report::Rival { vip: V4.into(), by: THEIRS }]);
    assert!(bench.times(Purpose::Defence).is_empty());
}

#[test]
fn a_router_that_is_overruled_is_no_rival_but_a_station_that_announces_is() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_overrules(true);
    bench.port.set_known_macs(KnownMacs { unseen: 1, ..known(PEER) }, bench.now);
    assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Overruled));
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
    let yields = Order { takeover: 1, begin: Begin::Announce, stance: Stance::Yields };
    bench.port.set_orders([(V4, yields)].into(), bench.now);
    bench.advance(ms(3_010));
    assert_eq!(bench.hear(here(THEIRS)), Ok(()), "it was told of as a rival");
    bench.advance(ms(500));
    assert!(!bench.port.answers(V4));
}

#[test]
fn who_announces_what_is_asked_for_is_no_router_and_keeps_it_where_routers_are_overruled() {
    let mut bench = Bench::new(ARP);
    bench.port.set_overrules(true);
    bench.port.set_known_macs(KnownMacs { unseen: 2, ..known(PEER) }, bench.now);
    bench.order(&[(V4, 1, Begin::Ask)]);
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
    assert_eq!(bench.reports(), [Report::Held { vip: V4.into(), by: THEIRS }]);
    // Another peer is heard for the first time.
    let known = known_macs(PEER, Contact::Heard);
    bench.port.set_known_macs(KnownMacs { unseen: 1, ..known }, bench.now);
    bench.work();
    for _ in 0..5 {
        assert_eq!(bench.hear(here(OTHER)), Err(Ignored::Overruled));
        assert_eq!(bench.hear(here(THEIRS)), Ok(()));
        bench.advance(ms(3_010));
    }
    assert_eq!(bench.times(Purpose::Takeover), []);
    bench.advance(ms(3_600));
    assert!(bench.port.answers(V4), "it is gone");
}

#[test]
fn a_router_that_answers_for_others_by_ndp_is_overruled_while_a_peer_was_never_heard() {
    let proxied = NdpFrame::unsolicited(THEIRS, LINK_LOCAL, V6);
    let message =
        NdpMessage::Advertisement { target: Some(THEIRS), cause: Cause::Unsolicited, known: Known::Stays };
    let mut bench = Bench::new(NDP);
    bench.port.set_overrules(true);
    bench.port.set_known_macs(KnownMacs { unseen: 1, ..known(PEER) }, bench.now);
    bench.order(&[(V6, 1, Begin::Ask)]);
    assert_eq!(bench.hear(NdpFrame { message, ..proxied }.emit()), Err(Ignored::Overruled));
    bench.advance(ms(100));
    assert_eq!(bench.times(Purpose::Takeover), [80]);
    bench.order(&[]);
    bench.order(&[(V6, 2, Begin::Ask)]);
    assert_eq!(bench.hear(NdpFrame::answer(THEIRS, LINK_LOCAL, V6, None, OURS).emit()), Ok(()));
    bench.advance(ms(100));
    assert_eq!(bench.times(Purpose::Takeover), [80], "it is another speaker");
}

#[test]
fn a_peer_that_falls_silent_after_it_claimed_what_is_announced_is_a_rival() {
    let mut bench = Bench::announcing(ARP, V4);
    let claim = ArpFrame::gratuitous_request(PEER, V4).emit();
    assert_eq!(bench.hear(claim), Err(Ignored::Peer));
    bench.advance(ms(600));
    bench.port.set_known_macs(known_macs(PEER, Contact::Unheard), bench.now);
    bench.work();
    assert_eq!(bench.reports(), [Report::Rival { vip: V4.into(), by: PEER }]);
}

#[test]
fn who_leaves_answers_no_more_for_what_a_peer_has_taken_over() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_transmit_policy(TransmitPolicy::ReplyOnly);
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit()), Err(Ignored::Peer));
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Muted));
    assert!(!bench.port.answers(V4));
}

#[test]
fn a_member_of_which_nothing_is_known_yet_is_asked_again_within_a_second() {
    let mut bench = Bench::new(ARP);
    bench.port.set_known_macs(KnownMacs { unknown: 1, ..known(PEER) }, bench.now);
    bench.order(&[(V4, 1, Begin::Ask)]);
    assert_eq!(bench.hear(here(THEIRS)), Ok(()));
    bench.advance(ms(1_100));
    assert_eq!(bench.times(Purpose::Probe), [0, 1_000, 1_040]);
}

#[test]
fn another_interface_of_this_node_on_the_same_lan_is_told_again_when_that_is_not_known_any_more() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_known_macs(known_macs(PEER, Contact::Own), bench.now);
    for (known, told) in [(vec![], 1), (vec![PEER], 1), (vec![], 2)] {
        bench.port.set_same_lan(known.into_iter().collect());
        let _ = bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit());
        assert_eq!(bench.reports(), vec![Report::SameLan { by: PEER }; told]);
    }
}

#[test]
fn another_interface_of_this_node_on_the_same_lan_is_told_once() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_known_macs(known_macs(PEER, Contact::Own), bench.now);
    for _ in 0..2 {
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit()), Err(Ignored::Peer));
    }
    assert_eq!(bench.reports(), [Report::SameLan { by: PEER }]);
}

#[test]
fn a_heard_peer_that_goes_on_answering_after_the_takeover_is_told_of_once() {
    for goes_on in [true, false] {
        let (vip, by) = (V4.into(), THEIRS);
        let mut bench = asking(Contact::Heard);
        assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Peer));
        bench.advance(ms(3_080));
        assert!(bench.times(Purpose::Probe).contains(&3_080), "it is asked whether it goes on");
        if goes_on {
            assert_eq!(bench.hear(here(THEIRS)), Err(Ignored::Peer));
        }
        bench.advance(ms(20_000));
        let told = bench.reports().iter().filter(|it| **it == Report::PeerAnswers { vip, by }).count();
        assert_eq!(told, usize::from(goes_on));
    }
    let mut bench = asking(Contact::Heard);
    bench.advance(ms(20_000));
    assert_eq!(bench.times(Purpose::Probe).len(), 2, "nobody is suspected");
}

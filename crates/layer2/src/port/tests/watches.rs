//! Whether others answer for an address, and who.

use super::*;

fn watching<P: Protocol>(protocol: P, vip: P::Ip) -> Bench<P> {
    let mut bench = Bench::new(protocol);
    bench.port.set_watched([(vip, bench.now + ms(1000))].into());
    bench
}

fn here(mac: MacAddr) -> [u8; 42] {
    ArpFrame::reply(mac, V4, Host { mac: OURS, ip: Ipv4Addr::UNSPECIFIED }).emit()
}

#[test]
fn an_address_that_nobody_answers_for_is_reported_after_two_questions() {
    fn expect_silence<P: Protocol>(mut bench: Bench<P>, vip: IpAddr) {
        bench.advance(ms(60_000));
        assert_eq!(bench.times(Purpose::Probe), [1000, 1120]);
        assert_eq!(bench.reports(), [Report::Silent { vip }]);
    }
    expect_silence(watching(ARP, V4), V4.into());
    expect_silence(watching(NDP, V6), V6.into());
}

#[test]
fn a_peer_that_is_heard_to_announce_is_reported_and_nobody_answers_for_it_here() {
    let mut bench = watching(ARP, V4);
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit()), Err(Ignored::Peer));
    assert_eq!(bench.reports(), [Report::Answered { vip: V4.into(), by: PEER }]);
    bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()).unwrap();
    assert_eq!(bench.reports().len(), 1, "a stranger counts for nothing before the LAN is asked");
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::NotAnnounced));
    bench.port.set_watched([].into());
    bench.advance(ms(60_000));
    assert_eq!(bench.times(Purpose::Probe), []);
}

#[test]
fn whoever_answers_when_the_lan_is_asked_is_reported_once() {
    let mut bench = watching(ARP, V4);
    bench.advance(ms(1000));
    bench.hear(here(THEIRS)).unwrap();
    assert_eq!(bench.hear(here(PEER)), Err(Ignored::NotOurs));
    bench.advance(ms(60_000));
    assert_eq!(bench.reports(), [Report::Answered { vip: V4.into(), by: THEIRS }]);
    let again = bench.now + ms(500);
    bench.port.set_watched([(V4, again)].into());
    bench.advance(ms(60_000));
    assert_eq!(bench.reports().last(), Some(&Report::Silent { vip: V4.into() }));
}

#[test]
fn a_peer_that_goes_on_answering_for_what_is_announced_here_is_reported_within_a_second() {
    let mut bench = Bench::announcing(ARP, V4);
    let begin = bench.now;
    assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
    bench.advance(ms(500));
    let asked = (bench.now - bench.start).as_millis();
    assert_eq!((bench.now - begin, bench.times(Purpose::Probe)), (ms(500), vec![asked]));
    assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
    assert_eq!(bench.reports(), [Report::Answered { vip: V4.into(), by: PEER }]);

    let mut bench = Bench::announcing(ARP, V4);
    assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
    bench.advance(ms(5000));
    assert!(bench.reports().is_empty(), "it has ceased to");
    assert!(bench.port.answers(V4));
}

#[test]
fn what_a_peer_has_claimed_and_answers_for_no_more_is_announced_once_again() {
    let announced = |claimed: bool, answers: bool| {
        let mut bench = Bench::announcing(ARP, V4);
        bench.advance(ms(10_000));
        let before = bench.times(Purpose::Takeover).len();
        if claimed {
            assert_eq!(bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit()), Err(Ignored::Peer));
        }
        bench.advance(ms(500));
        if answers {
            assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
        }
        bench.advance(ms(10_000));
        bench.times(Purpose::Takeover).len() - before
    };
    let frames = announced(true, false);
    assert!(frames > 0, "clients may have believed it");
    assert_eq!((announced(false, false), announced(true, true)), (0, 0));
    // Who stands in says nothing unasked.
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Answer)]);
    bench.hear(ArpFrame::gratuitous_request(PEER, V4).emit()).unwrap_err();
    bench.advance(ms(10_000));
    assert_eq!(bench.times(Purpose::Takeover), []);
}

#[test]
fn who_only_answers_asks_whether_a_peer_does_too_and_one_that_is_heard_is_reported() {
    let spoken = Report::Spoken { vip: V4.into(), takeover: 1 };
    for answered in [true, false] {
        let mut bench = Bench::new(ARP);
        bench.order(&[(V4, 1, Begin::Answer)]);
        bench.advance(ms(500));
        assert_eq!(bench.times(Purpose::Probe), [500]);
        if answered {
            assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
        }
        bench.advance(ms(60_000));
        let too = Report::Answered { vip: V4.into(), by: PEER };
        let (asked, reports) = if answered { (1, vec![spoken, too]) } else { (2, vec![spoken]) };
        assert_eq!((bench.times(Purpose::Probe).len(), bench.reports()), (asked, reports));
        assert!(bench.port.answers(V4));
    }
}

#[test]
fn what_a_peer_that_leaves_says_counts_for_nothing_also_once_it_is_gone() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_known_macs(known_macs(PEER, Contact::Leaving), bench.now);
    assert_eq!(bench.hear(here(PEER)), Err(Ignored::Peer));
    bench.port.set_known_macs(known_macs(PEER, Contact::Unheard), bench.now);
    bench.advance(ms(5000));
    assert_eq!((bench.times(Purpose::Probe), bench.reports()), (vec![], vec![]));
}

#[test]
fn what_is_given_up_here_is_asked_for_though_it_was_announced_here() {
    let mut bench = Bench::announcing(ARP, V4);
    let (ask, asked) = (bench.now + ms(2000), [12_000, 12_120]);
    bench.port.set_watched([(V4, ask)].into());
    bench.order(&[]);
    bench.advance(ms(5000));
    assert_eq!(
        (bench.times(Purpose::Probe), bench.reports()),
        (asked.into(), vec![Report::Silent { vip: V4.into() }])
    );
}

#[test]
fn whoever_answers_as_well_is_asked_to_tell_this_station_alone() {
    let mut bench = Bench::announcing(NDP, V6);
    let here = NdpFrame::answer(PEER, LINK_LOCAL, V6, Some(LINK_LOCAL), OURS).emit();
    assert_eq!(bench.hear(here), Err(Ignored::Peer));
    bench.advance(ms(500));
    let asked = bench.sent(Purpose::Probe);
    assert_eq!(NdpFrame::parse(asked[0].1), Ok(NdpFrame::question(OURS, LINK_LOCAL, V6)));
}

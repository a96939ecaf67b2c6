//! Who claims an address that is announced.

use super::*;

#[test]
fn a_foreign_host_that_claims_an_address_is_reported_and_met_once_in_ten_seconds() {
    let mut bench = Bench::announcing(ARP, V4);
    for _ in 0..100 {
        assert_eq!(bench.hear(ArpFrame::gratuitous_reply(THEIRS, V4).emit()), Ok(()));
        bench.advance(ms(100));
    }
    assert_eq!(bench.times(Purpose::Defence), [10_300, 10_300]);
    assert_eq!(bench.reports(), [Report::Claimed { vip: V4.into(), by: THEIRS }]);
    assert_eq!(bench.sent(Purpose::Defence)[0].1, ArpFrame::gratuitous_request(OURS, V4).emit());

    let mut bench = Bench::announcing(NDP, V6);
    assert_eq!(bench.hear(NdpFrame::unsolicited(THEIRS, LINK_LOCAL, V6).emit()), Ok(()));
    bench.advance(ms(300));
    let expected = NdpFrame::unsolicited(OURS, LINK_LOCAL, V6).emit();
    assert_eq!(bench.sent(Purpose::Defence), [(10_300, &expected[..])]);
}

#[test]
fn a_handover_to_a_node_not_known_yet_is_no_conflict() {
    for late_news in [
        |bench: &mut Bench<Arp>| bench.order(&[]),
        |bench: &mut Bench<Arp>| bench.port.set_known_macs(known(THEIRS), bench.now),
    ] {
        let mut bench = Bench::announcing(ARP, V4);
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
        bench.advance(ms(200));
        late_news(&mut bench);
        bench.advance(ms(20_000));
        assert_eq!(bench.done, []);
    }
}

#[test]
fn while_a_peer_is_not_known_by_its_address_who_claims_one_of_ours_may_be_that_peer() {
    let mut bench = Bench::announcing(ARP, V4);
    let claim = ArpFrame::gratuitous_request(THEIRS, V4).emit();
    bench.port.set_known_macs(KnownMacs { unknown: 1, ..known(PEER) }, bench.now);
    assert_eq!(bench.hear(claim), Ok(()));
    bench.advance(ms(400));
    bench.port.set_known_macs(known(PEER), bench.now);
    bench.advance(ms(20_000));
    assert_eq!(bench.done, []);
    assert_eq!(bench.hear(claim), Ok(()));
    bench.advance(ms(300));
    assert_eq!(bench.reports(), [Report::Claimed { vip: V4.into(), by: THEIRS }]);

    // Asked about beforehand, nobody of us should have it.
    let mut bench = Bench::probing(ARP, V4);
    bench.port.set_known_macs(KnownMacs { unknown: 1, ..known(PEER) }, bench.now);
    assert_eq!(bench.hear(claim), Ok(()));
    assert_eq!(bench.reports(), [Report::Taken { vip: V4.into(), by: THEIRS }]);
}

#[test]
fn two_that_both_insist_on_an_address_do_not_fight_for_ever() {
    let mut sides = [Bench::announcing(ARP, V4), Bench::announcing(Arp { mac: THEIRS }, V4)];
    assert_eq!(sides[0].hear(ArpFrame::gratuitous_request(THEIRS, V4).emit()), Ok(()));
    let mut defences = [0, 0];
    for _ in 0..600 {
        for (from, to) in [(0, 1), (1, 0)] {
            sides[from].advance(ms(100));
            for (_, effect) in std::mem::take(&mut sides[from].done) {
                if let Effect::Send(Transmission { purpose: Purpose::Defence, frame, .. }) = effect {
                    defences[from] += 1;
                    assert_eq!(sides[to].hear(frame), Ok(()));
                }
            }
        }
    }
    for frames in defences {
        assert!((2..=14).contains(&frames), "{frames} frames in a minute");
    }
}

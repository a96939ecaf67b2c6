//! What is asked before an address is announced that is new.

use super::*;

#[test]
fn a_fresh_address_is_asked_for_thrice_and_announced_when_nobody_answers() {
    let mut bench = Bench::probing(ARP, V4);
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::NotAnnounced));
    bench.advance(ms(299));
    assert_eq!(bench.times(Purpose::Probe), [0, 100, 200]);
    assert_eq!(bench.sent(Purpose::Probe)[0].1, ArpFrame::probe(OURS, V4).emit());
    assert_eq!(bench.done.len(), 3);
    bench.advance(ms(1));
    assert_eq!(bench.times(Purpose::Takeover), [300, 300]);
    let vip = V4.into();
    assert_eq!(bench.reports(), [Report::Free { vip }, Report::Spoken { vip, takeover: 1 }]);
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));

    let mut bench = Bench::probing(NDP, V6);
    bench.advance(ms(300));
    assert_eq!(bench.sent(Purpose::Probe)[2], (200, &NdpFrame::probe(OURS, V6).emit()[..]));
    assert_eq!(bench.times(Purpose::Takeover), [300]);
}

#[test]
fn a_foreign_host_that_shows_that_it_has_a_new_address_keeps_it_from_being_announced() {
    let asker = Host { mac: OURS, ip: Ipv4Addr::UNSPECIFIED };
    for sign in [
        ArpFrame::reply(THEIRS, V4, asker),
        ArpFrame::gratuitous_request(THEIRS, V4),
        ArpFrame::gratuitous_reply(THEIRS, V4),
        ArpFrame { sender: Host { mac: THEIRS, ip: V4 }, ..arp_request(CLIENT_V4) },
    ] {
        let mut bench = Bench::probing(ARP, V4);
        bench.advance(ms(250));
        assert_eq!(bench.hear(sign.emit()), Ok(()));
        expect_taken(bench, V4.into());
    }
    for sign in
        [NdpFrame::answer(THEIRS, LINK_LOCAL, V6, None, OURS), NdpFrame::unsolicited(THEIRS, LINK_LOCAL, V6)]
    {
        let mut bench = Bench::probing(NDP, V6);
        bench.advance(ms(250));
        assert_eq!(bench.hear(sign.emit()), Ok(()));
        expect_taken(bench, V6.into());
    }
}

fn expect_taken<P: Protocol>(mut bench: Bench<P>, vip: IpAddr) {
    bench.advance(ms(29_000));
    assert_eq!(bench.times(Purpose::Takeover), []);
    assert_eq!(bench.reports(), [Report::Taken { vip, by: THEIRS }]);
    bench.advance(ms(2_000));
    assert_eq!(bench.times(Purpose::Probe), [0, 100, 200, 30_250, 30_350, 30_450]);
    assert_eq!(bench.reports()[1..], [Report::Free { vip }, Report::Spoken { vip, takeover: 1 }]);
}

#[test]
fn a_taken_address_is_not_announced_because_of_another_takeover() {
    let mut bench = Bench::probing(ARP, V4);
    assert_eq!(bench.hear(ArpFrame::gratuitous_reply(THEIRS, V4).emit()), Ok(()));
    bench.order(&[(V4, 2, Begin::Announce)]);
    assert_eq!(bench.hear(ArpFrame::gratuitous_reply(THEIRS, V4).emit()), Ok(()));
    bench.advance(ms(20_000));
    assert_eq!(bench.times(Purpose::Takeover), []);
    assert_eq!(bench.reports(), [Report::Taken { vip: V4.into(), by: THEIRS }; 2]);
}

#[test]
fn fellows_and_this_node_itself_are_no_foreign_hosts() {
    for mac in [PEER, OURS] {
        let mut bench = Bench::probing(ARP, V4);
        assert_eq!(bench.hear(ArpFrame::probe(mac, V4).emit()), Err(Ignored::NotAnnounced));
        assert_eq!(bench.hear(ArpFrame::gratuitous_reply(mac, V4).emit()), Err(Ignored::Peer));
        bench.advance(ms(300));
        assert_eq!(bench.times(Purpose::Takeover).len(), 2);

        let mut bench = Bench::announcing(ARP, V4);
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(mac, V4).emit()), Err(Ignored::Peer));
        let mut bench6 = Bench::announcing(NDP, V6);
        let told = NdpFrame::unsolicited(mac, LINK_LOCAL, V6);
        assert_eq!(bench6.hear(told.emit()), Err(Ignored::Peer));
        bench.advance(ms(20_000));
        bench6.advance(ms(20_000));
        // Whether a peer goes on answering is found out, and once it does not, clients are told. Nothing else follows.
        let (asked, said, said6) = if mac == PEER { (2, 2, 1) } else { (0, 0, 0) };
        let done =
            (bench.times(Purpose::Probe).len(), bench.times(Purpose::Takeover).len(), bench.done.len());
        assert_eq!(done, (asked, said, asked + said));
        let done =
            (bench6.times(Purpose::Probe).len(), bench6.times(Purpose::Takeover).len(), bench6.done.len());
        assert_eq!(done, (asked, said6, asked + said6));
    }
}

#[test]
fn a_probe_of_somebody_else_claims_nothing() {
    let unicast = ArpFrame { destination: OURS, ..ArpFrame::probe(THEIRS, V4) };
    for probe in [ArpFrame::probe(THEIRS, V4), unicast] {
        let mut bench = Bench::probing(ARP, V4);
        assert_eq!(bench.hear(probe.emit()), Err(Ignored::NotAnnounced));
        bench.advance(ms(300));
        assert_eq!(bench.times(Purpose::Takeover).len(), 2);
    }
    let mut bench = Bench::probing(NDP, V6);
    assert_eq!(bench.hear(NdpFrame::probe(THEIRS, V6).emit()), Err(Ignored::NotAnnounced));
    bench.advance(ms(300));
    assert_eq!(bench.times(Purpose::Takeover).len(), 1);
}

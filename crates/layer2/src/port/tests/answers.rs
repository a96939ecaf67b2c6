//! Who is answered, and what is ignored.

use proptest::prelude::*;

use super::*;

#[test]
fn arp_requests_by_broadcast_by_unicast_and_probes_are_answered() {
    let unicast = ArpFrame { destination: OURS, ..arp_request(V4) };
    for request in [arp_request(V4), unicast, ArpFrame::probe(THEIRS, V4)] {
        let mut bench = Bench::announcing(ARP, V4);
        assert_eq!(bench.hear(request.emit()), Ok(()));
        let expected = ArpFrame::reply(OURS, V4, request.sender).emit();
        assert_eq!(bench.sent(Purpose::Answer), [(10_000, &expected[..])]);
        assert_eq!(bench.done.len(), 1);
    }
}

#[test]
fn solicitations_to_the_group_by_unicast_and_from_nobody_are_answered() {
    let unicast = NdpFrame { destination: OURS, to: V6, ..solicitation(V6) };
    let without_option = NdpFrame { message: NdpMessage::Solicitation { source: None }, ..unicast };
    for (request, asker) in [
        (solicitation(V6), Some(CLIENT_V6)),
        (unicast, Some(CLIENT_V6)),
        (without_option, Some(CLIENT_V6)),
        (NdpFrame::probe(THEIRS, V6), None),
    ] {
        let mut bench = Bench::announcing(NDP, V6);
        assert_eq!(bench.hear(request.emit()), Ok(()));
        let expected = NdpFrame::answer(OURS, LINK_LOCAL, V6, asker, THEIRS).emit();
        assert_eq!(bench.sent(Purpose::Answer), [(10_000, &expected[..])]);
    }
}

#[test]
fn arp_that_concerns_nothing_of_ours_is_ignored_for_a_reason() {
    let mut bench = Bench::announcing(ARP, V4);
    let group = MacAddr([1, 0, 0x5e, 0, 0, 1]);
    for destination in [THEIRS, group, MacAddr::ZERO] {
        let elsewhere = ArpFrame { destination, ..arp_request(V4) };
        assert_eq!(bench.hear(elsewhere.emit()), Err(Ignored::NotForUs));
    }
    for mac in [group, MacAddr::ZERO, MacAddr::BROADCAST] {
        let from = ArpFrame { sender: Host { mac, ip: CLIENT_V4 }, ..arp_request(V4) };
        assert_eq!(bench.hear(from.emit()), Err(Ignored::BadSender(mac)));
    }
    assert_eq!(bench.hear(arp_request(OTHER_V4).emit()), Err(Ignored::NotAnnounced));
    assert_eq!(bench.hear(ArpFrame::gratuitous_request(THEIRS, OTHER_V4).emit()), Err(Ignored::NotOurs));
    assert_eq!(bench.hear(ArpFrame::gratuitous_reply(THEIRS, OTHER_V4).emit()), Err(Ignored::NotOurs));
    assert!(matches!(bench.hear([]), Err(Ignored::Arp(_))));
    bench.advance(ms(20_000));
    assert_eq!(bench.done, []);
}

#[test]
fn ndp_that_concerns_nothing_of_ours_is_ignored_for_a_reason() {
    let mut bench = Bench::announcing(NDP, V6);
    let elsewhere = NdpFrame { destination: THEIRS, to: V6, ..solicitation(V6) };
    assert_eq!(bench.hear(elsewhere.emit()), Err(Ignored::NotForUs));
    for to in [CLIENT_V6, crate::ALL_NODES, solicited_node(CLIENT_V6)] {
        let astray = NdpFrame { destination: OURS, to, ..solicitation(V6) };
        assert_eq!(bench.hear(astray.emit()), Err(Ignored::NotForUs));
    }
    let group = MacAddr::of_group(crate::ALL_NODES);
    let bad = NdpFrame { message: NdpMessage::Solicitation { source: Some(group) }, ..solicitation(V6) };
    assert_eq!(bench.hear(bad.emit()), Err(Ignored::BadSender(group)));
    assert_eq!(bench.hear(solicitation(OTHER_V6).emit()), Err(Ignored::NotAnnounced));
    let told = NdpFrame::unsolicited(THEIRS, LINK_LOCAL, CLIENT_V6);
    assert_eq!(bench.hear(told.emit()), Err(Ignored::NotOurs));
    let mut afar = solicitation(V6).emit();
    afar[21] = 64;
    assert_eq!(bench.hear(afar), Err(Ignored::Ndp(NdpFrameError::HopLimit(64))));
    bench.advance(ms(20_000));
    assert_eq!(bench.done, []);
}

#[test]
fn who_asks_does_not_wait_for_announcements() {
    let mut bench = Bench::new(ARP);
    let order = Order { takeover: 1, begin: Begin::Announce, stance: Stance::Alone };
    bench.port.set_orders([(V4, order), (OTHER_V4, order)].into(), bench.now);
    assert!(
        matches!(bench.port.poll(bench.now), Some(Effect::Send(sent)) if sent.purpose == Purpose::Takeover)
    );
    assert_eq!(bench.port.handle(&arp_request(OTHER_V4).emit(), bench.now, bench.now), Ok(()));
    assert!(
        matches!(bench.port.poll(bench.now), Some(Effect::Send(sent)) if sent.purpose == Purpose::Answer)
    );
}

#[test]
fn a_peer_that_asks_is_answered_even_from_an_address_of_ours() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce), (OTHER_V4, 2, Begin::Announce)]);
    let sender = Host { mac: PEER, ip: V4 };
    assert_eq!(bench.hear(ArpFrame { sender, ..arp_request(OTHER_V4) }.emit()), Ok(()));
    assert_eq!(bench.sent(Purpose::Answer).len(), 1);
}

proptest! {
    #[test]
    fn no_arp_gets_more_than_a_reply_to_its_sender(
        mut bytes in proptest::collection::vec(any::<u8>(), 42..64),
        to_us: bool,
    ) {
        bytes[12..22].copy_from_slice(&arp_request(V4).emit()[12..22]);
        bytes[38..42].copy_from_slice(&V4.octets());
        if to_us {
            bytes[..6].copy_from_slice(&OURS.0);
        }
        let mut bench = Bench::announcing(ARP, V4);
        if bench.hear(&bytes).is_ok() {
            let (_, answer) = bench.sent(Purpose::Answer)[0];
            prop_assert_eq!(&answer[..6], &bytes[22..28]);
            prop_assert_eq!(ArpFrame::parse(answer).unwrap().sender, Host { mac: OURS, ip: V4 });
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
        let _ = Bench::announcing(ARP, V4).hear(&bytes);
        let _ = Bench::probing(NDP, V6).hear(&bytes);
    }
}

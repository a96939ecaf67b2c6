//! Who answers for an address, for whoever wants to know.

use super::*;

fn answered<P: Protocol>(bench: &Bench<P>) -> Vec<(u128, Answered)> {
    let answers = bench.done.iter().filter_map(|(at, effect)| match effect {
        Effect::Answered(answered) => Some((*at, answered.clone())),
        _ => None,
    });
    answers.collect()
}

fn reply(by: MacAddr) -> [u8; 42] {
    ArpFrame::reply(by, V4, Host { mac: OURS, ip: Ipv4Addr::UNSPECIFIED }).emit()
}

#[test]
fn it_is_asked_by_probes_and_all_who_answer_are_told_of() {
    let mut bench = Bench::new(ARP);
    assert!(bench.port.inquire(V4, bench.now));
    bench.work();
    for by in [THEIRS, PEER, THEIRS] {
        assert_eq!(bench.hear(reply(by)), Ok(()));
    }
    bench.advance(ms(5_000));
    assert_eq!(bench.times(Purpose::Inquiry), [0, 200, 400]);
    assert_eq!(bench.sent(Purpose::Inquiry)[0].1, ArpFrame::probe(OURS, V4).emit(), "which claims nothing");
    let expected = Answered { vip: V4.into(), here: false, by: [THEIRS, PEER].into() };
    assert_eq!(answered(&bench), [(600, expected)]);
    assert_eq!(bench.reports(), [], "nothing follows from it");
    assert_eq!(bench.hear(reply(THEIRS)), Err(Ignored::NotOurs), "nobody wants to know any more");
}

#[test]
fn neighbour_discovery_is_asked_too() {
    let mut bench = Bench::new(NDP);
    assert!(bench.port.inquire(V6, bench.now));
    bench.work();
    assert_eq!(bench.hear(NdpFrame::answer(THEIRS, LINK_LOCAL, V6, None, OURS).emit()), Ok(()));
    bench.advance(ms(600));
    assert_eq!(bench.sent(Purpose::Inquiry)[0].1, NdpFrame::probe(OURS, V6).emit());
    assert_eq!(answered(&bench)[0].1.by, [THEIRS].into());
}

#[test]
fn who_announces_the_address_says_so_and_defends_it_as_ever() {
    let mut bench = Bench::announcing(ARP, V4);
    assert!(bench.port.inquire(V4, bench.now));
    bench.work();
    bench.advance(ms(600));
    assert_eq!(answered(&bench)[0].1, Answered { vip: V4.into(), here: true, by: [].into() });
    assert!(bench.port.inquire(V4, bench.now));
    bench.work();
    _ = bench.hear(reply(THEIRS));
    bench.advance(ms(700));
    assert_eq!(answered(&bench)[1].1.by, [THEIRS].into());
    assert_eq!(bench.reports(), [Report::Claimed { vip: V4.into(), by: THEIRS }]);
}

#[test]
fn a_muted_port_asks_too_and_says_nothing_else() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.set_transmit_policy(TransmitPolicy::Muted);
    assert!(bench.port.inquire(V4, bench.now));
    bench.work();
    _ = bench.hear(reply(PEER));
    bench.advance(ms(600));
    assert_eq!(answered(&bench)[0].1, Answered { vip: V4.into(), here: false, by: [PEER].into() });
    assert_eq!(bench.sent(Purpose::Inquiry).len(), 3);
    assert!(bench.times(Purpose::Defence).is_empty());
}

#[test]
fn orders_that_come_meanwhile_take_no_question_back_and_two_who_want_to_know_the_same_ask_once() {
    let mut bench = Bench::new(ARP);
    for _ in 0..2 {
        assert!(bench.port.inquire(V4, bench.now));
    }
    // What is to be sent waits while the order comes.
    assert!(bench.port.inquire_on(bench.now));
    bench.order(&[(OTHER_V4, 1, Begin::Announce)]);
    bench.advance(ms(1_000));
    assert_eq!(bench.times(Purpose::Inquiry), [0, 200, 400]);
    assert_eq!(answered(&bench).len(), 1);
}

#[test]
fn what_is_asked_for_and_who_is_told_of_are_bounded() {
    let mut bench = Bench::new(ARP);
    let addresses = (0..40).map(|last| Ipv4Addr::new(192, 0, 2, last));
    let taken = addresses.filter(|ip| bench.port.inquire(*ip, bench.now)).count();
    assert_eq!(taken, 16);
    bench.work();
    bench.advance(ms(600));
    assert!(bench.port.inquire(V4, bench.now), "and there is room again");
    bench.work();
    for last in 0..40 {
        assert_eq!(bench.hear(reply(MacAddr([2, 0, 0, 0, 1, last]))), Ok(()));
    }
    bench.advance(ms(600));
    assert_eq!(answered(&bench).last().unwrap().1.by.len(), 16);
}

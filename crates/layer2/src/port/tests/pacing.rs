//! How many frames go out in a time, and which come first.

use super::*;

#[test]
fn takeovers_are_paced_and_the_first_frame_of_each_address_comes_first() {
    let mut bench = Bench::new(ARP);
    bench.port.set_frame_gap(crate::frame_gap(1, 1, 1));
    let vips = (0..120).map(|last| (Ipv4Addr::new(198, 51, 100, last), 1, Begin::Announce));
    bench.order(&vips.collect::<Vec<_>>());
    bench.advance(ms(1_000));
    let times = bench.times(Purpose::Takeover);
    assert_eq!(times.len(), 240);
    assert!(
        times.iter().all(|from| times.iter().filter(|at| (*from..from + 100).contains(*at)).count() <= 60)
    );
    let firsts: BTreeSet<_> =
        bench.sent(Purpose::Takeover)[..120].iter().map(|(_, frame)| frame[28..32].to_vec()).collect();
    assert_eq!(firsts.len(), 120);
}

/// No more than 50 frames in any tenth of a second.
fn expect_paced<P: Protocol>(bench: &Bench<P>) {
    let sent = |(at, effect): &(u128, Effect)| matches!(effect, Effect::Send(_)).then_some(*at);
    let times: Vec<u128> = bench.done.iter().filter_map(sent).collect();
    for from in &times {
        let count = times.iter().filter(|at| (*from..from + 100).contains(*at)).count();
        assert!(count <= 50, "{count} frames from {from} ms on");
    }
}

#[test]
fn of_many_addresses_all_are_asked_for_before_one_is_announced_and_answered_for_meanwhile() {
    let mut bench = Bench::new(ARP);
    bench.port.set_frame_gap(crate::frame_gap(1, 1, 1));
    let vip = |last| Ipv4Addr::new(198, 51, 100, last);
    bench.order(&(0..150).map(|last| (vip(last), 1, Begin::Ask)).collect::<Vec<_>>());
    bench.advance(ms(60));
    assert!(bench.port.answers(vip(0)) && !bench.port.answers(vip(149)), "each for itself");
    assert_eq!(bench.times(Purpose::Takeover), []);
    bench.advance(ms(278));
    assert!((0..150).all(|last| bench.port.answers(vip(last))), "300 ms of questions and 40 of silence");
    bench.advance(ms(262));
    let firsts: BTreeSet<_> =
        bench.sent(Purpose::Takeover)[..150].iter().map(|(_, frame)| frame[28..32].to_vec()).collect();
    assert_eq!(firsts.len(), 150, "first frames first");
    bench.advance(ms(6_000));
    expect_paced(&bench);
}

#[test]
fn an_address_that_is_asked_for_again_is_not_told_of_by_what_is_left_of_its_burst() {
    for begins in [&[Begin::Probe][..], &[Begin::Probe, Begin::Ask]] {
        let mut bench = Bench::new(ARP);
        bench.port.set_frame_gap(ms(10));
        bench.order(&[(V4, 1, Begin::Announce)]);
        assert_eq!(bench.times(Purpose::Takeover), [0], "a reply is to follow the request");
        for (begin, takeover) in begins.iter().zip(2..) {
            bench.order(&[(V4, takeover, *begin)]);
        }
        bench.advance(ms(200));
        assert_eq!(bench.times(Purpose::Takeover), [0]);
    }
}

#[test]
fn who_asked_before_an_address_is_asked_for_again_is_not_answered_after() {
    let mut bench = Bench::announcing(ARP, V4);
    assert_eq!(bench.port.handle(&arp_request(V4).emit(), bench.now, bench.now), Ok(()));
    bench.order(&[(V4, 2, Begin::Probe)]);
    assert_eq!((bench.times(Purpose::Answer), bench.times(Purpose::Probe)), (vec![], vec![10_000]));
}

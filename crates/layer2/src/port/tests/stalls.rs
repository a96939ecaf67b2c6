//! A program that stood still hears the news first.

use super::*;

#[test]
fn after_a_stall_the_news_comes_first() {
    // The next round is due after 1 100 ms, and the program stands still for 3 000.
    let stalled = || {
        let mut bench = Bench::new(ARP);
        bench.order(&[(V4, 1, Begin::Announce)]);
        bench.done.clear();
        bench.now += ms(3_000);
        bench.work();
        assert_eq!(bench.done, [], "nothing is said at once");
        bench
    };
    let mut lost = stalled();
    lost.advance(ms(200));
    lost.order(&[]);
    lost.advance(ms(20_000));
    assert_eq!(lost.done, []);

    let mut kept = stalled();
    kept.advance(ms(20_000));
    assert_eq!(kept.times(Purpose::Takeover)[..4], [3_300, 3_300, 4_400, 4_400]);
}

#[test]
fn questions_from_before_a_stall_are_not_answered_but_news_is_heard() {
    let mut bench = Bench::announcing(ARP, V4);
    assert_eq!(bench.hear_late(arp_request(V4).emit(), ms(499)), Ok(()));
    assert_eq!(bench.hear_late(arp_request(V4).emit(), ms(501)), Err(Ignored::Stale));
    assert_eq!(bench.hear_late(ArpFrame::gratuitous_reply(THEIRS, V4).emit(), ms(5_000)), Ok(()));
    bench.advance(ms(300));
    assert_eq!(bench.reports(), [Report::Claimed { vip: V4.into(), by: THEIRS }]);

    let mut bench = Bench::probing(ARP, V4);
    assert_eq!(bench.hear_late(ArpFrame::gratuitous_reply(THEIRS, V4).emit(), ms(5_000)), Ok(()));
    assert_eq!(bench.reports(), [Report::Taken { vip: V4.into(), by: THEIRS }]);
}

#[test]
fn a_frame_that_had_to_wait_tells_of_a_stall() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.advance(ms(1_000));
    assert_eq!(bench.hear_late(arp_request(V4).emit(), ms(900)), Err(Ignored::Stale));
    bench.advance(ms(299));
    assert_eq!(bench.times(Purpose::Takeover), [0, 0]);
    bench.advance(ms(1));
    assert_eq!(bench.times(Purpose::Takeover), [0, 0, 1_300, 1_300]);
}

#[test]
fn nothing_is_said_after_a_pause_of_the_process_until_the_news_are_read() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.port.stood_still(bench.now);
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Muted), "however fresh the question");
    bench.advance(ms(300));
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
}

#[test]
fn what_is_heard_after_a_pause_makes_it_no_longer() {
    let mut bench = Bench::announcing(ARP, V4);
    let went_on = bench.now;
    for _ in 0..3 {
        bench.port.stood_still(went_on);
        assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Muted));
        bench.advance(ms(100));
    }
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
}

#[test]
fn a_pause_that_ended_earlier_makes_a_later_one_no_shorter() {
    let mut bench = Bench::announcing(ARP, V4);
    let earlier = bench.now;
    bench.advance(ms(200));
    bench.port.stood_still(bench.now);
    bench.port.stood_still(earlier);
    bench.advance(ms(299));
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Muted));
    bench.advance(ms(1));
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
}

#[test]
fn a_little_late_is_no_stall() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.now += ms(1_500);
    bench.work();
    assert_eq!(bench.times(Purpose::Takeover), [0, 0, 1_500, 1_500]);
}

//! What is said unasked of an address, and when no more.

use super::*;

#[test]
fn a_takeover_is_told_at_once_by_arp_request_and_reply_and_reported() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 5, Begin::Announce)]);
    let frames = [ArpFrame::gratuitous_request(OURS, V4).emit(), ArpFrame::gratuitous_reply(OURS, V4).emit()];
    assert_eq!(bench.sent(Purpose::Takeover), [(0, &frames[0][..]), (0, &frames[1][..])]);
    let spoken = Effect::Report(Report::Spoken { vip: V4.into(), takeover: 5 });
    assert!(bench.done.contains(&(0, spoken)));
    bench.advance(ms(60_000));
    let expected = [0, 1100, 2200, 3300, 4400].map(|at| [at, at]).concat();
    assert_eq!(bench.times(Purpose::Takeover), expected);
    assert_eq!(bench.reports().len(), 1);
}

#[test]
fn a_takeover_is_told_to_all_nodes_before_the_group_is_joined() {
    let mut bench = Bench::new(NDP);
    bench.order(&[(V6, 5, Begin::Announce)]);
    let expected = NdpFrame::unsolicited(OURS, LINK_LOCAL, V6).emit();
    assert_eq!(bench.sent(Purpose::Takeover), [(0, &expected[..])]);
    let group = Effect::Join("ff02::1:ff12:3456".parse().unwrap());
    assert_eq!(bench.done.last(), Some(&(0, group)));
}

#[test]
fn orders_that_are_known_change_nothing_and_a_new_takeover_begins_again() {
    let mut bench = Bench::announcing(ARP, V4);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.order(&[(V4, 1, Begin::Probe)]);
    bench.advance(ms(10_000));
    assert_eq!(bench.done, []);
    bench.order(&[(V4, 2, Begin::Announce)]);
    assert_eq!(bench.times(Purpose::Takeover), [20_000, 20_000]);
}

#[test]
fn an_address_that_is_only_answered_for_is_never_told_of_unasked_until_it_is_taken_over() {
    let mut bench = Bench { port: Port::new(ARP, Some(ms(30_000)), 7, Instant::now()), ..Bench::new(ARP) };
    bench.order(&[(V4, 1, Begin::Answer)]);
    assert_eq!(
        bench.reports(),
        [Report::Spoken { vip: V4.into(), takeover: 1 }],
        "nobody need wait for more"
    );
    bench.advance(ms(100_000));
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
    assert_eq!(bench.times(Purpose::Answer), [100_000]);
    assert!(bench.times(Purpose::Takeover).is_empty() && bench.times(Purpose::Refresh).is_empty());

    bench.order(&[(V4, 2, Begin::Announce)]);
    assert_eq!(bench.times(Purpose::Takeover), [100_000; 2], "a request and a reply");
    bench.order(&[(V4, 3, Begin::Answer)]);
    bench.advance(ms(100_000));
    assert_eq!(bench.times(Purpose::Takeover), [100_000; 2], "nor does the burst go on");
}

#[test]
fn who_must_be_silent_neither_answers_nor_announces_until_it_may_speak() {
    let mut bench = Bench::new(ARP);
    bench.port.set_transmit_policy(TransmitPolicy::Muted);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.advance(ms(100));
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Muted));
    assert!(bench.done.is_empty());
    bench.port.set_transmit_policy(TransmitPolicy::Normal);
    bench.work();
    assert_eq!(bench.times(Purpose::Takeover), [100; 2]);
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
}

#[test]
fn a_withdrawn_address_is_neither_announced_nor_answered_for() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce), (OTHER_V4, 2, Begin::Probe)]);
    bench.order(&[]);
    bench.done.clear();
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::NotAnnounced));
    bench.advance(ms(60_000));
    assert_eq!(bench.done, []);
}

#[test]
fn what_was_about_to_be_said_of_a_withdrawn_address_is_not_said() {
    let mut bench = Bench::new(ARP);
    let order = Order { takeover: 1, begin: Begin::Announce, stance: Stance::Alone };
    bench.port.set_orders([(V4, order), (OTHER_V4, order)].into(), bench.now);
    assert!(matches!(bench.port.poll(bench.now), Some(Effect::Send(sent)) if sent.vip == V4));
    bench.port.set_orders([(OTHER_V4, order)].into(), bench.now);
    bench.work();
    let about_v4 = |done: &&(u128, Effect)| matches!(&done.1, Effect::Send(sent) if sent.vip == V4);
    assert_eq!(bench.done.iter().find(about_v4), None);
    assert_eq!(bench.times(Purpose::Takeover), [0, 0]);
}

#[test]
fn addresses_that_share_a_group_join_it_once() {
    let group = solicited_node(V6);
    let mut bench = Bench::new(NDP);
    bench.order(&[(V6, 1, Begin::Announce), (OTHER_V6, 2, Begin::Probe)]);
    assert_eq!(bench.groups(), [&Effect::Join(group)]);
    bench.order(&[(OTHER_V6, 3, Begin::Announce)]);
    assert_eq!(bench.groups().len(), 1);
    bench.order(&[]);
    assert_eq!(bench.groups(), [&Effect::Join(group), &Effect::Leave(group)]);
}

#[test]
fn addresses_are_refreshed_for_ever() {
    let now = Instant::now();
    let mut bench = Bench { port: Port::new(ARP, Some(ms(30_000)), 7, now), start: now, now, done: vec![] };
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.advance(ms(3_600_000));
    let refreshes = bench.sent(Purpose::Refresh);
    assert!((109..=132).contains(&refreshes.len()), "{} in an hour", refreshes.len());
    let expected = ArpFrame::gratuitous_request(OURS, V4).emit();
    assert!(refreshes.iter().all(|(_, frame)| *frame == expected));
}

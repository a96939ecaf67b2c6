mod peers;

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{Arp, ArpFrame, ArpOperation, Host, Ndp, NdpFrame, NdpFrameError, NdpMessage, solicited_node};

const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const FELLOW: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
/// In the same solicited-node group as [`V6`].
const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0x12, 0x3456);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

const ARP: Arp = Arp { mac: OURS };
const NDP: Ndp = Ndp { mac: OURS, link_local: LINK_LOCAL };

/// With one station that is known.
fn friends(mac: MacAddr, contact: Contact) -> Friends {
    Friends { known: [(mac, contact)].into(), ..Friends::default() }
}

fn known(mac: MacAddr) -> Friends {
    friends(mac, Contact::Heard)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A port and what it did, in milliseconds since its start.
struct Bench<P: Protocol> {
    port: Port<P>,
    start: Instant,
    now: Instant,
    done: Vec<(u128, Effect)>,
}

impl<P: Protocol> Bench<P> {
    fn new(protocol: P) -> Self {
        let start = Instant::now();
        let mut port = Port::new(protocol, None, 400, start);
        port.set_friends(known(FELLOW), start);
        Self { port, start, now: start, done: Vec::new() }
    }

    fn announcing(protocol: P, vip: P::Ip) -> Self {
        let mut bench = Self::new(protocol);
        bench.order(&[(vip, 1, Begin::Announce)]);
        bench.advance(ms(10_000));
        bench.done.clear();
        bench
    }

    fn probing(protocol: P, vip: P::Ip) -> Self {
        let mut bench = Self::new(protocol);
        bench.order(&[(vip, 1, Begin::Probe)]);
        bench
    }

    fn order(&mut self, orders: &[(P::Ip, u64, Begin)]) {
        let order = |(vip, takeover, begin): &(P::Ip, u64, Begin)| {
            (*vip, Order { takeover: *takeover, begin: *begin, stance: Stance::Alone })
        };
        self.port.set_orders(orders.iter().map(order).collect(), self.now);
        self.work();
    }

    fn hear(&mut self, frame: impl AsRef<[u8]>) -> Result<(), Ignored> {
        self.hear_late(frame, Duration::ZERO)
    }

    /// What came in some time ago.
    fn hear_late(&mut self, frame: impl AsRef<[u8]>, waited: Duration) -> Result<(), Ignored> {
        let heard = self.port.handle(frame.as_ref(), self.now.checked_sub(waited).unwrap(), self.now);
        self.work();
        heard
    }

    /// Lets `span` pass, calling the port whenever it wants to be called.
    fn advance(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.port.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now, "nothing was left undone");
            self.now = due;
            self.work();
        }
        self.now = end;
    }

    fn work(&mut self) {
        while let Some(effect) = self.port.poll(self.now) {
            self.done.push(((self.now - self.start).as_millis(), effect));
        }
    }

    fn sent(&self, purpose: Purpose) -> Vec<(u128, &[u8])> {
        self.done
            .iter()
            .filter_map(|(at, effect)| match effect {
                Effect::Send(sent) if sent.purpose == purpose => Some((*at, &sent.frame[..])),
                _ => None,
            })
            .collect()
    }

    fn times(&self, purpose: Purpose) -> Vec<u128> {
        self.sent(purpose).into_iter().map(|(at, _)| at).collect()
    }

    fn reports(&self) -> Vec<Report> {
        self.done
            .iter()
            .filter_map(|(_, effect)| if let Effect::Report(report) = effect { Some(*report) } else { None })
            .collect()
    }

    fn groups(&self) -> Vec<&Effect> {
        self.done
            .iter()
            .map(|(_, effect)| effect)
            .filter(|e| matches!(e, Effect::Join(_) | Effect::Leave(_)))
            .collect()
    }
}

fn arp_request(vip: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        destination: MacAddr::BROADCAST,
        source: THEIRS,
        operation: ArpOperation::Request,
        sender: Host { mac: THEIRS, ip: CLIENT_V4 },
        target: Host { mac: MacAddr::ZERO, ip: vip },
    }
}

fn solicitation(vip: Ipv6Addr) -> NdpFrame {
    NdpFrame {
        destination: MacAddr::of_group(solicited_node(vip)),
        source: THEIRS,
        to: solicited_node(vip),
        from: CLIENT_V6,
        target: vip,
        message: NdpMessage::Solicitation { source: Some(THEIRS) },
    }
}

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
    bench.port.set_voice(Voice::Silent);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.advance(ms(100));
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Silent));
    assert!(bench.done.is_empty());
    bench.port.set_voice(Voice::Full);
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
fn fellows_and_this_node_itself_are_no_strangers() {
    for mac in [FELLOW, OURS] {
        let mut bench = Bench::probing(ARP, V4);
        assert_eq!(bench.hear(ArpFrame::probe(mac, V4).emit()), Err(Ignored::NotAnnounced));
        assert_eq!(bench.hear(ArpFrame::gratuitous_reply(mac, V4).emit()), Err(Ignored::Fellow));
        bench.advance(ms(300));
        assert_eq!(bench.times(Purpose::Takeover).len(), 2);

        let mut bench = Bench::announcing(ARP, V4);
        assert_eq!(bench.hear(ArpFrame::gratuitous_request(mac, V4).emit()), Err(Ignored::Fellow));
        let mut bench6 = Bench::announcing(NDP, V6);
        let told = NdpFrame::unsolicited(mac, LINK_LOCAL, V6);
        assert_eq!(bench6.hear(told.emit()), Err(Ignored::Fellow));
        bench.advance(ms(20_000));
        bench6.advance(ms(20_000));
        assert_eq!((bench.done, bench6.done), (vec![], vec![]));
    }
}

#[test]
fn a_fellow_that_asks_is_answered_even_from_an_address_of_ours() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce), (OTHER_V4, 2, Begin::Announce)]);
    let sender = Host { mac: FELLOW, ip: V4 };
    assert_eq!(bench.hear(ArpFrame { sender, ..arp_request(OTHER_V4) }.emit()), Ok(()));
    assert_eq!(bench.sent(Purpose::Answer).len(), 1);
}

#[test]
fn a_stranger_that_claims_an_address_is_reported_and_met_once_in_ten_seconds() {
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
        |bench: &mut Bench<Arp>| bench.port.set_friends(known(THEIRS), bench.now),
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
fn while_a_fellow_is_not_known_by_its_address_who_claims_one_of_ours_may_be_that_fellow() {
    let mut bench = Bench::announcing(ARP, V4);
    let claim = ArpFrame::gratuitous_request(THEIRS, V4).emit();
    bench.port.set_friends(Friends { unknown: 1, ..known(FELLOW) }, bench.now);
    assert_eq!(bench.hear(claim), Ok(()));
    bench.advance(ms(400));
    bench.port.set_friends(known(FELLOW), bench.now);
    bench.advance(ms(20_000));
    assert_eq!(bench.done, []);
    assert_eq!(bench.hear(claim), Ok(()));
    bench.advance(ms(300));
    assert_eq!(bench.reports(), [Report::Claimed { vip: V4.into(), by: THEIRS }]);

    // Asked about beforehand, nobody of us should have it.
    let mut bench = Bench::probing(ARP, V4);
    bench.port.set_friends(Friends { unknown: 1, ..known(FELLOW) }, bench.now);
    assert_eq!(bench.hear(claim), Ok(()));
    assert_eq!(bench.reports(), [Report::Taken { vip: V4.into(), by: THEIRS }]);
}

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
    assert_eq!(bench.hear(arp_request(V4).emit()), Err(Ignored::Silent), "however fresh the question");
    bench.advance(ms(300));
    assert_eq!(bench.hear(arp_request(V4).emit()), Ok(()));
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

#[test]
fn takeovers_are_paced_and_the_first_frame_of_each_address_comes_first() {
    let mut bench = Bench::new(ARP);
    bench.port.set_frame_gap(crate::frame_gap(1));
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

#[test]
fn a_little_late_is_no_stall() {
    let mut bench = Bench::new(ARP);
    bench.order(&[(V4, 1, Begin::Announce)]);
    bench.now += ms(1_500);
    bench.work();
    assert_eq!(bench.times(Purpose::Takeover), [0, 0, 1_500, 1_500]);
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

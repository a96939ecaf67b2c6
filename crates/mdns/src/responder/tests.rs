use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::wire::{A, AAAA, ANY, IN};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

/// An interface in virtual time, and what it has sent.
struct Bench {
    responder: Responder,
    start: Instant,
    now: Instant,
    /// In milliseconds since the beginning.
    sent: Vec<(u64, Destination, Vec<u8>)>,
    reports: Vec<Report>,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let mut responder = Responder::new(1, start);
        let prefixes = [("192.0.2.1", 24), ("2001:db8::1", 64)];
        let of = |(ip, length): (&str, u8)| Prefix::of(ip.parse().unwrap(), length).unwrap();
        responder.set_prefixes(prefixes.map(of).into());
        Self { responder, start, now: start, sent: Vec::new(), reports: Vec::new() }
    }

    /// One that has announced web.local with these addresses.
    fn announced(vips: &[&str]) -> Self {
        let mut bench = Self::new();
        bench.want(vips, vips);
        bench.pass(10_000);
        assert_eq!(bench.reports, [Report::Announced(name())]);
        bench.sent.clear();
        bench
    }

    fn want(&mut self, all: &[&str], here: &[&str]) {
        let set = |ips: &[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect::<BTreeSet<IpAddr>>();
        let known = if all.is_empty() { [].into() } else { [(name(), set(all))].into() };
        let here = if here.is_empty() { [].into() } else { [(name(), set(here))].into() };
        self.responder.set_wanted(&Wanted { known: Arc::new(known), here }, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..1000 {
            match self.responder.poll(self.now) {
                Some(Effect::Send { to, purpose: _, bytes }) => {
                    let at = u64::try_from((self.now - self.start).as_millis()).unwrap();
                    self.sent.push((at, to, bytes));
                }
                Some(Effect::Report(report)) => self.reports.push(report),
                None => return,
            }
        }
        panic!("it goes on for ever");
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(due) = self.responder.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn hear(&mut self, bytes: &[u8], from: &str) -> Result<(), Ignored> {
        let handled = self.responder.handle(Packet { bytes, from: from.parse().unwrap() }, self.now);
        self.drain();
        handled
    }

    /// What was sent meanwhile, as `destination: answers | additionals`.
    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, to, bytes)| shown(to, &bytes)).collect()
    }
}

fn name() -> Name {
    Name::of_label("web").unwrap()
}

fn shown(to: Destination, bytes: &[u8]) -> String {
    let message = Message::parse(bytes).unwrap();
    let list = |records: &[wire::Record<'_>]| {
        let shown = records.iter().map(|record| match record.address() {
            Some(ip) => format!("{ip}/{}", record.ttl),
            None => format!("type{}/{}", record.kind, record.ttl),
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    let to = match to {
        Destination::Group => "all".to_owned(),
        Destination::One(one) => one.to_string(),
    };
    if message.is_response {
        format!("{to}: {} | {}", list(&message.answers), list(&message.additionals))
    } else {
        format!("{to}? {}", list(&message.authorities))
    }
}

fn record(ip: &str, ttl: u32) -> OwnRecord {
    OwnRecord { name: name(), data: Data::Address(ip.parse().unwrap()), ttl, flush: true }
}

/// A query with these flags, for this type and class, with known answers and authorities.
fn query(flags: u16, kind: u16, class: u16, known: &[OwnRecord], proposed: &[OwnRecord]) -> Vec<u8> {
    let mut bytes = [7, 7].to_vec();
    let counts = [flags, 1, u16::try_from(known.len()).unwrap(), u16::try_from(proposed.len()).unwrap(), 0];
    counts.iter().for_each(|half| bytes.extend(half.to_be_bytes()));
    name().write(&mut bytes);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(class.to_be_bytes());
    for records in [known, proposed] {
        let answers = wire::response(records, &[]);
        let first = &answers[12..];
        // Names that stand at 12 there stand at 12 here as well.
        bytes.extend(first);
    }
    bytes
}

fn question(kind: u16) -> Vec<u8> {
    query(0, kind, IN, &[], &[])
}

const CLIENT: &str = "192.0.2.77:5353";
const RESOLVER: &str = "192.0.2.77:40000";
const QU: u16 = 0x8000 | IN;

#[test]
fn a_name_is_probed_for_three_times_and_then_announced_twice() {
    let mut bench = Bench::new();
    bench.want(&[V4], &[V4]);
    bench.pass(10_000);
    let times: Vec<_> = bench.sent.iter().map(|(at, ..)| *at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(times[0] < 250, "{times:?}");
    assert_eq!(gaps, [250, 250, 250, 1000]);
    let probe = format!("all? {V4}/120");
    let announcement = format!("all: {V4}/120 | type47/120");
    assert_eq!(bench.said(), [&probe[..], &probe, &probe, &announcement, &announcement]);
}

#[test]
fn records_flush_what_was_known_unless_other_nodes_have_some_of_the_same_family() {
    for (all, top_bit) in [(&[V4, V6][..], true), (&[V4, "192.0.2.11"], false)] {
        let mut bench = Bench::new();
        bench.want(all, &[V4]);
        bench.pass(10_000);
        let (_, _, bytes) = bench.sent.last().unwrap();
        // The class follows the name and the type.
        assert_eq!(bytes[12 + name().length() + 2] & 0x80 != 0, top_bit);
    }
}

#[test]
fn nothing_is_answered_before_the_name_is_known_to_be_free() {
    let mut bench = Bench::new();
    bench.want(&[V4], &[V4]);
    bench.pass(400);
    bench.sent.clear();
    assert_eq!(bench.hear(&question(A), CLIENT), Err(Ignored::NotOurs));
    assert_eq!(bench.said(), [""; 0]);
}

#[test]
fn a_question_is_answered_at_once_with_the_other_family_or_that_there_is_none() {
    for (vips, kind, answer) in [
        (&[V4][..], A, format!("all: {V4}/120 | type47/120")),
        (&[V4], AAAA, format!("all: type47/120 | {V4}/120")),
        (&[V4], ANY, format!("all: {V4}/120 | type47/120")),
        // TXT
        (&[V4], 16, format!("all: type47/120 | {V4}/120")),
        (&[V4, V6], A, format!("all: {V4}/120 | {V6}/120")),
        (&[V6], A, format!("all: type47/120 | {V6}/120")),
    ] {
        let mut bench = Bench::announced(vips);
        bench.hear(&question(kind), CLIENT).unwrap();
        assert_eq!(bench.said(), [answer], "type {kind}");
    }
    let mut bench = Bench::announced(&[V4]);
    // The class CH.
    assert_eq!(bench.hear(&query(0, A, 3, &[], &[]), CLIENT), Err(Ignored::NotOurs));
}

#[test]
fn an_address_that_another_node_announces_is_left_to_that() {
    let mut bench = Bench::new();
    bench.want(&[V4, V6], &[V4]);
    bench.pass(10_000);
    bench.sent.clear();
    bench.hear(&question(AAAA), CLIENT).unwrap();
    assert_eq!(bench.said(), [""; 0]);
    bench.hear(&question(A), CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("all: {V4}/120 | ")]);
}

#[test]
fn a_record_is_told_to_all_once_a_second() {
    let mut bench = Bench::announced(&[V4]);
    for _ in 0..40 {
        bench.hear(&question(A), CLIENT).unwrap();
        bench.pass(100);
    }
    let times: Vec<_> = bench.sent.iter().map(|(at, ..)| *at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 1000), "{times:?}");
    assert!(times.len() >= 4, "{times:?}");
}

#[test]
fn what_is_known_is_not_told() {
    let mut bench = Bench::announced(&[V4, V6]);
    bench.hear(&query(0, A, IN, &[record(V4, 60)], &[]), CLIENT).unwrap();
    assert_eq!(bench.said(), [""; 0]);
    bench.hear(&query(0, A, IN, &[record(V4, 59)], &[]), CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("all: {V4}/120 | {V6}/120")]);
    let mut bench = Bench::announced(&[V4, V6]);
    bench.hear(&query(0, ANY, IN, &[record(V4, 120)], &[]), CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("all: {V6}/120 | {V4}/120")]);
}

#[test]
fn known_answers_may_come_in_a_further_packet() {
    let truncated = query(0x0200, A, IN, &[], &[]);
    let mut more = wire::response(&[record(V4, 120)], &[]);
    // No response.
    (more[2], more[3]) = (0, 0);
    for (from, answers) in [(CLIENT, 0), ("192.0.2.78:5353", 1)] {
        let mut bench = Bench::announced(&[V4]);
        bench.hear(&truncated, CLIENT).unwrap();
        bench.pass(300);
        _ = bench.hear(&more, from);
        assert_eq!(bench.said(), [""; 0]);
        bench.pass(300);
        assert_eq!(bench.said().len(), answers, "{from}");
    }
}

#[test]
fn who_wants_it_by_unicast_gets_it_so_where_all_have_heard_it_lately_and_it_is_on_the_lan() {
    let mut bench = Bench::announced(&[V4]);
    let wants_unicast = query(0, A, QU, &[], &[]);
    bench.hear(&wants_unicast, CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("{CLIENT}: {V4}/120 | type47/120")]);
    bench.hear(&wants_unicast, "198.51.100.1:5353").unwrap();
    assert_eq!(bench.said(), [format!("all: {V4}/120 | type47/120")]);
    bench.pass(31_000);
    bench.hear(&wants_unicast, CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("all: {V4}/120 | type47/120")]);
}

#[test]
fn a_legacy_resolver_gets_its_id_its_question_and_a_short_life() {
    let mut bench = Bench::announced(&[V4]);
    bench.hear(&question(A), RESOLVER).unwrap();
    let (_, to, bytes) = bench.sent.pop().unwrap();
    assert_eq!(to, Destination::One(RESOLVER.parse().unwrap()));
    assert_eq!(bytes[..12], [7, 7, 0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    let answer = Message::parse(&bytes).unwrap();
    assert_eq!(answer.questions, Message::parse(&question(A)).unwrap().questions);
    assert_eq!(answer.answers[0].ttl, 10);
    // The class: no bit to flush caches.
    let at = bytes.len() - 14 + 2;
    assert_eq!(bytes[at..at + 2], [0, 1]);
    assert_eq!(bench.hear(&question(A), "198.51.100.1:40000"), Err(Ignored::OffLink));
}

#[test]
fn answers_by_unicast_are_bounded() {
    let mut bench = Bench::announced(&[V4]);
    let refused = (0..1000).filter(|_| bench.hear(&question(A), RESOLVER) == Err(Ignored::TooMany)).count();
    assert_eq!(refused, 900);
    bench.pass(1000);
    assert_eq!(bench.hear(&question(A), RESOLVER), Ok(()));
}

#[test]
fn a_host_that_answers_a_probe_has_the_name_and_it_is_told_once() {
    let mut bench = Bench::new();
    bench.want(&[V4], &[V4]);
    let other = wire::response(&[record("192.0.2.99", 120)], &[]);
    for _ in 0..2 {
        bench.pass(300);
        bench.hear(&other, CLIENT).unwrap();
        bench.pass(1000);
    }
    let by = "192.0.2.77".parse().unwrap();
    assert_eq!(bench.reports, [Report::Taken { name: name(), by }]);
    bench.said();
    bench.pass(25_000);
    assert_eq!(bench.said(), [""; 0], "silent");
    assert_eq!(bench.hear(&question(A), CLIENT), Err(Ignored::NotOurs));
    // The host has gone by the next round.
    bench.pass(20_000);
    assert_eq!(bench.reports.last(), Some(&Report::Announced(name())));
}

#[test]
fn a_host_that_is_leaving_has_no_name() {
    let mut bench = Bench::new();
    bench.want(&[V4], &[V4]);
    bench.pass(300);
    bench.hear(&wire::response(&[record("192.0.2.99", 0)], &[]), CLIENT).unwrap();
    bench.pass(2000);
    assert_eq!(bench.reports, [Report::Announced(name())]);
}

#[test]
fn another_speaker_that_has_the_same_records_is_no_conflict() {
    let mut bench = Bench::new();
    bench.want(&[V4, V6], &[V4]);
    for _ in 0..4 {
        bench.pass(200);
        bench.hear(&wire::response(&[record(V6, 120), record(V4, 120)], &[]), CLIENT).unwrap();
        bench.hear(&query(0, ANY, IN, &[], &[record(V4, 120), record(V6, 120)]), CLIENT).unwrap();
    }
    bench.pass(1000);
    assert_eq!(bench.reports, [Report::Announced(name())]);
}

#[test]
fn a_name_that_is_in_use_is_defended_and_another_claim_makes_it_be_probed_for_again() {
    let mut bench = Bench::announced(&[V4]);
    bench.hear(&query(0, ANY, IN, &[], &[record("192.0.2.99", 120)]), CLIENT).unwrap();
    assert_eq!(bench.said(), [format!("all: {V4}/120 | type47/120")]);
    bench.hear(&wire::response(&[record("192.0.2.99", 120)], &[]), CLIENT).unwrap();
    bench.pass(900);
    let probe = format!("all? {V4}/120");
    assert_eq!(bench.said()[..3], [probe.clone(), probe.clone(), probe]);
}

#[test]
fn of_two_that_probe_the_one_with_the_later_records_goes_on() {
    for (other, waits) in [("192.0.2.200", true), ("192.0.2.1", false)] {
        let mut bench = Bench::new();
        bench.want(&[V4], &[V4]);
        bench.pass(260);
        bench.said();
        bench.hear(&query(0, ANY, IN, &[], &[record(other, 120)]), CLIENT).unwrap();
        bench.pass(600);
        assert_eq!(bench.said().is_empty(), waits, "{other}");
        bench.pass(2000);
        assert_eq!(bench.reports, [Report::Announced(name())], "nobody defends it");
    }
}

#[test]
fn claims_without_end_are_met_with_a_pause() {
    let mut bench = Bench::announced(&[V4]);
    let other = wire::response(&[record("192.0.2.99", 120)], &[]);
    for _ in 0..1200 {
        bench.hear(&other, CLIENT).unwrap();
        bench.pass(100);
    }
    assert!(bench.sent.len() < 200, "{} messages in two minutes", bench.sent.len());
}

#[test]
fn an_address_that_moves_to_another_node_stays_known_and_one_that_is_gone_is_taken_back() {
    let mut bench = Bench::announced(&[V4]);
    bench.want(&[V4], &[]);
    assert_eq!(bench.said(), [""; 0]);

    let mut bench = Bench::announced(&[V4]);
    bench.want(&[], &[]);
    assert_eq!(bench.said(), [format!("all: {V4}/0 | ")]);

    let mut bench = Bench::announced(&[V4]);
    bench.want(&["192.0.2.11"], &["192.0.2.11"]);
    assert_eq!(bench.said(), [format!("all: {V4}/0 | "), "all: 192.0.2.11/120 | type47/120".to_owned()]);
}

#[test]
fn an_address_that_comes_here_is_announced() {
    let mut bench = Bench::new();
    bench.want(&[V4, V6], &[V4]);
    bench.pass(10_000);
    bench.said();
    bench.want(&[V4, V6], &[V4, V6]);
    bench.pass(3000);
    let announcement = format!("all: {V4}/120 {V6}/120 | ");
    assert_eq!(bench.said(), [announcement.clone(), announcement]);
}

#[test]
fn who_leaves_takes_its_names_back_and_a_speaker_that_has_them_says_that_they_hold() {
    let mut bench = Bench::announced(&[V4]);
    bench.responder.leave();
    bench.drain();
    let goodbye = bench.sent[0].2.clone();
    assert_eq!(bench.said(), [format!("all: {V4}/0 | ")]);
    assert_eq!(bench.responder.poll_timeout(), None);

    let mut other = Bench::announced(&[V4]);
    other.hear(&goodbye, CLIENT).unwrap();
    other.pass(500);
    assert_eq!(other.said(), [format!("all: {V4}/120 | type47/120")]);
}

#[test]
fn answers_from_other_ports_count_for_nothing() {
    let mut bench = Bench::new();
    bench.want(&[V4], &[V4]);
    bench.pass(300);
    let other = wire::response(&[record("192.0.2.99", 120)], &[]);
    assert_eq!(bench.hear(&other, RESOLVER), Err(Ignored::Port));
    bench.pass(2000);
    assert_eq!(bench.reports, [Report::Announced(name())]);
}

#[test]
fn thousands_of_names_go_out_in_packets_that_fit() {
    let mut bench = Bench::new();
    let names = (0..2000).map(|number| {
        let ip: IpAddr =
            [10, 0, u8::try_from(number / 250).unwrap(), u8::try_from(number % 250).unwrap()].into();
        (Name::of_label(&format!("service-{number}")).unwrap(), BTreeSet::from([ip]))
    });
    let known: BTreeMap<_, _> = names.collect();
    let here = known.clone();
    bench.responder.set_wanted(&Wanted { known: Arc::new(known), here }, bench.now);
    bench.pass(20_000);
    assert_eq!(bench.reports.len(), 2000);
    assert!(bench.sent.iter().all(|(.., bytes)| bytes.len() <= 1400), "too long");
    let most = bench
        .sent
        .iter()
        .map(|(at, ..)| bench.sent.iter().filter(|(other, ..)| other / 10 == at / 10).count());
    assert!(most.max().unwrap() <= 3, "a burst");
}

proptest! {
    #[test]
    fn no_packet_makes_it_panic_or_speak_more_than_it_may(
        steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0..6_u8, 0..1500_u64), 0..40)
    ) {
        let mut bench = Bench::announced(&[V4, V6]);
        for (bytes, what, pause) in steps {
            let mut message = match what {
                0 => question(A),
                1 => query(0, ANY, QU, &[], &[]),
                2 => query(0, ANY, IN, &[], &[record("192.0.2.99", 120)]),
                3 => wire::response(&[record("192.0.2.99", 120)], &[]),
                4 => wire::response(&[record(V4, 0)], &[]),
                _ => vec![],
            };
            for (at, byte) in bytes.iter().enumerate() {
                match message.get_mut(at * 3 + 2) {
                    Some(other) if what < 5 && byte % 4 == 0 => *other ^= byte,
                    Some(_) => {}
                    None => message.push(*byte),
                }
            }
            let before = bench.sent.len();
            _ = bench.hear(&message, CLIENT);
            prop_assert!(bench.sent.len() <= before + 2);
            bench.pass(pause);
        }
        let mut last: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for (at, to, bytes) in &bench.sent {
            let message = Message::parse(bytes).unwrap();
            if *to != Destination::Group || !message.is_response {
                continue;
            }
            for ip in message.answers.iter().filter_map(wire::Record::address) {
                let before = last.insert(ip, *at);
                prop_assert!(before.is_none_or(|before| *at - before >= 250), "{ip} twice within a moment");
            }
        }
    }
}

//! Sessions alone, and two of them over a link in virtual time.

use proptest::prelude::*;

use super::*;

/// One way.
const LATENCY: Duration = Duration::from_millis(2);

fn interval(millis: u64) -> Interval {
    Duration::from_millis(millis).try_into().unwrap()
}

fn config(transmit: u64, receive: u64, multiplier: u8) -> Config {
    Config {
        transmit: interval(transmit),
        receive: interval(receive),
        multiplier: multiplier.try_into().unwrap(),
        echo: None,
        role: Role::Active,
        hops: Hops::One,
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Two sessions and the link between them.
struct Pair {
    ends: [Session; 2],
    now: Instant,
    /// What is on its way: when it arrives, at which end.
    flying: VecDeque<(Instant, usize, Flying)>,
    changes: Vec<(Instant, usize, Transition)>,
    /// Of a thousand packets, so many are lost.
    loss: u32,
    /// Whether echo packets come back.
    echoes: bool,
    random: SmallRng,
}

enum Flying {
    Control(Packet),
    Echo([u8; echo::LENGTH]),
}

impl Pair {
    fn new(configs: [Config; 2], loss: u32, seed: u64) -> Self {
        let now = Instant::now();
        let number = |number| NonZeroU32::new(number).unwrap();
        let ends = [
            Session::new(configs[0], number(1), seed, now),
            Session::new(configs[1], number(2), seed + 1, now),
        ];
        let random = SmallRng::seed_from_u64(seed);
        Self { ends, now, flying: VecDeque::new(), changes: Vec::new(), loss, echoes: true, random }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = self.ends.iter().filter_map(Session::poll_timeout);
            let arrival = self.flying.front().map(|(at, ..)| *at);
            let Some(at) = due.chain(arrival).min().filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            while self.flying.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, to, flying) = self.flying.pop_front().unwrap();
                match flying {
                    Flying::Control(packet) => self.tell(to, Input::Received { packet, ttl: 255 }),
                    Flying::Echo(bytes) => self.tell(to, Input::EchoReturned(&bytes)),
                }
            }
            self.tell(0, Input::Time);
            self.tell(1, Input::Time);
        }
        self.now = end;
    }

    fn tell(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].handle(input, self.now);
        while let Some(output) = self.ends[end].poll_output() {
            let lost = self.random.random_range(0..1000) < self.loss;
            match output {
                Output::Changed(transition) => self.changes.push((self.now, end, transition)),
                Output::Send(bytes) if !lost => {
                    let packet = Packet::parse(&bytes).expect("it sends what it takes");
                    self.flying.push_back((self.now + LATENCY, 1 - end, Flying::Control(packet)));
                }
                // There and back: kept in order of time, because there is no other latency.
                Output::SendEcho(bytes) if !lost && self.echoes => {
                    self.flying.push_back((self.now + LATENCY, end, Flying::Echo(bytes)));
                }
                Output::Send(_) | Output::SendEcho(_) => {}
            }
        }
    }

    fn states(&self) -> [State; 2] {
        [self.ends[0].state(), self.ends[1].state()]
    }
}

#[test]
fn two_sessions_come_up_and_speed_up_at_once() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(20));
    assert_eq!(pair.states(), [State::Up; 2]);
    assert!(pair.ends.iter().all(|end| end.detection_time() == ms(150)));
    let before = pair.ends[0].counters().sent;
    pair.run(ms(1000));
    let sent = pair.ends[0].counters().sent - before;
    assert!((20..=28).contains(&sent), "{sent} packets in a second");
    assert!(pair.ends.iter().all(|end| !end.polling));
}

#[test]
fn a_session_alone_says_once_a_second_that_it_is_down() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 1000, 7);
    pair.run(ms(10_000));
    let sent = pair.ends[0].counters().sent;
    assert!((10..=14).contains(&sent), "{sent} packets in ten seconds");
    assert_eq!(pair.states(), [State::Down; 2]);
}

#[test]
fn passive_sessions_wait_to_be_spoken_to() {
    let passive = Config { role: Role::Passive, ..config(50, 50, 3) };
    let mut pair = Pair::new([passive; 2], 0, 7);
    pair.run(ms(10_000));
    assert_eq!(pair.ends.each_ref().map(|end| end.counters().sent), [0; 2]);
    let mut pair = Pair::new([passive, config(50, 50, 3)], 0, 7);
    pair.run(ms(100));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn a_packet_from_farther_away_is_discarded() {
    let many = Config { hops: Hops::Many { least_ttl: 254 }, ..config(50, 50, 3) };
    let mut pair = Pair::new([many, config(50, 50, 3)], 1000, 7);
    pair.run(ms(10));
    let packet = Packet::parse(&{
        let mut other = Session::new(many, NonZeroU32::MIN, 1, pair.now);
        other.handle(Input::Time, pair.now);
        let Some(Output::Send(bytes)) = other.poll_output() else { panic!("it speaks first") };
        bytes
    })
    .unwrap();
    for (end, ttl, state) in [(0, 253, State::Down), (0, 254, State::Init), (1, 254, State::Down)] {
        pair.tell(end, Input::Received { packet, ttl });
        assert_eq!(pair.ends[end].state(), state, "TTL {ttl}");
    }
    assert_eq!(pair.ends.each_ref().map(|end| end.counters().ttl_too_small), [1, 1]);
}

#[test]
fn what_is_read_late_was_not_missed() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    let packet = {
        pair.tell(1, Input::Time);
        pair.flying.clear();
        pair.ends[1].send(Kind::Plain);
        let Some(Output::Send(bytes)) = pair.ends[1].poll_output() else { panic!("a packet") };
        Packet::parse(&bytes).unwrap()
    };
    let late = pair.now + ms(5000);
    pair.ends[0].handle(Input::Received { packet, ttl: 255 }, late);
    pair.ends[0].handle(Input::Time, late);
    assert_eq!(pair.ends[0].state(), State::Up);
}

#[test]
fn who_disables_a_session_says_so_for_a_while() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    pair.tell(0, Input::Disable);
    pair.run(LATENCY);
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert_eq!(pair.ends[1].diagnostic(), Diagnostic::PEER_DOWN);
    assert!(pair.changes.iter().all(|(.., transition)| !transition.is_failure()), "{:?}", pair.changes);
    pair.run(ms(3000));
    assert_eq!(pair.ends[0].poll_timeout(), None, "it has said so long enough");
    pair.tell(0, Input::Enable);
    pair.run(ms(3000));
    assert_eq!(pair.states(), [State::Up; 2]);
}

#[test]
fn that_there_is_to_be_no_session_is_said_several_times_in_the_detection_time() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    let sent = pair.ends[0].counters().sent;
    // The first are lost.
    pair.loss = 1000;
    pair.tell(0, Input::Disable);
    pair.run(ms(40));
    pair.loss = 0;
    pair.run(ms(120));
    assert_eq!(pair.states(), [State::AdminDown, State::Down]);
    assert!(pair.changes.iter().all(|(.., transition)| !transition.is_failure()), "{:?}", pair.changes);
    let said = pair.ends[0].counters().sent - sent;
    assert!((4..=5).contains(&said), "{said} times");
    assert!(!pair.ends[0].is_leaving());
    pair.run(ms(3000));
    assert_eq!(pair.ends[0].counters().sent - sent, said, "and then no more");

    // A peer that never was up misses nothing.
    let mut alone = Pair::new([config(50, 50, 3); 2], 1000, 7);
    alone.run(ms(1500));
    alone.tell(0, Input::Disable);
    assert!(!alone.ends[0].is_leaving());
}

#[test]
fn it_fails_when_the_peer_is_not_heard_or_says_so_and_it_was_up() {
    let transition = |from, to, peer| Transition { from, to, diagnostic: Diagnostic::NONE, peer };
    for (from, to, peer, is_failure) in [
        (State::Up, State::Down, None, true),
        (State::Up, State::Down, Some(State::Down), true),
        (State::Up, State::Down, Some(State::AdminDown), false),
        (State::Up, State::AdminDown, None, false),
        (State::Init, State::Down, None, false),
        (State::Init, State::Up, Some(State::Up), false),
    ] {
        let transition = transition(from, to, peer);
        assert_eq!(transition.is_failure(), is_failure, "{transition:?}");
    }
}

#[test]
fn a_peer_that_wants_no_packets_is_sent_none() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    let packet =
        Packet::parse(&[0x20, 0xc0, 3, 24, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0xc3, 0x50, 0, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
    pair.tell(0, Input::Received { packet, ttl: 255 });
    assert!(!pair.ends[0].timers.contains(&Timer::Transmit));
}

#[test]
fn a_peer_that_wanted_no_packets_and_is_gone_is_spoken_to_at_once() {
    let now = Instant::now();
    let mut session = Session::new(config(50, 50, 1), NonZeroU32::MIN, 7, now);
    session.handle(Input::Time, now);
    let mut packet =
        Packet::parse(&[0x20, 0xc0, 1, 24, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0xc3, 0x50, 0, 0, 0, 0, 0, 0, 0, 0])
            .unwrap();
    packet.state = State::AdminDown;
    session.handle(Input::Received { packet, ttl: 255 }, now);
    let gone = now + ms(5000);
    session.handle(Input::Time, gone);
    assert_eq!(session.state(), State::Down);
    assert!(session.poll_timeout().is_some_and(|at| at > gone), "what was due is done");
}

#[test]
fn a_poll_is_answered_at_once_and_only_then() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    let mut bytes =
        [0x20, 0xe0, 3, 24, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, 0, 0, 0, 0];
    for (flags, answers) in [(0xe0, 1), (0xc0, 0)] {
        bytes[1] = flags;
        let packet = Packet::parse(&bytes).unwrap();
        pair.ends[0].handle(Input::Received { packet, ttl: 255 }, pair.now);
        let outputs: Vec<Output> = std::iter::from_fn(|| pair.ends[0].poll_output()).collect();
        assert_eq!(outputs.len(), answers, "{outputs:?}");
        for output in outputs {
            let Output::Send(bytes) = output else { panic!("{output:?}") };
            let answer = Packet::parse(&bytes).unwrap();
            assert!(answer.r#final && !answer.poll);
        }
    }
}

#[test]
fn what_changes_at_up_is_polled_for_until_the_peer_has_answered() {
    let mut session = Session::new(config(50, 50, 3), NonZeroU32::MIN, 1, Instant::now());
    let mut now = Instant::now();
    let mut packet = |session: &mut Session, flags| {
        let bytes =
            [0x20, flags, 3, 24, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50, 0, 0, 0, 0];
        while session.poll_output().is_some() {}
        now += ms(50);
        session.handle(Input::Received { packet: Packet::parse(&bytes).unwrap(), ttl: 255 }, now);
        session.handle(Input::Time, now);
        let sent = std::iter::from_fn(|| session.poll_output());
        sent.filter_map(|output| match output {
            Output::Send(bytes) => Some(Packet::parse(&bytes).unwrap()),
            Output::SendEcho(_) | Output::Changed(_) => None,
        })
        .last()
        .map(|packet| (packet.state, packet.poll))
    };
    assert_eq!(packet(&mut session, 0x80), Some((State::Up, true)));
    assert_eq!(packet(&mut session, 0xc0), Some((State::Up, true)), "nobody has answered");
    packet(&mut session, 0xd0);
    assert_eq!(packet(&mut session, 0xc0), Some((State::Up, false)));
}

#[test]
fn who_is_to_send_more_seldom_does_so_when_the_peer_knows() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    pair.loss = 1000;
    pair.tell(0, Input::Configure(config(1000, 50, 3)));
    let before = pair.ends[0].counters().sent;
    pair.run(ms(100));
    assert!(pair.ends[0].counters().sent > before, "the peer still expects a packet every 50 ms");
    pair.loss = 0;
    pair.run(ms(5000));
    assert_eq!(pair.states(), [State::Up; 2]);
    let before = pair.ends[0].counters().sent;
    pair.run(ms(2000));
    assert!(pair.ends[0].counters().sent - before <= 3);
    assert_eq!(pair.ends[1].detection_time(), ms(3000));
}

#[test]
fn echo_finds_a_path_that_answers_no_more() {
    let echo = Config { echo: Some(interval(20)), ..config(1000, 1000, 3) };
    let mut pair = Pair::new([echo; 2], 0, 7);
    pair.run(ms(5000));
    assert_eq!(pair.states(), [State::Up; 2]);
    assert!(pair.ends[0].counters().echo_received > 200);
    assert_eq!(pair.ends[0].counters().down, 0);
    pair.tell(0, Input::EchoReturned(&[1; echo::LENGTH]));
    assert_eq!(pair.ends[0].counters().echo_foreign, 1);
    pair.changes.clear();
    pair.echoes = false;
    let cut = pair.now;
    pair.run(ms(80));
    let (at, _, transition) = pair.changes[0];
    assert_eq!(transition.diagnostic, Diagnostic::ECHO_FAILED);
    assert!(at - cut <= ms(60) + LATENCY, "{:?}", at - cut);
    let over_routers = Config { hops: Hops::Many { least_ttl: 1 }, ..echo };
    let mut pair = Pair::new([over_routers; 2], 0, 7);
    pair.run(ms(5000));
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.ends[0].counters().echo_sent, 0);
}

fn any_config() -> impl Strategy<Value = Config> {
    (10u64..1500, 10u64..1500, 1u8..6).prop_map(|(transmit, receive, multiplier)| {
        // No detection time is as short as a packet's way.
        config(transmit.max(20), receive.max(20), multiplier)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn two_sessions_come_up_stay_up_and_find_a_cut_in_time(
        configs in [any_config(), any_config()],
        other in any_config(),
        loss in 0u32..400,
        seed in 0u64..1_000_000,
    ) {
        let mut pair = Pair::new(configs, loss, seed);
        pair.run(Duration::from_secs(20));
        pair.loss = 0;
        // Down until then at worst, then three packets, one a second or as configured.
        pair.run(Duration::from_secs(40));
        prop_assert_eq!(pair.states(), [State::Up; 2]);
        pair.changes.clear();
        pair.run(Duration::from_secs(20));
        pair.tell(0, Input::Configure(other));
        pair.run(Duration::from_secs(20));
        prop_assert!(pair.changes.is_empty(), "flapped: {:?}", pair.changes);
        prop_assert!(pair.ends.iter().all(|end| !end.polling));

        let times = pair.ends.each_ref().map(Session::detection_time);
        let expected = |own: Config, peer: Config| {
            own.receive.duration().max(peer.transmit.duration()) * u32::from(peer.multiplier.get())
        };
        prop_assert_eq!(times, [expected(other, configs[1]), expected(configs[1], other)]);
        pair.loss = 1000;
        let cut = pair.now;
        pair.run(times[0].max(times[1]) + LATENCY);
        prop_assert_eq!(pair.changes.len(), 2, "{:?}", pair.changes);
        for &(at, end, transition) in &pair.changes {
            prop_assert_eq!(transition.diagnostic, Diagnostic::EXPIRED);
            prop_assert!(at - cut <= times[end] + LATENCY);
        }
    }

    #[test]
    fn no_packets_make_a_session_panic_or_send_too_much(
        packets: Vec<([u8; packet::LENGTH], u16)>,
    ) {
        let mut now = Instant::now();
        let mut session = Session::new(config(50, 50, 3), NonZeroU32::MIN, 1, now);
        for (mut bytes, pause) in packets {
            // Else hardly any would be read.
            bytes[0] = 0x20 | bytes[0] & 0x1f;
            bytes[1] &= !5;
            bytes[3] = 24;
            if let Ok(packet) = Packet::parse(&bytes) {
                session.handle(Input::Received { packet, ttl: 255 }, now);
            }
            now += Duration::from_millis(pause.into());
            session.handle(Input::Time, now);
            let sent = std::iter::from_fn(|| session.poll_output())
                .filter(|output| matches!(output, Output::Send(_)))
                .count();
            // The change, the answer, and then one of each timer.
            prop_assert!(sent <= 4, "{sent} packets at once");
        }
    }
}

/// Gives an end to another process, by way of a text.
fn hand_over(pair: &mut Pair, end: usize) {
    let text = serde_json::to_string(&pair.ends[end].snapshot().unwrap()).unwrap();
    let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
    let next = Session::resume(snapshot.clone(), 99, pair.now).unwrap();
    assert_eq!(next.snapshot(), Some(snapshot), "nothing is lost");
    let old = std::mem::replace(&mut pair.ends[end], next);
    assert_eq!(pair.ends[end].discriminator(), old.discriminator());
    assert_eq!(pair.ends[end].hops(), Hops::One);
    pair.tell(end, Input::Time);
}

#[test]
fn a_session_goes_on_in_another_process_and_fails_there_in_time() {
    let with_echo = Config { echo: Some(interval(50)), ..config(50, 50, 3) };
    let mut pair = Pair::new([with_echo; 2], 0, 7);
    assert_eq!(pair.ends[0].snapshot(), None, "it is not up");
    pair.run(ms(500));
    for _ in 0..20 {
        hand_over(&mut pair, 0);
        pair.run(ms(30));
        hand_over(&mut pair, 1);
        pair.run(ms(45));
    }
    assert_eq!(pair.states(), [State::Up; 2]);
    assert!(pair.changes.iter().all(|(_, _, change)| !change.is_failure()), "{:?}", pair.changes);
    hand_over(&mut pair, 0);
    (pair.loss, pair.echoes) = (1000, false);
    pair.run(ms(160));
    assert_eq!(pair.states(), [State::Down; 2]);
}

#[test]
fn a_poll_goes_on_in_another_process() {
    let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
    pair.run(ms(500));
    pair.tell(0, Input::Configure(config(200, 200, 3)));
    assert!(pair.ends[0].polling);
    hand_over(&mut pair, 0);
    assert!(pair.ends[0].polling);
    pair.run(ms(500));
    assert!(!pair.ends[0].polling);
    assert_eq!(pair.states(), [State::Up; 2]);
    assert_eq!(pair.ends[1].detection_time(), ms(600));
}

proptest! {
    #[test]
    fn no_snapshot_makes_it_panic_or_send_without_end(numbers: [u32; 8], flags: [bool; 2], ttl: Option<NonZeroU8>) {
        let mut pair = Pair::new([config(50, 50, 3); 2], 0, 7);
        pair.run(ms(500));
        let mut value = serde_json::to_value(pair.ends[0].snapshot().unwrap()).unwrap();
        let fields = [
            "transmit", "receive", "echo", "transmit_in_force", "receive_in_force", "peer_desired_transmit",
            "peer_required_receive", "peer_required_echo",
        ];
        for (field, number) in fields.into_iter().zip(numbers) {
            value[field] = number.into();
        }
        value["is_passive"] = flags[0].into();
        value["is_polling"] = flags[1].into();
        value["least_ttl"] = ttl.map(NonZeroU8::get).into();
        let snapshot: Snapshot = serde_json::from_value(value).unwrap();
        let Ok(mut session) = Session::resume(snapshot, 1, pair.now) else { return Ok(()) };
        for _ in 0..50 {
            // One that is passive says nothing once its peer is lost.
            let Some(at) = session.poll_timeout() else { break };
            session.handle(Input::Time, at);
            while session.poll_output().is_some() {}
        }
    }
}

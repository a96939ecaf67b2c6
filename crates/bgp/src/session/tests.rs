use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use netgauze_bgp_pkt::BgpMessage;
use objects::Family;
use proptest::prelude::*;

use super::machine::{CONNECT, LEAVING, OPEN, REFRESH, SEND_HOLD, WITHDRAWING};
use super::*;
use crate::config::{
    AsNumbers, Asn, Families, HoldTime, Hops, PORT, PeerAs, RestartTime, RouterId, Transport,
};
use crate::judge::{Router, decode};
use crate::route::Attributes;
use crate::wire::attributes::Tenure;
use crate::wire::header::keepalive;
use crate::wire::notification::Code;
use crate::wire::open::{Capabilities, GracefulRestart, Multiprotocol};

const LOCAL: Local = Local { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), other: None };

pub(super) fn asn(number: u32) -> Asn {
    number.try_into().unwrap()
}

fn router_id(last: u8) -> RouterId {
    Ipv4Addr::new(192, 0, 2, last).try_into().unwrap()
}

pub(super) fn config() -> SessionConfig {
    SessionConfig {
        name: "router".into(),
        transport: Transport::V4 { peer: Ipv4Addr::new(192, 0, 2, 1), source: None },
        port: PORT,
        vrf: None,
        asns: AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) },
        router_id: router_id(2),
        timers: crate::config::Timers::new(Some(Duration::from_secs(9)), None, None).unwrap(),
        password: None,
        hops: Hops::One,
        families: Families::Both,
        graceful_restart: None,
        bfd: None,
    }
}

/// What the router says of itself.
pub(super) fn theirs() -> Open {
    Open {
        asn: asn(64_513),
        hold: HoldTime::from_seconds(6).unwrap(),
        router_id: router_id(1),
        capabilities: Capabilities {
            multiprotocol: Multiprotocol::Said(Some(Families::Both)),
            four_octet_asn: true,
            route_refresh: true,
            ..Capabilities::default()
        },
    }
}

pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(config: SessionConfig) -> Self {
        Self { session: Session::new(config, Past::Fresh, 1), now: Instant::now() }
    }

    /// A session that is in `state`, with nothing left to do.
    pub(super) fn at(state: State) -> Self {
        Self::with(config(), &theirs(), state)
    }

    pub(super) fn with(config: SessionConfig, theirs: &Open, state: State) -> Self {
        let mut bench = Self::new(config);
        bench.session.handle(Input::RoutesComplete, bench.now);
        let steps: &[Input<'_>] = match state {
            State::Idle => &[],
            State::Connect => &[Input::Start],
            State::Active => &[Input::Start, Input::Disconnected],
            State::OpenSent => &[Input::Start, Input::Connected(LOCAL)],
            State::OpenConfirm => &[Input::Start, Input::Connected(LOCAL), Input::Received(&theirs.emit())],
            State::Established => &[
                Input::Start,
                Input::Connected(LOCAL),
                Input::Received(&theirs.emit()),
                Input::Received(&keepalive()),
            ],
        };
        for step in steps {
            bench.session.handle(step.clone(), bench.now);
        }
        assert_eq!(bench.session.state(), state);
        bench.outputs();
        while bench.session.poll_update().is_some() {}
        bench
    }

    pub(super) fn handle(&mut self, input: Input<'_>) -> Vec<String> {
        self.session.handle(input, self.now);
        self.outputs()
    }

    /// Lets time pass until the next thing is due.
    pub(super) fn wait(&mut self) -> Duration {
        let before = self.now;
        self.now = self.session.poll_timeout().expect("something is due");
        self.session.handle(Input::Time, self.now);
        self.now - before
    }

    /// What is to be done, in a few words.
    pub(super) fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_output())
            .map(|output| match output {
                Output::Connect => "connect".to_owned(),
                Output::Close => "close".to_owned(),
                Output::Changed(Transition { to, .. }) => to.to_string(),
                // The decoder knows no RFC 9687.
                Output::Send(message) if message[18..] == [3, 8, 0] => "NOTIFICATION 8/0".to_owned(),
                Output::Send(message) => match decode(&message) {
                    BgpMessage::Open(_) => "OPEN".to_owned(),
                    BgpMessage::KeepAlive => "KEEPALIVE".to_owned(),
                    BgpMessage::Notification(_) => {
                        format!("NOTIFICATION {}/{}", message[19], message[20])
                    }
                    other => panic!("unexpected: {other:?}"),
                },
            })
            .collect()
    }
}

/// Every event in every state: what is to be done, the new state among it.
#[test]
#[expect(clippy::match_same_arms, reason = "one event after the other, as the table has them")]
fn the_state_machine_of_rfc_4271_section_8() {
    use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

    let open = theirs().emit();
    let stranger = Open { asn: asn(7), ..theirs() }.emit();
    let notification = Notification::new(Notification::SHUTDOWN).emit();
    let end = update::end_of_rib(Family::V4);
    let refresh = crate::wire::header::message(Kind::RouteRefresh, |out| out.extend([0, 1, 0, 1]));
    let malformed = crate::wire::header::message(Kind::Update, |out| out.extend([0, 9, 0, 0]));
    let garbage = [0; 19];
    let other = SessionConfig { router_id: router_id(9), ..config() };

    // The events of RFC 4271 section 8.1 that a speaker has which only connects, by what stands for them here.
    let events: [(&str, Input<'_>); 15] = [
        ("start", Input::Start),
        ("stop", Input::Stop(Farewell::Cease)),
        ("configure", Input::Configure(Box::new(other))),
        ("connected", Input::Connected(LOCAL)),
        ("disconnected", Input::Disconnected),
        ("reachable", Input::Reachable),
        ("OPEN", Input::Received(&open)),
        ("bad OPEN", Input::Received(&stranger)),
        ("KEEPALIVE", Input::Received(&keepalive())),
        ("UPDATE", Input::Received(&end)),
        ("bad UPDATE", Input::Received(&malformed)),
        ("ROUTE-REFRESH", Input::Received(&refresh)),
        ("NOTIFICATION", Input::Received(&notification)),
        ("bad header", Input::Received(&garbage)),
        ("BFD down", Input::BfdDown),
    ];
    let nothing: &[&str] = &[];
    let lost: &[&str] = &["close", "Active"];
    let bad_header = &["NOTIFICATION 1/1", "close", "Active"][..];
    let bad_update = &["NOTIFICATION 3/1", "close", "Active"][..];
    let bfd = &["NOTIFICATION 6/10", "close", "Active"][..];
    let stop = &["NOTIFICATION 6/2", "close", "Idle"][..];
    let anew = &["NOTIFICATION 6/6", "close", "connect", "Connect"][..];
    let unexpected = |state| match state {
        OpenSent => &["NOTIFICATION 5/1", "close", "Active"][..],
        OpenConfirm => &["NOTIFICATION 5/2", "close", "Active"][..],
        _ => &["NOTIFICATION 5/3", "close", "Active"][..],
    };
    for state in State::ALL {
        for (name, event) in &events {
            let expected = match (state, *name) {
                (Idle, "start") => &["connect", "Connect"][..],
                (Connect, "stop") => &["close", "Idle"],
                (Active, "stop") => &["Idle"],
                (OpenSent | OpenConfirm | Established, "stop") => stop,
                (Connect, "configure") => &["close", "connect", "Connect"],
                (Active, "configure" | "reachable") => &["connect", "Connect"],
                (OpenSent | OpenConfirm | Established, "configure") => anew,
                (Connect, "connected") => &["OPEN", "OpenSent"],
                (Connect | OpenSent | OpenConfirm | Established, "disconnected") => lost,
                (OpenSent, "OPEN") => &["KEEPALIVE", "OpenConfirm"],
                (OpenConfirm | Established, "OPEN") => unexpected(state),
                (OpenSent, "bad OPEN") => &["NOTIFICATION 2/2", "close", "Active"],
                (OpenConfirm | Established, "bad OPEN") => unexpected(state),
                (OpenSent, "KEEPALIVE" | "UPDATE" | "ROUTE-REFRESH") => unexpected(state),
                (OpenConfirm, "KEEPALIVE") => &["Established"],
                (OpenConfirm, "UPDATE" | "ROUTE-REFRESH") => unexpected(state),
                (OpenSent | OpenConfirm | Established, "bad UPDATE") => bad_update,
                (OpenSent | OpenConfirm | Established, "NOTIFICATION") => lost,
                (OpenSent | OpenConfirm | Established, "bad header") => bad_header,
                (OpenSent | OpenConfirm | Established, "BFD down") => bfd,
                _ => nothing,
            };
            let mut bench = Bench::at(state);
            assert_eq!(bench.handle(event.clone()), expected, "{state}: {name}");
        }
    }
}

#[test]
fn a_session_that_is_not_opened_is_given_up() {
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        let mut bench = Bench::at(state);
        let mut waited = Duration::ZERO;
        let last = loop {
            waited += bench.wait();
            let outputs = bench.outputs();
            if outputs.first().map(String::as_str) != Some("KEEPALIVE") {
                break outputs;
            }
        };
        assert_eq!(last, ["NOTIFICATION 4/0", "close", "Active"]);
        let expected = if state == State::OpenSent { OPEN } else { Duration::from_secs(6) };
        assert_eq!(waited, expected, "{state}");
    }
}

#[test]
fn signs_of_life_are_given_in_thirds_of_the_agreed_hold_time() {
    let mut bench = Bench::at(State::Established);
    for _ in 0..50 {
        let waited = bench.wait();
        assert!((1.5..=2.0).contains(&waited.as_secs_f64()), "{waited:?}");
        assert_eq!(bench.outputs(), ["KEEPALIVE"]);
        assert!(bench.handle(Input::Received(&keepalive())).is_empty());
    }
}

#[test]
fn a_session_without_hold_time_lives_for_ever() {
    let theirs = Open { hold: HoldTime::NEVER, ..theirs() };
    let bench = Bench::with(config(), &theirs, State::Established);
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn it_is_tried_again_ever_more_seldom() {
    let mut bench = Bench::at(State::Active);
    let mut most = 1.0;
    for _ in 0..9 {
        let waited = bench.wait().as_secs_f64();
        assert!((most * 0.75..=most).contains(&waited), "{waited} s instead of {most} s");
        assert_eq!(bench.outputs(), ["connect", "Connect"]);
        assert_eq!(bench.wait(), CONNECT, "an attempt does not take longer");
        assert_eq!(bench.outputs(), ["close", "Active"]);
        most = f64::min(most * 2.0, 120.0);
    }
}

#[test]
fn who_the_peer_may_be() {
    let internal = AsNumbers { peer: PeerAs::Is(asn(64_512)), ..config().asns };
    let of = |open: Open, asns| {
        let mut bench = Bench::with(SessionConfig { asns, ..config() }, &open, State::OpenSent);
        bench.handle(Input::Received(&open.emit())).first().cloned().unwrap()
    };
    let same = |id| Open { asn: asn(64_512), router_id: router_id(id), ..theirs() };
    assert_eq!(of(theirs(), config().asns), "KEEPALIVE");
    assert_eq!(of(same(1), config().asns), "NOTIFICATION 2/2");
    assert_eq!(of(same(1), internal), "KEEPALIVE");
    assert_eq!(of(same(2), internal), "NOTIFICATION 2/3");
    assert_eq!(of(theirs(), AsNumbers { peer: PeerAs::External, ..internal }), "KEEPALIVE");
    assert_eq!(of(theirs(), AsNumbers { peer: PeerAs::Internal, ..internal }), "NOTIFICATION 2/2");

    let mut elsewhere = theirs();
    elsewhere.capabilities.multiprotocol = Multiprotocol::Unsaid;
    let config = SessionConfig { families: Families::Only(Family::V6), ..config() };
    let mut bench = Bench::with(config, &theirs(), State::OpenSent);
    bench.session.handle(Input::Received(&elsewhere.emit()), bench.now);
    let Some(Output::Send(message)) = bench.session.poll_output() else { panic!("nothing is sent") };
    assert_eq!(message[19..], [2, 7, 1, 4, 0, 2, 0, 1]);
}

#[test]
fn next_hops_are_addresses_of_this_end() {
    let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let (v4, v6, link_local) = (ip("192.0.2.2"), ip("2001:db8::2"), ip("fe80::2"));
    let by_v6 = Transport::V6 { peer: "2001:db8::1".parse().unwrap(), source: None };
    let unnumbered = Transport::Interface("eth0".into());
    for (transport, address, other, extended, expected) in [
        (config().transport, v4, None, false, (v4, None)),
        (config().transport, v4, v6, false, (v4, v6)),
        (by_v6.clone(), v6, None, false, (None, v6)),
        (by_v6.clone(), v6, None, true, (v6, v6)),
        (by_v6, v6, v4, true, (v4, v6)),
        (unnumbered.clone(), link_local, v4, true, (link_local, link_local)),
        (unnumbered, link_local, v4, false, (None, link_local)),
    ] {
        let config = SessionConfig { transport, ..config() };
        let mut open = theirs();
        open.capabilities.extended_next_hop = extended;
        let local = Local { address: address.unwrap(), other };
        let found = agree::agree(&config, local, open).unwrap().agreement.next_hops;
        assert_eq!((found.v4, found.v6.map(IpAddr::from)), expected, "{local:?}");
    }
}

fn routes(prefixes: &[&str]) -> Input<'static> {
    let attributes = Arc::new(Attributes::default());
    let route = |prefix: &&str| (prefix.parse().unwrap(), Arc::clone(&attributes));
    Input::Routes(Arc::new(prefixes.iter().map(route).collect()))
}

#[test]
fn attributes_and_profiles_change_without_a_new_session() {
    let mut bench = Bench::at(State::Established);
    assert!(bench.handle(routes(&["192.0.2.7/32"])).is_empty());
    let mut router = Router::default();
    router.apply(&bench.session.poll_update().unwrap());
    assert_eq!(router.table.first_key_value().unwrap().1.path, [64_512]);
    let config = SessionConfig { bfd: Some(bfd::config::Profile::default()), ..config() };
    assert!(bench.handle(Input::Configure(Box::new(config))).is_empty());
    assert_eq!((bench.session.state(), bench.session.counters().sent.updates), (State::Established, 3));
}

#[test]
fn who_leaves_lets_the_peer_find_other_routes_first() {
    let mut bench = Bench::at(State::Established);
    let mut router = Router::default();
    bench.session.handle(routes(&["192.0.2.7/32"]), bench.now);
    assert!(bench.handle(Input::Stop(Farewell::Leave)).is_empty());
    router.apply(&bench.session.poll_update().unwrap());
    assert_eq!(router.table.first_key_value().unwrap().1.communities, [0xffff_0000]);

    while bench.session.departure == Departure::Leaving {
        bench.wait();
        bench.outputs();
    }
    router.apply(&bench.session.poll_update().unwrap());
    assert!(router.table.is_empty());
    assert_eq!(bench.session.poll_update(), None);
    assert_eq!(bench.outputs().last_chunk(), Some(&["NOTIFICATION 6/2", "close", "Idle"].map(str::to_owned)));
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn a_peer_that_reads_nothing_does_not_keep_anybody_from_leaving() {
    let mut bench = Bench::at(State::Established);
    bench.handle(routes(&["192.0.2.7/32"]));
    bench.handle(Input::Stop(Farewell::Leave));
    let began = bench.now;
    while bench.session.state() != State::Idle {
        bench.wait();
    }
    assert_eq!(bench.now - began, LEAVING + WITHDRAWING);
}

#[test]
fn routes_survive_a_restart_where_the_peer_keeps_them() {
    let mut theirs = theirs();
    theirs.capabilities.graceful_restart = Some(GracefulRestart {
        restarting: false,
        time: RestartTime::default(),
        families: None,
        has_forwarded: false,
    });
    let config = SessionConfig { graceful_restart: Some(RestartTime::default()), ..config() };
    let mut bench = Bench::with(config.clone(), &theirs, State::Established);
    let other = SessionConfig { router_id: router_id(9), ..config.clone() };
    assert_eq!(bench.handle(Input::Configure(Box::new(other))), ["close", "connect", "Connect"]);
    let mut bench = Bench::with(config.clone(), &theirs, State::Established);
    assert_eq!(bench.handle(Input::Stop(Farewell::Silent)), ["close", "Idle"]);
    let mut bench = Bench::with(config.clone(), &self::theirs(), State::Established);
    assert!(bench.handle(Input::Stop(Farewell::Silent)).is_empty(), "who keeps nothing is given time");

    for (past, restarting, has_forwarded) in
        [(Past::Fresh, false, false), (Past::Restarted, true, true), (Past::Connected, false, true)]
    {
        let said = agree::open(&config, past).capabilities.graceful_restart.unwrap();
        assert_eq!(said.families, Some(Families::Both));
        assert_eq!((said.restarting, said.has_forwarded), (restarting, has_forwarded), "{past:?}");
    }
    let bench = Bench::with(config, &theirs, State::Established);
    assert_eq!(bench.session.past, Past::Connected, "what is kept is kept for the next connection, too");
}

#[test]
fn our_open_is_understood_by_others() {
    let by_v6 = Transport::V6 { peer: "2001:db8::1".parse().unwrap(), source: None };
    let asns = AsNumbers { own: asn(4_200_000_000), ..config().asns };
    let config =
        SessionConfig { transport: by_v6, asns, graceful_restart: Some(RestartTime::default()), ..config() };
    let BgpMessage::Open(open) = decode(&agree::open(&config, Past::Restarted).emit()) else { panic!() };
    assert_eq!((open.my_asn4(), open.hold_time(), open.capabilities().len()), (4_200_000_000, 9, 6));
}

proptest! {
    #[test]
    fn no_octets_make_it_panic_or_stop_trying(
        state in prop::sample::select(&State::ALL[1..]),
        octets in prop::collection::vec(any::<u8>(), 0..100),
        kind in 0_u8..7,
    ) {
        let mut message = [&[0xff; 16][..], &[0, 19 + u8::try_from(octets.len()).unwrap(), kind]].concat();
        message.extend(&octets);
        let mut bench = Bench::at(state);
        bench.handle(Input::Received(&message));
        bench.handle(Input::Received(&octets));
        prop_assert!(bench.session.state() != State::Idle);
        prop_assert!(bench.session.poll_timeout().is_some());
    }

    #[test]
    fn what_peers_announce_takes_no_memory(count in 1_usize..50) {
        let mut bench = Bench::at(State::Established);
        let prefix = "198.51.100.0/24".parse().unwrap();
        let agreement = bench.session.agreement().unwrap();
        let hop = LOCAL.address;
        let (message, _) =
            update::announce(&Attributes::default(), Tenure::Lasting, hop, agreement.context, &[prefix]);
        prop_assert!(bench.handle(Input::Received(&message.repeat(count))).is_empty());
        prop_assert_eq!(bench.session.counters().received.updates, count as u64);
    }
}

#[test]
fn notifications_are_understood_by_others() {
    for code in [(1, 1), (1, 2), (2, 2), (2, 7), (3, 1), (4, 0), (5, 3), (6, 2), (6, 6)] {
        let message = Notification::new(Code(code.0, code.1)).with(&[0, 19]).emit();
        assert!(matches!(decode(&message), BgpMessage::Notification(_)), "{code:?}");
    }
}

#[test]
fn routes_without_a_next_hop_are_held_back_until_there_is_one() {
    let mut bench = Bench::at(State::Established);
    bench.handle(routes(&["198.51.100.1/32"]));
    assert!(bench.session.held_back().is_empty());
    bench.handle(routes(&["198.51.100.1/32", "2001:db8:1::1/128"]));
    assert_eq!(bench.session.held_back(), [(Family::V6, HeldBack::NoNextHop)]);
    let mut router = Router::default();
    let mut take = |bench: &mut Bench| {
        while let Some(message) = bench.session.poll_update() {
            router.apply(&message);
        }
        router.table.clone()
    };
    assert_eq!(take(&mut bench).len(), 1);

    let (v4, v6) = ("192.0.2.77".parse().unwrap(), "2001:db8::2".parse().unwrap());
    bench.handle(Input::Addresses(LOCAL));
    assert_eq!(take(&mut bench).len(), 1);
    bench.handle(Input::Addresses(Local { address: v4, other: Some(v6) }));
    let table = take(&mut bench);
    let next_hops: Vec<_> = table.values().map(|told| told.next_hop.unwrap()).collect();
    assert_eq!(next_hops, [LOCAL.address, v6], "what was told stays as it is");
    assert!(bench.session.held_back().is_empty());
    bench.handle(Input::Disconnected);
    assert!(bench.session.held_back().is_empty());
}

#[test]
fn routes_that_the_router_does_not_exchange_are_held_back() {
    let only_v4 = Capabilities {
        multiprotocol: Multiprotocol::Said(Some(Families::Only(Family::V4))),
        ..theirs().capabilities
    };
    let theirs = Open { capabilities: only_v4, ..theirs() };
    let mut bench = Bench::with(config(), &theirs, State::Established);
    bench.handle(routes(&["2001:db8:1::1/128"]));
    assert_eq!(bench.session.held_back(), [(Family::V6, HeldBack::NotExchanged)]);
}

#[test]
fn a_peer_that_agrees_on_no_hold_time_and_then_falls_silent_is_given_up() {
    for seconds in [0, 65_535] {
        let hold = HoldTime::from_seconds(seconds).unwrap();
        let timers = crate::config::Timers::new(Some(Duration::from_secs(65_535)), None, None).unwrap();
        let config = SessionConfig { timers, ..config() };
        let mut bench = Bench::with(config, &Open { hold, ..theirs() }, State::OpenConfirm);
        assert_eq!(bench.wait(), OPEN);
        assert_eq!(bench.outputs(), ["NOTIFICATION 4/0", "close", "Active"]);
    }
}

#[test]
fn a_peer_that_lives_but_reads_nothing_is_given_up() {
    let mut bench = Bench::at(State::Established);
    let began = bench.now;
    bench.handle(Input::Blocked);
    let outputs = loop {
        bench.wait();
        let outputs = bench.outputs();
        if bench.session.state() != State::Established {
            break outputs;
        }
        assert!(bench.handle(Input::Received(&keepalive())).is_empty());
        assert!(bench.handle(Input::Blocked).is_empty(), "that it goes on changes nothing");
    };
    assert_eq!(outputs, ["NOTIFICATION 8/0", "close", "Active"]);
    assert_eq!(bench.now - began, SEND_HOLD);

    let mut bench = Bench::at(State::Established);
    bench.handle(Input::Blocked);
    bench.handle(Input::Written);
    assert!(!bench.session.timers.contains(&Timer::SendHold), "it has read something");
}

#[test]
fn however_often_a_peer_asks_it_is_told_everything_once_a_second() {
    let mut bench = Bench::at(State::Established);
    bench.handle(routes(&["198.51.100.1/32"]));
    let told = |bench: &mut Bench| std::iter::from_fn(|| bench.session.poll_update()).count();
    assert_eq!(told(&mut bench), 1);
    let refresh = crate::wire::header::message(Kind::RouteRefresh, |out| out.extend([0, 1, 0, 1]));
    assert!(bench.handle(Input::Received(&refresh)).is_empty());
    assert_eq!(told(&mut bench), 2, "the route and its end, at once");
    assert!(bench.handle(Input::Received(&refresh.repeat(100))).is_empty());
    assert_eq!(told(&mut bench), 0);
    bench.now += REFRESH;
    bench.handle(Input::Time);
    assert_eq!(told(&mut bench), 2);
    bench.now += REFRESH;
    bench.handle(Input::Time);
    assert_eq!(told(&mut bench), 0, "nobody has asked");
    assert!(!bench.session.timers.contains(&Timer::Refresh));
}

#[test]
fn a_next_hop_that_is_gone_is_replaced_and_the_routes_are_told_anew() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut bench = Bench::at(State::Established);
    let addresses = |other| Input::Addresses(Local { address: LOCAL.address, other });
    assert_eq!(bench.session.borrowed_next_hop(), None);
    bench.handle(addresses(Some(ip("2001:db8::2"))));
    bench.handle(routes(&["198.51.100.1/32", "2001:db8:1::1/128"]));
    let mut router = Router::default();
    let mut take = |bench: &mut Bench| {
        let messages: Vec<_> = std::iter::from_fn(|| bench.session.poll_update()).collect();
        messages.iter().for_each(|message| router.apply(message));
        let next_hops = router.table.values().map(|told| told.next_hop.unwrap()).collect::<Vec<_>>();
        (messages.len(), next_hops)
    };
    assert_eq!(take(&mut bench), (2, vec![LOCAL.address, ip("2001:db8::2")]));
    assert_eq!(bench.session.borrowed_next_hop(), Some(ip("2001:db8::2")));
    bench.handle(addresses(None));
    assert_eq!(take(&mut bench).0, 0, "there is no better one");
    bench.handle(addresses(Some(ip("2001:db8::3"))));
    assert_eq!(take(&mut bench), (1, vec![LOCAL.address, ip("2001:db8::3")]));
}

use std::num::{NonZeroU8, NonZeroU32};

use bfd::config::Profile;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::tests::{Bench, asn, config, theirs};
use super::*;
use crate::config::{AsNumbers, Password, PeerAs, RestartTime, SessionConfig, Transport};
use crate::judge::Router;
use crate::route::Routes;
use crate::session::{Farewell, Input};
use crate::wire::header::{Kind, keepalive, message};
use crate::wire::update;

/// One that has something to say for everything there is.
fn rich() -> SessionConfig {
    SessionConfig {
        name: "a router".into(),
        vrf: Some("red".into()),
        asns: AsNumbers { own: asn(1), shown: Some(asn(64_512)), peer: PeerAs::External },
        timers: crate::config::Timers::new(Some(Duration::from_secs(9)), Some(Duration::from_secs(2)), None)
            .unwrap(),
        password: Some(Password::new(*b"\xff secret").unwrap()),
        hops: crate::config::Hops::Many,
        graceful_restart: Some(RestartTime::default()),
        bfd: Some(Profile {
            echo: Some(bfd::config::Interval::ECHO),
            role: bfd::config::Role::Passive,
            multiplier: NonZeroU8::new(5).unwrap(),
            ..Profile::default()
        }),
        ..config()
    }
}

fn attributes(number: u32) -> Arc<Attributes> {
    Arc::new(Attributes {
        local_preference: LocalPreference(number),
        communities: Communities::new((0..number % 5).map(Community::from)).unwrap(),
        large_communities: Communities::new([LargeCommunity { global: number, local_1: 1, local_2: 2 }])
            .unwrap(),
        prepend: Prepend::new(1).unwrap(),
        link_bandwidth: NonZeroU32::new(number).map(LinkBandwidth::from_megabits),
    })
}

fn prefix(number: u8) -> Prefix {
    let prefix = match number % 2 {
        0 => format!("198.51.100.{number}/32"),
        _ => format!("2001:db8:1::{number}/128"),
    };
    prefix.parse().unwrap()
}

/// The prefixes of these numbers, with attributes by that.
fn routes(numbers: impl Iterator<Item = u8>, of: fn(u8) -> u32) -> Arc<Routes> {
    Arc::new(numbers.map(|number| (prefix(number), attributes(of(number)))).collect())
}

fn established(config: SessionConfig) -> Bench {
    let mut bench = Bench::with(config, &theirs(), State::Established);
    let address = "192.0.2.2".parse().unwrap();
    bench.handle(Input::Addresses(Local { address, other: "2001:db8::2".parse().ok() }));
    bench
}

/// By way of a text.
fn handed_over(bench: &Bench) -> Session {
    let snapshot = bench.session.snapshot(bench.now).unwrap();
    let text = serde_json::to_string(&snapshot).unwrap();
    let read: Snapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(read, snapshot);
    let session = read.resume(2, bench.now).unwrap();
    assert_eq!(session.snapshot(bench.now), Some(snapshot), "nothing is lost");
    session
}

#[test]
fn a_session_goes_on_where_it_was() {
    for config in [
        config(),
        rich(),
        SessionConfig {
            transport: Transport::V6 {
                peer: "2001:db8::1".parse().unwrap(),
                source: "2001:db8::2".parse().ok(),
            },
            asns: AsNumbers { own: asn(64_513), shown: None, peer: PeerAs::Internal },
            ..config()
        },
        SessionConfig { transport: Transport::Interface("eth0".into()), ..config() },
    ] {
        let mut bench = established(config);
        bench.handle(Input::Routes(routes(0..20, |number| u32::from(number) / 3)));
        while bench.session.poll_update().is_some() {}
        bench.now += Duration::from_secs(1);
        // The beginning of a message.
        let (first, rest) = (&keepalive()[..7], &keepalive()[7..]);
        assert!(bench.handle(Input::Received(first)).is_empty());

        let mut next = handed_over(&bench);
        assert_eq!(next.config(), bench.session.config());
        assert_eq!(next.agreement(), bench.session.agreement());
        assert_eq!(next.poll_timeout(), bench.session.poll_timeout());
        assert_eq!((next.rib().announced(), next.rib().wanted()), (20, 20));
        assert_eq!(next.rib().routes().len(), 20);
        assert!(next.poll_output().is_none() && next.poll_update().is_none(), "there is nothing to say");
        next.handle(Input::Received(rest), bench.now);
        assert_eq!((next.state(), next.counters().received.keepalives), (State::Established, 1));
        next.handle(Input::Routes(routes(1..20, |number| u32::from(number) / 3)), bench.now);
        next.handle(Input::RoutesComplete, bench.now);
        assert!(
            next.poll_update().is_some() && next.poll_update().is_none(),
            "one UPDATE, and no End-of-RIB"
        );
        bench.now = next.poll_timeout().unwrap();
        next.handle(Input::Time, bench.now);
        assert!(next.has_outputs(), "a sign of life");
    }
}

#[test]
fn another_configuration_ends_a_session_as_ever() {
    let bench = established(config());
    let mut next = handed_over(&bench);
    let same = SessionConfig { bfd: Some(Profile::default()), ..config() };
    next.handle(Input::Configure(Box::new(same)), bench.now);
    assert!(!next.has_outputs());
    let other = SessionConfig { password: Some("another".parse().unwrap()), ..config() };
    next.handle(Input::Configure(Box::new(other)), bench.now);
    let mut bench = Bench { session: next, now: bench.now };
    assert_eq!(bench.outputs(), ["NOTIFICATION 6/6", "close", "connect", "Connect"]);
}

#[test]
fn only_what_is_established_and_stays_is_handed_over() {
    for state in State::ALL {
        let bench = Bench::at(state);
        let snapshot = bench.session.snapshot(bench.now);
        assert_eq!(snapshot.is_some(), state == State::Established, "{state}");
    }
    let mut bench = Bench::at(State::Established);
    bench.handle(Input::Stop(Farewell::Leave));
    assert_eq!(bench.session.snapshot(bench.now), None);
}

#[test]
fn a_password_is_not_shown() {
    let bench = established(rich());
    assert_eq!(format!("{:?}", bench.session.snapshot(bench.now).unwrap()), "Snapshot(a router)");
}

#[test]
fn what_makes_no_session_is_refused() {
    let bench = established(rich());
    let valid = serde_json::to_value(bench.session.snapshot(bench.now).unwrap()).unwrap();
    let whole = serde_json::json!(keepalive());
    let long = serde_json::json!({"secs": 10, "nanos": 0});
    for (field, value) in [
        ("/hold_seconds", 2.into()),
        ("/families", serde_json::json!({"v4": false, "v6": false})),
        ("/hold_left", serde_json::Value::Null),
        ("/keepalive_left", serde_json::Value::Null),
        ("/hold_left", long),
        ("/received", serde_json::json!(vec![0; 19])),
        ("/received", whole),
        ("/config/hold_seconds", 1.into()),
        ("/config/connect", serde_json::json!({"secs": 0, "nanos": 1})),
        ("/config/password", serde_json::json!([])),
        ("/config/router_id", "0.0.0.0".into()),
        ("/config/restart_seconds", 4096.into()),
        ("/config/families", serde_json::json!({"v4": false, "v6": false})),
        ("/config/bfd/transmit", serde_json::json!({"secs": 61, "nanos": 0})),
        ("/config/transport/Address/source", "2001:db8::1".into()),
    ] {
        let mut broken = valid.clone();
        // The text of an interval that is empty has no such place.
        *broken.pointer_mut(field).unwrap_or_else(|| panic!("{field}")) = value;
        let snapshot: Snapshot = serde_json::from_value(broken).unwrap();
        assert!(Session::resume(snapshot, 1, bench.now).is_err(), "{field}");
    }
    let mut unknown = valid;
    unknown["more"] = 1.into();
    assert!(serde_json::from_value::<Snapshot>(unknown).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Route(u8, Option<u32>),
    Say,
    Refresh,
    HandOver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12, prop::option::of(1_u32..4)).prop_map(|(number, of)| Step::Route(number, of)),
        3 => Just(Step::Say),
        1 => Just(Step::Refresh),
        2 => Just(Step::HandOver),
    ]
}

proptest! {
    /// Each process after the first is told what is wanted when it has taken the session over.
    #[test]
    fn a_router_is_told_the_same_however_often_a_session_is_handed_over(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut bench = established(config());
        let mut router = Router::default();
        let mut wanted = Routes::new();
        for step in steps.into_iter().chain([Step::HandOver]) {
            match step {
                Step::Route(number, of) => {
                    match of.map(attributes) {
                        Some(attributes) => _ = wanted.insert(prefix(number), attributes),
                        None => _ = wanted.remove(&prefix(number)),
                    }
                    bench.handle(Input::Routes(Arc::new(wanted.clone())));
                }
                Step::Say => bench.session.poll_update().iter().for_each(|update| router.apply(update)),
                Step::Refresh => {
                    let refresh = message(Kind::RouteRefresh, |out| out.extend([0, 1, 0, 1]));
                    bench.handle(Input::Received(&refresh));
                }
                Step::HandOver => {
                    bench.session = handed_over(&bench);
                    bench.handle(Input::Routes(Arc::new(wanted.clone())));
                }
            }
        }
        while let Some(update) = bench.session.poll_update() {
            router.apply(&update);
        }
        prop_assert_eq!(router.table.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (prefix, told) in &router.table {
            let communities: Vec<u32> = wanted[prefix].communities.iter().map(Community::value).collect();
            prop_assert_eq!(&told.communities, &communities);
        }
        prop_assert!(bench.session.rib().is_settled());
    }

    /// Whatever becomes of the text on its way.
    #[test]
    fn no_text_makes_it_panic(at: Index, octet: u8, count in 0_usize..4, input: Vec<u8>) {
        let bench = established(rich());
        let mut text = serde_json::to_vec(&bench.session.snapshot(bench.now).unwrap()).unwrap();
        for step in 0..count {
            let at = (at.index(text.len()) + 97 * step) % text.len();
            text[at] = if octet.is_ascii_graphic() { octet } else { b'0' + octet % 10 };
        }
        let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&text) else { return Ok(()) };
        let Ok(session) = Session::resume(snapshot, 1, bench.now) else { return Ok(()) };
        let mut bench = Bench { session, now: bench.now };
        bench.session.handle(Input::Received(&update::end_of_rib(Family::V4)), bench.now);
        bench.session.handle(Input::Received(&input), bench.now);
        bench.session.handle(Input::Routes(routes(0..8, |_| 2)), bench.now);
        while bench.session.poll_output().is_some() {}
        while bench.session.poll_update().is_some() {}
        if let Some(at) = bench.session.poll_timeout() {
            bench.session.handle(Input::Time, at);
        }
    }
}

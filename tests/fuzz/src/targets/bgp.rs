//! What a router may send to a BGP session, in whichever pieces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use bgp::config::{AsNumbers, Families, Hops, PORT, PeerAs, SessionConfig, Timers, Transport};
use bgp::discovery::{self, Discovery, HOP_LIMIT};
use bgp::session::{Farewell, Input, Local, Output, Past, Session, State};

/// The first byte says in which pieces the others arrive.
pub fn play(bytes: &[u8]) {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    let address = Ipv4Addr::new(192, 0, 2, 2);
    let config = SessionConfig {
        name: "router".into(),
        transport: Transport::V4 { peer: Ipv4Addr::new(192, 0, 2, 1), source: None },
        port: PORT,
        vrf: None,
        asns: AsNumbers { own: 64_512.try_into().unwrap(), shown: None, peer: PeerAs::External },
        router_id: address.try_into().unwrap(),
        timers: Timers::default(),
        password: None,
        hops: Hops::One,
        families: Families::Both,
        graceful_restart: None,
        bfd: None,
    };
    let mut now = Instant::now();
    let mut session = Session::new(config, Past::Fresh, 1);
    session.handle(Input::RoutesComplete, now);
    session.handle(Input::Start, now);
    session.handle(Input::Connected(Local { address: IpAddr::V4(address), other: None }), now);
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        session.handle(Input::Received(piece), now);
        while let Some(output) = session.poll_output() {
            if let Output::Changed(transition) = output {
                assert!(!transition.why.to_string().chars().any(char::is_control));
            }
        }
        while session.poll_update().is_some() {}
        now += Duration::from_millis(1);
    }
    behind_an_interface(bytes);
    assert_ne!(session.state(), State::Idle, "only who is told to stops");
    session.handle(Input::Stop(Farewell::Cease), now);
    assert_eq!((session.state(), session.poll_timeout()), (State::Idle, None));
}

/// What anybody on the link of a router may send.
fn behind_an_interface(bytes: &[u8]) {
    let (from, now) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Instant::now());
    let mut discovery = Discovery::new(1);
    discovery.handle(discovery::Input::Up, now);
    for octets in [bytes, &[&[discovery::ADVERTISEMENT_TYPE, 0], bytes].concat()] {
        discovery.handle(discovery::Input::Received { from, hop_limit: HOP_LIMIT, octets }, now);
    }
    assert!(discovery.router().is_none_or(|router| router == from));
    assert!(discovery.poll_timeout().is_some(), "it goes on");
}

//! What a further prefix takes that routers are told of: in the core, and in the sessions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bgp::config::{AsNumbers, Asn, Families, PeerAs, SessionKind, Transport};
use bgp::rib_out::{Agreement, NextHops, RibOut};
use bgp::wire::attributes::{AsnWidth, Context};
use objects::{BgpPeerName, Family};
use peering::{Advertisement, Peer};
use speaker_core::announce::bgp::BgpInput;

use super::*;

/// The most that each further prefix may take, together with its Service. What the shell reports of it comes on top.
const LIMIT: usize = 240;
const ROUTERS: [u8; 4] = [1, 2, 3, 4];
const PREFIXES: u32 = 1_500;

fn asn(number: u32) -> Asn {
    number.try_into().expect("it is not 0")
}

fn router(number: u8) -> (BgpPeerName, Option<Result<Peer, Vec<String>>>) {
    let name = BgpPeerName::from(format!("router-{number}"));
    let transport = Transport::new(Ipv4Addr::new(192, 0, 2, number).into(), None).expect("it is of one node");
    let asns = AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) };
    (name.clone(), Some(Ok(Peer::new(name, transport, asns))))
}

fn objects() -> [BgpInput; 4] {
    let all = Advertisement::new("all");
    [
        BgpInput::Communities(list([])),
        BgpInput::Profiles(list([])),
        BgpInput::Advertisements(list([(all.scope.name.clone(), Some((Some(all), vec![])))])),
        BgpInput::Peers(list(ROUTERS.map(router))),
    ]
}

/// The sessions, as the shell has them.
#[derive(Default)]
struct Sessions(BTreeMap<BgpPeerName, RibOut>);

impl Sessions {
    fn take_in(&mut self, core: &mut Core) {
        while let Some(output) = core.poll_output() {
            if let Output::BgpRoutes(peer, routes) = output {
                self.0.entry(peer).or_insert_with(established).want(routes);
            }
        }
        self.0.values_mut().for_each(|rib| while rib.poll().is_some() {});
    }
}

fn established() -> RibOut {
    let address = Ipv4Addr::new(192, 0, 2, 254).into();
    let context = Context { kind: SessionKind::External, asn: asn(64_512), asn_width: AsnWidth::Four };
    let next_hops = NextHops { v4: Some(address), v6: None };
    let mut rib = RibOut::default();
    rib.begin(Agreement { families: Families::Only(Family::V4), next_hops, context });
    rib
}

#[test]
fn a_further_prefix_takes_little_however_many_routers_are_told_of_it() {
    let _alone = alone();
    let mut speaker = Speaker::start();
    speaker.announce(0..PREFIXES);
    let region = Region::new(ALLOCATOR);
    let mut sessions = Sessions::default();
    let Speaker { mut core, mut now, .. } = speaker;
    for object in objects() {
        core.handle(Input::Bgp(object), now);
        sessions.take_in(&mut core);
    }
    // One of them changes, and then nothing for a while.
    for number in [0, 1] {
        let (slice, _) = endpoints(number, "node".into());
        core.handle(Input::Endpoints(Changes { each: vec![(slice, None)], complete: false }), now);
        sessions.take_in(&mut core);
    }
    while let Some(due) = core.poll_timeout().filter(|due| *due < now + CALM) {
        now = now.max(due);
        core.handle(Input::Time, now);
        sessions.take_in(&mut core);
    }
    let each = taken(&region.change()) / usize::try_from(PREFIXES).unwrap();
    let known: Vec<usize> = sessions.0.values().map(RibOut::announced).collect();
    assert_eq!(known, [usize::try_from(PREFIXES).unwrap() - 2; ROUTERS.len()]);
    let mut routes = sessions.0.values().map(RibOut::routes);
    let first = routes.next().unwrap();
    assert!(routes.all(|other| Arc::ptr_eq(first, other)), "each router has its own");
    println!("{each} bytes for each further prefix");
    assert!(each <= LIMIT, "{each} bytes for each further prefix");
}

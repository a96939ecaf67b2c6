//! What GoBGP and OpenBGPD make of sessions: each test here is for both.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use bgp::config::{AsNumbers, Families, PeerAs, RestartTime, SessionConfig, Timers};
use bgp::route::{Attributes, Communities, LocalPreference, Prepend, Routes};
use bgp::session::{Farewell, Past, State};
use objects::Family;
use speaker::bgp::{Peering, Wanted};

use crate::bfd::new_namespace;
use crate::process::{Process, ip, wait_for};
use crate::{Router, Speaker, config, routes};

/// Numbers of four octets: of the router, and of the speaker.
const ROUTER: u32 = 4_200_000_001;
const NODE: u32 = 4_200_000_002;
const BY_V4: &str = "192.0.2.2";
const BY_V6: &str = "2001:db8::2";
const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:1::1/128";

/// A session of the router.
pub(crate) struct Neighbor {
    /// Where the speaker connects from.
    pub(crate) address: &'static str,
    /// Which AS it is to be of.
    pub(crate) asn: u32,
    pub(crate) password: Option<&'static str>,
}

/// A router whose sessions are for both families and wait for the speaker to connect. It knows graceful restart.
pub(crate) trait Another: Router + Sized {
    fn start(asn: u32, hold_seconds: u32, neighbors: &[Neighbor]) -> Self;

    fn process(&self) -> &Process;

    /// What it was told at the start of the session: the hold time that was agreed on, and for how long to keep routes.
    fn times(&self, neighbor: &str) -> Option<(u64, u64)>;

    fn is_established(&self, neighbor: &str) -> bool;

    /// How it writes a local preference.
    fn preference(&self, preference: u32) -> String;

    /// Whether it keeps a route of a speaker that is away.
    fn keeps(&self, prefix: &str) -> bool;

    /// Announces a route itself.
    fn originate(&self, prefix: &str);

    /// Asks for all routes once more, if it ever does.
    fn refresh(&self, neighbor: &str) -> bool;

    /// Ends a session. Returns what the speaker is to say of it.
    fn end_session(&self, neighbor: &str) -> &'static str;

    /// Takes part in the session again.
    fn begin_session(&self, neighbor: &str);

    /// What it writes into its log of a NOTIFICATION that it has received, or of the end of the hold time.
    fn end(&self, end: End) -> &'static str;

    fn log(&self) -> String {
        fs::read_to_string(self.process().path().join("log")).unwrap()
    }
}

/// How sessions end.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// The speaker takes the router for one of another AS.
    BadPeerAs,
    /// The speaker stops.
    Shutdown,
    /// The router has heard nothing.
    HoldTime,
}

/// As [`crate::announce_to`] wants it.
pub(crate) fn with_passwords<R: Another>() -> R {
    let neighbor = |address| Neighbor { address, asn: 64_512, password: Some(crate::PASSWORD) };
    R::start(64_513, 90, &[neighbor(BY_V4), neighbor(BY_V6)])
}

/// One session with another AS, of IPv4 routes, and one within the AS of the router, of IPv6 routes.
pub(crate) fn numbers_times_and_attributes_arrive<R: Another>() {
    new_namespace();
    let neighbor = |address, asn| Neighbor { address, asn, password: None };
    let router = R::start(ROUTER, 6, &[neighbor(BY_V4, NODE), neighbor(BY_V6, ROUTER)]);
    let mut speaker = Speaker::start(Past::Fresh);
    let attributes = Attributes {
        communities: Communities::new([(64_512, 7), (64_512, 8)].map(|(high, low)| community(high, low)))
            .unwrap(),
        large_communities: Communities::new(
            ["large:4200000002:1:2", "large:4200000002:1:3"].map(|it| it.parse().unwrap()),
        )
        .unwrap(),
        local_preference: LocalPreference(150),
        prepend: Prepend::new(2).unwrap(),
        link_bandwidth: None,
    };
    announce(&speaker, &attributes);
    both_established(&mut speaker);
    let opens = speaker.opens();
    let route = wait_for(V4, || router.route(V4));
    for text in ["4200000002:1:2", "4200000002:1:3", "4200000002 4200000002 4200000002", BY_V4] {
        assert!(route.contains(text), "{text}: {route}");
    }
    for low in [7, 8] {
        assert!(route.contains(&router.community(64_512, low)), "{low}: {route}");
    }
    assert!(!route.contains(&router.preference(150)), "it is for the own AS only: {route}");
    let route = wait_for(V6, || router.route(V6));
    for text in ["4200000002:1:2", BY_V6, &router.preference(150)] {
        assert!(route.contains(text), "{text}: {route}");
    }
    assert!(!route.contains("4200000002 "), "there is no path within an AS: {route}");
    for neighbor in [BY_V4, BY_V6] {
        let times = wait_for("the times", || router.times(neighbor));
        assert_eq!(times, (6, RestartTime::default().seconds().into()), "{neighbor}");
    }

    // The router's own routes are of no account, and other attributes are told in the same sessions.
    let received = |speaker: &Speaker| count(speaker, "updates_total_received");
    let before = received(&speaker);
    router.originate("10.1.0.0/24");
    wait_for("what the router announces", || (received(&speaker) > before).then_some(()));
    let fewer = Attributes { large_communities: Communities::default(), ..attributes };
    announce(&speaker, &Attributes { local_preference: LocalPreference(160), ..fewer });
    wait_for("the end of large communities", || {
        (!router.route(V4)?.contains("4200000002:1:2")).then_some(())
    });
    wait_for("the other preference", || router.route(V6)?.contains(&router.preference(160)).then_some(()));
    let sent = count(&speaker, "updates_total");
    if router.refresh(BY_V4) {
        wait_for("all routes once more", || (count(&speaker, "updates_total") > sent).then_some(()));
    }
    both_established(&mut speaker);
    assert!(router.route(V4).is_some() && router.route(V6).is_some());
    assert_eq!(speaker.opens(), opens, "the sessions have gone on");
}

/// Each end is told by the other why a session ends, and finds out itself when it hears nothing.
pub(crate) fn both_ends_know_why_sessions_end<R: Another>() {
    new_namespace();
    let router = R::start(ROUTER, 90, &[Neighbor { address: BY_V4, asn: NODE, password: None }]);
    let mut speaker = Speaker::start(Past::Fresh);
    let session = |peer: u32, hold| SessionConfig {
        timers: Timers::new(Some(Duration::from_secs(hold)), None, Some(Duration::from_secs(1))).unwrap(),
        // GoBGP would keep the routes of who is not heard.
        graceful_restart: None,
        ..session(NODE, peer)
    };
    let hold = |speaker: &Speaker, session| speaker.hold([session], &routes(&[V4], 7));
    let here = |speaker: &mut Speaker| {
        speaker.wait_until("it is established", |all| all.values().any(|it| it.state == State::Established));
        wait_for(V4, || router.route(V4));
    };

    hold(&speaker, session(ROUTER, 3));
    here(&mut speaker);
    let why = router.end_session(BY_V4);
    speaker.wait_until("it is said why the router has ended it", |all| {
        all.values().any(|it| it.why == format!("the peer says: {why}"))
    });
    router.begin_session(BY_V4);
    here(&mut speaker);

    ip("link set lan0 down");
    speaker.wait_until("nothing is heard for the hold time", |all| {
        all.values().any(|it| it.why.contains("hold timer expired"))
    });
    let says = |end| wait_for(router.end(end), || router.log().contains(router.end(end)).then_some(()));
    says(End::HoldTime);
    wait_for("the end of the route", || router.route(V4).is_none().then_some(()));
    ip("link set lan0 up");
    here(&mut speaker);

    speaker.hold([], &Routes::new());
    says(End::Shutdown);
    wait_for("the end of the route", || router.route(V4).is_none().then_some(()));
    // The last, for it takes OpenBGPD a while to forget that.
    hold(&speaker, session(ROUTER + 5, 90));
    speaker.wait_until("it is said who the router is", |all| {
        all.values().any(|it| it.why.contains("bad peer AS (2/2)"))
    });
    says(End::BadPeerAs);
}

/// Routes stay for the next speaker, which withdraws those that are no more.
pub(crate) fn routes_stay_for_the_next_speaker<R: Another>() {
    new_namespace();
    let router = R::start(ROUTER, 90, &[Neighbor { address: BY_V4, asn: NODE, password: None }]);
    let before = Speaker::start(Past::Fresh);
    before.hold([session(NODE, ROUTER)], &routes(&[V4, "203.0.113.0/24", V6], 7));
    for prefix in [V4, "203.0.113.0/24", V6] {
        wait_for(prefix, || router.route(prefix));
    }
    before.wanted.send_replace(Wanted::Nothing(Farewell::Silent));
    wait_for("the end of the session", || (!router.is_established(BY_V4)).then_some(()));
    assert!(router.keeps(V4) && router.keeps(V6), "{}", router.log());

    let mut next = Speaker::start(Past::Restarted);
    next.hold([session(NODE, ROUTER)], &routes(&[V4, V6], 8));
    let community = router.community(64_512, 8);
    wait_for("the routes of the next speaker", || {
        let [v4, v6] = [V4, V6].map(|it| router.route(it).expect("they stay"));
        (v4.contains(&community) && v6.contains(&community)).then_some(())
    });
    wait_for("the end of what is no more", || router.route("203.0.113.0/24").is_none().then_some(()));
    next.wait_until("it is established", |all| all.values().all(|it| it.state == State::Established));
    assert!(router.is_established(BY_V4) && router.route(V4).is_some() && router.route(V6).is_some());
}

/// Of the speaker, with both families.
fn session(own: u32, peer: u32) -> SessionConfig {
    let asn = |number: u32| number.try_into().unwrap();
    SessionConfig {
        asns: AsNumbers { own: asn(own), shown: None, peer: PeerAs::Is(asn(peer)) },
        graceful_restart: Some(RestartTime::default()),
        ..config("192.0.2.1".parse().unwrap(), None)
    }
}

fn announce(speaker: &Speaker, attributes: &Attributes) {
    let attributes = Arc::new(attributes.clone());
    let peering = |peer: &str, own, family, prefix: &str| {
        let there = config(peer.parse().unwrap(), None);
        let families = Families::Only(family);
        let config =
            SessionConfig { name: there.name, transport: there.transport, families, ..session(own, ROUTER) };
        let routes = Routes::from([(prefix.parse().unwrap(), Arc::clone(&attributes))]);
        (config.name.clone(), Peering { config: Arc::new(config), routes: Arc::new(routes) })
    };
    let sessions =
        [peering("192.0.2.1", NODE, Family::V4, V4), peering("2001:db8::1", ROUTER, Family::V6, V6)];
    speaker.wanted.send_replace(Wanted::Sessions(sessions.into()));
}

fn both_established(speaker: &mut Speaker) {
    speaker.wait_until("both are established", |all| {
        all.len() == 2 && all.values().all(|it| it.state == State::Established)
    });
}

fn community(high: u16, low: u16) -> bgp::route::Community {
    bgp::route::Community::new(high, low)
}

/// Of the session by IPv4.
fn count(speaker: &Speaker, name: &str) -> u64 {
    let metrics = speaker.metrics();
    let name = format!("metallb_bgp_{name}{{peer=\"192.0.2.1:179\",vrf=\"\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&*name));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

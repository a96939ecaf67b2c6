use std::sync::Arc;
use std::time::Duration;

use bgp::config::{AsNumbers, Asn, Families, PeerAs, Transport};
use bgp::route::{Community, LinkBandwidth, LocalPreference, Prepend, Routes};
use objects::{Family, Requirement, Selector};
use peering::{Aggregation, Share};
use placement::{
    EXCLUDE_LABEL, Endpoints, ExcludeLabel, Network, Node, Pools, Service, Sharing, SliceKey, TrafficPolicy,
};
use pools::PoolSpec;
use proptest::prelude::*;

use super::*;
use crate::announce::bgp::{NotAnnounced, foretell};

fn peer(name: &str, address: &str) -> Peer {
    let asn = |number| Asn::try_from(number).unwrap();
    let asns = AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) };
    Peer::new(name.into(), Transport::new(address.parse().unwrap(), None).unwrap(), asns)
}

fn node(pairs: &[(&str, &str)], network: Network) -> Node {
    let labels = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Node { name: "me".into(), labels, network }
}

fn service(name: &str, vips: &[&str]) -> Service {
    Service {
        key: ServiceKey::new("default", name),
        labels: Labels::from([("name".to_owned(), name.to_owned())]),
        vips: vips.iter().map(|vip| vip.parse().unwrap()).collect(),
        created: None,
        recorded_pool: None,
        traffic_policy: TrafficPolicy::Cluster,
        sharing: Sharing::Sole,
    }
}

fn selector(key: &str, value: &str) -> Selector {
    Selector::from_iter([Requirement::equals(key, value)])
}

fn each<K, V>(each: impl IntoIterator<Item = (K, Option<V>)>) -> Changes<K, V> {
    Changes { each: each.into_iter().collect(), complete: true }
}

/// A cluster with one pool, one Service, endpoints on two nodes, and a peer.
struct Site {
    placement: Placement,
    bgp: Bgp,
    now: Instant,
}

impl Site {
    fn new() -> Self {
        let mut placement = Placement::new("me".into(), ExcludeLabel::Honoured);
        placement.set_node(node(&[], Network::Available));
        placement.set_pools(Pools::new([PoolSpec::new("lan", &["192.0.2.0/24", "2001:db8::/64"])]));
        placement.set_service(service("web", &["192.0.2.1"]));
        let mut site = Self { placement, bgp: Bgp::new("me".into()), now: Instant::now() };
        site.endpoints("web", &["me", "other"]);
        site.bgp.handle(BgpInput::Communities(each([])));
        site.bgp.handle(BgpInput::Profiles(each([])));
        site.bgp.handle(BgpInput::Advertisements(each([])));
        site.peer(peer("router", "192.0.2.254"));
        site
    }

    fn endpoints(&mut self, service: &str, nodes: &[&str]) {
        let endpoints: Endpoints = nodes.iter().map(|node| Some((*node).into())).collect();
        let (slice, key) = (SliceKey::new("default", service), ServiceKey::new("default", service));
        self.placement.set_endpoints(&slice, &key, endpoints);
    }

    fn peer(&mut self, peer: Peer) {
        self.bgp.handle(BgpInput::Peers(each([(peer.name.clone(), Some(Ok(peer)))])));
    }

    fn advertise(&mut self, it: Advertisement) {
        self.bgp.handle(BgpInput::Advertisements(each([(it.scope.name.clone(), Some((Some(it), vec![])))])));
    }

    fn leaving_endpoints(&mut self, nodes: &[&str]) {
        let endpoints = Endpoints::new([], nodes.iter().map(|node| Some((*node).into())));
        let (slice, key) = (SliceKey::new("default", "web"), ServiceKey::new("default", "web"));
        self.placement.set_endpoints(&slice, &key, endpoints);
    }

    fn proxy_says(&mut self, service: &str, answer: ProxyAnswer) {
        self.bgp.handle(BgpInput::Proxy(ServiceKey::new("default", service), answer));
    }

    fn settle(&mut self) -> Vec<BgpNews> {
        self.placement.settle();
        let reviewed = self.placement.take_reviewed();
        self.bgp.settle(&self.placement, &reviewed, self.now)
    }

    /// The prefixes and attributes that a peer is to have, in words.
    fn routes(&mut self, peer: &str) -> Vec<String> {
        self.settle();
        let routes = self.bgp.plan.routes().get(&peer.into()).cloned().unwrap_or_default();
        let words = routes.iter().map(|(prefix, it)| {
            let mut words = vec![prefix.to_string(), it.local_preference.0.to_string()];
            words.extend(it.communities.iter().map(|community: Community| community.to_string()));
            words.extend(it.link_bandwidth.map(|it: LinkBandwidth| format!("{} here", it.megabits())));
            words.extend((it.prepend.times() > 0).then(|| format!("{} prepended", it.prepend.times())));
            words.join(" ")
        });
        words.collect()
    }

    fn outcome(&mut self) -> Result<Vec<String>, NotAnnounced> {
        self.settle();
        let outcome = self.bgp.outcome(&ServiceKey::new("default", "web")).expect("it is known");
        outcome.map(|peers| peers.iter().map(ToString::to_string).collect())
    }

    /// The plan, made from nothing.
    fn made_anew(&self) -> Plan {
        let Bgp { me, advertisements, sessions, proxy, .. } = &self.bgp;
        let mut plan = Plan::default();
        let placement = &self.placement;
        let here = here(me, placement, advertisements);
        plan.follow(
            View { me, placement, advertisements, here: &here, sessions, proxy },
            &Touched::Everything,
        );
        plan
    }
}

#[test]
fn routers_are_told_how_many_endpoints_are_here_where_these_alone_serve() {
    let mut site = Site::new();
    site.bgp.proxy = Proxy::presumed();
    let local =
        |name: &str| Service { traffic_policy: TrafficPolicy::Local, ..service(name, &["192.0.2.1"]) };
    site.advertise(Advertisement { share: Share::ByEndpoints, ..Advertisement::new("ad") });
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"], "every node serves with all endpoints");
    site.placement.set_service(local("web"));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1 here"]);
    for (nodes, expected) in [
        (&["me", "other", "me", "me"][..], &["192.0.2.1/32 100 3 here"][..]),
        (&["me", "me"], &["192.0.2.1/32 100 2 here"]),
        (&["other", "other"], &[]),
        (&["me"], &["192.0.2.1/32 100 1 here"]),
    ] {
        site.endpoints("web", nodes);
        assert_eq!(site.routes("router"), expected, "{nodes:?}");
        assert_eq!(site.bgp.plan.routes(), site.made_anew().routes());
    }

    // Services that share the address: together, unless one of them is served by all nodes alike.
    site.placement.set_service(Service { sharing: Sharing::Shared, ..local("web") });
    site.placement.set_service(Service { sharing: Sharing::Shared, ..local("mail") });
    site.endpoints("mail", &["me", "me", "me", "me"]);
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 5 here"]);
    site.placement.set_service(Service { sharing: Sharing::Shared, ..service("mail", &["192.0.2.1"]) });
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"]);
    site.advertise(Advertisement { prepend: Prepend::new(2).unwrap(), ..Advertisement::new("ad") });
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 2 prepended"]);
}

#[test]
fn each_reason_why_a_service_is_not_announced_is_told() {
    let mut site = Site::new();
    site.advertise(Advertisement {
        scope: placement::Advertisement {
            node_selectors: vec![selector("zone", "a")],
            service_selectors: vec![selector("name", "web")],
            ..placement::Advertisement::new("ad")
        },
        ..Advertisement::new("ad")
    });
    assert_eq!(site.outcome(), Err(NotAnnounced::NotOwner));

    let zone = ("zone", "a");
    site.placement.set_node(node(&[zone], Network::Available));
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned()]));
    site.placement.set_node(node(&[zone], Network::Unavailable));
    assert_eq!(site.outcome(), Err(NotAnnounced::NodeNetworkUnavailable));
    site.placement.set_node(node(&[zone, (EXCLUDE_LABEL, "false")], Network::Available));
    assert_eq!(site.outcome(), Err(NotAnnounced::NodeLabeledExcludeBalancers));
    site.placement.set_node(node(&[zone], Network::Available));

    let local = Service { traffic_policy: TrafficPolicy::Local, ..service("web", &["192.0.2.1"]) };
    site.placement.set_service(local.clone());
    assert_eq!(site.outcome(), Err(NotAnnounced::KubeProxyNotReady));
    site.proxy_says("web", ProxyAnswer::Serves);
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned()]));
    site.endpoints("web", &["other"]);
    assert_eq!(site.outcome(), Err(NotAnnounced::NoLocalEndpoints));
    site.placement.set_service(service("web", &["192.0.2.1"]));
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned()]));
    site.endpoints("web", &[]);
    assert_eq!(site.outcome(), Err(NotAnnounced::NoEndpoints));
    site.endpoints("web", &["me"]);

    site.placement.set_service(Service { labels: Labels::new(), ..local });
    assert_eq!(site.outcome(), Err(NotAnnounced::NoMatchingAdvertisement));
}

#[test]
fn of_two_local_preferences_for_one_prefix_and_peer_that_of_the_older_advertisement_counts() {
    let preferring = |preference, peers: &[&str], length| Advertisement {
        created: Some(2),
        communities: vec!["1:1".to_owned()],
        local_preference: LocalPreference(preference),
        peers: peers.iter().map(|peer| (*peer).into()).collect(),
        aggregation: Aggregation::new(length, 4 * length).unwrap(),
        ..Advertisement::new("b")
    };
    let mut site = Site::new();
    let old = || Advertisement { created: Some(1), ..Advertisement::new("z") };
    let told = |site: &mut Site| {
        let faults = site.settle().into_iter().rev().find_map(|news| match news {
            BgpNews::Faults(_, of_advertisements) => Some(of_advertisements),
            _ => None,
        });
        let mut named = faults.unwrap().into_iter().map(|(name, why)| (name.to_string(), why.join("; ")));
        (named.next(), named.next())
    };
    site.advertise(old());
    assert_eq!(told(&mut site), (None, None));
    site.advertise(preferring(200, &[], 32));
    let (Some((name, why)), None) = told(&mut site) else { panic!("one is overruled") };
    assert_eq!(name, "b");
    assert!(
        why.starts_with("spec.localPref: BGPAdvertisement z, which is older") && !why.contains("; "),
        "{why}"
    );
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"]);
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned()]));
    let labelled = selector("name", "web");
    let mut by_label = preferring(200, &[], 32);
    by_label.scope.service_selectors = vec![labelled];
    site.advertise(by_label);
    assert_eq!(told(&mut site).0.unwrap(), ("b".to_owned(), why), "that shows with the Services only");
    site.advertise(preferring(100, &[], 32));
    assert_eq!(told(&mut site), (None, None));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1:1"]);
    site.advertise(preferring(200, &[], 24));
    assert_eq!(told(&mut site), (None, None));
    assert_eq!(site.routes("router"), ["192.0.2.0/24 200 1:1", "192.0.2.1/32 100"]);
    site.advertise(Advertisement { peers: ["other".into()].into(), ..old() });
    site.advertise(preferring(200, &["router"], 32));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 200 1:1"]);
}

#[test]
fn communities_of_advertisements_of_one_prefix_are_united_for_each_peer() {
    let mut site = Site::new();
    site.peer(peer("second", "192.0.2.253"));
    let with = |name, communities: &[&str], peers: &[&str]| Advertisement {
        communities: communities.iter().map(ToString::to_string).collect(),
        peers: peers.iter().map(|peer| (*peer).into()).collect(),
        ..Advertisement::new(name)
    };
    site.advertise(with("a", &["1:1", "1:2"], &[]));
    site.advertise(with("b", &["1:2", "1:3"], &["second"]));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1:1 1:2"]);
    assert_eq!(site.routes("second"), ["192.0.2.1/32 100 1:1 1:2 1:3"]);
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned(), "second".to_owned()]));
}

#[test]
fn communities_that_are_too_many_together_are_told_of_on_each_advertisement_until_they_are_not() {
    let mut site = Site::new();
    let with = |name, communities: std::ops::Range<u16>| Advertisement {
        communities: communities.map(|number| format!("1:{number}")).collect(),
        ..Advertisement::new(name)
    };
    let told = |site: &mut Site| {
        let faults = site.settle().into_iter().rev().find_map(|news| match news {
            BgpNews::Faults(_, of_advertisements) => Some(of_advertisements),
            _ => None,
        });
        faults.map(|faults| faults.into_keys().map(|name| name.to_string()).collect::<Vec<_>>())
    };
    site.advertise(with("a", 0..40));
    site.advertise(with("b", 30..70));
    assert_eq!(told(&mut site), Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(site.routes("router")[0].split(' ').count(), 2 + 63);
    site.advertise(with("b", 30..63));
    assert_eq!(told(&mut site), Some(vec![]));
}

fn local(name: &str, vip: &str) -> Service {
    Service { traffic_policy: TrafficPolicy::Local, ..service(name, &[vip]) }
}

/// What kube-proxy is to be asked, and whether there are sessions.
fn asked(news: &[BgpNews]) -> (Vec<(String, Asking)>, bool) {
    let ask = |news: &BgpNews| match news {
        BgpNews::AskProxy(service, asking) => Some((service.name.to_string(), *asking)),
        _ => None,
    };
    let sessions = news.iter().any(|it| matches!(it, BgpNews::Sessions(_)));
    (news.iter().filter_map(ask).collect(), sessions)
}

#[test]
fn a_first_endpoint_is_announced_under_policy_local_once_kube_proxy_serves_it() {
    let mut site = Site::new();
    site.advertise(Advertisement::new("ad"));
    site.settle();
    site.placement.set_service(local("web", "192.0.2.1"));
    assert_eq!(asked(&site.settle()), (vec![("web".to_owned(), Asking::Begin)], false));
    assert!(site.routes("router").is_empty());
    site.proxy_says("web", ProxyAnswer::NotYet);
    site.now += Duration::from_secs(20);
    assert!(site.routes("router").is_empty());
    site.proxy_says("web", ProxyAnswer::Serves);
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"]);

    site.endpoints("web", &["me"]);
    assert!(asked(&site.settle()).0.is_empty(), "it has had one here all the time");
    site.endpoints("web", &["other"]);
    assert!(site.routes("router").is_empty());
    site.endpoints("web", &["me", "other"]);
    assert_eq!(asked(&site.settle()).0, [("web".to_owned(), Asking::Begin)]);
    site.now = site.bgp.deadline().unwrap();
    let overdue = |it: &BgpNews| matches!(it, BgpNews::ProxyOverdue(services) if services.len() == 1);
    assert!(site.settle().iter().any(overdue), "nobody has answered");
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"]);
    assert_eq!(site.bgp.deadline(), None);
    site.placement.remove_service(&ServiceKey::new("default", "web"));
    site.settle();
    site.placement.set_service(local("web", "192.0.2.1"));
    assert_eq!(asked(&site.settle()).0, [("web".to_owned(), Asking::Begin)]);
    site.endpoints("web", &[]);
    assert_eq!(asked(&site.settle()).0, [("web".to_owned(), Asking::End)]);
}

#[test]
fn at_the_start_there_are_sessions_once_it_is_known_what_kube_proxy_serves() {
    for answers in [true, false] {
        let mut site = Site::new();
        site.placement.set_service(local("web", "192.0.2.1"));
        site.advertise(Advertisement::new("ad"));
        assert_eq!(asked(&site.settle()), (vec![("web".to_owned(), Asking::Begin)], false));
        assert!(!site.bgp.is_complete());
        if answers {
            site.proxy_says("web", ProxyAnswer::Serves);
        } else {
            site.proxy_says("web", ProxyAnswer::NotYet);
            site.now = site.bgp.deadline().unwrap();
        }
        assert_eq!(asked(&site.settle()), (vec![], true));
        assert!(site.bgp.is_complete());
        assert_eq!(site.routes("router").len(), usize::from(answers));
    }
}

#[test]
fn routers_are_asked_to_use_others_while_all_local_endpoints_terminate() {
    let mut site = Site::new();
    site.advertise(Advertisement { communities: vec!["1:1".to_owned()], ..Advertisement::new("ad") });
    site.placement.set_service(local("web", "192.0.2.1"));
    site.settle();
    site.proxy_says("web", ProxyAnswer::Serves);
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1:1"]);
    site.leaving_endpoints(&["me"]);
    assert_eq!(site.routes("router"), ["192.0.2.1/32 0 1:1 65535:0"]);
    site.endpoints("web", &["me"]);
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1:1"], "another endpoint is ready");
    site.leaving_endpoints(&["me"]);
    site.settle();
    site.placement.set_service(service("web", &["192.0.2.1"]));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100 1:1"], "policy Cluster has endpoints elsewhere");
    site.placement.set_service(local("web", "192.0.2.1"));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 0 1:1 65535:0"]);
    site.endpoints("web", &[]);
    assert!(site.routes("router").is_empty());
}

#[test]
fn a_prefix_that_another_service_needs_does_not_leave() {
    let mut site = Site::new();
    site.advertise(Advertisement {
        aggregation: Aggregation::new(24, 64).unwrap(),
        ..Advertisement::new("ad")
    });
    site.placement.set_service(local("web", "192.0.2.1"));
    site.placement.set_service(service("other", &["192.0.2.2"]));
    site.endpoints("other", &["other"]);
    site.leaving_endpoints(&["me"]);
    assert_eq!(site.routes("router"), ["192.0.2.0/24 100"]);
    site.placement.remove_service(&ServiceKey::new("default", "other"));
    assert_eq!(site.routes("router"), ["192.0.2.0/24 0 65535:0"]);
}

#[test]
fn a_peer_is_told_of_its_families_alone() {
    let mut site = Site::new();
    site.placement.set_service(service("web", &["192.0.2.1", "2001:db8::1"]));
    site.peer(Peer { families: Families::Both, ..peer("both", "192.0.2.253") });
    site.peer(Peer { families: Families::Only(Family::V6), ..peer("v6", "2001:db8::254") });
    site.advertise(Advertisement::new("ad"));
    assert_eq!(site.routes("router"), ["192.0.2.1/32 100"]);
    assert_eq!(site.routes("both"), ["192.0.2.1/32 100", "2001:db8::1/128 100"]);
    assert_eq!(site.routes("v6"), ["2001:db8::1/128 100"]);
}

#[test]
fn a_prefix_stays_for_as_long_as_one_service_is_announced_with_it() {
    let mut site = Site::new();
    site.advertise(Advertisement {
        aggregation: Aggregation::new(24, 64).unwrap(),
        ..Advertisement::new("ad")
    });
    site.placement.set_service(service("other", &["192.0.2.2"]));
    site.endpoints("other", &["me"]);
    assert_eq!(site.routes("router"), ["192.0.2.0/24 100"]);
    site.placement.remove_service(&ServiceKey::new("default", "web"));
    assert!(site.settle().iter().all(|it| !matches!(it, BgpNews::Plan(Change::Routes(..)))));
    assert_eq!(site.routes("router"), ["192.0.2.0/24 100"]);
    site.endpoints("other", &[]);
    assert!(site.routes("router").is_empty());
}

#[test]
fn whoever_asks_is_told_each_route_with_its_services_and_peers_and_what_is_not_announced() {
    let mut site = Site::new();
    site.peer(peer("second", "192.0.2.253"));
    site.advertise(Advertisement { communities: vec!["1:1".to_owned()], ..Advertisement::new("ad") });
    site.placement.set_service(service("idle", &["192.0.2.9"]));
    site.settle();
    let told = site.bgp.told();
    let [route] = &told.routes.items[..] else { panic!("{told:?}") };
    assert_eq!((route.prefix.as_str(), route.local_preference), ("192.0.2.1/32", 100));
    assert_eq!(
        (&route.services[..], &route.communities[..]),
        (&["default/web".to_owned()][..], &["1:1".to_owned()][..])
    );
    assert_eq!(route.peers, ["router", "second"]);
    let [idle] = &told.unannounced.items[..] else { panic!("{told:?}") };
    assert_eq!((idle.service.as_str(), idle.reason.as_str()), ("default/idle", "noEndpoints"));
}

#[test]
fn only_a_change_of_a_peer_touches_sessions() {
    let mut site = Site::new();
    let sessions = |news: Vec<BgpNews>| news.iter().filter(|it| matches!(it, BgpNews::Sessions(_))).count();
    assert_eq!(sessions(site.settle()), 1);
    site.advertise(Advertisement { communities: vec!["1:1".to_owned()], ..Advertisement::new("ad") });
    assert_eq!(sessions(site.settle()), 0);
    site.placement.set_service(service("web", &["192.0.2.7"]));
    site.placement.set_node(node(&[("zone", "b")], Network::Unavailable));
    site.bgp.look_again();
    assert_eq!(sessions(site.settle()), 0);
    site.peer(Peer { families: Families::Both, ..peer("router", "192.0.2.254") });
    assert_eq!(sessions(site.settle()), 1);
    site.bgp.handle(BgpInput::Peers(each([("router".into(), None)])));
    assert_eq!(sessions(site.settle()), 1);
}

#[test]
fn without_objects_nothing_is_kept() {
    let mut site = Site::new();
    site.advertise(Advertisement::new("ad"));
    site.settle();
    site.bgp.handle(BgpInput::Peers(each([("router".into(), None)])));
    site.bgp.handle(BgpInput::Advertisements(each([("ad".into(), None)])));
    let news = site.settle();
    assert!(
        news.iter().any(|it| matches!(it, BgpNews::Sessions(sessions) if sessions.is_empty())),
        "{news:?}"
    );
    assert_eq!(site.bgp.plan, Plan::default());
    site.placement.set_service(service("web", &["192.0.2.9"]));
    assert!(site.settle().is_empty() && site.bgp.is_idle());
}

#[test]
fn a_node_without_an_ipv4_address_has_an_identifier_all_the_same() {
    let of = |address: Option<&str>, name: &str| {
        router_id(address.map(|it| it.parse().unwrap()), &name.into()).to_string()
    };
    assert_eq!(of(Some("192.0.2.7"), "a"), "192.0.2.7");
    assert_eq!(of(None, "a"), of(Some("0.0.0.0"), "a"));
    assert_ne!(of(None, "node-1"), of(None, "node-3"));
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Service(u8, u8, bool),
    NoService(u8),
    Endpoints(u8, bool, bool),
    Terminating(bool, bool),
    Proxy(u8, bool),
    Later,
    Node(bool, bool),
    Pools(bool),
    Advertisement(u8, u8, u8, bool, bool),
    NoAdvertisement(u8),
    Peer(u8, bool, bool),
    NoPeer(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4, 0u8..6, any::<bool>()).prop_map(|(name, vip, local)| Step::Service(name, vip, local)),
        (0u8..4).prop_map(Step::NoService),
        (0u8..4, any::<bool>(), any::<bool>()).prop_map(|(name, me, other)| Step::Endpoints(name, me, other)),
        (any::<bool>(), any::<bool>()).prop_map(|(me, other)| Step::Terminating(me, other)),
        (0u8..4, any::<bool>()).prop_map(|(name, serves)| Step::Proxy(name, serves)),
        Just(Step::Later),
        (any::<bool>(), any::<bool>()).prop_map(|(zone, network)| Step::Node(zone, network)),
        any::<bool>().prop_map(Step::Pools),
        (0u8..3, 0u8..3, 0u8..3, any::<bool>(), any::<bool>()).prop_map(
            |(name, length, peer, zone, preference)| Step::Advertisement(
                name, length, peer, zone, preference
            )
        ),
        (0u8..3).prop_map(Step::NoAdvertisement),
        (0u8..3, any::<bool>(), any::<bool>()).prop_map(|(name, both, zone)| Step::Peer(name, both, zone)),
        (0u8..3).prop_map(Step::NoPeer),
    ]
}

fn take(site: &mut Site, step: Step) {
    let zone = |yes: bool| if yes { vec![selector("zone", "a")] } else { vec![] };
    match step {
        Step::Service(name, vip, local) => {
            let policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
            let (v4, v6) = (format!("192.0.2.{}", vip * 40), format!("2001:db8::{vip}"));
            let it = service(&name.to_string(), &[v4.as_str(), v6.as_str()][..=usize::from(vip % 2)]);
            site.placement.set_service(Service { traffic_policy: policy, ..it });
        }
        Step::NoService(name) => site.placement.remove_service(&ServiceKey::new("default", name.to_string())),
        Step::Endpoints(name, me, other) => {
            let nodes = [me.then_some("me"), other.then_some("other")];
            site.endpoints(&name.to_string(), &nodes.into_iter().flatten().collect::<Vec<_>>());
        }
        Step::Terminating(me, other) => {
            let nodes = [me.then_some("me"), other.then_some("other")];
            site.leaving_endpoints(&nodes.into_iter().flatten().collect::<Vec<_>>());
        }
        Step::Proxy(name, serves) => {
            let answer = if serves { ProxyAnswer::Serves } else { ProxyAnswer::NotYet };
            site.proxy_says(&name.to_string(), answer);
        }
        Step::Later => site.now += Duration::from_secs(2),
        Step::Node(zone, network) => {
            let labels: &[(&str, &str)] = if zone { &[("zone", "a")] } else { &[] };
            let network = if network { Network::Available } else { Network::Unavailable };
            site.placement.set_node(node(labels, network));
        }
        Step::Pools(halves) => {
            let entries: &[&str] =
                if halves { &["192.0.2.0/25"] } else { &["192.0.2.0/24", "2001:db8::/64"] };
            site.placement.set_pools(Pools::new([PoolSpec::new("lan", entries)]));
            site.bgp.look_again();
        }
        Step::Advertisement(name, length, peer, in_zone, preference) => {
            let name = name.to_string();
            let mut it = Advertisement::new(name.as_str());
            it.scope.node_selectors = zone(in_zone);
            it.aggregation = Aggregation::new([32, 25, 24][usize::from(length)], 128).unwrap();
            it.peers = (peer > 0).then(|| BgpPeerName::from(peer.to_string())).into_iter().collect();
            it.communities = vec![format!("1:{name}")];
            it.local_preference = LocalPreference(if preference { 200 } else { 100 });
            site.advertise(it);
        }
        Step::NoAdvertisement(name) => {
            let gone = (AdvertisementName::from(name.to_string()), None);
            site.bgp.handle(BgpInput::Advertisements(each([gone])));
        }
        Step::Peer(name, both, in_zone) => {
            let families = if both { Families::Both } else { Families::Only(Family::V4) };
            let it = peer(&name.to_string(), &format!("198.51.100.{name}"));
            site.peer(Peer { families, node_selectors: zone(in_zone), ..it });
        }
        Step::NoPeer(name) => {
            site.bgp.handle(BgpInput::Peers(each([(BgpPeerName::from(name.to_string()), None)])));
        }
    }
}

proptest! {
    #[test]
    fn a_plan_that_follows_changes_is_the_plan_made_anew(steps in prop::collection::vec(step(), 1..40)) {
        let mut site = Site::new();
        let mut told: BTreeMap<BgpPeerName, Arc<Routes>> = BTreeMap::new();
        for step in steps {
            take(&mut site, step);
            for news in site.settle() {
                match news {
                    BgpNews::Sessions(sessions) => told.retain(|peer, _| sessions.contains_key(peer)),
                    BgpNews::Plan(Change::Routes(peer, routes)) => _ = told.insert(peer, routes),
                    _ => {}
                }
            }
            if !site.bgp.is_idle() {
                prop_assert_eq!(&site.bgp.plan, &site.made_anew());
            }
            let told: BTreeMap<_, _> = told.iter().filter(|(_, routes)| !routes.is_empty()).collect();
            let planned = site.bgp.plan.routes().iter();
            prop_assert_eq!(told, planned.filter(|(_, routes)| !routes.is_empty()).collect());
            let routes = site.bgp.plan.routes();
            for (one, other) in routes.values().zip(routes.values().skip(1)) {
                prop_assert!(one != other || one.is_empty() || Arc::ptr_eq(one, other), "kept twice");
            }
        }
    }
}

#[test]
fn what_is_foretold_of_a_node_does_not_wait_for_kube_proxy() {
    let mut site = Site::new();
    site.placement.set_service(local("web", "192.0.2.1"));
    site.advertise(Advertisement::new("all"));
    site.settle();
    let foretold = foretell(&"me".into(), site.bgp.objects.clone(), &site.placement);
    assert_eq!(foretold.routes[&"router".into()].len(), 1);
}

#[test]
fn what_is_foretold_of_a_node_is_what_its_speaker_does() {
    let mut site = Site::new();
    site.advertise(Advertisement::new("all"));
    assert_eq!(site.outcome(), Ok(vec!["router".to_owned()]));
    let foretold =
        |site: &Site, node: &str| foretell(&node.into(), site.bgp.objects.clone(), &site.placement);
    let here = foretold(&site, "me");
    let web = ServiceKey::new("default", "web");
    let routes = site.bgp.plan.routes()[&"router".into()].keys();
    let expected = routes.map(|prefix| (*prefix, BTreeSet::from([web.clone()]))).collect();
    assert_eq!(here.routes[&"router".into()], expected);
    let told = here.services[&web].clone().unwrap();
    assert_eq!((told.peers.len(), told.vips.len()), (1, 1));
    assert!(here.peer_faults.is_empty() && here.advertisement_faults.is_empty());
    // Of a node that is not known nothing is announced.
    let nowhere = foretold(&site, "another");
    assert!(nowhere.routes.is_empty());
    assert_eq!(nowhere.services[&web], Err(NotAnnounced::NotOwner));
    let wrong = vec!["spec.myASN: wrong".to_owned()];
    site.bgp.handle(BgpInput::Peers(each([("router".into(), Some(Err(wrong.clone())))])));
    assert_eq!(foretold(&site, "me").peer_faults[&"router".into()], wrong);
}

#[test]
fn a_node_without_an_ipv4_address_has_an_identifier_that_every_router_takes() {
    let mut all = BTreeSet::new();
    for number in 0..2_000 {
        let id = router_id(None, &format!("node-{number}").as_str().into());
        let id = Ipv4Addr::from(id.octets());
        let first = id.octets()[0];
        assert!((1..=223).contains(&first) && first != 127, "{id}");
        all.insert(id);
    }
    assert!(all.len() > 1_990, "{} of 2000", all.len());
}

#[test]
fn a_secret_that_is_replaced_ends_no_session() {
    let mut site = Site::new();
    let secret = peering::PasswordSource::Secret("pass".into());
    site.peer(Peer { password: secret, ..peer("router", "192.0.2.254") });
    site.settle();
    let of = |text: &[u8]| SecretState::Present(peering::Secret::new("kubernetes.io/basic-auth", Some(text)));
    let mut after = |state| {
        site.bgp.handle(BgpInput::Secret("pass".into(), state));
        site.settle();
        site.bgp.sessions.values().map(|it| it.password.clone().unwrap()).collect::<Vec<_>>()
    };
    let password = |text: &str| vec![text.parse::<bgp::config::Password>().unwrap()];
    assert!(after(SecretState::Absent).is_empty());
    assert_eq!(after(of(b"old")), password("old"));
    assert_eq!(after(SecretState::Absent), password("old"));
    assert_eq!(after(of(b"new\n")), password("new"));
}

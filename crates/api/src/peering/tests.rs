use objects::Family;
use serde_json::{Value, json};

use super::*;

fn peer(spec: Value) -> Result<Peer, Vec<String>> {
    let mut all = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1"});
    for (field, value) in spec.as_object().unwrap() {
        all[field] = value.clone();
    }
    let metadata = json!({"name": "router", "namespace": "metallb-system"});
    serde_json::from_value::<BGPPeer>(json!({"metadata": metadata, "spec": all})).unwrap().read()
}

fn profile(spec: Value) -> Result<Profile, Vec<String>> {
    let object = json!({"metadata": {"name": "fast"}, "spec": spec});
    serde_json::from_value::<BFDProfile>(object).unwrap().read()
}

#[test]
fn each_field_of_a_bfd_profile_finds_its_place() {
    let interval = |millis| Interval::try_from(Duration::from_millis(millis)).unwrap();
    assert_eq!(profile(json!({})), Ok(Profile::default()));
    let all = json!({
        "receiveInterval": 80, "transmitInterval": 90, "detectMultiplier": 5, "echoInterval": 70,
        "echoMode": true, "passiveMode": true, "minimumTtl": 250
    });
    let expected = Profile {
        receive: interval(80),
        transmit: interval(90),
        multiplier: NonZeroU8::new(5).unwrap(),
        echo: Some(interval(70)),
        role: Role::Passive,
        least_ttl: NonZeroU8::new(250).unwrap(),
    };
    assert_eq!(profile(all), Ok(expected));
    assert_eq!(profile(json!({"echoInterval": 70})).unwrap().echo, None);
    assert_eq!(profile(json!({"echoMode": true})).unwrap().echo, Some(interval(50)));
    let faults = profile(
        json!({"receiveInterval": 0, "transmitInterval": -5, "detectMultiplier": 256, "minimumTtl": 0}),
    );
    let fields = ["receiveInterval", "transmitInterval", "detectMultiplier", "minimumTtl"];
    for (fault, field) in faults.unwrap_err().iter().zip(fields) {
        assert!(fault.starts_with(&format!("spec.{field}: ")), "{fault}");
    }
}

fn advertisement(spec: Value) -> (Option<Advertisement>, Vec<String>) {
    let object = json!({"metadata": {"name": "ad"}, "spec": spec});
    serde_json::from_value::<BGPAdvertisement>(object).unwrap().read()
}

#[test]
fn a_peer_with_nothing_but_what_it_needs_has_the_defaults() {
    let read = peer(json!({})).unwrap();
    let asn = |number| Asn::try_from(number).unwrap();
    let expected = Peer {
        name: "router".into(),
        created: None,
        node_selectors: vec![],
        transport: Transport::new("192.0.2.1".parse().unwrap(), None).unwrap(),
        port: bgp::config::PORT,
        vrf: None,
        asns: AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) },
        router_id: None,
        timers: Timers::default(),
        password: PasswordSource::None,
        hops: Hops::One,
        families: Families::Only(Family::V4),
        graceful_restart: None,
        bfd: None,
    };
    assert_eq!(read, expected);
    assert_eq!(peer(json!({"peerPort": 0})).unwrap(), expected, "as v1beta1 has it");
}

#[test]
fn each_field_of_a_peer_finds_its_place() {
    let read = peer(json!({
        "peerASN": 0, "dynamicASN": "external", "localASN": 65000, "peerAddress": "2001:db8::1",
        "sourceAddress": "2001:db8::2", "peerPort": 1179, "holdTime": "30s", "connectTime": "5s",
        "routerID": "192.0.2.9", "nodeSelectors": [{"matchLabels": {"zone": "a"}}],
        "passwordSecret": {"name": "secret", "namespace": "metallb-system"}, "bfdProfile": "fast",
        "enableGracefulRestart": true, "ebgpMultiHop": true, "vrf": "red", "dualStackAddressFamily": true
    }))
    .unwrap();
    assert_eq!((read.asns.peer, read.asns.shown.map(Asn::number)), (PeerAs::External, Some(65_000)));
    assert_eq!(read.transport.source(), Some("2001:db8::2".parse().unwrap()));
    assert_eq!((read.port.get(), read.timers.hold().seconds()), (1179, 30));
    assert_eq!((read.timers.connect(), read.node_selectors.len()), (Duration::from_secs(5), 1));
    assert_eq!(read.router_id.unwrap().octets(), [192, 0, 2, 9]);
    assert_eq!(read.password, PasswordSource::Secret("secret".into()));
    assert_eq!((read.bfd, read.vrf), (Some("fast".into()), Some("red".into())));
    assert_eq!((read.hops, read.families), (Hops::Many, Families::Both));
    assert_eq!(read.graceful_restart, Some(RestartTime::default()));
}

#[test]
fn a_session_carries_its_own_family_unless_asked_for_both() {
    let families = |spec| peer(spec).unwrap().families;
    assert_eq!(families(json!({"peerAddress": "2001:db8::1"})), Families::Only(Family::V6));
    assert_eq!(families(json!({"disableMP": true})), Families::Only(Family::V4));
    assert_eq!(families(json!({"peerAddress": "", "interface": "eth0"})), Families::Both);
}

#[test]
fn what_makes_no_session_is_named_with_its_field() {
    for (spec, field) in [
        (json!({"myASN": 0}), "spec.myASN: "),
        (json!({"peerASN": 0}), "spec.peerASN: "),
        (json!({"dynamicASN": "internal"}), "spec.dynamicASN: "),
        (json!({"peerASN": 0, "dynamicASN": "auto"}), "spec.dynamicASN: "),
        (json!({"peerAddress": "router"}), "spec.peerAddress: "),
        (json!({"peerAddress": ""}), "spec.peerAddress: "),
        (json!({"peerAddress": "0.0.0.0"}), "spec.peerAddress: "),
        (json!({"peerAddress": "::"}), "spec.peerAddress: "),
        (json!({"peerAddress": "224.0.0.5"}), "spec.peerAddress: "),
        (json!({"peerAddress": "255.255.255.255"}), "spec.peerAddress: "),
        (json!({"peerAddress": "fe80::1"}), "spec.peerAddress: fe80::1 is a link-local address"),
        (json!({"interface": "eth0"}), "spec.interface: "),
        (json!({"sourceAddress": "2001:db8::2"}), "spec.sourceAddress: "),
        (json!({"peerPort": 70000}), "spec.peerPort: "),
        (json!({"holdTime": "2s"}), "spec: the hold time"),
        (json!({"holdTime": "soon"}), "spec.holdTime: "),
        (json!({"routerID": "2001:db8::1"}), "spec.routerID: "),
        (json!({"routerID": "0.0.0.0"}), "spec.routerID: "),
        (json!({"password": "a", "passwordSecret": {"name": "b"}}), "spec.password: "),
        (json!({"passwordSecret": {"name": "b", "namespace": "other"}}), "spec.passwordSecret.namespace: "),
        (json!({"peerASN": 64512, "ebgpMultiHop": true}), "spec.ebgpMultiHop: "),
        (
            json!({"nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Is"}]}]}),
            "spec.nodeSelectors[0]: ",
        ),
    ] {
        let faults = peer(spec.clone()).unwrap_err();
        assert!(faults.len() == 1 && faults[0].starts_with(field), "{spec}: {faults:?}");
    }
    let password = "x".repeat(81);
    let faults = peer(json!({"password": password})).unwrap_err();
    assert!(!faults[0].contains(&password), "a password is not shown");
}

#[test]
fn an_advertisement_is_read_with_its_defaults() {
    let (read, faults) = advertisement(json!({}));
    let read = read.unwrap();
    assert!(faults.is_empty());
    assert_eq!(read.scope, placement::Advertisement::new("ad"));
    assert_eq!((read.aggregation, read.local_preference.0), (Aggregation::default(), 100));
    assert_eq!(advertisement(json!({"localPref": 0})).0.unwrap().local_preference.0, 100);
    let (read, _) = advertisement(json!({
        "aggregationLength": 24, "aggregationLengthV6": 64, "localPref": 200, "communities": ["1:1"], "peers": ["a"]
    }));
    let read = read.unwrap();
    assert_eq!(read.aggregation, Aggregation::new(24, 64).unwrap());
    assert_eq!((read.local_preference.0, read.communities.len(), read.peers.len()), (200, 1, 1));
}

#[test]
fn an_advertisement_that_contradicts_itself_is_not_in_force() {
    for spec in [
        json!({"aggregationLength": 33}),
        json!({"aggregationLengthV6": -1}),
        json!({"aggregationLength": 24, "serviceSelectors": [{"matchLabels": {"a": "b"}}]}),
    ] {
        let (read, faults) = advertisement(spec);
        assert!(read.is_none() && faults.len() == 1, "{faults:?}");
    }
}

#[test]
fn annotations_of_an_advertisement_ask_for_what_the_schema_has_no_field_for() {
    let read = |annotations: Value| {
        let object = json!({"metadata": {"name": "ad", "annotations": annotations}, "spec": {}});
        let (it, faults) = serde_json::from_value::<BGPAdvertisement>(object).unwrap().read();
        let it = it.expect("it is in force in any case");
        ((it.prepend.times(), it.share), faults)
    };
    let (prepend, bandwidth) = ("ferrolb.io/as-path-prepend", "ferrolb.io/link-bandwidth");
    assert_eq!(read(json!({})), ((0, Share::Untold), vec![]));
    assert_eq!(read(json!({prepend: "3", bandwidth: " endpoints\n"})), ((3, Share::ByEndpoints), vec![]));
    assert_eq!(read(json!({prepend: "0", bandwidth: "none"})), ((0, Share::Untold), vec![]));
    for (name, text) in
        [(prepend, "11"), (prepend, "-1"), (prepend, "two"), (prepend, ""), (bandwidth, "100")]
    {
        let (asked, faults) = read(json!({name: text}));
        assert_eq!(asked, (0, Share::Untold), "{name}: {text}");
        assert!(
            faults[0].starts_with(&format!("metadata.annotations[{name}]: \"{text}\" is n")),
            "{faults:?}"
        );
    }
}

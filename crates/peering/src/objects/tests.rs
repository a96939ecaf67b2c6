use bgp::config::{AsNumbers, Asn, PeerAs, Transport};
use bgp::route::LocalPreference;
use objects::{Requirement, Selector};
use pools::PoolSpec;

use super::*;
use crate::{Aggregation, Secret};

fn peer(name: &str, address: &str) -> Peer {
    let asn = |number| Asn::try_from(number).unwrap();
    let asns = AsNumbers { own: asn(64_512), shown: None, peer: PeerAs::Is(asn(64_513)) };
    Peer::new(name.into(), Transport::new(address.parse().unwrap(), None).unwrap(), asns)
}

fn zone(value: &str) -> Selector {
    Selector::from_iter([Requirement::equals("zone", value)])
}

fn with_peers(peers: impl IntoIterator<Item = Peer>) -> Objects {
    let peers = peers.into_iter().map(|peer| (peer.name.clone(), Ok(peer))).collect();
    Objects { peers, ..Objects::default() }
}

/// The sessions of a node in zone a, and what is wrong, by name.
fn sessions(objects: &Objects) -> (Vec<String>, Vec<(String, String)>) {
    let labels = Labels::from([("zone".to_owned(), "a".to_owned())]);
    let router_id = RouterId::try_from(std::net::Ipv4Addr::new(192, 0, 2, 9)).unwrap();
    let Sessions { sessions, faults, .. } = objects.sessions(ThisNode { labels: &labels, router_id });
    let faults = faults.into_iter().map(|(name, why)| (name.to_string(), why.join("; ")));
    (sessions.into_keys().map(|name| name.to_string()).collect(), faults.collect())
}

fn with_communities(texts: &[&str], aliases: &[(&str, &str, &str)]) -> Objects {
    let communities = texts.iter().map(ToString::to_string).collect();
    let it = Advertisement { communities, ..Advertisement::new("ad") };
    let mut objects =
        Objects { advertisements: [("ad".into(), (Some(it), vec![]))].into(), ..Objects::default() };
    for (object, name, value) in aliases {
        let names: &mut CommunityNames = objects.communities.entry((*object).to_owned()).or_default();
        names.push(((*name).to_owned(), (*value).to_owned()));
    }
    objects
}

/// The communities of the only advertisement, or what is wrong with it.
fn communities(texts: &[&str], aliases: &[(&str, &str, &str)]) -> Result<Vec<String>, String> {
    let (announcing, faults) = with_communities(texts, aliases).advertisements(&Pools::default());
    if let Some(why) = faults.into_values().next() {
        assert!(announcing.is_empty());
        return Err(why.join("; "));
    }
    let Attributes { communities, large_communities, .. } =
        announcing.into_values().next().unwrap().attributes;
    let large = large_communities.iter().map(|it| it.to_string());
    Ok(communities.iter().map(|it| it.to_string()).chain(large).collect())
}

#[test]
fn a_node_has_sessions_with_the_peers_that_select_it() {
    let elsewhere = Peer { node_selectors: vec![zone("b")], ..peer("b", "192.0.2.2") };
    let here = Peer { node_selectors: vec![zone("b"), zone("a")], ..peer("c", "192.0.2.3") };
    let objects = with_peers([peer("a", "192.0.2.1"), elsewhere, here]);
    assert_eq!(sessions(&objects), (vec!["a".to_owned(), "c".to_owned()], vec![]));
}

#[test]
fn of_two_peers_that_are_one_router_the_older_counts() {
    let older = Peer { created: Some(1), ..peer("z", "192.0.2.1") };
    let newer = Peer { created: Some(2), ..peer("a", "192.0.2.1") };
    let (kept, faults) = sessions(&with_peers([older.clone(), newer.clone()]));
    assert_eq!(kept, ["z"]);
    assert!(faults[0].0 == "a" && faults[0].1.starts_with("BGPPeer z has the same address"), "{faults:?}");

    let another_port = Peer { port: 1179.try_into().unwrap(), ..newer.clone() };
    let elsewhere = Peer { node_selectors: vec![zone("b")], ..newer };
    for other in [another_port, elsewhere] {
        assert!(sessions(&with_peers([older.clone(), other])).1.is_empty());
    }
}

#[test]
fn a_router_behind_an_interface_is_a_peer_of_its_own() {
    let behind = |name: &str, interface: &str| {
        let any = peer(name, "192.0.2.1");
        Peer::new(any.name, Transport::Interface(interface.into()), any.asns)
    };
    let objects =
        with_peers([behind("a", "eth1"), behind("b", "eth2"), peer("c", "192.0.2.1"), behind("d", "eth1")]);
    let (kept, faults) = sessions(&objects);
    assert_eq!(kept, ["a", "b", "c"]);
    assert!(faults[0].0 == "d" && faults[0].1.starts_with("BGPPeer a has the same"), "{faults:?}");
    assert!(objects.peer_faults().is_empty());
}

#[test]
fn a_peer_whose_bfd_profile_or_secret_is_missing_is_not_in_force_and_others_are() {
    let with_bfd = Peer { bfd: Some("fast".into()), ..peer("bfd", "192.0.2.1") };
    let secret = PasswordSource::Secret("router".into());
    let with_secret = Peer { password: secret, ..peer("secret", "192.0.2.2") };
    let mut objects = with_peers([with_bfd, with_secret, peer("well", "192.0.2.3")]);
    objects.peers.insert("unreadable".into(), Err(vec!["spec.myASN: 0".to_owned()]));
    objects.secrets.insert("router".into(), SecretState::Absent);
    let (kept, faults) = sessions(&objects);
    assert_eq!(kept, ["bfd", "well"], "one goes on without BFD");
    let names: Vec<_> = faults.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["bfd", "secret", "unreadable"]);
    assert!(
        faults[0].1.contains("no BFDProfile fast") && faults[1].1.contains("no Secret router"),
        "{faults:?}"
    );

    assert_eq!(objects.wanted_secrets(), ["router".into()].into());
    objects.profiles.insert("fast".into(), Err(vec!["spec.minimumTtl: 0".to_owned()]));
    let (_, faults) = sessions(&objects);
    let expected =
        "spec.bfdProfile: BFDProfile fast: spec.minimumTtl: 0; until then sessions go on without BFD";
    assert_eq!(faults[0].1, expected);
    let profile = Profile::default();
    objects.profiles.insert("fast".into(), Ok(profile));
    let basic = "kubernetes.io/basic-auth";
    let present = |password| SecretState::Present(Secret::new(basic, password));
    objects.secrets.insert("router".into(), present(Some(b"secret")));
    assert_eq!(sessions(&objects).0, ["bfd", "secret", "well"]);
    for (secret, why) in [
        (SecretState::Present(Secret::new("Opaque", Some(b"secret"))), "its type is"),
        (present(None), "no key password"),
        (present(Some(b"")), "empty"),
        (SecretState::Unreadable, "does not hand out Secret router"),
    ] {
        objects.secrets.insert("router".into(), secret);
        let (kept, faults) = sessions(&objects);
        assert_eq!(kept, ["bfd", "well"]);
        assert!(faults[0].1.contains(why), "{faults:?}");
    }
}

#[test]
fn a_peer_whose_secret_is_yet_to_be_read_is_pending_and_holds_its_router() {
    let secret = PasswordSource::Secret("router".into());
    let older = Peer { created: Some(1), password: secret, ..peer("old", "192.0.2.1") };
    let newer = Peer { created: Some(2), ..peer("new", "192.0.2.1") };
    let labels = Labels::new();
    let router_id = RouterId::try_from(std::net::Ipv4Addr::new(192, 0, 2, 9)).unwrap();
    let it = with_peers([older, newer]).sessions(ThisNode { labels: &labels, router_id });
    assert!(it.sessions.is_empty());
    assert_eq!(it.pending, ["old".into()].into());
    assert_eq!(it.faults.keys().collect::<Vec<_>>(), [&"new".into()]);
}

#[test]
fn communities_are_numbers_or_names_that_an_object_defines() {
    let named = [("a", "no-export", "65535:65281"), ("b", "big", "large:1:2:3")];
    let texts = ["64512:1", "no-export", "big", "large:4:5:6"];
    let expected = ["64512:1", "65535:65281", "large:1:2:3", "large:4:5:6"].map(str::to_owned);
    assert_eq!(communities(&texts, &named), Ok(expected.into()));
    for (text, aliases, why) in [
        ("no-export", &[][..], "no Community object defines this name"),
        ("70000:1", &[], "not a community"),
        ("x", &[("a", "x", "1:1"), ("b", "x", "1:2")], "Community \"a\" and Community \"b\""),
        ("x", &[("a", "x", "1")], "gives it the value"),
    ] {
        let wrong = communities(&[text], aliases).unwrap_err();
        assert!(wrong.starts_with("spec.communities[0] ") && wrong.contains(why), "{wrong}");
    }
    let same = [("a", "x", "1:1"), ("b", "x", "1:1")];
    assert_eq!(communities(&["x"], &same), Ok(vec!["1:1".to_owned()]), "both say the same");
    let many: Vec<String> = (0..64).map(|number| format!("1:{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(communities(&many, &[]).unwrap_err().contains("63"));
}

#[test]
fn prefixes_that_reach_beyond_a_pool_are_not_announced_of_this_pool_alone() {
    let it = Advertisement { aggregation: Aggregation::new(24, 64).unwrap(), ..Advertisement::new("ad") };
    let objects =
        Objects { advertisements: [("ad".into(), (Some(it), vec![]))].into(), ..Objects::default() };
    let specs = [("exact", "192.0.2.0/24"), ("small", "198.51.100.0/25"), ("v6", "2001:db8::/64")];
    let pools = Pools::new(specs.map(|(name, entry)| PoolSpec::new(name, &[entry])));
    let (announcing, faults) = objects.advertisements(&pools);
    let covered = |name: &str| announcing[&"ad".into()].covers(pools.get(&name.into()).unwrap());
    assert_eq!(["exact", "small", "v6"].map(covered), [true, false, true]);
    let [why] = &faults[&"ad".into()][..] else { panic!("{faults:?}") };
    assert!(
        why.starts_with("spec.aggregationLength: prefixes of length 24") && why.ends_with("write 25 or more"),
        "{why}"
    );
}

#[test]
fn a_peer_that_is_for_other_nodes_needs_no_secret_here() {
    let secret = PasswordSource::Secret("router".into());
    let elsewhere = Peer { node_selectors: vec![zone("b")], password: secret, ..peer("b", "192.0.2.2") };
    let mut objects = with_peers([elsewhere]);
    objects.secrets.insert("router".into(), SecretState::Absent);
    assert_eq!(sessions(&objects), (vec![], vec![]));
}

#[test]
fn echo_over_ipv6_is_pointed_out() {
    let with_bfd = |name, address| Peer { bfd: Some("echo".into()), ..peer(name, address) };
    let mut objects = with_peers([with_bfd("v4", "192.0.2.1"), with_bfd("v6", "2001:db8::1")]);
    assert!(objects.peer_warnings().is_empty());
    let profile = Profile { echo: Some(bfd::config::Interval::ECHO), ..Profile::default() };
    objects.profiles.insert("echo".into(), Ok(profile));
    assert_eq!(objects.peer_warnings().into_keys().collect::<Vec<_>>(), ["v6".into()]);
    assert_eq!(sessions(&objects), (vec!["v4".to_owned(), "v6".to_owned()], vec![]));
}

#[test]
fn an_advertisement_with_another_local_preference_than_an_older_one_of_the_same_prefixes_is_named() {
    let ad = |name: &str, created, preference| Advertisement {
        created: Some(created),
        local_preference: LocalPreference(preference),
        ..Advertisement::new(name)
    };
    let pools = Pools::new([
        PoolSpec::new("a", &["192.0.2.0/24"]),
        PoolSpec::new("b", &["198.51.100.0/24", "2001:db8::/64"]),
    ]);
    let named = |newer: &Advertisement| {
        let both = [ad("z", 1, 100), newer.clone()].map(|it| (it.scope.name.clone(), (Some(it), vec![])));
        let objects = Objects { advertisements: both.into(), ..Objects::default() };
        let (announcing, faults) = objects.advertisements(&pools);
        assert_eq!(announcing.len(), 2, "what both announce is for those to tell who know the Services");
        faults.into_iter().map(|(name, why)| format!("{name}: {}", why.join("; "))).collect::<Vec<_>>()
    };
    let newer = ad("a", 2, 200);
    let [fault] = &named(&newer)[..] else { panic!("one is overruled") };
    assert!(fault.starts_with("a: spec.localPref: BGPAdvertisement z, which is older"), "{fault}");
    assert!(fault.contains("with 100"), "{fault}");
    let of_v6 = Advertisement { aggregation: Aggregation::new(24, 128).unwrap(), ..newer.clone() };
    assert_eq!(named(&of_v6).len(), 1, "prefixes of one family are the same");
    let mut of_v4 = of_v6;
    of_v4.scope.pools = ["a".into()].into();
    let mut some = newer.clone();
    some.scope.service_selectors = vec![zone("a")];
    for other in [ad("a", 2, 100), of_v4, some] {
        assert!(named(&other).is_empty());
    }
}

#[test]
fn a_session_goes_on_by_the_password_that_its_secret_had() {
    let secret = PasswordSource::Secret("router".into());
    let bfd = Some("fast".into());
    let mut objects = with_peers([Peer { password: secret, bfd, ..peer("router", "192.0.2.1") }]);
    let present = SecretState::Present(Secret::new("kubernetes.io/basic-auth", Some(b"secret")));
    objects.secrets.insert("router".into(), SecretState::Absent.after(Some(present)));
    let (kept, faults) = sessions(&objects);
    assert_eq!(kept, ["router"]);
    let (_, why) = &faults[0];
    assert!(why.contains("no BFDProfile fast") && why.contains("no Secret router"), "{why}");
}

#[test]
fn a_peer_that_an_advertisement_names_and_that_is_not_there_is_pointed_out() {
    let mut objects = with_peers([peer("a", "192.0.2.1")]);
    objects.peers.insert("unreadable".into(), Err(vec![]));
    let peers = ["a", "b", "unreadable"].map(BgpPeerName::from).into();
    let ads = [Advertisement { peers, ..Advertisement::new("some") }, Advertisement::new("all")];
    objects.advertisements = ads.map(|it| (it.scope.name.clone(), (Some(it), vec![]))).into();
    let warnings: Vec<_> = objects.advertisement_warnings().into_iter().collect();
    let [(name, said)] = &warnings[..] else { panic!("{warnings:?}") };
    assert!(name.to_string() == "some" && said.len() == 1 && said[0].contains("no BGPPeer b,"), "{said:?}");
}

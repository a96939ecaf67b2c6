//! What `/status` tells.

use introspection::{AddressState, PeerState, Usability};

use super::*;

/// The states of the addresses that fall to this node.
fn states(it: &Fixture) -> Vec<(String, AddressState)> {
    let addresses = it.core.status(it.now).addresses.items.into_iter();
    addresses.map(|address| (address.ip.expect("an address").to_string(), address.state)).collect()
}

fn only(vip: &str, state: AddressState) -> Vec<(String, AddressState)> {
    vec![(vip.to_owned(), state)]
}

#[test]
fn an_address_has_the_state_that_the_lan_gives_it() {
    let mut it = fixture();
    it.all(lists());
    assert_eq!(states(&it), only("192.0.2.2", AddressState::Probing));
    it.after(spoken("192.0.2.2"));
    assert_eq!(states(&it), only("192.0.2.2", AddressState::Announced));
    let address = it.core.status(it.now).addresses.items.remove(0);
    assert_eq!(
        (address.services, address.interfaces),
        (vec!["default/two".to_owned()], vec!["eth0".to_owned()])
    );
    let vip = ip("192.0.2.2");
    let says = |report| Input::Port("eth0".into(), report);

    it.after(says(Report::Claimed { vip, by: FOREIGN }));
    let address = it.core.status(it.now).addresses.items.remove(0);
    assert_eq!((address.state, &*address.conflicts[0].mac), (AddressState::Announced, "02:00:00:00:00:09"));
    assert_eq!(address.conflicts[0].interface, "", "where a claim was heard is not kept");
    let heard = |it: &Fixture, later: u64| {
        let status = it.core.status(it.now + Duration::from_secs(later));
        status.addresses.items[0].conflicts[0].last_heard_seconds
    };
    assert_eq!((heard(&it, 0), heard(&it, 20)), (Some(0), Some(20)));

    it.after(says(Report::Taken { vip, by: FOREIGN }));
    assert_eq!(states(&it), only("192.0.2.2", AddressState::Conflict));
    let conflict = it.core.status(it.now).addresses.items.remove(0).conflicts.remove(0);
    assert_eq!((&*conflict.mac, &*conflict.interface, conflict.node), ("02:00:00:00:00:09", "eth0", None));

    it.after(seen(n2_tells(told(&[THEIRS], &[]))));
    it.after(says(Report::Held { vip, by: THEIRS }));
    assert_eq!(states(&it), only("192.0.2.2", AddressState::PeerUnheard));
    let conflict = it.core.status(it.now).addresses.items.remove(0).conflicts.remove(0);
    assert_eq!(conflict.node.as_deref(), Some("n2"));

    it.after(says(Report::Free { vip }));
    assert_eq!(states(&it), only("192.0.2.2", AddressState::Announced));
}

#[test]
fn an_address_that_no_interface_will_do_for_is_told_as_unannounced() {
    let mut it = complete();
    it.all([members(&["n1"]), interfaces(&[link("eth0", OURS, Err(Unfit::NoCarrier))])]);
    assert!(states(&it).is_empty());
    let unannounced = it.core.status(it.now).unannounced.items;
    let two = unannounced.iter().find(|it| it.service == "default/two").expect("it is told");
    assert!(two.reason.contains("no interface that can announce by ARP on n1"), "{}", two.reason);
}

#[test]
fn a_new_address_is_asked_for_and_a_paused_node_is_muted() {
    let mut it = complete();
    let (key, new) = service("new", "192.0.2.6");
    it.all([Input::Services(one(key, new)), Input::Endpoints(list([endpoints("new")]))]);
    assert!(states(&it).contains(&("192.0.2.6".to_owned(), AddressState::Probing)), "{:?}", states(&it));
    it.after(seen(View::default()));
    let status = it.core.status(it.now);
    assert!(status.addresses.items.iter().any(|address| address.state == AddressState::Muted), "{status:?}");
    assert!(status.interfaces.items[0].muted && !status.gossip.settled);
}

#[test]
fn peers_are_told_with_how_they_are_heard_and_what_they_have_said() {
    let mut it = complete();
    it.after(peers(&[1, 2, 3]));
    it.after(seen(n2_tells(told(&[THEIRS], &["192.0.2.1"]))));
    let status = it.core.status(it.now);
    assert_eq!((&*status.node, status.gossip.members, status.gossip.settled), ("n1", 2, true));
    let [n2, n3] = &status.peers.items[..] else { panic!("{status:?}") };
    assert_eq!(
        (&*n2.node, n2.state, n2.address.as_deref()),
        ("n2", PeerState::Heard, Some("192.0.2.202:7946"))
    );
    assert_eq!(
        (&n2.macs[..], &n2.contested[..]),
        (&["02:00:00:00:00:02".to_owned()][..], &[ip("192.0.2.1")][..])
    );
    assert_eq!((&*n3.node, n3.state), ("n3", PeerState::NotHeard));
    let away = View { away: ["n2".into()].into(), ..view(&["n1"], true) };
    it.after(seen(away));
    assert_eq!(it.core.status(it.now).peers.items[0].state, PeerState::Away);
    it.after(Input::Trouble(Some(Trouble::OtherKey)));
    assert_eq!(it.core.status(it.now).gossip.trouble.as_deref(), Some(Impairment::GossipKey.name()));
}

#[test]
fn an_interface_is_told_with_why_it_is_not_used() {
    let mut it = complete();
    it.after(interfaces(&[link("eth0", OURS, Ok(())), link("eth1", THEIRS, Err(Unfit::Excluded))]));
    let status = it.core.status(it.now);
    let [eth0, eth1] = &status.interfaces.items[..] else { panic!("{status:?}") };
    assert_eq!((&eth0.arp, eth0.announced), (&Usability::Used, 1));
    assert_eq!(eth0.ndp, Usability::Unfit("it has no link-local IPv6 address".to_owned()));
    assert_eq!(eth1.arp, Usability::Unfit("its name is excluded".to_owned()));
}

#[test]
fn what_nobody_announces_is_told_with_its_reason() {
    let mut it = complete();
    it.after(Input::Endpoints(one(SliceKey::new("default", "two-1"), None)));
    let unannounced = it.core.status(it.now).unannounced;
    let [two] = &unannounced.items[..] else { panic!("{unannounced:?}") };
    assert_eq!((&*two.service, two.ip), ("default/two", Some(ip("192.0.2.2"))));
    assert_eq!(two.reason, "no EndpointSlice of it has a serving endpoint");
}

#[test]
fn an_interface_that_failed_twice_is_told_with_how_long_others_go_first_and_with_its_prefixes() {
    let mut it = complete();
    let with = |arp| {
        let prefixes = placement::Prefix::of(ip("192.0.2.201"), 24).into_iter().collect();
        interfaces(&[Link { lan: Lan { prefixes, ..Lan::default() }, ..link("eth0", OURS, arp) }])
    };
    let eth0 = |it: &Fixture| it.core.status(it.now).interfaces.items[0].clone();
    it.after(with(Ok(())));
    for (unsteady, steady_in) in [(false, None), (true, Some(5)), (true, Some(10))] {
        for arp in [Err(Unfit::NoCarrier), Ok(())] {
            it.now += Duration::from_secs(1);
            it.after(with(arp));
        }
        let eth0 = eth0(&it);
        assert_eq!((eth0.unsteady, eth0.steady_in_seconds), (unsteady, steady_in));
        assert_eq!((eth0.arp, eth0.prefixes), (Usability::Used, vec!["192.0.2.0/24".to_owned()]));
    }
    // Nothing need have happened since.
    it.now += Duration::from_millis(9_500);
    assert_eq!(eth0(&it).steady_in_seconds, Some(1));
    it.now += Duration::from_millis(500);
    it.after(Input::Time);
    assert_eq!((eth0(&it).unsteady, eth0(&it).steady_in_seconds), (false, None));
}

#[test]
fn what_a_peer_has_told_of_its_interfaces_is_told_on() {
    let mut it = complete();
    let by_name = [("eth0", Ability::Unsteady), ("eth1", Ability::Lost), ("eth2", Ability::Able)];
    let by_name = by_name.map(|(name, arp)| (name.into(), ByProtocol { arp, ndp: Ability::Unable }));
    let prefixes = placement::Prefix::of(ip("198.51.100.7"), 24).into_iter().collect();
    let profile = NodeProfile {
        macs: [THEIRS.0].into(),
        abilities: Abilities::Known(by_name.into()),
        prefixes: [("eth1".into(), prefixes)].into(),
        ..NodeProfile::default()
    };
    it.after(seen(n2_tells(crate::peers::profile(&profile))));
    let status = it.core.status(it.now);
    let told = status.peers.items[0].interfaces.as_ref().unwrap();
    let told: Vec<_> = told.iter().map(|it| (&*it.name, &it.arp, it.unsteady, it.prefixes.len())).collect();
    let [used, lost] = [&Usability::Used, &Usability::Lost];
    assert_eq!(told, [("eth0", used, true, 0), ("eth1", lost, false, 1), ("eth2", used, false, 0)]);
}

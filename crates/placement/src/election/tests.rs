use objects::{Requirement, Selector};
use pools::PoolSpec;

use super::*;
use crate::fixtures::*;
use crate::{
    Abilities, Ability, Advertisement, ByProtocol, EXCLUDE_LABEL, ExcludeLabel, Network, Preference, Sharing,
    TrafficPolicy,
};

fn ranked(vip: &str) -> Vec<String> {
    let nodes = ["node-a", "node-b", "node-c"].map(NodeName::from);
    rank(vip.parse().unwrap(), nodes.iter().map(|n| (n, 0))).map(ToString::to_string).collect()
}

fn electorate() -> Eligibility {
    let mut it = Eligibility::new(ExcludeLabel::Honoured);
    for name in ["node-a", "node-b", "node-c"] {
        it.members.insert(name.into());
        it.nodes.insert(name.into(), node(name));
    }
    it.pools = pools([pool("pool", "10.0.0.0/24")]);
    it.advertisements.insert("ad".into(), advertisement("ad"));
    it
}

/// An election as node-c sees it.
fn field<'a>(
    eligibility: &'a Eligibility,
    abilities: &'a AbilitiesOfNodes,
    conceding: Option<&'a BTreeSet<NodeName>>,
) -> Field<'a> {
    static ME: std::sync::LazyLock<NodeName> = std::sync::LazyLock::new(|| "node-c".into());
    Field { me: &ME, eligibility, abilities, conceding, homes: None, keeping: None }
}

/// Elects for a Service that shares nothing.
fn elect_one(it: &Eligibility, service: &Service, endpoints: &Endpoints) -> Result<Assignment, Unannounced> {
    let vip = service.vips.first().copied().unwrap_or(ip("10.0.0.1"));
    elect(vip, &[(service, vec![endpoints])], &field(it, &AbilitiesOfNodes::default(), None))
        .of(&service.key)
        .unwrap()
        .clone()
}

fn announcer(it: &mut Eligibility, service: &Service, endpoints: &[&str]) -> Result<String, Unannounced> {
    it.refresh();
    elect_one(it, service, &serving(endpoints)).map(|assignment| assignment.announcer.to_string())
}

fn zone(value: &str) -> Selector {
    Selector::from_iter([Requirement::equals("zone", value)])
}

#[test]
fn nodes_rank_as_metallb_ranks_them() {
    assert_eq!(ranked("10.0.0.1"), ["node-b", "node-a", "node-c"]);
    assert_eq!(ranked("10.0.0.2"), ["node-b", "node-c", "node-a"]);
}

#[test]
fn who_gives_an_address_up_is_no_candidate_for_it_even_if_nobody_else_is() {
    let mut it = electorate();
    it.refresh();
    let (service, abilities, slice) =
        (service("a", "10.0.0.1"), AbilitiesOfNodes::default(), serving(&["x"]));
    let elect_among = |conceding: &[&str]| {
        let conceding = conceding.iter().map(|node| NodeName::from(*node)).collect();
        let services = [(&service, vec![&slice])];
        let outcome = elect(service.vips[0], &services, &field(&it, &abilities, Some(&conceding)));
        let announcer = outcome.of(&service.key).unwrap().clone().map(|it| it.announcer.to_string());
        (announcer, outcome.place)
    };
    assert_eq!(elect_among(&[]), (Ok("node-b".into()), Some(1)));
    assert_eq!(elect_among(&["node-b"]), (Ok("node-a".into()), Some(0)));
    assert_eq!(elect_among(&["node-c"]), (Ok("node-b".into()), None));
    assert_eq!(elect_among(&["node-a", "node-b"]), (Ok("node-c".into()), None));
    assert_eq!(elect_among(&["node-a", "node-b", "node-c"]), (Err(Unannounced::NoCandidate), None));
}

#[test]
fn the_first_address_ranks_for_all_of_them() {
    let mut it = electorate();
    let mut both = pool("pool", "10.0.0.0/24");
    both.entries.push("fd00::/120".into());
    it.pools = pools([both]);
    for addresses in [["10.0.0.1", "fd00::1"], ["10.0.0.1", "fd00::2"], ["10.0.0.1", "10.0.0.9"]] {
        let dual = Service { vips: addresses.map(ip).to_vec(), ..service("dual", "10.0.0.1") };
        assert_eq!(announcer(&mut it, &dual, &["node-a"]), Ok("node-b".into()));
    }
    let v6_first = Service { vips: ["fd00::1", "10.0.0.1"].map(ip).to_vec(), ..service("v6", "10.0.0.1") };
    let expected = rank(ip("fd00::1"), it.nodes.keys().map(|n| (n, 0))).next().unwrap().to_string();
    assert_eq!(announcer(&mut it, &v6_first, &["node-a"]), Ok(expected));
}

#[test]
fn a_node_is_no_candidate_unless_it_lives_has_a_network_and_is_not_excluded() {
    let web = service("web", "10.0.0.1");
    let first = |change: fn(&mut Eligibility)| {
        let mut it = electorate();
        change(&mut it);
        announcer(&mut it, &web, &["node-a"]).unwrap()
    };
    assert_eq!(first(|_| ()), "node-b");
    assert_eq!(first(|it| assert!(it.members.remove(&"node-b".into()))), "node-a");
    assert_eq!(first(|it| assert!(it.nodes.remove(&"node-b".into()).is_some())), "node-a");
    assert_eq!(
        first(|it| it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Unavailable),
        "node-a"
    );
    let exclude = |it: &mut Eligibility| {
        let labels = &mut it.nodes.get_mut(&"node-b".into()).unwrap().labels;
        labels.insert(EXCLUDE_LABEL.into(), "false".into());
    };
    assert_eq!(first(exclude), "node-a", "the value of the label does not matter");
    let mut it = electorate();
    exclude(&mut it);
    it.exclude_label = ExcludeLabel::Ignored;
    assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-b".into()));
}

#[test]
fn a_node_that_is_away_announces_nothing_but_is_stood_in_for_wherever_it_could() {
    let mut it = electorate();
    it.members.remove(&"node-b".into());
    it.away = [NodeName::from("node-b")].into();
    let local = Service { traffic_policy: TrafficPolicy::Local, ..service("web", "10.0.0.1") };
    let mut elected = |service: &Service, endpoints: &[&str]| {
        it.refresh();
        let Assignment { announcer, stand_in_for, .. } =
            elect_one(&it, service, &serving(endpoints)).unwrap();
        (announcer.to_string(), stand_in_for.map(|node| node.to_string()))
    };
    let web = service("web", "10.0.0.1");
    assert_eq!(elected(&web, &["node-a"]), ("node-a".into(), Some("node-b".into())));
    assert_eq!(elected(&local, &["node-a", "node-b"]), ("node-a".into(), Some("node-b".into())));
    assert_eq!(elected(&local, &["node-a", "node-c"]), ("node-a".into(), None));
    it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Unavailable;
    it.refresh();
    assert_eq!(elect_one(&it, &web, &serving(&["node-a"])).unwrap().stand_in_for, None);
    it.members.clear();
    it.nodes.get_mut(&"node-b".into()).unwrap().network = Network::Available;
    it.refresh();
    assert_eq!(elect_one(&it, &web, &serving(&["node-a"])), Err(Unannounced::NoCandidate));
}

#[test]
fn cluster_wants_an_endpoint_anywhere_and_local_one_on_the_node() {
    let mut it = electorate();
    let cluster = service("web", "10.0.0.1");
    let local = Service { traffic_policy: TrafficPolicy::Local, ..cluster.clone() };
    assert_eq!(announcer(&mut it, &cluster, &[]), Err(Unadvertised::NoEndpoint.into()));
    assert_eq!(announcer(&mut it, &cluster, &["node-x"]), Ok("node-b".into()));
    assert_eq!(announcer(&mut it, &local, &[]), Err(Unadvertised::NoEndpoint.into()));
    assert_eq!(announcer(&mut it, &local, &["node-x"]), Err(Unannounced::NoCandidate));
    assert_eq!(announcer(&mut it, &local, &["node-c", "node-a"]), Ok("node-a".into()));
    it.refresh();
    let nowhere = Endpoints::from_iter([None]);
    assert_eq!(elect_one(&it, &cluster, &nowhere).unwrap().announcer, "node-b".into());
    assert_eq!(elect_one(&it, &local, &nowhere), Err(Unannounced::NoCandidate));
}

#[test]
fn a_service_outside_every_pool_is_not_announced() {
    let mut it = electorate();
    let outside = service("web", "10.0.1.1");
    assert_eq!(announcer(&mut it, &outside, &["node-a"]), Err(Unadvertised::NoPool.into()));
    let half = Service { vips: vec![ip("10.0.0.1"), ip("10.0.1.1")], ..outside.clone() };
    assert_eq!(announcer(&mut it, &half, &["node-a"]), Err(Unadvertised::NoPool.into()));
    it.pools = pools([pool("old", "10.0.0.0/24"), pool("pool", "10.0.0.0/24")]);
    let recorded = Service { recorded_pool: Some("pool".into()), ..service("web", "10.0.0.1") };
    it.advertisements.get_mut(&"ad".into()).unwrap().pools = ["pool".into()].into();
    assert_eq!(announcer(&mut it, &recorded, &["node-a"]), Ok("node-b".into()), "its record counts");
    let none = Service { vips: vec![], ..outside };
    assert_eq!(announcer(&mut it, &none, &["node-a"]), Err(Unadvertised::NoPool.into()));
}

#[test]
fn an_advertisement_picks_pools_by_name_or_by_label() {
    let web = service("web", "10.0.0.1");
    let with = |change: &dyn Fn(&mut Advertisement)| {
        let mut it = electorate();
        it.pools = pools([PoolSpec { labels: labels(&[("zone", "east")]), ..pool("pool", "10.0.0.0/24") }]);
        change(it.advertisements.get_mut(&"ad".into()).unwrap());
        announcer(&mut it, &web, &["node-a"])
    };
    let yes = Ok("node-b".into());
    let no = Err(Unadvertised::NoAdvertisement.into());
    assert_eq!(with(&|ad| ad.pools = ["pool".into()].into()), yes);
    assert_eq!(with(&|ad| ad.pools = ["other".into()].into()), no);
    assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("east")]), yes);
    assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("west")]), no);
    assert_eq!(with(&|ad| ad.pool_selectors = vec![zone("west"), zone("east")]), yes);
    let either = |ad: &mut Advertisement| {
        ad.pools = ["other".into()].into();
        ad.pool_selectors = vec![zone("east")];
    };
    assert_eq!(with(&either), yes);
}

#[test]
fn an_advertisement_picks_services_and_nodes_by_label() {
    let mut it = electorate();
    it.nodes.get_mut(&"node-c".into()).unwrap().labels = labels(&[("zone", "c")]);
    let ad = it.advertisements.get_mut(&"ad".into()).unwrap();
    ad.service_selectors = vec![zone("east")];
    ad.node_selectors = vec![zone("c")];
    let plain = service("web", "10.0.0.1");
    let east = Service { labels: labels(&[("zone", "east")]), ..plain.clone() };
    assert_eq!(announcer(&mut it, &plain, &["node-a"]), Err(Unadvertised::NoAdvertisement.into()));
    assert_eq!(announcer(&mut it, &east, &["node-a"]), Ok("node-c".into()));
    let shared = Service { sharing: Sharing::Shared, ..east };
    assert_eq!(announcer(&mut it, &shared, &["node-a"]), Err(Unadvertised::SharedYetSelected.into()));
}

#[test]
fn preferences_add_up_and_come_before_the_hash() {
    let mut it = electorate();
    it.nodes.get_mut(&"node-c".into()).unwrap().labels = labels(&[("zone", "c")]);
    it.nodes.get_mut(&"node-a".into()).unwrap().labels = labels(&[("zone", "a")]);
    let prefer = |weight, value| Preference { weight, selector: zone(value) };
    it.advertisements.get_mut(&"ad".into()).unwrap().preferences = vec![prefer(30, "a"), prefer(20, "c")];
    let web = service("web", "10.0.0.1");
    assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-a".into()));
    let more = Advertisement { preferences: vec![prefer(20, "c")], ..advertisement("more") };
    it.advertisements.insert("more".into(), more);
    assert_eq!(announcer(&mut it, &web, &["node-a"]), Ok("node-c".into()));
}

#[test]
fn interfaces_add_up_over_the_advertisements_that_select_the_announcer() {
    let mut it = electorate();
    it.nodes.get_mut(&"node-b".into()).unwrap().labels = labels(&[("zone", "b")]);
    let on = |name: &str, zone_of: Option<&str>, interfaces: &[&str]| Advertisement {
        node_selectors: zone_of.map(zone).into_iter().collect(),
        interfaces: only(interfaces),
        ..advertisement(name)
    };
    it.advertisements.clear();
    let web = service("web", "10.0.0.1");
    let interfaces = |it: &mut Eligibility, ad: Advertisement| {
        it.advertisements.insert(ad.name.clone(), ad);
        it.refresh();
        elect_one(it, &web, &serving(&["node-a"])).unwrap().interfaces
    };
    assert_eq!(interfaces(&mut it, on("1", None, &["eth0"])), only(&["eth0"]));
    assert_eq!(interfaces(&mut it, on("2", Some("b"), &["eth1"])), only(&["eth0", "eth1"]));
    assert_eq!(interfaces(&mut it, on("3", Some("x"), &["eth2"])), only(&["eth0", "eth1"]));
    assert_eq!(interfaces(&mut it, advertisement("4")), Interfaces::All);
}

/// What becomes of `vip` for each of these Services, all with an endpoint on node-a, -b and -c.
fn outcomes(
    it: &mut Eligibility,
    abilities: &[(&str, Abilities)],
    vip: &str,
    services: &[(&Service, &[&str])],
) -> Vec<Result<String, Unannounced>> {
    it.refresh();
    let slices: Vec<_> = services.iter().map(|(_, nodes)| serving(nodes)).collect();
    let given: Vec<_> = services.iter().zip(&slices).map(|((it, _), slice)| (*it, vec![slice])).collect();
    let mut of_nodes = AbilitiesOfNodes::default();
    for (node, abilities) in abilities {
        of_nodes.set(&(*node).into(), abilities.clone());
    }
    let outcomes = elect(ip(vip), &given, &field(it, &of_nodes, None));
    let outcome = |(service, _): &(&Service, _)| {
        outcomes.of(&service.key).unwrap().clone().map(|assignment| assignment.announcer.to_string())
    };
    services.iter().map(outcome).collect()
}

fn local(name: &str, vips: &[&str]) -> Service {
    Service {
        vips: vips.iter().map(|vip| ip(vip)).collect(),
        traffic_policy: TrafficPolicy::Local,
        sharing: Sharing::Shared,
        ..service(name, vips[0])
    }
}

#[test]
fn a_shared_address_is_announced_by_a_node_that_can_serve_all_its_services() {
    let (one, two) = (local("one", &["10.0.0.1"]), local("two", &["10.0.0.1"]));
    let shared = |services: &[(&Service, &[&str])]| outcomes(&mut electorate(), &[], "10.0.0.1", services);
    let at = |node: &str| Ok(node.to_owned());
    // node-b ranks first, then node-a.
    assert_eq!(
        shared(&[(&one, &["node-a", "node-b"]), (&two, &["node-c", "node-a"])]),
        [at("node-a"), at("node-a")]
    );
    let elsewhere = Err(Unannounced::SharedElsewhere { with: one.key.clone() });
    assert_eq!(
        shared(&[(&one, &["node-c"]), (&two, &["node-a", "node-b"])]),
        [at("node-c"), elsewhere.clone()]
    );
    let three = local("three", &["10.0.0.1"]);
    assert_eq!(
        shared(&[(&one, &["node-a", "node-c"]), (&two, &["node-b"]), (&three, &["node-c"])]),
        [at("node-c"), elsewhere, at("node-c")],
        "one that is left out does not leave out the next"
    );
    assert_eq!(
        shared(&[(&one, &[]), (&two, &["node-a"])]),
        [Err(Unadvertised::NoEndpoint.into()), at("node-a")],
        "what is not announced leaves nobody out"
    );
}

#[test]
fn a_shared_address_is_not_left_to_a_node_that_is_away() {
    let (one, two) = (local("one", &["10.0.0.1"]), local("two", &["10.0.0.1"]));
    let mut it = electorate();
    it.members.remove(&"node-b".into());
    it.away.insert("node-b".into());
    let services: [(&Service, &[&str]); 2] = [(&one, &["node-a", "node-b"]), (&two, &["node-b", "node-c"])];
    assert_eq!(
        outcomes(&mut it, &[], "10.0.0.1", &services),
        [Ok("node-a".into()), Err(Unannounced::SharedElsewhere { with: one.key.clone() })]
    );
}

#[test]
fn the_oldest_service_of_an_address_ranks_its_nodes() {
    let two = Service { vips: vec![ip("10.0.0.1"), ip("10.0.0.3")], ..service("two", "10.0.0.1") };
    let one = service("one", "10.0.0.3");
    let own = |vip| rank(ip(vip), electorate().nodes.keys().map(|n| (n, 0))).next().unwrap().to_string();
    assert_ne!(own("10.0.0.1"), own("10.0.0.3"), "else this shows nothing");
    let first = |services: [&Service; 2]| {
        let services = services.map(|service| (service, &["node-a"][..]));
        outcomes(&mut electorate(), &[], "10.0.0.3", &services)
    };
    assert_eq!(first([&two, &one]), [Ok(own("10.0.0.1")), Ok(own("10.0.0.1"))]);
    assert_eq!(first([&one, &two]), [Ok(own("10.0.0.3")), Ok(own("10.0.0.3"))]);
}

#[test]
fn a_node_that_cannot_announce_an_address_is_no_candidate_for_it() {
    let mut it = electorate();
    let mut both = pool("pool", "10.0.0.0/24");
    both.entries.push("fd00::/120".into());
    it.pools = pools([both]);
    let ad = it.advertisements.get_mut(&"ad".into()).unwrap();
    ad.interfaces = only(&["eth1"]);
    let dual = Service { vips: ["10.0.0.1", "fd00::1"].map(ip).to_vec(), ..service("dual", "10.0.0.1") };
    let mut announcers = |abilities: &[(&str, Abilities)]| {
        ["10.0.0.1", "fd00::1"]
            .map(|vip| outcomes(&mut it, abilities, vip, &[(&dual, &["node-a"])]).remove(0))
    };
    let at = |node: &str| Ok(node.to_owned());
    assert_eq!(announcers(&[]), [at("node-b"), at("node-b")]);
    let partly = able(&[("eth0", true, true), ("eth1", true, false)]);
    assert_eq!(announcers(&[("node-b", partly)]), [at("node-b"), at("node-a")], "each family for itself");
    let elsewhere = ("node-b", able(&[("eth0", true, true)]));
    assert_eq!(announcers(std::slice::from_ref(&elsewhere)), [at("node-a"), at("node-a")]);
    let rest = [elsewhere, ("node-a", able(&[])), ("node-c", able(&[("eth1", false, true)]))];
    assert_eq!(announcers(&rest), [Err(Unannounced::NoInterface), at("node-c")]);
}

#[test]
fn a_node_that_has_lost_an_interface_is_passed_over_for_one_that_has_it() {
    let web = service("web", "10.0.0.1");
    let announcer = |interfaces: Interfaces, abilities: &[(&str, Abilities)]| {
        let mut it = electorate();
        it.advertisements.get_mut(&"ad".into()).unwrap().interfaces = interfaces;
        outcomes(&mut it, abilities, "10.0.0.1", &[(&web, &["node-a"])]).remove(0).unwrap()
    };
    // node-b ranks first, then node-a.
    let both = able(&[("eth0", true, true), ("eth1", true, true)]);
    let one = able(&[("eth0", true, true)]);
    let lost = ("node-b", one_lost("eth0", "eth1"));
    let with = |a: &Abilities, c: &Abilities| [lost.clone(), ("node-a", a.clone()), ("node-c", c.clone())];
    assert_eq!(announcer(Interfaces::All, &with(&both, &both)), "node-a");
    assert_eq!(announcer(only(&["eth0", "eth1"]), &with(&both, &both)), "node-a");
    assert_eq!(announcer(Interfaces::All, &with(&one, &one)), "node-b", "nobody has it");
    assert_eq!(announcer(only(&["eth0"]), &with(&both, &both)), "node-b", "it does not matter there");
    assert_eq!(announcer(Interfaces::All, &with(&one, &both)), "node-a", "it has lost nothing");
    let other = one_lost("eth1", "eth0");
    assert_eq!(announcer(Interfaces::All, &with(&other, &other)), "node-b", "each lacks something");
}

#[test]
fn a_node_whose_interface_may_fail_again_is_passed_over_only_where_another_is_better() {
    let web = service("web", "10.0.0.1");
    let announcer = |a: &Abilities, c: &Abilities| {
        let both = |ability| ByProtocol { arp: ability, ndp: ability };
        let unsteady = Abilities::Known([("eth0".into(), both(Ability::Unsteady))].into());
        let abilities = [("node-b", unsteady), ("node-a", a.clone()), ("node-c", c.clone())];
        outcomes(&mut electorate(), &abilities, "10.0.0.1", &[(&web, &["node-a"])]).remove(0).unwrap()
    };
    let (steady, elsewhere) = (able(&[("eth0", true, true)]), able(&[("eth1", true, true)]));
    assert_eq!(announcer(&steady, &steady), "node-a");
    assert_eq!(announcer(&able(&[]), &steady), "node-c");
    assert_eq!(announcer(&able(&[]), &able(&[])), "node-b", "nobody else can");
    assert_eq!(announcer(&elsewhere, &elsewhere), "node-b", "nobody else has that interface");
}

use ipam::{Port, Protocol};
use placement::Interfaces;
use pools::PoolSpec;
use serde_json::json;

use super::*;
use crate::fixtures::snapshot;

fn unsuitable(reasons: &[Reason]) -> Refusal {
    let names = ["p0", "p1", "p2", "p3", "p4"];
    let pools = reasons.iter().zip(names);
    Refusal::NothingLeft(
        pools.map(|(reason, pool)| Unsuitable { pool: pool.into(), reason: reason.clone() }).collect(),
    )
}

#[test]
fn each_refusal_has_something_to_do_that_names_what_is_meant() {
    let ip = "192.0.2.1".parse().unwrap();
    let holder = Some(ServiceKey::new("a", "b"));
    let reservation = || ipam::ReservationKey::new("a", "r");
    let port = Port { protocol: Protocol::Tcp, number: 80 };
    let lan = json!({"metadata": {"name": "lan"}, "spec": {"addresses": ["192.0.2.1/32"]}});
    let lan: api::IPAddressPool = serde_json::from_value(lan).unwrap();
    let pools = Pools::new(vec![PoolSpec::from(&lan)]);
    for (refusal, part) in [
        (Refusal::NoPools, "create an IPAddressPool"),
        (Refusal::UnknownPool("lna".to_owned()), "typing mistake"),
        (Refusal::UnknownPool("lna".to_owned()), "did you mean lan?"),
        (
            Refusal::UnknownPool("l\u{430}n".to_owned()),
            "which has U+0430, no letter of ASCII: did you mean lan?",
        ),
        (Refusal::NotInAnyPool(vec![ip]), "address of a pool"),
        (Refusal::NotInForce { ip, pool: "p".into() }, "kubectl describe ipaddresspool p"),
        (
            Refusal::OtherPool { ips: vec![ip], requested: "q".into(), actual: "p".into() },
            "ask for pool p, or for no pool",
        ),
        (Refusal::WrongFamilies { ips: vec![ip], needed: Families::Single(Family::V6) }, "ask for IPv6"),
        (
            Refusal::NotAdmitted("p".into(), NotAdmitted::Namespace("dev".to_owned())),
            "add namespace dev to spec.serviceAllocation of pool p",
        ),
        (
            Refusal::NotAdmitted("p".into(), NotAdmitted::Labels),
            "labels that spec.serviceAllocation of pool p",
        ),
        (Refusal::NotAdmitted("p".into(), NotAdmitted::Deleted), "create the pool again"),
        (Refusal::Taken(Conflict::SharingKey { ip, holder: holder.clone() }), "metallb.io/allow-shared-ip"),
        (Refusal::Taken(Conflict::Namespace { ip }), "another address"),
        (Refusal::Taken(Conflict::Backend { ip, holder: holder.clone() }), "externalTrafficPolicy Cluster"),
        (Refusal::Taken(Conflict::Port { ip, port, holder }), "another port"),
        (Refusal::NodeAddress { ip, node: "n1".into() }, "take the node's out of the pool"),
        (Refusal::OtherClass(ip), "clear the other Service's status"),
        (Refusal::Reserved { ip, by: Some(reservation()) }, "ferrolb.io/address-reservation: r"),
        (Refusal::Reserved { ip, by: None }, "another address"),
        (Refusal::HeldElsewhere(ip), "another address"),
        (Refusal::UnknownReservation(reservation()), "create AddressReservation r in namespace a"),
        (
            Refusal::UnknownReservation(ipam::ReservationKey::new("a", "b/r")),
            "write the name of an AddressReservation alone",
        ),
        (Refusal::ReservationNotInForce(reservation()), "kubectl describe addressreservation -n a r"),
        (Refusal::ReservationPending(reservation()), "wait a moment"),
        (Refusal::ReservationForOthers(reservation()), "spec.serviceSelectors of AddressReservation r"),
        (Refusal::Unreadable("x".to_owned()), "correct what the Service asks for"),
        (unsuitable(&[]), "create an IPAddressPool"),
        (unsuitable(&[Reason::NotAutomatic]), "metallb.io/address-pool: p0"),
        (unsuitable(&[Reason::NoAddresses(Family::V6)]), "add IPv6 addresses to pool p0"),
        (unsuitable(&[Reason::NotInForce(Family::V4)]), "correct pool p0"),
        (
            unsuitable(&[Reason::QuotaReached(QuotaReached {
                limit: Limit::AtMost(5),
                namespace: "dev".to_owned(),
                in_use: 5,
            })]),
            "delete Services of namespace dev that need no address of pool p0",
        ),
        (
            unsuitable(&[Reason::QuotaReached(QuotaReached {
                limit: Limit::Unreadable,
                namespace: "dev".to_owned(),
                in_use: 0,
            })]),
            "correct annotation ferrolb.io/max-addresses-per-namespace of pool p0",
        ),
        (unsuitable(&[Reason::NotAdmitted(NotAdmitted::Labels)]), "of pool p0 selects"),
        (
            unsuitable(&[
                Reason::NotAutomatic,
                Reason::Exhausted { family: None, in_use: 1, capacity: 1 },
                Reason::NotInForce(Family::V4),
            ]),
            "add addresses to pool p1",
        ),
    ] {
        let remedy = of_refusal(&refusal, Some(&"p0".into()), None, &pools);
        assert!(remedy.contains(part), "{refusal:?}: {remedy}");
        assert_eq!(
            of_no_address(&NoAddress::Refused(refusal), Some(&"p0".into()), None, &pools, &[]),
            Some(remedy)
        );
    }
    assert_eq!(of_no_address(&NoAddress::Deleting, None, None, &pools, &[]), None);
    let headless = NoAddress::Unservable(translation::Unservable::NoFamily);
    assert!(of_no_address(&headless, None, None, &pools, &[]).unwrap().contains("clusterIP"));
}

#[test]
fn a_pool_that_would_not_help_either_is_not_recommended() {
    let none = Pools::new(vec![]);
    let refusal = unsuitable(&[Reason::NoAddresses(Family::V6), Reason::NotAutomatic]);
    assert_eq!(of_refusal(&refusal, None, None, &none), "add IPv6 addresses to pool p0");
    assert!(of_refusal(&refusal, Some(&"p1".into()), None, &none).contains("metallb.io/address-pool: p1"));
    let refusal = unsuitable(&[Reason::NotAutomatic]);
    assert!(of_refusal(&refusal, None, None, &none).contains("create an IPAddressPool"));
}

#[test]
fn each_reason_for_silence_has_something_to_do() {
    for (why, part) in [
        (Unannounced::Unadvertised(Unadvertised::NoPool), "put it back into a pool"),
        (
            Unannounced::Unadvertised(Unadvertised::NoEndpoint),
            "endpointslices -n prod -l kubernetes.io/service-name=web",
        ),
        (Unannounced::Unadvertised(Unadvertised::NoAdvertisement), "create an L2Advertisement"),
        (Unannounced::Unadvertised(Unadvertised::SharedYetSelected), "serviceSelectors"),
        (
            Unannounced::NoCandidate,
            "label the node, or change spec.nodeSelectors of its L2Advertisement; or run a Pod",
        ),
        (Unannounced::NoInterface, "kubectl ferrolb nodes -o wide"),
        (Unannounced::SharedElsewhere { with: ServiceKey::new("a", "b") }, "an address each"),
    ] {
        let obstacles = [Ineligible::NotSelected, Ineligible::NoLocalEndpoint, Ineligible::NotSelected];
        let obstacles = obstacles.map(Obstacle::Ineligible);
        let nodes: Vec<NodeName> = ["n1", "n2", "n3"].map(Into::into).into();
        let remedy = of_unannounced(
            &why,
            &ServiceKey::new("prod", "web"),
            nodes.iter().zip(&obstacles),
            &Advertised::default(),
            &snapshot(&[], &[], &[]),
        );
        assert!(remedy.contains(part), "{why:?}: {remedy}");
    }
}

#[test]
fn each_node_that_is_out_has_its_words_and_something_to_do() {
    let only = Interfaces::only(["eth7".into()]);
    let (advertised, node) = (Advertised::default(), "n1".into());
    let mut snapshot = snapshot(&[], &[], &[]);
    for (obstacle, words, remedy) in [
        (Obstacle::Ineligible(Ineligible::NoNode), "no such Node", "gone from the cluster"),
        (Obstacle::Ineligible(Ineligible::NotMember), "not heard", "UDP port 7946"),
        (Obstacle::Ineligible(Ineligible::NetworkUnavailable), "NetworkUnavailable", "network plugin"),
        (
            Obstacle::Ineligible(Ineligible::Excluded),
            "exclude-from-external-load-balancers",
            "remove the label",
        ),
        (Obstacle::Ineligible(Ineligible::NotSelected), "nodeSelectors", "label the node"),
        (Obstacle::Ineligible(Ineligible::NoLocalEndpoint), "Local", "run a Pod"),
        (Obstacle::NoInterface(Interfaces::All), "no interface", "kubectl ferrolb nodes"),
        (Obstacle::NoInterface(only), "interfaces eth7", "kubectl ferrolb nodes"),
    ] {
        let helps = of_obstacle(&obstacle, &node, &advertised, &snapshot);
        let said = words_of(&obstacle, &advertised, Some(true));
        assert!(said.contains(words) && helps.contains(remedy), "{obstacle:?}: {said}: {helps}");
    }
    let unheard = Obstacle::Ineligible(Ineligible::NotMember);
    assert_eq!(words_of(&unheard, &advertised, Some(false)), "it has no Pod of a speaker");
    snapshot.speakers.pods_on = Some(std::collections::BTreeSet::new());
    let helps = of_obstacle(&unheard, &node, &advertised, &snapshot);
    assert!(helps.contains("tolerations of the speaker's DaemonSet"), "{helps}");
}

fn pool(name: &str, entry: &str) -> PoolSpec {
    let it = json!({"metadata": {"name": name}, "spec": {"addresses": [entry]}});
    PoolSpec::from(&serde_json::from_value::<api::IPAddressPool>(it).unwrap())
}

#[test]
fn a_pool_of_other_families_is_not_opened_to_who_could_not_use_it() {
    let pools = Pools::new(vec![pool("p0", "192.0.2.0/28"), pool("p1", "192.0.2.16/28")]);
    let labels = || Reason::NotAdmitted(NotAdmitted::Labels);
    let six = Some(Families::Single(Family::V6));
    let said = |reasons: &[Reason], families| of_refusal(&unsuitable(reasons), None, families, &pools);
    let closed = [Reason::NoAddresses(Family::V6), labels()];
    assert_eq!(said(&closed, six), "add IPv6 addresses to pool p0");
    assert_eq!(said(&closed, Some(Families::RequireDual)), "add IPv6 addresses to pool p0");
    assert!(said(&[labels()], six).contains("of the families that it asks for"));
    for families in [Families::Single(Family::V4), Families::PreferDual { primary: Family::V6 }] {
        assert!(said(&closed, Some(families)).contains("labels that spec.serviceAllocation of pool p1"));
    }
}

#[test]
fn a_service_of_both_families_wants_both_in_one_pool() {
    let pools = Pools::new(vec![pool("p0", "192.0.2.0/28"), pool("p1", "fd00::/124")]);
    let reasons = unsuitable(&[Reason::NoAddresses(Family::V6), Reason::NoAddresses(Family::V4)]);
    let said = of_refusal(&reasons, None, Some(Families::RequireDual), &pools);
    assert!(said.contains("put what pools p0 and p1 have into one"), "{said}");
    let alone = of_refusal(&reasons, None, Some(Families::Single(Family::V6)), &pools);
    assert_eq!(alone, "add IPv6 addresses to pool p0");
}

#[test]
fn a_pool_that_no_advertisement_names_rightly_is_told_by_the_one_that_tries() {
    let mut snapshot = snapshot(&[], &[], &[]);
    let helps = |snapshot: &Snapshot| {
        let why = Unannounced::Unadvertised(Unadvertised::NoAdvertisement);
        of_unannounced(&why, &ServiceKey::new("default", "web"), [], &Advertised::default(), snapshot)
    };
    assert!(helps(&snapshot).starts_with("create an L2Advertisement"));
    let object = json!({"metadata": {"name": "a"}, "spec": {"ipAddressPools": ["lan"]}});
    snapshot.bgp.advertisements = vec![serde_json::from_value(object).unwrap()];
    assert!(helps(&snapshot).starts_with("create a BGPAdvertisement"));
    snapshot.bgp.advertisements[0].spec.ip_address_pools = vec!["lna".to_owned()];
    let said = helps(&snapshot);
    assert!(said.starts_with("see BGPAdvertisement a: spec.ipAddressPools names \"lna\""), "{said}");
    assert!(said.ends_with("did you mean lan?"), "{said}");
}

#[test]
fn what_is_in_a_namespace_that_nobody_reads_is_named() {
    let elsewhere = |kind, name: &str| Elsewhere {
        kind,
        namespace: "default".to_owned(),
        name: name.to_owned(),
        system: "lb".to_owned(),
    };
    let all = [elsewhere(POOL, "lan"), elsewhere(ADVERTISEMENT, "all")];
    let none = Pools::new(vec![]);
    for refusal in [Refusal::NoPools, Refusal::UnknownPool("lan".to_owned())] {
        let said = of_no_address(&NoAddress::Refused(refusal), None, None, &none, &all).unwrap();
        assert_eq!(
            said,
            "create IPAddressPool lan in namespace lb, and delete it in default: FerroLB reads lb only"
        );
    }
    let other = NoAddress::Refused(Refusal::UnknownPool("prod".to_owned()));
    assert!(of_no_address(&other, None, None, &none, &all).unwrap().contains("typing mistake"));
    let mut snapshot = snapshot(&[], &[], &[]);
    snapshot.elsewhere = all.into();
    let why = Unannounced::Unadvertised(Unadvertised::NoAdvertisement);
    let said = |snapshot: &Snapshot| {
        of_unannounced(&why, &ServiceKey::new("a", "b"), [], &Advertised::default(), snapshot)
    };
    assert!(
        said(&snapshot).starts_with("create an L2Advertisement that selects"),
        "there is one that counts"
    );
    snapshot.advertisements.clear();
    assert!(said(&snapshot).starts_with("create L2Advertisement all in namespace lb"));
}

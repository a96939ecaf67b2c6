//! What is explained of Services.

use api::AddressEntry;
use introspection::{BgpUnannounced, Document, Status};
use serde_json::json;

use super::*;
use crate::fixtures::{edited, route, service, session, snapshot, told};
use crate::output::Style;

/// What is told of a Service with this address that only routers are told of, where there is one router.
fn told_of_routed(ip: &str, router: serde_json::Value) -> (Story, String) {
    let mut web = service("web", Some(ip));
    web["spec"]["clusterIPs"] = json!([if ip.contains(':') { "fd00::1" } else { "10.96.0.1" }]);
    let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
    let mut snapshot = snapshot(&[web], &["n1", "n2", "n3"], &speakers);
    let entries = ["192.0.2.0/30", "2001:db8::/126"];
    snapshot.pools[0].spec.addresses = entries.map(|it| AddressEntry(it.to_owned())).into();
    snapshot.advertisements.clear();
    let spec = json!({"myASN": 64512, "peerASN": 64513});
    let mut peer = json!({"metadata": {"name": "r1"}, "spec": spec});
    peer["spec"].as_object_mut().unwrap().extend(router.as_object().cloned().unwrap());
    snapshot.bgp.peers = vec![serde_json::from_value(peer).unwrap()];
    let all = json!({"metadata": {"name": "all"}});
    snapshot.bgp.advertisements = vec![serde_json::from_value(all).unwrap()];
    let mut look = Look::new(vec![], speakers.into(), snapshot, None, vec![]);
    let (key, surveyed) = (ServiceKey::new("default", "web"), look.services[0].clone());
    let mut page = Page::default();
    let story = tell(&mut look, &key, &surveyed, &mut page);
    (story, page.render(Style::default()))
}

#[test]
fn nodes_of_which_the_same_is_true_are_told_of_together() {
    let silent = BgpUnannounced { service: "default/web".to_owned(), reason: "noLocalEndpoints".to_owned() };
    let speaker = |node: &str, state: &str| {
        let mut told = told(node, vec![]);
        if let Ok(Document { status: Status::SpeakerStatus(status), .. }) = &mut told.document {
            match state {
                "" => status.bgp.unannounced.items.push(silent.clone()),
                state => {
                    status.bgp.sessions.items.push(session(state, "no TCP connection"));
                    status.bgp.routes.items.push(route());
                }
            }
        }
        told
    };
    let explained = |states: [&str; 3]| {
        let speakers: Vec<Told> =
            ["n1", "n2", "n3"].into_iter().zip(states).map(|(node, state)| speaker(node, state)).collect();
        let snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1"], &speakers);
        let look = Look::new(vec![], speakers, snapshot, None, vec![]);
        let (key, ip) = (ServiceKey::new("default", "web"), "192.0.2.1".parse().unwrap());
        let (mut page, mut remedies) = (Page::default(), vec![]);
        tell_address(&look, &key, ip, true, &mut page, &mut remedies).by_bgp
    };
    let none = "no endpoint of it serves on this node, which its externalTrafficPolicy Local asks for";
    assert_eq!(
        explained(["Established", "Established", ""]),
        ["n1, n2 announce 192.0.2.1/32 to r1".to_owned(), format!("n3 tells routers nothing: {none}")]
    );
    assert_eq!(
        explained(["Established", "Active", "Active"]),
        ["n1 announces 192.0.2.1/32 to r1", "n2, n3 have no session with r1: no TCP connection"]
    );
    assert_eq!(explained(["", "", ""]), [format!("n1, n2, n3 tell routers nothing: {none}")]);
}

#[test]
fn a_family_that_no_session_carries_is_named_with_both_ways_out() {
    let silent = |ip: &str, router| told_of_routed(ip, router).0.addresses.remove(0).silent;
    let reason = |family| {
        Some(format!("no router is told of it: no BGPPeer has a session that carries {family} routes"))
    };
    let by4 = || json!({"peerAddress": "192.0.2.254"});
    let by6 = || json!({"peerAddress": "2001:db8::fe"});
    assert_eq!(silent("2001:db8::1", by4()), reason("IPv6"));
    assert_eq!(silent("192.0.2.1", by6()), reason("IPv4"));
    let (story, page) = told_of_routed("2001:db8::1", by4());
    assert_eq!(story.health, Some("silent"));
    let [remedy] = &story.remedies[..] else { panic!("{page}") };
    assert!(
        remedy.contains("spec.dualStackAddressFamily of a BGPPeer to true")
            && remedy.contains("make a BGPPeer for an IPv6 address of the router"),
        "{remedy}"
    );
    assert!(page.contains("No router"), "{page}");
    // A session that carries both, or this family, is no obstacle.
    let both = json!({"peerAddress": "192.0.2.254", "dualStackAddressFamily": true});
    for (ip, router) in [("2001:db8::1", both), ("192.0.2.1", by4()), ("2001:db8::1", by6())] {
        let silent = silent(ip, router.clone());
        assert!(!silent.is_some_and(|it| it.contains("carries")), "{ip} {router}");
    }
}

#[test]
fn a_node_that_waits_after_failing_twice_is_named_with_how_long() {
    let explained = |unsteady: &str| {
        let speakers = ["n1", "n2", "n3"].map(|node| {
            edited(told(node, vec![]), |node, interfaces| {
                interfaces[0].unsteady = node == unsteady;
                interfaces[0].steady_in_seconds = (node == unsteady).then_some(40);
            })
        });
        let snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &speakers);
        let mut look = Look::new(vec![], speakers.into(), snapshot, None, vec![]);
        let (key, surveyed) = (ServiceKey::new("default", "web"), look.services[0].clone());
        let mut page = Page::default();
        let story = tell(&mut look, &key, &surveyed, &mut page);
        (story.addresses.into_iter().next().unwrap(), page.render(Style::default()))
    };
    let (steady, page) = explained("none");
    let first = steady.announcer.unwrap();
    assert!(steady.passed_over.is_empty() && !page.contains("passed over"), "{page}");
    let (unsteady, page) = explained(&first);
    assert_ne!(unsteady.announcer.unwrap(), first);
    assert_eq!(unsteady.ranking.last(), Some(&first), "the others go first");
    let [passed_over] = &unsteady.passed_over[..] else { panic!("{page}") };
    assert_eq!(passed_over.node, first);
    assert!(page.contains(&format!("{first} is passed over")) && page.contains("waits 40 s more"), "{page}");
}

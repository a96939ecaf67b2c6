use introspection::{AddressState, Document, Status};

use super::*;
use crate::fixtures::{address, route, service, session, snapshot, told};
use crate::predict::Allocation;

const IP: &str = "192.0.2.1";
const FOREIGN: &str = "b8:27:eb:11:22:33";

/// What becomes of a Service with an address, of which a speaker says this.
fn surveyed(endpoints_on: &[&str], speakers: &[Told], reports: Option<&Reports>) -> Surveyed {
    let snapshot = snapshot(&[service("web", Some(IP))], endpoints_on, speakers);
    all_of(&snapshot, speakers, reports).remove(0)
}

/// What becomes of each Service.
fn all_of(snapshot: &Snapshot, speakers: &[Told], reports: Option<&Reports>) -> Vec<Surveyed> {
    let (allocation, placement) = (Allocation::decide(snapshot), snapshot.placed_now());
    let source = snapshot.speakers.source;
    let sources = Sources { placement: &placement, speakers, reports, source, routing: OnceCell::new() };
    survey(snapshot, &allocation, &sources)
}

/// The same where all three speakers answer, and n2 says that the address is in this state.
fn in_state(state: AddressState, claimants: &[(&str, Option<&str>)]) -> Surveyed {
    let speakers = [told("n1", vec![]), told("n2", vec![address(IP, state, claimants)]), told("n3", vec![])];
    surveyed(&["n1", "n2", "n3"], &speakers, None)
}

#[test]
fn each_state_that_a_speaker_can_tell_has_its_health_words_and_remedy() {
    for (state, claimants, health, words, remedy) in [
        (AddressState::Announced, &[][..], Health::Announced, "", ""),
        (AddressState::Standby, &[], Health::Announced, "", ""),
        (
            AddressState::Announced,
            &[(FOREIGN, None)],
            Health::Conflict,
            "announced by node n2, and b8:27:eb:11:22:33 on eth0 claims the address too",
            "find that host",
        ),
        (AddressState::Probing, &[], Health::Starting, "asks the LAN", ""),
        (AddressState::Muted, &[], Health::Starting, "says nothing until it has heard", "wait some seconds"),
        (
            AddressState::Conflict,
            &[(FOREIGN, None)],
            Health::Conflict,
            "not announced by node n2, for b8:27:eb:11:22:33 on eth0 has the address",
            "find that host",
        ),
        (
            AddressState::PeerUnheard,
            &[("02:00:00:00:00:03", Some("n3"))],
            Health::Conflict,
            "02:00:00:00:00:03 (node n3) on eth0 answers, another speaker that it does not hear",
            "open UDP port 7946",
        ),
        (AddressState::NoInterface, &[], Health::Silent, "not announced by node n2", "kubectl ferrolb nodes"),
        (AddressState::Unknown, &[], Health::Unknown, "does not know", ""),
    ] {
        let it = in_state(state, claimants);
        assert_eq!(it.health, health, "{state:?}: {it:?}");
        let (reasons, remedies) = (it.reasons.join("; "), it.remedies.join("; "));
        assert!(reasons.contains(words) && reasons.is_empty() == words.is_empty(), "{state:?}: {reasons}");
        assert!(
            remedies.contains(remedy) && remedies.is_empty() == remedy.is_empty(),
            "{state:?}: {remedies}"
        );
        assert_eq!(it.addresses[0].node.as_deref(), Some("n2"), "{state:?}");
    }
}

#[test]
fn what_nobody_may_announce_is_silent_with_the_reason_of_the_election() {
    let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
    let it = surveyed(&[], &speakers, None);
    assert_eq!(it.health, Health::Silent);
    assert_eq!(it.reasons, ["192.0.2.1: no EndpointSlice of it has a serving endpoint"]);
    assert!(it.remedies[0].contains("kubernetes.io/service-name: web"));
}

#[test]
fn who_cannot_be_asked_is_no_sign_of_health_unless_it_has_reported() {
    let it = surveyed(&["n1"], &[], None);
    assert_eq!(it.health, Health::Unknown);
    assert!(it.reasons[0].contains("by the objects in the API, but its speaker cannot be asked"), "{it:?}");
    let node = it.addresses[0].node.clone().unwrap();
    let since = "2026-05-10T12:00:00Z".parse().ok();
    let report = Report { node, interfaces: vec!["eth0".to_owned()], since };
    let reports = Reports::from([(ServiceKey::new("default", "web"), vec![report])]);
    let it = surveyed(&["n1"], &[], Some(&reports));
    assert_eq!((it.health, &it.addresses[0].interfaces[..]), (Health::Announced, &["eth0".to_owned()][..]));
    assert_eq!(it.addresses[0].since.as_deref(), Some("2026-05-10T12:00:00Z"));
    // Whoever is elected and can be asked, and says nothing of it, is about to.
    let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
    assert_eq!(surveyed(&["n1"], &speakers, None).health, Health::Starting);
}

#[test]
fn a_service_without_an_address_waits_and_one_that_is_about_to_have_it_does_not() {
    let snapshot = snapshot(
        &[service("a", Some("192.0.2.1")), service("b", Some("192.0.2.2")), service("c", None)],
        &["n1"],
        &[],
    );
    let look = |snapshot: &Snapshot| all_of(snapshot, &[], None).pop().unwrap();
    let waiting = look(&snapshot);
    assert_eq!((waiting.health, &*waiting.name), (Health::Waiting, "c"));
    assert_eq!(waiting.reasons, ["no available IPs: pool lan: exhausted (2 of 2)"]);
    let mut room = snapshot;
    room.services.remove(1);
    assert_eq!(look(&room).health, Health::Starting);
}

#[test]
fn addresses_of_nodes_are_well_without_an_announcer() {
    let mut of_nodes = service("web", Some("10.0.0.1"));
    of_nodes["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] = "nodes".into();
    of_nodes["metadata"]["annotations"]["ferrolb.io/node-addresses"] = "true".into();
    of_nodes["status"]["loadBalancer"]["ingress"] =
        serde_json::json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}]);
    let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
    let mut snapshot = snapshot(&[of_nodes], &[], &speakers);
    snapshot.nodes[0].status.addresses =
        vec![slim::NodeAddress { type_: "InternalIP".to_owned(), address: "10.0.0.1".to_owned() }];
    let it = all_of(&snapshot, &speakers, None).remove(0);
    assert_eq!((it.health, it.pool.as_deref(), it.addresses.len()), (Health::Announced, Some("nodes"), 3));
    assert_eq!(it.addresses[0].node.as_deref(), Some("n1"));
    assert!(it.reasons.is_empty() && it.remedies.is_empty(), "{it:?}");
}

#[test]
fn who_waits_where_pools_of_nodes_are_served_is_sent_to_the_events() {
    let mut snapshot = snapshot(&[service("web", None)], &[], &[]);
    snapshot.pools.clear();
    let look = |snapshot: &Snapshot| all_of(snapshot, &[], None).remove(0).remedies;
    assert!(look(&snapshot)[0].contains("create an IPAddressPool"));
    snapshot.node_pools = true;
    assert!(
        look(&snapshot)[0]
            .contains("its events say what that refuses: kubectl describe service -n default web")
    );
}

#[test]
fn what_keeps_the_sessions_down_is_told_with_what_helps_where_no_router_is_told() {
    let speakers = ["n1", "n2", "n3"].map(|node| {
        let mut told = told(node, vec![]);
        if let Ok(Document { status: Status::SpeakerStatus(status), .. }) = &mut told.document {
            status.bgp.sessions.items.push(session("Active", "the peer is told: bad peer AS (2/2)"));
            status.bgp.routes.items.push(route());
        }
        told
    });
    let mut snapshot = snapshot(&[service("web", Some(IP))], &["n1"], &speakers);
    snapshot.advertisements.clear();
    let it = all_of(&snapshot, &speakers, None).remove(0);
    assert_eq!(it.health, Health::Silent);
    assert!(it.reasons[0].ends_with("with r1: the peer is told: bad peer AS (2/2)"), "{it:?}");
    assert!(it.remedies[0].contains("spec.peerASN") && it.remedies[0].contains("BGPPeer r1"), "{it:?}");
}

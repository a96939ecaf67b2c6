//! What is told of changes.

use api::AddressEntry;
use serde_json::json;

use super::*;
use crate::answer::Exit;
use crate::fixtures::{edited, service, snapshot, told};
use crate::output::Style;

#[test]
fn a_drain_names_who_has_the_address_of_the_node_itself() {
    let mut web = service("web", Some("10.0.0.1"));
    web["metadata"]["annotations"] = json!({"ferrolb.io/node-addresses": "nodes"});
    let mut snapshot = snapshot(&[web], &["n1", "n2", "n3"], &[]);
    let status = json!({"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]});
    snapshot.nodes[0].status = serde_json::from_value(status).unwrap();
    assert_eq!(with_addresses_of(&snapshot, "n1"), [(ServiceKey::new("default", "web"), true)]);
    assert!(with_addresses_of(&snapshot, "n2").is_empty());
    let answer = drain(snapshot.clone(), "n1", &Staying(Ok(BTreeSet::new()))).unwrap();
    assert_eq!(answer.exit, Exit::Problem);
    let page = answer.page.render(Style::default());
    assert!(page.contains("default/web has an address of n1 itself"), "{page}");
    assert!(page.contains("default/web has no other address"), "{page}");
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}});
    snapshot.services[0].status = serde_json::from_value(ingress).unwrap();
    assert_eq!(drain(snapshot, "n1", &Staying(Ok(BTreeSet::new()))).unwrap().exit, Exit::Fine);
}

#[test]
fn a_service_that_leaves_is_told_with_how_and_a_new_one_waits_for_its_pods_only() {
    let now = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &[]);
    let noted = |change: &dyn Fn(&mut Snapshot)| {
        let answer = changed(now.clone(), |then| {
            change(then);
            Ok(())
        });
        answer.unwrap().machine["items"][0]["note"].as_str().unwrap().to_owned()
    };
    let as_node_port = noted(&|then| "NodePort".clone_into(&mut then.services[0].spec.type_));
    assert_eq!(as_node_port, "LOSES its address: its type becomes NodePort");
    let to_another = noted(&|then| then.services[0].spec.load_balancer_class = Some("x".to_owned()));
    assert!(to_another.contains("that of another load balancer"), "{to_another}");
    assert_eq!(noted(&|then| then.services.clear()), "LOSES its address: it is gone");
    let new = noted(&|then| then.services.push(serde_json::from_value(service("new", None)).unwrap()));
    assert!(new.ends_with("announced as soon as one of its Pods is ready"), "{new}");
}

/// What `change` would do to a Service with the address 192.0.2.1 of the only pool.
fn exit_of(change: impl FnOnce(&mut Snapshot)) -> (Exit, Vec<String>) {
    let now = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &[]);
    let answer = changed(now, |then| {
        change(then);
        Ok(())
    });
    let answer = answer.unwrap();
    (answer.exit, rows(&answer))
}

#[test]
fn another_address_is_a_problem_and_so_is_a_new_service_that_waits() {
    let moved = |then: &mut Snapshot, entry: &str| {
        then.pools[0].spec.addresses = vec![AddressEntry(entry.to_owned())];
    };
    let (exit, rows) = exit_of(|then| moved(then, "198.51.100.0/24"));
    assert!(rows[0].contains("|changes|CHANGES its address"), "{rows:?}");
    assert_eq!(exit, Exit::Problem);
    let new = || serde_json::from_value(service("new", None)).unwrap();
    let (exit, rows) = exit_of(|then| then.services.push(new()));
    assert!(rows[0].contains("|gains|"), "{rows:?}");
    assert_eq!(exit, Exit::Fine);
    let (exit, rows) = exit_of(|then| {
        moved(then, "192.0.2.1/32");
        then.services.push(new());
    });
    assert!(rows[0].contains("|lacks|no available IPs"), "{rows:?}");
    assert_eq!(exit, Exit::Problem);
}

#[test]
fn what_is_not_in_force_already_is_no_matter_of_the_change() {
    let mut now = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &[]);
    now.pools[0].spec.addresses.push(AddressEntry("lan".to_owned()));
    let same = changed(now.clone(), |_| Ok(())).unwrap();
    assert_eq!(same.exit, Exit::Fine);
    let worse = changed(now, |then| {
        then.pools[0].spec.addresses.push(AddressEntry("wan".to_owned()));
        Ok(())
    });
    let worse = worse.unwrap();
    assert_eq!(worse.exit, Exit::Problem);
    let page = worse.page.render(Style::default());
    assert!(page.contains("wan") && !page.contains("\"lan\""), "{page}");
}

#[test]
fn a_drain_goes_by_interfaces_that_failed_twice_and_says_so() {
    let drained_of = |unsteady: &str| {
        let speakers = ["n1", "n2", "n3"].map(|node| {
            edited(told(node, vec![]), |node, interfaces| {
                interfaces[0].unsteady = node == unsteady;
                interfaces[0].steady_in_seconds = (node == unsteady).then_some(7);
            })
        });
        let snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &speakers);
        let announcer = snapshot.placed_now().announcer("192.0.2.1".parse().unwrap()).unwrap().to_string();
        let answer = drain(snapshot.clone(), &announcer, &Staying(Ok(BTreeSet::new()))).unwrap();
        let answer = noted(answer, &snapshot.speakers);
        let off = answer.machine["items"][0]["off"].as_str().unwrap().to_owned();
        (announcer, off, answer.page.render(Style::default()))
    };
    let (first, second, page) = drained_of("none");
    assert!(!page.contains("waits"), "{page}");
    let (same, third, page) = drained_of(&second);
    assert_eq!(same, first);
    assert!(![&first, &second].contains(&&third), "{third}");
    assert!(page.contains(&format!("note: {second} waits 7 s more")), "{page}");
}

/// Three nodes with a speaker each, and a Service on two of them that is announced to one router alone.
fn routed(policy: &str) -> Snapshot {
    let mut web = service("web", Some("192.0.2.1"));
    web["spec"]["externalTrafficPolicy"] = policy.into();
    let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
    let mut snapshot = snapshot(&[web], &["n1", "n2"], &speakers);
    snapshot.advertisements.clear();
    let object = |value| serde_json::from_value(value).unwrap();
    snapshot.bgp.advertisements = vec![object(json!({"metadata": {"name": "all"}}))];
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
    snapshot.bgp.peers =
        vec![serde_json::from_value(json!({"metadata": {"name": "r1"}, "spec": spec})).unwrap()];
    snapshot
}

fn rows(answer: &Answer) -> Vec<String> {
    let items = answer.machine["items"].as_array().unwrap().iter();
    let text = |it: &serde_json::Value, field: &str| it[field].as_str().unwrap_or("").to_owned();
    items
        .map(|it| ["ip", "router", "now", "then", "effect", "note"].map(|field| text(it, field)).join("|"))
        .collect()
}

#[test]
fn a_drain_tells_which_node_withdraws_which_route() {
    let answer = |policy| drain(routed(policy), "n2", &Staying(Ok(BTreeSet::new()))).unwrap();
    let local = answer("Local");
    assert_eq!(rows(&local), ["192.0.2.1/32|r1|n1, n2|n1|moves|n2 withdraws it"]);
    // With policy Cluster the node goes on as long as it is there.
    let cluster = answer("Cluster");
    assert_eq!(
        rows(&cluster)[0],
        "192.0.2.1/32|r1|n1, n2, n3|n1, n2, n3|moves|n2 withdraws it when it is switched off"
    );
    let page = cluster.page.render(Style::default());
    assert!(page.contains("ROUTE") && page.contains("r1"), "{page}");
}

#[test]
fn a_service_that_no_router_is_told_of_any_more_is_lost() {
    let mut one = routed("Local");
    one.slices[0].endpoints.retain(|it| it.node_name.as_deref() == Some("n2"));
    let answer = drain(one, "n2", &Staying(Ok(BTreeSet::new()))).unwrap();
    let rows = rows(&answer);
    assert!(rows[0].contains("|n2 by BGP|-|loses|OUTAGE until a Pod is ready elsewhere"), "{rows:?}");
    assert_eq!(rows[1], "192.0.2.1/32|r1|n2|-|loses|r1 is told of it by no node any more");
    assert_eq!(answer.exit, Exit::Problem);
}

#[test]
fn where_the_only_node_that_an_advertisement_selects_goes_that_is_the_reason() {
    let mut one = routed("Cluster");
    let selector = json!([{"matchLabels": {"kubernetes.io/hostname": "n1"}}]);
    one.nodes[0].metadata.labels = Some([("kubernetes.io/hostname".to_owned(), "n1".to_owned())].into());
    one.bgp.advertisements[0].spec.node_selectors = serde_json::from_value(selector).unwrap();
    let answer = drain(one, "n1", &Staying(Ok(BTreeSet::new()))).unwrap();
    let rows = rows(&answer);
    assert!(
        rows[0].contains(
            "OUTAGE: no router is told of it: no BGPAdvertisement for its pool selects this node (n2, n3)"
        ),
        "{rows:?}"
    );
}

#[test]
fn a_peer_that_is_deleted_and_an_advertisement_that_is_changed_are_told_route_by_route() {
    let deleted = changed(routed("Cluster"), |then| remove(&mut then.bgp.peers, ROUTER, "r1", "lb")).unwrap();
    let gone = rows(&deleted);
    assert!(gone[0].contains("OUTAGE"), "{gone:?}");
    assert!(gone[1].ends_with("|n1, n2, n3|-|loses|r1 is told of it by no node any more"), "{gone:?}");
    let nothing = changed(routed("Cluster"), |then| remove(&mut then.bgp.peers, ROUTER, "r2", "lb"));
    assert!(nothing.unwrap_err().to_string().starts_with("there is no BGPPeer r2 in namespace lb"));
    let narrowed = changed(routed("Cluster"), |then| {
        let selector = json!([{"matchLabels": {"kubernetes.io/hostname": "n1"}}]);
        then.nodes[0].metadata.labels = Some([("kubernetes.io/hostname".to_owned(), "n1".to_owned())].into());
        then.bgp.advertisements[0].spec.node_selectors = serde_json::from_value(selector).unwrap();
        Ok(())
    });
    assert_eq!(rows(&narrowed.unwrap())[0], "192.0.2.1/32|r1|n1, n2, n3|n1|moves|n2, n3 withdraw it");
    let wrong = changed(routed("Cluster"), |then| {
        then.bgp.advertisements[0].spec.communities = vec!["nobody-has-defined-it".to_owned()];
        Ok(())
    });
    let page = wrong.unwrap().page.render(Style::default());
    assert!(page.contains("not in force: BGPAdvertisement all: spec.communities[0]"), "{page}");
}

#[tokio::test]
async fn a_reservation_is_foretold_with_what_it_takes_from_others_and_why_it_would_not_be_in_force() {
    let now = snapshot(&[service("web", Some("192.0.2.1"))], &["n1", "n2", "n3"], &[]);
    let applied = |namespace: &str, address: &str, more: Option<serde_json::Value>| {
        let yaml = format!(
            "{{apiVersion: ferrolb.io/v1alpha1, kind: AddressReservation, metadata: {{name: r{namespace}}}, spec: {{addresses: [{address}]}}}}"
        );
        let manifests = manifests::parse(&yaml, "f").unwrap();
        let answer = changed(now.clone(), |then| {
            then.services.extend(more.map(|it| serde_json::from_value(it).unwrap()));
            apply(then, &manifests, &Cluster::silent(vec![]))
        });
        answer.unwrap()
    };
    let free = applied("", "192.0.2.2", None);
    assert_eq!((free.exit, rows(&free)), (Exit::Fine, vec![]));
    // The last address of the pool is for whoever names the reservation.
    let waits = applied(", namespace: other", "192.0.2.2", Some(service("new", None)));
    let rows = rows(&waits);
    assert!(rows[0].contains("|lacks|no available IPs"), "{rows:?}");
    let outside = applied("", "198.51.100.1", None);
    let page = outside.page.render(Style::default());
    assert!(page.contains("AddressReservation default/r: 198.51.100.1"), "{page}");
    assert_eq!(outside.exit, Exit::Problem);
}

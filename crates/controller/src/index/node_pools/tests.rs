use std::time::Duration;

use api::IPAddressPool;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use slim::Namespace;

use super::*;
use crate::index::Role;
use crate::index::tests::{Cluster, pool};

fn node_pool(name: &str, spec: Value) -> NodeAddressPool {
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
}

fn node(name: &str, ip: &str, ready: bool) -> Node {
    let ready = if ready { "True" } else { "Unknown" };
    let addresses = json!([{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]);
    let conditions = json!([{"type": "Ready", "status": ready}]);
    let status = json!({"addresses": addresses, "conditions": conditions});
    serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
}

fn slice(service: &str, nodes: &[&str]) -> ReadySlice {
    let endpoints: Vec<Value> =
        nodes.iter().map(|node| json!({"nodeName": node, "conditions": {"ready": true}})).collect();
    let labels = json!({"kubernetes.io/service-name": service});
    let metadata = json!({"name": service, "namespace": "default", "labels": labels});
    ReadySlice::read(&serde_json::from_value(json!({"metadata": metadata, "endpoints": endpoints})).unwrap())
}

fn speaker(node: &str, ipvs: bool) -> ConfigurationState {
    let mut state =
        ConfigurationState::new(&format!("speaker-{node}"), api::ConfigurationStateSpec::default());
    state.metadata.labels = Some([(names::NODE_NAME.to_owned(), node.to_owned())].into());
    let condition = Condition {
        type_: names::KUBE_PROXY_IPVS.to_owned(),
        status: if ipvs { "True" } else { "False" }.to_owned(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: String::new(),
        observed_generation: None,
        reason: "Seen".to_owned(),
    };
    let conditions = vec![condition];
    state.status =
        Some(api::ConfigurationStateStatus { conditions, ..api::ConfigurationStateStatus::default() });
    state
}

/// A speaker that tells which ports programs on its node listen on.
fn listening(node: &str, ports: &str) -> ConfigurationState {
    let mut state = speaker(node, false);
    let conditions = &mut state.status.as_mut().unwrap().conditions;
    conditions[0].type_ = names::LISTENING_PORTS.to_owned();
    conditions[0].message = ports.to_owned();
    state
}

/// Two nodes, n1 and n2, and all lists but those that are watched only where there is a pool of nodes.
fn start(pools: &[IPAddressPool], node_pools: &[NodeAddressPool], services: &[(&str, Value)]) -> Cluster {
    let (mut cluster, now) = (Cluster::new(true), Instant::now());
    cluster.index.set_role(Role::Leader, now);
    cluster.index.pools(Change::Reset(pools.to_vec()), now);
    cluster.index.node_pools(Change::Reset(node_pools.to_vec()), now);
    cluster.index.reservations(Change::Reset(vec![]), now);
    cluster.index.namespaces(Change::Reset(vec![Namespace::default()]), now);
    let nodes = [("n1", "10.0.0.1"), ("n2", "10.0.0.2")].map(|(name, ip)| node(name, ip, true));
    cluster.index.nodes(Change::Reset(nodes.into()), now);
    let list = services.iter().map(|(name, overlay)| cluster.store(name, overlay.clone())).collect();
    cluster.index.services(Change::Reset(list), now);
    cluster
}

/// What is watched where there is a pool of nodes.
fn follow(cluster: &mut Cluster, slices: &[ReadySlice]) {
    assert!(cluster.index.follows_endpoints());
    cluster.index.endpoints(Change::Reset(slices.to_vec()), Instant::now());
    cluster.index.speakers(Change::Reset(vec![speaker("n1", false)]), Instant::now());
}

#[test]
fn services_that_no_address_pool_is_for_get_the_addresses_of_nodes() {
    let named = |pool: &str| json!({"metadata": {"annotations": {"metallb.io/address-pool": pool}}});
    let mut cluster = start(
        &[],
        &[node_pool("nodes", json!({}))],
        &[("web", json!({})), ("exact", json!({"spec": {"loadBalancerIP": "10.0.0.1"}}))],
    );
    assert!(cluster.write_all().is_empty(), "nothing is decided before endpoints are known");
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.contains("Assigned IP [\"10.0.0.1\" \"10.0.0.2\"]")), "{notices:?}");
    // A pool of addresses takes nothing away, serves who is new, and gives way to who is named.
    cluster.index.pools(Change::Reset(vec![pool("lan", "192.0.2.1-192.0.2.1")]), Instant::now());
    cluster.apply("new", json!({}));
    let mut other = named("nodes");
    other["spec"] = json!({"ports": [{"port": 81}]});
    cluster.apply("asks", other);
    assert_eq!(cluster.write_all(), ["asks 10.0.0.1 10.0.0.2", "new 192.0.2.1"]);
    // One that is full is not passed over.
    cluster.apply("late", json!({"spec": {"ports": [{"port": 82}]}}));
    assert!(cluster.write_all().is_empty());
    // And back: its addresses are those of the named pool alone.
    cluster.delete("new");
    cluster.delete("late");
    cluster.apply("web", named("lan"));
    assert_eq!(cluster.write_all(), ["web 192.0.2.1"]);
    let previous: Vec<_> = cluster.index.services.values().flat_map(|entry| entry.previous.clone()).collect();
    assert!(previous.is_empty(), "{previous:?}");
}

#[test]
fn an_address_that_only_its_node_can_reach_is_never_listed() {
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[("web", json!({}))]);
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    for nobody in ["127.0.0.1", "::1", "169.254.10.1", "fe80::1", "0.0.0.0", "224.0.0.1"] {
        cluster.index.nodes(Change::Apply(node("n2", nobody, true)), Instant::now());
        cluster.index.decide(usize::MAX);
        let written = cluster.write_all();
        assert!(written.iter().all(|it| it == "web 10.0.0.1"), "{nobody}: {written:?}");
    }
    cluster.index.nodes(Change::Apply(node("n2", "10.0.0.3", true)), Instant::now());
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.3"]);
}

#[test]
fn a_lost_node_is_taken_out_at_once_and_put_back_after_a_while() {
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[("web", json!({}))]);
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    let now = Instant::now();
    cluster.index.lost_nodes(["n2".into()].into(), now);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1"]);
    cluster.index.lost_nodes(BTreeSet::new(), now);
    assert!(cluster.write_all().is_empty());
    cluster.index.pass_time(now + Duration::from_secs(9));
    assert!(cluster.write_all().is_empty());
    let back = cluster.index.next_timeout().unwrap();
    cluster.index.pass_time(back);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    cluster.index.nodes(Change::Apply(node("n1", "10.0.0.1", false)), now);
    assert_eq!(cluster.write_all(), ["web 10.0.0.2"], "kubelet is silent");
    cluster.index.nodes(Change::Apply(node("n1", "10.0.0.1", false)), now);
    assert!(cluster.write_all().is_empty());
}

#[test]
fn a_port_that_a_program_listens_on_is_given_once_the_program_is_gone() {
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[("web", json!({}))]);
    cluster.index.endpoints(Change::Reset(vec![]), Instant::now());
    let states = [listening("n1", "TCP/22@0.0.0.0 TCP/80 and 3 more"), listening("n2", "UDP/80")];
    cluster.index.speakers(Change::Reset(states.into()), Instant::now());
    assert_eq!(cluster.write_all(), ["web 10.0.0.2"]);
    let notices = cluster.notices();
    let told = "not served by all nodes: port TCP/80 of node n1 is in use by a program that listens there";
    assert!(notices.iter().any(|it| it.contains(told)), "{notices:?}");
    // A speaker that is started again deletes its report before that.
    cluster.index.speakers(Change::Delete(listening("n1", "")), Instant::now());
    assert!(cluster.write_all().is_empty());
    cluster.index.speakers(Change::Apply(listening("n1", "TCP/22")), Instant::now());
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    cluster.index.speakers(Change::Apply(listening("n1", "TCP/80")), Instant::now());
    assert!(cluster.write_all().is_empty(), "who has a port keeps it");
}

#[test]
fn policy_local_follows_the_endpoints() {
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[("web", local)]);
    follow(&mut cluster, &[slice("web", &["n2"])]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.2"]);
    cluster.index.endpoints(Change::Apply(slice("web", &["n1", "n2"])), Instant::now());
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    cluster.index.endpoints(Change::Apply(slice("web", &[])), Instant::now());
    assert_eq!(cluster.write_all(), ["web"]);
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.contains("no selected node has a ready endpoint")), "{notices:?}");
}

#[test]
fn the_older_service_gets_a_port_and_the_other_hears_of_it_and_gets_it_next() {
    let created =
        |second: u32| json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:0{second}Z")}});
    let services = [("younger", created(2)), ("older", created(1))];
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &services);
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["older 10.0.0.1 10.0.0.2"]);
    let notices = cluster.notices();
    let told = "port TCP/80 of node n1 is in use by default/older";
    assert!(notices.iter().any(|it| it.starts_with("AllocationFailed") && it.contains(told)), "{notices:?}");
    cluster.delete("older");
    assert_eq!(cluster.write_all(), ["younger 10.0.0.1 10.0.0.2"]);
}

#[test]
fn a_restart_changes_nothing_not_even_for_who_is_younger() {
    let has = |second: u32, ip: &str| {
        json!({
            "metadata": {
                "creationTimestamp": format!("2026-01-01T00:00:0{second}Z"),
                "annotations": {"metallb.io/ip-allocated-from-pool": "nodes", "ferrolb.io/node-addresses": "true"},
            },
            "spec": {"externalTrafficPolicy": "Local"},
            "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}},
        })
    };
    let services = [("older", has(1, "10.0.0.1")), ("younger", has(2, "10.0.0.2"))];
    let mut cluster =
        start(&[pool("lan", "192.0.2.1-192.0.2.9")], &[node_pool("nodes", json!({}))], &services);
    follow(&mut cluster, &[slice("older", &["n1", "n2"]), slice("younger", &["n2"])]);
    assert!(cluster.write_all().is_empty());
    let notices = cluster.notices();
    assert!(
        notices.iter().any(|it| it.contains("port TCP/80 of node n2 is in use by default/younger")),
        "{notices:?}"
    );
}

#[test]
fn what_servicelb_has_written_stays_as_it_is_but_for_the_annotations() {
    let ingress = json!([{"ip": "10.0.0.1", "ipMode": "VIP"}, {"ip": "10.0.0.2", "ipMode": "VIP"}]);
    let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
    let mut cluster = start(&[], &[node_pool("nodes", json!({"k3sLabels": true}))], &[("web", status)]);
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    assert!(cluster.notices().is_empty(), "nothing is new to its users");
}

#[test]
fn ipvs_and_a_pool_that_goes_take_the_addresses_away() {
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[("web", json!({}))]);
    follow(&mut cluster, &[]);
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    cluster.index.speakers(Change::Apply(speaker("n1", true)), Instant::now());
    assert_eq!(cluster.write_all(), ["web"]);
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.contains("kube-proxy runs in IPVS mode on node n1")), "{notices:?}");
    cluster.index.speakers(Change::Apply(speaker("n1", false)), Instant::now());
    assert_eq!(cluster.write_all(), ["web 10.0.0.1 10.0.0.2"]);
    let (_, status) = cluster.index.outdated_node_pool_statuses(Timestamp::UNIX_EPOCH).remove(0);
    assert_eq!((status.nodes, status.services), (2, 1));
    cluster.index.node_pools(Change::Delete(node_pool("nodes", json!({}))), Instant::now());
    assert!(!cluster.index.follows_endpoints());
    cluster.index.forget_endpoints();
    assert_eq!(cluster.write_all(), ["web"]);
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.contains("there is no IPAddressPool")), "{notices:?}");
}

#[test]
fn a_node_port_of_another_service_is_not_given() {
    let mut cluster = start(&[], &[node_pool("nodes", json!({}))], &[]);
    follow(&mut cluster, &[]);
    let other = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 32400}]}});
    cluster.apply("other", other);
    cluster.apply("plex", json!({"spec": {"ports": [{"port": 32400}]}}));
    assert!(cluster.write_all().is_empty());
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.contains("is the node port of default/other")), "{notices:?}");
    cluster.delete("other");
    assert_eq!(cluster.write_all(), ["plex 10.0.0.1 10.0.0.2"]);
}

//! Addresses stay where they are whatever is edited, replaced, restored or restarted, and come back.

use std::net::IpAddr;

use slim::Node;

use super::*;

/// The addresses of a Service as its object says.
fn ips(cluster: &Cluster, name: &str) -> Vec<IpAddr> {
    let (_, object) = cluster.services.iter().find(|(known, _)| known == name).unwrap();
    seen(object.clone()).observed.ips
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Another replica that leads from now on, with no more than the API server has.
fn restart(cluster: &mut Cluster, pools: &[IPAddressPool]) {
    let objects: Vec<Value> = cluster.services.iter().map(|(_, object)| object.clone()).collect();
    cluster.index = Index::new(List::needed(false), Instant::now());
    let now = Instant::now();
    cluster.index.set_role(Role::Leader, now);
    cluster.index.pools(Change::Reset(pools.to_vec()), now);
    cluster.index.namespaces(Change::Reset(Vec::new()), now);
    cluster.index.nodes(Change::Reset(Vec::new()), now);
    cluster.index.reservations(Change::Reset(Vec::new()), now);
    cluster.index.services(Change::Reset(objects.into_iter().map(seen).collect()), now);
}

fn aged(mut pool: IPAddressPool, second: u32) -> IPAddressPool {
    let time = format!("2026-01-01T00:00:{second:02}Z");
    pool.metadata.creation_timestamp = Some(serde_json::from_value(json!(time)).unwrap());
    pool
}

fn dual(policy: &str, ips: &[&str]) -> Value {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    json!({
        "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "p"}},
        "spec": {"clusterIPs": ["10.96.0.1", "fd96::1"], "ipFamilyPolicy": policy},
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

fn node(name: &str, ips: &[&str]) -> Node {
    let addresses: Vec<Value> = ips.iter().map(|ip| json!({"type": "ExternalIP", "address": ip})).collect();
    serde_json::from_value(json!({"metadata": {"name": name}, "status": {"addresses": addresses}})).unwrap()
}

#[test]
fn ranges_are_swapped_by_two_edits_with_a_restart_anywhere_and_nobody_moves() {
    let (low, high) = ("10.0.0.0/28", "10.0.0.16/28");
    let before = [aged(pool("p", low), 1), aged(pool("q", high), 2)];
    let edited = [aged(pool("p", high), 1), aged(pool("q", low), 2)];
    for restarts in 0..4 {
        let of_q = and(
            holding("10.0.0.17"),
            json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "q"}}}),
        );
        let mut cluster = Cluster::start(&before, &[("a", holding("10.0.0.1")), ("b", of_q)]);
        cluster.index.pools(Change::Apply(edited[0].clone()), Instant::now());
        if restarts & 1 > 0 {
            restart(&mut cluster, &[edited[0].clone(), before[1].clone()]);
        }
        assert!(cluster.write_all().is_empty());
        assert!(cluster.index.is_stale());
        cluster.index.pools(Change::Apply(edited[1].clone()), Instant::now());
        if restarts & 2 > 0 {
            restart(&mut cluster, &edited);
        }
        assert_eq!(cluster.write_all(), ["a 10.0.0.1", "b 10.0.0.17"], "the annotations change");
        assert!(!cluster.index.is_stale());
    }
}

#[test]
fn a_new_pool_that_lists_an_address_in_use_takes_nothing() {
    let good = aged(pool("p", "10.0.0.32/32"), 5);
    for bad in [
        pool("abad", "10.0.0.32/32"),
        aged(pool("abad", "10.0.0.0/24"), 1),
        aged(pool("z", "10.0.0.32/32"), 9),
    ] {
        let mut cluster = Cluster::start(std::slice::from_ref(&good), &[("a", holding("10.0.0.32"))]);
        cluster.index.pools(Change::Apply(bad.clone()), Instant::now());
        assert!(cluster.write_all().is_empty());
        restart(&mut cluster, &[bad, good.clone()]);
        assert!(cluster.write_all().is_empty());
    }
}

#[test]
fn an_edit_that_cannot_be_read_takes_nothing_also_after_a_restart() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", holding("10.0.0.5"))]);
    let bad = pool("p", "10.0.0.9-10.0.0.0");
    cluster.index.pools(Change::Apply(bad.clone()), Instant::now());
    assert!(cluster.write_all().is_empty());
    restart(&mut cluster, &[bad]);
    assert!(cluster.write_all().is_empty());
    cluster.apply("b", json!({}));
    assert!(cluster.write_all().is_empty());
    let notices = cluster.notices();
    assert!(notices.iter().any(|notice| notice.contains("in force, see its condition")), "{notices:?}");
}

#[test]
fn a_pool_that_is_made_again_gives_back_what_services_had() {
    for restarted in [false, true] {
        let services = [("a", holding("10.0.0.7")), ("b", holding("10.0.0.3"))];
        let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &services);
        cluster.delete_pool(pool("p", "10.0.0.0/24"));
        assert_eq!(cluster.write_all(), ["a", "b"]);
        if restarted {
            restart(&mut cluster, &[]);
            assert!(cluster.write_all().is_empty());
        }
        cluster.apply("newcomer", created(0));
        cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
        assert_eq!(cluster.write_all(), ["a 10.0.0.7", "b 10.0.0.3", "newcomer 10.0.0.0"]);
        let (_, object) = cluster.services.iter().find(|(name, _)| name == "a").unwrap();
        assert!(object["metadata"]["annotations"].get("ferrolb.io/previous-ips").is_none());
    }
}

#[test]
fn a_pool_that_is_replaced_moves_nobody_to_another_one_and_gives_nothing_meanwhile() {
    for takes_over in [false, true] {
        let pools = [pool("p", "10.0.0.0/24"), pool("q", "10.1.0.0/24")];
        let mut cluster = Cluster::start(&pools, &[("a", holding("10.0.0.7"))]);
        if takes_over {
            cluster.index.set_role(Role::Follower, Instant::now());
        }
        cluster.index.pools(Change::Delete(pools[0].clone()), Instant::now());
        cluster.index.set_role(Role::Leader, Instant::now());
        cluster.apply("b", json!({}));
        cluster.apply("c", json!({"spec": {"loadBalancerIP": "10.0.0.9"}}));
        cluster.apply("a", holding("10.0.0.7"));
        assert_eq!(cluster.write_all(), ["b 10.1.0.0"]);
        cluster.index.pools(Change::Apply(pools[0].clone()), Instant::now());
        assert_eq!(cluster.write_all(), ["c 10.0.0.9"]);
        assert_eq!(cluster.index.next_timeout(), None);
    }
}

#[test]
fn a_controller_that_starts_while_a_pool_is_replaced_moves_nobody() {
    let pools = [pool("p", "10.0.0.0/24"), pool("q", "10.1.0.0/24")];
    for made_again in [true, false] {
        let mut cluster = Cluster::start(&pools, &[("a", holding("10.0.0.7"))]);
        cluster.index.pools(Change::Delete(pools[0].clone()), Instant::now());
        restart(&mut cluster, &pools[1..]);
        assert!(cluster.write_all().is_empty());
        if made_again {
            cluster.index.pools(Change::Apply(pools[0].clone()), Instant::now());
            assert_eq!(cluster.index.next_timeout(), None);
            assert!(cluster.write_all().is_empty());
        } else {
            let until = cluster.index.next_timeout().unwrap();
            cluster.index.pass_time(until);
            assert_eq!(cluster.write_all(), ["a 10.1.0.0"]);
        }
    }
}

#[test]
fn after_a_restore_nobody_is_decided_before_all_lists_are_of_the_restored_state() {
    for all_notice in [true, false] {
        let mut cluster = Cluster::start(&[pool("p", "10.0.9.0/24")], &[("a", holding("10.0.9.0"))]);
        assert!(cluster.write_all().is_empty());
        let now = Instant::now();
        cluster.index.restored(now);
        let restored = cluster.store("a", holding("10.0.0.7"));
        cluster.index.services(Change::Reset(vec![restored]), now);
        assert!(cluster.write_all().is_empty(), "the pool is that of before");
        cluster.index.restored(now);
        cluster.index.pools(Change::Reset(vec![pool("p", "10.0.0.0/24")]), now);
        cluster.index.namespaces(Change::Reset(vec![]), now);
        cluster.index.reservations(Change::Reset(vec![]), now);
        cluster.apply("b", json!({}));
        assert!(cluster.write_all().is_empty());
        if all_notice {
            cluster.index.nodes(Change::Reset(vec![]), now);
        } else {
            let until = cluster.index.next_timeout().unwrap();
            cluster.index.pass_time(until);
        }
        assert_eq!(cluster.write_all(), ["b 10.0.0.0"]);
        assert_eq!(cluster.index.next_timeout(), None);
    }
}

#[test]
fn a_pool_that_is_made_again_under_another_name_takes_over_at_once() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", holding("10.0.0.7"))]);
    cluster.index.pools(Change::Delete(pool("p", "10.0.0.0/24")), Instant::now());
    cluster.index.pools(Change::Apply(pool("q", "10.0.0.0/25")), Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.7"], "with the name of its new pool");
    assert!(cluster.notices().is_empty());
    let (_, object) = cluster.services.iter().find(|(name, _)| name == "a").unwrap();
    assert_eq!(object["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "q");
}

#[test]
fn a_follower_that_takes_over_gives_back_what_another_has_recorded() {
    let mut cluster = Cluster::start(&[], &[]);
    cluster.index.set_role(Role::Follower, Instant::now());
    cluster.apply("a", holding("10.0.0.7"));
    cluster.apply("a", json!({"metadata": {"annotations": {"ferrolb.io/previous-ips": "a/10.0.0.7"}}}));
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
    cluster.index.set_role(Role::Leader, Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.7"]);
}

#[test]
fn a_copy_of_a_service_does_not_get_what_that_one_has_lost() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", holding("10.0.0.7"))]);
    cluster.delete_pool(pool("p", "10.0.0.0/24"));
    assert_eq!(cluster.write_all(), ["a"]);
    let (_, object) = cluster.services.iter().find(|(name, _)| name == "a").unwrap();
    let annotations = object["metadata"]["annotations"].clone();
    assert_eq!(annotations["ferrolb.io/previous-ips"], "a/10.0.0.7");
    cluster.apply("copy", json!({"metadata": {"annotations": annotations}}));
    cluster.delete("a");
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
    assert_eq!(cluster.write_all(), ["copy 10.0.0.0"]);
    assert!(cluster.write_all().is_empty(), "the copied record is nothing to write about");
}

#[test]
fn the_family_that_is_not_concerned_keeps_its_address() {
    let both = "10.0.0.0/24,fd00::/120";
    let mut cluster =
        Cluster::start(&[pool("p", both)], &[("a", dual("PreferDualStack", &["10.0.0.5", "fd00::5"]))]);
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.5"]);
    cluster.index.pools(Change::Apply(pool("p", both)), Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.5 fd00::5"], "the other comes back");
    let mut single = dual("SingleStack", &["10.0.0.5", "fd00::5"]);
    single["spec"]["clusterIPs"] = json!(["10.96.0.1"]);
    cluster.apply("a", single.clone());
    assert_eq!(cluster.write_all(), ["a 10.0.0.5"]);
    // While nobody looked.
    cluster.apply("a", dual("RequireDualStack", &["10.0.0.5"]));
    restart(&mut cluster, &[pool("p", both)]);
    assert_eq!(cluster.write_all(), ["a 10.0.0.5 fd00::"]);
    cluster.store("a", single);
    restart(&mut cluster, &[pool("p", both)]);
    assert_eq!(cluster.write_all(), ["a 10.0.0.5"]);
}

#[test]
fn nothing_is_given_to_what_is_being_deleted_and_nothing_is_taken_from_it() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x/y"]}});
    let services =
        [("a", holding("10.0.0.0")), ("going", and(created(0), deleted.clone())), ("living", created(9))];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/32")], &services);
    assert!(cluster.write_all().is_empty());
    cluster.apply("a", and(holding("10.0.0.0"), deleted.clone()));
    cluster.index.pools(Change::Delete(pool("p", "10.0.0.0/32")), Instant::now());
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/32")), Instant::now());
    assert!(cluster.write_all().is_empty(), "it has its address until it is gone");
    cluster.delete("a");
    assert_eq!(cluster.write_all(), ["living 10.0.0.0"]);
}

#[test]
fn an_address_of_a_node_is_never_given_and_who_asks_for_it_is_told() {
    let asking = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "10.0.0.1"}}});
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/30")], &[]);
    cluster.index.nodes(Change::Apply(node("n1", &["10.0.0.0", "10.0.0.1"])), Instant::now());
    cluster.apply("a", json!({}));
    cluster.apply("b", asking);
    assert_eq!(cluster.write_all(), ["a 10.0.0.2"]);
    let notices = cluster.notices();
    assert!(notices.iter().any(|it| it.starts_with("ConfigurationWarning: ") && it.contains("of node n1")));
    assert!(notices.iter().any(|it| it.contains("10.0.0.1 is an address of node n1")), "{notices:?}");
    cluster.index.nodes(Change::Apply(node("n2", &["10.0.0.2"])), Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.3"], "a node has its address now");
    cluster.index.nodes(Change::Delete(node("n1", &[])), Instant::now());
    assert_eq!(cluster.write_all(), ["b 10.0.0.1"]);
}

#[test]
fn who_keeps_writing_over_a_status_is_answered_ever_more_slowly_and_told_once() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    cluster.write_all();
    cluster.notices();
    let (mut written, mut notices) = (0, Vec::new());
    for _ in 0..50 {
        cluster.apply("a", holding("192.0.2.1"));
        written += cluster.write_all().len();
        notices.extend(cluster.notices());
    }
    assert_eq!(written, 3);
    assert_eq!(notices.iter().filter(|notice| notice.starts_with("StatusOverwritten: ")).count(), 1);
    assert!(notices.len() < 10, "{notices:?}");
    let retry = cluster.index.next_timeout().unwrap();
    cluster.index.pass_time(retry);
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"], "but it is answered");
    assert_eq!(ips(&cluster, "a"), addresses(&["10.0.0.0"]));
}

#[test]
fn a_full_list_is_believed_also_when_its_versions_are_lower() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    cluster.write_all();
    // The cluster comes back from a backup: the Service has no address and an older version.
    let restored = json!({
        "metadata": {"name": "a", "namespace": "default", "uid": "a", "resourceVersion": "1"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
    });
    cluster.index.services(Change::Reset(vec![seen(restored)]), Instant::now());
    assert_eq!(cluster.next_write().unwrap().version, Version::from("1"));
}

#[test]
fn a_decision_for_thousands_leaves_time_for_other_things() {
    let services: Vec<(String, Value)> = (0..600).map(|n| (format!("s{n:03}"), json!({}))).collect();
    let services: Vec<(&str, Value)> =
        services.iter().map(|(name, it)| (name.as_str(), it.clone())).collect();
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/16")], &services);
    for _taken_in_and_heard in 0..2 {
        cluster.index.decide(600);
        assert!(cluster.index.has_due());
        assert_eq!(cluster.index.queued(), 0);
    }
    cluster.index.decide(256);
    assert!(cluster.index.has_due());
    assert_eq!(cluster.index.queued(), 256);
    cluster.index.decide(1000);
    assert_eq!((cluster.index.has_due(), cluster.index.queued()), (false, 600));
}

#[test]
fn an_address_of_a_service_of_another_class_is_not_given_until_that_one_has_it_no_more() {
    let mut elsewhere = holding("10.0.0.0");
    elsewhere["spec"] = json!({"loadBalancerClass": "example.com/other"});
    let services = [("theirs", elsewhere.clone()), ("mine", holding("10.0.0.1"))];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/30")], &services);
    assert!(cluster.write_all().is_empty());
    cluster.apply("a", json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "10.0.0.0"}}}));
    assert!(cluster.write_all().is_empty());
    assert!(cluster.notices().iter().any(|notice| notice.contains("another load balancer class")));
    cluster.apply("b", json!({}));
    assert_eq!(cluster.write_all(), ["b 10.0.0.2"]);
    // It is given another one by whoever serves it.
    elsewhere["status"]["loadBalancer"]["ingress"][0]["ip"] = "10.0.0.3".into();
    cluster.apply("theirs", elsewhere);
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
    cluster.apply("c", json!({}));
    assert!(cluster.write_all().is_empty());
    cluster.delete("theirs");
    assert_eq!(cluster.write_all(), ["c 10.0.0.3"]);
}

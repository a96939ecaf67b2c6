//! The Index driven by hand: objects in, writes and notices out.

mod stability;

use std::time::{Duration, Instant};

use api::{AddressEntry, IPAddressPool, IPAddressPoolSpec};
use jiff::Timestamp;
use kubekit::{Change, Version};
use serde_json::{Value, json};
use slim::{Namespace, Service};
use translation::{Origin, Rules, previous};

use crate::entry::Seen;
use crate::index::{Index, List, Role, Write, Written};

/// An Index, and an API server as far as it is needed: versions, and the echo of each write.
pub(super) struct Cluster {
    pub(super) index: Index,
    version: u64,
    services: Vec<(String, Value)>,
}

impl Cluster {
    /// With nothing yet, and with pools of nodes or without.
    pub(super) fn new(node_pools: bool) -> Self {
        let index = Index::new(List::needed(node_pools), Instant::now());
        Self { index, version: 1, services: Vec::new() }
    }

    /// With these pools and Services at the start.
    pub(super) fn start(pools: &[IPAddressPool], services: &[(&str, Value)]) -> Self {
        let mut cluster = Self::new(false);
        cluster.index.set_role(Role::Leader, Instant::now());
        cluster.index.pools(Change::Reset(pools.to_vec()), Instant::now());
        cluster.index.namespaces(Change::Reset(vec![Namespace::default()]), Instant::now());
        cluster.index.nodes(Change::Reset(Vec::new()), Instant::now());
        cluster.index.reservations(Change::Reset(Vec::new()), Instant::now());
        let list = services.iter().map(|(name, overlay)| cluster.store(name, overlay.clone())).collect();
        cluster.index.services(Change::Reset(list), Instant::now());
        cluster
    }

    pub(super) fn store(&mut self, name: &str, overlay: Value) -> Seen {
        self.version += 1;
        self.services.retain(|(known, _)| known != name);
        let mut object = json!({
            "metadata": {"name": name, "namespace": "default", "uid": name, "resourceVersion": self.version.to_string()},
            "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]},
        });
        merge(&mut object, overlay);
        self.services.push((name.to_owned(), object.clone()));
        seen(object)
    }

    pub(super) fn apply(&mut self, name: &str, overlay: Value) {
        let service = self.store(name, overlay);
        self.index.services(Change::Apply(service), Instant::now());
    }

    pub(super) fn delete(&mut self, name: &str) {
        let at = self.services.iter().position(|(known, _)| known == name).unwrap();
        let (_, object) = self.services.remove(at);
        self.index.services(Change::Delete(seen(object)), Instant::now());
    }

    /// Deletes a pool for good: it is not made again in time.
    fn delete_pool(&mut self, pool: IPAddressPool) {
        self.index.pools(Change::Delete(pool), Instant::now());
        assert!(self.write_all().is_empty(), "it may be made again at once");
        let until = self.index.next_timeout().unwrap();
        self.index.pass_time(until);
    }

    pub(super) fn next_write(&mut self) -> Option<Write> {
        self.index.settle_pools(Instant::now());
        self.index.decide(usize::MAX);
        self.index.next_write()
    }

    /// Lets every write succeed, and returns who got what.
    pub(super) fn write_all(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next_write())
            .collect::<Vec<_>>()
            .into_iter()
            .map(|write| {
                self.finish(&write);
                describe(&write)
            })
            .collect()
    }

    fn finish(&mut self, write: &Write) {
        self.version += 1;
        let version = self.version.to_string();
        let stored = self.services.iter_mut().find(|(name, _)| **name == *write.key.name);
        if let Some((_, object)) = stored {
            let ips =
                write.assignment.iter().flat_map(|a| &a.ips).map(|ip| json!({"ip": ip, "ipMode": "VIP"}));
            let pool = write.assignment.as_ref().map(|a| a.pool.as_str());
            object["status"] = json!({"loadBalancer": {"ingress": ips.collect::<Vec<_>>()}});
            merge(object, json!({"metadata": {"resourceVersion": version}}));
            let written = [
                ("metallb.io/ip-allocated-from-pool", pool.map(str::to_owned)),
                ("ferrolb.io/node-addresses", (write.origin == Origin::NodePool).then(|| "true".to_owned())),
                ("ferrolb.io/previous-ips", previous::write(&write.previous, write.uid.as_deref())),
            ];
            for (annotation, value) in written {
                if let Some(all) = object["metadata"]["annotations"].as_object_mut() {
                    all.remove(annotation);
                }
                if let Some(value) = value {
                    merge(object, json!({"metadata": {"annotations": {annotation: value}}}));
                }
            }
            let echo = seen(object.clone());
            self.index.written(write, Written::Done(Version::from(&*version)), Instant::now());
            self.index.services(Change::Apply(echo), Instant::now());
        }
    }

    pub(super) fn notices(&mut self) -> Vec<String> {
        self.index.settle_pools(Instant::now());
        self.index.decide(usize::MAX);
        self.index.notices.drain(..).map(|(_, n)| format!("{}: {}", n.reason, n.message)).collect()
    }
}

fn describe(write: &Write) -> String {
    let ips = write.assignment.iter().flat_map(|a| &a.ips).map(|ip| format!(" {ip}")).collect::<String>();
    format!("{}{ips}", write.key.name)
}

fn seen(object: Value) -> Seen {
    let service: Service = serde_json::from_value(object).unwrap();
    Seen::read(&service, &Rules::default()).with_node_ports(&service)
}

fn merge(into: &mut Value, overlay: Value) {
    match (into, overlay) {
        (Value::Object(into), Value::Object(overlay)) => {
            for (key, value) in overlay {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, overlay) => *into = overlay,
    }
}

pub(super) fn pool(name: &str, addresses: &str) -> IPAddressPool {
    let addresses = addresses.split(',').map(|a| AddressEntry(a.to_owned())).collect();
    IPAddressPool::new(name, IPAddressPoolSpec { addresses, auto_assign: true, ..Default::default() })
}

fn holding(ip: &str) -> Value {
    json!({
        "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "p"}},
        "status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}},
    })
}

fn created(second: u32) -> Value {
    json!({"metadata": {"creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")}})
}

fn and(mut a: Value, b: Value) -> Value {
    merge(&mut a, b);
    a
}

#[test]
fn nobody_is_decided_by_pools_that_have_changed_since_they_were_settled() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/30")], &[]);
    assert_eq!(cluster.next_write(), None);
    cluster.index.pools(Change::Apply(pool("p", "10.0.9.0/30")), Instant::now());
    cluster.apply("web", json!({}));
    cluster.index.decide(usize::MAX);
    assert!(cluster.index.next_write().is_none() && !cluster.index.has_due());
    assert_eq!(cluster.write_all(), ["web 10.0.9.0"]);
}

#[test]
fn nothing_is_decided_before_every_list_is_complete() {
    let mut index = Index::new(List::needed(false), Instant::now());
    index.set_role(Role::Leader, Instant::now());
    let mut cluster = Cluster::new(false);
    let service = cluster.store("a", json!({}));
    index.services(Change::Reset(vec![service]), Instant::now());
    assert_eq!(index.next_write(), None);
    index.pools(Change::Reset(vec![pool("p", "10.0.0.0/24")]), Instant::now());
    index.namespaces(Change::Reset(Vec::new()), Instant::now());
    index.decide(usize::MAX);
    assert_eq!(index.next_write(), None);
    assert!(index.next_notice().is_none());
    index.nodes(Change::Reset(Vec::new()), Instant::now());
    index.decide(usize::MAX);
    assert_eq!(index.next_write(), None);
    index.reservations(Change::Reset(Vec::new()), Instant::now());
    index.decide(usize::MAX);
    assert!(index.next_write().is_some());
}

#[test]
fn the_older_service_is_served_first_and_holders_before_all() {
    let services =
        [("new", created(9)), ("old", created(1)), ("holder", and(created(20), holding("10.0.0.0")))];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &services);
    assert_eq!(cluster.write_all(), ["old 10.0.0.1", "new 10.0.0.2"]);
    assert_eq!(
        cluster.notices(),
        ["IPAllocated: Assigned IP [\"10.0.0.1\"]", "IPAllocated: Assigned IP [\"10.0.0.2\"]"]
    );
}

#[test]
fn of_two_that_hold_one_address_the_older_keeps_it_in_whatever_order_they_come() {
    let (old, new) = (and(created(1), holding("10.0.0.0")), and(created(2), holding("10.0.0.0")));
    for services in [[("a", old.clone()), ("b", new.clone())], [("b", new), ("a", old)]] {
        let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &services);
        assert_eq!(cluster.write_all(), ["b 10.0.0.1"]);
    }
}

#[test]
fn a_restart_writes_nothing_and_says_nothing() {
    let services = [("a", holding("10.0.0.3")), ("b", holding("10.0.0.7"))];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &services);
    assert!(cluster.write_all().is_empty());
    assert!(cluster.notices().is_empty());
}

#[test]
fn a_waiting_service_complains_once_and_gets_what_is_freed() {
    let services = [("a", holding("10.0.0.0")), ("b", json!({}))];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/32")], &services);
    assert!(cluster.write_all().is_empty());
    assert_eq!(
        cluster.notices(),
        [
            "AllocationFailed: Failed to allocate IP for \"default/b\": no available IPs: pool p: exhausted (1 of 1)"
        ]
    );
    for _ in 0..3 {
        cluster.apply("b", json!({"metadata": {"labels": {"touched": "again"}}}));
    }
    assert!(cluster.notices().is_empty());
    cluster.delete("a");
    assert_eq!(cluster.write_all(), ["b 10.0.0.0"]);
}

#[test]
fn over_the_quota_of_its_namespace_the_oldest_gets_what_is_freed_and_holders_keep_theirs() {
    let limited = |most: &str| {
        let mut pool = pool("p", "10.0.0.0/28");
        let annotation = ("ferrolb.io/max-addresses-per-namespace".to_owned(), most.to_owned());
        pool.metadata.annotations = Some([annotation].into());
        pool
    };
    let services = [
        ("a", holding("10.0.0.0")),
        ("b", holding("10.0.0.1")),
        ("y", and(created(9), json!({}))),
        ("z", and(created(5), json!({}))),
    ];
    let mut cluster = Cluster::start(&[limited("2")], &services);
    assert!(cluster.write_all().is_empty());
    let told = |name: &str, in_use: u8, most: u8| {
        format!(
            "AllocationFailed: Failed to allocate IP for \"default/{name}\": no available IPs: pool p: quota of \
             namespace default reached ({in_use} in use, at most {most} for each namespace)"
        )
    };
    assert_eq!(cluster.notices(), [told("z", 2, 2), told("y", 2, 2)]);
    cluster.delete("a");
    assert_eq!(cluster.write_all(), ["z 10.0.0.0"]);
    assert_eq!(cluster.notices(), ["IPAllocated: Assigned IP [\"10.0.0.0\"]"], "y has been told already");
    let change = |cluster: &mut Cluster, most: &str| {
        cluster.index.pools(Change::Apply(limited(most)), Instant::now());
        cluster.index.settle_pools(Instant::now());
    };
    change(&mut cluster, "1");
    assert!(cluster.write_all().is_empty());
    assert_eq!(cluster.notices(), [told("y", 2, 1)]);
    change(&mut cluster, "3");
    assert_eq!(cluster.write_all(), ["y 10.0.0.2"]);
}

#[test]
fn who_lacks_a_second_address_gets_what_is_freed_before_those_who_have_none() {
    let two =
        |policy: &str| json!({"spec": {"clusterIPs": ["10.96.0.1", "fd96::1"], "ipFamilyPolicy": policy}});
    let services = [
        ("a", holding("10.0.0.0")),
        ("b", two("PreferDualStack")),
        ("c", json!({})),
        ("d", holding("10.0.0.1")),
    ];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/31,fd00::/128")], &services);
    assert_eq!(cluster.write_all(), ["b fd00::"]);
    cluster.delete("a");
    assert_eq!(cluster.write_all(), ["b 10.0.0.0 fd00::"]);
    cluster.delete("d");
    assert_eq!(cluster.write_all(), ["c 10.0.0.1"]);
}

#[test]
fn without_a_pool_the_event_says_so() {
    let mut cluster = Cluster::start(&[], &[("a", json!({}))]);
    assert!(cluster.write_all().is_empty());
    assert!(cluster.notices()[0].contains("there is no IPAddressPool"));
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
}

#[test]
fn a_service_of_another_type_gives_back_what_it_got_and_others_are_left_alone() {
    let foreign = json!({"spec": {"type": "NodePort"}});
    let mut cluster = Cluster::start(
        &[pool("p", "10.0.0.0/32")],
        &[("a", holding("10.0.0.0")), ("b", foreign), ("c", json!({}))],
    );
    cluster.write_all();
    cluster.apply("a", and(holding("10.0.0.0"), json!({"spec": {"type": "ClusterIP"}})));
    assert_eq!(cluster.write_all(), ["a", "c 10.0.0.0"]);
}

#[test]
fn a_service_that_lost_its_type_while_nobody_looked_is_cleared_at_the_start() {
    let left = and(holding("10.0.0.0"), json!({"spec": {"type": "ClusterIP"}}));
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", left)]);
    assert_eq!(cluster.write_all(), ["a"]);
}

#[test]
fn a_service_of_another_class_is_never_touched() {
    let other = and(holding("10.0.0.0"), json!({"spec": {"loadBalancerClass": "example.com/x"}}));
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", other)]);
    assert!(cluster.write_all().is_empty());
}

#[test]
fn a_conflict_waits_for_the_newer_version_and_then_writes_again() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    let write = cluster.next_write().unwrap();
    cluster.index.written(&write, Written::Conflict, Instant::now());
    assert_eq!(cluster.next_write(), None);
    cluster.apply("a", json!({"metadata": {"labels": {"new": "label"}}}));
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
}

#[test]
fn a_conflict_that_no_news_follows_is_tried_again_ever_more_rarely() {
    for result in [Written::Conflict, Written::Gone] {
        let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let write = cluster.next_write().unwrap();
            cluster.index.written(&write, result.clone(), now);
            assert_eq!(cluster.next_write(), None);
            let next = cluster.index.next_timeout().unwrap();
            pauses.push((next - now).as_millis());
            now = next;
            cluster.index.pass_time(now);
        }
        assert_eq!(pauses, [1000, 1000, 1000, 1000, 1600, 3200, 6400, 10_000, 10_000], "{result:?}");
        assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
    }
}

#[test]
fn a_conflict_with_a_version_that_is_already_here_writes_again_at_once() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    let write = cluster.next_write().unwrap();
    cluster.apply("a", json!({"metadata": {"labels": {"new": "label"}}}));
    assert_eq!(cluster.next_write(), None, "one write in flight");
    cluster.index.written(&write, Written::Conflict, Instant::now());
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
}

#[test]
fn nobody_is_told_anything_while_addresses_wait_to_be_written() {
    let impossible = json!({"spec": {"loadBalancerIP": "192.0.2.1"}});
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", impossible), ("b", json!({}))]);
    cluster.index.decide(usize::MAX);
    assert!(!cluster.index.has_notice() && cluster.index.next_notice().is_none());
    cluster.write_all();
    let (_, notice) = cluster.index.next_notice().unwrap();
    assert_eq!(notice.reason, "AllocationFailed");
}

#[test]
fn a_service_that_is_gone_is_not_written_to_again_while_the_watch_is_behind() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    let write = cluster.next_write().unwrap();
    cluster.index.written(&write, Written::Gone, Instant::now());
    assert_eq!(cluster.next_write(), None);
    cluster.delete("a");
    cluster.apply("b", json!({}));
    assert_eq!(cluster.write_all(), ["b 10.0.0.0"]);
}

#[test]
fn a_failed_write_is_tried_again_after_growing_pauses() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    let mut now = Instant::now();
    for pause in [100, 200, 400] {
        let write = cluster.next_write().unwrap();
        cluster.index.written(&write, Written::Failed(None), now);
        assert_eq!(cluster.index.next_timeout(), Some(now + Duration::from_millis(pause)));
        cluster.index.pass_time(now);
        assert_eq!(cluster.next_write(), None);
        now += Duration::from_millis(pause);
        cluster.index.pass_time(now);
    }
    assert_eq!(cluster.write_all(), ["a 10.0.0.0"]);
}

#[test]
fn the_echo_of_an_older_version_changes_nothing() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", json!({}))]);
    let (_, before) = cluster.services[0].clone();
    cluster.write_all();
    cluster.index.services(Change::Apply(seen(before)), Instant::now());
    assert!(cluster.write_all().is_empty());
}

#[test]
fn a_status_edited_by_hand_is_adopted_or_put_right() {
    let mut cluster = Cluster::start(
        &[pool("p", "10.0.0.0/24")],
        &[("a", holding("10.0.0.0")), ("b", holding("10.0.0.1"))],
    );
    cluster.apply("a", holding("10.0.0.9"));
    assert!(cluster.write_all().is_empty(), "a free address of a pool is fine");
    cluster.apply("a", holding("192.0.2.1"));
    assert_eq!(cluster.write_all(), ["a 10.0.0.9"], "what it had");
    cluster.apply("b", json!({"status": {"loadBalancer": {"ingress": [{"hostname": "example.com"}]}}}));
    assert_eq!(cluster.write_all(), ["b 10.0.0.1"]);
    cluster.notices();
    let two = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.5"}]}}});
    cluster.apply("b", two);
    assert_eq!(cluster.write_all(), ["b 10.0.0.1"]);
    assert!(cluster.notices()[0].starts_with("nolbIPsIPFamily: "), "nobody can have two of one family");
}

#[test]
fn when_its_pool_goes_a_service_moves_and_is_told() {
    let pools = [pool("p", "10.0.0.0/24"), pool("q", "10.1.0.0/24")];
    let mut cluster = Cluster::start(&pools, &[("a", holding("10.0.0.0"))]);
    cluster.delete_pool(pools[0].clone());
    assert_eq!(cluster.write_all(), ["a 10.1.0.0"]);
    let notices = cluster.notices();
    assert!(notices[0].starts_with("ClearAssignment: current IP for \"default/a\""), "{notices:?}");
    assert_eq!(notices[1], "IPAllocated: Assigned IP [\"10.1.0.0\"]");
    assert_eq!(notices.len(), 2);
}

#[test]
fn an_edit_of_a_pool_without_effect_writes_nothing() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", holding("10.0.0.5"))]);
    cluster.index.pools(Change::Apply(pool("p", "10.0.0.0/24")), Instant::now());
    assert!(cluster.write_all().is_empty());
}

#[test]
fn a_follower_decides_nothing_and_takes_over_from_what_it_remembers() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", holding("10.0.0.0"))]);
    cluster.index.set_role(Role::Follower, Instant::now());
    cluster.apply("b", json!({}));
    assert!(cluster.write_all().is_empty());
    cluster.apply("b", holding("10.0.0.1"));
    cluster.apply("c", json!({}));
    cluster.index.set_role(Role::Leader, Instant::now());
    assert_eq!(cluster.write_all(), ["c 10.0.0.2"]);
}

#[test]
fn a_deprecated_annotation_is_mentioned_once_and_works() {
    let old = json!({"metadata": {"annotations": {"metallb.universe.tf/loadBalancerIPs": "10.0.0.9"}}});
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", old)]);
    assert_eq!(cluster.write_all(), ["a 10.0.0.9"]);
    let notices = cluster.notices();
    assert_eq!(
        notices[0],
        "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs"
    );
    assert_eq!(notices.len(), 2);
    let touched = |value: &str| json!({"metadata": {"annotations": {"touched": value}}});
    let (_, mut served) = cluster.services[0].clone();
    merge(&mut served, touched("once"));
    cluster.apply("a", served.clone());
    assert!(cluster.notices().is_empty());
    merge(&mut served, json!({"metadata": {"annotations": {"metallb.universe.tf/allow-shared-ip": ""}}}));
    cluster.apply("a", served);
    let notices = cluster.notices();
    assert_eq!(notices.len(), 1, "it has another one now, though that changes nothing: {notices:?}");
}

#[test]
fn another_load_balancer_is_mentioned_once_and_only_on_what_is_ours() {
    let theirs = json!({"metadata": {"finalizers": ["service.kubernetes.io/load-balancer-cleanup"]}});
    let of_class = json!({"spec": {"loadBalancerClass": "cloud.example/lb"}});
    let mut cluster = Cluster::start(
        &[pool("p", "10.0.0.0/24")],
        &[("a", holding("10.0.0.0")), ("b", and(theirs.clone(), of_class))],
    );
    assert!(cluster.notices().is_empty());
    cluster.apply("a", and(holding("10.0.0.0"), theirs.clone()));
    let notices = cluster.notices();
    assert!(
        matches!(&notices[..], [one] if one.starts_with("AnotherLoadBalancer: ") && one.contains("ServiceLB")),
        "{notices:?}"
    );
    cluster.apply("a", and(holding("10.0.0.1"), theirs));
    assert!(!cluster.notices().iter().any(|notice| notice.starts_with("AnotherLoadBalancer")));
}

#[test]
fn a_restart_mentions_no_annotation_again() {
    let old = json!({"metadata": {"annotations": {"metallb.universe.tf/loadBalancerIPs": "10.0.0.9"}}});
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/24")], &[("a", and(holding("10.0.0.9"), old))]);
    assert!(cluster.write_all().is_empty());
    assert!(cluster.notices().is_empty());
}

#[test]
fn many_changes_of_pools_are_settled_at_once_and_the_echo_of_a_status_is_none() {
    let mut cluster = Cluster::start(
        &[],
        &[("a", json!({"metadata": {"annotations": {"metallb.io/address-pool": "p99"}}}))],
    );
    cluster.write_all();
    for n in 0..100 {
        let one = pool(&format!("p{n}"), &format!("10.0.{n}.0/24"));
        cluster.index.pools(Change::Apply(one), Instant::now());
    }
    assert!(cluster.index.has_pools_to_settle());
    assert_eq!(cluster.index.usage().count(), 0);
    cluster.index.settle_pools(Instant::now());
    assert_eq!(cluster.index.usage().count(), 100);
    assert_eq!(cluster.write_all(), ["a 10.0.99.0"]);
    let statuses = cluster.index.outdated_pool_statuses(Timestamp::UNIX_EPOCH);
    for (about, status) in statuses {
        let name = about.name.unwrap();
        let mut echoed = pool(&name, &format!("10.0.{}.0/24", &name[1..]));
        echoed.status = Some(status);
        cluster.index.pools(Change::Apply(echoed), Instant::now());
    }
    assert!(!cluster.index.has_pools_to_settle());
    assert!(cluster.index.outdated_pool_statuses(Timestamp::UNIX_EPOCH).is_empty());
}

#[test]
fn a_list_is_taken_in_and_heard_a_few_at_a_time_and_nobody_is_decided_before_all_are() {
    let services = [
        ("new", created(1)),
        ("younger", and(created(9), holding("10.0.0.0"))),
        ("older", and(created(2), holding("10.0.0.0"))),
    ];
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/30")], &services);
    cluster.index.decide(2);
    assert!(cluster.index.is_listing());
    assert_eq!(cluster.index.next_write(), None);
    cluster.index.decide(1);
    assert!(!cluster.index.is_listing());
    for _service in ["older", "younger", "new"] {
        assert!(cluster.index.is_hearing());
        assert_eq!(cluster.index.next_write(), None);
        cluster.index.decide(1);
    }
    assert!(!cluster.index.is_hearing());
    assert_eq!(cluster.index.next_write(), None);
    assert_eq!(cluster.write_all(), ["younger 10.0.0.1", "new 10.0.0.2"]);
}

#[test]
fn the_status_of_a_pool_follows_what_is_in_use() {
    let mut cluster = Cluster::start(&[pool("p", "10.0.0.0/30,fd00::/64")], &[("a", json!({}))]);
    cluster.write_all();
    let outdated = cluster.index.outdated_pool_statuses(Timestamp::UNIX_EPOCH);
    let status = outdated[0].1.clone();
    assert_eq!((status.assigned_ipv4, status.available_ipv4, status.assigned_ipv6), (1, 3, 0));
    assert_eq!(status.available_ipv6, i64::MAX);
    cluster.apply("six", json!({"spec": {"clusterIPs": ["fd00:10::1"]}}));
    cluster.write_all();
    let status = cluster.index.outdated_pool_statuses(Timestamp::UNIX_EPOCH)[0].1.clone();
    assert_eq!((status.assigned_ipv6, status.available_ipv6), (1, i64::MAX - 1));
    let mut echoed = pool("p", "10.0.0.0/30,fd00::/64");
    echoed.status = Some(status);
    cluster.index.pools(Change::Apply(echoed), Instant::now());
    assert!(cluster.index.outdated_pool_statuses(Timestamp::UNIX_EPOCH).is_empty());
}

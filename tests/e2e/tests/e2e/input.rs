//! What happens to mistakes.

use std::collections::BTreeSet;

use e2e::{NAMESPACE, objects};
use lab::chart;
use serde_json::{Value, json};

use crate::with_cluster;

/// A pool with more in its `spec`.
fn pool_with(field: &str, value: Value) -> Value {
    let mut pool = objects::pool("wrong", &["172.16.211.230/32"]);
    pool["spec"][field] = value;
    pool
}

#[test]
fn an_invalid_pool_is_refused_with_a_message_that_tells_what_to_write() {
    with_cluster(|cluster| {
        let cases = [
            (
                objects::pool("wrong", &["172.16.211.230"]),
                "172.16.211.230 is a single address: write 172.16.211.230/32",
            ),
            (objects::pool("wrong", &["fd00::1"]), "fd00::1 is a single address: write fd00::1/128"),
            (
                objects::pool("wrong", &["172.16.211.230/33"]),
                "172.16.211.230/33 is not a CIDR: write an address and a prefix length, like 192.168.1.0/28",
            ),
            (
                objects::pool("wrong", &["172.16.211.230-"]),
                "172.16.211.230- is not a range: write its first and its last address",
            ),
            (
                objects::pool("wrong", &["172.16.211.239-172.16.211.230"]),
                "ends before it starts: write 172.16.211.230-172.16.211.239",
            ),
            (objects::pool("wrong", &["172.16.211.230-fd00::1"]), "write both ends in IPv4 or both in IPv6"),
            (objects::pool("wrong", &[]), "a pool needs at least one entry: write a range like"),
            (
                objects::pool("wrong", &["172.16.211.230/32", "172.16.211.230/32"]),
                "entry 172.16.211.230/32 is listed more than once: keep one",
            ),
            (
                pool_with("serviceAllocation", json!({"namespaces": ["a", "b", "a"]})),
                "namespace a is listed more than once: keep one",
            ),
        ];
        for (pool, expected) in cases {
            let refusal = cluster.apply([&pool]).expect_err("the API server takes a pool that is wrong");
            let refusal = format!("{refusal:#}");
            assert!(refusal.contains(expected), "{} is refused with: {refusal}", pool["spec"]);
        }
        Ok(())
    });
}

#[test]
fn a_service_that_gets_no_address_says_why_and_gets_one_once_there_is_one() {
    with_cluster(|cluster| {
        let is_told = |name: &str, why: &str| cluster.wait_for_warning(NAMESPACE, "Service", name, why);
        cluster.apply([&objects::load_balancer("first")])?;
        is_told("first", "there is no IPAddressPool: create one")?;

        cluster.apply([&objects::pool("small", &["172.16.211.230/32"])])?;
        cluster.wait_for_address("first")?;
        cluster.apply([&objects::load_balancer("second")])?;
        is_told("second", "pool small: exhausted (1 of 1)")?;

        let mut choosy = objects::load_balancer("choosy");
        choosy["metadata"]["annotations"] = json!({"metallb.io/address-pool": "missing"});
        cluster.apply([&choosy])?;
        is_told("choosy", r#"unknown pool "missing""#)?;

        cluster.apply([&objects::pool("missing", &["172.16.211.231-172.16.211.232"])])?;
        let served = [cluster.wait_for_address("second")?, cluster.wait_for_address("choosy")?];
        assert_eq!(BTreeSet::from(served.map(|address| address.octets()[3])), BTreeSet::from([231, 232]));
        Ok(())
    });
}

#[test]
fn a_pool_that_overlaps_another_has_no_effect_and_says_so_while_all_others_go_on() {
    with_cluster(|cluster| {
        cluster.apply([&objects::pool("good", &["172.16.211.230-172.16.211.231"])])?;
        let first = cluster.balance("first")?;
        cluster.apply([&objects::pool("clash", &["172.16.211.231-172.16.211.235"])])?;
        let why = "overlaps 172.16.211.231 of IPAddressPool good: remove";
        cluster.wait_for_warning(chart::NAMESPACE, "IPAddressPool", "clash", why)?;
        // What only the controller can see to be wrong: CEL has no order on IPv6 addresses.
        cluster.apply([&objects::pool("reversed", &["fd00::9-fd00::1"])])?;
        cluster.wait_for_warning(chart::NAMESPACE, "IPAddressPool", "reversed", "fd00::9-fd00::1")?;

        assert_eq!(cluster.balance("second")?.octets()[3], 231);
        assert_eq!(cluster.addresses("first")?, [first]);
        cluster.apply([&objects::load_balancer("third")])?;
        cluster.wait_for_warning(NAMESPACE, "Service", "third", "pool good: exhausted (2 of 2)")?;

        cluster.apply([&objects::pool("clash", &["172.16.211.232-172.16.211.235"])])?;
        assert_eq!(cluster.wait_for_address("third")?.octets()[3], 232, "the clash is resolved");
        Ok(())
    });
}

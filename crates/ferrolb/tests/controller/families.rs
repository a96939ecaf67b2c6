//! IPv4, IPv6 and both.

use serde_json::{Value, json};

use crate::space::in_space;

fn stack(policy: &str, families: Value) -> Value {
    json!({"spec": {"ipFamilyPolicy": policy, "ipFamilies": families}})
}

#[test]
fn addresses_are_of_the_families_of_the_cluster_ips_and_ipv4_comes_first() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24", "fd00:N::/64"]})).await;
        for (name, policy, families, expected) in [
            ("v4", "SingleStack", json!(["IPv4"]), &["10.N.0.0"][..]),
            ("v6", "SingleStack", json!(["IPv6"]), &["fd00:N::"]),
            ("prefer", "PreferDualStack", json!(["IPv4", "IPv6"]), &["10.N.0.1", "fd00:N::1"]),
            ("require", "RequireDualStack", json!(["IPv6", "IPv4"]), &["10.N.0.2", "fd00:N::2"]),
        ] {
            space.gets(name, stack(policy, families), expected).await;
        }
        space.counts("p", [3, 3, 253, i64::MAX - 3]).await;
    });
}

#[test]
fn both_addresses_come_from_one_pool_or_only_one_is_given_where_that_will_do() {
    in_space(async |space| {
        space.pool("four", json!({"addresses": ["10.N.4.0/24"], "serviceAllocation": {"priority": 1}})).await;
        space
            .pool("six", json!({"addresses": ["fd00:N::6:0/112"], "serviceAllocation": {"priority": 2}}))
            .await;
        let both = ["IPv4", "IPv6"];
        space.service("require", stack("RequireDualStack", json!(both))).await;
        space
            .hears("require", "pool NS-four: has no IPv6 addresses; pool NS-six: has no IPv4 addresses")
            .await;
        space.gets("prefer", stack("PreferDualStack", json!(both)), &["10.N.4.0"]).await;
        space.hears("prefer", "AdditionalAssignFailed: ").await;
        space.gets("prefer-six", stack("PreferDualStack", json!(["IPv6", "IPv4"])), &["fd00:N::6:0"]).await;
        let dual =
            json!({"addresses": ["10.N.5.0/24", "fd00:N::5:0/112"], "serviceAllocation": {"priority": 9}});
        space.pool("both", dual).await;
        space.has("require", &["10.N.5.0", "fd00:N::5:0"]).await;
        // A pool with both is better than one of a better rank with one.
        space.gets("late", stack("PreferDualStack", json!(both)), &["10.N.5.1", "fd00:N::5:1"]).await;
        space.has("prefer", &["10.N.4.0"]).await;
    });
}

#[test]
fn a_second_family_comes_later_from_the_same_pool_and_goes_with_the_policy() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24"]})).await;
        let prefer = stack("PreferDualStack", json!(["IPv4", "IPv6"]));
        space.gets("gains", prefer.clone(), &["10.N.0.0"]).await;
        space.gets("single", json!({}), &["10.N.0.1"]).await;
        space.pool("p", json!({"addresses": ["10.N.0.0/24", "fd00:N::/64"]})).await;
        space.has("gains", &["10.N.0.0", "fd00:N::"]).await;
        space.hears("gains", "IPAllocated: Assigned additional IP \"fd00:N::\"").await;
        space.patch("single", prefer).await;
        space.has("single", &["10.N.0.1", "fd00:N::1"]).await;
        space.patch("single", stack("SingleStack", json!(["IPv4"]))).await;
        space.has("single", &["10.N.0.1"]).await;
        space.counts("p", [2, 1, 254, i64::MAX - 1]).await;
    });
}

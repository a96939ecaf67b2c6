//! Addresses and pools that are asked for by name.

use serde_json::json;

use crate::space::in_space;

#[test]
fn a_requested_address_is_given_and_a_changed_request_moves_the_service() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24", "fd00:N::/64"]})).await;
        let asking = |ips: &str| json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": ips}}});
        space.gets("a", asking("10.N.0.77"), &["10.N.0.77"]).await;
        space.annotate("a", "metallb.io/loadBalancerIPs", json!("10.N.0.78")).await;
        space.has("a", &["10.N.0.78"]).await;
        space.annotate("a", "metallb.io/loadBalancerIPs", json!(null)).await;
        // It keeps what it has; the freed one and all lower ones stay free.
        space.gets("b", json!({}), &["10.N.0.0"]).await;
        space.has("a", &["10.N.0.78"]).await;
        let mut dual = asking("fd00:N::5 , 10.N.0.5");
        dual["spec"] = json!({"ipFamilyPolicy": "RequireDualStack"});
        space.gets("dual", dual, &["10.N.0.5", "fd00:N::5"]).await;
        space.gets("field", json!({"spec": {"loadBalancerIP": "10.N.0.99"}}), &["10.N.0.99"]).await;
        space.patch("field", json!({"spec": {"loadBalancerIP": "10.N.0.98"}})).await;
        space.has("field", &["10.N.0.98"]).await;
    });
}

#[test]
fn a_request_that_cannot_be_met_takes_the_address_away_and_says_why() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24"]})).await;
        space.gets("first", json!({}), &["10.N.0.0"]).await;
        for (name, wanted, why) in [
            ("foreign", "203.0.113.1", "203.0.113.1 is in no IPAddressPool"),
            ("taken", "10.N.0.0", "10.N.0.0 is in use by NS/first"),
            ("family", "fd00:N::1", "does not fit the service, which is IPv4"),
        ] {
            space.service(name, json!({})).await;
            space.hears(name, "IPAllocated").await;
            space.annotate(name, "metallb.io/loadBalancerIPs", json!(wanted)).await;
            space.has(name, &[]).await;
            space.hears(name, &format!("AllocationFailed: Failed to allocate IP for \"NS/{name}\"")).await;
            space.hears(name, why).await;
            let annotations = space.services().get(name).await.unwrap().metadata.annotations.unwrap();
            assert!(!annotations.contains_key("metallb.io/ip-allocated-from-pool"), "{name}");
        }
        space.delete("first").await;
        space.has("taken", &["10.N.0.0"]).await;
    });
}

#[test]
fn a_request_that_cannot_be_read_or_is_made_twice_leaves_what_there_is() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24", "fd00:N::/64"]})).await;
        space.gets("both", json!({"spec": {"loadBalancerIP": "10.N.0.1"}}), &["10.N.0.1"]).await;
        space.annotate("both", "metallb.io/loadBalancerIPs", json!("10.N.0.1")).await;
        space.hears("both", "LoadBalancerFailed: ").await;
        space.hears("both", "both set").await;
        space.gets("two", json!({}), &["10.N.0.0"]).await;
        space.annotate("two", "metallb.io/loadBalancerIPs", json!("10.N.0.8,10.N.0.9")).await;
        space.hears("two", "two addresses of one family").await;
        space.gets("junk", json!({}), &["10.N.0.2"]).await;
        space.annotate("junk", "metallb.io/loadBalancerIPs", json!("ten")).await;
        space.hears("junk", "is not an address").await;
        for (name, ip) in [("both", "10.N.0.1"), ("two", "10.N.0.0"), ("junk", "10.N.0.2")] {
            space.has(name, &[ip]).await;
        }
        // Who has nothing gets nothing.
        let junk = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": "10.N.0.7,"}}});
        space.service("new", junk).await;
        space.hears("new", "AllocationFailed").await;
        assert!(space.addresses("new").await.is_empty());
    });
}

#[test]
fn a_named_pool_is_used_even_without_auto_assign_and_its_change_moves_the_service() {
    in_space(async |space| {
        space.pool("auto", json!({"addresses": ["10.N.0.0/24"]})).await;
        space.pool("manual", json!({"addresses": ["10.N.1.0/30"], "autoAssign": false})).await;
        let naming = |pool: &str| json!({"metadata": {"annotations": {"metallb.io/address-pool": pool}}});
        space.gets("a", naming("NS-manual"), &["10.N.1.0"]).await;
        space.annotate("a", "metallb.io/address-pool", json!("NS-auto")).await;
        space.has("a", &["10.N.0.0"]).await;
        let annotations = space.services().get("a").await.unwrap().metadata.annotations.unwrap();
        assert_eq!(annotations["metallb.io/ip-allocated-from-pool"], space.fill("NS-auto"));
        space.annotate("a", "metallb.io/address-pool", json!("NS-missing")).await;
        space.has("a", &[]).await;
        space.hears("a", "unknown pool \"NS-missing\"").await;
        space.pool("missing", json!({"addresses": ["10.N.2.0/30"], "autoAssign": false})).await;
        space.has("a", &["10.N.2.0"]).await;
        let mut elsewhere = naming("NS-manual");
        elsewhere["spec"] = json!({"loadBalancerIP": "10.N.0.9"});
        space.service("b", elsewhere).await;
        space.hears("b", "10.N.0.9 is in pool NS-auto, not in the requested pool NS-manual").await;
    });
}

#[test]
fn annotations_in_the_old_spelling_work_give_way_to_the_new_one_and_are_mentioned_once() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.0/24"]})).await;
        space.pool("q", json!({"addresses": ["10.N.1.0/24"], "autoAssign": false})).await;
        let annotated = |annotations| json!({"metadata": {"annotations": annotations}});
        let ips = annotated(json!({"metallb.universe.tf/loadBalancerIPs": "10.N.0.50"}));
        space.gets("ips", ips, &["10.N.0.50"]).await;
        space
            .gets("pool", annotated(json!({"metallb.universe.tf/address-pool": "NS-q"})), &["10.N.1.0"])
            .await;
        let beside = json!({
            "metallb.universe.tf/loadBalancerIPs": "10.N.0.60", "metallb.io/loadBalancerIPs": "10.N.0.61",
        });
        space.gets("beside", annotated(beside), &["10.N.0.61"]).await;
        let empty =
            json!({"metallb.universe.tf/loadBalancerIPs": "10.N.0.70", "metallb.io/loadBalancerIPs": ""});
        space.gets("empty", annotated(empty), &["10.N.0.0"]).await;
        for name in ["a", "b"] {
            let mut shared = annotated(json!({"metallb.universe.tf/allow-shared-ip": "k"}));
            shared["spec"] = json!({"ports": [{"port": if name == "a" { 80 } else { 443 }}]});
            space.gets(name, shared, &["10.N.0.1"]).await;
        }
        for _ in 0..3 {
            space.patch("ips", json!({"metadata": {"labels": {"touched": "again"}}})).await;
            space.patch("ips", json!({"metadata": {"labels": {"touched": null}}})).await;
        }
        let event =
            "deprecatedAnnotation: Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs";
        space.hears_times("ips", event, 1).await;
    });
}

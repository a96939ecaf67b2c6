//! Several Services on one address.

use serde_json::{Value, json};

use crate::space::{Space, in_space};

/// With this key, on these ports.
fn with_key(key: &str, ports: Value) -> Value {
    json!({
        "metadata": {"annotations": {"metallb.io/allow-shared-ip": key, "metallb.io/loadBalancerIPs": "10.N.0.1"}},
        "spec": {"ports": ports},
    })
}

fn port(number: u16) -> Value {
    json!([{"port": number}])
}

async fn with_first(space: &Space<'_>) {
    space.pool("p", json!({"addresses": ["10.N.0.1/32"]})).await;
    space.gets("first", with_key("k", port(80)), &["10.N.0.1"]).await;
}

#[test]
fn equal_keys_and_different_ports_share_and_nothing_else_does() {
    in_space(async |space| {
        with_first(space).await;
        space.gets("second", with_key("k", port(443)), &["10.N.0.1"]).await;
        let udp = json!([{"port": 80, "protocol": "UDP"}]);
        space.gets("same-number", with_key("k", udp), &["10.N.0.1"]).await;
        for (name, overlay, why) in [
            ("port", with_key("k", port(80)), "port TCP/80 of 10.N.0.1 is in use by NS/first"),
            ("key", with_key("l", port(81)), "do not have the same sharing key"),
            ("no-key", with_key("", port(82)), "do not have the same sharing key"),
        ] {
            space.service(name, overlay).await;
            space.hears(name, why).await;
            assert!(space.addresses(name).await.is_empty(), "{name}");
        }
        space.counts("p", [1, 0, 0, 0]).await;
        space.delete("first").await;
        space.has("port", &["10.N.0.1"]).await;
        space.counts("p", [1, 0, 0, 0]).await;
    });
}

#[test]
fn with_policy_local_only_equal_selectors_share() {
    in_space(async |space| {
        let local = |number: u16, selector: Value| {
            let mut overlay = with_key("k", port(number));
            overlay["spec"]["externalTrafficPolicy"] = "Local".into();
            overlay["spec"]["selector"] = selector;
            overlay
        };
        space.pool("p", json!({"addresses": ["10.N.0.1/32"]})).await;
        space.gets("first", local(80, json!({"app": "a", "tier": "b"})), &["10.N.0.1"]).await;
        space.gets("second", local(81, json!({"tier": "b", "app": "a"})), &["10.N.0.1"]).await;
        space.service("other", local(82, json!({"app": "z"}))).await;
        space.hears("other", "only services with the same selector can share").await;
        space.service("cluster", with_key("k", port(83))).await;
        space.hears("cluster", "only services with the same selector can share").await;
        space.patch("cluster", json!({"spec": {"selector": {"app": "a", "tier": "b"}}})).await;
        space.patch("cluster", json!({"spec": {"externalTrafficPolicy": "Local"}})).await;
        space.has("cluster", &["10.N.0.1"]).await;
    });
}

#[test]
fn a_sole_owner_changes_its_key_in_place_and_one_with_company_has_to_leave() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.1-10.N.0.3"]})).await;
        let keyed = |key: &str, number: u16| json!({"metadata": {"annotations": {"metallb.io/allow-shared-ip": key}}, "spec": {"ports": port(number)}});
        space.gets("a", keyed("k", 80), &["10.N.0.1"]).await;
        space.annotate("a", "metallb.io/allow-shared-ip", json!("l")).await;
        space.gets("b", keyed("l", 81), &["10.N.0.1"]).await;
        space.has("a", &["10.N.0.1"]).await;
        space.annotate("b", "metallb.io/allow-shared-ip", json!("m")).await;
        space.has("b", &["10.N.0.2"]).await;
        space.hears("b", "ClearAssignment: ").await;
        // A port that somebody else has is another reason to leave.
        space.gets("c", keyed("l", 82), &["10.N.0.1"]).await;
        space.patch("c", json!({"spec": {"ports": [{"port": 80}]}})).await;
        space.has("c", &["10.N.0.3"]).await;
    });
}

#[test]
fn a_free_lower_address_is_preferred_to_company() {
    in_space(async |space| {
        space.pool("p", json!({"addresses": ["10.N.0.1-10.N.0.2"]})).await;
        let keyed = |number: u16| json!({"metadata": {"annotations": {"metallb.io/allow-shared-ip": "k"}}, "spec": {"ports": port(number)}});
        space.gets("alone", json!({}), &["10.N.0.1"]).await;
        space.gets("a", keyed(80), &["10.N.0.2"]).await;
        space.delete("alone").await;
        space.gets("b", keyed(81), &["10.N.0.1"]).await;
        space.gets("c", keyed(82), &["10.N.0.1"]).await;
        space.gets("d", keyed(82), &["10.N.0.2"]).await;
    });
}

#[test]
fn who_gives_up_a_shared_port_makes_room_at_once() {
    in_space(async |space| {
        with_first(space).await;
        space.service("waiting", with_key("k", port(80))).await;
        space.hears("waiting", "port TCP/80").await;
        space.patch("first", json!({"spec": {"ports": [{"port": 8080}]}})).await;
        space.has("waiting", &["10.N.0.1"]).await;
        space.has("first", &["10.N.0.1"]).await;
    });
}

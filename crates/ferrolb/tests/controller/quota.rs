//! How many addresses of a pool one namespace may hold.

use serde_json::json;

use crate::space::in_space;

const QUOTA: &str = "ferrolb.io/max-addresses-per-namespace";

#[test]
fn over_its_quota_a_namespace_waits_until_an_address_is_given_up_or_the_quota_raised() {
    in_space(async |space| {
        space.annotated_pool("p", json!({QUOTA: "1"}), json!({"addresses": ["10.N.0.0/28"]})).await;
        space.gets("first", json!({}), &["10.N.0.0"]).await;
        space.service("second", json!({})).await;
        space.hears("second", "quota of namespace NS reached (1 in use, at most 1 for each namespace)").await;
        assert!(space.addresses("second").await.is_empty());
        space.delete("first").await;
        space.has("second", &["10.N.0.0"]).await;
        space.annotate_pool("p", QUOTA, "0").await;
        space.service("third", json!({})).await;
        space.hears("third", "quota of namespace NS reached (1 in use, at most 0 for each namespace)").await;
        space.has("second", &["10.N.0.0"]).await;
        space.annotate_pool("p", QUOTA, "2").await;
        space.has("third", &["10.N.0.1"]).await;
        space.counts("p", [2, 0, 14, 0]).await;
    });
}

//! What is kept of texts that users write. The API server takes a quarter of a megabyte of annotations for each object,
//! and selectors without limit; what is kept of a Service, for as long as it exists, does not grow with them.

use std::sync::Arc;

use objects::text::bounded;
use sha2::{Digest, Sha256};

/// The longest text that is kept as it is, in bytes: more than anybody reads.
const PLAIN: usize = 64;

/// The name of an object, as somebody wrote it. One that is cut is still longer than any name, so no object has it, and
/// texts show the same of it.
pub(crate) fn name(text: &str) -> &str {
    bounded(text)
}

/// A text that matters only for what it is equal to: of a long one its digest is kept, for all of it counts. A digest is
/// longer than what is kept as it is, so no text can be taken for that of another.
pub(crate) fn key(text: &str) -> Arc<str> {
    if text.len() <= PLAIN {
        return text.into();
    }
    let digest: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digest}").into()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Claim, LoadBalancerClass, Names, Observed, Rules, SeenService};

    /// All that is kept of a Service, as text.
    fn kept(annotations: &Value, spec: &Value, status: &Value) -> String {
        let mut full = json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}],
            "externalTrafficPolicy": "Local"});
        full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let metadata = json!({"name": "a", "namespace": "b", "uid": "u-1", "annotations": annotations});
        let service = json!({"metadata": metadata, "spec": full, "status": status});
        let service = serde_json::from_value(service).unwrap();
        let claim = Claim::read(&service, &Rules::default());
        let seen = SeenService::read(&service, &LoadBalancerClass(None), &Names::default());
        format!("{claim:?} {:?} {seen:?}", Observed::read(&service))
    }

    #[test]
    fn what_is_kept_of_a_service_does_not_grow_with_what_users_write() {
        let given = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        let texts =
            ["x".repeat(200_000), "192.0.2.1,".repeat(20_000), format!("u-1/{}::1", "::1,".repeat(50_000))];
        let keys = [
            "metallb.io/address-pool",
            "metallb.universe.tf/address-pool",
            "metallb.io/loadBalancerIPs",
            "metallb.io/allow-shared-ip",
            "metallb.universe.tf/allow-shared-ip",
            "metallb.io/ip-allocated-from-pool",
            "ferrolb.io/previous-ips",
            "ferrolb.io/node-addresses",
            "example.com/any",
        ];
        for text in &texts {
            for key in keys {
                let kept = kept(&json!({key: text}), &json!({}), &given);
                assert!(kept.len() < 10_000, "{key} {:?}: {} bytes", &text[..20], kept.len());
            }
            for spec in [
                json!({"loadBalancerIP": text}),
                json!({"clusterIPs": [text]}),
                json!({"ipFamilies": [text]}),
                json!({"ipFamilyPolicy": text}),
                json!({"ports": [{"port": 1, "protocol": text}]}),
                json!({"selector": (0..5000).map(|n| (format!("{n}"), json!("v"))).collect::<serde_json::Map<_, _>>()}),
            ] {
                let kept = kept(&json!({}), &spec, &given);
                assert!(kept.len() < 10_000, "{:?}: {} bytes", &spec.to_string()[..20], kept.len());
            }
            let foreign = json!({"loadBalancer": {"ingress": [{"ip": text}, {"hostname": text}]}});
            assert!(kept(&json!({}), &json!({}), &foreign).len() < 10_000);
        }
    }

    #[test]
    fn a_name_that_is_cut_is_no_name_and_is_shown_as_before() {
        use objects::text::{named, quoted};
        for text in ["a".repeat(400), "a".repeat(321), "ä".repeat(400), "lan".into(), "a".repeat(253)] {
            let kept = name(&text);
            assert_eq!(kept == text, text.chars().count() <= 321);
            assert!(kept == text || kept.len() > 253);
            assert_eq!(quoted(kept).to_string(), quoted(&text).to_string());
            assert_eq!(named(kept).to_string(), named(&text).to_string());
        }
    }

    #[test]
    fn keys_are_equal_where_the_texts_are_however_long_they_are() {
        let long = "k".repeat(200_000);
        let texts = ["", "k", &"k".repeat(64), &"k".repeat(65), &long, &format!("{long}l"), &long[1..]];
        for (at, one) in texts.iter().enumerate() {
            for (other_at, other) in texts.iter().enumerate() {
                assert_eq!(key(one) == key(other), at == other_at, "{} and {} bytes", one.len(), other.len());
            }
            assert!(key(one).len() <= 71);
        }
        // Whoever writes the digest of a key has not written the key.
        assert_ne!(key(&key(&long)), key(&long));
        assert_eq!(&*key("team-a"), "team-a");
    }
}

//! The advertisements that are for a Service, as remedies name them.

use objects::ServiceKey;
use placement::{Interfaces, Placement};

/// The advertisements that are for a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Advertised {
    /// Those that select nodes.
    selecting: Vec<String>,
    /// Those that name interfaces.
    confined: Vec<String>,
}

impl Advertised {
    pub(crate) fn of(placement: &Placement, service: &ServiceKey) -> Self {
        let mut this = Self::default();
        for advertisement in placement.advertisements(service) {
            if !advertisement.node_selectors.is_empty() {
                this.selecting.push(advertisement.name.to_string());
            }
            if matches!(advertisement.interfaces, Interfaces::Only(_)) {
                this.confined.push(advertisement.name.to_string());
            }
        }
        this
    }

    /// The field by which nodes are selected.
    pub(super) fn node_selectors(&self) -> String {
        field("spec.nodeSelectors", &self.selecting)
    }

    /// The field that names interfaces, if any of them does.
    pub(super) fn interfaces(&self) -> Option<String> {
        (!self.confined.is_empty()).then(|| field("spec.interfaces", &self.confined))
    }
}

/// A field of these advertisements.
fn field(name: &str, advertisements: &[String]) -> String {
    match advertisements {
        [] => format!("{name} of its L2Advertisement"),
        [one] => format!("{name} of L2Advertisement {one}"),
        several => format!("{name} of L2Advertisements {}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{service, snapshot};

    #[test]
    fn the_advertisements_that_confine_a_service_are_named_with_the_field() {
        let mut snapshot = snapshot(&[service("web", Some("192.0.2.1"))], &["n1"], &[]);
        let zone = |zone: &str| json!([{"matchLabels": {"zone": zone}}]);
        let objects = [
            json!({"metadata": {"name": "a"}, "spec": {"nodeSelectors": zone("a"), "interfaces": ["eth9"]}}),
            json!({"metadata": {"name": "b"}, "spec": {"nodeSelectors": zone("b"), "ipAddressPools": ["lan"]}}),
            json!({"metadata": {"name": "c"}, "spec": {"nodeSelectors": zone("c"), "ipAddressPools": ["other"]}}),
        ];
        snapshot.advertisements =
            objects.iter().map(|it| serde_json::from_value(it.clone()).unwrap()).collect();
        let placement = snapshot.placed_now();
        let it = Advertised::of(&placement, &ServiceKey::new("default", "web"));
        assert_eq!(it.node_selectors(), "spec.nodeSelectors of L2Advertisements a, b");
        assert_eq!(it.interfaces().as_deref(), Some("spec.interfaces of L2Advertisement a"));
        let unknown = Advertised::of(&placement, &ServiceKey::new("default", "other"));
        assert_eq!(
            (unknown.interfaces(), &*unknown.node_selectors()),
            (None, "spec.nodeSelectors of its L2Advertisement")
        );
    }
}

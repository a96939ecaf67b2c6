//! What advertisements mean for the question of who announces.

use kube::ResourceExt;
use placement::{Advertisement, Interfaces, Preference};
use pools::Unreadable;

use crate::selector::{read_selector, read_selectors};
use crate::{L2Advertisement, PreferredNodeSelector};

impl L2Advertisement {
    /// What of the advertisement is in force, and what of it cannot be read. A selector that cannot be read selects
    /// nothing, so that an advertisement never reaches further than its author meant.
    pub fn read(&self) -> (Advertisement, Vec<Unreadable>) {
        let spec = &self.spec;
        let mut unreadable = Vec::new();
        let mut read = |field, list| read_selectors(&format!("spec.{field}"), list, &mut unreadable);
        let advertisement = Advertisement {
            name: self.name_any().into(),
            pools: spec.ip_address_pools.iter().map(|name| name.as_str().into()).collect(),
            pool_selectors: read("ipAddressPoolSelectors", &spec.ip_address_pool_selectors),
            service_selectors: read("serviceSelectors", &spec.service_selectors),
            node_selectors: read("nodeSelectors", &spec.node_selectors),
            preferences: preferences(&spec.preferred_node_selectors, &mut unreadable),
            interfaces: if spec.interfaces.is_empty() {
                Interfaces::All
            } else {
                Interfaces::only(spec.interfaces.iter().map(|name| name.as_str().into()))
            },
        };
        (advertisement, unreadable)
    }
}

fn preferences(list: &[PreferredNodeSelector], unreadable: &mut Vec<Unreadable>) -> Vec<Preference> {
    let read = |(index, entry): (usize, &PreferredNodeSelector)| {
        let field = format!("spec.preferredNodeSelectors[{index}]");
        let Ok(weight) = u32::try_from(entry.weight) else {
            let why = format!("{} is below zero: write 1 to 100", entry.weight);
            unreadable.push(Unreadable { field: field + ".weight", why });
            return None;
        };
        Some(Preference { weight, selector: read_selector(field, &entry.preference, unreadable) })
    };
    list.iter().enumerate().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use objects::{Requirement, Selector};

    use super::*;
    use crate::{L2AdvertisementSpec, LabelSelector, LabelSelectorRequirement};

    fn advertisement(spec: L2AdvertisementSpec) -> L2Advertisement {
        let mut resource = L2Advertisement { spec, ..L2Advertisement::default() };
        resource.metadata.name = Some("ad".to_owned());
        resource
    }

    fn zone(value: &str) -> LabelSelector {
        let match_labels = BTreeMap::from([("zone".to_owned(), value.to_owned())]);
        LabelSelector { match_labels, match_expressions: vec![] }
    }

    fn parsed_zone(value: &str) -> Selector {
        Selector::from_iter([Requirement::equals("zone", value)])
    }

    #[test]
    fn an_empty_spec_announces_everything_everywhere() {
        let parsed = advertisement(L2AdvertisementSpec::default()).read();
        let everything = Advertisement {
            name: "ad".into(),
            pools: [].into(),
            pool_selectors: vec![],
            service_selectors: vec![],
            node_selectors: vec![],
            preferences: vec![],
            interfaces: Interfaces::All,
        };
        assert_eq!(parsed, (everything, vec![]));
    }

    #[test]
    fn each_field_finds_its_place() {
        let spec = L2AdvertisementSpec {
            ip_address_pools: vec!["gold".to_owned()],
            ip_address_pool_selectors: vec![zone("pool")],
            node_selectors: vec![zone("node")],
            interfaces: vec!["eth0".to_owned()],
            service_selectors: vec![zone("service")],
            preferred_node_selectors: vec![PreferredNodeSelector { weight: 7, preference: zone("best") }],
        };
        let parsed = advertisement(spec).read();
        let expected = Advertisement {
            name: "ad".into(),
            pools: ["gold".into()].into(),
            pool_selectors: vec![parsed_zone("pool")],
            service_selectors: vec![parsed_zone("service")],
            node_selectors: vec![parsed_zone("node")],
            preferences: vec![Preference { weight: 7, selector: parsed_zone("best") }],
            interfaces: Interfaces::only(["eth0".into()]),
        };
        assert_eq!(parsed, (expected, vec![]));
    }

    #[test]
    fn what_cannot_be_read_selects_nothing_and_is_named_with_its_place() {
        let read = |spec| {
            let (advertisement, unreadable) = advertisement(spec).read();
            let [Unreadable { field, why }] = &unreadable[..] else { panic!("{unreadable:?}") };
            (advertisement, format!("{field}: {why}"))
        };
        let unknown = LabelSelectorRequirement { key: "zone".into(), operator: "Is".into(), values: vec![] };
        let bad = LabelSelector { match_expressions: vec![unknown], ..LabelSelector::default() };
        let node_selectors = vec![zone("a"), bad.clone()];
        let (parsed, why) = read(L2AdvertisementSpec { node_selectors, ..L2AdvertisementSpec::default() });
        assert_eq!(parsed.node_selectors, [parsed_zone("a"), Selector::nothing()]);
        assert!(why.starts_with("spec.nodeSelectors[1]: operator \"Is\" is unknown"), "{why}");
        let preferring = |weight, preference| L2AdvertisementSpec {
            preferred_node_selectors: vec![PreferredNodeSelector { weight, preference }],
            ..L2AdvertisementSpec::default()
        };
        assert!(read(preferring(1, bad)).1.starts_with("spec.preferredNodeSelectors[0]: "));
        let (parsed, why) = read(preferring(-5, zone("a")));
        assert_eq!(why, "spec.preferredNodeSelectors[0].weight: -5 is below zero: write 1 to 100");
        assert!(parsed.preferences.is_empty());
    }
}

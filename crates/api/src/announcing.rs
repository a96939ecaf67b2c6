//! What pools and advertisements mean for the question of who announces.

use kube::ResourceExt;
use objects::{Selector, SelectorError};
use placement::{Advertisement, Interfaces, Pool, Preference};

use crate::{IPAddressPool, L2Advertisement, LabelSelector, ParsePoolError, PreferredNodeSelector};

/// Why an [`L2Advertisement`] cannot be used. The message names the field and the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseAdvertisementError {
    /// A selector cannot be understood.
    #[error("spec.{field}[{index}]: {source}")]
    Selector {
        /// The list that has it.
        field: &'static str,
        /// Which entry, from 0.
        index: usize,
        /// What is wrong with it.
        source: SelectorError,
    },
    /// A preference counts for less than nothing.
    #[error("spec.preferredNodeSelectors[{index}].weight {weight} is below zero: write 1 to 100")]
    Weight {
        /// Which entry, from 0.
        index: usize,
        /// As it was written.
        weight: i32,
    },
}

impl TryFrom<&L2Advertisement> for Advertisement {
    type Error = ParseAdvertisementError;

    fn try_from(resource: &L2Advertisement) -> Result<Self, ParseAdvertisementError> {
        let spec = &resource.spec;
        Ok(Self {
            name: resource.name_any().into(),
            pools: spec.ip_address_pools.iter().map(|name| name.as_str().into()).collect(),
            pool_selectors: selectors("ipAddressPoolSelectors", &spec.ip_address_pool_selectors)?,
            service_selectors: selectors("serviceSelectors", &spec.service_selectors)?,
            node_selectors: selectors("nodeSelectors", &spec.node_selectors)?,
            preferences: preferences(&spec.preferred_node_selectors)?,
            interfaces: if spec.interfaces.is_empty() {
                Interfaces::All
            } else {
                Interfaces::Only(spec.interfaces.iter().map(|name| name.as_str().into()).collect())
            },
        })
    }
}

fn selectors(field: &'static str, list: &[LabelSelector]) -> Result<Vec<Selector>, ParseAdvertisementError> {
    list.iter().enumerate().map(|(index, entry)| selector(field, index, entry)).collect()
}

fn preferences(list: &[PreferredNodeSelector]) -> Result<Vec<Preference>, ParseAdvertisementError> {
    let parse = |(index, entry): (usize, &PreferredNodeSelector)| {
        let weight = u32::try_from(entry.weight)
            .map_err(|_| ParseAdvertisementError::Weight { index, weight: entry.weight })?;
        let selector = selector("preferredNodeSelectors", index, &entry.preference)?;
        Ok(Preference { weight, selector })
    };
    list.iter().enumerate().map(parse).collect()
}

fn selector(
    field: &'static str,
    index: usize,
    entry: &LabelSelector,
) -> Result<Selector, ParseAdvertisementError> {
    entry.try_into().map_err(|source| ParseAdvertisementError::Selector { field, index, source })
}

impl TryFrom<&IPAddressPool> for Pool {
    type Error = ParsePoolError;

    fn try_from(resource: &IPAddressPool) -> Result<Self, ParsePoolError> {
        let pool = ipam::Pool::try_from(resource)?;
        Ok(Self {
            name: pool.name.as_str().into(),
            labels: resource.labels().clone(),
            ranges: pool.ranges.iter().map(|range| range.first()..=range.last()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use objects::Requirement;

    use super::*;
    use crate::{AddressEntry, IPAddressPoolSpec, L2AdvertisementSpec, LabelSelectorRequirement};

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
        let parsed = Advertisement::try_from(&advertisement(L2AdvertisementSpec::default())).unwrap();
        let everything = Advertisement {
            name: "ad".into(),
            pools: [].into(),
            pool_selectors: vec![],
            service_selectors: vec![],
            node_selectors: vec![],
            preferences: vec![],
            interfaces: Interfaces::All,
        };
        assert_eq!(parsed, everything);
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
        let parsed = Advertisement::try_from(&advertisement(spec)).unwrap();
        let expected = Advertisement {
            name: "ad".into(),
            pools: ["gold".into()].into(),
            pool_selectors: vec![parsed_zone("pool")],
            service_selectors: vec![parsed_zone("service")],
            node_selectors: vec![parsed_zone("node")],
            preferences: vec![Preference { weight: 7, selector: parsed_zone("best") }],
            interfaces: Interfaces::Only(["eth0".into()].into()),
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let message = |spec| Advertisement::try_from(&advertisement(spec)).unwrap_err().to_string();
        let unknown = LabelSelectorRequirement { key: "zone".into(), operator: "Is".into(), values: vec![] };
        let bad = LabelSelector { match_expressions: vec![unknown], ..LabelSelector::default() };
        let node_selectors = vec![zone("a"), bad.clone()];
        let with_bad_node = L2AdvertisementSpec { node_selectors, ..L2AdvertisementSpec::default() };
        assert!(message(with_bad_node).starts_with("spec.nodeSelectors[1]: operator \"Is\" is unknown"));
        let preferring = |weight, preference| L2AdvertisementSpec {
            preferred_node_selectors: vec![PreferredNodeSelector { weight, preference }],
            ..L2AdvertisementSpec::default()
        };
        assert!(message(preferring(1, bad)).starts_with("spec.preferredNodeSelectors[0]: "));
        assert_eq!(
            message(preferring(-5, zone("a"))),
            "spec.preferredNodeSelectors[0].weight -5 is below zero: write 1 to 100"
        );
    }

    #[test]
    fn a_pool_keeps_its_labels_and_its_ranges() {
        let addresses = vec![AddressEntry("192.0.2.0/30".to_owned())];
        let spec = IPAddressPoolSpec { addresses, auto_assign: true, ..IPAddressPoolSpec::default() };
        let mut resource = IPAddressPool::new("gold", spec);
        resource.metadata.labels = Some(BTreeMap::from([("zone".to_owned(), "a".to_owned())]));
        let pool = Pool::try_from(&resource).unwrap();
        assert_eq!((pool.name.as_str(), pool.labels["zone"].as_str()), ("gold", "a"));
        let vip = |text: &str| [text.parse().unwrap()];
        assert!(pool.contains_all(&vip("192.0.2.3")));
        assert!(!pool.contains_all(&vip("192.0.2.4")));
    }
}

//! What the authors of objects may not mean, and what keeps whole nodes out, by the objects alone.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use objects::any_matches;
use placement::Interfaces;

use super::{NAMED, Problem};
use crate::commands::explain::in_vain;
use crate::look::Look;
use crate::nearest::nearest;
use crate::output::some;

/// The nodes that announce nothing whatever the objects say.
pub(super) fn problems(look: &Look) -> Vec<Problem> {
    let cut_off = |node: &&slim::Node| slim::is_true(&node.status.conditions, "NetworkUnavailable");
    let problem = |node: &slim::Node| Problem {
        about: node.name_any(),
        reason: "condition NetworkUnavailable, so it announces nothing".to_owned(),
        remedy: Some(format!(
            "see to the network plugin of the node, which sets that: kubectl describe node {}",
            node.name_any()
        )),
    };
    look.snapshot.nodes.iter().filter(cut_off).map(problem).collect()
}

/// What may not be meant.
pub(super) fn warnings(look: &Look) -> Vec<String> {
    let reservations = look.allocation.unreserved.iter();
    let mut warnings: Vec<String> = reservations
        .map(|(reservation, why)| format!("AddressReservation {reservation} is not in force: {why}"))
        .collect();
    let interfaces = known_interfaces(look);
    let nodes: Vec<placement::Node> = look.snapshot.nodes.iter().map(translation::read_node).collect();
    for object in &look.snapshot.advertisements {
        let it = object.read().0;
        let mut warn = |what: String| warnings.push(format!("L2Advertisement {}: {what}", it.name));
        let selects = |node: &placement::Node| any_matches(&it.node_selectors, &node.labels);
        if !it.node_selectors.is_empty() && !nodes.is_empty() && !nodes.iter().any(selects) {
            warn("its spec.nodeSelectors select no node, so it announces nothing".to_owned());
        }
        if let (Interfaces::Only(names), Some(known)) = (&it.interfaces, &interfaces) {
            for name in names.iter().map(ToString::to_string).filter(|name| !known.contains(name)) {
                warn(format!(
                    "spec.interfaces names {name}, and no node has such an interface (kubectl ferrolb nodes -o wide)"
                ));
            }
        }
    }
    let there: BTreeSet<String> = look.snapshot.namespaces.iter().map(ResourceExt::name_any).collect();
    for pool in &look.snapshot.pools {
        let allocation = pool.spec.service_allocation.iter();
        for name in allocation.flat_map(|it| &it.namespaces).filter(|name| !there.contains(name.trim())) {
            // It may be about to be made; only what looks like a slip of the pen is told.
            if let Some(near) = nearest(name, there.iter().cloned()) {
                warnings.push(format!(
                    "IPAddressPool {}: spec.serviceAllocation.namespaces names {name:?}, and there is no such Namespace: {near}",
                    pool.name_any()
                ));
            }
        }
    }
    warnings.extend(annotations(look));
    warnings
}

/// What is written on Services in vain: the same for many is told once, with the first of them.
fn annotations(look: &Look) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for service in &look.snapshot.services {
        let key = translation::service_key(service);
        if look.allocation.fates.contains_key(&key) {
            for said in in_vain(service) {
                alike.entry(said).or_default().push(key.to_string());
            }
        }
    }
    alike.into_iter().map(|(said, services)| format!("{}: {said}", some(&services, NAMED))).collect()
}

/// The interfaces of all nodes by name, where all speakers tell theirs.
fn known_interfaces(look: &Look) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for told in &look.speakers {
        let interfaces = &told.speaker()?.interfaces;
        if interfaces.more > 0 {
            return None;
        }
        names.extend(interfaces.items.iter().map(|it| it.name.clone()));
    }
    (!look.speakers.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::{service, snapshot, told};
    use crate::snapshot::Snapshot;

    fn look(edit: impl Fn(&mut Snapshot)) -> Look {
        let speakers = ["n1", "n2", "n3"].map(|node| told(node, vec![]));
        let mut snapshot = snapshot(&[], &[], &speakers);
        edit(&mut snapshot);
        Look::new(vec![], speakers.into(), snapshot, None, vec![])
    }

    fn advertised(spec: &Value) -> Vec<String> {
        warnings(&look(|it| {
            let object = json!({"metadata": {"name": "a"}, "spec": spec});
            it.advertisements = vec![serde_json::from_value(object).unwrap()];
            it.nodes[0].metadata.labels = Some([("rack".to_owned(), "r1".to_owned())].into());
        }))
    }

    #[test]
    fn an_advertisement_for_no_node_or_for_an_interface_that_nobody_has_is_told() {
        let selector = |value: &str| json!([{"matchLabels": {"rack": value}}]);
        assert_eq!(advertised(&json!({"nodeSelectors": selector("r1"), "interfaces": ["eth0"]})), [""; 0]);
        let none = advertised(&json!({"nodeSelectors": selector("r9")}));
        assert!(none[0].starts_with("L2Advertisement a: its spec.nodeSelectors select no node"), "{none:?}");
        let typo = advertised(&json!({"interfaces": ["eth0", "eth7"]}));
        assert!(typo.len() == 1 && typo[0].contains("names eth7, and no node has"), "{typo:?}");
        let silent = Look::new(vec![], vec![], snapshot(&[], &[], &[]), None, vec![]);
        assert_eq!(known_interfaces(&silent), None, "nobody has told");
    }

    #[test]
    fn a_namespace_that_looks_mistyped_is_told_and_one_that_may_come_is_not() {
        let of = |name: &str| {
            warnings(&look(|it| {
                let spec =
                    json!({"addresses": ["192.0.2.1/32"], "serviceAllocation": {"namespaces": [name]}});
                let object = json!({"metadata": {"name": "p"}, "spec": spec});
                it.pools = vec![serde_json::from_value(object).unwrap()];
            }))
        };
        assert_eq!((of("default"), of("shop")), (vec![], vec![]));
        let said = of("defualt");
        assert!(said[0].ends_with("there is no such Namespace: did you mean default?"), "{said:?}");
    }

    #[test]
    fn a_reservation_that_is_not_in_force_is_told_with_the_reason() {
        let said = warnings(&look(|it| {
            let object = json!({"metadata": {"name": "r", "namespace": "default"}, "spec": {"addresses": ["10.0.0.1"]}});
            it.reservations = vec![serde_json::from_value(object).unwrap()];
        }));
        assert!(said[0].starts_with("AddressReservation default/r is not in force: 10.0.0.1"), "{said:?}");
    }

    #[test]
    fn an_annotation_that_means_nothing_is_told_once_for_all_services_that_have_it() {
        let mistyped = |name: &str| {
            let mut it = service(name, None);
            it["metadata"]["annotations"] = json!({"metallb.io/loadBalancerIP": "192.0.2.1"});
            it
        };
        let mut other = mistyped("other");
        other["spec"]["loadBalancerClass"] = json!("x");
        let said = warnings(&look(|it| {
            it.services = [mistyped("a"), mistyped("b"), service("c", None), other.clone()]
                .map(|it| serde_json::from_value(it).unwrap())
                .into();
        }));
        assert_eq!(
            said,
            [
                "default/a, default/b: annotation metallb.io/loadBalancerIP means nothing: did you mean loadBalancerIPs?"
            ]
        );
    }

    #[test]
    fn a_node_without_a_network_is_a_problem() {
        let found = problems(&look(|it| {
            let condition = ["NetworkUnavailable", "True"].map(str::to_owned);
            let [type_, status] = condition;
            it.nodes[1].status.conditions = vec![slim::Condition { type_, status }];
        }));
        assert!(found.len() == 1 && found[0].about == "n2", "{found:?}");
    }
}

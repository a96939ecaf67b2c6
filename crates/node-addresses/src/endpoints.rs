//! Where the ready endpoints of Services are.

use std::collections::{BTreeMap, BTreeSet};

use objects::{NodeName, ServiceKey, SliceKey};

/// The nodes with ready endpoints, slice by slice.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    slices: BTreeMap<SliceKey, (ServiceKey, BTreeSet<NodeName>)>,
    of_service: BTreeMap<ServiceKey, BTreeSet<SliceKey>>,
}

impl Endpoints {
    /// Takes in what a slice says now, nothing when it is gone. Returns the Services that this changes something for.
    pub(crate) fn set(
        &mut self,
        slice: &SliceKey,
        now: Option<(ServiceKey, BTreeSet<NodeName>)>,
    ) -> Vec<ServiceKey> {
        let before = self.slices.remove(slice);
        if let Some((service, _)) = &before
            && let Some(slices) = self.of_service.get_mut(service)
        {
            slices.remove(slice);
            if slices.is_empty() {
                self.of_service.remove(service);
            }
        }
        let changed = if before == now { None } else { Some([&before, &now]) };
        let changed = changed.into_iter().flatten().flatten();
        let changed: BTreeSet<ServiceKey> = changed.map(|(service, _)| service.clone()).collect();
        if let Some((service, nodes)) = now {
            self.of_service.entry(service.clone()).or_default().insert(slice.clone());
            self.slices.insert(slice.clone(), (service, nodes));
        }
        changed.into_iter().collect()
    }

    /// Whether a node has a ready endpoint of a Service.
    pub(crate) fn are_on(&self, service: &ServiceKey, node: &NodeName) -> bool {
        let slices = self.of_service.get(service).into_iter().flatten();
        slices.filter_map(|slice| self.slices.get(slice)).any(|(_, nodes)| nodes.contains(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_of_one_service_and_its_endpoints_go_with_it() {
        let (web, dns) = (ServiceKey::new("ns", "web"), ServiceKey::new("ns", "dns"));
        let [one, two] = ["one", "two"].map(|name| SliceKey::new("ns", name));
        let on = |nodes: &[&str]| nodes.iter().map(|node| NodeName::from(*node)).collect::<BTreeSet<_>>();
        let mut all = Endpoints::default();
        assert_eq!(all.set(&one, Some((web.clone(), on(&["n1"])))), std::slice::from_ref(&web));
        assert!(all.set(&one, Some((web.clone(), on(&["n1"])))).is_empty(), "nothing is new");
        all.set(&two, Some((web.clone(), on(&["n2"]))));
        assert!(all.are_on(&web, &"n1".into()) && all.are_on(&web, &"n2".into()));
        assert_eq!(all.set(&two, Some((dns.clone(), on(&["n2"])))), [dns.clone(), web.clone()]);
        assert!(!all.are_on(&web, &"n2".into()) && all.are_on(&dns, &"n2".into()));
        assert_eq!(all.set(&one, None), std::slice::from_ref(&web));
        assert!(!all.are_on(&web, &"n1".into()));
        assert!(all.set(&one, None).is_empty());
    }
}

//! What is probably a slip, though it can be read: MetalLB takes it, so it is not refused, but whoever wrote
//! it should know. Each sentence names the field and the entry, and says what to do.
//!
//! What cannot be used at all is no warning but an error of the conversion to the pure crates' types.

mod communities;
mod entries;
mod selectors;

pub use communities::{aliases_defined_twice, undefined_aliases};

use entries::{interface, names, repeated, subdomain};
use objects::text::quoted;
use selectors::{list, selector};

use crate::{BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement, PreferredNodeSelector};

impl IPAddressPool {
    /// What is probably a slip in the spec.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, entry) in self.spec.addresses.iter().enumerate() {
            if let Some((block, what)) = entry.of_no_host() {
                warnings.push(format!(
                    "spec.addresses[{index}] {written} has addresses of {block} ({what}), at which no client reaches a Service: leave them out",
                    written = quoted(&entry.0)
                ));
            }
            if let Some(network) = entry.network_meant() {
                let (written, first, last) = (&entry.0, network.network(), network.broadcast());
                warnings.push(format!(
                    "spec.addresses[{index}] {written} means {first}-{last}, all of the network: write \"{network}\" if that is meant, else a range",
                    written = quoted(written)
                ));
            }
        }
        if let Some(allocation) = &self.spec.service_allocation {
            let field = |name: &str| format!("spec.serviceAllocation.{name}");
            if let Some(priority) = allocation.priority.filter(|priority| *priority < 0) {
                warnings.push(format!(
                    "{} {priority} is below zero: write 1 for the pool to try first, higher numbers for later ones, 0 for last",
                    field("priority")
                ));
            }
            warnings.extend(names(&field("namespaces"), &allocation.namespaces, entries::namespace));
            warnings.extend(list(&field("namespaceSelectors"), &allocation.namespace_selectors));
            warnings.extend(list(&field("serviceSelectors"), &allocation.service_selectors));
        }
        warnings
    }
}

impl L2Advertisement {
    /// What is probably a slip in the spec.
    pub fn warnings(&self) -> Vec<String> {
        let spec = &self.spec;
        let mut warnings = names("spec.ipAddressPools", &spec.ip_address_pools, subdomain);
        warnings.extend(list("spec.ipAddressPoolSelectors", &spec.ip_address_pool_selectors));
        warnings.extend(list("spec.nodeSelectors", &spec.node_selectors));
        warnings.extend(names("spec.interfaces", &spec.interfaces, interface));
        warnings.extend(list("spec.serviceSelectors", &spec.service_selectors));
        warnings.extend(preferences(&spec.preferred_node_selectors));
        warnings
    }
}

impl BGPAdvertisement {
    /// What is probably a slip in the spec. [`undefined_aliases`] takes the communities too.
    pub fn warnings(&self) -> Vec<String> {
        let spec = &self.spec;
        let mut warnings = names("spec.ipAddressPools", &spec.ip_address_pools, subdomain);
        warnings.extend(list("spec.ipAddressPoolSelectors", &spec.ip_address_pool_selectors));
        warnings.extend(list("spec.nodeSelectors", &spec.node_selectors));
        warnings.extend(names("spec.peers", &spec.peers, subdomain));
        warnings.extend(list("spec.serviceSelectors", &spec.service_selectors));
        warnings.extend(communities::listed(&spec.communities));
        warnings
    }
}

impl BGPPeer {
    /// What is probably a slip in the spec.
    pub fn warnings(&self) -> Vec<String> {
        let spec = &self.spec;
        let mut warnings = list("spec.nodeSelectors", &spec.node_selectors);
        let interfaces = spec.interface.iter().filter(|name| !name.is_empty());
        warnings.extend(
            interfaces
                .filter_map(|name| Some(format!("spec.interface {} {}", quoted(name), interface(name)?))),
        );
        let has_password = spec.password.as_ref().is_some_and(|password| !password.is_empty());
        if let Some(secret) =
            spec.password_secret.as_ref().filter(|secret| has_password && !secret.name.is_empty())
        {
            warnings.push(format!(
                "spec.password and spec.passwordSecret {} exclude each other: keep one",
                quoted(&secret.name)
            ));
        }
        warnings
    }
}

impl Community {
    /// What is probably a slip in the spec. [`aliases_defined_twice`] takes the other objects too.
    pub fn warnings(&self) -> Vec<String> {
        communities::defined(&self.spec.communities)
    }
}

fn preferences(list: &[PreferredNodeSelector]) -> Vec<String> {
    let field = "spec.preferredNodeSelectors";
    let mut warnings = Vec::new();
    for (index, PreferredNodeSelector { weight, preference }) in list.iter().enumerate() {
        if !(1..=100).contains(weight) {
            warnings.push(format!("{field}[{index}].weight {weight} is out of range: write 1 to 100"));
        }
        warnings.extend(selector(&format!("{field}[{index}].preference"), preference));
        if preference.is_empty() {
            warnings.push(format!(
                "{field}[{index}].preference is empty and matches every node, so it prefers none: add a requirement, or remove it"
            ));
        }
    }
    let keys = list.iter().map(|entry| selectors::meaning(&entry.preference));
    warnings.extend(repeated(keys).into_iter().map(|(index, first)| {
        format!(
            "{field}[{index}].preference is the same as [{first}], and both weights count: make one entry of them"
        )
    }));
    warnings
}

#[cfg(test)]
mod tests;

//! Pools that advertisements name.

use std::collections::BTreeSet;

use api::IPAddressPool;
use kube::ResourceExt;

use crate::nearest::did_you_mean;

/// The pools that an advertisement names and that there are not, each with what it may be meant to be.
pub(crate) fn missing_pools(named: &[String], pools: &[IPAddressPool]) -> Vec<String> {
    let there: BTreeSet<String> = pools.iter().map(ResourceExt::name_any).collect();
    let named = named.iter().map(|name| name.trim());
    named
        .filter(|name| !there.contains(*name))
        .map(|name| {
            let near = did_you_mean(name, there.iter().cloned());
            format!("spec.ipAddressPools names {name:?}, and there is no such IPAddressPool{near}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::snapshot;

    #[test]
    fn a_pool_that_an_advertisement_names_in_vain_is_told_with_what_it_may_be_meant_to_be() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            missing_pools(&names, &snapshot(&[], &[], &[]).pools)
        };
        assert_eq!(names(&["lan", " lan "]), Vec::<String>::new());
        let [said] = &names(&["lan", "lna"])[..] else { panic!("one is missing") };
        assert!(said.ends_with("\"lna\", and there is no such IPAddressPool: did you mean lan?"), "{said}");
    }
}

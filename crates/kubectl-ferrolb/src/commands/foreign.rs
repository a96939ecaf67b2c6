//! Services of type `LoadBalancer` that another load balancer is asked to serve, and what others are asked for.

use std::collections::BTreeMap;

use kube::ResourceExt;
use translation::Claim;

use crate::output::some;
use crate::snapshot::Snapshot;

/// So many of each class are named.
const NAMED: usize = 3;

/// Annotations by which others are asked for something, and the one that asks FerroLB for the same.
pub(super) const ANNOTATIONS: [(&str, &str); 8] = [
    ("kube-vip.io/loadbalancerIPs", "metallb.io/loadBalancerIPs"),
    ("lbipam.cilium.io/ips", "metallb.io/loadBalancerIPs"),
    ("io.cilium/lb-ipam-ips", "metallb.io/loadBalancerIPs"),
    ("purelb.io/addresses", "metallb.io/loadBalancerIPs"),
    ("purelb.io/service-group", "metallb.io/address-pool"),
    ("purelb.io/allow-shared-ip", "metallb.io/allow-shared-ip"),
    ("lbipam.cilium.io/sharing-key", "metallb.io/allow-shared-ip"),
    ("io.cilium/lb-ipam-sharing-key", "metallb.io/allow-shared-ip"),
];

/// One sentence for each class that FerroLB does not serve: whose Services there are, in this namespace or in all.
pub(super) fn found(snapshot: &Snapshot, namespace: Option<&str>) -> Vec<String> {
    let mut by_class: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    for service in &snapshot.services {
        let its = service.namespace().unwrap_or_default();
        if namespace.is_none_or(|namespace| namespace == its)
            && matches!(Claim::read(service, &snapshot.rules), Claim::OtherClass)
        {
            let class = service.spec.load_balancer_class.as_deref();
            by_class.entry(class).or_default().push(format!("{its}/{}", service.name_any()));
        }
    }
    let words = |class: Option<&str>| class.map_or("no class".to_owned(), |class| format!("class {class}"));
    let ours = words(snapshot.rules.class.as_deref());
    let told = |(class, services): (Option<&str>, Vec<String>)| {
        let verb = if services.len() == 1 { "is" } else { "are" };
        let whose = words(class);
        format!(
            "{} {verb} for another load balancer: of {whose}, and FerroLB serves {ours}",
            some(&services, NAMED)
        )
    };
    by_class.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{service, snapshot};

    #[test]
    fn services_of_another_class_are_told_with_the_class_and_of_one_namespace_where_that_is_asked() {
        let of = |name: &str, class: Option<&str>| {
            let mut it = service(name, None);
            it["spec"]["loadBalancerClass"] = class.into();
            it
        };
        let mut snapshot =
            snapshot(&[of("a", None), of("b", Some("tailscale")), of("c", Some("tailscale"))], &[], &[]);
        let expected = "default/b, default/c are for another load balancer: of class tailscale, and FerroLB serves no class";
        assert_eq!(found(&snapshot, None), [expected]);
        assert_eq!((found(&snapshot, Some("default")).len(), found(&snapshot, Some("prod")).len()), (1, 0));
        snapshot.rules.class = Some("tailscale".to_owned());
        assert_eq!(
            found(&snapshot, None),
            ["default/a is for another load balancer: of no class, and FerroLB serves class tailscale"]
        );
    }
}

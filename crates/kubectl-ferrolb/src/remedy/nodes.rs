//! What helps a Service that a `NodeAddressPool` refuses.

use introspection::Waiting;
use ipam::AddressRequest;
use kube::ResourceExt;
use objects::ServiceKey;
use placement::EXCLUDE_LABEL;

use super::endpoints;
use crate::output::some;
use crate::snapshot::Snapshot;

/// The label of K3s that says which nodes serve.
const ENABLE_LB: &str = "svccontroller.k3s.cattle.io/enablelb";
/// So many nodes are named.
const NAMED: usize = 3;

/// What helps, by what the controller says of it; nothing where that is not about nodes.
pub(crate) fn of_refused_nodes(said: &str, about: &Waiting, snapshot: &Snapshot) -> Option<String> {
    if let Some((_, pool)) = said.split_once("is protected by protectedPorts of NodeAddressPool ") {
        let pool = pool.split(':').next().unwrap_or_default();
        return Some(format!(
            "use another port, or take this one out of spec.protectedPorts of NodeAddressPool {pool} if nothing of the nodes needs it"
        ));
    }
    if said.contains("is in use by a program that listens there") {
        return Some(
            "use another port, or end that program (ss -lntup on the node names it); protectListeners: false in the NodeAddressPool has Services take such ports"
                .to_owned(),
        );
    }
    if said.starts_with("port ") && (said.contains("is in use by") || said.contains("is the node port of")) {
        return Some(
            "use another port: one of a node has one Service; or give one of the two an address of an IPAddressPool"
                .to_owned(),
        );
    }
    if said.starts_with("kube-proxy runs in IPVS mode") {
        return Some("set mode: nftables in kube-proxy's configuration, or use an IPAddressPool".to_owned());
    }
    let (pool, why) = said.strip_prefix("NodeAddressPool ")?.split_once([':', ' '])?;
    if why.contains("does not select this Service") {
        return Some(format!(
            "add its namespace or labels to spec.serviceAllocation of NodeAddressPool {pool}, or use another pool"
        ));
    }
    if why.contains("has a ready endpoint") {
        let key = ServiceKey::new(about.namespace.as_str(), about.name.as_str());
        let pods = endpoints::remedy(&key, snapshot);
        return Some(format!("{pods}; with externalTrafficPolicy Cluster any node serves"));
    }
    if why.contains("of family") {
        return Some(format!(
            "set spec.addresses of NodeAddressPool {pool} to Auto or to the type that the nodes have (kubectl get nodes -o wide), or have the Service ask for a family that they have"
        ));
    }
    why.contains("no node is selected").then(|| unselected(pool, snapshot))
}

/// What helps where there is no `IPAddressPool`, and pools of nodes are served, by what a Service asks for.
pub(crate) fn of_no_pools(asked: &AddressRequest) -> String {
    match asked {
        AddressRequest::From(pool) => format!(
            "there is neither an IPAddressPool nor a NodeAddressPool {pool}: correct the Service's annotation metallb.io/address-pool (kubectl get nodeaddresspools,ipaddresspools -A)"
        ),
        AddressRequest::Exactly { .. } | AddressRequest::Reserved(_) => {
            "a NodeAddressPool gives the addresses of the nodes that serve, and none on request: ask for none, or create an IPAddressPool with the address"
                .to_owned()
        }
        AddressRequest::Anything | AddressRequest::Unreadable { .. } => {
            "have a NodeAddressPool serve it, by the annotation metallb.io/address-pool: NAME on the Service or spec.autoAssign: true in the pool (kubectl get nodeaddresspools -A); or create an IPAddressPool"
                .to_owned()
        }
    }
}

/// What helps where no node serves: that depends on the labels of nodes.
fn unselected(pool: &str, snapshot: &Snapshot) -> String {
    let labelled = |label: &str| -> Vec<String> {
        let has = |node: &&slim::Node| node.labels().contains_key(label);
        snapshot.nodes.iter().filter(has).map(ResourceExt::name_any).collect()
    };
    let excluded = labelled(EXCLUDE_LABEL);
    if !excluded.is_empty() && excluded.len() == snapshot.nodes.len() {
        return format!(
            "all nodes are excluded: take the label off those that are to serve: kubectl label node {} {EXCLUDE_LABEL}-",
            excluded[0]
        );
    }
    let odd = snapshot.nodes.iter().find_map(|node| {
        let value = node.labels().get(ENABLE_LB).filter(|value| *value != "true")?;
        Some(format!("node {} has {ENABLE_LB}={value}, and only true counts; ", node.name_any()))
    });
    let enabled = labelled(ENABLE_LB);
    let k3s = if enabled.is_empty() {
        String::new()
    } else {
        format!(
            "; with k3sLabels only nodes with {ENABLE_LB}=true serve once any node has that label ({})",
            some(&enabled, NAMED)
        )
    };
    format!(
        "{}give nodes the labels that spec.nodeSelectors of NodeAddressPool {pool} and the Service's label svccontroller.k3s.cattle.io/lbpool ask for{k3s}",
        odd.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::snapshot;

    fn helps(label: Option<(&str, &str)>, nodes: usize) -> String {
        let mut snapshot = snapshot(&[], &[], &[]);
        for node in snapshot.nodes.iter_mut().take(nodes) {
            node.metadata.labels = label.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        }
        let said =
            format!("NodeAddressPool nodes: no node is selected, or all have the label {EXCLUDE_LABEL}");
        of_refused_nodes(&said, &Waiting::default(), &snapshot).unwrap()
    }

    #[test]
    fn without_an_address_pool_it_depends_on_what_a_service_asks_for() {
        assert!(of_no_pools(&AddressRequest::Anything).contains("spec.autoAssign: true"));
        assert!(of_no_pools(&AddressRequest::From("node".into())).contains("NodeAddressPool node: correct"));
        let exactly = AddressRequest::Exactly { ips: vec![], pool: None };
        assert!(of_no_pools(&exactly).contains("none on request"));
    }

    #[test]
    fn why_no_node_serves_is_told_by_their_labels() {
        assert!(
            helps(None, 0)
                .starts_with("give nodes the labels that spec.nodeSelectors of NodeAddressPool nodes")
        );
        let excluded = helps(Some((EXCLUDE_LABEL, "")), 3);
        assert!(excluded.ends_with(&format!("kubectl label node n1 {EXCLUDE_LABEL}-")), "{excluded}");
        assert!(helps(Some((EXCLUDE_LABEL, "")), 1).starts_with("give nodes"), "others are not excluded");
        let misspelt = helps(Some((ENABLE_LB, "yes")), 1);
        assert!(
            misspelt
                .starts_with("node n1 has svccontroller.k3s.cattle.io/enablelb=yes, and only true counts")
        );
    }
}

//! Annotations that users write and FerroLB reads, and the annotation and labels that it writes.
//!
//! Upstream documents them for MetalLB. What users write has an older spelling that still works; where both
//! are there, the new one counts, even when it is empty.

use std::collections::BTreeMap;

/// Asks for addresses: a comma-separated list, at most one of each family.
pub const LOAD_BALANCER_IPS: Annotation = Annotation::new("loadBalancerIPs");
/// Asks for a pool by name, also one with `autoAssign: false`.
pub const ADDRESS_POOL: Annotation = Annotation::new("address-pool");
/// Asks for what the `AddressReservation` of this name has, of the same namespace.
pub const ADDRESS_RESERVATION: &str = "ferrolb.io/address-reservation";
/// Services with the same value may share an address when their ports differ.
pub const ALLOW_SHARED_IP: Annotation = Annotation::new("allow-shared-ip");
/// Asks for a name on the LAN besides `NAME.NAMESPACE.local`: one label, with or without `.local`.
pub const MDNS_NAME: &str = "ferrolb.io/mdns-name";
/// Annotation of an `IPAddressPool`: how many of its addresses the Services of one namespace may hold. It is no field,
/// since the schema of that kind is MetalLB's.
pub const MAX_ADDRESSES_PER_NAMESPACE: &str = "ferrolb.io/max-addresses-per-namespace";
/// Annotation of a `BGPAdvertisement`: how often more than once the AS number of this end stands in the AS path. Like the next
/// one it is no field, since the schema of that kind is MetalLB's.
pub const AS_PATH_PREPEND: &str = "ferrolb.io/as-path-prepend";
/// Annotation of a `BGPAdvertisement`: what routers are told by the link bandwidth community, `endpoints` or `none`.
pub const LINK_BANDWIDTH: &str = "ferrolb.io/link-bandwidth";
/// Written by the controller: the pool that the addresses of a Service come from.
pub const ALLOCATED_FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";

/// Written by the controller on a Service that has lost an address through no wish of its own: the addresses to give
/// back when they are to be had again, after the uid of the Service.
pub const PREVIOUS_IPS: &str = "ferrolb.io/previous-ips";

/// Written by the controller on a Service whose addresses are those of nodes, which no speaker announces: `true`.
pub const NODE_ADDRESSES: &str = "ferrolb.io/node-addresses";

/// Condition of the `ConfigurationState` of a speaker: kube-proxy runs in IPVS mode on its node.
pub const KUBE_PROXY_IPVS: &str = "KubeProxyIPVS";

/// Condition of the `ConfigurationState` of a speaker, with which ports of its node programs listen on.
pub const LISTENING_PORTS: &str = "ListeningPorts";

/// Prefix of conditions of the `ConfigurationState` of a speaker, before the name of a `BGPPeer`: whether the BGP session of its
/// node with that router is established.
pub const BGP_SESSION: &str = "session.ferrolb.io/";

/// Reason of such a condition: the session is established, and the BFD session beside it is not up. Its message says why.
pub const WITHOUT_BFD: &str = "EstablishedWithoutBFD";
/// Another: there is no session, for want of what the `BGPPeer` refers to on this node, or because of what is wrong with it.
pub const NOT_IN_FORCE: &str = "NotInForce";
/// Another: the session is established, and the router is not told some routes.
pub const PARTLY_ANNOUNCED: &str = "PartlyAnnounced";

/// Condition of a `BGPPeer`: whether all nodes that connect to it have a BGP session with it.
pub const SESSIONS_ESTABLISHED: &str = "SessionsEstablished";

/// Condition of a `NodeAddressPool`: whether it is known which ports programs on its nodes listen on.
pub const LISTENERS_KNOWN: &str = "ListenersKnown";

/// Label of a `ServiceL2Status` or `ServiceBGPStatus`: the node that announces.
pub const ANNOUNCING_NODE: &str = "metallb.io/node";
/// Label of a `ServiceL2Status` or `ServiceBGPStatus`: the name of the Service.
pub const SERVICE_NAME: &str = "metallb.io/service-name";
/// Label of a `ServiceL2Status` or `ServiceBGPStatus`: the namespace of the Service.
pub const SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";
/// Label of a `ConfigurationState`: which program it speaks of, `controller` or `speaker`.
pub const COMPONENT_TYPE: &str = "metallb.io/component-type";
/// Label of the `ConfigurationState` of a speaker: its node.
pub const NODE_NAME: &str = "metallb.io/node-name";

const PREFIX: &str = "metallb.io/";
const DEPRECATED_PREFIX: &str = "metallb.universe.tf/";

/// An annotation with its present and its deprecated spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation(&'static str);

impl Annotation {
    const fn new(suffix: &'static str) -> Self {
        Self(suffix)
    }

    /// The spelling to use in messages.
    pub fn name(self) -> String {
        format!("{PREFIX}{}", self.0)
    }

    /// The value among an object's annotations.
    pub fn value(self, annotations: &BTreeMap<String, String>) -> Option<&str> {
        let with = |prefix| annotations.get(&format!("{prefix}{}", self.0)).map(String::as_str);
        with(PREFIX).or_else(|| with(DEPRECATED_PREFIX))
    }
}

/// The annotations of an object that use the deprecated prefix.
pub fn deprecated(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    annotations.keys().map(String::as_str).filter(|key| key.starts_with(DEPRECATED_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_spelling_wins_by_presence() {
        let both = BTreeMap::from([
            ("metallb.io/address-pool".to_owned(), String::new()),
            ("metallb.universe.tf/address-pool".to_owned(), "old".to_owned()),
        ]);
        let old = BTreeMap::from([("metallb.universe.tf/address-pool".to_owned(), "old".to_owned())]);
        assert_eq!(ADDRESS_POOL.value(&both), Some(""));
        assert_eq!(ADDRESS_POOL.value(&old), Some("old"));
        assert_eq!(ADDRESS_POOL.value(&BTreeMap::new()), None);
        assert_eq!(deprecated(&both).collect::<Vec<_>>(), ["metallb.universe.tf/address-pool"]);
    }
}

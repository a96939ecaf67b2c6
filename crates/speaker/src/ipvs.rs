//! kube-proxy in IPVS mode without strict ARP: it gives every node every Service's address, on an interface of its
//! own, and Linux answers ARP for any address of any interface unless it is told not to. Then all nodes answer
//! for what one of them announces.

use std::fs;

use k8s_openapi::api::core::v1::ObjectReference;
use kubekit::events::Notice;
use placement::NodeName;
use speaker_core::Links;
use tracing::warn;

/// Where kube-proxy puts the addresses.
const INTERFACE: &str = "kube-ipvs0";
/// Whether Linux answers only for addresses of the interface that is asked: 0 says no. kube-proxy sets 1 for
/// `strictARP`.
const ARP_IGNORE: &str = "/proc/sys/net/ipv4/conf/all/arp_ignore";

/// Whether this node answers for addresses that it does not announce.
#[derive(Debug, Default)]
pub(crate) struct Ipvs {
    told: bool,
}

/// How kube-proxy runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It gives the node the addresses of all Services.
    Ipvs,
    /// It does not.
    #[default]
    Other,
}

impl Mode {
    /// By the interfaces of the node.
    pub(crate) fn of(links: &Links) -> Self {
        let is_there = links.values().any(|link| link.name.as_str() == INTERFACE);
        if is_there { Self::Ipvs } else { Self::Other }
    }
}

/// For which addresses the kernel answers ARP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// For all that are on any interface.
    All,
    /// For those of the interface that is asked.
    Own,
}

impl Answers {
    /// What is set on this node. Where that cannot be read, there is nothing to warn of.
    pub(crate) fn of_the_kernel() -> Self {
        match fs::read_to_string(ARP_IGNORE) {
            Ok(text) if text.trim() == "0" => Self::All,
            Ok(_) | Err(_) => Self::Own,
        }
    }
}

impl Ipvs {
    /// The interfaces are these now; what to tell of the node, once until it is put right.
    pub(crate) fn look(
        &mut self,
        node: &NodeName,
        links: &Links,
        answers: impl FnOnce() -> Answers,
    ) -> Option<(ObjectReference, Notice)> {
        let wrong = Mode::of(links) == Mode::Ipvs && answers() == Answers::All;
        let told = std::mem::replace(&mut self.told, wrong);
        (wrong && !told).then(|| {
            warn!(interface = INTERFACE, "kube-proxy uses IPVS without strictARP: this node answers for all addresses");
            let message = "kube-proxy runs in IPVS mode without strictARP, so this node answers ARP for the addresses of \
                           all Services, also for those that other nodes announce: set ipvs.strictARP to true in \
                           kube-proxy's configuration and restart kube-proxy";
            (reference(node), Notice::warning("StrictARPNeeded", message))
        })
    }
}

/// A node, as kubelet refers to it in events: `kubectl describe node` looks for its name in place of the UID too.
pub(crate) fn reference(node: &NodeName) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(node.as_str().to_owned()),
        uid: Some(node.as_str().to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use speaker_core::{Lan, Link, Purpose, Unfit};

    use super::*;

    /// Interfaces that have names and nothing else.
    pub(crate) fn links(names: &[&str]) -> Links {
        let (arp, ndp) = (Err(Unfit::Down), Err(Unfit::Down));
        let link = |name: &&str| Link {
            name: (*name).into(),
            purpose: Purpose::Lan,
            mac: None,
            arp,
            ndp,
            lan: Lan::default(),
        };
        (1..).zip(names.iter().map(link)).collect()
    }

    fn told(ipvs: &mut Ipvs, names: &[&str], answers: Answers) -> bool {
        ipvs.look(&"n1".into(), &links(names), || answers).is_some()
    }

    #[test]
    fn it_is_told_once_until_it_is_put_right() {
        let mut ipvs = Ipvs::default();
        assert!(!told(&mut ipvs, &["eth0"], Answers::All), "no IPVS");
        assert!(!told(&mut ipvs, &["eth0", INTERFACE], Answers::Own), "strict");
        assert!(told(&mut ipvs, &["eth0", INTERFACE], Answers::All));
        assert!(!told(&mut ipvs, &["eth0", "eth1", INTERFACE], Answers::All), "that is known");
        assert!(!told(&mut ipvs, &["eth0", INTERFACE], Answers::Own));
        assert!(told(&mut ipvs, &["eth0", INTERFACE], Answers::All));
    }
}

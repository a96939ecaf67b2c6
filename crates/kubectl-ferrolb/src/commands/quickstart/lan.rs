//! Which LAN the nodes are on, and what is around it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use pools::Family;

use crate::ask::Told;
use crate::output::some;

/// So many nodes are named where many are meant.
const NAMED: usize = 3;

/// What the cluster was made with, as far as that says something of its LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Site {
    /// KIND: its nodes are containers on a network of Docker's, of which nobody but Docker gives out addresses.
    Kind,
    /// k3d, the same with K3s.
    K3d,
    /// Anything else.
    Elsewhere,
}

impl Site {
    /// By the nodes.
    pub(super) fn of(nodes: &[Node]) -> Self {
        let provider = |node: &Node| node.spec.as_ref()?.provider_id.clone();
        let all = |is: fn(&str, &str) -> bool| {
            let is = |node: &Node| is(&provider(node).unwrap_or_default(), &node.name_any());
            !nodes.is_empty() && nodes.iter().all(is)
        };
        if all(|provider, _| provider.starts_with("kind://")) {
            Self::Kind
        } else if all(|provider, name| provider.starts_with("k3s://k3d-") || name.starts_with("k3d-")) {
            Self::K3d
        } else {
            Self::Elsewhere
        }
    }

    /// What follows "so many nodes".
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Kind => " of KIND, containers on a network of Docker",
            Self::K3d => " of k3d, containers on a network of Docker",
            Self::Elsewhere => ", neither of KIND nor of k3d",
        }
    }

    /// Whether Docker alone gives out the addresses of the LAN, which it does from the lowest on.
    pub(super) fn is_dockers(self) -> bool {
        match self {
            Self::Kind | Self::K3d => true,
            Self::Elsewhere => false,
        }
    }
}

/// The LAN that all nodes are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lan {
    /// Its prefix.
    pub(super) prefix: IpNet,
    /// The nodes, each with the interface that is on it.
    pub(super) interfaces: BTreeMap<String, String>,
}

/// Why no LAN can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoLan {
    /// In one sentence.
    Unsafe(String),
    /// Somebody could not be asked.
    Unseen(String),
}

impl Lan {
    /// By the addresses that the cluster knows its nodes by, and the prefixes that their speakers see.
    pub(super) fn of(nodes: &[Node], speakers: &[Told], family: Family) -> Result<Self, NoLan> {
        let mut by_prefix: BTreeMap<IpNet, BTreeMap<String, String>> = BTreeMap::new();
        let (mut unseen, mut elsewhere) = (Vec::new(), Vec::new());
        for node in nodes {
            let name = node.name_any();
            let status = speakers.iter().filter_map(Told::speaker).find(|status| status.node == name);
            let Some(status) = status else {
                unseen.push(name);
                continue;
            };
            let addresses = internal_addresses(node).filter(|ip| Family::of(*ip) == family);
            let addresses: BTreeSet<IpAddr> = addresses.collect();
            let prefixes = status.interfaces.items.iter().flat_map(|interface| {
                let prefixes = interface.prefixes.iter().filter_map(|text| text.parse::<IpNet>().ok());
                prefixes.map(|prefix| (prefix.trunc(), &interface.name))
            });
            let on_lan = prefixes.filter(|(prefix, _)| addresses.iter().any(|ip| prefix.contains(ip)));
            // Of several, the one that says most.
            match on_lan.max_by_key(|(prefix, _)| prefix.prefix_len()) {
                Some((prefix, interface)) => {
                    by_prefix.entry(prefix).or_default().insert(name, interface.clone());
                }
                None => elsewhere.push(name),
            }
        }
        if !unseen.is_empty() {
            let nodes = some(&unseen, NAMED);
            return Err(NoLan::Unseen(format!("the speaker of {nodes} does not say what LAN it is on")));
        }
        if !elsewhere.is_empty() {
            let nodes = some(&elsewhere, NAMED);
            return Err(NoLan::Unsafe(format!(
                "no interface of {nodes} has a prefix that its {family} InternalIP is in"
            )));
        }
        let mut all = by_prefix.into_iter();
        match (all.next(), all.next()) {
            (None, _) => Err(NoLan::Unsafe("the cluster has no node".to_owned())),
            (Some((prefix, interfaces)), None) => Ok(Self { prefix, interfaces }),
            (Some((one, _)), Some((other, _))) => Err(NoLan::Unsafe(format!(
                "the nodes are on different LANs, {one} and {other}, and an address can be announced on one only"
            ))),
        }
    }
}

/// The addresses that the cluster knows a node by.
pub(super) fn internal_addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    let addresses = node.status.iter().filter_map(|status| status.addresses.as_ref()).flatten();
    let internal = addresses.filter(|address| address.type_ == "InternalIP");
    internal.filter_map(|address| address.address.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{edited, told};

    fn node(name: &str, provider: &str, ip: &str) -> Node {
        let node = json!({
            "metadata": {"name": name}, "spec": {"providerID": provider},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
        });
        serde_json::from_value(node).unwrap()
    }

    fn speakers(prefixes: &[(&str, &str)]) -> Vec<Told> {
        let with = |(node, prefix): &(&str, &str)| {
            edited(told(node, vec![]), |_, interfaces| interfaces[0].prefixes = vec![(*prefix).to_owned()])
        };
        prefixes.iter().map(with).collect()
    }

    #[test]
    fn dockers_clusters_are_known_by_their_nodes() {
        let of = |nodes: &[(&str, &str)]| {
            let nodes: Vec<_> =
                nodes.iter().map(|(name, provider)| node(name, provider, "10.0.0.1")).collect();
            Site::of(&nodes)
        };
        assert_eq!(of(&[("c", "kind://docker/kind/c"), ("w", "kind://docker/kind/w")]), Site::Kind);
        assert_eq!(of(&[("k3d-a-server-0", "k3s://k3d-a-server-0")]), Site::K3d);
        assert_eq!(of(&[("c", "kind://docker/kind/c"), ("w", "")]), Site::Elsewhere, "a node by hand");
        assert_eq!(of(&[("pi", "k3s://pi")]), Site::Elsewhere);
        assert_eq!(of(&[]), Site::Elsewhere);
    }

    #[test]
    fn the_lan_is_the_one_prefix_that_all_nodes_are_in() {
        let nodes = [node("n1", "", "172.18.0.2"), node("n2", "", "172.18.0.3")];
        let lan = |prefixes: &[(&str, &str)]| Lan::of(&nodes, &speakers(prefixes), Family::V4);
        let one = lan(&[("n1", "172.18.0.2/16"), ("n2", "172.18.0.3/16")]).unwrap();
        assert_eq!(one.prefix.to_string(), "172.18.0.0/16");
        assert_eq!(one.interfaces["n2"], "eth0");
        assert!(matches!(lan(&[("n1", "172.18.0.2/16")]), Err(NoLan::Unseen(why)) if why.contains("n2")));
        for (second, part) in [("172.18.0.3/24", "different LANs"), ("10.1.0.3/24", "no interface of n2")] {
            match lan(&[("n1", "172.18.0.2/16"), ("n2", second)]) {
                Err(NoLan::Unsafe(why)) => assert!(why.contains(part), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        let other_family =
            Lan::of(&nodes, &speakers(&[("n1", "fd00::2/64"), ("n2", "fd00::3/64")]), Family::V6);
        assert!(matches!(other_family, Err(NoLan::Unsafe(_))));
    }
}

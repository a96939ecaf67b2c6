//! Those who take part in the gossip of an installation, as the API server lists their Pods and nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use kube::{Api, Client, ResourceExt};
use objects::NodeName;

use crate::{Change, Source};
use slim::{Node, Pod};

/// The labels of the Pods.
const LABELS: &str = "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component in (speaker,controller)";
/// The label that tells speakers from controllers.
const COMPONENT: &str = "app.kubernetes.io/component";

/// The Pods of the speakers and controllers in `namespace`.
pub fn source(client: &Client, namespace: &str) -> Source<Pod> {
    Source::labelled(Api::namespaced(client.clone(), namespace), LABELS)
}

/// What the controller that listens to the gossip at `address` is called there: nodes cannot be called so.
pub fn controller_name(address: SocketAddr) -> NodeName {
    format!("controller@{address}").into()
}

/// Where the speakers are and listen, and from where they and the controllers may speak, kept up to date.
#[derive(Debug, Default)]
pub struct Speakers {
    pods: BTreeMap<String, Place>,
    nodes: BTreeMap<NodeName, BTreeSet<IpAddr>>,
}

/// Where a Pod is.
#[derive(Debug)]
struct Place {
    part: Part,
    node: NodeName,
    /// Where it can be reached.
    ip: IpAddr,
    /// Where it may speak from.
    ips: BTreeSet<IpAddr>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Speaker,
    Controller,
}

impl Speakers {
    /// Takes in a change of the Pods. One without a node or an address cannot be reached yet.
    pub fn update(&mut self, change: Change<Pod>) {
        match change {
            Change::Reset(pods) => self.pods = pods.iter().filter_map(read).collect(),
            Change::Apply(pod) => {
                self.pods.remove(&pod.name_any());
                self.pods.extend(read(&pod));
            }
            Change::Delete(pod) => _ = self.pods.remove(&pod.name_any()),
        }
    }

    /// `node` has these addresses, or is gone.
    pub fn update_node(&mut self, name: NodeName, node: Option<&Node>) {
        match node {
            Some(node) => _ = self.nodes.insert(name, node.status.ips().collect()),
            None => _ = self.nodes.remove(&name),
        }
    }

    /// The node of each speaker, and where it listens when that is on `port`.
    pub fn listening_on(&self, port: u16) -> BTreeMap<NodeName, SocketAddr> {
        let speakers = self.pods.values().filter(|place| place.part == Part::Speaker);
        speakers.map(|place| (place.node.clone(), SocketAddr::new(place.ip, port))).collect()
    }

    /// The addresses from which each may speak: speakers by the name of their node, from any of its addresses; controllers
    /// that listen on `port`.
    pub fn addresses(&self, port: u16) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
        let mut all = self.nodes.clone();
        for Place { part, node, ip, ips } in self.pods.values() {
            let name = match part {
                Part::Speaker => node.clone(),
                Part::Controller => controller_name(SocketAddr::new(*ip, port)),
            };
            let of_node = self.nodes.get(node).into_iter().flatten();
            all.entry(name).or_default().extend(ips.iter().chain(of_node));
        }
        all
    }
}

fn read(pod: &Pod) -> Option<(String, Place)> {
    let node = pod.spec.node_name.as_deref()?.into();
    let is_controller = pod.labels().get(COMPONENT).is_some_and(|component| component == "controller");
    let part = if is_controller { Part::Controller } else { Part::Speaker };
    Some((pod.name_any(), Place { part, node, ip: pod.ip()?, ips: pod.ips() }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, node: Option<&str>, ip: Option<&str>) -> Pod {
        let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": node}, "status": {"podIP": ip}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_speaker_can_be_reached_once_it_is_scheduled_and_has_an_address() {
        let mut speakers = Speakers::default();
        let mut after = |change| {
            speakers.update(change);
            let listening = speakers.listening_on(7946);
            listening.iter().map(|(node, address)| format!("{node} {address}")).collect::<Vec<_>>()
        };
        let (there, unscheduled) =
            (pod("a", Some("n1"), Some("192.0.2.7")), pod("b", None, Some("192.0.2.8")));
        assert_eq!(after(Change::Reset(vec![there.clone(), unscheduled])), ["n1 192.0.2.7:7946"]);
        assert!(after(Change::Apply(pod("a", Some("n1"), Some("soon")))).is_empty());
        assert_eq!(after(Change::Apply(there.clone())), ["n1 192.0.2.7:7946"]);
        assert!(after(Change::Delete(there)).is_empty());
    }

    #[test]
    fn everybody_may_speak_from_all_addresses_that_are_listed_for_it() {
        let object = |name: &str, component: &str, node: &str, ips: [&str; 2]| {
            let ip = |ip: &str| json!({ "ip": ip });
            let pod = json!({
                "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
                "spec": {"nodeName": node},
                "status": {"podIP": ips[0], "podIPs": ips.map(ip), "hostIP": "192.0.2.1", "hostIPs": [ip("192.0.2.1")]},
            });
            serde_json::from_value(pod).unwrap()
        };
        let mut speakers = Speakers::default();
        speakers.update(Change::Reset(vec![
            object("s", "speaker", "n1", ["192.0.2.1", "2001:db8::1"]),
            object("c", "controller", "n1", ["10.0.0.5", "fd00::5"]),
        ]));
        let node = json!({
            "metadata": {"name": "n2"},
            "status": {"addresses": [
                {"type": "Hostname", "address": "n2"}, {"type": "InternalIP", "address": "192.0.2.2"},
                {"type": "ExternalIP", "address": "::ffff:198.51.100.2"},
            ]},
        });
        let node: Node = serde_json::from_value(node).unwrap();
        speakers.update_node("n2".into(), Some(&node));
        let shown = |speakers: &Speakers| {
            let show = |(name, ips): (NodeName, BTreeSet<IpAddr>)| {
                format!("{name} {}", ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            };
            speakers.addresses(7946).into_iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(&speakers),
            [
                "controller@10.0.0.5:7946 10.0.0.5 192.0.2.1 fd00::5",
                "n1 192.0.2.1 2001:db8::1",
                "n2 192.0.2.2 198.51.100.2",
            ]
        );
        assert_eq!(speakers.listening_on(7946).len(), 1);
        // A speaker is on its node, and moves with it.
        speakers.update_node("n1".into(), Some(&node));
        assert_eq!(shown(&speakers)[1], "n1 192.0.2.1 192.0.2.2 198.51.100.2 2001:db8::1");
        speakers.update_node("n2".into(), None);
        assert_eq!(shown(&speakers).len(), 2);
    }

    #[test]
    fn a_speaker_in_the_network_of_its_node_is_where_the_node_is_by_now() {
        let place = |host_network: bool, host_ip: Option<&str>| {
            let mut pod = json!({
                "metadata": {"name": "a"}, "spec": {"nodeName": "n1", "hostNetwork": host_network},
                "status": {"podIP": "192.0.2.7"},
            });
            if let Some(host_ip) = host_ip {
                pod["status"]["hostIP"] = host_ip.into();
            }
            let mut speakers = Speakers::default();
            speakers.update(Change::Reset(vec![serde_json::from_value(pod).unwrap()]));
            speakers
                .listening_on(7946)
                .into_values()
                .map(|address| address.ip().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(place(true, Some("192.0.2.9")), ["192.0.2.9"]);
        assert_eq!(place(true, None), ["192.0.2.7"]);
        assert_eq!(place(false, Some("192.0.2.9")), ["192.0.2.7"]);
    }
}

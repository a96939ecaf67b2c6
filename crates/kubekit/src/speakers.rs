//! The speakers of an installation, as the API server lists their Pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use kube::{Api, Client, ResourceExt};
use objects::NodeName;

use crate::slim::Pod;
use crate::{Change, Source};

/// The labels of a speaker's Pod.
const LABELS: &str = "app.kubernetes.io/name=ferrolb,app.kubernetes.io/component=speaker";

/// The Pods of the speakers in `namespace`.
pub fn source(client: &Client, namespace: &str) -> Source<Pod> {
    Source::labelled(Api::namespaced(client.clone(), namespace), LABELS)
}

/// Where the speakers are and listen, kept up to date.
#[derive(Debug, Default)]
pub struct Speakers(BTreeMap<String, (NodeName, IpAddr)>);

impl Speakers {
    /// Takes in a change of their Pods. One without a node or an address cannot be reached yet.
    pub fn update(&mut self, change: Change<Pod>) {
        match change {
            Change::Reset(pods) => self.0 = pods.iter().filter_map(read).collect(),
            Change::Apply(pod) => {
                self.0.remove(&pod.name_any());
                self.0.extend(read(&pod));
            }
            Change::Delete(pod) => _ = self.0.remove(&pod.name_any()),
        }
    }

    /// The node of each, and where it listens when that is on `port`.
    pub fn listening_on(&self, port: u16) -> BTreeMap<NodeName, SocketAddr> {
        self.0.values().map(|(node, ip)| (node.clone(), SocketAddr::new(*ip, port))).collect()
    }
}

fn read(pod: &Pod) -> Option<(String, (NodeName, IpAddr))> {
    let node = pod.spec.node_name.as_deref()?;
    Some((pod.name_any(), (node.into(), pod.ip()?)))
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

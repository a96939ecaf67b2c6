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
    Some((pod.name_any(), (node.into(), pod.status.pod_ip.as_deref()?.parse().ok()?)))
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
}

//! Which DHCP servers the LAN of the nodes has, as a speaker hears that asks there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use introspection::DhcpOffer;
use pools::Range;

use super::lan::Lan;
use crate::ask::{Silence, Told};
use crate::cluster::Cluster;
use crate::programs::Part;

/// What is known of DHCP servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dhcp {
    /// They answered, with what they offer.
    Servers(Vec<DhcpOffer>),
    /// Nobody answered.
    Nobody,
    /// Nobody could be asked, and why.
    Unknown(String),
}

impl Dhcp {
    /// Asks from one node after the other, until one could.
    pub(super) async fn of(cluster: &Cluster, lan: &Lan) -> Self {
        let mut last = "there is no speaker to ask".to_owned();
        for speaker in cluster.of_part(Part::Speaker) {
            for told in cluster.dhcp_servers(speaker).await {
                match heard(&told, &lan.interfaces) {
                    Ok(found) => return found,
                    Err(why) => last = why,
                }
            }
        }
        Self::Unknown(last)
    }

    /// As evidence.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Servers(offers) => {
                let each = offers.iter().map(|it| format!("the server {} offers {}", it.server, it.address));
                each.collect::<Vec<_>>().join(", ")
            }
            Self::Nobody => "no server answered".to_owned(),
            Self::Unknown(why) => format!("not known: {why}"),
        }
    }

    /// What of a range a server would give out itself.
    pub(super) fn within(&self, range: Range) -> Option<&DhcpOffer> {
        match self {
            Self::Servers(offers) => offers.iter().find(|offer| range.contains(IpAddr::V4(offer.address))),
            Self::Nobody | Self::Unknown(_) => None,
        }
    }
}

/// What a speaker heard on the interface of its node that is on the LAN, or why it heard nothing.
fn heard(told: &Told, interfaces: &BTreeMap<String, String>) -> Result<Dhcp, String> {
    let Some(servers) = told.dhcp_servers() else {
        return Err(told.document.as_ref().err().map_or_else(String::new, Silence::to_string));
    };
    let node = &servers.node;
    let interface = interfaces.get(node).ok_or_else(|| format!("node {node} is on another LAN"))?;
    let place = servers.places.iter().find(|place| place.interface == *interface && place.asked);
    let place = place.ok_or_else(|| format!("the speaker of {node} could not ask on {interface}"))?;
    Ok(match place.offers.as_slice() {
        [] => Dhcp::Nobody,
        offers => Dhcp::Servers(offers.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use introspection::{DhcpPlace, DhcpServers, Document, Status};

    use super::*;
    use crate::fixtures::speaker_on;

    fn offer(last: u8) -> DhcpOffer {
        let [server, address] = [1, last].map(|last| [192, 0, 2, last].into());
        DhcpOffer { server, address, prefix_length: None, router: None, lease_seconds: None }
    }

    fn told(interface: &str, asked: bool, offers: Vec<DhcpOffer>) -> Told {
        let places = vec![DhcpPlace { interface: interface.to_owned(), asked, offers }];
        let servers = DhcpServers { node: "n1".to_owned(), places };
        Told { program: speaker_on("n1"), document: Ok(Document::new(vec![], Status::DhcpServers(servers))) }
    }

    #[test]
    fn only_the_interface_on_the_lan_counts() {
        let lan = BTreeMap::from([("n1".to_owned(), "eth0".to_owned())]);
        assert_eq!(heard(&told("eth0", true, vec![]), &lan), Ok(Dhcp::Nobody));
        let found = heard(&told("eth0", true, vec![offer(57)]), &lan).unwrap();
        assert_eq!(found.words(), "the server 192.0.2.1 offers 192.0.2.57");
        assert!(heard(&told("eth1", true, vec![]), &lan).is_err());
        assert!(heard(&told("eth0", false, vec![]), &lan).is_err());
        assert!(heard(&told("eth0", true, vec![]), &BTreeMap::new()).is_err());
        let older = Told {
            document: Err("say which address: ?ip=ADDRESS".to_owned().into()),
            ..told("", true, vec![])
        };
        assert_eq!(heard(&older, &lan), Err("say which address: ?ip=ADDRESS".to_owned()));
    }

    #[test]
    fn what_is_offered_of_a_range_is_found() {
        let servers = Dhcp::Servers(vec![offer(57), offer(99)]);
        let within = |range: &str| servers.within(range.parse().unwrap()).map(|it| it.address.octets()[3]);
        assert_eq!(within("192.0.2.90-192.0.2.110"), Some(99));
        assert_eq!(within("192.0.2.200-192.0.2.210"), None);
        assert_eq!(within("2001:db8::/120"), None);
    }
}

//! Which DHCP servers the LAN of the nodes has, as a speaker hears that asks there.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use introspection::DhcpOffer;
use pools::Range;

use super::choice::Taken;
use super::lan::Lan;
use crate::ask::{Silence, Told};
use crate::cluster::Cluster;
use crate::programs::Part;
use crate::survey::list;

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
        ask(cluster, lan, None).await
    }

    /// Whether the servers give out addresses of this range: they are asked for a few of them, one after the other, since some
    /// do nothing else while they look whether an address is free. Nothing where there is no server to ask.
    pub(super) async fn sample(&self, cluster: &Cluster, lan: &Lan, range: Range) -> Option<Sample> {
        let Self::Servers(_) = self else { return None };
        let mut refused = Vec::new();
        for ip in samples(range) {
            match ask(cluster, lan, Some(ip)).await {
                Self::Unknown(why) => return Some(Sample::Unknown(why)),
                Self::Nobody => refused.push(ip),
                Self::Servers(offers) => match offers.into_iter().find(|offer| offer.address == ip) {
                    Some(offer) => return Some(Sample::GivenOut(offer)),
                    None => refused.push(ip),
                },
            }
        }
        Some(Sample::Refused(refused))
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

    /// Addresses that servers tell of which are not theirs to give, and whose they are.
    pub(super) fn taken(&self) -> Taken {
        let offers = match self {
            Self::Servers(offers) => offers.as_slice(),
            Self::Nobody | Self::Unknown(_) => &[],
        };
        let of_offer = |offer: &DhcpOffer| {
            let server = (offer.server, "that of a DHCP server".to_owned());
            let router =
                offer.router.map(|ip| (ip, format!("that of the router that {} tells of", offer.server)));
            [Some(server), router]
        };
        let known = offers.iter().flat_map(of_offer).flatten();
        known.filter_map(|(ip, whose)| Some((Range::new(ip.into(), ip.into()).ok()?, whose))).collect()
    }

    /// What of a range a server would give out itself.
    pub(super) fn within(&self, range: Range) -> Option<&DhcpOffer> {
        match self {
            Self::Servers(offers) => offers.iter().find(|offer| range.contains(IpAddr::V4(offer.address))),
            Self::Nobody | Self::Unknown(_) => None,
        }
    }
}

/// What servers offered who were asked for some addresses of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sample {
    /// One of them, so that the range is not free of what they give out.
    GivenOut(DhcpOffer),
    /// None of these.
    Refused(Vec<Ipv4Addr>),
    /// They could not be asked, and why: a speaker of an earlier version cannot.
    Unknown(String),
}

impl Sample {
    /// As evidence.
    pub(super) fn words(&self) -> String {
        match self {
            Self::GivenOut(offer) => {
                format!("asked for {}, the server {} offers it", offer.address, offer.server)
            }
            Self::Refused(ips) => format!("asked for {}, no server offers it", list(ips)),
            Self::Unknown(why) => format!("they could not be asked for addresses of the range: {why}"),
        }
    }
}

/// Both ends of a range and its middle. What a server gives out is mostly one range too: the two are apart, then, or one lies
/// in half of the other.
fn samples(range: Range) -> Vec<Ipv4Addr> {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else { return vec![] };
    let (first, last) = (u32::from(first), u32::from(last));
    let mut samples = vec![first, first + (last - first) / 2, last];
    samples.dedup();
    samples.into_iter().map(Ipv4Addr::from).collect()
}

/// Asks from one node after the other, until one could.
async fn ask(cluster: &Cluster, lan: &Lan, wanted: Option<Ipv4Addr>) -> Dhcp {
    let mut last = "there is no speaker to ask".to_owned();
    for speaker in cluster.of_part(Part::Speaker) {
        for told in cluster.dhcp_servers(speaker, wanted).await {
            match heard(&told, &lan.interfaces) {
                Ok(found) => return found,
                Err(why) => last = why,
            }
        }
    }
    Dhcp::Unknown(last)
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

    #[test]
    fn servers_are_asked_for_both_ends_of_a_range_and_its_middle() {
        let of =
            |range: &str| samples(range.parse().unwrap()).iter().map(|ip| ip.octets()[3]).collect::<Vec<_>>();
        assert_eq!(of("192.0.2.100-192.0.2.110"), [100, 105, 110]);
        assert_eq!(of("192.0.2.100-192.0.2.101"), [100, 101]);
        assert_eq!(of("192.0.2.100/32"), [100]);
        assert_eq!(of("2001:db8::/120"), [0; 0]);
        let words = Sample::Refused(vec![[192, 0, 2, 7].into(), [192, 0, 2, 9].into()]).words();
        assert_eq!(words, "asked for 192.0.2.7, 192.0.2.9, no server offers it");
    }

    #[test]
    fn the_server_itself_and_the_router_are_known_to_be_somebodys() {
        let offer = DhcpOffer { router: Some([192, 0, 2, 254].into()), ..offer(57) };
        let taken = Dhcp::Servers(vec![offer]).taken();
        let texts: Vec<String> =
            taken.iter().map(|(ip, whose)| format!("{} is {whose}", ip.first())).collect();
        assert_eq!(
            texts,
            [
                "192.0.2.1 is that of a DHCP server",
                "192.0.2.254 is that of the router that 192.0.2.1 tells of"
            ]
        );
        assert!(Dhcp::Nobody.taken().is_empty());
    }
}

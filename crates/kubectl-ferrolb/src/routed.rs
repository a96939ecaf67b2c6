//! What speakers say of an address that they announce to routers.

use std::net::IpAddr;

use introspection::{BgpRoute, SpeakerStatus};
use ipam::ServiceKey;
use ipnet::IpNet;

/// As a session is called that carries routes.
pub(crate) const ESTABLISHED: &str = "Established";

/// A node that announces an address to routers, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) node: String,
    /// The prefix that it is announced with.
    pub(crate) prefix: String,
    /// The routers that are told.
    pub(crate) told: Vec<String>,
    /// Those that are not, since there is no session with them.
    pub(crate) untold: Vec<String>,
}

/// The nodes that announce an address of a Service to routers, or would.
pub(crate) fn routed<'a>(
    speakers: impl IntoIterator<Item = &'a SpeakerStatus>,
    key: &ServiceKey,
    ip: IpAddr,
) -> Vec<Routed> {
    let service = key.to_string();
    let is_for = |route: &&BgpRoute| {
        route.services.contains(&service)
            && route.prefix.parse::<IpNet>().is_ok_and(|prefix| prefix.contains(&ip))
    };
    let mut all = Vec::new();
    for speaker in speakers {
        let up = |peer: &String| {
            let mut sessions = speaker.bgp.sessions.items.iter();
            sessions.any(|it| it.peer == *peer && it.state == ESTABLISHED)
        };
        for route in speaker.bgp.routes.items.iter().filter(is_for) {
            let (told, untold) = route.peers.iter().cloned().partition(up);
            all.push(Routed { node: speaker.node.clone(), prefix: route.prefix.clone(), told, untold });
        }
    }
    all
}

/// Why a node does not announce a Service to routers, in words.
pub(crate) fn why_not(reason: &str) -> &str {
    match reason {
        "notOwner" => "no BGPAdvertisement for its pool selects this node",
        "noMatchingAdvertisement" => "no BGPAdvertisement that selects this node selects the Service",
        "conflictingAdvertisements" => "BGPAdvertisements ask for different local preferences for it",
        "nodeNetworkUnavailable" => "the network of the node is not set up (condition NetworkUnavailable)",
        "nodeLabeledExcludeBalancers" => "the node carries the label that excludes it from load balancers",
        "noLocalEndpoints" => {
            "no endpoint of it serves on this node, which its externalTrafficPolicy Local asks for"
        }
        "noEndpoints" => "no endpoint of it serves",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use introspection::{Bgp, BgpSession, Capped};

    use super::*;

    #[test]
    fn routers_are_told_where_there_is_a_session() {
        let session = |peer: &str, state: &str| BgpSession {
            peer: peer.to_owned(),
            state: state.to_owned(),
            ..BgpSession::default()
        };
        let route = BgpRoute {
            prefix: "192.0.2.0/24".to_owned(),
            services: vec!["default/web".to_owned()],
            peers: vec!["a".to_owned(), "b".to_owned()],
            ..BgpRoute::default()
        };
        let bgp = Bgp {
            sessions: Capped { items: vec![session("a", "Established"), session("b", "Active")], more: 0 },
            routes: Capped { items: vec![route], more: 0 },
            ..Bgp::default()
        };
        let speaker = SpeakerStatus { node: "n1".to_owned(), bgp: Box::new(bgp), ..SpeakerStatus::default() };
        let of =
            |name: &str, ip: &str| routed([&speaker], &ServiceKey::new("default", name), ip.parse().unwrap());
        let [it] = &of("web", "192.0.2.7")[..] else { panic!("one node announces it") };
        assert_eq!((it.told.clone(), it.untold.clone()), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert!(of("web", "192.0.3.7").is_empty() && of("other", "192.0.2.7").is_empty());
    }
}

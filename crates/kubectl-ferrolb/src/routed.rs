//! What speakers say of an address that they announce to routers.

use std::net::IpAddr;

use introspection::{BgpRoute, BgpSession, SpeakerStatus};
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
    /// Those that are not, since there is no session with them, and why there is none.
    pub(crate) untold: Vec<Remark>,
    /// Those that are told while BFD is down, and why it is.
    pub(crate) without_bfd: Vec<Remark>,
}

/// What is wrong with a session with a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remark {
    pub(crate) peer: String,
    pub(crate) why: String,
}

/// Whether a session carries routes.
pub(crate) fn is_established(session: &BgpSession) -> bool {
    session.state == ESTABLISHED
}

/// What is wrong with a session, or with BFD beside it: in one sentence, and nothing where all is well.
pub(crate) fn trouble(session: &BgpSession) -> Option<String> {
    let of_bfd = session.bfd.as_ref().and_then(|bfd| bfd.trouble.clone());
    if is_established(session) {
        let all: Vec<String> = of_bfd.into_iter().chain(session.held_back.clone()).collect();
        return (!all.is_empty()).then(|| all.join("; "));
    }
    let reason = Some(session.reason.clone()).filter(|reason| !reason.is_empty());
    let all: Vec<String> = reason.into_iter().chain(of_bfd).collect();
    Some(if all.is_empty() { "no reason was told".to_owned() } else { all.join("; ") })
}

/// What helps a session that is not established, or that BFD is down beside.
pub(crate) fn remedy(session: &BgpSession) -> String {
    let BgpSession { peer, address, reason, .. } = session;
    if is_established(session) && !session.held_back.is_empty() {
        return format!(
            "give the interface of the session an address of the other family, let the router exchange it, or leave spec.dualStackAddressFamily of BGPPeer {peer} out"
        );
    }
    if is_established(session) {
        return "see whether the router has BFD for the nodes switched on, and lets UDP ports 3784 (4784 over several hops) through; without BFD, leave spec.bfdProfile out"
            .to_owned();
    }
    // It is not in force: what is wrong begins with a field.
    if reason.starts_with("spec") {
        return format!(
            "correct BGPPeer {peer}, or make what it refers to: kubectl get bgppeers {peer} -o yaml"
        );
    }
    if reason.contains("bad peer AS") {
        return format!(
            "compare spec.myASN and spec.peerASN (or dynamicASN) of BGPPeer {peer} with what the router is configured with"
        );
    }
    if reason.contains("hold timer expired") {
        return format!(
            "see whether the router {address} is up and reaches the node: one of the two heard nothing for the hold time"
        );
    }
    if reason.contains("no TCP connection") || reason.contains("connection is lost") {
        return format!(
            "see whether {address} can be reached from the node, and whether the router takes the node for a neighbor: its address, its AS number, the same password"
        );
    }
    format!("see what the router's log says, and compare its configuration with BGPPeer {peer}")
}

/// For how long something has been so, in the greatest unit that there is one of. What is told again and again does not
/// change every second.
pub(crate) fn lasting(seconds: u64) -> String {
    match seconds {
        0..60 => "under 1 min".to_owned(),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
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
        for route in speaker.bgp.routes.items.iter().filter(is_for) {
            let (node, prefix) = (speaker.node.clone(), route.prefix.clone());
            let mut it = Routed { node, prefix, told: vec![], untold: vec![], without_bfd: vec![] };
            for peer in &route.peers {
                let session = speaker.bgp.sessions.items.iter().find(|session| session.peer == *peer);
                let remark = |why| Remark { peer: peer.clone(), why };
                match session {
                    Some(session) if is_established(session) => {
                        it.told.push(peer.clone());
                        it.without_bfd.extend(trouble(session).map(remark));
                    }
                    Some(session) => it.untold.extend(trouble(session).map(remark)),
                    None => it.untold.push(remark("it has not begun".to_owned())),
                }
            }
            all.push(it);
        }
    }
    all
}

/// Why a node does not announce a Service to routers, in words.
pub(crate) fn why_not(reason: &str) -> &str {
    match reason {
        "notOwner" => "no BGPAdvertisement for its pool selects this node",
        "noMatchingAdvertisement" => "no BGPAdvertisement that selects this node selects the Service",
        "nodeNetworkUnavailable" => "the network of the node is not set up (condition NetworkUnavailable)",
        "nodeLabeledExcludeBalancers" => "the node carries the label that excludes it from load balancers",
        "noLocalEndpoints" => {
            "no endpoint of it serves on this node, which its externalTrafficPolicy Local asks for"
        }
        "noEndpoints" => "no endpoint of it serves",
        "kubeProxyNotReady" => {
            "kube-proxy of this node does not pass traffic to its endpoints there yet, as it says on the Service's healthCheckNodePort"
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use introspection::{BfdSession, Bgp, Capped};

    use super::*;

    #[test]
    fn routers_are_told_where_there_is_a_session() {
        let session = |peer: &str, state: &str| BgpSession {
            peer: peer.to_owned(),
            state: state.to_owned(),
            reason: "no TCP connection".to_owned(),
            bfd: Some(BfdSession { state: "Down".to_owned(), trouble: Some("BFD is down: x".to_owned()) }),
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
        let remark = |peer: &str, why: &str| Remark { peer: peer.to_owned(), why: why.to_owned() };
        assert_eq!(it.told, ["a"]);
        assert_eq!(it.untold, [remark("b", "no TCP connection; BFD is down: x")]);
        assert_eq!(it.without_bfd, [remark("a", "BFD is down: x")]);
        assert!(of("web", "192.0.3.7").is_empty() && of("other", "192.0.2.7").is_empty());
    }

    #[test]
    fn who_was_not_heard_for_the_hold_time_is_looked_for_before_its_configuration() {
        let session = |reason: &str| BgpSession { reason: reason.to_owned(), ..BgpSession::default() };
        let helps = remedy(&session("the peer is told: hold timer expired (4/0)"));
        assert!(helps.contains("is up and reaches the node"), "{helps}");
        assert!(remedy(&session("the peer says: cease (6/2)")).contains("router's log"));
    }

    #[test]
    fn a_time_is_told_in_one_unit() {
        let said = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 900_000].map(lasting);
        let expected = ["under 1 min", "under 1 min", "1 min", "59 min", "1 h", "23 h", "1 d", "10 d"];
        assert_eq!(said, expected);
    }
}

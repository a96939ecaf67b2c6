//! The sessions with routers, and what is the matter with them and the objects that ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{DynamicAsn, names};
use introspection::{BgpSession, SpeakerStatus};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use serde::Serialize;

use super::{NAMED, Problem};
use crate::ask::Told;
use crate::look::Look;
use crate::nearest::did_you_mean;
use crate::output::some;
use crate::routed::{is_established, lasting, remedy, trouble};
use crate::snapshot::{FOR_ROUTERS, ROUTER, Snapshot, missing_pools};

/// What there is of routers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Routers {
    pub(crate) sessions: usize,
    pub(crate) established: usize,
    /// How many prefixes some node tells some router of.
    pub(crate) prefixes: usize,
}

impl Routers {
    /// What the speakers say; nothing where nobody asks for BGP.
    pub(super) fn of(look: &Look) -> Option<Self> {
        let mut it = Self::default();
        let mut prefixes = BTreeSet::new();
        for speaker in look.speakers.iter().filter_map(Told::speaker) {
            let sessions = &speaker.bgp.sessions.items;
            it.sessions += sessions.len();
            it.established += sessions.iter().filter(|session| is_established(session)).count();
            let is_told = |peer: &String| sessions.iter().any(|it| it.peer == *peer && is_established(it));
            let routes = speaker.bgp.routes.items.iter().filter(|route| route.peers.iter().any(is_told));
            prefixes.extend(routes.map(|route| &route.prefix));
        }
        it.prefixes = prefixes.len();
        (it.sessions > 0 || !look.snapshot.bgp.is_empty()).then_some(it)
    }

    /// In one line.
    pub(crate) fn text(&self) -> String {
        let Self { sessions, established, prefixes } = self;
        let of = if *prefixes == 1 { "1 prefix".to_owned() } else { format!("{prefixes} prefixes") };
        format!("{established}/{sessions} sessions established, {of} announced")
    }
}

/// The nodes with which something about one router is the matter: what, and for how long at least.
type Alike<'a> = BTreeMap<(bool, String), Vec<(&'a str, &'a BgpSession)>>;

/// What is the matter with sessions: a router is told of once for all nodes of which the same is true.
pub(super) fn problems(look: &Look) -> Vec<Problem> {
    let mut by_router: BTreeMap<&str, (usize, Alike<'_>)> = BTreeMap::new();
    let mut hints: BTreeMap<&str, String> = BTreeMap::new();
    for speaker in look.speakers.iter().filter_map(Told::speaker) {
        for session in &speaker.bgp.sessions.items {
            let (all, alike) = by_router.entry(&session.peer).or_default();
            *all += 1;
            if let Some(hint) = hint(look, speaker, session) {
                hints.entry(&session.peer).or_insert(hint);
            }
            if let Some(why) = trouble(session) {
                let same = (is_established(session), why);
                alike.entry(same).or_default().push((&speaker.node, session));
            }
        }
    }
    let told: BTreeSet<String> = by_router.keys().map(|peer| (*peer).to_owned()).collect();
    let mut problems = Vec::new();
    for (peer, (all, alike)) in by_router {
        for ((established, why), sessions) in alike {
            let Some((_, first)) = sessions.first() else { continue };
            let nodes: Vec<&str> = sessions.iter().map(|(node, _)| *node).collect();
            let who = match (nodes.len() == all, nodes.len()) {
                (true, 2..) => "no node has".to_owned(),
                (_, 1) => format!("{} has no", nodes[0]),
                (_, _) => format!("{} have no", some(&nodes, NAMED)),
            };
            let since = sessions.iter().filter_map(|(_, session)| session.for_seconds).max();
            let since = since.filter(|_| !established).map(|it| format!(" for {}", lasting(it)));
            let what = match (established, who.ends_with("has")) {
                (true, true) => format!("{who} a BFD session with it"),
                (true, false) => format!("{who} BFD session with it"),
                (false, true) => format!("{who} a session with it ({})", first.address),
                (false, false) => format!("{who} session with it ({})", first.address),
            };
            problems.push(Problem {
                about: format!("{ROUTER} {peer}"),
                reason: format!("{what}{}: {why}", since.unwrap_or_default()),
                remedy: Some(hints.get(peer).cloned().unwrap_or_else(|| remedy(first))),
            });
        }
    }
    problems.extend(reported(look, &told));
    let not_in_force = not_in_force(look).into_iter();
    problems.extend(not_in_force.map(|(about, reason)| Problem { about, reason, remedy: None }));
    problems
}

/// What is wrong with the address of a router to which there is no connection, where the addresses of nodes tell.
fn hint(look: &Look, speaker: &SpeakerStatus, session: &BgpSession) -> Option<String> {
    if is_established(session) || !session.reason.contains("no TCP connection") {
        return None;
    }
    let peer = look.snapshot.bgp.peers.iter().find(|peer| peer.name_any() == session.peer)?;
    let spec = &peer.spec;
    let router: IpAddr = spec.peer_address.as_ref()?.trim().parse().ok()?;
    if let Some(node) = look.snapshot.nodes.iter().find(|node| node.status.ips().any(|ip| ip == router)) {
        let node = node.name_any();
        return Some(format!(
            "spec.peerAddress {router} of {ROUTER} {} is the address of node {node}, where nothing waits for sessions: write the router's",
            session.peer
        ));
    }
    let own = prefixes(speaker);
    let is_own = |ip: IpAddr| own.iter().any(|prefix| prefix.addr() == ip);
    let source = spec.source_address.as_ref().and_then(|ip| ip.trim().parse::<IpAddr>().ok());
    if let Some(source) = source.filter(|ip| !own.is_empty() && !is_own(*ip)) {
        return Some(format!(
            "spec.sourceAddress {source} of {ROUTER} {} is no address of node {}: leave it out, or write one that the node has (a BGPPeer with spec.nodeSelectors for each node)",
            session.peer, speaker.node
        ));
    }
    let is_external =
        spec.peer_asn.is_some_and(|asn| asn != spec.my_asn) || spec.dynamic_asn == Some(DynamicAsn::External);
    let is_beyond = !own.is_empty() && !own.iter().any(|prefix| prefix.contains(&router));
    (is_external && is_beyond && !spec.ebgp_multi_hop.unwrap_or(false)).then(|| {
        format!(
            "{router} is on no network of node {}, so a hop or more away: set spec.ebgpMultiHop of {ROUTER} {} to true (and allow as much on the router), or write the router's address on the node's network",
            speaker.node, session.peer
        )
    })
}

/// The addresses of a node, each with the length of its prefix.
fn prefixes(speaker: &SpeakerStatus) -> Vec<IpNet> {
    let interfaces = speaker.interfaces.items.iter();
    interfaces.flat_map(|interface| &interface.prefixes).filter_map(|prefix| prefix.parse().ok()).collect()
}

/// What the objects say of routers that no speaker which was asked has told of: as long as it cannot be asked, what it has
/// reported is known.
fn reported(look: &Look, told: &BTreeSet<String>) -> Vec<Problem> {
    let peers = look.snapshot.bgp.peers.iter().filter(|peer| !told.contains(&peer.name_any()));
    let down = peers.filter_map(|peer| {
        let conditions = &peer.status.conditions;
        let it =
            conditions.iter().find(|it| it.type_ == names::SESSIONS_ESTABLISHED && it.status == "False")?;
        Some(Problem {
            about: format!("{ROUTER} {}", peer.name_any()),
            reason: format!("there was no session on each node when that was last reported: {}", it.message),
            remedy: Some("kubectl ferrolb bgp says what keeps each session down".to_owned()),
        })
    });
    down.collect()
}

/// The objects that are not in force as they stand, and what is wrong: what the objects tell together, and what the controller
/// has been told by the speakers.
pub(super) fn not_in_force(look: &Look) -> Vec<(String, String)> {
    let bgp = &look.snapshot.bgp;
    let mut all: BTreeMap<String, String> = bgp.faults(&look.placement).into_iter().collect();
    let mut condition = |kind: &str, name: String, conditions: &[Condition]| {
        let refused = conditions.iter().find(|it| it.type_ == "Accepted" && it.status == "False");
        if let Some(it) = refused {
            all.entry(format!("{kind} {name}")).or_insert_with(|| it.message.clone());
        }
    };
    bgp.peers.iter().for_each(|it| condition(ROUTER, it.name_any(), &it.status.conditions));
    bgp.advertisements.iter().for_each(|it| condition(FOR_ROUTERS, it.name_any(), &it.status.conditions));
    all.into_iter().collect()
}

/// What the authors of the objects may not mean.
pub(crate) fn warnings(snapshot: &Snapshot) -> Vec<String> {
    let bgp = &snapshot.bgp;
    let mut warnings = Vec::new();
    let mut warn = |kind: &str, name: &str, all: Vec<String>| {
        warnings.extend(all.into_iter().map(|it| format!("{kind} {name}: {it}")));
    };
    let there: BTreeSet<String> = bgp.peers.iter().map(ResourceExt::name_any).collect();
    for peer in &bgp.peers {
        let mut all = peer.warnings();
        let selects = |node: &slim::Node| {
            let selected = peer.read().map(|peer| peer.selects_node(node.labels()));
            selected.unwrap_or(true)
        };
        if !snapshot.nodes.is_empty() && !snapshot.nodes.iter().any(selects) {
            all.push("its spec.nodeSelectors select no node".to_owned());
        }
        warn(ROUTER, &peer.name_any(), all);
    }
    for advertisement in &bgp.advertisements {
        let mut all = advertisement.warnings();
        let named = advertisement.spec.peers.iter().filter(|name| !there.contains(*name));
        all.extend(named.map(|name| {
            let near = did_you_mean(name, there.iter().cloned());
            format!("spec.peers names {name:?}, and there is no such {ROUTER}{near}")
        }));
        all.extend(missing_pools(&advertisement.spec.ip_address_pools, &snapshot.pools));
        warn(FOR_ROUTERS, &advertisement.name_any(), all);
    }
    bgp.communities.iter().for_each(|it| warn("Community", &it.name_any(), it.warnings()));
    warnings.extend(lacking(snapshot).map(|(_, why)| why));
    warnings
}

/// The kind that has no effect for want of the other one, and why.
pub(crate) fn lacking(snapshot: &Snapshot) -> Option<(&'static str, String)> {
    match (snapshot.bgp.peers.is_empty(), snapshot.bgp.advertisements.is_empty()) {
        (true, false) => {
            let why = format!("there is a {FOR_ROUTERS} and no {ROUTER}, so no router is told");
            Some((FOR_ROUTERS, why))
        }
        (false, true) => {
            let why = format!("there is a {ROUTER} and no {FOR_ROUTERS}, so routers are told of no Service");
            Some((ROUTER, why))
        }
        (true, true) | (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use introspection::{BfdSession, Document, Status};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{edited, snapshot, told};

    fn session(state: &str, reason: &str) -> BgpSession {
        BgpSession {
            peer: "r1".to_owned(),
            address: "192.0.2.254:179".to_owned(),
            state: state.to_owned(),
            reason: reason.to_owned(),
            for_seconds: Some(300),
            ..BgpSession::default()
        }
    }

    /// A look at three nodes, each with its session with a router.
    fn look(sessions: [BgpSession; 3]) -> Look {
        let speakers = ["n1", "n2", "n3"].into_iter().zip(sessions).map(|(node, session)| {
            let mut told = told(node, vec![]);
            if let Ok(Document { status: Status::SpeakerStatus(status), .. }) = &mut told.document {
                status.bgp.sessions.items.push(session);
            }
            told
        });
        let speakers: Vec<Told> = speakers.collect();
        let snapshot = snapshot(&[], &["n1"], &speakers);
        Look::new(vec![], speakers, snapshot, None, vec![])
    }

    fn said(look: &Look) -> Vec<String> {
        problems(look).into_iter().map(|it| format!("{}: {}", it.about, it.reason)).collect()
    }

    #[test]
    fn a_router_without_a_session_is_told_of_once_with_its_reason() {
        let lost = || session("Active", "no TCP connection");
        let up = || session("Established", "");
        assert!(said(&look([up(), up(), up()])).is_empty());
        let everywhere = look([lost(), lost(), session("Connect", "no TCP connection")]);
        let expected =
            "BGPPeer r1: no node has a session with it (192.0.2.254:179) for 5 min: no TCP connection";
        assert_eq!(said(&everywhere), [expected]);
        let text = Routers::of(&everywhere).unwrap().text();
        assert_eq!(text, "0/3 sessions established, 0 prefixes announced");
        let two = look([up(), lost(), lost()]);
        let expected =
            "BGPPeer r1: n2, n3 have no session with it (192.0.2.254:179) for 5 min: no TCP connection";
        assert_eq!(said(&two), [expected]);
        let wrong = look([up(), up(), session("Active", "the peer says: bad peer AS")]);
        let [problem] = &problems(&wrong)[..] else { panic!("one") };
        assert!(problem.reason.starts_with("n3 has no session with it"), "{}", problem.reason);
        assert!(problem.remedy.as_ref().unwrap().contains("spec.peerASN"));
        let bfd = Some(BfdSession { state: "Down".to_owned(), trouble: Some("BFD is down: x".to_owned()) });
        let without_bfd = look([up(), up(), BgpSession { bfd, ..up() }]);
        assert_eq!(said(&without_bfd), ["BGPPeer r1: n3 has no BFD session with it: BFD is down: x"]);
    }

    #[test]
    fn an_address_of_a_node_and_a_router_beyond_a_hop_are_told_for_what_they_are() {
        let remedy = |address: &str, more: serde_json::Value| {
            let down = || session("Active", "no TCP connection");
            let mut look = look([down(), down(), down()]);
            for told in &mut look.speakers {
                *told = edited(told.clone(), |_, interfaces| {
                    interfaces[0].prefixes = vec!["192.0.2.11/24".to_owned()];
                });
            }
            let status = json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.12"}]});
            look.snapshot.nodes[1].status = serde_json::from_value(status).unwrap();
            let mut spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": address});
            spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
            let peer = json!({"metadata": {"name": "r1"}, "spec": spec});
            look.snapshot.bgp.peers = vec![serde_json::from_value(peer).unwrap()];
            problems(&look).remove(0).remedy.unwrap()
        };
        assert!(remedy("192.0.2.12", json!({})).contains("is the address of node n2"));
        let beyond = remedy("198.51.100.1", json!({}));
        assert!(
            beyond.contains("on no network of node n1") && beyond.contains("spec.ebgpMultiHop"),
            "{beyond}"
        );
        assert!(
            remedy("198.51.100.1", json!({"ebgpMultiHop": true})).contains("can be reached from the node")
        );
        assert!(remedy("198.51.100.1", json!({"peerASN": 64512})).contains("can be reached from the node"));
        assert!(remedy("192.0.2.254", json!({})).contains("can be reached from the node"));
        let source = remedy("192.0.2.254", json!({"sourceAddress": "192.0.2.99"}));
        assert!(
            source.contains("spec.sourceAddress 192.0.2.99 of BGPPeer r1 is no address of node n1"),
            "{source}"
        );
    }

    #[test]
    fn what_was_reported_of_a_router_counts_where_no_speaker_can_be_asked() {
        let up = || session("Established", "");
        let mut look = look([up(), up(), up()]);
        let condition = json!({
            "type": "SessionsEstablished", "status": "False", "reason": "NotEstablished",
            "message": "2 of 3 nodes; n2: no TCP connection", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
        let object = json!({"metadata": {"name": "r1"}, "spec": spec, "status": {"conditions": [condition]}});
        look.snapshot.bgp.peers = vec![serde_json::from_value(object).unwrap()];
        assert!(said(&look).is_empty(), "the speakers know better");
        look.speakers.clear();
        assert!(said(&look)[0].ends_with("2 of 3 nodes; n2: no TCP connection"), "{:?}", said(&look));
    }

    #[test]
    fn objects_that_are_wrong_or_lack_others_are_told_of() {
        let up = || session("Established", "");
        let mut look = look([up(), up(), up()]);
        let object = |name: &str, spec: serde_json::Value| json!({"metadata": {"name": name}, "spec": spec});
        let spec = json!({"peers": ["r2"], "communities": ["nobody"], "ipAddressPools": ["lna"]});
        let advertisement = object("all", spec);
        look.snapshot.bgp.advertisements = vec![serde_json::from_value(advertisement).unwrap()];
        let [(about, why)] = &not_in_force(&look)[..] else { panic!("one") };
        assert!(about == "BGPAdvertisement all" && why.contains("spec.communities[0]"), "{about}: {why}");
        let told = warnings(&look.snapshot).join("\n");
        assert!(told.contains("spec.peers names \"r2\", and there is no such BGPPeer"), "{told}");
        assert!(told.contains("and no BGPPeer, so no router is told"), "{told}");
        assert!(told.contains("spec.ipAddressPools names \"lna\""), "{told}");
        let selector = json!([{"matchLabels": {"zone": "nowhere"}}]);
        let spec = json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254", "nodeSelectors": selector,
        });
        look.snapshot.bgp.peers = vec![serde_json::from_value(object("r1", spec)).unwrap()];
        let told = warnings(&look.snapshot).join("\n");
        assert!(told.contains("BGPPeer r1: its spec.nodeSelectors select no node"), "{told}");
        assert!(told.contains("did you mean r1?"), "{told}");
    }
}

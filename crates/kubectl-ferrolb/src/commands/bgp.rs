//! `kubectl ferrolb bgp`.

use std::collections::{BTreeMap, BTreeSet};

use introspection::{BgpRoute, BgpSession, SpeakerStatus};
use serde::Serialize;

use crate::answer::Answer;
use crate::ask;
use crate::cluster::Cluster;
use crate::options::BgpView;
use crate::output::{Page, Table, Tone, cell};
use crate::programs::Part;
use crate::routed::{is_established, lasting, trouble};
use crate::survey::list;

/// A session of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct SessionRow {
    node: String,
    #[serde(flatten)]
    session: BgpSession,
}

/// A route, and the nodes that announce it like this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct RouteRow {
    nodes: Vec<String>,
    #[serde(flatten)]
    route: BgpRoute,
}

/// What routers are told of a prefix.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    prefix: String,
    peers: Vec<String>,
    local_preference: u32,
    communities: Vec<String>,
    as_path_prepend: u8,
    endpoints: Option<u32>,
}

/// The sessions of all nodes with routers, or what is announced in them.
pub(crate) async fn run(cluster: &Cluster, view: BgpView) -> anyhow::Result<Answer> {
    let told = cluster.ask(Part::Speaker).await;
    let mut failures = ask::failures(&told);
    failures.extend(cluster.programs.as_ref().err().map(ToString::to_string));
    let speakers: Vec<&SpeakerStatus> = told.iter().filter_map(ask::Told::speaker).collect();
    let answer = match view {
        BgpView::Sessions => sessions(&speakers),
        BgpView::Routes => routes(&speakers),
    };
    Ok(answer.not_seen(failures))
}

fn sessions(speakers: &[&SpeakerStatus]) -> Answer {
    let mut rows = Vec::new();
    for status in speakers {
        rows.extend(
            status
                .bgp
                .sessions
                .items
                .iter()
                .map(|session| SessionRow { node: status.node.clone(), session: session.clone() }),
        );
    }
    let mut table =
        Table::new(["NODE", "PEER", "ADDRESS", "STATE", "FOR", "BFD", "PREFIXES", "+LOCAL", "NOTE"]);
    for SessionRow { node, session } in &rows {
        let tone = |is_good| if is_good { Tone::Good } else { Tone::Bad };
        let bfd = session
            .bfd
            .as_ref()
            .map_or_else(|| "-".into(), |bfd| cell(&bfd.state, tone(bfd.trouble.is_none())));
        table.row([
            node.clone().into(),
            session.peer.clone().into(),
            session.address.clone().into(),
            cell(&session.state, tone(is_established(session))),
            session.for_seconds.map_or_else(|| "-".to_owned(), lasting).into(),
            bfd,
            session.announced.to_string().into(),
            session.local.map_or_else(|| "-".to_owned(), |ip| ip.to_string()).into(),
            trouble(session).unwrap_or_default().into(),
        ]);
    }
    let none = "No node has a BGP session: there is no BGPPeer that is in force (kubectl get bgppeers -A).";
    let problem = rows.iter().any(|row| trouble(&row.session).is_some());
    Answer::list("BGPSessionList", &rows, Page::of(table, none)).problem_if(problem)
}

fn routes(speakers: &[&SpeakerStatus]) -> Answer {
    let mut merged: BTreeMap<Told, (Vec<String>, BTreeSet<String>)> = BTreeMap::new();
    for status in speakers {
        for route in &status.bgp.routes.items {
            let BgpRoute {
                prefix,
                services,
                peers,
                local_preference,
                communities,
                as_path_prepend,
                endpoints,
            } = route.clone();
            let told = Told { prefix, peers, local_preference, communities, as_path_prepend, endpoints };
            let (nodes, of_all) = merged.entry(told).or_default();
            nodes.push(status.node.clone());
            of_all.extend(services);
        }
    }
    let row = |(told, (nodes, services))| {
        let Told { prefix, peers, local_preference, communities, as_path_prepend, endpoints } = told;
        let services = BTreeSet::into_iter(services).collect();
        let route =
            BgpRoute { prefix, services, peers, local_preference, communities, as_path_prepend, endpoints };
        RouteRow { nodes, route }
    };
    let rows: Vec<RouteRow> = merged.into_iter().map(row).collect();
    let mut table = Table::new([
        "PREFIX",
        "SERVICES",
        "NODES",
        "PEERS",
        "COMMUNITIES",
        "+LOCALPREF",
        "+PREPEND",
        "+ENDPOINTS",
    ]);
    for RouteRow { nodes, route } in &rows {
        table.row([
            route.prefix.clone().into(),
            list(&route.services).into(),
            list(nodes).into(),
            list(&route.peers).into(),
            list(&route.communities).into(),
            route.local_preference.to_string().into(),
            route.as_path_prepend.to_string().into(),
            route.endpoints.map_or_else(|| "-".to_owned(), |count| count.to_string()).into(),
        ]);
    }
    let none = "Nothing is announced by BGP: that takes a BGPPeer, a BGPAdvertisement, and a Service with an address and an endpoint.";
    Answer::list("BGPRouteList", &rows, Page::of(table, none))
}

#[cfg(test)]
mod tests {
    use introspection::{BfdSession, Bgp, Capped};

    use super::*;
    use crate::answer::Exit;
    use crate::output::{Format, Style, text};

    fn speaker(node: &str, state: &str, communities: &[&str]) -> SpeakerStatus {
        let session = BgpSession {
            peer: "router".to_owned(),
            address: "192.0.2.1:179".to_owned(),
            state: state.to_owned(),
            reason: "no TCP connection".to_owned(),
            announced: 1,
            ..BgpSession::default()
        };
        let route = BgpRoute {
            prefix: "198.51.100.1/32".to_owned(),
            services: vec!["default/web".to_owned()],
            peers: vec!["router".to_owned()],
            local_preference: 100,
            communities: communities.iter().map(ToString::to_string).collect(),
            ..BgpRoute::default()
        };
        let bgp = Bgp {
            sessions: Capped { items: vec![session], more: 0 },
            routes: Capped { items: vec![route], more: 0 },
            ..Bgp::default()
        };
        SpeakerStatus { node: node.to_owned(), bgp: Box::new(bgp), ..SpeakerStatus::default() }
    }

    fn shown(answer: &Answer) -> String {
        text(answer, Format::Table, Style::default())
    }

    #[test]
    fn a_session_that_is_not_established_is_a_problem_with_a_reason() {
        let (up, down) = (speaker("n1", "Established", &[]), speaker("n2", "Active", &[]));
        let text = shown(&sessions(&[&up, &down]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("n1") && !lines[1].contains("no TCP connection"), "{text}");
        assert!(lines[2].contains("Active") && lines[2].ends_with("no TCP connection"), "{text}");
        assert!(shown(&sessions(&[])).contains("there is no BGPPeer that is in force"));
    }

    #[test]
    fn that_bfd_is_down_is_a_problem_while_the_session_is_established() {
        let mut speaker = speaker("n1", "Established", &[]);
        let shown_with = |speaker: &mut SpeakerStatus, state: &str, trouble: Option<&str>| {
            let session = &mut speaker.bgp.sessions.items[0];
            let trouble = trouble.map(str::to_owned);
            session.bfd = Some(BfdSession { state: state.to_owned(), trouble });
            session.for_seconds = Some(125);
            let answer = sessions(&[speaker]);
            (shown(&answer), answer.exit)
        };
        let (up, exit) = shown_with(&mut speaker, "Up", None);
        let line = up.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, "n1 router 192.0.2.1:179 Established 2 min Up 1");
        assert_eq!(exit, Exit::Fine);
        let (down, exit) =
            shown_with(&mut speaker, "Down", Some("BFD is down: no control packet came in time"));
        assert!(
            down.contains(" Down ") && down.trim_end().ends_with("no control packet came in time"),
            "{down}"
        );
        assert_eq!(exit, Exit::Problem);
    }

    #[test]
    fn nodes_that_announce_a_prefix_alike_are_in_one_line() {
        let all = [speaker("n1", "Established", &["1:1"]), speaker("n2", "Established", &["1:1"])];
        let other = speaker("n3", "Established", &["1:2"]);
        let text = shown(&routes(&[&all[0], &all[1], &other]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("n1, n2") && lines[1].contains("1:1"), "{text}");
        assert!(lines[2].contains("n3") && lines[2].contains("default/web"), "{text}");
    }
}

//! `kubectl ferrolb trace`: who answers for an address on the LAN, as each node hears it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use introspection::TracedPlace;
use kube::ResourceExt;
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::{self, Told};
use crate::cluster::Cluster;
use crate::look::Look;
use crate::output::{Page, Table, Tone, cell};
use crate::survey::{Health, list};

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Traced {
    ip: IpAddr,
    pool: Option<String>,
    services: Vec<String>,
    /// Whether nothing of the objects is hidden, so that there is no pool and no Service but these.
    #[serde(skip)]
    seen: bool,
    /// Who answers, each once.
    answerers: Vec<Answerer>,
    views: Vec<View>,
    pub(crate) finding: String,
    pub(crate) remedy: Option<String>,
    pub(crate) problem: bool,
}

/// A host that answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answerer {
    /// The node, if it is one's speaker or interface.
    node: Option<String>,
    mac: String,
}

/// What a node hears on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    node: String,
    interface: String,
    /// Whether its speaker could ask there.
    asked: bool,
    /// Whether its own speaker answers there.
    here: bool,
    answers: Vec<Answerer>,
}

/// Asks all speakers who answers for an address; what could not be asked is told, too.
pub(crate) async fn ask_all(cluster: &Cluster, ip: IpAddr) -> (Traced, Vec<String>) {
    let (look, told) = futures::join!(Look::at(cluster), cluster.trace(ip));
    let owners = owners(&look);
    let views: Vec<View> = told.iter().filter_map(Told::trace).flat_map(|it| views(it, &owners)).collect();
    let none = (told.is_empty() && cluster.programs.is_ok()).then(|| "there is no speaker to ask".to_owned());
    let unasked = ask::failures(&told);
    let traced = Traced::new(ip, &look, views);
    let failures = unasked.into_iter().chain(look.failures).chain(none).collect();
    (traced, failures)
}

/// Asks all speakers, and answers.
pub(crate) async fn run(cluster: &Cluster, ip: IpAddr) -> anyhow::Result<Answer> {
    let (traced, failures) = ask_all(cluster, ip).await;
    let mut page = Page::default();
    page.field("Address", traced.whose());
    let tone = if traced.problem { Tone::Bad } else { Tone::Good };
    page.field(
        if traced.problem { cell("PROBLEM", Tone::Bad) } else { "Answers".into() },
        cell(&traced.finding, tone),
    );
    traced.remedy.iter().for_each(|remedy| page.field("  to do", remedy));
    let mut table = Table::new(["ASKED FROM", "IF", "ANSWERS"]);
    for view in &traced.views {
        table.row([view.node.clone().into(), view.interface.clone().into(), view.text().into()]);
    }
    page.table(table, "No node could ask.");
    let problem = traced.problem;
    Ok(Answer::object("Trace", &traced, page).problem_if(problem).not_seen(failures))
}

/// The nodes by the Ethernet addresses of their interfaces, as their speakers and the peers of those say.
fn owners(look: &Look) -> BTreeMap<String, String> {
    let mut owners = BTreeMap::new();
    for speaker in look.speakers.iter().filter_map(Told::speaker) {
        for peer in &speaker.peers.items {
            owners.extend(peer.macs.iter().map(|mac| (mac.clone(), peer.node.clone())));
        }
    }
    for speaker in look.speakers.iter().filter_map(Told::speaker) {
        let macs = speaker.interfaces.items.iter().filter_map(|interface| interface.mac.clone());
        owners.extend(macs.map(|mac| (mac, speaker.node.clone())));
    }
    owners
}

fn views(trace: &introspection::Trace, owners: &BTreeMap<String, String>) -> Vec<View> {
    let answerer = |mac: &String| Answerer { node: owners.get(mac).cloned(), mac: mac.clone() };
    let view = |place: &TracedPlace| {
        let own = place.here.then(|| Answerer { node: Some(trace.node.clone()), mac: place.mac.clone() });
        View {
            node: trace.node.clone(),
            interface: place.interface.clone(),
            asked: place.asked,
            here: place.here,
            answers: own.into_iter().chain(place.answers.iter().map(answerer)).collect(),
        }
    };
    trace.places.iter().map(view).collect()
}

impl Answerer {
    fn text(&self) -> String {
        match &self.node {
            Some(node) => format!("{} (node {node})", self.mac),
            None => format!("{} (no node)", self.mac),
        }
    }

    /// For two interfaces of a node are one host.
    fn host(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.mac)
    }
}

impl View {
    fn text(&self) -> String {
        let each = |(index, answerer): (usize, &Answerer)| {
            if self.here && index == 0 { "its own speaker".to_owned() } else { answerer.text() }
        };
        match (self.asked, self.answers.is_empty()) {
            (false, _) => "could not ask here".to_owned(),
            (true, true) => "nobody".to_owned(),
            (true, false) => list(&self.answers.iter().enumerate().map(each).collect::<Vec<_>>()),
        }
    }
}

/// For whom an address is meant to be.
struct Meant<'a> {
    services: &'a [String],
    /// The node that is to announce it, or does.
    announcer: Option<String>,
    /// Whether it is announced, by what the speakers say.
    announced: bool,
    in_pool: bool,
    /// The node whose own address it is.
    of_node: Option<String>,
    /// Whether nothing of the objects is hidden.
    seen: bool,
}

impl Traced {
    fn new(ip: IpAddr, look: &Look, views: Vec<View>) -> Self {
        let pool = look.allocation.pools().iter().find(|pool| pool.ranges.iter().any(|it| it.contains(ip)));
        let holders = look.services.iter().filter(|it| it.addresses.iter().any(|address| address.ip == ip));
        let services: Vec<String> = holders.clone().map(crate::survey::Surveyed::title).collect();
        let shown = holders.flat_map(|it| &it.addresses).find(|address| address.ip == ip);
        let answerers: BTreeSet<Answerer> = views.iter().flat_map(|view| view.answers.clone()).collect();
        let of_node = |node: &&slim::Node| node.status.ips().any(|its| its == ip);
        let seen = look.failures.is_empty();
        let meant = Meant {
            services: &services,
            seen,
            announcer: shown.and_then(|address| address.node.clone()),
            announced: shown.is_some_and(|address| address.health == Health::Announced),
            in_pool: pool.is_some(),
            of_node: look.snapshot.nodes.iter().find(of_node).map(ResourceExt::name_any),
        };
        let (finding, remedy, problem) = judge(&meant, &answerers, &views);
        let pool = pool.map(|pool| pool.name.to_string());
        let answerers = answerers.into_iter().collect();
        Self { ip, pool, services, seen, answerers, views, finding, remedy, problem }
    }

    fn whose(&self) -> String {
        let none = if self.seen { "in no pool" } else { "no pool of it is known" };
        let pool = self.pool.as_ref().map_or(none.to_owned(), |pool| format!("of pool {pool}"));
        match self.services.as_slice() {
            [] if !self.seen => format!("{}, {pool}; whether a Service has it cannot be seen", self.ip),
            [] => format!("{}, {pool}, no Service has it", self.ip),
            services => format!("{}, {pool}, Service {}", self.ip, list(services)),
        }
    }
}

/// What the answers mean, what to do, and whether that is a problem.
fn judge(
    meant: &Meant<'_>,
    answerers: &BTreeSet<Answerer>,
    views: &[View],
) -> (String, Option<String>, bool) {
    const GOSSIP: &str = "open UDP port 7946 between all nodes, in both directions, and give all speakers the same key (kubectl ferrolb peers)";
    const STRANGER: &str = "find that host by its Ethernet address (a switch's table tells its port) and give it another address, or take the address out of the pool";
    let hosts: BTreeMap<&str, &Answerer> = answerers.iter().map(|it| (it.host(), it)).collect();
    let heard_nowhere = || {
        let deaf = |view: &&View| view.asked && view.answers.is_empty();
        let deaf: BTreeSet<&str> = views.iter().filter(deaf).map(|view| view.node.as_str()).collect();
        let hears: BTreeSet<&str> =
            views.iter().filter(|view| !view.answers.is_empty()).map(|view| view.node.as_str()).collect();
        deaf.difference(&hears).map(ToString::to_string).collect::<Vec<_>>()
    };
    let names: Vec<String> = hosts.values().map(|it| it.text()).collect();
    let foreign = hosts.values().any(|it| it.node.is_none());
    if !views.iter().any(|view| view.asked) {
        return ("nobody could be asked".to_owned(), None, false);
    }
    match hosts.len() {
        0 if !meant.seen && meant.services.is_empty() => ("nobody answers".to_owned(), None, false),
        0 if meant.services.is_empty() => ("nobody answers: the address is free".to_owned(), None, false),
        0 => {
            let why = "nobody answers".to_owned();
            let service = &meant.services[0];
            let remedy = match (&meant.announcer, meant.announced) {
                (Some(node), true) => {
                    format!("see what the speaker of {node} does: kubectl ferrolb explain {service}")
                }
                (_, _) => format!("kubectl ferrolb explain {service} says why nobody announces it"),
            };
            (why, Some(remedy), true)
        }
        1 => {
            let (it, deaf) = (hosts.values().next().expect("there is one"), heard_nowhere());
            match (&it.node, &meant.announcer) {
                (None, _) if meant.in_pool || !meant.services.is_empty() => (
                    format!("one host, which is none of the nodes: {}", it.mac),
                    Some(STRANGER.to_owned()),
                    true,
                ),
                (None, _) => (format!("one host, which is none of the nodes: {}", it.mac), None, false),
                (Some(node), _) if meant.of_node.as_ref() == Some(node) => {
                    (format!("node {node}, whose own address it is"), None, false)
                }
                (Some(node), announcer) if announcer.as_ref().is_some_and(|it| it != node) => {
                    let announcer = announcer.clone().unwrap_or_default();
                    let said = format!("node {node} ({}), and node {announcer} is to announce it", it.mac);
                    (said, Some(GOSSIP.to_owned()), true)
                }
                (Some(node), None) if !meant.seen => {
                    (format!("one host: node {node} ({})", it.mac), None, false)
                }
                (Some(node), None) => {
                    let said = format!(
                        "node {node} ({}), which should not: no Service has the address there",
                        it.mac
                    );
                    let remedy =
                        format!("see what on {node} has the address: ip address; kubectl ferrolb nodes");
                    (said, Some(remedy), true)
                }
                (Some(node), Some(_)) if !deaf.is_empty() => {
                    let said = format!("node {node} ({}), but {} hear nothing of it", it.mac, list(&deaf));
                    let remedy = format!(
                        "see what is between {node} and {}: switch ports, VLANs, filters for Ethernet addresses",
                        list(&deaf)
                    );
                    (said, Some(remedy), true)
                }
                (Some(node), Some(_)) => {
                    (format!("one host: node {node} ({}), which announces it", it.mac), None, false)
                }
            }
        }
        many => {
            let remedy = if foreign { STRANGER } else { GOSSIP };
            (format!("{many} hosts answer: {}", list(&names)), Some(remedy.to_owned()), true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answerer(node: &str, mac: &str) -> Answerer {
        Answerer { node: (!node.is_empty()).then(|| node.to_owned()), mac: mac.to_owned() }
    }

    fn view(node: &str, here: bool, answers: &[Answerer]) -> View {
        let (node, interface) = (node.to_owned(), "eth0".to_owned());
        View { node, interface, asked: true, here, answers: answers.to_vec() }
    }

    /// The finding, where `prod/web` has the address and n2 announces it.
    fn found(views: &[View]) -> (String, Option<String>, bool) {
        let services = ["prod/web".to_owned()];
        let meant = Meant {
            services: &services,
            announcer: Some("n2".to_owned()),
            announced: true,
            in_pool: true,
            of_node: None,
            seen: true,
        };
        judge(&meant, &views.iter().flat_map(|view| view.answers.clone()).collect(), views)
    }

    #[test]
    fn the_announcer_is_named_by_its_node_and_all_is_well_when_all_hear_it_alone() {
        let n2 = answerer("n2", "02:02");
        let (said, remedy, problem) = found(&[
            view("n1", false, std::slice::from_ref(&n2)),
            view("n2", true, std::slice::from_ref(&n2)),
            view("n3", false, &[n2]),
        ]);
        assert_eq!(said, "one host: node n2 (02:02), which announces it");
        assert_eq!((remedy, problem), (None, false));
    }

    #[test]
    fn each_other_finding_is_a_problem_with_something_to_do() {
        let (n1, n2, stranger) = (answerer("n1", "01:01"), answerer("n2", "02:02"), answerer("", "0a:0a"));
        for (views, part, to_do) in [
            (vec![view("n1", false, &[])], "nobody answers", "explain prod/web"),
            (
                vec![view("n1", false, std::slice::from_ref(&stranger))],
                "none of the nodes: 0a:0a",
                "Ethernet address",
            ),
            (
                vec![view("n1", false, &[n2.clone(), stranger.clone()])],
                "2 hosts answer: 0a:0a (no node), 02:02 (node n2)",
                "take the address out of the pool",
            ),
            (vec![view("n2", true, &[n2.clone(), n1.clone()])], "2 hosts answer", "UDP port 7946"),
            (vec![view("n3", false, &[n1])], "node n2 is to announce it", "UDP port 7946"),
            (vec![view("n2", true, &[n2]), view("n3", false, &[])], "but n3 hear nothing", "switch ports"),
        ] {
            let (said, remedy, problem) = found(&views);
            assert!(said.contains(part), "{said}");
            assert!(remedy.as_ref().is_some_and(|it| it.contains(to_do)), "{said}: {remedy:?}");
            assert!(problem);
        }
    }

    #[test]
    fn of_an_address_whose_service_may_be_hidden_no_more_is_said_than_who_answers() {
        let meant = || Meant {
            services: &[],
            announcer: None,
            announced: false,
            in_pool: false,
            of_node: None,
            seen: false,
        };
        let judged = |answers: &[Answerer]| {
            judge(&meant(), &answers.iter().cloned().collect(), &[view("n1", false, answers)])
        };
        assert_eq!(judged(&[]), ("nobody answers".to_owned(), None, false));
        let said = judged(&[answerer("n2", "02:02")]);
        assert_eq!(said, ("one host: node n2 (02:02)".to_owned(), None, false));
        let ip = "198.51.100.1".parse().unwrap();
        let hidden = crate::fixtures::snapshot(&[], &[], &[]);
        let look = |failures| Look::new(vec![], vec![], hidden.clone(), None, failures);
        let whose = |failures| Traced::new(ip, &look(failures), vec![]).whose();
        assert_eq!(
            whose(vec!["missing right".to_owned()]),
            "198.51.100.1, no pool of it is known; whether a Service has it cannot be seen"
        );
        assert!(whose(vec![]).ends_with("no Service has it"));
    }

    #[test]
    fn two_interfaces_of_a_node_are_one_host() {
        let (first, second) = (answerer("n2", "02:02"), answerer("n2", "02:03"));
        assert!(!found(&[view("n1", false, &[first, second])]).2);
    }

    #[test]
    fn an_address_that_no_service_has_is_free_or_in_use_by_whom() {
        let meant = |of_node: Option<&str>, in_pool| Meant {
            services: &[],
            announcer: None,
            announced: false,
            in_pool,
            of_node: of_node.map(str::to_owned),
            seen: true,
        };
        let judged = |meant: &Meant<'_>, answers: &[Answerer]| {
            judge(meant, &answers.iter().cloned().collect(), &[view("n1", false, answers)])
        };
        let (said, remedy, problem) = judged(&meant(None, true), &[]);
        assert!(said.contains("free") && remedy.is_none() && !problem, "{said}");
        let router = answerer("", "0a:0a");
        assert!(judged(&meant(None, true), std::slice::from_ref(&router)).2, "it is about to be given out");
        assert!(!judged(&meant(None, false), &[router]).2, "the LAN has other hosts too");
        let (said, _, problem) = judged(&meant(Some("n1"), true), &[answerer("n1", "01:01")]);
        assert!(said.contains("own address") && !problem, "{said}");
        assert!(judged(&meant(None, true), &[answerer("n1", "01:01")]).2, "who has it there?");
    }
}

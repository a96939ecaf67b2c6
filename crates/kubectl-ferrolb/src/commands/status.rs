//! `kubectl ferrolb status`.

mod leader;
mod starting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{IPAddressPool, L2Advertisement};
use introspection::PeerState;
use kube::ResourceExt;
use serde::Serialize;

use self::leader::{Leader, leader};
use super::nodes::{NO_SPEAKER, has_no_interface, is_down, unheard};
use super::pools::{self, PoolRow};
use crate::answer::{Answer, Exit};
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::look::Look;
use crate::nearest::did_you_mean;
use crate::options::Connection;
use crate::output::{Page, Tone, cell, some};
use crate::programs::{Part, Program};
use crate::snapshot::{ADVERTISEMENT, Elsewhere, POOL};
use crate::survey::{Health, list};

/// So many are named of those that have the same reason.
const NAMED: usize = 3;
/// Between two looks while all is not well.
const AGAIN: Duration = Duration::from_secs(2);
/// So many problems are shown; `services --problems` shows all.
const PROBLEMS: usize = 20;
/// So many pools are shown.
const POOLS: usize = 6;

/// One screen. For how many seconds to wait until all is well, if at all.
pub(crate) async fn run(connection: &Connection, wait: Option<u64>) -> anyhow::Result<Answer> {
    let end = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    loop {
        let looked = async {
            let cluster = Cluster::open(connection).await?;
            Ok::<_, anyhow::Error>(once(&cluster).await)
        };
        let answer = looked.await;
        let well = answer.as_ref().is_ok_and(|answer| answer.exit == Exit::Fine);
        if well || Instant::now() + AGAIN > end {
            return answer;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    pub(crate) controllers: Programs,
    pub(crate) leader: Option<String>,
    pub(crate) speakers: Programs,
    pub(crate) pools: Vec<PoolRow>,
    pub(crate) services: Services,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    pub(crate) not_seen: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Programs {
    pub(crate) ready: usize,
    pub(crate) all: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Services {
    pub(crate) all: usize,
    pub(crate) addresses: usize,
    pub(crate) announced: usize,
    pub(crate) waiting: usize,
    pub(crate) silent: usize,
    pub(crate) conflicts: usize,
    pub(crate) starting: usize,
    pub(crate) unknown: usize,
}

/// Something that somebody should see to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    pub(crate) about: String,
    pub(crate) reason: String,
    pub(crate) remedy: Option<String>,
}

async fn once(cluster: &Cluster) -> Answer {
    let look = Look::at(cluster).await;
    let summary = Summary::of(cluster, &look).await;
    let page = summary.page(cluster, &look);
    let problem = !summary.problems.is_empty();
    let not_seen = summary.not_seen.clone();
    Answer::object("Status", &summary, page).problem_if(problem).not_seen(not_seen).with_failures_on_page()
}

fn programs(cluster: &Cluster, part: Part) -> Programs {
    let ready = cluster.of_part(part).filter(|program| program.ready).count();
    Programs { ready, all: cluster.of_part(part).count() }
}

fn services(look: &Look) -> Services {
    let mut counts = Services { all: look.services.len(), ..Services::default() };
    for service in &look.services {
        counts.addresses += service.addresses.len();
        counts.waiting += usize::from(service.health == Health::Waiting);
        counts.starting += usize::from(service.health == Health::Starting && service.addresses.is_empty());
        for address in &service.addresses {
            match address.health {
                Health::Announced => counts.announced += 1,
                Health::Silent => counts.silent += 1,
                Health::Conflict => counts.conflicts += 1,
                Health::Starting => counts.starting += 1,
                Health::Unknown | Health::Waiting => counts.unknown += 1,
            }
        }
    }
    counts
}

impl Summary {
    /// All that is told of a look.
    pub(crate) async fn of(cluster: &Cluster, look: &Look) -> Self {
        let (leader, nobody, lease_failure) = match leader(cluster, look).await {
            Leader::Pod(pod) => (Some(pod), None, None),
            Leader::Nobody(why) => (None, Some(why), None),
            Leader::Unknown(failure) => (None, None, failure),
        };
        let mut summary = Self {
            controllers: programs(cluster, Part::Controller),
            speakers: programs(cluster, Part::Speaker),
            leader,
            pools: pools::rows(look),
            services: services(look),
            ..Self::default()
        };
        summary.not_seen.extend(look.failures.iter().chain(&look.unasked).cloned().chain(lease_failure));
        let events = starting::events(cluster, look).await;
        summary.find(cluster, look, nobody, &events);
        summary
    }

    /// Finds problems and warnings. `nobody` is why no controller leads, `events` what kubelets tell of Pods that they cannot
    /// start.
    fn find(
        &mut self,
        cluster: &Cluster,
        look: &Look,
        nobody: Option<String>,
        events: &BTreeMap<String, String>,
    ) {
        let mut problem = |about: &str, reason: String, remedy: Option<&str>| {
            self.problems.push(Problem {
                about: about.to_owned(),
                reason,
                remedy: remedy.map(str::to_owned),
            });
        };
        let system = &cluster.system;
        if let Some((what, remedy)) = cluster.absent() {
            problem("FerroLB", what, Some(&remedy));
        } else if cluster.programs.is_ok() {
            if self.controllers.all == 0 {
                problem(
                    "controller",
                    format!("no Pod of a controller in namespace {system}, so no Service gets an address"),
                    Some(&format!(
                        "see whether it is scaled to 0: kubectl get deployments,events -n {system}"
                    )),
                );
            } else if let Some(why) = nobody {
                problem(
                    "controller",
                    why,
                    Some(&format!(
                        "see what they say: kubectl logs -n {system} -l app.kubernetes.io/component=controller"
                    )),
                );
            }
            if self.speakers.all == 0 {
                problem(
                    "speakers",
                    format!("no Pod of a speaker in namespace {system}, so nobody announces"),
                    Some(&format!("see why it has none: kubectl get daemonsets,events -n {system}")),
                );
            }
        }
        let down: BTreeSet<String> =
            look.snapshot.nodes.iter().filter(|node| is_down(node)).map(ResourceExt::name_any).collect();
        let is_on_one = |program: &Program| program.node.as_ref().is_some_and(|node| down.contains(node));
        let not_ready = || {
            let programs = look.controllers.iter().chain(&look.speakers);
            programs.filter(|told| !told.program.ready && !is_on_one(&told.program))
        };
        // Of those nodes it is told already why nobody hears them.
        let told_of: BTreeSet<&str> = not_ready()
            .filter(|told| told.program.part == Part::Speaker && told.speaker().is_none())
            .filter_map(|told| told.program.node.as_deref())
            .chain(down.iter().map(String::as_str))
            .collect();
        for told in not_ready() {
            let Program { pod, part, .. } = &told.program;
            let event = events.get(pod).map(String::as_str).unwrap_or_default();
            let event_text = if event.is_empty() { String::new() } else { format!(": {event}") };
            let reason = format!("not ready: {}{event_text}", told.not_ready());
            let others = || not_ready().filter(|other| other.program.part == *part).count() > 1;
            let which = if others() { format!("-l {}", part.label()) } else { pod.clone() };
            let remedy = starting::remedy(event).unwrap_or_else(|| {
                format!("kubectl describe pod -n {system} {which}; kubectl logs -n {system} {which}")
            });
            problem(pod, reason, Some(&remedy));
        }
        for node in look.snapshot.nodes.iter().filter(|node| is_down(node)) {
            let name = node.name_any();
            problem(
                &name,
                "the node is not ready, so its Pods serve nobody".to_owned(),
                Some(&format!("see why: kubectl describe node {name}")),
            );
        }
        let answer: BTreeSet<&str> =
            look.speakers.iter().filter_map(Told::speaker).map(|speaker| speaker.node.as_str()).collect();
        for speaker in look.speakers.iter().filter_map(Told::speaker) {
            let (answering, silent): (Vec<&String>, Vec<&String>) =
                unheard(speaker).into_iter().partition(|node| answer.contains(node.as_str()));
            let silent: Vec<&String> =
                silent.into_iter().filter(|node| !told_of.contains(node.as_str())).collect();
            if !answering.is_empty() {
                problem(
                    &speaker.node,
                    format!("the speaker does not hear {}", list(&answering)),
                    Some(
                        "open UDP port 7946 between all nodes, in both directions, and give all speakers the same key",
                    ),
                );
            }
            if !silent.is_empty() {
                problem(
                    &speaker.node,
                    format!("the speaker does not hear {}, nor can that be asked", list(&silent)),
                    Some(&format!("see whether it is up: kubectl get nodes {}", words(&silent))),
                );
            }
            if has_no_interface(speaker) {
                problem(
                    &speaker.node,
                    "its speaker has no interface that it can announce on".to_owned(),
                    Some("kubectl ferrolb nodes -o wide says why of each"),
                );
            }
        }
        // Whoever has the addresses of nodes needs neither.
        let nodes_only = look.snapshot.node_pools && look.snapshot.pools.is_empty();
        if look.failures.is_empty() && !nodes_only {
            let elsewhere = |kind| Elsewhere::of_kind(&look.snapshot.elsewhere, kind);
            let but = |it: Option<&Elsewhere>| it.map(|it| format!(", but {it}")).unwrap_or_default();
            if look.snapshot.pools.is_empty() {
                let it = elsewhere(POOL);
                problem(
                    "pools",
                    format!("there is no IPAddressPool in namespace {system}{}", but(it)),
                    Some(&it.map_or_else(
                        || "create one with addresses of your LAN that nobody else uses".to_owned(),
                        Elsewhere::remedy,
                    )),
                );
            }
            if look.snapshot.advertisements.is_empty() {
                let it = elsewhere(ADVERTISEMENT);
                problem(
                    "advertisements",
                    format!(
                        "there is no L2Advertisement in namespace {system}{}, so nothing is announced",
                        but(it)
                    ),
                    Some(&it.map_or_else(
                        || "create one; an empty spec announces all pools from all nodes".to_owned(),
                        Elsewhere::remedy,
                    )),
                );
            }
        }
        if self.speakers.all > 0 {
            let with: BTreeSet<&str> =
                cluster.of_part(Part::Speaker).filter_map(|speaker| speaker.node.as_deref()).collect();
            let without = look.snapshot.nodes.iter().map(ResourceExt::name_any);
            let without: Vec<String> = without.filter(|node| !with.contains(node.as_str())).collect();
            if !without.is_empty() {
                let verbs = if without.len() == 1 {
                    "has no speaker and announces"
                } else {
                    "have no speaker and announce"
                };
                self.warnings.push(format!("{} {verbs} nothing: {NO_SPEAKER}", some(&without, NAMED)));
            }
        }
        for it in &look.snapshot.elsewhere {
            self.warnings.push(format!("{it} has no effect, for FerroLB reads {} only", it.system));
        }
        for advertisement in &look.snapshot.advertisements {
            let name = advertisement.name_any();
            for fault in advertisement.read().1 {
                problem(&format!("L2Advertisement {name}"), format!("{}: {}", fault.field, fault.why), None);
            }
            let missing = missing_pools(advertisement, &look.snapshot.pools);
            self.warnings.extend(missing.iter().map(|it| format!("L2Advertisement {name}: {it}")));
            self.warnings
                .extend(advertisement.warnings().iter().map(|it| format!("L2Advertisement {name}: {it}")));
        }
        for pool in &self.pools {
            if !pool.faults.is_empty() {
                let about = format!("IPAddressPool {}", pool.name);
                self.problems.push(Problem { about, reason: pool.faults.join("; "), remedy: None });
            }
            self.warnings.extend(pool.warnings.iter().map(|it| format!("IPAddressPool {}: {it}", pool.name)));
        }
        for service in look.services.iter().filter(|service| service.health.is_problem()) {
            self.problems.push(Problem {
                about: service.title(),
                reason: service.reasons.join("; "),
                remedy: service.remedies.first().cloned(),
            });
        }
    }

    fn page(&self, cluster: &Cluster, look: &Look) -> Page {
        let mut page = Page::default();
        let seen = cluster.programs.is_ok();
        let count = |it: &Programs| {
            if seen { format!("{}/{} ready", it.ready, it.all) } else { "not known".to_owned() }
        };
        let leader = self.leader.as_ref().map_or_else(
            || "no leader known".to_owned(),
            |pod| {
                let node = cluster.of_part(Part::Controller).find(|it| it.pod == *pod);
                let node = node.and_then(|it| it.node.as_ref());
                node.map_or_else(|| format!("leader {pod}"), |node| format!("leader {pod} ({node})"))
            },
        );
        page.field("Controller", format!("{}, {leader}", count(&self.controllers)));
        page.field("Speakers", format!("{}, {}", count(&self.speakers), hearing(look)));
        let known = look.failures.is_empty();
        if known {
            page.field("Pools", self.pools_line());
            let rejected = self.pools.iter().filter(|pool| !pool.faults.is_empty()).count()
                + look.snapshot.advertisements.iter().filter(|it| !it.read().1.is_empty()).count();
            page.field(
                "Config",
                match rejected {
                    0 => "all in force".to_owned(),
                    1 => "1 object not in force".to_owned(),
                    many => format!("{many} objects not in force"),
                },
            );
        }
        if !look.services.is_empty() || known {
            page.field("Services", self.services.text());
        }
        let problems = together(&self.problems);
        for (about, reason, remedy) in problems.iter().take(PROBLEMS) {
            let arrow = remedy.map(|remedy| format!("\n-> {remedy}")).unwrap_or_default();
            page.field(cell("PROBLEM", Tone::Bad), format!("{}: {reason}{arrow}", some(about, NAMED)));
        }
        if problems.len() > PROBLEMS {
            let more = problems.len() - PROBLEMS;
            page.field("", format!("and {more} more: kubectl ferrolb services -A --problems"));
        }
        for warning in self.warnings.iter().take(PROBLEMS) {
            page.field(cell("WARNING", Tone::Warn), warning);
        }
        for missing in &self.not_seen {
            page.field(cell("NOT SEEN", Tone::Warn), missing);
        }
        if self.problems.is_empty() && self.not_seen.is_empty() {
            page.line(cell("OK", Tone::Good));
        }
        page
    }

    fn pools_line(&self) -> String {
        if self.pools.is_empty() {
            return "none".to_owned();
        }
        let text = |pool: &PoolRow| {
            let families = [(pool.v4, "v4"), (pool.v6, "v6")].into_iter();
            let known = families.filter_map(|(count, family)| Some((count?, family)));
            let some = known.filter(|(count, _)| count.in_use > 0 || count.free > 0);
            let counts: Vec<String> =
                some.map(|(count, family)| format!("{} {family}", count.text())).collect();
            format!("{} {}", pool.name, if counts.is_empty() { "-".to_owned() } else { counts.join(" ") })
        };
        let mut pools: Vec<String> = self.pools.iter().take(POOLS).map(text).collect();
        if self.pools.len() > POOLS {
            pools.push(format!("and {} more", self.pools.len() - POOLS));
        }
        format!("{} (in use/all)", pools.join(", "))
    }
}

impl Services {
    /// In one line.
    pub(crate) fn text(&self) -> String {
        let addresses =
            if self.addresses == 1 { "1 address" } else { &format!("{} addresses", self.addresses) };
        let mut parts = vec![format!("{} announced", self.announced)];
        for (count, what) in [
            (self.starting, "on the way"),
            (self.silent, "without announcer"),
            (self.conflicts, "in conflict"),
            (self.unknown, "not known"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let waiting = if self.waiting > 0 {
            format!("; {} waiting for an address", self.waiting)
        } else {
            String::new()
        };
        format!("{}, {addresses}: {}{waiting}", self.all, parts.join(", "))
    }
}

/// Those together that have the same reason.
fn together(problems: &[Problem]) -> Vec<(Vec<&str>, &str, Option<&str>)> {
    let mut together: Vec<(Vec<&str>, &str, Option<&str>)> = Vec::new();
    let mut seen: BTreeMap<(&str, Option<&str>), usize> = BTreeMap::new();
    for Problem { about, reason, remedy } in problems {
        let key = (but_for_address(reason), remedy.as_deref());
        let index = *seen.entry(key).or_insert(together.len());
        match together.get_mut(index) {
            Some((abouts, _, _)) => abouts.push(about),
            None => together.push((vec![about], reason, key.1)),
        }
    }
    // Of more than one, no address stands for all.
    for (abouts, reason, _) in &mut together {
        if abouts.len() > 1 {
            *reason = but_for_address(reason);
        }
    }
    together
}

/// A reason without the address that it begins with.
fn but_for_address(reason: &str) -> &str {
    match reason.split_once(": ") {
        Some((address, rest)) if address.parse::<IpAddr>().is_ok() => rest,
        Some(_) | None => reason,
    }
}

/// The pools that an advertisement names and that there are not, each with what it may be meant to be.
fn missing_pools(advertisement: &L2Advertisement, pools: &[IPAddressPool]) -> Vec<String> {
    let there: BTreeSet<String> = pools.iter().map(ResourceExt::name_any).collect();
    let named = advertisement.spec.ip_address_pools.iter().map(|name| name.trim());
    named
        .filter(|name| !there.contains(*name))
        .map(|name| {
            let near = did_you_mean(name, there.iter().cloned());
            format!("spec.ipAddressPools names {name:?}, and there is no such IPAddressPool{near}")
        })
        .collect()
}

/// As words of a command.
fn words(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

/// How the speakers hear each other.
pub(crate) fn hearing(look: &Look) -> String {
    let speakers: Vec<_> = look.speakers.iter().filter_map(Told::speaker).collect();
    if speakers.is_empty() {
        return "nobody can be asked who hears whom".to_owned();
    }
    let deaf = speakers
        .iter()
        .filter(|speaker| speaker.peers.items.iter().any(|peer| peer.state == PeerState::NotHeard));
    match (deaf.count(), speakers.len() == look.speakers.len()) {
        (0, true) => "each hears all others".to_owned(),
        (0, false) => format!("those {} that can be asked hear all others", speakers.len()),
        (1, _) => "1 does not hear all others".to_owned(),
        (some, _) => format!("{some} do not hear all others"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::{snapshot, speaker_on, told};

    #[test]
    fn problems_with_the_same_reason_are_one_line_however_many_there_are() {
        let problem = |about: &str, reason: &str| Problem {
            about: about.to_owned(),
            reason: reason.to_owned(),
            remedy: None,
        };
        let problems = [
            problem("a/1", "no pool"),
            problem("a/2", "another"),
            problem("a/3", "no pool"),
            problem("a/4", "no pool"),
            problem("a/5", "no pool"),
        ];
        let shown: Vec<String> = together(&problems)
            .iter()
            .map(|(about, reason, _)| format!("{}: {reason}", some(about, NAMED)))
            .collect();
        assert_eq!(shown, ["a/1, a/3, a/4 and 1 more: no pool", "a/2: another"]);
        let silent = [
            problem("a/1", "192.0.2.1: no live speaker"),
            problem("a/2", "fd00::2: no live speaker"),
            problem("a/3", "192.0.2.3: not announced"),
        ];
        let shown: Vec<_> =
            together(&silent).into_iter().map(|(about, reason, _)| (about.len(), reason)).collect();
        assert_eq!(shown, [(2, "no live speaker"), (1, "192.0.2.3: not announced")]);
    }

    #[test]
    fn a_pool_that_an_advertisement_names_in_vain_is_told_with_what_it_may_be_meant_to_be() {
        let names = |names: &[&str]| {
            let it = json!({"metadata": {"name": "a"}, "spec": {"ipAddressPools": names}});
            missing_pools(&serde_json::from_value(it).unwrap(), &snapshot(&[], &[], &[]).pools)
        };
        assert_eq!(names(&["lan", " lan "]), Vec::<String>::new());
        let [said] = &names(&["lan", "lna"])[..] else { panic!("one is missing") };
        assert!(said.ends_with("\"lna\", and there is no such IPAddressPool: did you mean lan?"), "{said}");
    }

    /// What is found of a cluster with these speakers, where this node is down.
    fn found(speakers: Vec<Told>, down: &str) -> Vec<(String, String)> {
        let mut snapshot = snapshot(&[], &["n1"], &speakers);
        for node in snapshot.nodes.iter_mut().filter(|node| node.name_any() == down) {
            node.status.conditions =
                vec![slim::Condition { type_: "Ready".to_owned(), status: "Unknown".to_owned() }];
        }
        let programs = speakers.iter().map(|told| told.program.clone()).collect();
        let look = Look::new(vec![], speakers, snapshot, None, vec![]);
        let mut summary = Summary { speakers: Programs { ready: 2, all: 3 }, ..Summary::default() };
        summary.find(&Cluster::silent(programs), &look, None, &BTreeMap::new());
        let problems = summary.problems.into_iter().filter(|it| it.about != "controller");
        problems.map(|it| (it.about, it.reason)).collect()
    }

    /// The speakers of n1 and n2, which hear each other, and that of n3, which says nothing.
    fn without_the_third(edit: impl Fn(&mut Program)) -> Vec<Told> {
        let mut all = vec![told("n1", vec![]), told("n2", vec![])];
        for told in &mut all {
            let Ok(introspection::Document { status: introspection::Status::SpeakerStatus(it), .. }) =
                &mut told.document
            else {
                panic!("speakers")
            };
            it.peers.items.iter_mut().filter(|peer| peer.node == "n3").for_each(|peer| {
                peer.state = PeerState::NotHeard;
            });
        }
        let mut program = speaker_on("n3");
        edit(&mut program);
        all.push(Told { program, document: Err("no answer".to_owned().into()) });
        all
    }

    #[tokio::test]
    async fn of_a_speaker_that_does_not_run_the_cause_is_told_and_not_that_nobody_hears_it() {
        let ended = without_the_third(|it| {
            it.ready = false;
            it.down = Some("it ended with exit status 1: no right".to_owned());
        });
        let expected = ("s-n3".to_owned(), "not ready: it ended with exit status 1: no right".to_owned());
        assert_eq!(found(ended, ""), [expected]);
        let off = found(without_the_third(|it| it.ready = false), "n3");
        assert_eq!(off, [("n3".to_owned(), "the node is not ready, so its Pods serve nobody".to_owned())]);
        // Where nothing explains it, it is told.
        let silent = found(without_the_third(|_| {}), "");
        assert!(
            silent.len() == 2 && silent[0].1.contains("does not hear n3, nor can that be asked"),
            "{silent:?}"
        );
        let waits = found(
            without_the_third(|it| {
                it.ready = false;
                it.waits_for = Some("services, nodes".to_owned());
            }),
            "",
        );
        assert_eq!(waits, [("s-n3".to_owned(), "not ready: waits for services, nodes".to_owned())]);
    }
}

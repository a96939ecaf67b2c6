//! What is the matter, and what to do about it.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use super::{NAMED, Problem, remarks, routers, starting};
use crate::ask::Told;
use crate::cluster::Cluster;
use crate::commands::nodes::{has_no_interface, is_down, no_speaker, unheard};
use crate::commands::pools::PoolRow;
use crate::look::Look;
use crate::output::some;
use crate::programs::{Part, Program};
use crate::snapshot::{ADVERTISEMENT, Elsewhere, POOL, missing_pools};
use crate::survey::{Warning, list};

/// What helps speakers that do not hear each other.
const OPEN_GOSSIP: &str =
    "open UDP port 7946 between all nodes, in both directions, and give all speakers the same key";

/// Finds what is the matter with one look at a cluster.
pub(super) struct Finder<'a> {
    cluster: &'a Cluster,
    look: &'a Look,
    /// The nodes that are down.
    down: BTreeSet<String>,
    /// The programs that are not ready for another reason than that their node is down.
    not_ready: Vec<&'a Told>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Finder<'a> {
    /// Looks for everything, the programs first. `nobody` is why no controller leads, `events` what kubelets tell of Pods that
    /// they cannot start.
    pub(super) fn find(
        cluster: &'a Cluster,
        look: &'a Look,
        pools: &[PoolRow],
        nobody: Option<String>,
        events: &BTreeMap<String, String>,
    ) -> Self {
        let nodes = look.snapshot.nodes.iter();
        let down: BTreeSet<String> = nodes.filter(|node| is_down(node)).map(ResourceExt::name_any).collect();
        let is_on_one = |program: &Program| program.node.as_ref().is_some_and(|node| down.contains(node));
        let programs = look.controllers.iter().chain(&look.speakers);
        let not_ready = programs.filter(|told| !told.program.ready && !is_on_one(&told.program)).collect();
        let mut it = Self { cluster, look, down, not_ready, problems: vec![], warnings: vec![] };
        it.programs(nobody);
        it.pods(events);
        it.nodes();
        it.problems.extend(remarks::problems(look));
        it.unanswered();
        it.peers();
        it.problems.extend(routers::problems(look));
        it.objects();
        it.nodes_without_speaker();
        it.advertisements();
        it.routers();
        it.warnings.extend(remarks::warnings(look));
        it.pools(pools);
        it.services();
        it
    }

    fn problem(&mut self, about: &str, reason: String, remedy: Option<&str>) {
        let remedy = remedy.map(str::to_owned);
        self.problems.push(Problem { about: about.to_owned(), reason, remedy });
    }

    /// Whether there are programs, and whether one leads.
    fn programs(&mut self, nobody: Option<String>) {
        for (what, remedy) in self.cluster.rivals(&self.look.controllers) {
            self.problem("FerroLB", what, Some(&remedy));
        }
        let system = &self.cluster.system;
        if let Some((what, remedy)) = self.cluster.absent() {
            self.problem("FerroLB", what, Some(&remedy));
        } else if self.cluster.programs.is_ok() {
            if self.cluster.of_part(Part::Controller).next().is_none() {
                self.problem(
                    "controller",
                    format!("no Pod of a controller in namespace {system}, so no Service gets an address"),
                    Some(&format!(
                        "see whether it is scaled to 0: kubectl get deployments,events -n {system}"
                    )),
                );
            } else if let Some(why) = nobody {
                self.problem(
                    "controller",
                    why,
                    Some(&format!(
                        "see what they say: kubectl logs -n {system} -l app.kubernetes.io/component=controller"
                    )),
                );
            }
            if self.cluster.of_part(Part::Speaker).next().is_none() {
                self.problem(
                    "speakers",
                    format!("no Pod of a speaker in namespace {system}, so nobody announces"),
                    Some(&format!("see why it has none: kubectl get daemonsets,events -n {system}")),
                );
            }
        }
    }

    fn pods(&mut self, events: &BTreeMap<String, String>) {
        let system = &self.cluster.system;
        for told in self.not_ready.clone() {
            let Program { pod, part, .. } = &told.program;
            let event = events.get(pod).map(String::as_str).unwrap_or_default();
            let event_text = if event.is_empty() { String::new() } else { format!(": {event}") };
            let reason = format!("not ready: {}{event_text}", told.not_ready());
            let of_part = self.not_ready.iter().filter(|other| other.program.part == *part).count();
            let which = if of_part > 1 { format!("-l {}", part.label()) } else { pod.clone() };
            let remedy = starting::remedy(event)
                .or_else(|| waits_for_metallb(told))
                .or_else(|| kept_off(told))
                .or_else(|| waits_for_peers(told))
                .unwrap_or_else(|| {
                    format!("kubectl describe pod -n {system} {which}; kubectl logs -n {system} {which}")
                });
            self.problem(pod, reason, Some(&remedy));
        }
    }

    fn nodes(&mut self) {
        for name in self.down.clone() {
            self.problem(
                &name,
                "the node is not ready, so its Pods serve nobody".to_owned(),
                Some(&format!("see why: kubectl describe node {name}")),
            );
        }
    }

    /// The speakers that give no answer while the API knows nothing of that yet: their nodes may have lost their power.
    fn unanswered(&mut self) {
        let silent = self.look.speakers.iter().filter(|told| told.unanswered().is_some());
        let silent: Vec<&Told> = silent.filter(|told| !self.is_on_one_that_is_down(told)).collect();
        let nodes: Vec<&String> = silent.iter().filter_map(|told| told.program.node.as_ref()).collect();
        let (Some(first), false) = (silent.first(), nodes.is_empty()) else { return };
        let why = first.unanswered().unwrap_or_default();
        let heard = self.look.speakers.iter().filter_map(Told::speaker);
        let unheard: BTreeSet<&String> = heard.flat_map(unheard).collect();
        let also = match nodes.iter().filter(|node| unheard.contains(*node)).count() {
            0 => "",
            some if some == nodes.len() => ", nor do others hear it",
            _ => ", nor do others hear all of them",
        };
        let first_nodes = words(&nodes.iter().copied().take(NAMED).collect::<Vec<_>>());
        let remedy = if why.contains("connection refused") {
            // The node answers that.
            let Program { pod, .. } = &first.program;
            let system = &self.cluster.system;
            format!(
                "nothing listens there, so see whether it runs: kubectl get pod -n {system} {pod} -o wide; kubectl logs -n {system} {pod}"
            )
        } else {
            format!("see whether the node is up: ping it, and kubectl get nodes {first_nodes}")
        };
        self.problem(
            &format!("speaker of {}", some(&nodes, NAMED)),
            format!("no answer, though its Pod is ready{also}: {why}"),
            Some(&remedy),
        );
    }

    fn is_on_one_that_is_down(&self, told: &Told) -> bool {
        told.program.node.as_ref().is_some_and(|node| self.down.contains(node))
    }

    fn peers(&mut self) {
        // Of those nodes it is told already why nobody hears them.
        let silent = self.not_ready.iter().filter(|told| told.program.part == Part::Speaker);
        let silent = silent.filter(|told| told.speaker().is_none());
        let told_of = silent.filter_map(|told| told.program.node.clone());
        let unanswered = self.look.speakers.iter().filter(|told| told.unanswered().is_some());
        let unanswered = unanswered.filter_map(|told| told.program.node.clone());
        let told_of: BTreeSet<String> = told_of.chain(self.down.iter().cloned()).chain(unanswered).collect();
        let answer: BTreeSet<&str> = self
            .look
            .speakers
            .iter()
            .filter_map(Told::speaker)
            .map(|speaker| speaker.node.as_str())
            .collect();
        for speaker in self.look.speakers.iter().filter_map(Told::speaker) {
            let (answering, silent): (Vec<&String>, Vec<&String>) =
                unheard(speaker).into_iter().partition(|node| answer.contains(node.as_str()));
            let silent: Vec<&String> = silent.into_iter().filter(|node| !told_of.contains(*node)).collect();
            if !answering.is_empty() {
                self.problem(
                    &speaker.node,
                    format!("the speaker does not hear {}", list(&answering)),
                    Some(OPEN_GOSSIP),
                );
            }
            if !silent.is_empty() {
                self.problem(
                    &speaker.node,
                    format!("the speaker does not hear {}, nor can that be asked", list(&silent)),
                    Some(&format!("see whether it is up: kubectl get nodes {}", words(&silent))),
                );
            }
            if has_no_interface(speaker) && !self.look.snapshot.advertisements.is_empty() {
                self.problem(
                    &speaker.node,
                    "its speaker has no interface that it can announce on".to_owned(),
                    Some("kubectl ferrolb nodes -o wide says why of each"),
                );
            }
        }
    }

    /// Whether there are pools and advertisements.
    fn objects(&mut self) {
        let system = &self.cluster.system;
        // Whoever has the addresses of nodes needs neither.
        let nodes_only = self.look.snapshot.node_pools && self.look.snapshot.pools.is_empty();
        // Nor does one that waits for another FerroLB, whose objects count.
        let waits = self.look.elder().is_some();
        if self.look.failures.is_empty() && !nodes_only && !waits {
            let elsewhere = |kind| Elsewhere::of_kind(&self.look.snapshot.elsewhere, kind);
            let but = |it: Option<&Elsewhere>| it.map(|it| format!(", but {it}")).unwrap_or_default();
            if self.look.snapshot.pools.is_empty() {
                let it = elsewhere(POOL);
                self.problem(
                    "pools",
                    format!("there is no IPAddressPool in namespace {system}{}", but(it)),
                    Some(&it.map_or_else(
                        || "create one with addresses of your LAN that nobody else uses".to_owned(),
                        Elsewhere::remedy,
                    )),
                );
            }
            let is_for_routers = !self.look.snapshot.bgp.advertisements.is_empty();
            if self.look.snapshot.advertisements.is_empty() && !is_for_routers {
                let it = elsewhere(ADVERTISEMENT);
                self.problem(
                    "advertisements",
                    format!(
                        "there is neither an L2Advertisement nor a BGPAdvertisement in namespace {system}{}, so nothing is announced",
                        but(it)
                    ),
                    Some(&it.map_or_else(
                        || "create one; an empty spec announces all pools from all nodes".to_owned(),
                        Elsewhere::remedy,
                    )),
                );
            }
        }
    }

    fn nodes_without_speaker(&mut self) {
        if self.cluster.of_part(Part::Speaker).next().is_some() {
            let with: BTreeSet<&str> =
                self.cluster.of_part(Part::Speaker).filter_map(|speaker| speaker.node.as_deref()).collect();
            let without = self.look.snapshot.nodes.iter().map(ResourceExt::name_any);
            let without: Vec<String> = without.filter(|node| !with.contains(node.as_str())).collect();
            if !without.is_empty() {
                let verbs = if without.len() == 1 {
                    "has no speaker and announces"
                } else {
                    "have no speaker and announce"
                };
                let tainted =
                    |node: &&slim::Node| without.contains(&node.name_any()) && !node.spec.taints.is_empty();
                let why = no_speaker(self.look.snapshot.nodes.iter().find(tainted));
                self.warnings.push(format!("{} {verbs} nothing: {why}", some(&without, NAMED)));
            }
        }
    }

    fn advertisements(&mut self) {
        for it in &self.look.snapshot.elsewhere {
            self.warnings.push(format!("{it} has no effect, for FerroLB reads {} only", it.system));
        }
        for advertisement in &self.look.snapshot.advertisements {
            let name = advertisement.name_any();
            for fault in advertisement.read().1 {
                self.problem(
                    &format!("L2Advertisement {name}"),
                    format!("{}: {}", fault.field, fault.why),
                    None,
                );
            }
            let missing = missing_pools(&advertisement.spec.ip_address_pools, &self.look.snapshot.pools);
            self.warnings.extend(missing.iter().map(|it| format!("L2Advertisement {name}: {it}")));
            self.warnings
                .extend(advertisement.warnings().iter().map(|it| format!("L2Advertisement {name}: {it}")));
        }
    }

    /// What authors of objects about BGP may not mean.
    fn routers(&mut self) {
        self.warnings.extend(routers::warnings(&self.look.snapshot));
    }

    fn pools(&mut self, pools: &[PoolRow]) {
        for pool in pools {
            if !pool.faults.is_empty() {
                let about = format!("IPAddressPool {}", pool.name);
                self.problems.push(Problem { about, reason: pool.faults.join("; "), remedy: None });
            }
            self.warnings.extend(pool.warnings.iter().map(|it| format!("IPAddressPool {}: {it}", pool.name)));
        }
    }

    fn services(&mut self) {
        for service in self.look.services.iter().filter(|service| service.is_problem()) {
            let unserved = service.unserved.iter().map(|it| it.reason.as_str());
            let reasons = service.reasons.iter().map(String::as_str).chain(unserved);
            self.problems.push(Problem {
                about: service.title(),
                reason: reasons.collect::<Vec<_>>().join("; "),
                remedy: service.all_remedies().next().map(str::to_owned),
            });
        }
        // The same for many Services is told once, with the first of them.
        let mut alike: BTreeMap<&str, (&str, BTreeSet<String>)> = BTreeMap::new();
        for service in &self.look.services {
            for Warning { reason, remedy } in &service.warnings {
                alike.entry(remedy).or_insert((reason, BTreeSet::new())).1.insert(service.title());
            }
        }
        for (remedy, (reason, services)) in alike {
            let services: Vec<String> = services.into_iter().collect();
            self.warnings.push(format!("{}: {reason}: {remedy}", some(&services, NAMED)));
        }
    }
}

/// What to do where a program waits for MetalLB to be gone.
fn waits_for_metallb(told: &Told) -> Option<String> {
    told.not_ready().contains("MetalLB to be gone").then(|| {
        "MetalLB runs in the same namespace and serves the same Services: remove it (examples/from-metallb says how), or give one of the two a class"
            .to_owned()
    })
}

/// What to do where a speaker is ready as soon as it hears others.
fn waits_for_peers(told: &Told) -> Option<String> {
    let waits_for = told.not_ready();
    if waits_for.contains("the other speakers use another key") {
        let Program { namespace, pod, .. } = &told.program;
        return Some(format!(
            "have it start anew with the Secret that the others have: kubectl delete pod -n {namespace} {pod}"
        ));
    }
    waits_for.contains("other speakers, none of which is heard").then(|| OPEN_GOSSIP.to_owned())
}

/// What to do where a node cannot get the image, or has given its ports away.
fn kept_off(told: &Told) -> Option<String> {
    let why = told.program.down.as_deref()?;
    if why.contains("have free ports") {
        return Some(
            "something else has these ports on the nodes, such as MetalLB or another installation: remove that, or give this one others (speaker.memberlist.mlBindPort, prometheus.metricsPort, speaker.livenessProbe.port)"
                .to_owned(),
        );
    }
    why.contains("cannot be had").then(|| {
        "correct image.repository and image.tag of the chart, or load the image into the nodes (charts/ferrolb says how); a private registry wants imagePullSecrets"
            .to_owned()
    })
}

/// As words of a command.
fn words(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{snapshot, speaker_on, told};
    use introspection::PeerState;

    /// What is found of a cluster with these speakers, where this node is down.
    fn found(speakers: Vec<Told>, down: &str) -> Vec<(String, String)> {
        let mut snapshot = snapshot(&[], &["n1"], &speakers);
        for node in snapshot.nodes.iter_mut().filter(|node| node.name_any() == down) {
            node.status.conditions =
                vec![slim::Condition { type_: "Ready".to_owned(), status: "Unknown".to_owned() }];
        }
        let programs = speakers.iter().map(|told| told.program.clone()).collect();
        let look = Look::new(vec![], speakers, snapshot, None, vec![]);
        let cluster = Cluster::silent(programs);
        let found = Finder::find(&cluster, &look, &[], None, &BTreeMap::new());
        let problems = found.problems.into_iter().filter(|it| it.about != "controller");
        problems.map(|it| (it.about, it.reason)).collect()
    }

    #[test]
    fn of_a_pod_that_its_node_cannot_start_it_is_told_what_to_change() {
        let helps = |down: &str| {
            let mut it = told("n1", vec![]);
            it.program.down = Some(down.to_owned());
            kept_off(&it)
        };
        let ports =
            helps("it finds no node: 0/3 nodes are available: 1 node(s) didn't have free ports for it");
        assert!(ports.unwrap().contains("speaker.memberlist.mlBindPort"));
        let image = helps("its image ferrolb:9 cannot be had: not found");
        assert!(image.unwrap().contains("image.repository and image.tag"));
        assert_eq!(helps("it ended with exit status 1"), None);
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
        // Where nobody answers for its node, that is a problem before the API knows of it.
        let mut cut = without_the_third(|_| {});
        cut[2].document = Err(crate::ask::Silence::NoAnswer("it does not answer within 6 s".to_owned()));
        let cut = found(cut, "");
        assert!(
            cut.len() == 1 && cut[0].0 == "speaker of n3" && cut[0].1.contains("nor do others hear it"),
            "{cut:?}"
        );
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

    #[tokio::test]
    async fn where_a_node_refuses_the_connection_the_program_is_looked_for_and_not_the_node() {
        let remedy = |why: &str| {
            let mut all = without_the_third(|_| {});
            all[2].document = Err(crate::ask::Silence::NoAnswer(why.to_owned()));
            let look = Look::new(vec![], all.clone(), snapshot(&[], &["n1"], &all), None, vec![]);
            let cluster = Cluster::silent(all.into_iter().map(|told| told.program).collect());
            let found = Finder::find(&cluster, &look, &[], None, &BTreeMap::new());
            found.problems.into_iter().find(|it| it.about == "speaker of n3").unwrap().remedy.unwrap()
        };
        assert!(remedy("dial tcp 192.0.2.1:7472: connect: connection refused").contains("kubectl logs -n"));
        assert!(remedy("it does not answer within 6 s").contains("kubectl get nodes n3"));
    }

    #[test]
    fn a_speaker_that_hears_nobody_is_sent_to_the_port_and_not_to_its_log() {
        let mut it = told("n1", vec![]);
        it.document = Err("no answer".to_owned().into());
        it.program.waits_for = Some("other speakers, none of which is heard".to_owned());
        assert!(waits_for_peers(&it).unwrap().contains("open UDP port 7946"));
        it.program.waits_for = Some("services".to_owned());
        assert_eq!(waits_for_peers(&it), None);
        it.program.waits_for = Some("gossip, for the other speakers use another key".to_owned());
        assert!(waits_for_peers(&it).unwrap().ends_with("kubectl delete pod -n lb s-n1"));
    }
}

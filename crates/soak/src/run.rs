//! Playing a script in a lab.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::Role;
use e2e::arp::Mac;
use lab::{Host, Lab, chart, wait_until};

use crate::act::Actor;
use crate::fault::{ClusterFault, Kind};
use crate::judge::{Verdict, Violation, judge};
use crate::observation::{Observation, Seen, Subjects};
use crate::report;
use crate::script::Script;
use crate::site;
use crate::watch::{Recorder, during};

/// How long a cluster may need to recover from a round.
const WELL_WITHIN: Duration = Duration::from_mins(3);
const LOOKS_EVERY: Duration = Duration::from_millis(500);
/// At least.
const SETTLES_FOR: Duration = Duration::from_secs(2);
/// So long is each address to have had one answerer, and one only.
const STEADY_FOR: Duration = Duration::from_secs(1);

/// What to play.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long; a round that has begun is played to its end.
    pub time: Duration,
    /// What the script is made of.
    pub seed: u64,
    /// The kinds of faults.
    pub kinds: Vec<Kind>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What the judge says.
    pub verdict: Verdict,
    /// Everything that was seen.
    pub seen: Vec<Observation>,
}

/// Plays a script in a lab with FerroLB and the Pods of [`e2e::objects::BACKEND`]. Progress goes to the standard error,
/// and logs of FerroLB into `logs`, if given, whenever something is violated.
///
/// # Errors
/// What keeps the script from being played or watched at all. What it finds is in the outcome.
pub fn run(lab: &Lab, plan: &Plan, logs: Option<&Path>) -> Result<Outcome> {
    let subjects = site::serve(lab)?;
    let ((), seen) = during(lab, &subjects, |recorder| {
        let player = Player { lab, subjects: &subjects, logs, actor: Actor::new(lab, recorder), recorder };
        player.play(plan)
    })?;
    site::clear(lab)?;
    Ok(Outcome { verdict: judge(&subjects, &seen), seen })
}

struct Player<'a> {
    lab: &'a Lab,
    subjects: &'a Subjects,
    logs: Option<&'a Path>,
    actor: Actor<'a>,
    recorder: &'a Recorder,
}

impl Player<'_> {
    fn play(&self, plan: &Plan) -> Result<()> {
        self.wait_until_well().context("nothing has happened yet")?;
        if plan.kinds.contains(&Kind::Cluster(ClusterFault::Restore)) {
            self.actor.back_up().context("backing up etcd")?;
            self.wait_until_well().context("nothing has happened yet")?;
        }
        let until = Instant::now() + plan.time;
        let mut told = BTreeSet::new();
        for (number, round) in (1..).zip(Script::new(plan.seed, &plan.kinds, self.lab.nodes())) {
            if Instant::now() >= until {
                break;
            }
            thread::sleep(round.rest);
            let faults: Vec<String> = round.steps.iter().map(report::step).collect();
            eprint!("{:7.1} round {number}: {}", self.elapsed().as_secs_f64(), faults.join(" + "));
            self.actor.play(&round);
            let settling = Instant::now();
            // The API server does not know at once what is not well.
            thread::sleep(SETTLES_FOR);
            match self.wait_until_well() {
                Ok(()) => self.recorder.now(Seen::Settled),
                Err(error) => self.recorder.now(Seen::Unsettled(format!("{error:#}"))),
            }
            eprintln!("; well after {:.1?}", settling.elapsed());
            let new = self.new_violations(&mut told);
            for violation in &new {
                eprintln!("        {:.1?}: {}", violation.at, violation.what);
            }
            if let Some(logs) = self.logs.filter(|_| !new.is_empty()) {
                self.save_logs(&logs.join(format!("round-{number}")))?;
            }
        }
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.recorder.began().elapsed().unwrap_or_default()
    }

    /// What is violated that was not `told` yet.
    fn new_violations(&self, told: &mut BTreeSet<(Duration, String)>) -> Vec<Violation> {
        let verdict = judge(self.subjects, &self.recorder.seen());
        verdict.violations.into_iter().filter(|violation| told.insert(violation.key())).collect()
    }

    /// Waits until all nodes and Pods are ready, and every address has one node that answers.
    fn wait_until_well(&self) -> Result<()> {
        wait_until("all is well", WELL_WITHIN, || {
            // Each look takes a machine that has enough to do some time of its processors.
            thread::sleep(LOOKS_EVERY);
            self.actor.end_waiting()?;
            e2e::is_well(self.lab)?;
            self.everybody_runs()?;
            self.is_steady()
        })
    }

    /// That every node has a speaker's process, whatever the API server still believes.
    fn everybody_runs(&self) -> Result<()> {
        for node in self.lab.nodes() {
            let speakers = self.lab.processes(Host::Node(node), &Role::Speaker.to_string())?.len();
            ensure!(speakers == 1, "{node} has {speakers} speakers");
        }
        Ok(())
    }

    fn is_steady(&self) -> Result<()> {
        let late = self.recorder.since(self.elapsed().saturating_sub(STEADY_FOR));
        let nodes: BTreeSet<Mac> = self.lab.nodes().map(|node| Mac::of(Host::Node(node))).collect();
        for address in self.subjects.values().flat_map(|subject| &subject.addresses) {
            let by = |it: &Observation| match it.what {
                Seen::Answer { address: of, by } if of == *address => Some(by),
                _ => None,
            };
            let answerers: BTreeSet<Mac> = late.iter().filter_map(by).collect();
            let one = answerers.len() == 1 && answerers.is_subset(&nodes);
            ensure!(one, "for {address} these answer: {answerers:?}");
        }
        Ok(())
    }

    /// Leaves what an operator would look at in a folder.
    fn save_logs(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let logs = |role, more: &[&'static str]| {
            let logs = ["logs", "-n", chart::NAMESPACE, "-l", role, "--prefix", "--timestamps", "--tail=-1"];
            [&logs[..], more].concat()
        };
        let [controller, speaker] =
            ["app.kubernetes.io/component=controller", "app.kubernetes.io/component=speaker"];
        let questions = [
            ("controllers.log", logs(controller, &[])),
            ("controllers-before.log", logs(controller, &["--previous", "--ignore-errors"])),
            ("speakers.log", logs(speaker, &[])),
            ("speakers-before.log", logs(speaker, &["--previous", "--ignore-errors"])),
            ("events.txt", vec!["get", "events", "-A", "--sort-by=.lastTimestamp"]),
            ("objects.txt", vec!["get", "nodes,pods,services,ipaddresspools", "-A", "-o", "wide"]),
        ];
        for (file, question) in questions {
            let answer = self.lab.kubectl(question).unwrap_or_else(|error| format!("{error:#}\n"));
            fs::write(folder.join(file), answer).with_context(|| format!("writing {file}"))?;
        }
        Ok(())
    }
}

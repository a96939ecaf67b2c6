//! Making faults, and undoing them.

mod cluster;
mod node;

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use e2e::Role;
use lab::{Host, Lab, NodeId, Power, chart};
use serde_json::Value;

use crate::fault::{ClusterFault, Fault, NodeFault};
use crate::observation::Seen;
use crate::script::{Round, Step};
use crate::watch::Recorder;

/// Who does what the script says.
pub(crate) struct Actor<'a> {
    lab: &'a Lab,
    recorder: &'a Recorder,
    /// One command after another changes what Helm has installed.
    helm: Mutex<()>,
}

impl<'a> Actor<'a> {
    pub(crate) fn new(lab: &'a Lab, recorder: &'a Recorder) -> Self {
        Self { lab, recorder, helm: Mutex::default() }
    }

    /// Does all of a round, and returns when all is undone.
    pub(crate) fn play(&self, round: &Round) {
        thread::scope(|scope| {
            for step in &round.steps {
                scope.spawn(|| self.step(*step));
            }
        });
    }

    fn step(&self, Step { after, fault, lasts }: Step) {
        thread::sleep(after);
        self.recorder.now(Seen::Began(fault));
        let outcome = self.begin(fault).and_then(|()| self.hold(fault, lasts));
        // What was begun by half has to be undone too.
        let outcome = outcome.and(self.undo(fault));
        self.recorder.now(Seen::Undone(fault));
        if let Err(error) = outcome {
            self.recorder.now(Seen::Failed(fault, format!("{error:#}")));
        }
    }

    fn begin(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Node(fault, node) => self.begin_at(fault, node),
            Fault::Cluster(fault) => self.begin_all(fault),
        }
    }

    /// Lets a fault last for so long.
    fn hold(&self, fault: Fault, lasts: Duration) -> Result<()> {
        match fault {
            Fault::Node(NodeFault::FlappingRule, node) => self.flap(node, lasts),
            Fault::Cluster(ClusterFault::Flood) => self.flood(lasts),
            Fault::Cluster(ClusterFault::Churn) => self.churn(lasts),
            Fault::Node(_, _) | Fault::Cluster(_) => {
                thread::sleep(lasts);
                Ok(())
            }
        }
    }

    fn undo(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Node(fault, node) => self.undo_at(fault, node),
            Fault::Cluster(fault) => self.undo_all(fault),
        }
    }

    /// Sends a signal, such as KILL, to all processes of a program on a node. There may be none.
    fn signal(&self, role: Role, node: NodeId, signal: &str) -> Result<()> {
        let ids = self.lab.processes(Host::Node(node), &role.to_string())?;
        if ids.is_empty() {
            return Ok(());
        }
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        // One may have ended meanwhile.
        self.lab.exec(Host::Node(node), ["sh", "-c", &format!("kill -{signal} {ids}")]).map(drop)
    }

    /// The same on all nodes that are on.
    fn signal_all(&self, role: Role, signal: &str) -> Result<()> {
        for node in self.lab.nodes() {
            match self.signal(role, node, signal) {
                // It may lose its power at the same time.
                Err(_) if !self.is_on(node)? => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    fn is_on(&self, node: NodeId) -> Result<bool> {
        let host = Host::Node(node);
        Ok(self.lab.status()?.iter().any(|status| status.host == host && status.power != Power::Off))
    }

    /// kubectl in FerroLB's namespace.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.lab.kubectl(["-n", chart::NAMESPACE].iter().chain(arguments))
    }

    /// Deletes the Pods of FerroLB that kubelet lets wait because they have ended time and again: a soak kills more often
    /// than any month does.
    pub(crate) fn end_waiting(&self) -> Result<()> {
        let pods = ["get", "pods", "-n", chart::NAMESPACE, "-l", "app.kubernetes.io/name=ferrolb"];
        let pods = self.lab.kubectl_json(pods)?;
        let waits = |pod: &&Value| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            state["waiting"]["reason"] == "CrashLoopBackOff"
        };
        let waiting = pods["items"].as_array().into_iter().flatten().filter(waits);
        for name in waiting.filter_map(|pod| pod["metadata"]["name"].as_str()) {
            self.kubectl(&["delete", "pod", name, "--wait=false"])?;
        }
        Ok(())
    }
}

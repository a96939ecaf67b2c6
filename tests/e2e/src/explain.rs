//! What an operator would look at first after something went wrong.

use std::fmt::Write;
use std::time::SystemTime;

use lab::process::tail;
use lab::tools::Program;
use lab::{Host, chart};

use crate::Cluster;

/// Whether a node is ready, in kubectl's words.
const READY: &str = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
/// The last lines that are shown of a log.
const LINES: usize = 15;
/// The most frames that are shown, the latest ones.
const FRAMES: usize = 60;

impl Cluster {
    /// The state of the cluster, and what was seen on the LAN since `since`. Never fails: a question that gets no
    /// answer is part of the picture.
    pub fn explain(&self, since: SystemTime) -> String {
        let logs = |role: &'static str| {
            ["logs", "-n", chart::NAMESPACE, "-l", role, "--prefix", "--timestamps", "--tail=80"]
        };
        let questions = [
            &["get", "nodes,pods,services", "-A", "-o", "wide"][..],
            &["get", "ipaddresspools,l2advertisements,bgppeers,bgpadvertisements", "-A"],
            &["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"],
            &logs("app.kubernetes.io/component=controller"),
            &logs("app.kubernetes.io/component=speaker"),
        ];
        let mut text = String::new();
        for question in questions {
            let answer = self.lab.kubectl(question).unwrap_or_else(|error| format!("{error:#}\n"));
            let _ = writeln!(text, "\n--- kubectl {}\n{answer}", question.join(" "));
        }
        for question in ["show bgp summary", "show bgp all", "show bfd peers brief", "show running-config"] {
            if self.lab.router().is_some() {
                let answer = self.lab.ask_router(question).unwrap_or_else(|error| format!("{error:#}\n"));
                let _ = writeln!(text, "--- router: {question}\n{answer}");
            }
        }
        for node in self.lab.nodes() {
            let name = node.to_string();
            let ready = self.lab.kubectl(["get", "node", &name, "-o", READY]);
            if ready.is_ok_and(|ready| ready.trim() == "True") {
                continue;
            }
            for program in [Program::Kubelet, Program::Containerd] {
                let log = tail(&self.lab.log(Host::Node(node), program), LINES);
                let _ = writeln!(text, "--- {node} is not ready; {} says last:\n{log}", program.name());
            }
        }
        let frames = self.arp_since(since).unwrap_or_default();
        let _ =
            writeln!(text, "--- the last of {} ARP frames, in seconds since the test began", frames.len());
        for (at, arp) in &frames[frames.len().saturating_sub(FRAMES)..] {
            let after = at.duration_since(since).unwrap_or_default();
            let _ = writeln!(text, "{:9.3} {arp}", after.as_secs_f64());
        }
        text
    }
}

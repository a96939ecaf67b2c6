//! What an operator would look at first after something went wrong.

use std::fmt::Write;
use std::time::SystemTime;

use lab::chart;

use crate::Cluster;

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
            &["get", "ipaddresspools,l2advertisements", "-A"],
            &["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"],
            &logs("app.kubernetes.io/component=controller"),
            &logs("app.kubernetes.io/component=speaker"),
        ];
        let mut text = String::new();
        for question in questions {
            let answer = self.lab.kubectl(question).unwrap_or_else(|error| format!("{error:#}\n"));
            let _ = writeln!(text, "\n--- kubectl {}\n{answer}", question.join(" "));
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

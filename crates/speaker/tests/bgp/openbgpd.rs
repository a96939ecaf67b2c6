//! OpenBGPD.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::others::{
    self, Another, End, Neighbor, both_ends_know_why_sessions_end, numbers_times_and_attributes_arrive,
    routes_stay_for_the_next_speaker,
};
use crate::process::Process;
use crate::{Router, announce_to};

#[test]
#[ignore = "needs OpenBGPD (openbgpd)"]
fn openbgpd_hears_what_is_announced() {
    announce_to(others::with_passwords::<OpenBgpd>);
}

#[test]
#[ignore = "needs OpenBGPD (openbgpd)"]
fn numbers_times_and_attributes_arrive_at_openbgpd() {
    numbers_times_and_attributes_arrive::<OpenBgpd>();
}

#[test]
#[ignore = "needs OpenBGPD (openbgpd)"]
fn openbgpd_and_the_speaker_know_why_sessions_end() {
    both_ends_know_why_sessions_end::<OpenBgpd>();
}

#[test]
#[ignore = "needs OpenBGPD (openbgpd)"]
fn openbgpd_keeps_routes_for_the_next_speaker() {
    routes_stay_for_the_next_speaker::<OpenBgpd>();
}

struct OpenBgpd(Process);

impl OpenBgpd {
    fn ask(&self, question: &str) -> String {
        let socket = self.0.path().join("control");
        let asked = Command::new("bgpctl").arg("-s").arg(socket).args(question.split(' ')).output();
        String::from_utf8(asked.unwrap().stdout).unwrap()
    }

    fn neighbor(&self, neighbor: &str) -> Option<Value> {
        let all: Value = serde_json::from_str(&self.ask(&format!("-j show neighbor {neighbor}"))).ok()?;
        Some(all["neighbors"][0].clone())
    }
}

impl Router for OpenBgpd {
    fn route(&self, prefix: &str) -> Option<String> {
        Some(self.ask(&format!("show rib detail {prefix}"))).filter(|route| route.contains("best"))
    }

    fn community(&self, high: u16, low: u16) -> String {
        match (high, low) {
            (65_535, 0) => "GRACEFUL_SHUTDOWN".to_owned(),
            _ => format!("{high}:{low}"),
        }
    }
}

impl Another for OpenBgpd {
    fn start(asn: u32, hold_seconds: u32, neighbors: &[Neighbor]) -> Self {
        let neighbor = |Neighbor { address, asn, password }: &Neighbor| {
            let password = password.map(|it| format!("tcp md5sig password {it}\n")).unwrap_or_default();
            format!(
                "neighbor {address} {{
                 remote-as {asn}
                 passive
                 announce IPv4 unicast
                 announce IPv6 unicast
                 {password}
                 }}\n"
            )
        };
        let neighbors: String = neighbors.iter().map(neighbor).collect();
        let folder = TempDir::new().unwrap();
        let configuration = format!(
            "AS {asn}
             router-id 192.0.2.1
             fib-update no
             holdtime {hold_seconds}
             socket \"{}/control\"
             {neighbors}
             allow from any
             allow to any\n",
            folder.path().display()
        );
        fs::write(folder.path().join("bgpd.conf"), configuration).unwrap();
        // It reads no file that others may read, and wants a folder that is empty.
        let script = "chmod 600 bgpd.conf
             exec unshare --mount sh -c '
               mount -t tmpfs none /run && mkdir /run/openbgpd && exec bgpd -d -f $PWD/bgpd.conf'";
        Self(Process::start(folder, script))
    }

    fn process(&self) -> &Process {
        &self.0
    }

    fn times(&self, neighbor: &str) -> Option<(u64, u64)> {
        let session = &self.neighbor(neighbor)?["session"];
        let restart = &session["remote"]["capabilities"]["graceful_restart"]["timeout"];
        Some((session["holdtime"].as_u64()?, restart.as_u64()?))
    }

    fn is_established(&self, neighbor: &str) -> bool {
        self.neighbor(neighbor).is_some_and(|it| it["state"] == "Established")
    }

    fn preference(&self, preference: u32) -> String {
        format!("localpref {preference}")
    }

    fn keeps(&self, prefix: &str) -> bool {
        self.route(prefix).is_some_and(|route| route.contains("stale"))
    }

    fn originate(&self, prefix: &str) {
        self.ask(&format!("network add {prefix}"));
    }

    fn refresh(&self, neighbor: &str) -> bool {
        self.ask(&format!("neighbor {neighbor} refresh"));
        true
    }

    fn end_session(&self, neighbor: &str) -> &'static str {
        self.ask(&format!("neighbor {neighbor} clear maintenance"));
        "administrative reset (6/4): \"maintenance\""
    }

    /// It does by itself.
    fn begin_session(&self, _: &str) {}

    fn end(&self, end: End) -> &'static str {
        match end {
            End::BadPeerAs => "received notification: error in OPEN message, AS unacceptable",
            End::Shutdown => "received notification: Cease, administratively down",
            End::HoldTime => "HoldTimer expired",
        }
    }
}

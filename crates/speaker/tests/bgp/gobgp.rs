//! GoBGP.

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
#[ignore = "needs GoBGP (gobgpd)"]
fn gobgp_hears_what_is_announced() {
    announce_to(others::with_passwords::<GoBgp>);
}

#[test]
#[ignore = "needs GoBGP (gobgpd)"]
fn numbers_times_and_attributes_arrive_at_gobgp() {
    numbers_times_and_attributes_arrive::<GoBgp>();
}

#[test]
#[ignore = "needs GoBGP (gobgpd)"]
fn gobgp_and_the_speaker_know_why_sessions_end() {
    both_ends_know_why_sessions_end::<GoBgp>();
}

#[test]
#[ignore = "needs GoBGP (gobgpd)"]
fn gobgp_keeps_routes_for_the_next_speaker() {
    routes_stay_for_the_next_speaker::<GoBgp>();
}

struct GoBgp(Process);

impl GoBgp {
    fn ask(&self, question: &str) -> String {
        let target = format!("unix://{}/api", self.0.path().display());
        let asked = Command::new("gobgp").args(["--target", &target]).args(question.split(' ')).output();
        String::from_utf8(asked.unwrap().stdout).unwrap()
    }

    /// Its one path to a prefix.
    fn path(&self, prefix: &str) -> Option<Value> {
        let all: Value = serde_json::from_str(&self.ask(&format!("{} -j", rib(prefix)))).ok()?;
        Some(all[prefix][0].clone()).filter(Value::is_object)
    }
}

fn rib(prefix: &str) -> String {
    let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
    format!("global rib {prefix} -a {family}")
}

impl Router for GoBgp {
    fn route(&self, prefix: &str) -> Option<String> {
        Some(self.ask(&rib(prefix))).filter(|route| route.contains(prefix))
    }

    fn community(&self, high: u16, low: u16) -> String {
        match (high, low) {
            (65_535, 0) => "planned-shut".to_owned(),
            _ => format!("{high}:{low}"),
        }
    }
}

impl Another for GoBgp {
    fn start(asn: u32, hold_seconds: u32, neighbors: &[Neighbor]) -> Self {
        let family = |name: &str| {
            format!(
                "[[neighbors.afi-safis]]
                 [neighbors.afi-safis.config]
                 afi-safi-name = \"{name}-unicast\"
                 [neighbors.afi-safis.mp-graceful-restart.config]
                 enabled = true\n"
            )
        };
        let families = ["ipv4", "ipv6"].map(family).concat();
        let neighbor = |Neighbor { address, asn, password }: &Neighbor| {
            let password = password.unwrap_or_default();
            format!(
                "[[neighbors]]
                 [neighbors.config]
                 neighbor-address = \"{address}\"
                 peer-as = {asn}
                 auth-password = \"{password}\"
                 [neighbors.transport.config]
                 passive-mode = true
                 [neighbors.timers.config]
                 hold-time = {hold_seconds}
                 keepalive-interval = {}
                 [neighbors.graceful-restart.config]
                 enabled = true
                 restart-time = 20
                 {families}",
                hold_seconds / 3
            )
        };
        let neighbors: String = neighbors.iter().map(neighbor).collect();
        let configuration = format!("[global.config]\nas = {asn}\nrouter-id = \"192.0.2.1\"\n{neighbors}");
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("gobgpd.conf"), configuration).unwrap();
        let script =
            "exec gobgpd -f gobgpd.conf --log-plain -l debug --pprof-disable --api-hosts unix://$PWD/api";
        Self(Process::start(folder, script))
    }

    fn process(&self) -> &Process {
        &self.0
    }

    fn times(&self, neighbor: &str) -> Option<(u64, u64)> {
        let said = self.ask(&format!("neighbor {neighbor}"));
        let number = |before: &str| {
            let (_, after) = said.split_once(before)?;
            after.split(|it: char| !it.is_ascii_digit()).next()?.parse().ok()
        };
        Some((number("Hold time is ")?, number("Remote: restart time ")?))
    }

    fn is_established(&self, neighbor: &str) -> bool {
        self.ask(&format!("neighbor {neighbor}")).contains("BGP state = ESTABLISHED")
    }

    fn preference(&self, preference: u32) -> String {
        format!("LocalPref: {preference}")
    }

    fn keeps(&self, prefix: &str) -> bool {
        self.path(prefix).is_some_and(|path| path["stale"] == true)
    }

    fn originate(&self, prefix: &str) {
        self.ask(&format!("global rib add {prefix}"));
    }

    /// It keeps whatever it was told.
    fn refresh(&self, _: &str) -> bool {
        false
    }

    /// After what it calls a reset it would do nothing for half a minute.
    fn end_session(&self, neighbor: &str) -> &'static str {
        self.ask(&format!("neighbor {neighbor} disable"));
        "administrative shutdown (6/2)"
    }

    fn begin_session(&self, neighbor: &str) {
        self.ask(&format!("neighbor {neighbor} enable"));
    }

    fn end(&self, end: End) -> &'static str {
        match end {
            // It tells no more of a NOTIFICATION in the place of a KEEPALIVE.
            End::BadPeerAs => "old=BGP_FSM_OPENCONFIRM reason=invalid-msg",
            End::Shutdown => "notification-received code 6(cease) subcode 2(administrative shutdown)",
            End::HoldTime => "hold-timer-expired",
        }
    }
}

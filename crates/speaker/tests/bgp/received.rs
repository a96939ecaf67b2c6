//! What routers send is checked and forgotten.

use std::fs;

use bgp::session::{Past, State};
use tempfile::TempDir;

use crate::bfd::new_namespace;
use crate::process::{Process, wait_for};
use crate::{Speaker, config, routes};

const ROUTES: u32 = 100_000;
/// Buffers of both ends, and what the runtime keeps.
const MOST_BYTES: u64 = 4 << 20;

#[test]
#[ignore = "needs BIRD (bird2)"]
fn a_full_table_takes_no_memory() {
    new_namespace();
    let bird = bird();
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([config("192.0.2.1".parse().unwrap(), None)], &routes(&["203.0.113.0/24"], 7));
    let established = |speaker: &mut Speaker| {
        speaker.wait_until("it is established", |all| all.values().any(|it| it.state == State::Established));
    };
    established(&mut speaker);
    let opens = speaker.opens();
    let before = resident();
    // Before, it was told nothing.
    bird.run("birdc -s control enable full");
    let exported = format!("{} of ", ROUTES + 1);
    wait_for("all routes are there", || {
        bird.run("birdc -s control show route count").contains(&exported).then_some(())
    });
    // Each of them stands in an UPDATE of 4096 octets at most.
    let least = u64::from(ROUTES) * 4 / 4096;
    wait_for("all UPDATEs", || (updates(&speaker) >= least).then_some(()));
    let after = resident();
    println!("{} UPDATEs, {before} bytes before, {after} after", updates(&speaker));
    assert!(after < before + MOST_BYTES, "{before} bytes before, {after} after");
    let withdrawn = updates(&speaker) + least;
    bird.run("birdc -s control disable full");
    wait_for("all of them are withdrawn", || (updates(&speaker) >= withdrawn).then_some(()));
    established(&mut speaker);
    assert_eq!(speaker.opens(), opens, "the session has gone on");
    assert!(bird.run("birdc -s control show route 203.0.113.0/24").contains("192.0.2.2"));
}

fn updates(speaker: &Speaker) -> u64 {
    let metrics = speaker.metrics();
    let name = r#"metallb_bgp_updates_total_received{peer="192.0.2.1:179",vrf=""} "#;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// The memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// With routes that are there once they are asked for.
fn bird() -> Process {
    let route = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("route 10.{a}.{b}.{c}/32 blackhole;\n")
    };
    let configuration = format!(
        "router id 192.0.2.1;
         protocol device {{}}
         protocol static full {{ disabled yes; ipv4; {} }}
         protocol bgp {{ local 192.0.2.1 as 64513; neighbor 192.0.2.2 as 64512; passive yes;
           ipv4 {{ import all; export where source = RTS_STATIC; next hop self; }}; }}\n",
        (0..ROUTES).map(route).collect::<String>()
    );
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bird.conf"), configuration).unwrap();
    Process::start(folder, "exec bird -f -c bird.conf -s control -P pid")
}

//! BFD beside BGP: sessions end at once when packets cease to get through, and for no other reason.

use std::fs;
use std::net::UdpSocket;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use ::bfd::config::{Interval, Profile};
use bgp::config::{RestartTime, SessionConfig};
use bgp::session::{Farewell, Past, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use speaker::bgp::{Statuses, Wanted};
use tempfile::TempDir;

use crate::bfd::new_namespace;
use crate::process::{DEADLINE, Process, wait_for};
use crate::{Speaker, config, routes};

const PREFIX: &str = "203.0.113.0/24";
pub(crate) const BFD_UP: &str = r#"metallb_bfd_session_up{peer="192.0.2.1",vrf=""} 1"#;
const BFD_UP_ONCE: &str = r#"metallb_bfd_session_up_events{peer="192.0.2.1",vrf=""} 1"#;

#[test]
#[ignore = "needs BIRD (bird2)"]
fn bird_is_lost_and_found() {
    new_namespace();
    let configuration = "router id 192.0.2.1;
        protocol device {}
        protocol bfd { interface \"peer0\" { interval 100 ms; multiplier 3; }; }
        protocol bgp { local 192.0.2.1 as 64513; neighbor 192.0.2.2 as 64512; passive yes; bfd on;
          hold time 90; error wait time 1, 1; ipv4 { import all; export none; }; }\n";
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bird.conf"), configuration).unwrap();
    let bird = Process::start(folder, "exec bird -f -c bird.conf -s control -P pid");
    let has_route = || {
        let mut asking = Command::new("birdc");
        let asked = asking.args(["-s", "control", "show", "route", PREFIX]).current_dir(bird.path()).output();
        String::from_utf8(asked.unwrap().stdout).unwrap().contains("192.0.2.2")
    };
    let mut speaker = Speaker::start(Past::Fresh);
    let hold = |speaker: &Speaker, low, millis| {
        speaker.hold([with_bfd(millis)], &routes(&[PREFIX], low));
    };
    hold(&speaker, 7, 100);
    both_up(&mut speaker);
    let opens = speaker.opens();
    wait_for("the route", || has_route().then_some(()));

    // Neither a route nor a profile that is changed ends anything.
    for (low, millis) in [(8, 100), (9, 200), (10, 120)] {
        hold(&speaker, low, millis);
        std::thread::sleep(Duration::from_millis(300));
    }
    let metrics = speaker.metrics();
    assert!(metrics.contains(BFD_UP) && metrics.contains(BFD_UP_ONCE), "{metrics}");
    assert_eq!(speaker.opens(), opens, "the session goes on");

    // Other programs keep this one waiting too, but not each time.
    let mut ended_after = Vec::new();
    let in_time = (0..5).any(|_| {
        let frozen = Instant::now();
        bird.signal(Signal::SIGSTOP);
        speaker
            .wait_until("the session has ended", |all| all.values().all(|it| it.state != State::Established));
        ended_after.push(frozen.elapsed());
        bird.signal(Signal::SIGCONT);
        both_up(&mut speaker);
        wait_for("the route", || has_route().then_some(()));
        ended_after.last() < Some(&Duration::from_secs(1))
    });
    assert!(in_time, "the session has ended after {ended_after:?}");

    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || (!has_route()).then_some(()));
}

#[test]
#[ignore = "needs FRR (frr)"]
fn the_session_with_frr_ends_with_its_bfd_and_comes_back_without() {
    new_namespace();
    let frr = frr();
    let has_route = || has_route(&frr);
    let mut speaker = with_frr(&frr);

    // BFD alone is frozen: TCP has nothing to do with it.
    frr.signal(Signal::SIGSTOP);
    speaker.wait_until("the session has ended", |all| all.values().all(|it| it.state != State::Established));
    speaker
        .wait_until("it is back, without BFD", |all| all.values().all(|it| it.state == State::Established));
    // FRR may end the session that came up meanwhile: its own BFD knows nothing of it, and hears of a loss.
    frr.signal(Signal::SIGCONT);
    both_up(&mut speaker);
    wait_for("the route", || has_route().then_some(()));

    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || (!has_route()).then_some(()));
}

#[test]
#[ignore = "needs root"]
fn that_another_program_has_the_port_of_bfd_is_told() {
    new_namespace();
    let other = UdpSocket::bind("0.0.0.0:3784").unwrap();
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([with_bfd(50)], &routes(&[PREFIX], 7));
    let is_taken = |all: &Statuses| {
        let trouble = all.values().find_map(|it| it.bfd?.trouble());
        trouble.is_some_and(|why| why.contains("UDP port 3784 of this node is taken"))
    };
    speaker.wait_until("it is told", is_taken);
    drop(other);
    speaker.wait_until("it is not told any more", |all| !is_taken(all));
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_keeps_routes_for_a_restart_though_bfd_is_silent() {
    new_namespace();
    let frr = frr();
    let has_route = || has_route(&frr);
    let speaker = with_frr(&frr);

    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Silent));
    wait_for("BFD is down", || vtysh(&frr, "show bfd peers brief").contains(" down").then_some(()));
    wait_for("BGP is down", || {
        (!vtysh(&frr, "show bgp summary established").contains("192.0.2.2 ")).then_some(())
    });
    assert!(has_route(), "{}", vtysh(&frr, "show bgp neighbors 192.0.2.2"));
    let mut speaker = Speaker::start(Past::Restarted);
    speaker.hold([with_bfd(50)], &routes(&[PREFIX], 7));
    both_up(&mut speaker);
    assert!(has_route());

    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || (!has_route()).then_some(()));
}

/// As a container that is killed and started again, or a Pod that had no time to hand anything over to the next.
#[test]
#[ignore = "needs FRR (frr)"]
fn frr_keeps_routes_and_the_next_session_where_that_comes_before_bfd_is_missed() {
    new_namespace();
    let frr = frr();
    // FRR takes two seconds until it misses BFD, so that the next one comes before on any machine.
    let slow = || {
        let mut config = with_bfd(300);
        config.bfd.as_mut().unwrap().multiplier = 7_u8.try_into().unwrap();
        config
    };
    let before = with_frr_by(&frr, slow());
    before.wanted.send_replace(Wanted::Nothing(Farewell::Silent));
    before.runtime.block_on(async { tokio::time::timeout(DEADLINE, before.task).await }).unwrap().unwrap();
    assert!(vtysh(&frr, "show bfd peers brief").contains(" up"), "FRR has missed it already");
    let mut next = Speaker::start(Past::Restarted);
    next.hold([slow()], &routes(&[PREFIX], 7));
    wait_for("BFD is up", || {
        assert!(has_route(&frr), "{}", vtysh(&frr, "show bgp neighbors 192.0.2.2"));
        next.metrics().contains(BFD_UP).then_some(())
    });
    both_up(&mut next);
    assert!(has_route(&frr));
    let neighbor = vtysh(&frr, "show bgp neighbors 192.0.2.2");
    assert!(neighbor.contains("Connections established 2; dropped 1"), "{neighbor}");

    next.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || (!has_route(&frr)).then_some(()));
}

#[test]
#[ignore = "needs FRR (frr)"]
fn a_router_keeps_the_routes_of_frr_on_a_node_until_a_speaker_takes_its_place() {
    new_namespace();
    let router = frr();
    let shown = || vtysh(&router, &format!("show bgp ipv4 unicast {PREFIX}"));
    let before = OnNode::start();
    wait_for("the route of FRR", || shown().contains("best").then_some(()));
    // As the Pod of a MetalLB speaker ends.
    before.end();
    wait_for("the route is stale", || shown().contains("stale").then_some(()));
    let mut speaker = Speaker::start(Past::Restarted);
    speaker.hold([with_bfd(50)], &routes(&[PREFIX], 7));
    wait_for("the route of the speaker", || {
        let shown = shown();
        assert!(shown.contains("best"), "it is gone: {shown}");
        (!shown.contains("stale") && shown.contains("64512:7")).then_some(())
    });
    both_up(&mut speaker);
    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || (!shown().contains("best")).then_some(()));
}

/// FRR in the namespace of this thread, configured as MetalLB does for peers that are to keep routes. It may be there before
/// the router is, and would by itself try for a session again after two minutes only.
struct OnNode {
    child: Child,
    _folder: TempDir,
}

impl OnNode {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let bgpd = format!(
            "router bgp 64512
              bgp router-id 192.0.2.2
              no bgp ebgp-requires-policy
              no bgp network import-check
              no bgp default ipv4-unicast
              bgp graceful-restart preserve-fw-state
              neighbor 192.0.2.1 remote-as 64513
              neighbor 192.0.2.1 graceful-restart
              neighbor 192.0.2.1 timers connect 1
              address-family ipv4 unicast
               network {PREFIX}
               neighbor 192.0.2.1 activate\n"
        );
        for (name, content) in [("bgpd.conf", &*bgpd), ("zebra.conf", "")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let script = "PATH=/usr/lib/frr:$PATH
             chown -R frr:frr .
             common=\"-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout\"
             zebra $common -f $PWD/zebra.conf -i $PWD/zebra.pid -d
             sleep 1
             exec bgpd $common -p 0 -f $PWD/bgpd.conf -i $PWD/bgpd.pid";
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sh", "-c", script])
            .current_dir(folder.path())
            .stdout(log)
            .spawn()
            .unwrap();
        Self { child, _folder: folder }
    }

    /// bgpd, which is first in its namespace of processes and takes the others along, is told to end.
    fn end(mut self) {
        let id = self.child.id();
        let first = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let first = first.trim().parse().unwrap();
        kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for OnNode {
    fn drop(&mut self) {
        // An error: it has ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A speaker with a session and a route, with BFD up on both sides.
fn with_frr(frr: &Process) -> Speaker {
    with_frr_by(frr, with_bfd(50))
}

/// The same by a session that is configured so.
fn with_frr_by(frr: &Process, config: SessionConfig) -> Speaker {
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([config], &routes(&[PREFIX], 7));
    both_up(&mut speaker);
    wait_for("the route", || has_route(frr).then_some(()));
    wait_for("FRR has BFD", || vtysh(frr, "show bfd peers brief").contains(" up").then_some(()));
    speaker
}

fn has_route(frr: &Process) -> bool {
    vtysh(frr, &format!("show bgp ipv4 unicast {PREFIX}")).contains("best")
}

pub(crate) fn both_up(speaker: &mut Speaker) {
    speaker.wait_until("BGP is up", |all| {
        all.len() == 1 && all.values().all(|it| it.state == State::Established)
    });
    wait_for("BFD is up", || speaker.metrics().contains(BFD_UP).then_some(()));
}

pub(crate) fn with_bfd(millis: u64) -> SessionConfig {
    let interval = Interval::try_from(Duration::from_millis(millis)).unwrap();
    let profile = Profile { transmit: interval, receive: interval, ..Profile::default() };
    let mut config = config("192.0.2.1".parse().unwrap(), None);
    config.bfd = Some(profile);
    config.graceful_restart = Some(RestartTime::default());
    config.timers =
        bgp::config::Timers::new(Some(Duration::from_secs(90)), None, Some(Duration::from_secs(1))).unwrap();
    config
}

/// zebra, bgpd and bfdd, of which signals go to the last.
pub(crate) fn frr() -> Process {
    let folder = TempDir::new().unwrap();
    let bgpd = "router bgp 64513
      bgp router-id 192.0.2.1
      bgp graceful-restart
      no bgp ebgp-requires-policy
      neighbor 192.0.2.2 remote-as 64512
      neighbor 192.0.2.2 passive
      neighbor 192.0.2.2 bfd\n";
    for (name, content) in [("bgpd.conf", bgpd), ("zebra.conf", ""), ("bfdd.conf", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let script = "PATH=/usr/lib/frr:$PATH
         chown -R frr:frr .
         common=\"-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout\"
         zebra $common -f $PWD/zebra.conf -i $PWD/zebra.pid -d
         (sleep 1; bgpd $common -f $PWD/bgpd.conf -i $PWD/bgpd.pid -d) &
         exec bfdd $common --bfdctl $PWD/bfdd.sock -f $PWD/bfdd.conf -i $PWD/bfdd.pid";
    Process::start(folder, script)
}

pub(crate) fn vtysh(frr: &Process, question: &str) -> String {
    let mut asking = Command::new("vtysh");
    let asked = asking.args(["--vty_socket", ".", "-c", question]).current_dir(frr.path()).output().unwrap();
    String::from_utf8(asked.stdout).unwrap()
}

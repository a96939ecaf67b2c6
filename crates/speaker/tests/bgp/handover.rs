//! Speakers one after the other on a node, of which each goes on with the sessions of the one before: no router notices.

use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bgp::config::SessionConfig;
use bgp::route::Routes;
use bgp::session::{Farewell, State};
use nix::sched::{CloneFlags, unshare};
use prometheus_client::registry::Registry;
use speaker::bgp::{BgpMetrics, Incoming, Statuses, Wanted, run_from};
use speaker::handover::{Meeting, Predecessor, Sessions, Successor};
use tempfile::NamedTempFile;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::beside::{BFD_UP, both_up, frr as frr_with_bfd, vtysh, with_bfd};
use crate::bfd::new_namespace;
use crate::process::{DEADLINE, ip, wait_for};
use crate::unnumbered;
use crate::{Bird, Frr, PASSWORD, Router, Speaker, config, routes};

/// A speaker that hands over.
struct Giving {
    speaker: Speaker,
    sessions: Sessions,
    needed: oneshot::Sender<()>,
    successor: JoinHandle<Option<Successor>>,
}

impl Giving {
    fn first(meeting: &Meeting) -> Self {
        Self::start(runtime(), Incoming::default(), meeting)
    }

    fn start(runtime: tokio::runtime::Runtime, incoming: Incoming, meeting: &Meeting) -> Self {
        let (wanted, to_do) = watch::channel(Wanted::default());
        let (sender, statuses) = watch::channel(Statuses::new());
        let (sessions, requests) = Sessions::channel();
        let metrics = BgpMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let past = bgp::session::Past::Restarted;
        let task = runtime.spawn(run_from(incoming, requests, to_do, past, sender, metrics));
        let (needed, is_needed) = oneshot::channel();
        let successor = runtime.spawn(meeting.clone().successor(is_needed));
        let speaker = Speaker { runtime, wanted, statuses, registry, task };
        Self { speaker, sessions, needed, successor }
    }

    /// Gives its sessions, and says whether they have been taken, and what is left of it.
    fn give(self) -> (Speaker, bool) {
        let Self { speaker, sessions, needed, successor } = self;
        needed.send(()).unwrap();
        let given = speaker.runtime.block_on(async {
            let Some(successor) = successor.await.unwrap() else { return false };
            tokio::time::timeout(DEADLINE, successor.give(&sessions)).await.unwrap()
        });
        (speaker, given)
    }
}

/// Waits as the next speaker does, and goes on with what it is given.
struct Waiting(mpsc::Receiver<Giving>);

impl Waiting {
    fn start(meeting: &Meeting) -> Self {
        let (runtime, predecessor) = meet(meeting);
        let (done, taken_over) = mpsc::channel();
        let meeting = meeting.clone();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || {
            let (incoming, taken) = handle.block_on(predecessor.sessions()).expect("sessions");
            let count = incoming.len();
            let mut next = Giving::start(runtime, incoming, &meeting);
            next.speaker.wait_until("all go on", |all| all.len() == count);
            handle.spawn(taken.started());
            done.send(next).unwrap();
        });
        Self(taken_over)
    }

    fn take_over(self) -> Giving {
        self.0.recv_timeout(DEADLINE).expect("the next speaker goes on")
    }
}

fn meet(meeting: &Meeting) -> (tokio::runtime::Runtime, Predecessor) {
    let runtime = runtime();
    let found = wait_for("the speaker before", || runtime.block_on(meeting.predecessor()));
    (runtime, found)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn meeting() -> (Meeting, NamedTempFile) {
    let mut key = NamedTempFile::new().unwrap();
    key.write_all(&[b'k'; 32]).unwrap();
    (Meeting::new("metallb-system", &"n1".into(), None, vec![key.path().to_owned()]), key)
}

/// Gives the sessions of one speaker to the next, while what is wanted changes.
fn hand_over(meeting: &Meeting, old: Giving, change: impl FnOnce(&Speaker)) -> Giving {
    let waiting = Waiting::start(meeting);
    change(&old.speaker);
    let (old, given) = old.give();
    assert!(given);
    old.runtime.block_on(async { tokio::time::timeout(DEADLINE, old.task).await }).unwrap().unwrap();
    waiting.take_over()
}

fn link() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link add lan0 type veth peer name peer0");
    ip("address add 192.0.2.2/24 dev lan0");
    ip("address add 2001:db8::2/64 dev lan0 nodad");
    ip("link set lan0 up");
}

fn all(low: u16) -> Routes {
    let mut all = routes(&["198.51.100.1/32", "203.0.113.0/24", "2001:db8:1::1/128"], low);
    all.extend(routes(&["198.51.100.7/32"], 7));
    all
}

fn both_established(speaker: &mut Speaker) {
    speaker.wait_until("both are established", |statuses| {
        statuses.len() == 2 && statuses.values().all(|it| it.state == State::Established)
    });
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_does_not_notice_that_speakers_hand_over() {
    link();
    let frr = Frr::start();
    let received = |peer: &str| {
        let shown: serde_json::Value =
            serde_json::from_str(&frr.ask(&format!("show bgp neighbors {peer} json"))).unwrap();
        let it = &shown[peer];
        let count = |name: &str| it["messageStats"][name].as_u64().unwrap();
        assert_eq!(it["connectionsEstablished"], 1, "{it}");
        (count("updatesRecv"), count("notificationsRecv"), count("opensRecv"))
    };
    let (meeting, _key) = meeting();
    let mut speaker = Giving::first(&meeting);
    speaker.speaker.want(&all(7), Some(PASSWORD));
    both_established(&mut speaker.speaker);
    wait_for("the routes", || frr.route("198.51.100.7/32").and(frr.route("2001:db8:1::1/128")));
    settle(&mut speaker.speaker, 4);
    wait_for("all UPDATEs have arrived", || {
        let metrics = speaker.speaker.metrics();
        [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")]
            .into_iter()
            .all(|(router, node)| {
                let line = format!(
                    "metallb_bgp_updates_total{{peer=\"{router}:179\",vrf=\"\"}} {}",
                    received(node).0
                );
                metrics.lines().any(|it| it == line)
            })
            .then_some(())
    });

    // Nothing changes, and nothing is said.
    let before = ["192.0.2.2", "2001:db8::2"].map(received);
    for _ in 0..3 {
        speaker = hand_over(&meeting, speaker, |_| {});
        speaker.speaker.want(&all(7), Some(PASSWORD));
        settle(&mut speaker.speaker, 4);
    }
    // A sign of life of a session that is still here, by then.
    sleep(Duration::from_secs(4));
    assert_eq!(["192.0.2.2", "2001:db8::2"].map(received), before);
    // Of the table, when the route was changed last. FRR reckons the time of that anew whenever it is asked, a second off now and
    // then.
    let version = || {
        let shown = frr.ask("show bgp ipv4 unicast 198.51.100.7/32 json");
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown["version"].as_u64().unwrap()
    };
    let untouched = version();

    // Routes change just when it happens.
    for low in 8..20 {
        speaker = hand_over(&meeting, speaker, |old| {
            old.want(&all(low), Some(PASSWORD));
        });
        let mut wanted = all(low);
        if low % 2 == 0 {
            wanted.remove(&"203.0.113.0/24".parse().unwrap());
        }
        speaker.speaker.want(&wanted, Some(PASSWORD));
        settle(&mut speaker.speaker, wanted.len());
        wait_for("the new community", || {
            frr.route("198.51.100.1/32")?.contains(&frr.community(64_512, low)).then_some(())
        });
        wait_for("the other route", || {
            (frr.route("203.0.113.0/24").is_none() == (low % 2 == 0)).then_some(())
        });
    }
    assert_eq!(version(), untouched);
    let sessions =
        |counts: [(u64, u64, u64); 2]| counts.map(|(_, notifications, opens)| (notifications, opens));
    assert_eq!(sessions(["192.0.2.2", "2001:db8::2"].map(received)), sessions(before));
    for line in [
        "ferrolb_bgp_sessions_taken_over_total 2",
        r#"metallb_bgp_session_up{peer="192.0.2.1:179",vrf=""} 1"#,
        // By this one.
        r#"metallb_bgp_opens_sent{peer="192.0.2.1:179",vrf=""} 0"#,
    ] {
        speaker.speaker.wait_for_metric(line);
    }

    // What is configured otherwise is a new session, with the old password too.
    let other = |peer: &str| {
        let mut config = config(peer.parse().unwrap(), Some(PASSWORD));
        config.timers =
            bgp::config::Timers::new(Some(Duration::from_secs(12)), None, Some(Duration::from_secs(1)))
                .unwrap();
        config
    };
    speaker = hand_over(&meeting, speaker, |_| {});
    speaker
        .speaker
        .hold([other("192.0.2.1"), config("2001:db8::1".parse().unwrap(), Some(PASSWORD))], &all(20));
    wait_for("another session", || {
        let shown = frr.ask("show bgp neighbors 192.0.2.2");
        (shown.contains("Connections established 2") && shown.contains("BGP state = Established"))
            .then_some(())
    });
    assert!(frr.ask("show bgp neighbors 2001:db8::2").contains("Connections established 1"));

    // One that is wanted no more ends.
    speaker = hand_over(&meeting, speaker, |_| {});
    speaker.speaker.hold([config("2001:db8::1".parse().unwrap(), Some(PASSWORD))], &all(20));
    wait_for("the end of a session", || {
        (!frr.ask("show bgp neighbors 192.0.2.2").contains("BGP state = Established")).then_some(())
    });
    speaker.speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || frr.route("198.51.100.7/32").is_none().then_some(()));
}

/// Waits until so many prefixes are announced in each session, and nothing is to be said.
fn settle(speaker: &mut Speaker, count: usize) {
    speaker.wait_until("everything is said", |all| all.values().all(|it| it.announced == count));
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn bird_does_not_notice_that_speakers_hand_over() {
    link();
    let bird = Bird::start();
    let (meeting, _key) = meeting();
    let mut speaker = Giving::first(&meeting);
    speaker.speaker.want(&all(7), Some(PASSWORD));
    both_established(&mut speaker.speaker);
    wait_for("the routes", || bird.route("198.51.100.7/32").and(bird.route("2001:db8:1::1/128")));
    settle(&mut speaker.speaker, 4);
    let shown = |what: &str| {
        let shown = bird.ask("show protocols all");
        let lines = shown.lines().map(str::trim).filter(|line| line.starts_with(what));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_for("the routes of both sessions", || {
        let count = |line: &String| line.split_whitespace().nth(1)?.parse::<usize>().ok();
        (shown("Routes:").iter().filter_map(count).sum::<usize>() == 8).then_some(())
    });
    // Both are established still, and have never come up again.
    let as_ever = || {
        let states = shown("BGP state:");
        let established = states.iter().filter(|line| line.ends_with("Established")).count();
        assert_eq!((established, bird.times_established()), (2, 2), "{states:?}");
    };
    as_ever();
    let changes = || [shown("Import updates:"), shown("Import withdraws:")];
    let before = changes();
    for _ in 0..5 {
        speaker = hand_over(&meeting, speaker, |_| {});
        speaker.speaker.want(&all(7), Some(PASSWORD));
    }
    sleep(Duration::from_secs(4));
    as_ever();
    assert_eq!(changes(), before);
    for low in 8..16 {
        speaker = hand_over(&meeting, speaker, |old| old.want(&all(low), Some(PASSWORD)));
        speaker.speaker.want(&all(low), Some(PASSWORD));
        wait_for("the new community", || {
            bird.route("198.51.100.1/32")?.contains(&bird.community(64_512, low)).then_some(())
        });
    }
    as_ever();
}

#[test]
#[ignore = "needs FRR (frr)"]
fn bfd_goes_on_in_the_next_speaker() {
    new_namespace();
    let frr = frr_with_bfd();
    let (meeting, _key) = meeting();
    let mut speaker = Giving::first(&meeting);
    // Lost after 0.3 s, which is less than how long it is not known what is wanted.
    let hold = |it: &Giving| it.speaker.hold([with_bfd(100)], &routes(&["203.0.113.0/24"], 7));
    hold(&speaker);
    both_up(&mut speaker.speaker);
    wait_for("FRR has BFD", || vtysh(&frr, "show bfd peers brief").contains(" up").then_some(()));
    for _ in 0..10 {
        speaker = hand_over(&meeting, speaker, |_| {});
        // It is known only after a while what is wanted.
        sleep(Duration::from_millis(500));
        hold(&speaker);
        wait_for("BFD is up", || speaker.speaker.metrics().contains(BFD_UP).then_some(()));
    }
    let counters = vtysh(&frr, "show bfd peers counters");
    assert!(counters.contains("Session down events: 0"), "{counters}");
    let shown = vtysh(&frr, "show bgp neighbors 192.0.2.2");
    assert!(shown.contains("Connections established 1;"), "{shown}");

    // The last one still finds out what happens.
    frr.signal(nix::sys::signal::Signal::SIGSTOP);
    speaker
        .speaker
        .wait_until("the session has ended", |all| all.values().all(|it| it.state != State::Established));
    frr.signal(nix::sys::signal::Signal::SIGCONT);
}

/// It is not known at first which router is behind the interface, and BFD goes on nevertheless.
#[test]
#[ignore = "needs FRR (frr)"]
fn sessions_behind_an_interface_go_on_in_the_next_speaker() {
    unnumbered::cable();
    let frr = unnumbered::frr(&format!("neighbor peer0 bfd\n neighbor peer0 password {PASSWORD}"));
    let (meeting, _key) = meeting();
    let mut speaker = Giving::first(&meeting);
    let session = SessionConfig {
        bfd: with_bfd(100).bfd,
        password: Some(PASSWORD.parse().unwrap()),
        ..unnumbered::unnumbered("lan0")
    };
    let hold = |it: &Giving| it.speaker.hold([session.clone()], &routes(&["203.0.113.0/24"], 7));
    hold(&speaker);
    speaker.speaker.wait_until("it is established", |all| {
        all.len() == 1 && all.values().all(|it| it.state == State::Established)
    });
    wait_for("FRR has BFD", || vtysh(&frr, "show bfd peers brief").contains(" up").then_some(()));
    for _ in 0..4 {
        speaker = hand_over(&meeting, speaker, |_| {});
        sleep(Duration::from_secs(2));
        hold(&speaker);
    }
    let counters = vtysh(&frr, "show bfd peers counters");
    assert!(counters.contains("Session down events: 0"), "{counters}");
    let shown = vtysh(&frr, "show bgp neighbors peer0");
    assert!(shown.contains("Connections established 1;"), "{shown}");
    let metrics = speaker.speaker.metrics();
    let mut lines = metrics.lines().filter(|line| line.starts_with("metallb_bfd_session_up{"));
    assert!(lines.any(|line| line.ends_with(" 1")), "{metrics}");
}

/// Neither one that dies, nor one that hangs, nor one that says nonsense, nor a stranger.
#[test]
#[ignore = "needs FRR (frr)"]
fn sessions_stay_where_nobody_can_take_them() {
    link();
    let frr = Frr::start();
    let (meeting, _key) = meeting();
    let mut speaker = Giving::first(&meeting);
    speaker.speaker.want(&all(7), Some(PASSWORD));
    both_established(&mut speaker.speaker);
    wait_for("the routes", || frr.route("198.51.100.7/32"));

    // It has another key, is another user, or says nonsense; and is no obstacle for others.
    let mut key = NamedTempFile::new().unwrap();
    key.write_all(&[b'x'; 32]).unwrap();
    let stranger = Meeting::new("metallb-system", &"n1".into(), None, vec![key.path().to_owned()]);
    assert!(runtime().block_on(stranger.predecessor()).is_none());
    let elsewhere = Meeting::new("metallb-system", &"n1".into(), Some("other"), vec![]);
    assert!(runtime().block_on(elsewhere.predecessor()).is_none());
    let address = SocketAddr::from_abstract_name(meeting.name()).unwrap();
    for nonsense in [&[0; 4][..], &[0, 0, 0, 2, b'{', b'}'], &[0xff; 5000]] {
        let mut stream = UnixStream::connect_addr(&address).unwrap();
        _ = stream.write_all(nonsense);
    }
    let silent = UnixStream::connect_addr(&address).unwrap();
    let script = format!(
        "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un(\"\\0{}\")) or die; \
         print defined(sysread(S, $_, 1)) && length($_) ? 'told' : 'closed'",
        meeting.name()
    );
    let other_user = Command::new("perl").args(["-e", &script]).uid(65_533).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&other_user.stdout), "closed", "{other_user:?}");
    drop(silent);

    // It dies before it has all.
    let (runtime, predecessor) = meet(&meeting);
    drop((predecessor, runtime));
    let (old, given) = speaker.give();
    assert!(!given);
    still_there(&frr, &old, 8);

    // It hangs. Who waits for an answer is another speaker by now, with the same sessions.
    old.wanted.send_replace(Wanted::Nothing(Farewell::Cease));
    old.runtime.block_on(async { tokio::time::timeout(DEADLINE, old.task).await }).unwrap().unwrap();
    let mut speaker = Giving::first(&meeting);
    speaker.speaker.want(&all(7), Some(PASSWORD));
    both_established(&mut speaker.speaker);
    wait_for("the routes", || frr.route("198.51.100.7/32"));
    let hangs = meet(&meeting);
    let began = Instant::now();
    let (mut old, given) = speaker.give();
    assert!(!given && began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    both_established(&mut old);
    still_there(&frr, &old, 9);
    drop(hangs);
    old.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || frr.route("198.51.100.7/32").is_none().then_some(()));
    wait_for("nobody to listen any more", || {
        let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
        (!sockets.contains(meeting.name())).then_some(())
    });
}

fn still_there(frr: &Frr, speaker: &Speaker, low: u16) {
    speaker.want(&all(low), Some(PASSWORD));
    wait_for("the new community", || {
        frr.route("198.51.100.1/32")?.contains(&frr.community(64_512, low)).then_some(())
    });
    for peer in ["192.0.2.2", "2001:db8::2"] {
        let shown = frr.ask(&format!("show bgp neighbors {peer}"));
        assert!(shown.contains("BGP state = Established"), "{shown}");
    }
}

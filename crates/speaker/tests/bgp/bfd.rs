//! BFD alone: with itself, with BIRD, and with FRR.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ::bfd::config::{Interval, Profile};
use ::bfd::packet::State;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::gettid;
use prometheus_client::registry::Registry;
use speaker::bfd::{Bfd, BfdMetrics, Distance, Ending, Status, Statuses, Wanted, Way};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::process::{DEADLINE, Process, ip, renice, wait_for};

const NEAR: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

#[test]
fn two_speakers_hear_each_other() {
    let (near, far) = two_speakers();
    let peer = |it: &str| (way(it, None), wanted(300, 3, Distance::OneHop));
    let over_routers = |peer, source| (way(peer, Some(source)), wanted(300, 3, Distance::ManyHops));
    let here: Vec<_> = NEAR.map(peer).into_iter().chain([over_routers("192.0.2.1", "192.0.2.2")]).collect();
    let there = ["192.0.2.2", "2001:db8::2"].map(peer).into_iter();
    far.want(there.chain([over_routers("192.0.2.2", "192.0.2.1")]));
    near.want(here.clone());
    near.wait_until("all are up", 3, |it| it.state == State::Up);
    far.wait_until("all are up", 3, |it| it.state == State::Up);

    // Another profile, and another session beside, are no reason to go down.
    let changed = |(way, _): &(Way, Wanted)| (way.clone(), wanted(400, 4, Distance::ByAddress));
    let near_ones: Vec<_> = here[..2].iter().map(changed).chain(here[2..].to_vec()).collect();
    near.want(
        near_ones.clone().into_iter().chain([(way("192.0.2.77", None), wanted(300, 3, Distance::OneHop))]),
    );
    near.wait_until("three are up, one is not", 4, |_| true);
    far.wait_for_metric(r#"metallb_bfd_control_packet_input{peer="192.0.2.2",vrf=""}"#, |count| count > 12);
    near.want(near_ones);
    near.wait_until("all are up", 3, |it| it.state == State::Up && it.failures == 0);
    far.wait_until("all are up", 3, |it| it.state == State::Up && it.failures == 0);
    near.wait_for_metric(r#"metallb_bfd_session_up{peer="2001:db8::1",vrf=""}"#, |value| value == 1);
    near.wait_for_metric(r#"metallb_bfd_session_up_events{peer="2001:db8::1",vrf=""}"#, |value| value == 1);

    // One that is not wanted any more has not failed.
    near.want([here[1].clone()]);
    far.wait_until("two are down, one is not", 3, |it| it.failures == 0);
    wait_for("two are down", || {
        let statuses = far.statuses();
        let down = statuses.borrow().values().filter(|it| it.state == State::Down).count();
        (down == 2).then_some(())
    });
    near.want(here);
    near.wait_until("all are up again", 3, |it| it.state == State::Up && it.failures == 0);
    far.wait_until("all are up again", 3, |it| it.state == State::Up && it.failures == 0);

    near.end(Ending::Silent);
    far.wait_until("all have failed", 3, |it| it.state == State::Down && it.failures == 1);
}

#[test]
fn whoever_leaves_says_so() {
    let (near, far) = two_speakers();
    near.want(NEAR.map(|it| (way(it, None), wanted(300, 3, Distance::OneHop))));
    far.want(["192.0.2.2", "2001:db8::2"].map(|it| (way(it, None), wanted(300, 3, Distance::OneHop))));
    far.wait_until("both are up", 2, |it| it.state == State::Up);
    near.end(Ending::AdminDown);
    far.wait_until("both are down", 2, |it| it.state == State::Down);
    far.wait_until("none has failed", 2, |it| it.failures == 0);
}

#[test]
fn strangers_and_garbage_change_nothing() {
    let (near, far) = two_speakers();
    near.want([(way("192.0.2.1", None), wanted(300, 3, Distance::OneHop))]);
    far.want([(way("192.0.2.2", None), wanted(300, 3, Distance::OneHop))]);
    far.wait_until("it is up", 1, |it| it.state == State::Up);
    ip("address add 192.0.2.3/24 dev lan0");
    let down =
        [0x20, 0x40, 3, 24, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0];
    let send = |from: &str, ttl, bytes: &[u8]| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.set_ttl(ttl).unwrap();
        for _ in 0..5_000 {
            // The first tell that there is room for others.
            _ = socket.send_to(bytes, ("192.0.2.1", 3784));
        }
    };
    // A stranger; somebody in the peer's name, from behind a router and from the same network; and nonsense.
    send("192.0.2.3", 255, &down);
    send("192.0.2.2", 254, &down);
    send("192.0.2.2", 255, &down);
    send("192.0.2.2", 255, &[0xff; 1400]);
    send("192.0.2.2", 255, &[]);
    let dropped = r#"ferrolb_bfd_packets_discarded_total{reason="kernel"}"#;
    far.wait_for_metric(dropped, |count| count >= 25_000);
    let received = far.metric(r#"metallb_bfd_control_packet_input{peer="192.0.2.2",vrf=""}"#).unwrap();
    far.wait_for_metric(r#"metallb_bfd_control_packet_input{peer="192.0.2.2",vrf=""}"#, |count| {
        count > received + 4
    });
    far.wait_until("it is still up", 1, |it| it.state == State::Up && it.failures == 0);
    near.wait_until("it is still up", 1, |it| it.state == State::Up && it.failures == 0);
}

/// From the same link, by several at once, some of it in the name of the peer. Who sends is on the same processors here, which
/// it would not be: so it is nicer than both ends.
#[test]
fn a_flood_takes_no_session_down() {
    let (near, far) = two_speakers();
    let with_echo = |peer: &str| {
        let Wanted { profile, distance } = wanted(300, 3, Distance::OneHop);
        (way(peer, None), Wanted { profile: Profile { echo: Some(interval(300)), ..profile }, distance })
    };
    near.want(NEAR.map(with_echo));
    far.want(["192.0.2.2", "2001:db8::2"].map(with_echo));
    far.wait_until("both are up", 2, |it| it.state == State::Up);
    near.wait_until("both are up", 2, |it| it.state == State::Up);
    ip("address add 192.0.2.3/24 dev lan0");
    let down =
        [0x20, 0x40, 3, 24, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0];
    let mut named = down;
    named[8] = 1;
    let until = Instant::now() + Duration::from_secs(3);
    let flood = |from: &'static str, to: &'static str, port: u16, bytes: [u8; 24]| {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        if from.contains(':') {
            socket2::SockRef::from(&socket).set_unicast_hops_v6(255).unwrap();
        } else {
            socket.set_ttl(255).unwrap();
        }
        thread::spawn(move || {
            renice(gettid(), 19);
            let mut sent = 0_u64;
            while Instant::now() < until {
                sent += u64::from(socket.send_to(&bytes, (to, port)).is_ok());
            }
            sent
        })
    };
    let floods = [
        flood("192.0.2.3", "192.0.2.1", 3784, down),
        flood("192.0.2.2", "192.0.2.1", 3784, down),
        flood("192.0.2.2", "192.0.2.1", 3784, named),
        flood("192.0.2.2", "192.0.2.1", 3785, named),
        flood("2001:db8::2", "2001:db8::1", 3785, named),
    ];
    let sent = floods.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>();
    println!("{sent} packets in three seconds");
    for speaker in [&near, &far] {
        speaker.wait_until("both are still up", 2, |it| it.state == State::Up && it.failures == 0);
    }
}

#[test]
fn echo_packets_come_back_for_as_long_as_the_peer_forwards() {
    let (near, far) = two_speakers();
    let with_echo = |peer: &str| {
        let Wanted { profile, distance } = wanted(400, 4, Distance::OneHop);
        (way(peer, None), Wanted { profile: Profile { echo: Some(interval(300)), ..profile }, distance })
    };
    near.want(NEAR.map(with_echo));
    far.want(["192.0.2.2", "2001:db8::2"].map(with_echo));
    for peer in ["192.0.2.2", "2001:db8::2"] {
        let line = |kind| format!(r#"metallb_bfd_echo_packet_{kind}{{peer="{peer}",vrf=""}}"#);
        far.wait_for_metric(&line("output"), |count| count > 20);
        far.wait_for_metric(&line("input"), |count| count > 20);
    }
    far.wait_until("both are up", 2, |it| it.state == State::Up && it.failures == 0);
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    far.wait_until("one has failed", 1, |it| it.failures > 0);
    far.wait_until("and only that", 1, |it| it.state == State::Up && it.failures == 0);
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn bird_and_bfd() {
    with_router(bird);
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_and_bfd() {
    with_router(frr);
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_sends_echo_packets_back() {
    new_namespace();
    forward();
    let mut configuration = frr(300);
    for (_, file) in &mut configuration.files {
        let echo = "  echo transmit-interval 200\n  echo receive-interval 200\n  echo-mode\n";
        *file = file.replace("  no shutdown", &format!("{echo}  no shutdown"));
    }
    let router = Router::start(configuration);
    let speaker = Speaker::start();
    speaker.want(NEAR.map(|peer| {
        let Wanted { profile, distance } = wanted(300, 3, Distance::OneHop);
        (way(peer, None), Wanted { profile: Profile { echo: Some(interval(200)), ..profile }, distance })
    }));
    speaker.wait_until("both are up", 2, |it| it.state == State::Up);
    for peer in NEAR {
        let line = format!(r#"metallb_bfd_echo_packet_input{{peer="{peer}",vrf=""}}"#);
        speaker.wait_for_metric(&line, |count| count > 20);
    }
    let mut asking = Command::new("vtysh");
    let asked = asking.args(["--vty_socket", ".", "-c", "show bfd peers counters"]);
    let asked = asked.current_dir(router.process.path()).output().unwrap();
    println!("{}", String::from_utf8(asked.stdout).unwrap());
    speaker.wait_until("both are up", 2, |it| it.state == State::Up && it.failures == 0);
}

/// How soon is a router known to be gone? And how soon does a router know that this node is?
#[test]
#[ignore = "needs BIRD (bird2), and takes a minute in which nothing else should run"]
fn it_is_found_in_time_that_an_end_is_gone() {
    new_namespace();
    let router = Router::start(bird(50));
    for (millis, most) in [(50, 300), (100, 450)] {
        for loops in [0, 8] {
            renice(gettid(), 0);
            let load = Load::start(loops);
            let (mut peer_gone, mut we_are_gone) = (Vec::new(), Vec::new());
            for _ in 0..10 {
                renice(gettid(), 0);
                let speaker = Speaker::start();
                // Whoever looks at the clock is not what is measured.
                renice(gettid(), -20);
                speaker.want(NEAR[..1].iter().map(|it| (way(it, None), wanted(millis, 3, Distance::OneHop))));
                speaker.wait_until("it is up", 1, |it| it.state == State::Up);
                speaker.wait_for_metric(
                    r#"metallb_bfd_control_packet_input{peer="192.0.2.1",vrf=""}"#,
                    |count| count > 10,
                );
                // It stands for another machine, which the load of this one does not touch.
                router.process.renice(-20);
                let frozen = Instant::now();
                router.process.signal(Signal::SIGSTOP);
                let statuses = speaker.statuses();
                while statuses.borrow().values().any(|it| it.state == State::Up) {
                    thread::sleep(Duration::from_millis(1));
                }
                peer_gone.push(frozen.elapsed());
                router.process.signal(Signal::SIGCONT);
                speaker.wait_until("it is up", 1, |it| it.state == State::Up);
                wait_for("the router says so", || router.is_up("192.0.2.2").then_some(()));
                let ended = Instant::now();
                speaker.end(Ending::Silent);
                wait_for("the router notices", || (!router.is_up("192.0.2.2")).then_some(()));
                we_are_gone.push(ended.elapsed());
            }
            drop(load);
            let worst = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
            println!(
                "3 x {millis} ms, {loops} busy loops: router gone {:?}, worst {:?}; this node gone {:?}, worst {:?}",
                peer_gone,
                worst(&peer_gone),
                we_are_gone,
                worst(&we_are_gone)
            );
            assert!(worst(&peer_gone) < Duration::from_millis(most));
            assert!(worst(&we_are_gone) < Duration::from_millis(most));
        }
    }
}

/// As fast as most routers are to be. A router that the machine keeps waiting for a tenth of a second is not to be taken for lost.
fn with_router(configuration: fn(u32) -> Configuration) {
    new_namespace();
    let router = Router::start(configuration(300));
    let speaker = Speaker::start();
    let near = |millis| {
        let near = NEAR.map(|it| (way(it, None), wanted(millis, 3, Distance::ByAddress)));
        let Wanted { profile, distance } = wanted(millis, 3, Distance::ManyHops);
        // BIRD sends with a TTL of 64 over several hops.
        let profile = Profile { least_ttl: 60.try_into().unwrap(), ..profile };
        let over_routers = (way("192.0.2.1", Some("192.0.2.2")), Wanted { profile, distance });
        near.into_iter().chain([over_routers])
    };
    speaker.want(near(300));
    speaker.wait_until("all are up", 3, |it| it.state == State::Up);
    wait_for("the router says so", || {
        (router.is_up("192.0.2.2") && router.is_up("2001:db8::2")).then_some(())
    });
    for millis in [400, 350, 600, 300] {
        speaker.want(near(millis));
        let (now, line) = (Instant::now(), r#"metallb_bfd_control_packet_output{peer="192.0.2.1",vrf=""}"#);
        let sent = speaker.metric(line).unwrap_or_default();
        speaker.wait_for_metric(line, |count| count >= sent + 8);
        println!("at {millis} ms, eight packets in {:?}", now.elapsed());
        speaker.wait_until("all are up", 3, |it| it.state == State::Up && it.failures == 0);
    }
    router.process.signal(Signal::SIGSTOP);
    speaker.wait_until("all have failed", 3, |it| it.state == State::Down && it.failures == 1);
    router.process.signal(Signal::SIGCONT);
    speaker.wait_until("all are up again", 3, |it| it.state == State::Up);
    wait_for("the router says so", || {
        (router.is_up("192.0.2.2") && router.is_up("2001:db8::2")).then_some(())
    });

    speaker.end(Ending::AdminDown);
    wait_for("the router hears of the end", || {
        (!router.is_up("192.0.2.2") && !router.is_up("2001:db8::2")).then_some(())
    });
}

pub(crate) fn new_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link set lo up");
    ip("link add lan0 type veth peer name peer0");
    ip("address add 192.0.2.2/24 dev lan0");
    ip("address add 2001:db8::2/64 dev lan0 nodad");
    ip("link set lan0 up");
}

/// One in the namespace of this thread, and one at the other end of a cable.
fn two_speakers() -> (Speaker, Speaker) {
    new_namespace();
    let (sender, thread_of_far) = mpsc::channel();
    let (cable, has_cable) = mpsc::channel();
    let far = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        sender.send(gettid()).unwrap();
        has_cable.recv().unwrap();
        ip("link set lo up");
        ip("address add 192.0.2.1/24 dev peer0");
        ip("address add 2001:db8::1/64 dev peer0 nodad");
        ip("link set peer0 up");
        forward();
        Speaker::start()
    });
    ip(&format!("link set peer0 netns {}", thread_of_far.recv().unwrap()));
    cable.send(()).unwrap();
    forward();
    (Speaker::start(), far.join().unwrap())
}

/// How a router is set up, and how to ask it.
struct Configuration {
    /// Names of files, and what is in them.
    files: Vec<(&'static str, String)>,
    script: &'static str,
    question: &'static [&'static str],
}

fn bird(millis: u32) -> Configuration {
    let configuration = format!(
        "router id 192.0.2.1;
         protocol device {{}}
         protocol bfd {{
           interface \"peer0\" {{ interval {millis} ms; multiplier 3; }};
           neighbor 192.0.2.2 dev \"peer0\";
           neighbor 2001:db8::2 dev \"peer0\" local 2001:db8::1;
           multihop {{ interval {millis} ms; multiplier 3; }};
           neighbor 192.0.2.2 local 192.0.2.1 multihop on;
         }}\n"
    );
    Configuration {
        files: vec![("bird.conf", configuration)],
        script: "exec bird -f -c bird.conf -s control -P pid",
        question: &["birdc", "-s", "control", "show", "bfd", "sessions"],
    }
}

fn frr(millis: u32) -> Configuration {
    let peer = |address: &str, local: &str, way: &str| {
        format!(
            " peer {address} {way} local-address {local}
  receive-interval {millis}
  transmit-interval {millis}
  detect-multiplier 3
  no shutdown\n"
        )
    };
    let configuration = [
        "bfd\n".to_owned(),
        peer("192.0.2.2", "192.0.2.1", "interface peer0"),
        peer("2001:db8::2", "2001:db8::1", "interface peer0"),
        peer("192.0.2.2", "192.0.2.1", "multihop"),
    ];
    Configuration {
        files: vec![("bfdd.conf", configuration.concat()), ("zebra.conf", String::new())],
        script: "echo 1 > /proc/sys/net/ipv4/ip_forward
                 echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
                 PATH=/usr/lib/frr:$PATH
                 chown -R frr:frr .
                 common=\"-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout\"
                 zebra $common -f $PWD/zebra.conf -i $PWD/zebra.pid -d
                 exec bfdd $common --bfdctl $PWD/bfdd.sock -f $PWD/bfdd.conf -i $PWD/bfdd.pid",
        question: &["vtysh", "--vty_socket", ".", "-c", "show bfd peers brief"],
    }
}

struct Router {
    process: Process,
    question: &'static [&'static str],
}

impl Router {
    fn start(Configuration { files, script, question }: Configuration) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self { process: Process::start(folder, script), question }
    }

    /// Whether its session with this peer is up.
    fn is_up(&self, peer: &str) -> bool {
        let [program, arguments @ ..] = self.question else { return false };
        let asked = Command::new(program).args(arguments).current_dir(self.process.path()).output().unwrap();
        let answer = String::from_utf8(asked.stdout).unwrap();
        let mut words = answer.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.any(|words| words.contains(&peer) && words.iter().any(|word| word.eq_ignore_ascii_case("up")))
    }
}

/// Keeps the processors busy.
struct Load(Vec<Child>);

impl Load {
    fn start(loops: usize) -> Self {
        Self(
            (0..loops)
                .map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
                .collect(),
        )
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

fn way(peer: &str, source: Option<&str>) -> Way {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    Way { peer: ip(peer), source: source.map(ip), interface: None, vrf: None }
}

fn wanted(millis: u64, multiplier: u8, distance: Distance) -> Wanted {
    let (interval, multiplier) = (interval(millis), multiplier.try_into().unwrap());
    let profile = Profile { transmit: interval, receive: interval, multiplier, ..Profile::default() };
    Wanted { profile, distance }
}

fn interval(millis: u64) -> Interval {
    Duration::from_millis(millis).try_into().unwrap()
}

/// In the namespace of this thread.
fn forward() {
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        fs::write(format!("/proc/sys/net/{file}"), "1").unwrap();
    }
}

/// One end.
struct Speaker {
    bfd: RefCell<Bfd>,
    registry: Registry,
}

impl Speaker {
    /// In the namespace of this thread: the thread of BFD begins there.
    fn start() -> Self {
        let metrics = BfdMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut bfd = Bfd::new(metrics);
        // So that it does begin.
        bfd.want(BTreeMap::from([(way("192.0.2.99", None), wanted(50, 3, Distance::OneHop))]));
        Self { bfd: RefCell::new(bfd), registry }
    }

    fn want(&self, sessions: impl IntoIterator<Item = (Way, Wanted)>) {
        self.bfd.borrow_mut().want(sessions.into_iter().collect());
    }

    fn end(self, ending: Ending) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.bfd.into_inner().end(ending));
    }

    fn wait_until(&self, what: &str, count: usize, condition: impl Fn(&Status) -> bool) {
        let statuses = self.statuses();
        let (began, all) = (Instant::now(), || statuses.borrow().clone());
        while all().values().filter(|it| condition(it)).count() < count {
            assert!(began.elapsed() < DEADLINE, "{what}: {:?}", all());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn statuses(&self) -> watch::Receiver<Statuses> {
        self.bfd.borrow().statuses()
    }

    fn metric(&self, name: &str) -> Option<u64> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        lines.next()
    }

    fn wait_for_metric(&self, name: &str, condition: impl Fn(u64) -> bool) {
        wait_for(name, || self.metric(name).filter(|&value| condition(value)));
    }
}

//! Sessions of BGP and BFD with real routers, each in a network namespace of its own at the other end of a veth pair.
//!
//! Needs root, and BIRD, FRR, GoBGP and OpenBGPD of Debian: `cargo test -p speaker --test bgp -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod attributes;
mod beside;
mod bfd;
mod gobgp;
mod handover;
mod hostile;
mod openbgpd;
mod others;
mod process;
mod received;
mod unnumbered;

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bgp::config::{AsNumbers, Families, Hops, PORT, PeerAs, SessionConfig, Timers, Transport};
use bgp::route::{Attributes, Communities, Prefix, Routes};
use bgp::session::{Farewell, Past, State};
use nix::sched::{CloneFlags, unshare};
use process::{DEADLINE, Process, ip, wait_for};
use prometheus_client::registry::Registry;
use speaker::bgp::{BgpMetrics, Peering, Statuses, Wanted, run};
use tempfile::TempDir;
use tokio::sync::watch;

const PASSWORD: &str = "correct-horse";

#[test]
#[ignore = "needs BIRD (bird2)"]
fn bird_hears_what_is_announced() {
    announce_to(Bird::start);
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_hears_what_is_announced() {
    announce_to(Frr::start);
}

/// A router with two sessions, by IPv4 and by IPv6, both with a password and for both families.
trait Router {
    /// What it has to say of the best route to a prefix, if there is one.
    fn route(&self, prefix: &str) -> Option<String>;
    /// How it writes a community.
    fn community(&self, high: u16, low: u16) -> String;
}

fn announce_to<R: Router>(start: fn() -> R) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link add lan0 type veth peer name peer0");
    ip("address add 192.0.2.2/24 dev lan0");
    ip("address add 2001:db8::2/64 dev lan0 nodad");
    ip("link set lan0 up");
    let router = start();
    let mut speaker = Speaker::start(Past::Fresh);

    let all = |low| routes(&["198.51.100.1/32", "203.0.113.0/24", "2001:db8:1::1/128"], low);
    speaker.want(&all(7), Some(PASSWORD));
    speaker.wait_until("both are established", |statuses| {
        statuses.len() == 2 && statuses.values().all(|it| it.state == State::Established)
    });
    let opens = speaker.opens();
    for prefix in ["198.51.100.1/32", "203.0.113.0/24", "2001:db8:1::1/128"] {
        let route = wait_for(prefix, || router.route(prefix));
        assert!(route.contains(&router.community(64_512, 7)), "{prefix}: {route}");
    }
    let route = router.route("198.51.100.1/32").unwrap();
    assert!(route.contains("192.0.2.2"), "the next hop: {route}");
    let route = router.route("2001:db8:1::1/128").unwrap();
    assert!(route.contains("2001:db8::2"), "the next hop: {route}");

    for low in 8..20 {
        speaker.want(&all(low), Some(PASSWORD));
        wait_for("the new community", || {
            let route = router.route("198.51.100.1/32")?;
            route.contains(&router.community(64_512, low)).then_some(())
        });
    }
    speaker.want(&routes(&["203.0.113.0/24"], 20), Some(PASSWORD));
    wait_for("the withdrawal", || router.route("198.51.100.1/32").is_none().then_some(()));
    assert!(router.route("203.0.113.0/24").is_some());
    for line in [
        r#"metallb_bgp_session_up{peer="192.0.2.1:179",vrf=""} 1"#,
        r#"metallb_bgp_announced_prefixes_total{peer="2001:db8::1:179",vrf=""} 1"#,
    ] {
        speaker.wait_for_metric(line);
    }
    assert_eq!(speaker.opens(), opens, "no session is touched when routes change");

    speaker.want(&routes(&["203.0.113.0/24"], 20), Some("another one"));
    speaker.wait_until("no session comes up by a wrong password", |statuses| {
        statuses.values().all(|it| it.state != State::Established)
    });
    speaker.wait_until("it is said what a wrong password looks like", |statuses| {
        statuses.values().all(|it| it.why.contains("has another password for this node"))
    });
    wait_for("the routes to go", || router.route("203.0.113.0/24").is_none().then_some(()));
    speaker.want(&all(21), Some(PASSWORD));
    wait_for("the routes", || router.route("203.0.113.0/24"));

    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    let shutdown = router.community(65_535, 0);
    wait_for("the announcement of the end", || {
        router.route("203.0.113.0/24").filter(|route| route.contains(&shutdown))
    });
    wait_for("the end", || router.route("203.0.113.0/24").is_none().then_some(()));
    speaker.runtime.block_on(async { tokio::time::timeout(DEADLINE, speaker.task).await }).unwrap().unwrap();
}

/// A session by IPv4 for both families, from an interface without an IPv6 address but its link-local one.
#[test]
#[ignore = "needs FRR (frr)"]
fn routes_without_a_next_hop_are_announced_as_soon_as_there_is_one() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link add lan0 type veth peer name peer0");
    ip("address add 192.0.2.2/24 dev lan0");
    ip("link set lan0 up");
    let frr = Frr::start();
    let mut speaker = Speaker::start(Past::Fresh);
    let session = config("192.0.2.1".parse().unwrap(), Some(PASSWORD));
    speaker.hold([session], &routes(&["198.51.100.1/32", "2001:db8:1::1/128"], 7));
    speaker.wait_until("it is said what is missing", |all| {
        all.values().any(|it| {
            let said = it.held_back.concat();
            it.announced == 1 && said.contains("the interface of 192.0.2.2 has no IPv6 address")
        })
    });
    wait_for("the other route", || frr.route("198.51.100.1/32"));
    let opens = speaker.opens();
    ip("address add 2001:db8::2/64 dev lan0 nodad");
    let route = wait_for("the route", || frr.route("2001:db8:1::1/128"));
    assert!(route.contains("2001:db8::2"), "the next hop: {route}");
    speaker.wait_until("nothing is missing", |all| all.values().all(|it| it.held_back.is_empty()));
    assert_eq!(speaker.opens(), opens, "the session goes on");
}

fn routes(prefixes: &[&str], low: u16) -> Routes {
    let community = bgp::route::Community::new(64_512, low);
    let communities = Communities::new([community]).unwrap();
    let attributes = Arc::new(Attributes { communities, ..Attributes::default() });
    prefixes.iter().map(|it| (it.parse::<Prefix>().unwrap(), Arc::clone(&attributes))).collect()
}

/// What is tested, with two sessions.
struct Speaker {
    runtime: tokio::runtime::Runtime,
    wanted: watch::Sender<Wanted>,
    statuses: watch::Receiver<Statuses>,
    registry: Registry,
    task: tokio::task::JoinHandle<()>,
}

impl Speaker {
    fn start(past: Past) -> Self {
        // Its thread begins in the namespace of this one.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let (wanted, to_do) = watch::channel(Wanted::default());
        let (sender, statuses) = watch::channel(Statuses::new());
        let metrics = BgpMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let task = runtime.spawn(run(to_do, past, sender, metrics));
        Self { runtime, wanted, statuses, registry, task }
    }

    fn want(&self, routes: &Routes, password: Option<&str>) {
        self.hold(["192.0.2.1", "2001:db8::1"].map(|peer| config(peer.parse().unwrap(), password)), routes);
    }

    fn hold(&self, sessions: impl IntoIterator<Item = SessionConfig>, routes: &Routes) {
        let routes = Arc::new(routes.clone());
        let peering = |config: SessionConfig| {
            (config.name.clone(), Peering { config: Arc::new(config), routes: Arc::clone(&routes) })
        };
        self.wanted.send_replace(Wanted::Sessions(sessions.into_iter().map(peering).collect()));
    }

    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Statuses) -> bool) {
        let met = self.statuses.wait_for(|statuses| condition(statuses));
        let met = self.runtime.block_on(async { tokio::time::timeout(DEADLINE, met).await.map(drop) });
        assert!(met.is_ok(), "{what}: {:?}", self.statuses.borrow());
    }

    /// Waits until its metrics have this line. What a router has seen may be counted a moment later.
    fn wait_for_metric(&self, line: &str) {
        wait_for(line, || self.metrics().lines().any(|it| it == line).then_some(()));
    }

    /// How many OPEN messages were sent, a line for each session. Two numbers are to be compared, none to be expected: a
    /// router may end the first sessions itself, as FRR does until it knows its interfaces.
    fn opens(&self) -> Vec<String> {
        let metrics = self.metrics();
        metrics
            .lines()
            .filter(|line| line.starts_with("metallb_bgp_opens_sent{"))
            .map(str::to_owned)
            .collect()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn config(peer: IpAddr, password: Option<&str>) -> SessionConfig {
    SessionConfig {
        name: format!("by {peer}").into(),
        transport: Transport::new(peer, None).unwrap(),
        port: PORT,
        vrf: None,
        asns: AsNumbers {
            own: 64_512.try_into().unwrap(),
            shown: None,
            peer: PeerAs::Is(64_513.try_into().unwrap()),
        },
        router_id: std::net::Ipv4Addr::new(192, 0, 2, 2).try_into().unwrap(),
        timers: Timers::new(Some(Duration::from_secs(9)), None, Some(Duration::from_secs(1))).unwrap(),
        password: password.map(|password| password.parse().unwrap()),
        hops: Hops::One,
        families: Families::Both,
        graceful_restart: None,
        bfd: None,
    }
}

struct Bird(Process);

impl Bird {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let session = |name: &str, local: &str, neighbor: &str| {
            format!(
                "protocol bgp {name} {{ local {local} as 64513; neighbor {neighbor} as 64512; passive yes;
                 password \"{PASSWORD}\"; ipv4 {{ import all; export none; extended next hop; }};
                 ipv6 {{ import all; export none; }}; }}\n"
            )
        };
        let configuration = [
            "log \"events\" all;\ndebug protocols { events };\nrouter id 192.0.2.1;\nprotocol device {}\n"
                .to_owned(),
            session("by4", "192.0.2.1", "192.0.2.2"),
            session("by6", "2001:db8::1", "2001:db8::2"),
        ];
        fs::write(folder.path().join("bird.conf"), configuration.concat()).unwrap();
        Self(Process::start(folder, "exec bird -f -c bird.conf -s control -P pid"))
    }

    fn ask(&self, question: &str) -> String {
        let control = self.0.path().join("control");
        let asked = Command::new("birdc").arg("-s").arg(control).args(question.split(' ')).output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    }

    /// How often a session has come up.
    fn times_established(&self) -> usize {
        let log = fs::read_to_string(self.0.path().join("events")).unwrap();
        log.lines().filter(|line| line.contains("BGP session established")).count()
    }
}

impl Router for Bird {
    fn route(&self, prefix: &str) -> Option<String> {
        Some(self.ask(&format!("show route {prefix} all"))).filter(|route| route.contains("BGP.origin"))
    }

    fn community(&self, high: u16, low: u16) -> String {
        format!("({high},{low})")
    }
}

/// zebra and bgpd: without the first, the other takes no next hop to be reachable.
struct Frr(Process);

impl Frr {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let configuration = format!(
            "router bgp 64513
              bgp router-id 192.0.2.1
              no bgp ebgp-requires-policy
              neighbor 192.0.2.2 remote-as 64512
              neighbor 192.0.2.2 passive
              neighbor 192.0.2.2 password {PASSWORD}
              neighbor 2001:db8::2 remote-as 64512
              neighbor 2001:db8::2 passive
              neighbor 2001:db8::2 password {PASSWORD}
              address-family ipv4 unicast
               neighbor 192.0.2.2 activate
               neighbor 2001:db8::2 activate
              exit-address-family
              address-family ipv6 unicast
               neighbor 192.0.2.2 activate
               neighbor 2001:db8::2 activate
              exit-address-family
             "
        );
        fs::write(folder.path().join("bgpd.conf"), configuration).unwrap();
        fs::write(folder.path().join("zebra.conf"), "").unwrap();
        let common = "-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout";
        let script = format!(
            "PATH=/usr/lib/frr:$PATH
             chown -R frr:frr .
             zebra {common} -f $PWD/zebra.conf -i $PWD/zebra.pid -d
             exec bgpd {common} -f $PWD/bgpd.conf -i $PWD/bgpd.pid"
        );
        Self(Process::start(folder, &script))
    }

    fn ask(&self, question: &str) -> String {
        let folder = self.0.path();
        let asked = Command::new("vtysh").arg("--vty_socket").arg(folder).args(["-c", question]).output();
        String::from_utf8(asked.unwrap().stdout).unwrap()
    }
}

impl Router for Frr {
    fn route(&self, prefix: &str) -> Option<String> {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let route = self.ask(&format!("show bgp {family} unicast {prefix}"));
        Some(route).filter(|route| route.contains("best"))
    }

    fn community(&self, high: u16, low: u16) -> String {
        match (high, low) {
            (65_535, 0) => "graceful-shutdown".to_owned(),
            _ => format!("{high}:{low}"),
        }
    }
}

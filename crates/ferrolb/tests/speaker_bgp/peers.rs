//! What the fields of peers do to their sessions, as the router sees these.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Bird, Cluster, DEADLINE, NAMESPACE, Process, new_network, wait};

const WEB_1: &str = "198.51.100.1/32";
const WEB_2: &str = "198.51.100.2/32";
const V6: &str = "2001:db8:1::9/128";
const V4_BESIDE: &str = "192.0.2.200/32";

/// Sessions for both families with whoever connects: `x` and `y` by IPv4, `six` by IPv6.
fn sessions() -> String {
    let session = |name: &str, local: &str, neighbor: &str, more: &str| {
        format!(
            "protocol bgp {name} {{
               local {local} as 64513; neighbor {neighbor} external; passive yes; error wait time 1, 1; {more}
               ipv4 {{ import all; export none; }}; ipv6 {{ import all; export none; }};
             }}\n"
        )
    };
    [
        "protocol bfd { interface \"peer0\" { interval 300 ms; multiplier 10; }; }\n".to_owned(),
        session("x", "192.0.2.13", "192.0.2.2", "bfd on;"),
        session("y", "192.0.2.11", "192.0.2.4", ""),
        session("six", "2001:db8::1", "2001:db8::2", ""),
    ]
    .concat()
}

struct Site {
    cluster: Cluster,
    bird: Bird,
    folder: TempDir,
}

impl Site {
    /// With the objects of the steps, of which one advertisement is for everything, and no speaker.
    fn new() -> Self {
        new_network();
        let folder = TempDir::new().unwrap();
        let cluster = Cluster::start();
        cluster.fill_for_steps();
        cluster.advertise("first", &json!({}));
        let bird = Bird::with(&folder, &sessions());
        Self { cluster, bird, folder }
    }

    fn speaker(&self, log: &str) -> Process {
        self.cluster.speaker(&self.folder, log, &["--http-bind=127.0.0.1:17472"])
    }

    /// Makes a peer for the other end of a session.
    fn add_peer(&self, session: &str, fields: &Value) {
        let (peer, source) = match session {
            "x" => ("192.0.2.13", "192.0.2.2"),
            "y" => ("192.0.2.11", "192.0.2.4"),
            _ => ("2001:db8::1", "2001:db8::2"),
        };
        let mut spec = json!({
            "myASN": 64512, "peerASN": 64513, "peerAddress": peer, "sourceAddress": source, "connectTime": "1s",
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.cluster.create("BGPPeer", NAMESPACE, &json!({"metadata": {"name": session}, "spec": spec}));
    }

    fn change_peer(&self, session: &str, fields: &Value) {
        self.cluster.patch("BGPPeer", NAMESPACE, session, &json!({"spec": fields}));
    }

    /// The prefixes that the router was told of in a session.
    fn told(&self, session: &str) -> Vec<String> {
        self.bird.table(&[session]).into_keys().collect()
    }

    fn wait_until_told(&self, session: &str, prefixes: &[&str]) {
        let met = lab::wait_until(session, DEADLINE, || {
            let told = self.told(session);
            anyhow::ensure!(told == prefixes, "{told:?} instead of {prefixes:?}");
            Ok(())
        });
        met.unwrap();
    }

    /// Waits until the router shows all of this about a session.
    fn wait_for_session(&self, session: &str, texts: &[&str]) {
        let met = lab::wait_until(session, DEADLINE, || {
            let shown = self.bird.ask(&format!("show protocols all {session}"));
            for text in texts {
                anyhow::ensure!(shown.contains(text), "there is no {text} in\n{shown}");
            }
            Ok(())
        });
        met.unwrap();
    }

    /// What the speaker reports of a session: whether it is up, and why not.
    fn reported(&self, peer: &str) -> Option<(String, String)> {
        let report = self.cluster.list("ConfigurationState", NAMESPACE).pop()?;
        let conditions = report.data["status"]["conditions"].as_array()?;
        let of_it = conditions.iter().find(|it| it["type"] == format!("session.ferrolb.io/{peer}"))?;
        let text = |field: &str| of_it[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("message")))
    }
}

fn wait_for_metric(line: &str) {
    wait(line, || metrics().lines().any(|it| it == line).then_some(()));
}

/// Of the speaker.
fn metrics() -> String {
    let curl = Command::new("curl").args(["-s", "http://127.0.0.1:17472/metrics"]).output().unwrap();
    String::from_utf8(curl.stdout).unwrap()
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn the_router_sees_each_field_of_a_peer() {
    const BOTH: &[&str] = &[V4_BESIDE, WEB_1, WEB_2, V6, "203.0.113.5/32"];
    const ALL_V4: &[&str] = &[V4_BESIDE, WEB_1, WEB_2, "203.0.113.5/32"];
    let site = Site::new();
    let pool = json!({"metadata": {"name": "dual"}, "spec": {"addresses": [V4_BESIDE, "2001:db8:1::/64"]}});
    site.cluster.create("IPAddressPool", NAMESPACE, &pool);
    site.cluster.serve("dual", "dual", 80, &["192.0.2.200", "2001:db8:1::9"]);
    let _speaker = site.speaker("speaker.log");

    let fields = json!({"routerID": "192.0.2.99", "localASN": 65000, "holdTime": "9s"});
    site.add_peer("x", &fields);
    site.wait_until_told("x", ALL_V4);
    site.wait_for_session("x", &["Neighbor ID:      192.0.2.99", "Neighbor AS:      65000", "/9\n"]);
    assert!(site.bird.route(WEB_1).unwrap().contains("BGP.as_path: 65000\n"), "the other number shows");

    let fields = json!({"routerID": null, "localASN": null, "holdTime": "30s"});
    site.change_peer("x", &fields);
    site.wait_for_session("x", &["Neighbor ID:      192.0.2.2", "Neighbor AS:      64512", "/30\n"]);
    site.wait_until_told("x", ALL_V4);

    // Of which AS the router may be.
    site.change_peer("x", &json!({"peerASN": 0, "dynamicASN": "internal"}));
    site.wait_until_told("x", &[]);
    wait("the report", || {
        site.reported("x").filter(|(status, why)| status == "False" && why.contains("bad peer AS"))
    });
    site.change_peer("x", &json!({"dynamicASN": "external"}));
    site.wait_until_told("x", ALL_V4);

    // Families, by a connection of either.
    site.change_peer("x", &json!({"dualStackAddressFamily": true}));
    site.wait_until_told("x", BOTH);
    site.add_peer("six", &json!({}));
    site.wait_until_told("six", &[V6]);
    site.change_peer("six", &json!({"dualStackAddressFamily": true}));
    site.wait_until_told("six", BOTH);
    let route = site.bird.ask("show route 198.51.100.1/32 protocol six all");
    assert!(route.contains("BGP.next_hop: 192.0.2.2\n"), "{route}");
    site.cluster.delete("BGPPeer", NAMESPACE, "six");
    site.wait_until_told("six", &[]);

    // A router that goes and comes back is found again soon.
    site.bird.ask("disable x");
    site.wait_until_told("x", &[]);
    site.bird.ask("enable x");
    let began = Instant::now();
    site.wait_until_told("x", BOTH);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}, and it tries each second", began.elapsed());
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn a_speaker_shows_its_sessions_under_the_names_of_metallb() {
    let site = Site::new();
    let _speaker = site.speaker("speaker.log");
    // Slow, so that a busy machine ends nothing.
    let profile = json!({"receiveInterval": 300, "transmitInterval": 300, "detectMultiplier": 10});
    site.cluster.create("BFDProfile", NAMESPACE, &json!({"metadata": {"name": "fast"}, "spec": profile}));
    site.add_peer("x", &json!({"bfdProfile": "fast"}));
    site.wait_until_told("x", &[WEB_1, WEB_2, "203.0.113.5/32"]);
    wait_for_metric("metallb_bfd_session_up{peer=\"192.0.2.13\",vrf=\"\"} 1");
    wait_for_metric("metallb_bgp_session_up{peer=\"192.0.2.13:179\",vrf=\"\"} 1");
    wait_for_metric("metallb_bgp_announced_prefixes_total{peer=\"192.0.2.13:179\",vrf=\"\"} 3");
    let shown = metrics();
    let of_bgp = [
        "session_up",
        "announced_prefixes_total",
        "pending_prefixes_total",
        "updates_total",
        "updates_total_received",
        "opens_sent",
        "opens_received",
        "notifications_sent",
        "keepalives_sent",
        "keepalives_received",
        "route_refresh_sent",
        "total_sent",
        "total_received",
    ]
    .map(|name| format!("metallb_bgp_{name}{{peer=\"192.0.2.13:179\",vrf=\"\"}} "));
    let of_bfd = [
        "session_up",
        "control_packet_input",
        "control_packet_output",
        "echo_packet_input",
        "echo_packet_output",
        "session_up_events",
        "session_down_events",
        "zebra_notifications",
    ]
    .map(|name| format!("metallb_bfd_{name}{{peer=\"192.0.2.13\",vrf=\"\"}} "));
    let of_configuration =
        ["metallb_k8s_client_config_loaded_bool 1", "metallb_k8s_client_config_stale_bool 0"];
    for name in of_bgp.iter().chain(&of_bfd).map(String::as_str).chain(of_configuration) {
        assert!(shown.lines().any(|line| line.starts_with(name)), "{name} is not in\n{shown}");
    }

    // The profile changes, and a Service comes: nothing of it ends a session.
    site.cluster.patch("BFDProfile", NAMESPACE, "fast", &json!({"spec": {"detectMultiplier": 12}}));
    site.cluster.serve("new", "one", 80, &["198.51.100.77"]);
    site.wait_until_told("x", &[WEB_1, WEB_2, "198.51.100.77/32", "203.0.113.5/32"]);
    assert_eq!(site.bird.times_up("x"), 1);
    wait_for_metric("metallb_bfd_session_down_events{peer=\"192.0.2.13\",vrf=\"\"} 0");

    // The router stands still.
    site.bird.process.signal(Signal::SIGSTOP);
    wait_for_metric("metallb_bfd_session_up{peer=\"192.0.2.13\",vrf=\"\"} 0");
    wait_for_metric("metallb_bgp_session_up{peer=\"192.0.2.13:179\",vrf=\"\"} 0");
    wait_for_metric("metallb_bfd_session_down_events{peer=\"192.0.2.13\",vrf=\"\"} 1");
    site.bird.process.signal(Signal::SIGCONT);
    wait_for_metric("metallb_bfd_session_up{peer=\"192.0.2.13\",vrf=\"\"} 1");
    site.wait_until_told("x", &[WEB_1, WEB_2, "198.51.100.77/32", "203.0.113.5/32"]);

    site.cluster.delete("BGPPeer", NAMESPACE, "x");
    wait("the end of its metrics", || (!metrics().contains("peer=\"192.0.2.13")).then_some(()));
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn routes_outlive_a_speaker_that_is_killed_where_the_peer_restarts_gracefully() {
    const ALL: &[&str] = &[WEB_1, WEB_2, "203.0.113.5/32"];
    let site = Site::new();
    site.add_peer("x", &json!({"enableGracefulRestart": true}));
    site.add_peer("y", &json!({}));
    let mut first = site.speaker("first.log");
    site.wait_until_told("x", ALL);
    site.wait_until_told("y", ALL);

    first.signal(Signal::SIGKILL);
    first.0.wait().unwrap();
    site.wait_until_told("y", &[]);
    assert_eq!(site.told("x"), ALL);
    // What is no more when the next one starts goes, and nothing else.
    site.cluster.delete("EndpointSlice", "default", "mail-1");
    let _second = site.speaker("second.log");
    wait("the routes of the next one", || {
        let told = site.told("x");
        assert!(told.starts_with(&[WEB_1.to_owned(), WEB_2.to_owned()]), "{told:?}");
        (told.len() == 2 && site.told("y").len() == 2).then_some(())
    });
}

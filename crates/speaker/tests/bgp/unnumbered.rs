//! Routers that are found by an interface: no address is configured on either end but link-local ones.

use std::fs;
use std::time::Duration;

use ::bfd::config::{Interval, Profile};
use bgp::config::{AsNumbers, PeerAs, SessionConfig, Transport};
use bgp::session::{Farewell, Past, State};
use nix::sched::{CloneFlags, unshare};
use speaker::bgp::{Status, Wanted};
use tempfile::TempDir;

use crate::beside::vtysh;
use crate::process::{Process, ip, wait_for};
use crate::{Speaker, config, routes};

const V4: &str = "198.51.100.1/32";
const V6: &str = "2001:db8:1::1/128";
const PASSWORD: &str = "correct-horse";

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_is_found_behind_an_interface() {
    cable();
    let frr = frr("");
    let mut speaker = Speaker::start(Past::Fresh);
    // What another node has is missing here, and is no trouble for the rest.
    speaker.hold([unnumbered("lan0"), unnumbered("lan9")], &routes(&[V4, V6], 7));
    established(&mut speaker);
    speaker.wait_until("it is said what is missing", |all| {
        is(&all[&"by lan9".into()], State::Active, "this node has no such interface")
    });
    has_routes(&frr);
    // In the kernel as well, where it is all the same to IPv4 that the next hop is an IPv6 address.
    wait_for("the routes of the kernel", || {
        let (v4, v6) = (frr.run("ip route show 198.51.100.1"), frr.run("ip -6 route show 2001:db8:1::1"));
        (v4.contains("peer0") && v6.contains("via fe80::")).then_some(())
    });
    let metrics = speaker.metrics();
    let line = r#"metallb_bgp_session_up{peer="lan0:179",vrf=""} 1"#;
    assert!(metrics.contains(line), "{metrics}");

    ip("link set lan0 down");
    speaker.wait_until("the interface is down", |all| {
        is(&all[&"by lan0".into()], State::Active, "the interface is down")
    });
    ip("link set lan0 up");
    established(&mut speaker);
    has_routes(&frr);

    ip("link delete lan0");
    speaker.wait_until("the interface is gone", |all| {
        is(&all[&"by lan0".into()], State::Active, "this node has no such interface")
    });
    ip("link add lan0 type veth peer name peer0");
    frr.plug();
    ip("link set lan0 up");
    established(&mut speaker);
    has_routes(&frr);

    speaker.hold([unnumbered("lan0")], &routes(&[V4], 8));
    wait_for("the withdrawal", || {
        (!vtysh(&frr, &format!("show bgp ipv6 unicast {V6}")).contains("best")).then_some(())
    });
    speaker.wanted.send_replace(Wanted::Nothing(Farewell::Leave));
    wait_for("the end", || {
        (!vtysh(&frr, &format!("show bgp ipv4 unicast {V4}")).contains("best")).then_some(())
    });
}

#[test]
#[ignore = "needs FRR (frr)"]
fn frr_behind_an_interface_has_a_password_and_bfd() {
    cable();
    let frr = frr(&format!("neighbor peer0 bfd\n neighbor peer0 password {PASSWORD}"));
    let mut speaker = Speaker::start(Past::Fresh);
    let interval = Interval::try_from(Duration::from_millis(100)).unwrap();
    let profile = Profile { transmit: interval, receive: interval, ..Profile::default() };
    let session =
        SessionConfig { bfd: Some(profile), password: Some(PASSWORD.parse().unwrap()), ..unnumbered("lan0") };
    speaker.hold([session.clone()], &routes(&[V4, V6], 7));
    established(&mut speaker);
    has_routes(&frr);
    wait_for("BFD is up", || {
        let metrics = speaker.metrics();
        let mut lines =
            metrics.lines().filter(|line| line.starts_with("metallb_bfd_session_up{peer=\"fe80::"));
        lines.any(|line| line.ends_with("%lan0\",vrf=\"\"} 1")).then_some(())
    });
    wait_for("FRR has BFD", || vtysh(&frr, "show bfd peers brief").contains(" up").then_some(()));

    ip("link set lan0 down");
    speaker.wait_until("the session has ended", |all| all.values().all(|it| it.state != State::Established));
    ip("link set lan0 up");
    established(&mut speaker);
    has_routes(&frr);

    // Without BFD on this end, the session goes on.
    speaker.hold([SessionConfig { bfd: None, ..session }], &routes(&[V4, V6], 7));
    wait_for("BFD is over", || (!vtysh(&frr, "show bfd peers brief").contains(" up")).then_some(()));
    established(&mut speaker);
    has_routes(&frr);
}

#[test]
#[ignore = "needs BIRD (bird2)"]
fn bird_is_found_behind_an_interface() {
    cable();
    let configuration = "router id 192.0.2.1;
        protocol device { scan time 1; }
        protocol radv { interface \"peer0\" { min ra interval 3; max ra interval 4; }; }
        protocol bgp { local as 64513; neighbor range fe80::/10 external; interface \"peer0\";
          ipv4 { import all; export none; extended next hop; }; ipv6 { import all; export none; }; }\n";
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("bird.conf"), configuration).unwrap();
    let bird = Process::start_with(folder, "", "exec bird -f -c bird.conf -s control -P pid");
    let mut speaker = Speaker::start(Past::Fresh);
    speaker.hold([unnumbered("lan0")], &routes(&[V4, V6], 7));
    established(&mut speaker);
    for prefix in [V4, V6] {
        wait_for(prefix, || {
            bird.run(&format!("birdc -s control show route {prefix} all"))
                .contains("via fe80::")
                .then_some(())
        });
    }
}

pub(crate) fn cable() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link set lo up");
    ip("link add lan0 type veth peer name peer0");
    ip("link set lan0 up");
}

pub(crate) fn unnumbered(interface: &str) -> SessionConfig {
    let base = config("192.0.2.1".parse().unwrap(), None);
    let asns = AsNumbers { peer: PeerAs::External, ..base.asns };
    let name = format!("by {interface}").into();
    SessionConfig { name, transport: Transport::Interface(interface.into()), asns, ..base }
}

fn is(status: &Status, state: State, why: &str) -> bool {
    status.state == state && status.why == why
}

fn established(speaker: &mut Speaker) {
    speaker.wait_until("it is established", |all| {
        all.get(&"by lan0".into()).is_some_and(|it| it.state == State::Established)
    });
}

fn has_routes(frr: &Process) {
    for (family, prefix) in [("ipv4", V4), ("ipv6", V6)] {
        wait_for(prefix, || {
            let route = vtysh(frr, &format!("show bgp {family} unicast {prefix}"));
            (route.contains("best") && route.contains("fe80::")).then_some(())
        });
    }
}

/// zebra, bfdd and bgpd, with these further lines about the peer.
pub(crate) fn frr(more: &str) -> Process {
    let folder = TempDir::new().unwrap();
    let bgpd = format!(
        "router bgp 64513
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 neighbor peer0 interface remote-as external
 {more}
 address-family ipv4 unicast
  neighbor peer0 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor peer0 activate
 exit-address-family
"
    );
    for (name, content) in [("bgpd.conf", bgpd.as_str()), ("zebra.conf", ""), ("bfdd.conf", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let script = "PATH=/usr/lib/frr:$PATH
         chown -R frr:frr .
         common=\"-u frr -g frr -z $PWD/zserv --vty_socket $PWD -P 0 --log stdout\"
         zebra $common -f $PWD/zebra.conf -i $PWD/zebra.pid -d
         bfdd $common --bfdctl $PWD/bfdd.sock -f $PWD/bfdd.conf -i $PWD/bfdd.pid -d
         exec bgpd $common -f $PWD/bgpd.conf -i $PWD/bgpd.pid";
    Process::start_with(folder, "ip address add 192.0.2.1/32 dev lo", script)
}

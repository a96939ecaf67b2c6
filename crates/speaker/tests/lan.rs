//! The LAN side on real interfaces: a network namespace with a cable, the speaker at one end of it (`lan0`)
//! and a client with a raw socket at the other (`peer0`). Every byte on the cable is looked at.
//!
//! Needs root. The namespace belongs to the thread that made it and is gone with it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use layer2::{ArpFrame, ArpOperation, Host, MacAddr};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use placement::{Announcement, Announcements, History, Interfaces, Takeover};
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use speaker::Metrics;
use speaker::lan::{self, Options, Report, Wanted};
use tokio::sync::{mpsc, oneshot, watch};

const SPEAKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Longer than anything here should take; what takes longer is broken.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_takeover_is_told_by_request_and_reply_at_once_and_again_after_1100_ms() {
    on_a_cable(|speaker, client| {
        let published = Instant::now();
        speaker.announce(&[(VIP, 1)]);
        let request = ArpFrame::gratuitous_request(SPEAKER, VIP).emit();
        let reply = ArpFrame::gratuitous_reply(SPEAKER, VIP).emit();
        assert_eq!(client.receive(), request);
        let (first, began) = (published.elapsed(), Instant::now());
        assert_eq!(client.receive(), reply);
        assert_eq!(client.receive(), request);
        let gap = began.elapsed();
        assert_eq!(client.receive(), reply);
        assert!(first < Duration::from_millis(300), "the first announcement came after {first:?}");
        let expected = Duration::from_millis(1080)..Duration::from_millis(1300);
        assert!(expected.contains(&gap), "the second announcement came {gap:?} after the first");
        speaker.expect_metric("metallb_layer2_gratuitous_sent{ip=\"192.0.2.10\"}", "4");
    });
}

#[test]
fn an_unrelated_change_announces_nothing_and_a_new_takeover_does() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1)]);
        client.expect_burst(SPEAKER, VIP);
        speaker.announce(&[(OTHER, 2), (VIP, 1)]);
        client.expect_burst(SPEAKER, OTHER);
        speaker.announce(&[(OTHER, 2), (VIP, 3)]);
        client.expect_burst(SPEAKER, VIP);
    });
}

#[test]
fn requests_are_answered_whether_broadcast_unicast_or_probing() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1)]);
        client.expect_burst(SPEAKER, VIP);
        let unicast = ArpFrame { destination: SPEAKER, ..request(VIP) };
        let probe = ArpFrame { sender: Host { mac: CLIENT, ip: Ipv4Addr::UNSPECIFIED }, ..request(VIP) };
        for asked in [request(VIP), unicast, probe] {
            client.send(&asked.emit());
            let expected = ArpFrame {
                destination: CLIENT,
                source: SPEAKER,
                operation: ArpOperation::Reply,
                sender: Host { mac: SPEAKER, ip: VIP },
                target: asked.sender,
            };
            assert_eq!(client.receive_answer(), expected.emit());
        }
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"192.0.2.10\"}", "3");
        speaker.expect_metric("metallb_layer2_responses_sent{ip=\"192.0.2.10\"}", "3");
    });
}

#[test]
fn garbage_and_what_is_not_for_us_are_ignored() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1)]);
        client.expect_burst(SPEAKER, VIP);
        let good = request(VIP).emit();
        for length in 14..good.len() {
            client.send(&good[..length]);
        }
        for at in 14..22 {
            let mut damaged = good;
            damaged[at] ^= 0xff;
            client.send(&damaged);
        }
        client.send(&[&good[..14], &[0xff; 1400]].concat());
        client.send(&request(OTHER).emit());
        client.send(&ArpFrame { destination: CLIENT, ..request(VIP) }.emit());
        client.send(&ArpFrame { operation: ArpOperation::Reply, ..request(VIP) }.emit());
        client.send(&ArpFrame::gratuitous_request(CLIENT, VIP).emit());
        client.send(
            &ArpFrame { sender: Host { mac: MacAddr::BROADCAST, ip: CLIENT_IP }, ..request(VIP) }.emit(),
        );
        // Frames stay in order: had one of those been answered, this would not be the next answer.
        let last = ArpFrame { sender: Host { mac: CLIENT, ip: OTHER }, ..request(VIP) };
        client.send(&last.emit());
        assert_eq!(client.receive_answer(), answer(&last, SPEAKER));
        speaker.expect_metric("metallb_layer2_requests_received{ip=\"192.0.2.10\"}", "1");
        speaker.expect_metric("ferrolb_layer2_frames_ignored_total{reason=\"not_announced\"}", "1");
    });
}

#[test]
fn a_withdrawn_address_and_one_for_other_interfaces_are_not_answered_for() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1), (OTHER, 2)]);
        client.expect_burst(SPEAKER, VIP);
        client.expect_burst(SPEAKER, OTHER);
        let elsewhere = Announcement {
            interfaces: Interfaces::Only(["elsewhere".into()].into()),
            takeover: Takeover(1),
            history: History::Announced,
        };
        let here = Announcement {
            interfaces: Interfaces::Only(["lan0".into()].into()),
            takeover: Takeover(3),
            history: History::Announced,
        };
        speaker.publish([(VIP.into(), elsewhere), (OTHER.into(), here)].into());
        client.expect_burst(SPEAKER, OTHER);
        client.send(&request(VIP).emit());
        client.send(&request(OTHER).emit());
        assert_eq!(client.receive_answer(), answer(&request(OTHER), SPEAKER));
    });
}

#[test]
fn an_interface_that_comes_back_is_used_again_and_told_afresh() {
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1)]);
        client.expect_burst(SPEAKER, VIP);

        for flap in ["link set lan0 down", "link set peer0 down"] {
            let interface = flap.split(' ').nth(2).unwrap();
            ip(flap);
            speaker.expect_metric("ferrolb_layer2_interfaces{protocol=\"arp\"}", "0");
            ip(&format!("link set {interface} up"));
            client.expect_burst(SPEAKER, VIP);
        }

        ip("link set lan0 address 02:00:00:00:00:09");
        client.expect_burst(MacAddr([2, 0, 0, 0, 0, 9]), VIP);

        ip("link del lan0");
        cable();
        let client = Client::new();
        client.expect_burst(SPEAKER, VIP);
        client.send(&request(VIP).emit());
        assert_eq!(client.receive_answer(), answer(&request(VIP), SPEAKER));
    });
}

#[test]
fn a_bridge_speaks_for_the_interface_that_joins_it() {
    const BRIDGE: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);
    on_a_cable(|speaker, client| {
        speaker.announce(&[(VIP, 1)]);
        client.expect_burst(SPEAKER, VIP);
        ip("link add br0 address 02:00:00:00:00:03 type bridge forward_delay 0");
        ip("link set lan0 master br0");
        ip("link set br0 up");
        client.expect_burst(BRIDGE, VIP);
        client.send(&request(VIP).emit());
        assert_eq!(client.receive_answer(), answer(&request(VIP), BRIDGE));
    });
}

/// "Who has `vip`?", by broadcast.
fn request(vip: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        destination: MacAddr::BROADCAST,
        source: CLIENT,
        operation: ArpOperation::Request,
        sender: Host { mac: CLIENT, ip: CLIENT_IP },
        target: Host { mac: MacAddr::ZERO, ip: vip },
    }
}

/// What is expected in return.
fn answer(request: &ArpFrame, mac: MacAddr) -> [u8; 42] {
    ArpFrame::reply(mac, request.target.ip, request.sender).emit()
}

/// Runs a test at the client's end of a cable, with a speaker at the other.
fn on_a_cable(test: impl FnOnce(&Speaker, &Client)) {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => return eprintln!("SKIPPED: a network namespace needs root"),
        made => made.expect("a network namespace for this thread"),
    }
    cable();
    test(&Speaker::start(), &Client::new());
}

fn cable() {
    ip("link add lan0 address 02:00:00:00:00:01 type veth peer name peer0 address 02:00:00:00:00:02");
    ip("link set lan0 up");
    ip("link set peer0 up");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

struct Speaker {
    wanted: watch::Sender<Wanted>,
    _reports: mpsc::Receiver<Report>,
    registry: Registry,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    /// Starts the LAN side in a thread of its own, in the namespace of this one.
    fn start() -> Self {
        let (wanted, on_lan) = watch::channel(Wanted::default());
        let (reporter, reports) = mpsc::channel(lan::REPORTS);
        let options = Options { exclude: "^peer.*,^lo$".parse().unwrap(), refresh_interval: None };
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = lan::run(options, on_lan, reporter, metrics) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { wanted, _reports: reports, registry, stop: Some(stop), thread: Some(thread) }
    }

    fn announce(&self, vips: &[(Ipv4Addr, u64)]) {
        let everywhere = |takeover| Announcement {
            interfaces: Interfaces::All,
            takeover: Takeover(takeover),
            history: History::Announced,
        };
        self.publish(vips.iter().map(|(vip, takeover)| ((*vip).into(), everywhere(*takeover))).collect());
    }

    fn publish(&self, announcements: Announcements) {
        self.wanted.send_modify(|wanted| wanted.announcements = Arc::new(announcements));
    }

    fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim().to_owned()
    }

    fn expect_metric(&self, name: &str, value: &str) {
        let end = Instant::now() + DEADLINE;
        while self.metric(name) != value {
            assert!(Instant::now() < end, "{name} is {}, not {value}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        assert!(std::thread::panicking() || ended.is_ok(), "the speaker panicked");
    }
}

/// A host at the other end of the cable.
struct Client(Socket);

impl Client {
    fn new() -> Self {
        let arp = Protocol::from(i32::from(u16::try_from(libc::ETH_P_ARP).unwrap().to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(arp)).unwrap();
        let address = nix::ifaddrs::getifaddrs()
            .unwrap()
            .filter(|interface| interface.interface_name == "peer0")
            .find_map(|interface| interface.address?.as_link_addr().copied())
            .expect("peer0 has a link-layer address");
        nix::sys::socket::bind(socket.as_raw_fd(), &address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    fn send(&self, frame: &[u8]) {
        (&self.0).write_all(frame).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut frame = [0; 2048];
        loop {
            match (&self.0).read(&mut frame) {
                Ok(length) => return frame[..length].to_vec(),
                // Told once when this end went down.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) => panic!("nothing received: {error}"),
            }
        }
    }

    /// The next frame that is meant for this host alone.
    fn receive_answer(&self) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let frame = self.receive();
            if frame[..6] == CLIENT.0 {
                return frame;
            }
        }
        panic!("only broadcasts received");
    }

    /// Waits for the first announcement of `vip` at `mac`. Anything about another address before it would be
    /// a burst that nobody asked for, unless that one's is still going on.
    fn expect_burst(&self, mac: MacAddr, vip: Ipv4Addr) {
        let end = Instant::now() + DEADLINE;
        let expected = ArpFrame::gratuitous_request(mac, vip).emit();
        while self.receive() != expected {
            assert!(Instant::now() < end, "{vip} at {mac} is not announced");
        }
        assert_eq!(self.receive(), ArpFrame::gratuitous_reply(mac, vip).emit());
    }
}

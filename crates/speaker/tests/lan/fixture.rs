//! A speaker, a client and the cable between them.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use introspection::{DhcpServers, Document, Status, Trace};
use kubekit::http::trace::{TraceSource, Wanted as Asked};
use layer2::{ArpFrame, ArpOperation, Host, MacAddr, NdpFrame, NdpMessage, solicited_node};
use nix::sched::{CloneFlags, unshare};
use placement::{Announcement, Announcements, History, Interfaces, Takeover};
use prometheus_client::registry::Registry;
use socket2::{Domain, Protocol, Socket, Type};
use speaker::Metrics;
use speaker::lan::{self, Options, Report};
use speaker_core::announce::layer2::{Plan, Ports, Wanted};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pause::{Bystander, Pause};

pub(crate) const SPEAKER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Not an interface of the namespace: those are the speaker's own.
pub(crate) const FOREIGN: MacAddr = MacAddr([2, 0, 0, 0, 0, 8]);
pub(crate) const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const OTHER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
pub(crate) const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3456);
pub(crate) const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0x12, 0x3457);
pub(crate) const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
/// What the kernel makes of [`SPEAKER`].
pub(crate) const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

/// Far longer than anything takes: reached only when it will never happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// Runs a test at the client's end of a cable, with a speaker at the other that refreshes nothing.
pub(crate) fn on_a_cable(test: impl FnOnce(&Speaker, &Client)) {
    on_a_cable_refreshed(None, test);
}

/// The same, with a speaker that refreshes what it announces.
pub(crate) fn on_a_cable_refreshed(interval: Option<Duration>, test: impl FnOnce(&Speaker, &Client)) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    // Link-local addresses are settled at once.
    std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
    go_first();
    cable();
    test(&Speaker::start(interval), &Client::new());
}

/// This thread and those that it starts go before others, where that may be had: the speaker asks and waits in steps of a tenth
/// of a second, and the client stands for another machine, which the load of this one does not touch.
fn go_first() {
    let thread = nix::unistd::gettid().to_string();
    let renice = Command::new("renice").args(["-n", "-20", "-p", &thread]).output();
    renice.expect("the program renice");
}

pub(crate) fn cable() {
    ip("link add lan0 address 02:00:00:00:00:01 type veth peer name peer0 address 02:00:00:00:00:02");
    ip("link set lan0 up");
    ip("link set peer0 up");
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Runs one after the other, in one process.
pub(crate) fn ip_batch(lines: impl Iterator<Item = String>) {
    let mut ip =
        Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("the program ip");
    let text = lines.collect::<Vec<_>>().join("\n");
    ip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success(), "ip -batch");
}

/// Waits until `met` says so.
pub(crate) fn wait_for<T>(what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = met() {
            return found;
        }
        assert!(Instant::now() < end, "{what} does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Measures until all is in time, in one of some rounds: other programs keep those of a test waiting too, but not each time.
pub(crate) fn in_time(mut round: impl FnMut(u64) -> Result<(), String>) {
    let mut late = Vec::new();
    for number in 1..=5 {
        match round(number) {
            Ok(()) => return,
            Err(how) => late.push(how),
        }
    }
    panic!("it was late each time: {late:#?}");
}

/// That a takeover was told at once, and for the second time after 1.1 s.
pub(crate) fn at_once_and_again(first: Duration, gap: Duration) -> Result<(), String> {
    let in_time = first < Duration::from_millis(300)
        && (Duration::from_millis(1080)..Duration::from_millis(1300)).contains(&gap);
    in_time.then_some(()).ok_or_else(|| format!("told after {first:?}, and again {gap:?} after that"))
}

/// Takes frames, each as it comes, until one is `wanted`.
fn first<T>(what: &str, mut wanted: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(found) = wanted() {
            return found;
        }
    }
    panic!("{what} does not come");
}

/// "Who has `vip`?", by broadcast.
pub(crate) fn request(vip: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        destination: MacAddr::BROADCAST,
        source: CLIENT,
        operation: ArpOperation::Request,
        sender: Host { mac: CLIENT, ip: CLIENT_V4 },
        target: Host { mac: MacAddr::ZERO, ip: vip },
    }
}

/// What is expected in return from the station `mac`.
pub(crate) fn answer(request: &ArpFrame, mac: MacAddr) -> [u8; 42] {
    ArpFrame::reply(mac, request.target.ip, request.sender).emit()
}

/// "Who has `vip`?", to its group.
pub(crate) fn solicitation(vip: Ipv6Addr) -> NdpFrame {
    NdpFrame {
        destination: MacAddr::of_group(solicited_node(vip)),
        source: CLIENT,
        to: solicited_node(vip),
        from: CLIENT_V6,
        target: vip,
        message: NdpMessage::Solicitation { source: Some(CLIENT) },
    }
}

fn asked(trace: &TraceSource, wanted: Asked) -> Status {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = runtime.block_on(trace.ask(wanted)).unwrap().unwrap();
    serde_json::from_slice::<Document>(&text).unwrap().status
}

/// Where to say that the speaker stands still, and what it waits for then.
type Stall = (std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);

/// The LAN side of a speaker, in a thread of its own, in the namespace of the one that started it.
pub(crate) struct Speaker {
    wanted: watch::Sender<Wanted>,
    new: Cell<Option<IpAddr>>,
    reports: RefCell<mpsc::Receiver<Report>>,
    registry: Registry,
    stalls: mpsc::Sender<Stall>,
    sockets: mpsc::Sender<bool>,
    trace: TraceSource,
    /// How long its tasks were kept waiting at most.
    pause: Arc<Pause>,
    /// The same of a thread with nothing to do but that.
    bystander: Bystander,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Speaker {
    fn start(refresh_interval: Option<Duration>) -> Self {
        let (wanted, to_plan) = watch::channel(Wanted::default());
        let (ports, on_lan) = watch::channel(Ports::default());
        let (reporter, to_forward) = mpsc::channel(lan::REPORTS);
        let (forward, reports) = mpsc::channel(lan::REPORTS);
        let (trace, questions) = kubekit::http::trace::channel();
        let inquirers = lan::Inquirers { node: "n1".into(), questions };
        let options = Options {
            exclude: "^peer.*,^sw$,^lo$".parse().unwrap(),
            promiscuous: "^wlan[0-9]+$".parse().unwrap(),
            refresh_interval,
            watchdog: kubekit::Watchdog::default(),
        };
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (stalls, mut stall) = mpsc::channel::<Stall>(1);
        let (sockets, mut may_have_sockets) = mpsc::channel(1);
        let pause = Arc::new(Pause::default());
        let watched = Arc::clone(&pause);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(async move {
                    while let Some((stands_still, end)) = stall.recv().await {
                        stands_still.send(()).unwrap();
                        _ = end.recv();
                    }
                });
                tokio::spawn(async move {
                    while let Some(may) = may_have_sockets.recv().await {
                        // Of this thread alone.
                        let change = if may { caps::raise } else { caps::drop };
                        change(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
                    }
                });
                tokio::spawn(plan(to_plan, to_forward, ports, forward));
                tokio::spawn(async move { watched.watch().await });
                tokio::select! {
                    () = lan::run(options, on_lan, reporter, inquirers, metrics) => {}
                    _ = stopped => {}
                }
            });
        });
        let reports = RefCell::new(reports);
        Self {
            wanted,
            new: Cell::new(None),
            reports,
            registry,
            stalls,
            sockets,
            trace,
            pause,
            bystander: Bystander::start(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Announces these addresses, each with the number of its takeover, on every interface.
    pub(crate) fn announce<A: Into<IpAddr> + Copy>(&self, vips: &[(A, u64)]) {
        let everywhere = |vip: IpAddr, takeover| Announcement {
            interfaces: Interfaces::All,
            takeover: Takeover(takeover),
            history: if self.new.get() == Some(vip) { History::New } else { History::Announced },
        };
        let vips = vips.iter().map(|(vip, takeover)| ((*vip).into(), *takeover));
        self.publish(vips.map(|(vip, takeover)| (vip, everywhere(vip, takeover))).collect());
    }

    pub(crate) fn publish(&self, announcements: Announcements) {
        // As if a peer handed them over: without a question.
        let handed_over = announcements.values().map(|it| (it.takeover, u64::MAX)).collect();
        self.wanted.send_modify(|wanted| {
            (wanted.announcements, wanted.handed_over) = (announcements, handed_over);
        });
    }

    /// Nobody had this address before: it is new whenever it is announced from now on.
    pub(crate) fn set_new(&self, vip: impl Into<IpAddr>) {
        self.new.set(Some(vip.into()));
    }

    pub(crate) fn set_peer(&self, mac: MacAddr) {
        self.wanted.send_modify(|wanted| wanted.known_macs.contacts = [(mac, layer2::Contact::Heard)].into());
    }

    /// Whether the speaker may have packet sockets, of those that it opens from now on.
    pub(crate) fn set_sockets(&self, may: bool) {
        self.sockets.try_send(may).unwrap();
    }

    /// Asks the speaker who answers for an address.
    pub(crate) fn inquire(&self, ip: impl Into<IpAddr>) -> JoinHandle<Trace> {
        let (trace, ip) = (self.trace.clone(), ip.into());
        std::thread::spawn(move || match asked(&trace, Asked::Address(ip)) {
            Status::Trace(trace) => trace,
            other => panic!("{other:?}"),
        })
    }

    /// Asks the speaker which DHCP servers there are, and what they offer to who would like an address.
    pub(crate) fn inquire_for_dhcp(&self, wanted: Option<Ipv4Addr>) -> JoinHandle<DhcpServers> {
        let trace = self.trace.clone();
        std::thread::spawn(move || match asked(&trace, Asked::DhcpServers(wanted)) {
            Status::DhcpServers(servers) => servers,
            other => panic!("{other:?}"),
        })
    }

    /// Lets the speaker stand still from now on, until what is returned is dropped.
    pub(crate) fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (started, is_still) = std::sync::mpsc::channel();
        let (until, end) = std::sync::mpsc::channel();
        self.stalls.try_send((started, end)).unwrap();
        is_still.recv().unwrap();
        until
    }

    /// By how much longer its tasks were kept waiting at most, since this was asked last, than those of a thread with
    /// nothing to do: that one waits for nothing but the machine.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.pause.take().saturating_sub(self.bystander.take())
    }

    /// The next report that `wanted` takes for what it is waiting for.
    pub(crate) fn expect_report<T>(&self, what: &str, mut wanted: impl FnMut(Report) -> Option<T>) -> T {
        wait_for(what, || self.reports.borrow_mut().try_recv().ok().and_then(&mut wanted))
    }

    /// The reports that came and were not waited for.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let mut reports = self.reports.borrow_mut();
        std::iter::from_fn(|| reports.try_recv().ok()).collect()
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Over all its labels.
    pub(crate) fn metric_sum(&self, name: &str) -> u32 {
        let metrics = self.metrics();
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()).sum()
    }

    /// The value of one, with its labels; empty when it was never counted.
    pub(crate) fn metric(&self, name: &str) -> String {
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim().to_owned()
    }

    pub(crate) fn expect_metric(&self, name: &str, value: &str) {
        wait_for(&format!("{name} {value}"), || (self.metric(name) == value).then_some(()));
    }

    /// Waits for the end of the burst for an address, so that whatever comes then is something else.
    pub(crate) fn expect_end_of_burst(&self, vip: Ipv4Addr, client: &Client) {
        let count = |name: &str| -> u32 {
            self.metric(&format!("{name}{{ip=\"{vip}\"}}")).parse().unwrap_or_default()
        };
        // A request and a reply, five times; refreshes count too.
        wait_for("the end of the burst", || {
            let sent = count("metallb_layer2_gratuitous_sent");
            (sent.saturating_sub(count("ferrolb_layer2_refreshes_total")) >= 10).then_some(())
        });
        client.arp_within(Duration::from_millis(50));
    }

    /// Waits until NDP works: unlike ARP, it needs an address that comes a moment after the link.
    pub(crate) fn expect_ndp(&self) {
        self.expect_metric("ferrolb_layer2_interfaces{protocol=\"ndp\"}", "1");
    }
}

/// Turns what is wanted into what each port is to do, as the core does.
async fn plan(
    mut wanted: watch::Receiver<Wanted>,
    mut reports: mpsc::Receiver<Report>,
    ports: watch::Sender<Ports>,
    forward: mpsc::Sender<Report>,
) {
    let mut plan = Plan::default();
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(report) = report else { return };
                if let Report::Interfaces(links) = &report {
                    plan.set_links(links.clone());
                }
                if let Report::Port(name, layer2::Report::SameLan { by }) = &report {
                    plan.heard_own(name, *by);
                }
                forward.send(report).await.unwrap();
            }
            changed = wanted.changed() => if changed.is_err() { return },
        }
        plan.follow(&wanted.borrow_and_update());
        ports.send_replace(plan.ports().clone());
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
pub(crate) struct Client {
    arp: Socket,
    ipv6: Socket,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::on("peer0")
    }

    pub(crate) fn on(interface: &str) -> Self {
        let address = nix::ifaddrs::getifaddrs()
            .unwrap()
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .expect("the interface has a link-layer address");
        let socket = |ethertype: i32| {
            let protocol = Protocol::from(i32::from(u16::try_from(ethertype).unwrap().to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
            nix::sys::socket::bind(socket.as_raw_fd(), &address).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        };
        Self { arp: socket(libc::ETH_P_ARP), ipv6: socket(libc::ETH_P_IPV6) }
    }

    pub(crate) fn send(&self, frame: impl AsRef<[u8]>) {
        (&self.arp).write_all(frame.as_ref()).unwrap();
    }

    pub(crate) fn receive_arp(&self) -> Vec<u8> {
        receive(&self.arp).expect("an ARP frame")
    }

    /// The next IPv6 packet with these bytes in it.
    pub(crate) fn expect_ipv6_with(&self, bytes: &[u8]) {
        first("the packet", || {
            self.receive_ipv6().windows(bytes.len()).any(|part| part == bytes).then_some(())
        });
    }

    fn receive_ipv6(&self) -> Vec<u8> {
        receive(&self.ipv6).expect("an IPv6 frame")
    }

    /// The next ARP frame that is meant for this host alone.
    pub(crate) fn receive_answer(&self) -> Vec<u8> {
        first("an answer", || Some(self.receive_arp()).filter(|frame| frame[..6] == CLIENT.0))
    }

    /// The next solicitation or advertisement about `vip`.
    pub(crate) fn receive_ndp(&self, vip: Ipv6Addr) -> NdpFrame {
        first("NDP", || NdpFrame::parse(&self.receive_ipv6()).ok().filter(|frame| frame.target == vip))
    }

    /// Waits for this very frame.
    pub(crate) fn expect_ndp(&self, expected: NdpFrame) {
        first("the frame", || (self.receive_ndp(expected.target) == expected).then_some(()));
    }

    /// The next advertisement about `vip` that was asked for.
    pub(crate) fn receive_solicited(&self, vip: Ipv6Addr) -> NdpFrame {
        first("an answer", || Some(self.receive_ndp(vip)).filter(|frame| frame.destination == CLIENT))
    }

    /// Waits for the first announcement of `vip` at `mac`. Anything about another address before it would be
    /// a burst that nobody asked for, unless that one's is still going on.
    pub(crate) fn expect_burst(&self, mac: MacAddr, vip: Ipv4Addr) {
        let expected = ArpFrame::gratuitous_request(mac, vip).emit();
        first("an announcement", || (self.receive_arp() == expected).then_some(()));
        // First frames of other addresses may come in between.
        let expected = ArpFrame::gratuitous_reply(mac, vip).emit();
        first("the reply", || (self.receive_arp() == expected).then_some(()));
    }

    /// The ARP frames that come within `span`.
    pub(crate) fn arp_within(&self, span: Duration) -> Vec<ArpFrame> {
        let end = Instant::now() + span;
        let mut frames = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.arp.set_read_timeout(Some(left)).unwrap();
            frames.extend(receive(&self.arp).map(|frame| ArpFrame::parse(&frame).unwrap()));
        }
        self.arp.set_read_timeout(Some(DEADLINE)).unwrap();
        frames
    }
}

/// A frame, unless none comes in time.
fn receive(mut socket: &Socket) -> Option<Vec<u8>> {
    let mut frame = [0; 2048];
    loop {
        match socket.read(&mut frame) {
            Ok(length) => return Some(frame[..length].to_vec()),
            // Told once when this end went down.
            Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(error) => panic!("nothing received: {error}"),
        }
    }
}

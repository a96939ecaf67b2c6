//! Names of Services as avahi hears them: one on the node itself, which has port 5353 as well, and one on another host.
//!
//! Needs root, and avahi of Debian: `cargo test -p speaker --test mdns -- --ignored`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod avahi;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use avahi::{Avahi, ip};
use mdns::{Message, Name, Record, Report, Wanted};
use nix::sched::{CloneFlags, setns, unshare};
use placement::{Prefix, ServiceKey};
use speaker::mdns::{MdnsMetrics, Serve, Served};
use tokio::sync::{mpsc, oneshot, watch};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";
const DEADLINE: Duration = Duration::from_mins(1);

/// The names of a speaker, in a thread of its own, in the namespace of the one that started it.
struct Speaker {
    served: watch::Sender<Served>,
    reports: mpsc::Receiver<(placement::InterfaceName, Report)>,
    take_back: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Speaker {
    fn start() -> Self {
        let (served, to_serve) = watch::channel(Served::default());
        let (reporter, reports) = mpsc::channel(speaker::mdns::REPORTS);
        let (take_back, withdrawn) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (metrics, watchdog) = (MdnsMetrics::default(), kubekit::Watchdog::default());
            runtime.block_on(speaker::mdns::run(to_serve, withdrawn, reporter, metrics, watchdog));
        });
        Self { served, reports, take_back: Some(take_back), thread: Some(thread) }
    }

    /// Answers for these names on lan0.
    fn serve(&self, names: &[(Name, &[&str])]) {
        let names: BTreeMap<_, _> = names
            .iter()
            .map(|(name, ips)| (name.clone(), ips.iter().map(|ip| ip.parse().unwrap()).collect()))
            .collect();
        let index = nix::net::if_::if_nametoindex("lan0").unwrap();
        let prefixes = [("192.0.2.2", 24), ("2001:db8::2", 64)];
        let prefixes = prefixes.map(|(ip, length)| Prefix::of(ip.parse().unwrap(), length).unwrap()).into();
        let wanted = Wanted { known: Arc::new(names.clone()), here: names };
        self.served.send_replace([((index, "lan0".into()), Serve { wanted, prefixes })].into());
    }

    /// Waits until it has said all of this, in whichever order.
    fn wait_for(&mut self, reports: &[Report]) {
        let same = |told: &Report, report: &Report| match (told, report) {
            (Report::Taken { name, .. }, Report::Taken { name: other, .. }) => name == other,
            (told, report) => told == report,
        };
        let mut missing: Vec<&Report> = reports.iter().collect();
        wait_for(&format!("{reports:?}"), || {
            let (_, told) = self.reports.try_recv().ok()?;
            missing.retain(|report| !same(&told, report));
            missing.is_empty().then_some(())
        });
    }

    fn take_back(&mut self) {
        self.take_back.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn wait_for<T>(what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = met() {
            return found;
        }
        assert!(Instant::now() < end, "{what} does not come about");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs avahi (avahi-daemon)"]
fn avahi_on_the_node_and_on_another_host_resolve_names_of_services() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link add lan0 type veth peer name peer0");
    ip("link set lo up");
    ip("address add 192.0.2.2/24 dev lan0");
    ip("address add 2001:db8::2/64 dev lan0 nodad");
    ip("link set lan0 up");
    let client = Avahi::on_another_host("client", "peer0");
    let node = Avahi::here("node", "lan0");
    let mut speaker = Speaker::start();

    let (web, prod) =
        (Name::of_label("web").unwrap(), Name::of_service(&ServiceKey::new("prod", "shop")).unwrap());
    speaker.serve(&[(web.clone(), &[V4, V6][..]), (prod.clone(), &[V4])]);
    speaker.wait_for(&[web, prod].map(Report::Announced));
    for (resolver, who) in [(&client, "client"), (&node, "node")] {
        for (name, address) in
            [("web.local", V4), ("web.local", V6), ("shop.prod.local", V4), ("WEB.local", V4)]
        {
            assert_eq!(
                resolver.resolve(name, address.parse().unwrap()).as_deref(),
                Ok(address),
                "{who}: {name}"
            );
        }
    }
    // avahi on the node goes on as before.
    assert_eq!(client.resolve("node.local", Ipv4Addr::UNSPECIFIED.into()).as_deref(), Ok("192.0.2.2"));
    assert_eq!(node.resolve("client.local", Ipv4Addr::UNSPECIFIED.into()).as_deref(), Ok("192.0.2.1"));
    assert_eq!(ask_without_multicast_dns(&client), [V4.parse::<IpAddr>().unwrap()]);

    let taken = Name::of_label("client").unwrap();
    let by = "192.0.2.1".parse().unwrap();
    let web = Name::of_label("web").unwrap();
    speaker.serve(&[(taken.clone(), &[V4][..]), (web, &[V4, V6])]);
    speaker.wait_for(&[Report::Taken { name: taken, by }]);
    assert_eq!(node.resolve("client.local", Ipv4Addr::UNSPECIFIED.into()).as_deref(), Ok("192.0.2.1"));

    speaker.take_back();
    wait_for("web.local is forgotten", || client.resolve("web.local", V4.parse().unwrap()).err());
}

/// What a resolver of the client gets that sends to the group and listens on a port of its own.
fn ask_without_multicast_dns(client: &Avahi) -> Vec<IpAddr> {
    let namespace = client.network_namespace();
    let ask = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03WEB\x05local\0\0\x01\0\x01";
        socket.send_to(query, "224.0.0.251:5353").unwrap();
        let mut buffer = [0; 1500];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        let answer = Message::parse(&buffer[..length]).unwrap();
        assert_eq!((answer.id, answer.questions.len()), (0x1234, 1));
        assert!(answer.answers.iter().all(|record| record.ttl <= 10));
        answer.answers.iter().filter_map(Record::address).collect()
    };
    thread::spawn(ask).join().unwrap()
}

//! The web server on real sockets, under attack.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use kubekit::http::{Config, Content, Readiness, serve};
use kubekit::{Watchdog, open_files};
use nix::sys::resource::{Resource, getrlimit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Far longer than anything takes: reached only when it will never happen.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long an attack lasts.
const ATTACK: Duration = Duration::from_secs(3);
/// How often the program has something to do that must not be late.
const HEARTBEAT: Duration = Duration::from_millis(10);
/// How late it may be because of what strangers send.
const LATE: Duration = Duration::from_millis(20);

/// An address that nobody listens at, and that is not the one that connections come from: the thousands of an attack would take
/// the port of another test before it is listened at.
fn free() -> SocketAddr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let id = std::process::id().to_be_bytes();
    let ip = [127, id[3] | 1, COUNT.fetch_add(1, Ordering::Relaxed), 1];
    TcpListener::bind(SocketAddr::from((ip, 0))).unwrap().local_addr().unwrap()
}

/// Metrics of a program with thousands of addresses.
fn registry() -> Registry {
    let (family, mut registry) = (Family::<Vec<(String, String)>, Gauge>::default(), Registry::default());
    for number in 0..5000 {
        family.get_or_create(&vec![("service".to_owned(), format!("namespace/service-{number}"))]).set(1);
    }
    registry.register("announced", "Help", family);
    registry
}

fn content(watchdog: &Watchdog) -> Content {
    let (readiness, watchdog) = (Readiness::waiting_for([]), watchdog.clone());
    let (status, _) = kubekit::http::status::channel();
    let namespace = "metallb-system".to_owned();
    Content { readiness, watchdog, metrics: Registry::default(), status, trace: None, namespace }
}

/// A program that has heartbeats to make, and serves if `serves` says where and what. It ends when `stop` is set, and tells how late
/// each heartbeat was.
fn program(serves: Option<(SocketAddr, Registry)>, stop: Arc<AtomicBool>) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let serving = async {
                match serves {
                    Some((bind, metrics)) => {
                        let config = Config { bind, secure_metrics: None };
                        let content = Content { metrics, ..content(&Watchdog::default()) };
                        serve(config, content).await.unwrap();
                    }
                    None => std::future::pending().await,
                }
            };
            let heartbeats = async {
                let mut late = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let due = Instant::now() + HEARTBEAT;
                    tokio::time::sleep_until(due.into()).await;
                    late.push(due.elapsed());
                }
                late
            };
            tokio::select! {
                () = serving => panic!("it has ended"),
                late = heartbeats => late,
            }
        })
    })
}

fn connect(address: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    ask_within(DEADLINE, address, path)
}

/// Asks as a kubelet does: a connection for each probe.
fn ask_within(patience: Duration, address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = connect(address, patience)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_until_served(address: SocketAddr) {
    let deadline = Instant::now() + DEADLINE;
    while ask(address, "/healthz").is_err() {
        assert!(Instant::now() < deadline, "nobody answers");
        sleep(Duration::from_millis(10));
    }
}

/// Keeps `count` connections open on which it has sent `first`, making new ones for those that are closed, until `stop`
/// is set.
fn flood(address: SocketAddr, count: usize, first: &'static [u8], stop: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut open = Vec::new();
        let mut next = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, PROBE_TIMEOUT) else { continue };
            stream.set_nonblocking(true).unwrap();
            _ = stream.write(first);
            // Others share the machine.
            sleep(Duration::from_micros(100));
            if open.len() < count {
                open.push(stream);
            } else {
                open[next % count] = stream;
                next += 1;
            }
        }
    })
}

/// As many files as can be had for an attack of this size.
fn affordable(wanted: usize) -> usize {
    open_files::raise_limit();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    wanted.min(usize::try_from(hard / 2).unwrap())
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The value that all but one in fifty don't exceed.
fn usual(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values[values.len() * 49 / 50]
}

/// Attacks, and looks how late heartbeats are and whether probes are answered.
fn attacked(
    attack: &dyn Fn(SocketAddr, Arc<AtomicBool>) -> JoinHandle<()>,
    serves: bool,
) -> (Duration, usize) {
    let address = free();
    let stop = Arc::new(AtomicBool::new(false));
    // Where the program does not serve, somebody else has to take what attackers send.
    let sink = (!serves).then(|| {
        let (listener, stop) = (TcpListener::bind(address).unwrap(), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                _ = listener.accept();
            }
        })
    });
    let program = program(serves.then(|| (address, registry())), Arc::clone(&stop));
    if serves {
        wait_until_served(address);
    }
    let attackers = [attack(address, Arc::clone(&stop)), attack(address, Arc::clone(&stop))];
    let (begin, mut unanswered) = (Instant::now(), 0);
    while begin.elapsed() < ATTACK {
        sleep(Duration::from_millis(50));
        if serves {
            let start = Instant::now();
            let answer = ask_within(PROBE_TIMEOUT, address, "/healthz");
            let answered = answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
            unanswered += usize::from(!answered || start.elapsed() > PROBE_TIMEOUT);
        }
    }
    stop.store(true, Ordering::Relaxed);
    attackers.into_iter().for_each(|attacker| attacker.join().unwrap());
    _ = TcpStream::connect(address);
    sink.map(JoinHandle::join);
    (usual(program.join().unwrap()), unanswered)
}

/// Whether in one of some rounds all goes well, for other programs make this one late too.
fn withstands(attack: &dyn Fn(SocketAddr, Arc<AtomicBool>) -> JoinHandle<()>) {
    // One at a time: each takes all that the machine has.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let (without, _) = attacked(attack, false);
        let (with, unanswered) = attacked(attack, true);
        eprintln!("late by {with:?}, by {without:?} without serving; {unanswered} probes not answered");
        if with < without + LATE && unanswered == 0 {
            return;
        }
        seen.push((with, without, unanswered));
    }
    panic!("heartbeats are late, or probes are not answered: {seen:?}");
}

const PIPELINED: [u8; 64 * 30] = {
    let one = *b"GET /metrics HTTP/1.1\r\nHost: 0123\r\nX: 01234567890123456789012\r\n\r\n\0\0";
    let mut all = [0; 64 * 30];
    let mut at = 0;
    while at < all.len() {
        all[at] = one[at % 64];
        at += 1;
    }
    all
};

#[test]
fn thousands_of_connections_that_ask_again_and_again_delay_nothing() {
    let count = affordable(1000);
    withstands(&|address, stop| flood(address, count, &PIPELINED, stop));
}

/// Metrics that take long to render.
#[derive(Debug)]
struct Slow;

impl Collector for Slow {
    fn encode(&self, _: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        sleep(20 * LATE);
        Ok(())
    }
}

#[test]
fn metrics_that_take_long_to_render_delay_nothing_else() {
    let longest = || {
        let (address, stop) = (free(), Arc::new(AtomicBool::new(false)));
        let mut metrics = Registry::default();
        metrics.register_collector(Box::new(Slow));
        let program = program(Some((address, metrics)), Arc::clone(&stop));
        wait_until_served(address);
        assert!(ask(address, "/metrics").unwrap().starts_with("HTTP/1.1 200"));
        stop.store(true, Ordering::Relaxed);
        program.join().unwrap().into_iter().max().unwrap()
    };
    // Other programs make this one late too, but not each time.
    let mut seen = Vec::new();
    let in_time = (0..5).any(|_| {
        seen.push(longest());
        seen.last() < Some(&(15 * LATE))
    });
    assert!(in_time, "{seen:?}");
}

#[test]
fn thousands_of_half_open_connections_delay_nothing_and_take_little_memory() {
    let count = affordable(5000);
    let before = resident();
    withstands(&|address, stop| flood(address, count, b"GET /metr", stop));
    let grown = resident().saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB more", grown >> 20);
}

/// Serves in a thread of its own until the test ends.
fn served(watchdog: &Watchdog) -> SocketAddr {
    let address = free();
    let content = content(watchdog);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(serve(Config { bind: address, secure_metrics: None }, content)).unwrap();
    });
    wait_until_served(address);
    address
}

/// How long it takes until the other side closes a connection to which `more` is sent again and again.
fn closed_after(address: SocketAddr, first: &str, more: &str, every: Duration) -> Duration {
    // The other side reckons from when it is connected.
    let start = Instant::now();
    let mut stream = connect(address, DEADLINE).unwrap();
    stream.write_all(first.as_bytes()).unwrap();
    stream.set_read_timeout(Some(every.max(Duration::from_millis(1)))).unwrap();
    loop {
        assert!(start.elapsed() < DEADLINE, "it is still open");
        let sent = stream.write_all(more.as_bytes());
        match stream.read(&mut [0; 4096]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(1..) if sent.is_ok() => {}
            Ok(_) | Err(_) => return start.elapsed(),
        }
    }
}

#[test]
fn who_takes_too_long_or_sends_too_much_is_cut_off() {
    let address = served(&Watchdog::default());
    // The former by the clock of the server, the latter as soon as there is too much.
    let (slow, idle) = (Duration::from_millis(200), Duration::from_secs(5)..DEADLINE);
    let at_once = Duration::ZERO..Duration::from_secs(5);
    for (what, first, more, every, within) in [
        ("headers byte by byte", "GET /healthz HTTP/1.1\r\n", "x", slow, idle.clone()),
        ("nothing at all", "", "", slow, idle.clone()),
        ("nothing more after a request", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "", slow, idle),
        (
            "headers without end",
            "GET / HTTP/1.1\r\n",
            &"X-a: b\r\n".repeat(128),
            Duration::ZERO,
            at_once.clone(),
        ),
        ("one header without end", "GET / HTTP/1.1\r\nX-a: ", &"b".repeat(1024), Duration::ZERO, at_once),
    ] {
        let closed = closed_after(address, first, more, every);
        assert!(within.contains(&closed), "{what}: {closed:?}");
    }
}

#[test]
fn a_connection_is_closed_when_it_has_asked_often_enough() {
    let address = served(&Watchdog::default());
    let mut stream = connect(address, DEADLINE).unwrap();
    stream.write_all("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).as_bytes()).unwrap();
    let mut answers = Vec::new();
    // What it does not read any more may come back as a reset.
    _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8(answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 32);
    assert_eq!(answers.matches("connection: close").count(), 1);
}

#[test]
fn a_body_is_not_waited_for() {
    let address = served(&Watchdog::default());
    let mut stream = connect(address, DEADLINE).unwrap();
    write!(stream, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let length = stream.read(&mut answer).unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 405"));
}

#[test]
fn a_task_that_hangs_makes_healthz_fail_with_its_name() {
    let watchdog = Watchdog::default();
    let address = served(&watchdog);
    let mut answer = ask(address, "/healthz").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let progress = watchdog.task_with("index", Duration::from_millis(300));
    let (end, ends) = mpsc::channel::<()>();
    // A task that never waits: no other task of its thread runs either.
    let hanging = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let beat = progress.beat();
            _ = ends.recv();
            beat.await;
        });
    });
    let deadline = Instant::now() + DEADLINE;
    while answer.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "{answer}");
        sleep(Duration::from_millis(50));
        answer = ask(address, "/healthz").unwrap();
    }
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("index"), "{answer}");
    drop(end);
    hanging.join().unwrap();
}

#[test]
fn an_address_that_is_taken_is_an_error_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let served =
        runtime.block_on(serve(Config { bind, secure_metrics: None }, content(&Watchdog::default())));
    assert!(format!("{:#}", served.unwrap_err()).contains(&bind.to_string()));
}

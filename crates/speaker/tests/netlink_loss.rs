//! Notifications of the kernel that are lost, since more came than its buffer holds while nobody read: the interfaces are
//! followed all the same.
//!
//! Needs root. This process stands still meanwhile, so the test is alone in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use nix::sched::{CloneFlags, unshare};
use speaker::Metrics;
use speaker::lan::{self, Inquirers, Options, Report};
use speaker_core::announce::layer2::Ports;
use speaker_core::{Link, Unfit};
use tokio::sync::{mpsc, watch};

/// Less than it takes until the interfaces are looked at without a notification.
const DEADLINE: Duration = Duration::from_secs(10);
/// Each is told when it comes and when it goes with the link, in a message of about a kilobyte as the buffer counts it,
/// which holds about 200.
const ADDRESSES: usize = 600;

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// How many notifications were lost by sockets of this network namespace.
fn lost() -> u32 {
    let table = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let mut lines = table.lines();
    let at = lines.next().unwrap().split_whitespace().position(|column| column == "Drops").unwrap();
    lines.map(|line| line.split_whitespace().nth(at).unwrap().parse::<u32>().unwrap()).sum()
}

/// Stops this process, lets many notifications come, the last of which says that lan0 goes down, and goes on.
fn flood() {
    let mut lines = String::new();
    for number in 0..ADDRESSES {
        writeln!(lines, "address add fd00::{number:x}/64 dev lan0 nodad").unwrap();
    }
    lines.push_str("link set lan0 down\n");
    // All lines are there before it stops this process, which could write no more.
    let script = "lines=$(cat); kill -STOP $PPID; echo \"$lines\" | timeout 60 ip -batch -; kill -CONT $PPID";
    let mut shell = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

#[test]
fn interfaces_are_followed_on_when_notifications_were_lost() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for this thread, which needs root");
    ip("link add lan0 type veth peer name peer0");
    ip("link set lan0 up");
    ip("link set peer0 up");
    let (_wanted, ports) = watch::channel(Ports::default());
    let (reporter, mut reports) = mpsc::channel(lan::REPORTS);
    let (_trace, questions) = kubekit::http::trace::channel();
    let options = Options {
        exclude: "^peer.*,^lo$".parse().unwrap(),
        promiscuous: lan::InterfacePatterns::default(),
        refresh_interval: None,
        watchdog: kubekit::Watchdog::default(),
    };
    let inquirers = Inquirers { node: "n1".into(), questions };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::spawn(move || {
        runtime().block_on(lan::run(options, ports, reporter, inquirers, Metrics::default()));
    });
    let waiting = runtime();
    let mut expect_lan0 = |is: fn(&Link) -> bool| {
        let seen = async {
            loop {
                match reports.recv().await.unwrap() {
                    Report::Interfaces(links) => {
                        if links.values().any(|link| link.name.as_str() == "lan0" && is(link)) {
                            return;
                        }
                    }
                    Report::Follows(follows) => assert!(follows, "the interfaces are followed all the time"),
                    Report::Port(..) => {}
                }
            }
        };
        waiting.block_on(async { tokio::time::timeout(DEADLINE, seen).await }).expect("lan0 is seen so");
    };
    expect_lan0(|lan0| lan0.arp.is_ok());
    assert_eq!(lost(), 0);
    flood();
    assert!(lost() > 0, "the buffer has held all");
    expect_lan0(|lan0| lan0.arp == Err(Unfit::Down));
    ip("link set lan0 up");
    expect_lan0(|lan0| lan0.arp.is_ok());
}

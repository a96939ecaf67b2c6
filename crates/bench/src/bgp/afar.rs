//! BIRD in a network of its own at the other end of a cable, and what its kernel forwards.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::process::{self, Place, Running};
use lab::wait_until;
use tempfile::TempDir;

use crate::router::ASN;
use crate::site::{self, OWN_ASN};

/// Where the router is, and where the node is for it.
pub(crate) const AFAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The ends of the cable: the node's, and the router's.
const CABLE: [&str; 2] = ["lan0", "peer0"];
/// For what always succeeds soon.
const DEADLINE: Duration = Duration::from_secs(30);

/// The router.
#[derive(Debug)]
pub(crate) struct Afar {
    bird: Running,
    _folder: TempDir,
}

/// What becomes of the routes of its kernel, as they are changed.
#[derive(Debug)]
pub(crate) struct Routes {
    lines: Receiver<(Instant, String)>,
    _monitor: Running,
}

impl Afar {
    /// Starts it, and takes the cable's other end there. It looks this often by BFD whether the node is there.
    pub(crate) fn start(milliseconds: u32) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ferrolb-bench-").tempdir()?;
        let [near, far] = CABLE;
        let configuration = format!(
            "router id {AFAR};
             protocol device {{}}
             protocol kernel {{ ipv4 {{ export all; }}; }}
             protocol bfd {{ interface \"{far}\" {{
               min rx interval {milliseconds} ms; min tx interval {milliseconds} ms; multiplier 3;
             }}; }}
             protocol bgp node {{
               local {AFAR} as {ASN}; neighbor {NEAR} as {OWN_ASN}; passive yes; bfd on; error wait time 1, 2;
               ipv4 {{ import all; export none; }};
             }}\n"
        );
        fs::write(folder.path().join("bird.conf"), configuration).context("writing BIRD's configuration")?;
        let script = format!(
            "until ip link show {far} >/dev/null 2>&1; do sleep 0.02; done
             ip link set lo up && ip address add {AFAR}/24 dev {far} && ip link set {far} up
             exec bird -f -c bird.conf -s control -P pid"
        );
        let log = File::create(folder.path().join("log")).context("creating a log file")?;
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", &script]).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let bird = process::spawn(command, Place::default()).context("starting BIRD")?;
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", bird.pid()));
        let ours = fs::read_link("/proc/self/ns/net").context("reading where this is")?;
        wait_until("the network of the router", DEADLINE, || {
            let is_apart = fs::read_link(&theirs).is_ok_and(|it| it != ours);
            is_apart.then_some(()).context("it is in the same network")
        })?;
        site::ip(&format!("link add {near} type veth peer name {far}"))?;
        site::ip(&format!("address add {NEAR}/24 dev {near}"))?;
        site::ip(&format!("link set {near} up"))?;
        site::ip(&format!("link set {far} netns {}", bird.pid()))?;
        Ok(Self { bird, _folder: folder })
    }

    /// Follows what becomes of the routes of its kernel.
    pub(crate) fn routes(&self) -> Result<Routes> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let mut command = self.inside(&["ip", "monitor", "route"]);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::null());
        let monitor = process::spawn(command, Place::default()).context("starting `ip monitor`")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Routes { lines, _monitor: monitor })
    }

    /// Whether its kernel has a route to this address alone.
    pub(crate) fn has(&self, address: &str) -> Result<bool> {
        let command = self.inside(&["ip", "-4", "route", "show", "exact", address]);
        let output = process::output(command, Place::default(), b"").context("starting `nsenter`")?;
        Ok(!output.stdout.is_empty())
    }

    fn inside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.bird.pid())).args(arguments);
        command
    }
}

/// The cable goes with the router.
impl Drop for Afar {
    fn drop(&mut self) {
        // As it does with the network namespace, but not at once. Where it is gone already, so much the better.
        _ = site::ip(&format!("link delete {}", CABLE[0]));
    }
}

impl Routes {
    /// When the route to an address was taken away, which is still to come.
    pub(crate) fn wait_for_loss(&self, address: &str) -> Result<Instant> {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let (at, line) = self.lines.recv_timeout(left).context("the route stays")?;
            if line.starts_with(&format!("Deleted {address} ")) {
                return Ok(at);
            }
        }
    }
}

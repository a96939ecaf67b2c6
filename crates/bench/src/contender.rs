//! The programs to compare, and what the kernel knows of their processes.

use std::fmt;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::apiserver::ApiServer;
use lab::process::{self, Place, Running};
use nix::sys::signal::Signal;
use nix::time::clock_getcpuclockid;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::stage::{POD, SYSTEM};

/// A controller or a speaker, with its program.
#[derive(Debug, Clone)]
pub enum Contender {
    /// Ours.
    FerroLb(PathBuf),
    /// The one to compare with.
    MetalLb(PathBuf),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FerroLb(_) => "FerroLB",
            Self::MetalLb(_) => "MetalLB",
        })
    }
}

impl Contender {
    /// Starts its controller as it would run in a cluster, but for MetalLB's admission webhook, which would have to be
    /// reached from the API server. `arguments` are those that both understand.
    pub fn start(&self, server: &ApiServer, arguments: &[String]) -> Result<Process> {
        let mut command = self.command(
            &["controller", "--leader-elect=true", "--http-bind=127.0.0.1:0"],
            &["--webhook-mode=disabled", "--port=0", "--health-probe-port=0"],
        );
        command.args(arguments);
        self.spawn(command, server)
    }

    /// Starts its speaker as that of a node, without others; MetalLB's as it speaks BGP by itself.
    pub fn start_speaker(&self, server: &ApiServer, node: &str) -> Result<Process> {
        let mut command = self.command(
            &["speaker", "--gossip-bind=127.0.0.1:7946", "--http-bind=127.0.0.1:0"],
            &["--port=0", "--health-probe-port=0"],
        );
        command.env("METALLB_BGP_TYPE", "native").arg(format!("--node-name={node}"));
        self.spawn(command, server)
    }

    /// Its program, with what ours is told or what MetalLB's is.
    fn command(&self, ours: &[&str], theirs: &[&str]) -> Command {
        let (program, arguments) = match self {
            Self::FerroLb(program) => (program, ours),
            Self::MetalLb(program) => (program, theirs),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }

    fn spawn(&self, mut command: Command, server: &ApiServer) -> Result<Process> {
        let logs = tempfile::Builder::new().prefix("ferrolb-bench-").tempdir()?;
        let log = File::create(log(&logs)).context("creating a log file")?;
        command
            .args([format!("--namespace={SYSTEM}"), format!("--pod-name={POD}")])
            .env("KUBECONFIG", server.kubeconfig())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let running =
            process::spawn(command, Place::default()).with_context(|| format!("starting {self}"))?;
        Ok(Process { running, logs })
    }
}

/// A running controller or speaker. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    running: Running,
    logs: TempDir,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// What it has now.
    pub resident: u64,
    /// The most that it has had.
    pub peak: u64,
}

impl Memory {
    /// Reads the `/proc/PID/status` of a process.
    pub fn read(status: &str) -> Result<Self> {
        let bytes = |field| field_of(status, field).with_context(|| format!("a process has no {field}"));
        Ok(Self { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
    }
}

/// Less of one processor than this is nothing to do: renewing a Lease and the housekeeping of a runtime.
const QUIET: f64 = 0.01;
const QUIET_FOR: Duration = Duration::from_secs(3);
const QUIET_WITHIN: Duration = Duration::from_mins(10);

impl Process {
    /// Time on a processor since it was started, all of its threads together.
    pub fn cpu(&self) -> Result<Duration> {
        self.ensure_alive()?;
        let clock = clock_getcpuclockid(self.running.pid()).context("finding a process's clock")?;
        Ok(clock.now().context("reading a process's clock")?.into())
    }

    /// What it has, and what it had.
    pub fn memory(&self) -> Result<Memory> {
        self.ensure_alive()?;
        let path = format!("/proc/{}/status", self.running.pid());
        Memory::read(&fs::read_to_string(&path).with_context(|| format!("reading {path}"))?)
    }

    /// The longest that its loop has gone on without a pause since it was started; none if it does not count that.
    pub async fn longest_turn(&self) -> Result<Option<Duration>> {
        self.ensure_alive()?;
        let log = fs::read_to_string(log(&self.logs)).context("reading its log")?;
        let Some(address) = served_at(&log) else { return Ok(None) };
        let mut connection = TcpStream::connect(address).await.context("connecting to its metrics")?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.context("asking for its metrics")?;
        let mut metrics = String::new();
        connection.read_to_string(&mut metrics).await.context("reading its metrics")?;
        let seconds = metrics.lines().find_map(|line| line.strip_prefix(LONGEST_TURN)?.trim().parse().ok());
        Ok(seconds.map(Duration::from_secs_f64))
    }

    /// Waits until it has nothing to do any more. Returns the time on a processor that it had spent before.
    pub async fn quiet(&self) -> Result<Duration> {
        let deadline = Instant::now() + QUIET_WITHIN;
        let mut before = self.cpu()?;
        loop {
            sleep(QUIET_FOR).await;
            let now = self.cpu()?;
            if now.saturating_sub(before) < QUIET_FOR.mul_f64(QUIET) {
                return Ok(before);
            }
            ensure!(Instant::now() < deadline, "still busy after {QUIET_WITHIN:?}");
            before = now;
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.ensure_alive()?;
        self.running.signal(signal);
        Ok(())
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(self) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(30);
        self.running.signal(Signal::SIGTERM);
        ensure!(self.running.wait(DEADLINE).is_some(), "has not stopped within {DEADLINE:?}");
        Ok(())
    }

    fn ensure_alive(&self) -> Result<()> {
        let status = self.running.exit_status();
        ensure!(status.is_none(), "has ended ({status:?}):\n{}", process::tail(&log(&self.logs), 10));
        Ok(())
    }
}

const LONGEST_TURN: &str = "ferrolb_controller_longest_turn_seconds ";

/// Where FerroLB serves its metrics, as its log tells.
fn served_at(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("metrics and probes are served"))?;
    let (_, address) = line.split_once("127.0.0.1:")?;
    let port = address.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((Ipv4Addr::LOCALHOST, port).into())
}

fn log(logs: &TempDir) -> PathBuf {
    Path::new(logs.path()).join("log")
}

/// A field of `/proc/PID/status` that is given in kB.
fn field_of(status: &str, field: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tferrolb\nVmHWM:\t   12 kB\nVmRSS:\t    8 kB\n";
        assert_eq!(field_of(status, "VmRSS"), Some(8192));
        assert_eq!(field_of(status, "VmHWM"), Some(12288));
        assert_eq!(field_of(status, "Vm"), None);
    }

    #[test]
    fn the_log_tells_where_metrics_are_served() {
        let log = "INFO starting\nINFO metrics and probes are served address=127.0.0.1:4711\n";
        assert_eq!(served_at(log), Some((Ipv4Addr::LOCALHOST, 4711).into()));
        assert_eq!(served_at("INFO starting address=127.0.0.1:4711"), None);
    }
}

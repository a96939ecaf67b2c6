//! An API server without a cluster: etcd and kube-apiserver on loopback, for component tests.
//!
//! It needs no root and no namespaces, is ready in about three seconds, and dies with its owner.
//!
//! ```no_run
//! let mut server = lab::apiserver::ApiServer::launch()?;
//! let client_reads = server.kubeconfig();
//! server.stop(); // as a crash does
//! server.start()?; // with all that etcd has kept
//! # anyhow::Ok(())
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::pki::Authority;
use crate::process::{self, Place, Running};
use crate::tools::{Program, Tools};
use crate::{ports, template};

/// How long an API server may take until it is ready. Three seconds is normal; a machine that compiles besides is slow.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(5);

/// A running etcd with a kube-apiserver that can be stopped and started.
#[derive(Debug)]
pub struct ApiServer {
    // Dropped in this order: the programs end before their files go.
    server: Option<Running>,
    etcd: Option<Running>,
    program: PathBuf,
    arguments: Vec<String>,
    etcd_program: PathBuf,
    etcd_arguments: Vec<String>,
    url: String,
    etcd_url: String,
    dir: TempDir,
}

impl ApiServer {
    /// Starts both and returns when the API server is ready.
    pub fn launch() -> Result<Self> {
        let tools = Tools::ensure(&[Program::KubeApiserver, Program::Etcd])?;
        let dir = tempfile::Builder::new().prefix("ferrolb-apiserver-").tempdir()?;
        let mut ports = [0; 3];
        for port in &mut ports {
            *port = ports::free()?;
        }
        let [port, etcd_port, peer_port] = ports.map(|port| port.to_string());
        let url = format!("https://127.0.0.1:{port}");

        let pki = dir.path().join("pki");
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"].map(str::to_owned);
        Authority::create(&pki)?.api_server(&names, &url, &pki)?;

        let data = dir.path().join("etcd").display().to_string();
        let values = [("data", data.as_str()), ("client_port", &etcd_port), ("peer_port", &peer_port)];
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let etcd_arguments = template::arguments(include_str!("../templates/etcd.args"), &values);

        let pki = pki.display().to_string();
        let values = [
            ("etcd_port", etcd_port.as_str()),
            ("address", "127.0.0.1"),
            ("port", &port),
            // An API server on loopback has no address that a pod could use.
            ("reconciler", "none"),
            ("service_cidrs", "10.96.0.0/16,fd00:10:96::/112"),
            ("pki", &pki),
        ];
        let arguments = template::arguments(include_str!("../templates/kube-apiserver.args"), &values);
        let program = tools.path(Program::KubeApiserver).to_owned();
        let etcd_program = tools.path(Program::Etcd).to_owned();
        let mut this = Self {
            server: None,
            etcd: None,
            program,
            arguments,
            etcd_program,
            etcd_arguments,
            url,
            etcd_url,
            dir,
        };
        this.start_etcd()?;
        this.start()?;
        Ok(this)
    }

    /// A kubeconfig with every right.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("pki/admin.conf")
    }

    /// Where it listens, as an `https` URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The API server's log; etcd's is beside it.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("kube-apiserver.log")
    }

    /// Kills the API server, as a crash would. etcd goes on.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Starts the API server, at the same address as before, and returns when it is ready.
    pub fn start(&mut self) -> Result<()> {
        self.stop();
        let server = start(&self.program, &self.arguments, &self.log())?;
        let deadline = Instant::now() + READY_WITHIN;
        while !is_ready(&self.dir.path().join("pki"), &self.url)? {
            if let Some(status) = server.exit_status() {
                bail!(
                    "kube-apiserver ended with {status} while starting:\n{}",
                    process::tail(&self.log(), 10)
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "kube-apiserver was not ready within {READY_WITHIN:?}:\n{}",
                    process::tail(&self.log(), 10)
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Keeps a copy of what etcd has, in place of an earlier one. Both programs are stopped and started for that.
    pub fn back_up(&mut self) -> Result<()> {
        self.while_stopped(|data, backup| {
            if backup.exists() {
                fs::remove_dir_all(backup).context("removing the earlier backup")?;
            }
            copy(data, backup).context("copying what etcd has")
        })
    }

    /// Makes etcd have again what it had at the last backup, as an operator does after a disaster: versions go
    /// backwards.
    pub fn restore(&mut self) -> Result<()> {
        self.while_stopped(|data, backup| {
            fs::remove_dir_all(data).context("removing what etcd has")?;
            copy(backup, data).context("putting the backup in its place")
        })
    }

    fn while_stopped(&mut self, act: impl FnOnce(&Path, &Path) -> Result<()>) -> Result<()> {
        self.stop();
        self.etcd = None;
        act(&self.dir.path().join("etcd"), &self.dir.path().join("etcd-backup"))?;
        self.start_etcd()?;
        self.start()
    }

    fn start_etcd(&mut self) -> Result<()> {
        self.etcd = Some(start(&self.etcd_program, &self.etcd_arguments, &self.dir.path().join("etcd.log"))?);
        Ok(())
    }

    /// Makes etcd forget all that was before: whoever watches from an earlier version is told that it has expired.
    /// The API server itself remembers some of it until it is started again.
    pub fn compact(&self) -> Result<()> {
        let range = ask_etcd(&format!("{}/v3/kv/range", self.etcd_url), r#"{"key": "AA==", "limit": 1}"#)?;
        let revision = range["header"]["revision"].as_str().context("etcd names no revision")?;
        let question = format!(r#"{{"revision": "{revision}", "physical": true}}"#);
        ask_etcd(&format!("{}/v3/kv/compaction", self.etcd_url), &question).map(drop)
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() { copy(&from, &to)? } else { fs::copy(&from, &to).map(drop)? }
    }
    Ok(())
}

/// Asks etcd something by its JSON gateway.
fn ask_etcd(url: &str, question: &str) -> Result<Value> {
    let mut curl = curl(10);
    curl.args(["--show-error", "--data", question, url]);
    let output = process::output(curl, Place::default(), b"").context("starting `curl`")?;
    ensure!(output.status.success(), "asking {url}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading what {url} says"))
}

/// Asks the API server at `url` whether it is ready, as the administrator whose certificate is in `pki`.
fn is_ready(pki: &Path, url: &str) -> Result<bool> {
    let output = process::output(ready_question(pki, url), Place::default(), b"");
    Ok(output.context("starting `curl`: install the Debian package curl")?.status.success())
}

/// `curl` as programs call it: it takes so many seconds at most, and fails when the answer is an error.
fn curl(seconds: u32) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--globoff", "--noproxy", "*", "--max-time", &seconds.to_string()]);
    curl
}

/// The `curl` command that succeeds when the API server at `url` is ready.
pub(crate) fn ready_question(pki: &Path, url: &str) -> Command {
    // On a machine with much else to do, a handshake alone takes seconds.
    let mut curl = curl(15);
    for (option, file) in [("--cacert", "ca.crt"), ("--cert", "admin.crt"), ("--key", "admin.key")] {
        curl.arg(option).arg(pki.join(file));
    }
    curl.arg(format!("{url}/readyz"));
    curl
}

fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Running> {
    let file = File::options().create(true).append(true).open(log).context("creating a log file")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    process::spawn(command, Place::default()).with_context(|| format!("starting {}", program.display()))
}

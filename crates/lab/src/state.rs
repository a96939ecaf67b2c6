//! What a lab keeps on disk, and how to find its hosts from outside.
//!
//! ```text
//! /var/lib/ferrolb-lab/NAME.lock    held by the lab's keeper for as long as it lives
//! /var/lib/ferrolb-lab/NAME.log     what the keeper has to say when it fails
//! /var/lib/ferrolb-lab/NAME/        seen as /run/lab by every host
//!     lab.json  control.sock  program  init.pid  bin/  pki/  etcd/  images/
//!     hosts/n1/{init.pid,etc,kubelet,containerd,log}  hosts/router/
//!     log/HOST/PROGRAM.log
//! ```
//! It must be on a file system that containerd can put overlays on (ext4, xfs).

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::plan::{Host, IpFamilies, LabName, NodeId, ProxyMode, Router};
use crate::process::Place;
use crate::tools::{Program, Tools};

/// Where every host of a lab sees the lab's folder.
pub(crate) const INSIDE: &str = "/run/lab";
/// Where every host finds the programs.
pub(crate) const PROGRAMS: &str = "/run/lab/bin";

/// What the API server logs of requests, and the log, in the lab's folder.
pub(crate) const AUDIT_POLICY: &str = "audit.yaml";
pub(crate) const AUDIT_LOG: &str = "log/cp/audit.log";

/// What a lab consists of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub name: LabName,
    pub nodes: u8,
    pub proxy_mode: ProxyMode,
    pub families: IpFamilies,
    pub router: Option<Router>,
    pub tools: Tools,
    /// Archives for the lab's registry.
    pub images: Vec<PathBuf>,
}

/// The folder of one lab.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    base: PathBuf,
    name: LabName,
}

/// A place in the lab where a process can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Beside the bridge, with the names of all network namespaces: where cables are pulled.
    Switch,
    /// On a host.
    Host(Host),
}

impl StateDir {
    pub(crate) fn of(name: &LabName) -> Result<Self> {
        let base = env::var_os("FERROLB_LAB_DIR")
            .map_or_else(|| PathBuf::from("/var/lib/ferrolb-lab"), PathBuf::from);
        fs::create_dir_all(&base).with_context(|| format!("creating {}", base.display()))?;
        Ok(Self { base, name: name.clone() })
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.base.join(self.name.as_str())
    }

    pub(crate) fn keeper_log(&self) -> PathBuf {
        self.base.join(format!("{}.log", self.name))
    }

    pub(crate) fn spec(&self) -> PathBuf {
        self.root().join("lab.json")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root().join("control.sock")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.root().join("pki")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root().join("images")
    }

    pub(crate) fn host(&self, node: NodeId) -> PathBuf {
        self.root().join("hosts").join(node.to_string())
    }

    /// What the router's programs are configured with.
    pub(crate) fn router(&self) -> PathBuf {
        self.root().join("hosts").join(Host::Router.to_string())
    }

    pub(crate) fn logs(&self, host: Host) -> PathBuf {
        self.root().join("log").join(host.to_string())
    }

    pub(crate) fn log(&self, host: Host, program: Program) -> PathBuf {
        self.logs(host).join(format!("{}.log", program.name()))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.root().join(AUDIT_LOG)
    }

    /// The file with the process id of the first process of the namespaces at `spot`.
    pub(crate) fn init_pid(&self, spot: Spot) -> PathBuf {
        match spot {
            Spot::Switch | Spot::Host(Host::Cp | Host::Client | Host::Router) => self.root().join("init.pid"),
            Spot::Host(Host::Node(node)) => self.host(node).join("init.pid"),
        }
    }

    /// The lock that a lab's keeper holds; none while another process holds it.
    pub(crate) fn try_lock(&self) -> Result<Option<File>> {
        let path = self.base.join(format!("{}.lock", self.name));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(anyhow!(error).context(format!("locking {}", path.display())))
            }
        }
    }

    /// Kills and removes everything of this lab, whatever state it is in. For the holder of the lock.
    pub(crate) fn clear(&self, logs: Logs) -> Result<()> {
        Cgroups::of(&self.name)?.clear(None)?;
        let root = self.root();
        let entries = match fs::read_dir(&root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(|| format!("reading {}", root.display()))?,
        };
        for entry in entries {
            let entry = entry?;
            if logs == Logs::Keep && entry.file_name() == "log" {
                continue;
            }
            let path = entry.path();
            let removed =
                if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("removing {}", path.display()))?;
        }
        match logs {
            Logs::Keep => Ok(()),
            Logs::Remove => fs::remove_dir(&root).with_context(|| format!("removing {}", root.display())),
        }
    }

    /// How to run a process at `spot`.
    pub(crate) fn place(&self, spot: Spot, cgroups: &Cgroups) -> io::Result<Place> {
        let namespaces = Namespaces::at(self, spot)?;
        let group = match spot {
            Spot::Switch => Host::Cp,
            Spot::Host(host) => host,
        };
        Ok(Place { enter: Some(Box::new(move || namespaces.enter())), cgroups: cgroups.procs(group)? })
    }
}

/// What to do with the logs of a lab that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    Keep,
    Remove,
}

/// Open namespaces, to be entered by a thread.
pub(crate) struct Namespaces(Vec<(File, CloneFlags)>);

impl Namespaces {
    /// The namespaces of a place.
    pub(crate) fn at(state: &StateDir, spot: Spot) -> io::Result<Self> {
        let pid = read_pid(&state.init_pid(spot))?;
        let of_init = |kinds: &[(&str, CloneFlags)]| -> io::Result<Vec<_>> {
            kinds
                .iter()
                .map(|(kind, flag)| Ok((File::open(format!("/proc/{pid}/ns/{kind}"))?, *flag)))
                .collect()
        };
        let base = [("pid", CloneFlags::CLONE_NEWPID), ("mnt", CloneFlags::CLONE_NEWNS)];
        let opened = match spot {
            Spot::Switch => {
                let mut all = of_init(&[("net", CloneFlags::CLONE_NEWNET)])?;
                all.extend(of_init(&base)?);
                all
            }
            Spot::Host(host @ (Host::Cp | Host::Client | Host::Router)) => {
                let mut all = Self::network(state, host)?.0;
                all.extend(of_init(&base)?);
                all
            }
            Spot::Host(Host::Node(_)) => {
                let mut all = of_init(&[
                    ("net", CloneFlags::CLONE_NEWNET),
                    ("uts", CloneFlags::CLONE_NEWUTS),
                    ("ipc", CloneFlags::CLONE_NEWIPC),
                    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
                ])?;
                all.extend(of_init(&base)?);
                all
            }
        };
        Ok(Self(opened))
    }

    /// Only the network of a host; it exists before the host runs.
    pub(crate) fn network(state: &StateDir, host: Host) -> io::Result<Self> {
        let pid = read_pid(&state.init_pid(Spot::Switch))?;
        let file = File::open(format!("/proc/{pid}/root/run/netns/{host}"))?;
        Ok(Self(vec![(file, CloneFlags::CLONE_NEWNET)]))
    }

    /// The network of a host, and the files of the lab.
    pub(crate) fn network_and_files(state: &StateDir, host: Host) -> io::Result<Self> {
        let pid = read_pid(&state.init_pid(Spot::Switch))?;
        let mut all = Self::network(state, host)?.0;
        all.push((File::open(format!("/proc/{pid}/ns/mnt"))?, CloneFlags::CLONE_NEWNS));
        Ok(Self(all))
    }

    /// Takes the calling thread there. It cannot come back, so it should end soon.
    pub(crate) fn enter(&self) -> io::Result<()> {
        // A thread that shares its root and working directory with others cannot change its mount namespace.
        nix::sched::unshare(CloneFlags::CLONE_FS)?;
        let from = env::current_dir().ok();
        for (file, flag) in &self.0 {
            nix::sched::setns(file, *flag)?;
        }
        // The new root is the same tree but for a few mounts, so the working directory usually exists there too.
        if let Some(from) = from {
            let _ = env::set_current_dir(from);
        }
        Ok(())
    }

    /// Runs `action` there, in a thread of its own.
    pub(crate) fn run<T: Send>(&self, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let thread = || {
            self.enter().context("entering a namespace")?;
            action()
        };
        std::thread::scope(|scope| scope.spawn(thread).join())
            .map_err(|_| anyhow!("a thread of the lab panicked"))?
    }
}

fn read_pid(path: &Path) -> io::Result<u32> {
    let text = fs::read_to_string(path).map_err(|e| {
        io::Error::new(e.kind(), format!("{}: {e} (is the host powered on?)", path.display()))
    })?;
    text.trim().parse().map_err(|_| io::Error::other(format!("{}: no process id", path.display())))
}

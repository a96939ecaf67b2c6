//! The first process of a lab, and of each node: it sees to the mounts, then reaps orphans until it is killed.
//!
//! What is mounted happens in two halves. The keeper's thread that starts the process has entered fresh namespaces and
//! prepares `/run` and `/var` there ([`prepare_lab`], [`prepare_node`]); what depends on the process itself (its `/proc`,
//! its control groups) is mounted by the process ([`run`]).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::cgroup::Cgroups;
use crate::plan::{Host, LabName};
use crate::roles;
use crate::state::{INSIDE, StateDir};

/// Exists in `/run` once all is mounted.
pub(crate) const READY: &str = "ready";

/// Settings that kubelet makes for the whole machine, panics on oops among them. In a node these paths are plain files
/// that already say what kubelet wants, so the machine keeps its own.
const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The command of an init process for the lab (`None`) or for a host.
pub(crate) fn command(lab: &LabName, host: Option<Host>) -> Command {
    let mut command = Command::new(Path::new(INSIDE).join("program"));
    command.args([roles::MARK, "init", lab.as_str()]).args(host.map(|host| host.to_string()));
    command
}

/// In a fresh mount namespace: a `/run` with the lab's folder.
pub(crate) fn prepare_lab(state: &StateDir) -> Result<()> {
    make_private()?;
    let run = state.root().join("mnt");
    mount_tmpfs(&run)?;
    for folder in ["lab", "netns"] {
        fs::create_dir(run.join(folder))?;
    }
    bind(&state.root(), &run.join("lab"))?;
    move_to_run(&run)
}

/// In a mount namespace copied from the lab's: a `/run` and a `/var` for this node alone.
pub(crate) fn prepare_node(state: &StateDir, host: Host) -> Result<()> {
    make_private()?;
    let run = state.root().join("mnt");
    mount_tmpfs(&run)?;
    for folder in ["lab", "netns"] {
        fs::create_dir(run.join(folder))?;
    }
    bind(Path::new(INSIDE), &run.join("lab"))?;
    // The lab's /run goes away with all that is mounted below it. Names of other hosts' network namespaces must not
    // stay here, or a node that is powered off lives on in its neighbours.
    umount2("/run", MntFlags::MNT_DETACH).context("unmounting the lab's /run")?;
    move_to_run(&run)?;

    mount_tmpfs(Path::new("/var"))?;
    for folder in ["lib/kubelet", "lib/containerd", "lib/cni", "log", "tmp", "cache"] {
        fs::create_dir_all(Path::new("/var").join(folder))?;
    }
    symlink("/run", "/var/run")?;
    let own = Path::new(INSIDE).join("hosts").join(host.to_string());
    bind(&own.join("kubelet"), Path::new("/var/lib/kubelet"))?;
    // Volumes that kubelet mounts must show up in containers that mount its folder.
    mount(None::<&str>, "/var/lib/kubelet", None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
    bind(&own.join("containerd"), Path::new("/var/lib/containerd"))?;
    bind(&own.join("log"), Path::new("/var/log"))
}

/// The init process itself; never returns but in case of an error.
pub(crate) fn run(lab: &LabName, host: Option<Host>) -> Result<()> {
    mount_new("proc", Path::new("/proc"))?;
    if let Some(host) = host {
        nix::unistd::sethostname(host.to_string()).context("setting the host name")?;
        // While the machine's mounts can still be seen.
        let cgroups = Cgroups::of(lab)?;
        unshare(CloneFlags::CLONE_NEWCGROUP).context("making a cgroup namespace")?;
        mount_new("sysfs", Path::new("/sys"))?;
        cgroups.mount_as_root()?;
        hide_sysctls()?;
    }
    let mut child_ended = SigSet::empty();
    child_ended.add(Signal::SIGCHLD);
    child_ended.thread_block()?;
    fs::write(Path::new("/run").join(READY), "")?;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // Blocked since before the question, so an orphan that ends now is not missed.
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => drop(child_ended.wait()?),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("reaping orphans"),
        }
    }
}

fn hide_sysctls() -> Result<()> {
    let folder = Path::new("/run/sysctl");
    fs::create_dir(folder)?;
    for (name, value) in KUBELET_SYSCTLS {
        let real = Path::new("/proc/sys").join(name);
        if real.exists() {
            let file = folder.join(name.replace('/', "_"));
            fs::write(&file, format!("{value}\n"))?;
            bind(&file, &real)?;
        }
    }
    Ok(())
}

/// Mounts made from here on are nobody else's.
fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("making the mounts private")
}

fn mount_tmpfs(at: &Path) -> Result<()> {
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .with_context(|| format!("mounting a tmpfs on {}", at.display()))
}

fn mount_new(kind: &str, at: &Path) -> Result<()> {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting {kind} on {}", at.display()))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("binding {} to {}", from.display(), to.display()))
}

fn move_to_run(from: &Path) -> Result<()> {
    mount(Some(from), "/run", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .context("moving the new /run into place")
}

//! What a machine must offer before a lab can run on it, and a plain sentence for each thing that is missing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::cgroup::Cgroups;
use crate::debian;
use crate::plan::{LabName, MAX_NODES, Router};

/// Up to this many nodes, the machine's usual limit of 128 inotify instances is enough: a node takes nine.
const NODES_WITHOUT_TUNING: u8 = 12;
const INOTIFY_PER_NODE: u32 = 10;

/// Fails when a lab of `nodes` nodes, and perhaps with a router, cannot run here.
pub fn check(nodes: u8, router: Option<Router>) -> Result<()> {
    ensure!((1..=MAX_NODES).contains(&nodes), "a lab has 1 to {MAX_NODES} nodes, not {nodes}");
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the lab runs on Linux on x86-64 only: its nodes share the machine's kernel"
    );
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the lab needs root: it makes namespaces, control groups and network cards (try `sudo -E env PATH=$PATH cargo xtask lab`)"
    );
    Cgroups::of(&LabName::default())?;
    file_systems()?;
    if nodes > NODES_WITHOUT_TUNING {
        inotify(nodes)?;
    }
    let missing = debian::missing(&[debian::FOR_LABS, debian::for_router(router)].concat());
    if !missing.is_empty() {
        bail!("these Debian packages are missing: `apt-get install {}`", missing.join(" "));
    }
    Ok(())
}

fn file_systems() -> Result<()> {
    for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        ensure!(
            Path::new("/proc/self/ns").join(namespace).exists(),
            "this kernel has no {namespace} namespaces"
        );
    }
    // The module is loaded by the first mount; only a kernel without modules must name it now.
    let known = fs::read_to_string("/proc/filesystems").context("reading /proc/filesystems")?;
    let modular = Path::new("/proc/modules").exists();
    ensure!(
        modular || known.contains("\toverlay\n"),
        "this kernel has no overlay file system, which containers need"
    );
    Ok(())
}

fn inotify(nodes: u8) -> Result<()> {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let limit: u32 = fs::read_to_string(path).with_context(|| format!("reading {path}"))?.trim().parse()?;
    let needed = u32::from(nodes) * INOTIFY_PER_NODE;
    ensure!(
        limit >= needed,
        "{nodes} nodes need more inotify instances than {limit}: `sysctl fs.inotify.max_user_instances={needed}`"
    );
    Ok(())
}

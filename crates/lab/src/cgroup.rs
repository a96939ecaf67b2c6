//! The control groups of a lab: `ferrolb-NAME/HOST` in every hierarchy.
//!
//! Every process of a lab is in one of them, which is how `down` finds what an earlier run left behind. A node sees its
//! group as the root, as a machine would.
//!
//! Machines with cgroup v1 (or both, v1 having the controllers) and machines with v2 alone are served. The v2 side
//! follows the kernel's documentation; it was not tried on such a machine yet.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::MsFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::plan::{Host, LabName};

/// v1 controllers without which kubelet or containerd does not start.
const NEEDED: [&str; 7] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids"];
/// On v2 processes may only be in leaves: a node's own programs are in this one, beside those of its pods.
const LEAF: &str = "system";

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mounted_at: PathBuf,
    /// v1: its controllers, or `name=systemd`; v2: none.
    controllers: Vec<String>,
}

/// The control groups of one lab.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    name: String,
}

impl Cgroups {
    pub(crate) fn of(lab: &LabName) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
        let hierarchies = hierarchies(&mounts);
        ensure!(
            !hierarchies.is_empty(),
            "no control groups are mounted: the lab needs /sys/fs/cgroup (v1 or v2)"
        );
        let have =
            |controller: &&str| hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == controller));
        let this = Self { name: format!("ferrolb-{lab}"), hierarchies: hierarchies.clone() };
        if !this.is_v2() {
            let missing: Vec<_> = NEEDED.iter().filter(|controller| !have(controller)).copied().collect();
            ensure!(
                missing.is_empty(),
                "these cgroup v1 controllers are not mounted: {}",
                missing.join(", ")
            );
        }
        Ok(this)
    }

    fn is_v2(&self) -> bool {
        self.hierarchies.iter().all(|hierarchy| hierarchy.controllers.is_empty())
    }

    /// Makes the groups of `host`.
    pub(crate) fn create(&self, host: Host) -> Result<()> {
        for hierarchy in &self.hierarchies {
            let lab = hierarchy.mounted_at.join(&self.name);
            let group = lab.join(host.to_string());
            fs::create_dir_all(&group)
                .with_context(|| format!("creating the control group {}", group.display()))?;
            if hierarchy.controllers.iter().any(|controller| controller == "cpuset") {
                inherit_cpus(&hierarchy.mounted_at, &lab)?;
                inherit_cpus(&lab, &group)?;
            }
            if self.is_v2() {
                enable_controllers(&hierarchy.mounted_at)?;
                enable_controllers(&lab)?;
            }
        }
        Ok(())
    }

    /// What a process of `host` writes itself into.
    pub(crate) fn procs(&self, host: Host) -> io::Result<Vec<File>> {
        let open = |hierarchy: &Hierarchy| {
            let group = hierarchy.mounted_at.join(&self.name).join(host.to_string());
            let leaf = group.join(LEAF);
            let group = if self.is_v2() && leaf.is_dir() { leaf } else { group };
            File::options().write(true).open(group.join("cgroup.procs"))
        };
        self.hierarchies.iter().map(open).collect()
    }

    /// Kills every process of one host, or of the whole lab, and removes its groups, until nothing is left. Something
    /// that is starting at the same time may add to them meanwhile, so both are tried again together.
    pub(crate) fn clear(&self, host: Option<Host>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            for pid in self.pids(host)? {
                // One that is gone already is what is wanted.
                let _ = kill(pid, Signal::SIGKILL);
            }
            let removed =
                self.hierarchies.iter().try_for_each(|hierarchy| remove_tree(&self.group(hierarchy, host)));
            match removed {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                // A killed process takes a moment to die.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn group(&self, hierarchy: &Hierarchy, host: Option<Host>) -> PathBuf {
        let lab = hierarchy.mounted_at.join(&self.name);
        host.map_or_else(|| lab.clone(), |host| lab.join(host.to_string()))
    }

    /// The processes of one host, or of the whole lab.
    pub(crate) fn pids(&self, host: Option<Host>) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for hierarchy in
            self.hierarchies.iter().filter(|h| self.is_v2() || h.controllers.iter().any(|c| c == "pids"))
        {
            for group in below(&self.group(hierarchy, host)) {
                match fs::read_to_string(group.join("cgroup.procs")) {
                    Ok(text) => {
                        pids.extend(text.lines().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
                    }
                    // The group went away meanwhile; ENODEV is how a dying one says so.
                    Err(e)
                        if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(nix::libc::ENODEV) => {
                    }
                    Err(error) => return Err(error).with_context(|| format!("reading {}", group.display())),
                }
            }
        }
        // 0 stands for a process of a foreign pid namespace; it is not ours to kill by number.
        pids.retain(|pid| pid.as_raw() > 0);
        Ok(pids)
    }

    /// In a node, after it has made its group the root of a cgroup namespace: mounts what it sees of the hierarchies.
    pub(crate) fn mount_as_root(&self) -> Result<()> {
        let root = Path::new("/sys/fs/cgroup");
        let none = None::<&str>;
        if self.is_v2() {
            nix::mount::mount(Some("cgroup2"), root, Some("cgroup2"), MsFlags::empty(), none)?;
            let leaf = root.join(LEAF);
            fs::create_dir(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), "0")?;
            return enable_controllers(root);
        }
        nix::mount::mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        for hierarchy in &self.hierarchies {
            let options = hierarchy.mount_options();
            let folder = options.trim_start_matches("none,name=").to_owned();
            let at = root.join(&folder);
            fs::create_dir(&at)?;
            nix::mount::mount(Some("cgroup"), &at, Some("cgroup"), MsFlags::empty(), Some(options.as_str()))
                .with_context(|| format!("mounting the cgroup hierarchy {options}"))?;
            // `cpu,cpuacct` is also found as `cpu` and as `cpuacct`.
            for controller in hierarchy.controllers.iter().filter(|_| hierarchy.controllers.len() > 1) {
                symlink(&folder, root.join(controller))?;
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    fn mount_options(&self) -> String {
        let options = self.controllers.join(",");
        if options.starts_with("name=") { format!("none,{options}") } else { options }
    }
}

/// The hierarchies in a `mountinfo` (proc_pid_mountinfo(5)): v1's, or v2's when v1 has no controllers.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut v1: Vec<Hierarchy> = Vec::new();
    let mut v2 = Vec::new();
    for line in mountinfo.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let (Some(at), mut system) = (mount.split(' ').nth(4), system.split(' ')) else { continue };
        let mounted_at = PathBuf::from(at);
        match (system.next(), system.nth(1)) {
            (Some("cgroup2"), _) => v2.push(Hierarchy { mounted_at, controllers: Vec::new() }),
            (Some("cgroup"), Some(options)) => {
                let is_controller = |option: &&str| {
                    !matches!(*option, "rw" | "ro" | "xattr" | "clone_children")
                        && (!option.contains('=') || option.starts_with("name="))
                };
                let controllers: Vec<String> =
                    options.split(',').filter(is_controller).map(str::to_owned).collect();
                if v1.iter().all(|known| known.controllers != controllers) {
                    v1.push(Hierarchy { mounted_at, controllers });
                }
            }
            _ => {}
        }
    }
    if v1.iter().any(|hierarchy| hierarchy.controllers.iter().any(|controller| controller == "memory")) {
        v1
    } else {
        v2.truncate(1);
        v2
    }
}

/// A v1 cpuset takes no process before it has CPUs and memory nodes.
fn inherit_cpus(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let value = fs::read_to_string(parent.join(file))
            .with_context(|| format!("reading {file} of {}", parent.display()))?;
        fs::write(child.join(file), value)
            .with_context(|| format!("writing {file} of {}", child.display()))?;
    }
    Ok(())
}

/// Hands all v2 controllers of a group on to its children.
fn enable_controllers(group: &Path) -> Result<()> {
    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
    let wanted: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
    fs::write(group.join("cgroup.subtree_control"), wanted.join(" "))
        .with_context(|| format!("enabling the controllers of {}", group.display()))
}

/// A group and all groups below it, the deepest first.
fn below(top: &Path) -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            groups.extend(below(&entry.path()));
        }
    }
    groups.push(top.to_owned());
    groups
}

fn remove_tree(top: &Path) -> Result<()> {
    below(top).into_iter().try_for_each(|group| match fs::remove_dir(&group) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the control group {}", group.display()))
        }
        _ => Ok(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_hierarchies_are_found_also_when_controllers_share_one() {
        let found = hierarchies(
            "25 1 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
             26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw shared:3 - cgroup cgroup rw,cpu,cpuacct\n\
             27 25 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             28 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             29 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        let options: Vec<_> = found.iter().map(Hierarchy::mount_options).collect();
        assert_eq!(options, ["cpu,cpuacct", "memory", "none,name=systemd"]);
    }

    #[test]
    fn v2_alone_is_one_hierarchy() {
        let found = hierarchies("31 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
        assert_eq!(found, [Hierarchy { mounted_at: "/sys/fs/cgroup".into(), controllers: vec![] }]);
    }
}

//! Debian packages: which are missing, and their installation.

use std::env;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::plan::Router;
use crate::process::{Place, output};
use crate::ui;

/// A package, and a file by which its presence is told: a program's name, or a path.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// The package's name.
    pub name: &'static str,
    /// A program that is looked for on PATH (and where root's programs are), or an absolute path.
    pub file: &'static str,
}

/// What a lab runs with.
pub const FOR_LABS: &[Package] = &[
    Package { name: "iproute2", file: "ip" },
    Package { name: "nftables", file: "nft" },
    Package { name: "iptables", file: "iptables" },
    Package { name: "curl", file: "curl" },
    Package { name: "tcpdump", file: "tcpdump" },
    Package { name: "hey", file: "hey" },
];

/// What its programs and images are built with, too.
pub const FOR_BUILDING: &[Package] = &[
    Package { name: "gcc", file: "gcc" },
    Package { name: "libc6-dev", file: "/usr/include/stdio.h" },
    Package { name: "libseccomp-dev", file: "/usr/include/seccomp.h" },
    Package { name: "musl-tools", file: "musl-gcc" },
];

/// What fuzz targets are built with: libFuzzer is C++.
pub const FOR_FUZZING: &[Package] = &[Package { name: "g++", file: "g++" }];

/// What the page of `kubectl ferrolb ui` is looked at with, for its test.
pub const FOR_PAGES: &[Package] = &[Package { name: "chromium", file: "chromium" }];

/// What images are pushed with.
pub const FOR_PUSHING: &[Package] = &[Package { name: "skopeo", file: "skopeo" }];

/// What NetworkPolicies are enforced with, for the tests that want it.
pub const FOR_POLICIES: &[Package] =
    &[Package { name: "ipset", file: "ipset" }, Package { name: "conntrack", file: "conntrack" }];

/// What resolves names on a LAN, for the test of those of Services.
pub const FOR_NAMES: &[Package] = &[Package { name: "avahi-daemon", file: "avahi-daemon" }];

/// What gives out addresses on a LAN, for the test of the question for it.
pub const FOR_DHCP: &[Package] = &[Package { name: "dnsmasq-base", file: "dnsmasq" }];

/// What speaks BGP with the nodes of a lab, and with the speaker in its tests.
pub const FOR_ROUTERS: &[Package] = &[
    FRR,
    BIRD,
    Package { name: "gobgpd", file: "gobgpd" },
    // `bgpd` is also the name of a program of FRR.
    Package { name: "openbgpd", file: "bgpctl" },
];
const FRR: Package = Package { name: "frr", file: "/usr/lib/frr/bgpd" };
const BIRD: Package = Package { name: "bird2", file: "bird" };

/// What a lab with this router runs with, besides.
pub const fn for_router(router: Option<Router>) -> &'static [Package] {
    match router {
        None => &[],
        Some(Router::Frr) => &[FRR],
        Some(Router::Bird) => &[BIRD],
    }
}

/// The names of those that are missing.
pub fn missing(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().filter(|package| !exists(package.file)).map(|package| package.name).collect()
}

/// Installs what is missing for labs, those with this router among them, saying what.
pub fn ensure_installed(router: Option<Router>) -> Result<()> {
    ensure(&[FOR_LABS, FOR_BUILDING, FOR_POLICIES, for_router(router)].concat())
}

/// Installs what is missing of these, saying what. None of their services is started.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install {}", missing.join(" "));
    ensure!(nix::unistd::geteuid().is_root(), "these Debian packages are missing: run `{install}` as root");
    ensure!(exists("apt-get"), "these programs are missing, and this is no Debian: {}", missing.join(", "));
    let task = ui::task(
        format_args!("installing {} (Debian packages)", missing.join(", ")),
        Duration::from_secs(10),
    );
    let _no_service_starts = Policy::put(Path::new(POLICY))?;
    let install = [&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat();
    // Package lists are often missing or old: only then is the slow way worth it.
    if apt(&install).is_err() {
        apt(&["update"])?;
        apt(&install)?;
    }
    task.done();
    Ok(())
}

/// What Debian's packages ask before they start a service (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// A policy that no service is started. Where the machine has one, that holds, and nothing is done.
struct Policy(Option<PathBuf>);

impl Policy {
    fn put(path: &Path) -> Result<Self> {
        // Where this program is killed and the file stays, it means nothing any more.
        let policy = format!("#!/bin/sh\n{POLICY_MARK}\n[ ! -d /proc/{} ] || exit 101\n", process::id());
        let stale = fs::read_to_string(path).is_ok_and(|text| text.contains(POLICY_MARK));
        if path.exists() && !stale {
            return Ok(Self(None));
        }
        let mut file = tempfile::NamedTempFile::new_in(path.parent().context("a file is in a folder")?)?;
        file.write_all(policy.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o755))?;
        file.persist(path).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

const POLICY_MARK: &str = "# Of FerroLB's lab, which installs packages and runs their programs by itself.";

fn apt(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command
        .args(["-q", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let output = output(command, Place::default(), b"").context("starting apt-get")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`apt-get {}` failed: {}", arguments.join(" "), said.trim());
    Ok(())
}

fn exists(file: &str) -> bool {
    if file.starts_with('/') {
        return Path::new(file).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a package is told that wants to start its service.
    fn answer(policy: &Path) -> Option<i32> {
        let mut sh = Command::new("sh");
        sh.arg(policy);
        output(sh, Place::default(), b"").unwrap().status.code()
    }

    #[test]
    fn no_service_is_started_by_an_installation_and_the_policy_of_the_machine_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy-rc.d");
        let policy = Policy::put(&path).unwrap();
        assert_eq!(answer(&path), Some(101));
        drop(policy);
        assert!(!path.exists());

        fs::write(&path, format!("#!/bin/sh\n{POLICY_MARK}\nexit 0\n")).unwrap();
        drop(Policy::put(&path).unwrap());
        assert!(!path.exists(), "what a killed program has left");

        fs::write(&path, "#!/bin/sh\nexit 104\n").unwrap();
        drop(Policy::put(&path).unwrap());
        assert!(path.exists());
    }
}

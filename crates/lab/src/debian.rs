//! Debian packages: which are missing, and their installation.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

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

/// The names of those that are missing.
pub fn missing(packages: &[Package]) -> Vec<&'static str> {
    packages.iter().filter(|package| !exists(package.file)).map(|package| package.name).collect()
}

/// Installs what is missing, saying what.
pub fn ensure_installed() -> Result<()> {
    ensure(&[FOR_LABS, FOR_BUILDING, FOR_POLICIES].concat())
}

/// Installs what is missing of these, saying what.
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
    let install = [&["install", "--yes", "--no-install-recommends"], missing.as_slice()].concat();
    // Package lists are often missing or old: only then is the slow way worth it.
    if apt(&install).is_err() {
        apt(&["update"])?;
        apt(&install)?;
    }
    task.done();
    Ok(())
}

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

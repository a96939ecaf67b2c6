//! The programs of a cluster: found, or built from Go modules into a cache that survives.
//!
//! Each folder of `tests/tools` is a Go module that pins one project's version, with checksums. A program is built once
//! per content of that folder and per set of flags, into `$XDG_CACHE_HOME/ferrolb/tools`. Kubernetes, etcd and Helm are
//! also taken from `KUBEBUILDER_ASSETS` (before the cache) and from `PATH` (before building) when their version fits.

mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use version::{Build, Version};

use crate::process::{self, Place};
use crate::ui;

/// A program that the lab runs, or that a bench compares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the programs' own names")]
pub enum Program {
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
    Kubectl,
    Kubelet,
    KubeProxy,
    Etcd,
    Containerd,
    ContainerdShimRuncV2,
    Ctr,
    Runc,
    Ptp,
    Loopback,
    HostLocal,
    Portmap,
    Helm,
    Helm3,
    Coredns,
    MetallbController,
    MetallbSpeaker,
    KubeRouter,
}

/// A Go module that programs are built from: a folder of `tests/tools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Module {
    Kubernetes,
    Etcd,
    Containerd,
    Runc,
    Cni,
    Helm,
    Helm3,
    Coredns,
    Metallb,
    KubeRouter,
}

/// Of the Kubernetes that Helm 3 in `tests/tools` is made for, as its libraries from there say.
const HELM_3_KUBERNETES_MINOR: u32 = 37;

/// Where the programs are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tools(BTreeMap<Program, PathBuf>);

impl Program {
    /// All programs of a lab, the slowest to build first.
    pub const ALL: [Self; 17] = [
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Etcd,
        Self::Containerd,
        Self::ContainerdShimRuncV2,
        Self::Ctr,
        Self::Runc,
        Self::Ptp,
        Self::Loopback,
        Self::HostLocal,
        Self::Portmap,
        Self::Helm,
        Self::Coredns,
    ];

    /// Those of MetalLB. No lab needs them that is not to be compared with it.
    pub const METALLB: [Self; 2] = [Self::MetallbController, Self::MetallbSpeaker];

    /// Those that only some tests need.
    pub const FOR_TESTS: [Self; 4] =
        [Self::Helm3, Self::MetallbController, Self::MetallbSpeaker, Self::KubeRouter];

    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            // Its package's path ends with a version.
            Self::Etcd => "etcd",
            // Nor do these tell whose they are.
            Self::MetallbController => "metallb-controller",
            Self::MetallbSpeaker => "metallb-speaker",
            _ => self.source().1.rsplit('/').next().unwrap_or_default(),
        }
    }

    /// Its module, its Go package, and about how many seconds a first build takes on two cores.
    fn source(self) -> (Module, &'static str, u64) {
        match self {
            Self::KubeApiserver => (Module::Kubernetes, "k8s.io/kubernetes/cmd/kube-apiserver", 254),
            Self::KubeControllerManager => {
                (Module::Kubernetes, "k8s.io/kubernetes/cmd/kube-controller-manager", 61)
            }
            Self::KubeScheduler => (Module::Kubernetes, "k8s.io/kubernetes/cmd/kube-scheduler", 5),
            Self::Kubectl => (Module::Kubernetes, "k8s.io/kubernetes/cmd/kubectl", 8),
            Self::Kubelet => (Module::Kubernetes, "k8s.io/kubernetes/cmd/kubelet", 18),
            Self::KubeProxy => (Module::Kubernetes, "k8s.io/kubernetes/cmd/kube-proxy", 8),
            Self::Etcd => (Module::Etcd, "go.etcd.io/etcd/server/v3", 27),
            Self::Containerd => {
                (Module::Containerd, "github.com/containerd/containerd/v2/cmd/containerd", 120)
            }
            Self::ContainerdShimRuncV2 => {
                (Module::Containerd, "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", 3)
            }
            Self::Ctr => (Module::Containerd, "github.com/containerd/containerd/v2/cmd/ctr", 11),
            Self::Runc => (Module::Runc, "github.com/opencontainers/runc", 31),
            Self::Ptp => (Module::Cni, "github.com/containernetworking/plugins/plugins/main/ptp", 5),
            Self::Loopback => {
                (Module::Cni, "github.com/containernetworking/plugins/plugins/main/loopback", 2)
            }
            Self::HostLocal => {
                (Module::Cni, "github.com/containernetworking/plugins/plugins/ipam/host-local", 2)
            }
            Self::Portmap => (Module::Cni, "github.com/containernetworking/plugins/plugins/meta/portmap", 2),
            Self::Helm => (Module::Helm, "helm.sh/helm/v4/cmd/helm", 160),
            Self::Helm3 => (Module::Helm3, "helm.sh/helm/v3/cmd/helm", 160),
            Self::Coredns => (Module::Coredns, "github.com/coredns/coredns", 114),
            Self::MetallbController => (Module::Metallb, "go.universe.tf/metallb/controller", 60),
            Self::MetallbSpeaker => (Module::Metallb, "go.universe.tf/metallb/speaker", 30),
            Self::KubeRouter => {
                (Module::KubeRouter, "github.com/cloudnativelabs/kube-router/cmd/kube-router", 120)
            }
        }
    }

    fn module(self) -> Module {
        self.source().0
    }

    /// The arguments that make it print its version.
    fn version_arguments(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["version", "--client"],
            Self::Helm | Self::Helm3 => &["version", "--short"],
            _ => &["--version"],
        }
    }
}

impl Module {
    fn folder(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::Cni => "cni",
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
            Self::Coredns => "coredns",
            Self::Metallb => "metallb",
            Self::KubeRouter => "kube-router",
        }
    }

    /// The Go module whose version names the programs' version.
    fn path(self) -> &'static str {
        match self {
            Self::Kubernetes => "k8s.io/kubernetes",
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Containerd => "github.com/containerd/containerd/v2",
            Self::Runc => "github.com/opencontainers/runc",
            Self::Cni => "github.com/containernetworking/plugins",
            Self::Helm => "helm.sh/helm/v4",
            Self::Helm3 => "helm.sh/helm/v3",
            Self::Coredns => "github.com/coredns/coredns",
            Self::Metallb => "go.universe.tf/metallb",
            Self::KubeRouter => "github.com/cloudnativelabs/kube-router",
        }
    }

    fn cgo(self) -> &'static str {
        // runc needs libseccomp, or it cannot run pods that ask for a seccomp profile.
        if self == Self::Runc { "1" } else { "0" }
    }

    /// Build flags. Several programs refuse to work, or warn all the time, when they do not know their version.
    fn flags(self, version: &str) -> Vec<String> {
        let number = version.trim_start_matches('v');
        let (tags, stamps) = match self {
            Self::Kubernetes => {
                let minor = number.split('.').nth(1).unwrap_or_default();
                let base = "k8s.io/component-base/version.git";
                ("", format!(" -X {base}Version={version} -X {base}Major=1 -X {base}Minor={minor}"))
            }
            Self::Containerd => (
                "no_btrfs no_devmapper no_zfs no_tracing",
                format!(" -X github.com/containerd/containerd/v2/version.Version={version}"),
            ),
            Self::Runc => ("seccomp", format!(" -X main.version={number}")),
            Self::Helm => ("", format!(" -X helm.sh/helm/v4/internal/version.version={version}")),
            // Without a cluster it would believe in Kubernetes 1.20.
            Self::Helm3 => {
                let base = "helm.sh/helm/v3";
                let minor = format!("k8sVersionMinor={HELM_3_KUBERNETES_MINOR}");
                let stamps = format!(
                    " -X {base}/internal/version.version={version} \
                     -X {base}/pkg/chartutil.{minor} -X {base}/pkg/lint/rules.{minor}"
                );
                ("", stamps)
            }
            Self::Etcd | Self::Cni | Self::Coredns | Self::Metallb | Self::KubeRouter => ("", String::new()),
        };
        ["-trimpath", "-tags", tags, "-ldflags"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("-s -w{stamps}")])
            .collect()
    }

    /// Whether a program of this version, found on the machine, does as well as one of our own. The container runtime
    /// is never taken from outside: its parts and their configuration must match exactly.
    fn accepts(self, found: Version) -> bool {
        match self {
            Self::Kubernetes => found.major == 1 && found.minor >= 33,
            Self::Etcd => found.major == 3 && found.minor >= 5,
            Self::Helm => found.major == 4 || (found.major == 3 && found.minor >= 14),
            // The first that can take over what is there.
            Self::Helm3 => found.major == 3 && found.minor >= 17,
            Self::Containerd | Self::Runc | Self::Cni | Self::Coredns | Self::Metallb | Self::KubeRouter => {
                false
            }
        }
    }
}

impl Tools {
    /// Finds `programs`, building those that are neither cached nor to be had otherwise.
    pub fn ensure(programs: &[Program]) -> Result<Self> {
        let cache = Cache::open()?;
        let mut tools = BTreeMap::new();
        let mut missing = Vec::new();
        for module in programs.iter().map(|program| program.module()).collect::<BTreeSet<_>>() {
            let wanted: Vec<Program> = programs.iter().copied().filter(|p| p.module() == module).collect();
            let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
            let found = assets
                .and_then(|dir| outside(module, &wanted, &[dir]))
                .or_else(|| cache.all(&wanted))
                .or_else(|| outside(module, &wanted, &search_path()));
            match found {
                Some(found) => tools.extend(found),
                None => missing.extend(wanted),
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            tools.extend(cache.build(&missing)?);
        }
        Ok(Self(tools))
    }

    /// Where `program` is.
    ///
    /// # Panics
    /// When [`Tools::ensure`] was not asked for it.
    pub fn path(&self, program: Program) -> &Path {
        self.0.get(&program).unwrap_or_else(|| panic!("{} was not asked for", program.name()))
    }

    /// All programs with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (Program, &Path)> {
        self.0.iter().map(|(program, path)| (*program, path.as_path()))
    }
}

/// The folder for everything that is dear to make and worth keeping: `$XDG_CACHE_HOME/ferrolb`.
pub fn cache_dir() -> Result<PathBuf> {
    let base = match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(cache), _) if Path::new(&cache).is_absolute() => PathBuf::from(cache),
        (_, Some(home)) => Path::new(&home).join(".cache"),
        _ => bail!("neither XDG_CACHE_HOME nor HOME is set: say where the cache of built programs should be"),
    };
    Ok(base.join("ferrolb"))
}

/// The sources that programs are built from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Sources {
    /// Of the module, beginning with `v`.
    pub(crate) version: String,
    /// Where they are. Nobody writes there.
    pub(crate) dir: PathBuf,
}

impl Sources {
    /// Those of the module of `program`, downloaded if they are not there.
    pub(crate) fn of(program: Program) -> Result<Self> {
        let cache = Cache::open()?;
        let module = program.module();
        let mut go = cache.go(module);
        go.args(["mod", "download", "-json", module.path()]);
        let output = run_go(go)?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "downloading the module {} failed: {said}", module.path());
        serde_json::from_str(&said).with_context(|| format!("looking for the sources of {}", module.path()))
    }
}

fn search_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// All of `wanted` from `dirs`, if each is there in a version that fits, and Kubernetes' programs all in one minor.
fn outside(module: Module, wanted: &[Program], dirs: &[PathBuf]) -> Option<BTreeMap<Program, PathBuf>> {
    let mut minors = BTreeSet::new();
    let mut found = BTreeMap::new();
    for &program in wanted {
        let path = dirs.iter().map(|dir| dir.join(program.name())).find(|path| path.is_file())?;
        let version = version_of(program, &path).filter(|version| module.accepts(*version))?;
        minors.insert((version.major, version.minor));
        found.insert(program, path);
    }
    (module != Module::Kubernetes || minors.len() == 1).then_some(found)
}

fn version_of(program: Program, path: &Path) -> Option<Version> {
    let mut command = Command::new(path);
    command.args(program.version_arguments());
    let output =
        process::output(command, Place::default(), b"").ok().filter(|output| output.status.success())?;
    let helm = matches!(program, Program::Helm | Program::Helm3);
    let build = if helm { Build::Ignored } else { Build::Refused };
    Version::first_in(&String::from_utf8_lossy(&output.stdout), build)
}

/// `$XDG_CACHE_HOME/ferrolb/tools/MODULE-VERSION-KEY/PROGRAM`.
struct Cache {
    dir: PathBuf,
    modules: PathBuf,
}

impl Cache {
    fn open() -> Result<Self> {
        let dir = cache_dir()?.join("tools");
        fs::create_dir_all(&dir).with_context(|| format!("creating the cache {}", dir.display()))?;
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools");
        Ok(Self {
            dir,
            modules: modules.canonicalize().with_context(|| format!("looking for {}", modules.display()))?,
        })
    }

    fn all(&self, programs: &[Program]) -> Option<BTreeMap<Program, PathBuf>> {
        programs
            .iter()
            .map(|&program| {
                let path = self.place(program).ok()?;
                path.is_file().then_some((program, path))
            })
            .collect()
    }

    /// Where the cache has a program. What it is built from is part of the path, so a change makes a new place.
    fn place(&self, program: Program) -> Result<PathBuf> {
        let module = program.module();
        let version = self.version(module)?;
        let mut hash = Sha256::new();
        for file in ["go.mod", "go.sum"] {
            hash.update(self.read(module, file)?);
        }
        hash.update(module.flags(&version).join(" "));
        let key: String =
            hash.finalize()[..5].iter().fold(String::new(), |key, byte| key + &format!("{byte:02x}"));
        Ok(self.dir.join(format!("{}-{version}-{key}", module.folder())).join(program.name()))
    }

    fn version(&self, module: Module) -> Result<String> {
        let text = self.read(module, "go.mod")?;
        required_version(&text, module.path())
            .map(str::to_owned)
            .with_context(|| format!("tests/tools/{}/go.mod requires no {}", module.folder(), module.path()))
    }

    fn read(&self, module: Module, file: &str) -> Result<String> {
        let path = self.modules.join(module.folder()).join(file);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Builds `programs`, one builder on this machine at a time.
    fn build(&self, programs: &[Program]) -> Result<BTreeMap<Program, PathBuf>> {
        let _only_builder = self.lock()?;
        let mut seconds_left: u64 = programs.iter().map(|program| program.source().2).sum();
        let total = programs.len();
        let mut built = BTreeMap::new();
        for (index, &program) in programs.iter().enumerate() {
            let place = self.place(program)?;
            let (_, _, seconds) = program.source();
            // Another builder may have made it while this one waited for the lock.
            if !place.is_file() {
                let left = ui::human(Duration::from_secs(seconds_left));
                let what = format!(
                    "building {} ({} of {total}; all that is left: {left})",
                    program.name(),
                    index + 1
                );
                let task = ui::task(what, Duration::from_secs(seconds));
                self.build_one(program, &place)?;
                task.done();
            }
            seconds_left -= seconds;
            built.insert(program, place);
        }
        Ok(built)
    }

    fn build_one(&self, program: Program, place: &Path) -> Result<()> {
        let (module, package, _) = program.source();
        let version = self.version(module)?;
        let dir = place.parent().expect("a place is in a folder of the cache");
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        // Under the lock nobody else writes this name, and a file that a killed build left is written anew.
        let partial = dir.join(format!(".{}.partial", program.name()));
        let mut go = self.go(module);
        go.arg("build").args(module.flags(&version)).arg("-o").arg(&partial).arg(package);
        go.env("CGO_ENABLED", module.cgo());
        let output = run_go(go)?;
        let log = dir.join(format!("{}.log", program.name()));
        fs::write(&log, &output.stderr).with_context(|| format!("writing {}", log.display()))?;
        ensure!(
            output.status.success(),
            "building {} {version} failed; its log is {}, and ends:\n{}",
            program.name(),
            log.display(),
            process::tail(&log, 8)
        );
        fs::rename(&partial, place).with_context(|| format!("moving {} into place", program.name()))
    }

    /// Go, in the folder of a module, so that it takes the versions that are pinned there.
    fn go(&self, module: Module) -> Command {
        let mut go = Command::new("go");
        go.current_dir(self.modules.join(module.folder()))
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=readonly");
        go
    }

    fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let task = ui::task("waiting for another build of the same programs", Duration::from_mins(1));
                file.lock().with_context(|| format!("locking {}", path.display()))?;
                task.done();
            }
            Err(TryLockError::Error(error)) => {
                return Err(anyhow!(error).context(format!("locking {}", path.display())));
            }
        }
        Ok(file)
    }
}

fn run_go(go: Command) -> Result<Output> {
    process::output(go, Place::default(), b"").context(
        "starting `go`: building the lab's programs needs Go 1.26 or newer on PATH (https://go.dev/dl)",
    )
}

/// The version of module `path` that a `go.mod` requires.
fn required_version<'a>(go_mod: &'a str, path: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(path)).then(|| words.next())?.filter(|word| word.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_program_has_a_module_that_names_it_and_pins_a_version() {
        let cache = Cache {
            dir: "/cache".into(),
            modules: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools"),
        };
        for program in Program::ALL.into_iter().chain(Program::FOR_TESTS) {
            let (module, package, _) = program.source();
            assert!(cache.read(module, "go.mod").unwrap().contains(package), "{package}");
            let place = cache.place(program).unwrap();
            assert!(place.ends_with(program.name()), "{}", place.display());
        }
    }

    #[test]
    fn helm_3_knows_which_kubernetes_it_is_made_for() {
        let text = include_str!("../../../tests/tools/helm3/go.mod");
        let version = required_version(text, "k8s.io/client-go").unwrap();
        assert!(version.starts_with(&format!("v0.{HELM_3_KUBERNETES_MINOR}.")), "{version}");
    }

    #[test]
    fn programs_are_called_what_people_call_them() {
        let names: Vec<_> = Program::ALL.iter().map(|program| program.name()).collect();
        assert_eq!(
            names[..7],
            [
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
                "kubelet",
                "kube-proxy",
                "etcd"
            ]
        );
        assert!(names.contains(&"containerd-shim-runc-v2") && names.contains(&"host-local"));
    }

    #[test]
    fn the_required_version_is_found_in_either_form() {
        let text = "module x\n\ntool k8s.io/kubernetes/cmd/kubelet\n\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\nrequire a.b/c v2.0.1\n";
        assert_eq!(required_version(text, "k8s.io/kubernetes"), Some("v1.36.3"));
        assert_eq!(required_version(text, "a.b/c"), Some("v2.0.1"));
        assert_eq!(required_version(text, "a.b/d"), None);
    }

    #[test]
    fn kubernetes_from_outside_is_new_enough_and_of_one_minor() {
        let dir = tempfile::tempdir().unwrap();
        let fake = |name: &str, version: &str| {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho Kubernetes {version}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let dirs = [dir.path().to_owned()];
        let wanted = [Program::KubeApiserver, Program::Kubelet];
        let fits = || outside(Module::Kubernetes, &wanted, &dirs).is_some();

        fake("kube-apiserver", "v1.34.2");
        assert!(!fits(), "the kubelet is missing");
        fake("kubelet", "v1.35.0");
        assert!(!fits(), "two minors");
        fake("kubelet", "v1.34.0");
        assert!(fits());
        fake("kubelet", "v1.34.0-dispatcher");
        assert!(!fits(), "not a release");
        fake("kubelet", "v1.32.9");
        fake("kube-apiserver", "v1.32.9");
        assert!(!fits(), "too old");
    }

    #[test]
    fn the_container_runtime_is_never_taken_from_outside() {
        let newest = Version { major: 9, minor: 0, patch: 0 };
        assert!(![Module::Containerd, Module::Runc, Module::Cni].iter().any(|module| module.accepts(newest)));
    }
}

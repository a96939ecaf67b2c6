//! What the keeper does for a node: power, cable, programs.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};

use super::{Keeper, environment, programs};
use crate::init;
use crate::network::{self, Link};
use crate::plan::{Host, NodeId};
use crate::process::{Place, Running, spawn, tail};
use crate::state::{Namespaces, Spec, Spot};
use crate::tools::Program;

/// A process starts, mounts a few file systems, or opens a socket; seconds mean that the machine is very busy.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

impl Keeper {
    pub(super) fn power_off(&mut self, node: NodeId) -> Result<()> {
        let host = Host::Node(self.check(node)?);
        let init = self.inits.remove(&Some(node)).with_context(|| format!("{node} is off already"))?;
        // The link first: what dies must not be able to say goodbye. Then everything at once. The network must go as
        // well, because an address in it would go on answering.
        self.must(Spot::Switch, "ip", &["-batch", "-"], &network::link(host, Link::Down))?;
        init.kill();
        self.programs.retain(|(at, _), _| *at != host);
        self.must(Spot::Switch, "ip", &["-batch", "-"], &network::remove(host))?;
        let _ = fs::remove_file(self.state.init_pid(Spot::Host(host)));
        self.cgroups.clear(Some(host))
    }

    pub(super) fn power_on(&mut self, node: NodeId) -> Result<()> {
        let host = Host::Node(self.check(node)?);
        ensure!(!self.inits.contains_key(&Some(node)), "{node} is on already");
        self.cgroups.create(host)?;
        self.connect(host)?;
        self.links.insert(node, Link::Up);
        let (init, containerd) = self.boot(node)?;
        self.inits.insert(Some(node), init);
        self.programs.insert((host, Program::Containerd), containerd);
        for program in [Program::Kubelet, Program::KubeProxy] {
            self.start_again(host, program)?;
        }
        Ok(())
    }

    pub(super) fn set_link(&mut self, node: NodeId, link: Link) -> Result<()> {
        let host = Host::Node(self.check(node)?);
        ensure!(self.inits.contains_key(&Some(node)), "{node} is off");
        self.must(Spot::Switch, "ip", &["-batch", "-"], &network::link(host, link))?;
        self.links.insert(node, link);
        Ok(())
    }

    pub(super) fn start_again(&mut self, host: Host, program: Program) -> Result<()> {
        let runs = self.programs.get(&(host, program)).is_some_and(|child| child.exit_status().is_none());
        ensure!(!runs, "{} runs on {host} already", program.name());
        let child = self.launch(host, program)?;
        self.programs.insert((host, program), child);
        Ok(())
    }

    /// Cables a host to the LAN.
    pub(super) fn connect(&self, host: Host) -> Result<()> {
        self.must(Spot::Switch, "ip", &["-batch", "-"], &network::cable(host, self.spec.router))?;
        let forward = if host == Host::Client { "0" } else { "1" };
        Namespaces::network(&self.state, host)?.run(|| {
            let forwarding = network::FORWARDING.map(|name| (name, forward));
            for (name, value) in forwarding.into_iter().chain(network::settings(host, self.spec.families)) {
                let path = Path::new("/proc/sys").join(name);
                fs::write(&path, value).with_context(|| format!("writing {}", path.display()))?;
            }
            Ok(())
        })?;
        let Spec { nodes, families, router, .. } = self.spec;
        let batch = network::addresses(host, nodes, families, router);
        self.must(Spot::Switch, "ip", &["-n", &host.to_string(), "-batch", "-"], &batch)
    }

    /// Starts a node's init process and its containerd, and waits until containerd can be asked.
    pub(super) fn boot(&self, node: NodeId) -> Result<(Running, Running)> {
        let host = Host::Node(node);
        let namespaces = Namespaces::network_and_files(&self.state, host)?;
        let state = self.state.clone();
        let enter = move || {
            namespaces.enter()?;
            let fresh = CloneFlags::CLONE_NEWNS
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWIPC;
            unshare(fresh)?;
            init::prepare_node(&state, host).map_err(std::io::Error::other)
        };
        let init = self.launch_init(Spot::Host(host), Some(host), Box::new(enter))?;
        self.must(Spot::Host(host), "nft", &["-f", "-"], network::masquerade())?;
        let containerd = self.launch(host, Program::Containerd)?;
        let socket = format!("/proc/{}/root/run/containerd/containerd.sock", init.pid());
        let log = self.state.log(host, Program::Containerd);
        wait_for("containerd", &containerd, &log, || UnixStream::connect(&socket).is_ok())?;
        Ok((init, containerd))
    }

    /// Starts an init process in the namespaces that `enter` makes, and waits until it is ready.
    pub(super) fn launch_init(
        &self,
        spot: Spot,
        host: Option<Host>,
        enter: Box<dyn FnOnce() -> std::io::Result<()> + Send>,
    ) -> Result<Running> {
        let group = host.unwrap_or(Host::Cp);
        let log = self.state.logs(group).join("init.log");
        let mut command = init::command(&self.spec.name, host);
        command.env_clear().envs(environment()).stderr(fs::File::create(&log)?);
        command.current_dir("/").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let place = Place { enter: Some(enter), cgroups: self.cgroups.procs(group)? };
        let init = spawn(command, place).with_context(|| format!("starting the first process of {group}"))?;
        let ready = format!("/proc/{}/root/run/{}", init.pid(), init::READY);
        wait_for("the first process", &init, &log, || Path::new(&ready).exists())?;
        self.set_init_pid(spot, &init)?;
        Ok(init)
    }

    /// Writes a node's configuration.
    pub(super) fn configure(&self, node: NodeId) -> Result<()> {
        let folder = self.state.host(node).join("etc");
        for (file, text) in programs::files(node, self.spec.proxy_mode, self.spec.families) {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        for data in ["kubelet", "containerd", "log"] {
            fs::create_dir_all(self.state.host(node).join(data))?;
        }
        Ok(())
    }
}

/// Waits until `ready` says so, as long as the process runs.
pub(super) fn wait_for(what: &str, process: &Running, log: &Path, ready: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + STARTED_WITHIN;
    while !ready() {
        if let Some(status) = process.exit_status() {
            bail!("{what} ended with {status}; {} ends:\n{}", log.display(), tail(log, 10));
        }
        ensure!(
            Instant::now() < deadline,
            "{what} is not ready after {STARTED_WITHIN:?}; its log is {}",
            log.display()
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

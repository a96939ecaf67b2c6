//! What the keeper does for a router.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::host::wait_for;
use super::{Keeper, environment};
use crate::plan::{Host, Router};
use crate::process::{Running, spawn};
use crate::router::Daemon;
use crate::state::{INSIDE, Spot};

/// The user of FRR's programs, made by its package.
const FRR_USER: &str = "frr";

impl Keeper {
    /// Starts the programs of the router, with a session to each node.
    pub(super) fn start_router(&self, router: Router) -> Result<Vec<Running>> {
        let folder = self.state.router();
        fs::create_dir_all(&folder)?;
        let text = router.configuration(self.spec.nodes, self.spec.families);
        fs::write(folder.join(router.file()), text).context("writing its configuration")?;
        match router {
            Router::Frr => self.start_frr(&format!("{INSIDE}/hosts/{}/{}", Host::Router, router.file())),
            Router::Bird => {
                self.must(Spot::Host(Host::Router), "install", &["-d", "/run/bird"], "")?;
                self.start_daemons(router)
            }
        }
    }

    fn start_frr(&self, configuration: &str) -> Result<Vec<Running>> {
        let there = Spot::Host(Host::Router);
        // Its programs leave folders there when they are killed. They are the lab's, and go with it.
        self.must(there, "mount", &["-t", "tmpfs", "tmpfs", "/var/tmp"], "")?;
        self.must(there, "install", &["-d", "-o", FRR_USER, "-g", FRR_USER, "/run/frr"], "")?;
        let programs = self.start_daemons(Router::Frr)?;
        // What it does not understand, it says on its standard output.
        let said = self.helper(there, "vtysh", &["-f", configuration], "")?;
        let text = [said.stdout, said.stderr].concat();
        ensure!(said.status.success(), "{configuration}: {}", String::from_utf8_lossy(&text).trim());
        Ok(programs)
    }

    fn start_daemons(&self, router: Router) -> Result<Vec<Running>> {
        router.daemons().iter().map(|daemon| self.start_daemon(daemon)).collect()
    }

    fn start_daemon(&self, daemon: &Daemon) -> Result<Running> {
        let Daemon { name, program, arguments, socket } = *daemon;
        let log = self.state.logs(Host::Router).join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment());
        command.current_dir("/").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let place = self.state.place(Spot::Host(Host::Router), &self.cgroups)?;
        let running = spawn(command, place).with_context(|| format!("starting {name}"))?;
        let lab = self.inits.get(&None).context("the lab has a first process")?;
        let socket = PathBuf::from(format!("/proc/{}/root{socket}", lab.pid()));
        wait_for(name, &running, &log, || socket.exists())?;
        Ok(running)
    }
}

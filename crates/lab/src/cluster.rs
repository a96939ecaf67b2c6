//! A handle to a running lab.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::cgroup::Cgroups;
use crate::control::{DETACH, Event, HostStatus, Request, Response, ask, read_line, write_line};
use crate::keeper::environment;
use crate::plan::{Host, IpFamilies, LabName, NodeId, ProxyMode, Router};
use crate::process::{Running, output, spawn};
use crate::state::{INSIDE, Logs, Namespaces, Spec, Spot, StateDir};
use crate::tools::{Program, Tools};
use crate::{images, preflight, roles, ui};

/// How long a lab that was told to end may take.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// What a lab should be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Labs with different names run side by side.
    pub name: LabName,
    /// How many nodes, 1 to [`crate::plan::MAX_NODES`].
    pub nodes: u8,
    /// How kube-proxy writes its rules.
    pub proxy_mode: ProxyMode,
    /// The families of its addresses.
    pub families: IpFamilies,
    /// What stands between the client and the nodes; nothing, and the client is on the nodes' LAN.
    pub router: Option<Router>,
}

/// A running lab. One that this process has started ends with it, or when the handle is dropped, unless
/// [`Lab::detach`] was called.
#[derive(Debug)]
pub struct Lab {
    spec: Spec,
    state: StateDir,
    cgroups: Cgroups,
    owned: Option<Keeper>,
}

/// The keeper that this process has started. It ends the lab when `input` closes.
#[derive(Debug)]
struct Keeper {
    process: Child,
    input: ChildStdin,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: LabName::default(),
            nodes: 3,
            proxy_mode: ProxyMode::default(),
            families: IpFamilies::default(),
            router: None,
        }
    }
}

impl Lab {
    /// Starts a lab and returns when all its nodes are Ready. What an earlier lab of the same name has left behind is
    /// removed first; one that is up is an error.
    pub fn start(options: Options) -> Result<Self> {
        preflight::check(options.nodes, options.router)?;
        let tools = Tools::ensure(&Program::ALL)?;
        let images = images::ensure(&tools)?;
        let Options { name, nodes, proxy_mode, families, router } = options;
        let state = StateDir::of(&name)?;
        let spec = Spec { name, nodes, proxy_mode, families, router, tools, images };

        let log = fs::File::create(state.keeper_log()).context("creating the lab's log")?;
        let mut command = Command::new(roles::program()?);
        command
            .arg0("lab")
            .args([roles::MARK, "keeper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = command.spawn().context("starting the lab's keeper")?;
        let mut input = process.stdin.take().expect("it is piped");
        let events = process.stdout.take().expect("it is piped");
        write_line(&mut input, &spec)?;
        let cgroups = Cgroups::of(&spec.name)?;
        let mut lab = Self { spec, state, cgroups, owned: Some(Keeper { process, input }) };
        lab.follow(&mut BufReader::new(events))?;
        Ok(lab)
    }

    /// Shows the keeper's progress until the nodes are Ready.
    fn follow(&mut self, events: &mut BufReader<std::process::ChildStdout>) -> Result<()> {
        let mut task = ui::task("starting the lab", Duration::ZERO);
        loop {
            match read_line(events) {
                Ok(Event::Step(step)) => task.step(step),
                Ok(Event::Ready) => break,
                Ok(Event::Failed(reason)) => {
                    drop(task);
                    self.wait_for_keeper();
                    bail!("starting the lab {}: {reason}", self.spec.name);
                }
                Err(_) => {
                    let log = self.state.keeper_log();
                    bail!("the lab's keeper died while starting:\n{}", crate::process::tail(&log, 10));
                }
            }
        }
        task.done_with(format_args!("{} nodes Ready", self.spec.nodes));
        Ok(())
    }

    /// Finds a lab that is up.
    pub fn open(name: &LabName) -> Result<Self> {
        let state = StateDir::of(name)?;
        let up = state.try_lock()?.is_none() && state.socket().exists();
        ensure!(up, "there is no lab called {name}: `cargo xtask lab up` starts one");
        let text = fs::read_to_string(state.spec()).context("reading what the lab consists of")?;
        let spec = serde_json::from_str(&text).context("reading what the lab consists of")?;
        Ok(Self { spec, cgroups: Cgroups::of(name)?, state, owned: None })
    }

    /// Lets the lab live on without this process.
    pub fn detach(mut self) -> Result<()> {
        if let Some(mut keeper) = self.owned.take() {
            writeln!(keeper.input, "{DETACH}").context("telling the lab's keeper to live on")?;
        }
        Ok(())
    }

    /// Ends the lab and removes everything.
    pub fn down(self) -> Result<()> {
        let name = self.spec.name.clone();
        drop(self);
        down(&name)
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.spec.name
    }

    /// The families of its addresses.
    pub fn families(&self) -> IpFamilies {
        self.spec.families
    }

    /// What stands between the client and the nodes.
    pub fn router(&self) -> Option<Router> {
        self.spec.router
    }

    /// Its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        NodeId::all(self.spec.nodes)
    }

    /// All its hosts.
    pub fn hosts(&self) -> impl Iterator<Item = Host> + use<> {
        Host::all(self.spec.nodes, self.spec.router)
    }

    /// Runs a command on a host to its end and returns what it wrote, also if it failed.
    pub fn exec<S: AsRef<OsStr>>(&self, host: Host, command: impl IntoIterator<Item = S>) -> Result<Output> {
        self.exec_with_input(host, command, b"")
    }

    /// The same, feeding it `input`.
    pub fn exec_with_input<S: AsRef<OsStr>>(
        &self,
        host: Host,
        command: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<Output> {
        let (command, text) = prepare(command)?;
        output(command, self.place(host)?, input).with_context(|| format!("running `{text}` on {host}"))
    }

    /// Runs a command on a host that must succeed, and returns its standard output.
    pub fn run<S: AsRef<OsStr>>(&self, host: Host, command: impl IntoIterator<Item = S>) -> Result<String> {
        let command: Vec<OsString> = command.into_iter().map(|word| word.as_ref().to_owned()).collect();
        succeed(&command, &self.exec(host, &command)?)
    }

    /// Starts a command on a host. It is killed when the handle is dropped. Its output goes to `log`, if given.
    pub fn spawn<S: AsRef<OsStr>>(
        &self,
        host: Host,
        command: impl IntoIterator<Item = S>,
        log: Option<&Path>,
    ) -> Result<Running> {
        let (mut command, text) = prepare(command)?;
        let out = || -> Result<Stdio> {
            Ok(match log {
                Some(path) => fs::File::options().create(true).append(true).open(path)?.into(),
                None => Stdio::null(),
            })
        };
        command.stdin(Stdio::null()).stdout(out()?).stderr(out()?);
        spawn(command, self.place(host)?).with_context(|| format!("starting `{text}` on {host}"))
    }

    /// Runs `action` in a thread that has the network of a host and is otherwise where this process is. Threads that
    /// it starts have that network too.
    pub fn in_network<T: Send>(&self, host: Host, action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        Namespaces::network(&self.state, host).with_context(|| format!("entering {host}"))?.run(action)
    }

    /// Runs a command on a host with this process's terminal, and returns how it ended.
    pub fn attach<S: AsRef<OsStr>>(
        &self,
        host: Host,
        command: impl IntoIterator<Item = S>,
    ) -> Result<ExitStatus> {
        let (command, text) = prepare(command)?;
        let running =
            spawn(command, self.place(host)?).with_context(|| format!("starting `{text}` on {host}"))?;
        loop {
            if let Some(status) = running.wait(Duration::from_hours(1)) {
                return Ok(status);
            }
        }
    }

    /// The ids of the processes on a host whose program, or one of whose arguments, is called `word`, as the host
    /// numbers them. Characters that mean something in a regular expression are not for `word`.
    pub fn processes(&self, host: Host, word: &str) -> Result<Vec<u32>> {
        // The brackets keep grep from finding itself.
        let (first, rest) = word.split_at_checked(1).context("a process has a name")?;
        let script = format!(r"grep -slzx '\(.*/\)\?[{first}]{rest}' /proc/[0-9]*/cmdline");
        let found = self.exec(host, ["sh", "-c", &script])?;
        let id = |path: &str| path.split('/').nth(2)?.parse().ok();
        Ok(String::from_utf8_lossy(&found.stdout).lines().filter_map(id).collect())
    }

    /// Runs kubectl, which must succeed, and returns its standard output.
    pub fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        self.run(Host::Cp, with_program("kubectl", arguments))
    }

    /// Runs kubectl with `-o json` and returns what it says.
    pub fn kubectl_json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Value> {
        let mut command = with_program("kubectl", arguments);
        command.extend(["-o".into(), "json".into()]);
        serde_json::from_str(&self.run(Host::Cp, command)?).context("reading kubectl's JSON")
    }

    /// Applies manifests. A refusal is an error with kubectl's words.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let command = ["kubectl", "apply", "-f", "-"].map(OsString::from);
        succeed(&command, &self.exec_with_input(Host::Cp, &command, yaml.as_bytes())?)
    }

    /// Runs Helm, which must succeed, and returns its standard output.
    pub fn helm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        self.run(Host::Cp, with_program("helm", arguments))
    }

    /// Adds the images of an archive in the OCI layout to the lab's registry, where pods that pull find them.
    pub fn publish(&self, archive: &Path) -> Result<()> {
        let opened =
            ::images::Archive::open(archive).with_context(|| format!("reading {}", archive.display()))?;
        let name = archive.file_name().with_context(|| format!("{} is no file", archive.display()))?;
        // The registry sees the whole file or none, and not this one, whose name has no `.tar`.
        let partial = tempfile::NamedTempFile::new_in(self.state.images())?;
        fs::copy(&opened.path, partial.path()).with_context(|| format!("copying {}", archive.display()))?;
        let target = self.state.images().join(name).with_extension("tar");
        partial.persist(target).context("adding to the lab's registry")?;
        Ok(())
    }

    /// Adds the images of an archive to the lab's registry and to every node that is on, so that pods find them
    /// whatever their pull policy.
    pub fn load(&self, archive: &Path) -> Result<()> {
        self.publish(archive)?;
        let name = archive.file_name().with_context(|| format!("{} is no file", archive.display()))?;
        let inside = Path::new(INSIDE).join("images").join(name).with_extension("tar");
        let import = ["ctr", "--namespace", "k8s.io", "images", "import", "--local"].map(OsString::from);
        let command: Vec<OsString> = import.into_iter().chain([inside.into_os_string()]).collect();
        let command = &command;
        let on = self.nodes().map(Host::Node).filter(|&host| self.state.init_pid(Spot::Host(host)).exists());
        thread::scope(|scope| {
            let imports: Vec<_> = on.map(|host| scope.spawn(move || self.run(host, command))).collect();
            imports.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow!("a thread that imports an image panicked"))?.map(drop)
            })
        })
    }

    /// Cuts a node's power. Its network and all its processes are gone at once; its disk stays.
    pub fn poweroff(&self, node: NodeId) -> Result<()> {
        self.ask(Request::PowerOff(node))
    }

    /// Switches a node on. Returns when its programs are started; it is Ready some seconds later.
    pub fn poweron(&self, node: NodeId) -> Result<()> {
        self.ask(Request::PowerOn(node))
    }

    /// Pulls a node's cable.
    pub fn unplug(&self, node: NodeId) -> Result<()> {
        self.ask(Request::Unplug(node))
    }

    /// Puts a node's cable back.
    pub fn plug(&self, node: NodeId) -> Result<()> {
        self.ask(Request::Plug(node))
    }

    /// Kills a program that the lab runs on a host (not a pod), as a crash would.
    pub fn crash(&self, host: Host, program: Program) -> Result<()> {
        self.ask(Request::Kill(host, program))
    }

    /// Starts a program that was crashed.
    pub fn restart(&self, host: Host, program: Program) -> Result<()> {
        self.ask(Request::Start(host, program))
    }

    /// What its hosts are doing.
    pub fn status(&self) -> Result<Vec<HostStatus>> {
        match ask(&self.state.socket(), Request::Status)? {
            Response::Status(hosts) => Ok(hosts),
            other => bail!("the lab's keeper answered {other:?}"),
        }
    }

    /// The log of a program that the lab runs on a host.
    pub fn log(&self, host: Host, program: Program) -> PathBuf {
        self.state.log(host, program)
    }

    /// The logs of the programs that the lab has started on a host, by their names.
    pub(crate) fn logs(&self, host: Host) -> Result<BTreeMap<String, PathBuf>> {
        let folder = self.state.logs(host);
        let mut logs = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|it| it == "log") {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                logs.insert(name, path);
            }
        }
        Ok(logs)
    }

    /// What service accounts have asked of the API server; [`crate::audit`] reads it.
    pub fn audit_log(&self) -> Result<String> {
        let path = self.state.audit_log();
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn ask(&self, request: Request) -> Result<()> {
        ask(&self.state.socket(), request).map(drop)
    }

    fn place(&self, host: Host) -> Result<crate::process::Place> {
        self.state.place(Spot::Host(host), &self.cgroups).with_context(|| format!("entering {host}"))
    }

    fn wait_for_keeper(&mut self) {
        if let Some(Keeper { mut process, input }) = self.owned.take() {
            drop(input);
            let _ = process.wait();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned.is_none() {
            return;
        }
        self.wait_for_keeper();
        let logs = self.state.root().join("log");
        if thread::panicking() {
            eprintln!("the lab's logs stay in {} until the next lab of this name starts", logs.display());
        } else if let Err(error) = down(&self.spec.name) {
            eprintln!("removing the lab: {error:#}");
        }
    }
}

/// Ends the lab called `name`, or removes what a dead one has left. Fine when there is none.
pub fn down(name: &LabName) -> Result<()> {
    let state = StateDir::of(name)?;
    // A keeper that is busy or gone is dealt with below.
    let _ = ask(&state.socket(), Request::Down);
    let deadline = Instant::now() + DOWN_WITHIN;
    let mut asked = Instant::now();
    loop {
        if let Some(_lock) = state.try_lock()? {
            let _ = fs::remove_file(state.keeper_log());
            return state.clear(Logs::Remove).context("removing what the lab has left");
        }
        // Without its processes even a keeper that is stuck in a start gives up.
        if asked.elapsed() > Duration::from_secs(5) {
            asked = Instant::now();
            Cgroups::of(name)?.clear(None)?;
            let _ = ask(&state.socket(), Request::Down);
        }
        ensure!(
            Instant::now() < deadline,
            "the lab's keeper does not end; its log is {}",
            state.keeper_log().display()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// Calls `attempt` until it succeeds, and returns what it gave.
///
/// # Errors
/// After `timeout`, an error that says `what` was awaited, and the last reason why it was not so.
pub fn wait_until<T>(what: &str, timeout: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                return Err(reason.context(format!("waited {timeout:?} in vain until {what}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn with_program<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    [OsString::from(program)].into_iter().chain(arguments).collect()
}

/// The command, with the environment of the lab, and its text for messages.
fn prepare<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Result<(Command, String)> {
    let words: Vec<OsString> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let (program, arguments) = words.split_first().context("no command was given")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(environment());
    Ok((command, words.join(OsStr::new(" ")).to_string_lossy().into_owned()))
}

fn succeed(command: &[OsString], output: &Output) -> Result<String> {
    if !output.status.success() {
        let text = command.join(OsStr::new(" "));
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed with {}: {}", text.to_string_lossy(), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_returns_what_was_awaited() {
        let mut attempts = 0;
        let got = wait_until("three attempts were made", Duration::from_secs(10), || {
            attempts += 1;
            ensure!(attempts == 3, "only {attempts}");
            Ok(attempts)
        });
        assert_eq!(got.unwrap(), 3);
    }

    #[test]
    fn waiting_in_vain_says_for_what_and_why() {
        let error =
            wait_until("pigs fly", Duration::ZERO, || -> Result<()> { bail!("they stand") }).unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns in vain until pigs fly: they stand");
    }
}

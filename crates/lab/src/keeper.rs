//! The keeper: the one process that owns a lab.
//!
//! It starts every program of the lab as its own child, in the namespaces and control groups of the host concerned, and
//! obeys requests on a socket, one at a time. All state is in its main thread; two more threads only watch for reasons
//! to end: its owner's death (the standard input closes) and signals.
//!
//! Whatever the reason, the end is the same: kill what is in the lab's control groups, remove them and the files, exit.
//! That needs no knowledge of how far the lab has come. If the keeper itself is killed, the kernel kills its children,
//! init processes included, and all namespaces go; the next start, or `down`, removes control groups and files.

mod host;
mod programs;
mod router;
mod start;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{self, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
pub(crate) use programs::environment;

use crate::cgroup::Cgroups;
use crate::control::{DETACH, Event, HostStatus, Power, Request, Response, read_line, write_line};
use crate::network::Link;
use crate::plan::{Host, NodeId};
use crate::process::{Running, output, spawn};
use crate::state::{Logs, Spec, Spot, StateDir};
use crate::tools::Program;

/// A lab, as its keeper sees it.
struct Keeper {
    spec: Spec,
    state: StateDir,
    cgroups: Cgroups,
    /// The lab's init process and those of the nodes that are on.
    inits: BTreeMap<Option<NodeId>, Running>,
    programs: BTreeMap<(Host, Program), Running>,
    links: BTreeMap<NodeId, Link>,
    /// The router's programs.
    router: Vec<Running>,
    // Held until the process ends: the sign that this lab is up.
    _lock: File,
}

/// Plays the keeper: reads what to keep from the standard input, starts it, and keeps it until it is told to end.
pub(crate) fn run() -> Result<()> {
    // A Ctrl-C at the owner's terminal is the owner's business.
    nix::unistd::setsid().context("leaving the terminal")?;
    let mut input = BufReader::new(stdin());
    let spec: Spec = read_line(&mut input).context("reading what to start")?;
    let state = StateDir::of(&spec.name)?;
    let Some(lock) = lock_once_the_last_lab_is_gone(&state)? else {
        tell(&Event::Failed(format!("the lab {} is up already: `lab down` removes it", spec.name)));
        return Ok(());
    };
    state.clear(Logs::Remove).context("removing what an earlier lab of this name has left")?;
    let cgroups = Cgroups::of(&spec.name)?;
    end_when_the_owner_is_gone(input, state.clone())?;
    end_on_signals(state.clone())?;

    let mut keeper = Keeper {
        spec,
        state,
        cgroups,
        inits: BTreeMap::new(),
        programs: BTreeMap::new(),
        links: BTreeMap::new(),
        router: Vec::new(),
        _lock: lock,
    };
    if let Err(error) = keeper.start() {
        tell(&Event::Failed(format!("{error:#}")));
        end(&keeper.state, Logs::Keep);
    }
    let listener = UnixListener::bind(keeper.state.socket()).context("listening for requests")?;
    tell(&Event::Ready);
    loop {
        if !comes_within(&listener, RESTART_PAUSE)? {
            keeper.start_what_ended();
            continue;
        }
        let (stream, _) = listener.accept().context("waiting for requests")?;
        // Whoever asks may vanish before the answer.
        if let Err(error) = keeper.serve(&stream) {
            eprintln!("a request: {error:#}");
        }
    }
}

/// How often programs of nodes that ended by themselves are started again, as an operating system does: kubelet gives up
/// when containerd takes long to answer at first.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Whether there is a request now or `within` this time.
fn comes_within(listener: &UnixListener, within: Duration) -> Result<bool> {
    let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(within).context("a short time")?;
    match poll(&mut wanted, timeout) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error).context("waiting for requests"),
    }
}

/// How long an earlier lab of the same name may take to disappear.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);
/// A lab whose owner has died may look alive for a moment.
const MOMENT: Duration = Duration::from_millis(500);

/// Waits while an earlier lab of this name is on its way out; `None` if there is one that stays.
fn lock_once_the_last_lab_is_gone(state: &StateDir) -> Result<Option<File>> {
    let (began, mut seen_leaving) = (Instant::now(), Instant::now());
    loop {
        if let Some(lock) = state.try_lock()? {
            return Ok(Some(lock));
        }
        if !state.socket().exists() {
            seen_leaving = Instant::now();
        }
        if seen_leaving.elapsed() > MOMENT || began.elapsed() > REMOVED_WITHIN {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Tells the owner. One who detached no longer listens, and that is fine.
fn tell(event: &Event) {
    let _ = write_line(&mut stdout(), event);
}

fn end_when_the_owner_is_gone(mut input: BufReader<std::io::Stdin>, state: StateDir) -> Result<()> {
    let watch = move || {
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(_) if line.trim() == DETACH => {}
            _ => end(&state, Logs::Keep),
        }
    };
    thread::Builder::new().name("owner".into()).spawn(watch)?;
    Ok(())
}

fn end_on_signals(state: StateDir) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGHUP);
    // Threads started from here on inherit the mask, so only the watcher gets these signals.
    signals.thread_block()?;
    let watch = move || {
        let _ = signals.wait();
        end(&state, Logs::Keep);
    };
    thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

/// Removes the lab and ends this process.
fn end(state: &StateDir, logs: Logs) -> ! {
    // There may be several reasons at once; the first one to get here is enough.
    static ENDING: Mutex<()> = Mutex::new(());
    let _ending = ENDING.lock();
    // Who looks for a lab that is up looks for this.
    let _ = fs::remove_file(state.socket());
    // A start that is still going on may add a process or a control group behind the first sweep's back.
    let swept = (0..5).any(|_| match state.clear(logs) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("removing the lab: {error:#}");
            thread::sleep(Duration::from_millis(100));
            false
        }
    });
    process::exit(i32::from(!swept))
}

impl Keeper {
    fn serve(&mut self, mut stream: &UnixStream) -> Result<()> {
        // A client that says nothing must not stop the others.
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = read_line(&mut BufReader::new(stream))?;
        let response = match self.obey(request) {
            Ok(response) => response,
            Err(error) => Response::Failed(format!("{error:#}")),
        };
        write_line(&mut stream, &response)
    }

    fn obey(&mut self, request: Request) -> Result<Response> {
        match request {
            Request::PowerOff(node) => self.power_off(node)?,
            Request::PowerOn(node) => self.power_on(node)?,
            Request::Unplug(node) => self.set_link(node, Link::Down)?,
            Request::Plug(node) => self.set_link(node, Link::Up)?,
            Request::Kill(host, program) => {
                let running = self.programs.remove(&(host, program));
                running.with_context(|| format!("{} does not run on {host}", program.name()))?.kill();
            }
            Request::Start(host, program) => self.start_again(host, program)?,
            Request::Status => return Ok(Response::Status(self.status()?)),
            Request::Down => end(&self.state, Logs::Remove),
        }
        Ok(Response::Done)
    }

    /// Starts again what has ended on nodes that are on. What was killed on request is not among it.
    fn start_what_ended(&mut self) {
        let ended = |(&place, child): (&(Host, Program), &Running)| {
            (matches!(place.0, Host::Node(_)) && child.exit_status().is_some()).then_some(place)
        };
        let ended: Vec<_> = self.programs.iter().filter_map(ended).collect();
        for (host, program) in ended {
            if let Err(error) = self.start_again(host, program) {
                eprintln!("starting {} on {host} again: {error:#}", program.name());
            }
        }
    }

    fn status(&self) -> Result<Vec<HostStatus>> {
        let of = |host: Host| {
            let programs = self.programs.iter().filter(|((at, _), _)| *at == host);
            let (ended, running): (Vec<_>, Vec<_>) = programs
                .map(|((_, program), child)| (*program, child))
                .partition(|(_, c)| c.exit_status().is_some());
            let names =
                |programs: Vec<(Program, &Running)>| programs.into_iter().map(|(name, _)| name).collect();
            Ok(HostStatus {
                host,
                power: self.power(host),
                running: names(running),
                ended: names(ended),
                processes: self.cgroups.pids(Some(host)).map_or(0, |pids| pids.len()),
            })
        };
        Host::all(self.spec.nodes, self.spec.router).map(of).collect()
    }

    fn power(&self, host: Host) -> Power {
        match host {
            Host::Node(node) if !self.inits.contains_key(&Some(node)) => Power::Off,
            Host::Node(node) if self.links.get(&node) == Some(&Link::Down) => Power::Unplugged,
            Host::Cp | Host::Client | Host::Router | Host::Node(_) => Power::On,
        }
    }

    /// The node, if the lab has it.
    fn check(&self, node: NodeId) -> Result<NodeId> {
        ensure!(
            node.number() <= self.spec.nodes,
            "this lab has no {node}: its nodes are n1 to n{}",
            self.spec.nodes
        );
        Ok(node)
    }

    /// Starts a program of a host, its log appended to.
    fn launch(&self, host: Host, program: Program) -> Result<Running> {
        let log = self.state.log(host, program);
        let open = || File::options().create(true).append(true).open(&log);
        let file = open().with_context(|| format!("opening {}", log.display()))?;
        let mut command = Command::new(programs::path_of(program));
        command.args(programs::arguments(host, program, self.spec.families)?).env_clear().envs(environment());
        command.current_dir("/").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let place = self.state.place(Spot::Host(host), &self.cgroups)?;
        spawn(command, place).with_context(|| format!("starting {} on {host}", program.name()))
    }

    /// Runs a helper to its end and returns what it wrote.
    fn helper(&self, spot: Spot, program: &str, arguments: &[&str], input: &str) -> Result<Output> {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment());
        let place = self.state.place(spot, &self.cgroups)?;
        output(command, place, input.as_bytes()).with_context(|| format!("starting {program}"))
    }

    /// Runs a helper that must succeed.
    fn must(&self, spot: Spot, program: &str, arguments: &[&str], input: &str) -> Result<()> {
        let output = self.helper(spot, program, arguments, input)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{program} {}` failed: {}", arguments.join(" "), said.trim());
        }
        Ok(())
    }

    fn set_init_pid(&self, spot: Spot, init: &Running) -> Result<()> {
        fs::write(self.state.init_pid(spot), init.pid().to_string()).context("noting an init process")
    }
}

//! Child processes that cannot outlive their owner.
//!
//! Every child has a guardian thread that starts it and waits for it. The kernel is told to kill the child when
//! that thread ends (`PR_SET_PDEATHSIG` watches the thread that forked, not the process), and the thread ends only
//! when the child has or when the whole process does. So nothing survives, not even a `kill -9` of the owner.
//!
//! The guardian may first enter the namespaces of a lab host: it has a thread to itself, so nothing else notices.
#![expect(unsafe_code, reason = "a child must arrange for its own death between fork and exec")]

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid, getppid};

/// Where a child runs: what its guardian thread enters first, and the control groups it joins.
#[derive(Default)]
pub struct Place {
    /// Runs in the guardian thread before the child is started, to enter namespaces.
    pub enter: Option<Box<dyn FnOnce() -> io::Result<()> + Send>>,
    /// `cgroup.procs` files, opened for writing; the child writes itself into each.
    pub cgroups: Vec<File>,
}

/// A running child. Dropping it kills the child and waits until it is gone.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    exit: Arc<Exit>,
    guardian: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<ExitStatus>>,
    changed: Condvar,
}

/// Starts `command` at `place`. Its standard streams are what the command says; piped ones are not reachable.
pub fn spawn(mut command: Command, place: Place) -> io::Result<Running> {
    let exit = Arc::new(Exit::default());
    let (started, start) = mpsc::sync_channel(1);
    let guardian = thread::Builder::new().name("guardian".into()).spawn({
        let exit = Arc::clone(&exit);
        move || match start_here(&mut command, place) {
            Ok(child) => {
                let pid = pid_of(&child);
                // The owner waits for exactly this message, so it is there to take it.
                let _ = started.send(Ok(pid));
                exit.record(child);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    let pid = start.recv().map_err(|_| io::Error::other("the thread that starts the program died"))??;
    Ok(Running { pid, exit, guardian: Some(guardian) })
}

/// Runs `command` at `place` to its end, feeding it `input`, and returns what it wrote.
pub fn output(mut command: Command, place: Place, input: &[u8]) -> io::Result<Output> {
    command.stdin(as_file(input)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = move || start_here(&mut command, place)?.wait_with_output();
    thread::scope(|scope| scope.spawn(run).join())
        .map_err(|_| io::Error::other("the thread that runs the program died"))?
}

/// A file without a name that holds `input`. A pipe would want a thread that writes to it, and a thread that has
/// entered a pid namespace cannot start others.
fn as_file(input: &[u8]) -> io::Result<Stdio> {
    if input.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = tempfile::tempfile()?;
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

impl Running {
    /// The child's process id, as the caller's pid namespace numbers it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The exit status, once the child has ended.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.lock()
    }

    /// Waits until the child ends, at most for `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let mut status = self.exit.lock();
        while status.is_none() {
            let left = deadline.checked_duration_since(Instant::now())?;
            status = self.exit.changed.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *status
    }

    /// Sends a signal; a child that has ended already is left alone.
    pub fn signal(&self, signal: Signal) {
        // Under the lock the child is either not yet reaped, so its number is still its own, or known to be gone.
        let status = self.exit.lock();
        if status.is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// Kills the child and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(guardian) = self.guardian.take() {
            let _ = guardian.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Exit {
    fn lock(&self) -> MutexGuard<'_, Option<ExitStatus>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the child and records how it ended.
    fn record(&self, mut child: Child) {
        // First wait without reaping: the number stays taken until the lock is held (see `Running::signal`).
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid_of(&child)), flags) == Err(nix::errno::Errno::EINTR) {}
        let mut status = self.lock();
        *status = child.wait().ok();
        self.changed.notify_all();
    }
}

/// Enters `place` with this thread and starts the command as its child.
fn start_here(command: &mut Command, place: Place) -> io::Result<Child> {
    if let Some(enter) = place.enter {
        enter()?;
    }
    let owner = getpid();
    let cgroups = place.cgroups;
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The owner may have died before the line above. A child in a pid namespace of its own sees parent 0.
        if ![owner, Pid::from_raw(0)].contains(&getppid()) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        cgroups.iter().try_for_each(|mut procs| procs.write_all(b"0"))
    };
    // SAFETY: between fork and exec only async-signal-safe calls may be made. The closure makes the system calls
    // prctl, getppid and write, and allocates nothing: both errors it builds are plain numbers.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// The last `lines` lines of a log file, for error messages; empty when there is no such file.
pub fn tail(path: &std::path::Path, lines: usize) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let mut bytes = Vec::new();
        if file.read_to_end(&mut bytes).is_ok() {
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_returns_what_the_program_wrote_and_feeds_its_input() {
        let output = output(shell("cat; exit 3"), Place::default(), b"hello").unwrap();
        assert_eq!(output.stdout, b"hello");
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_child_that_ends_by_itself_leaves_its_status() {
        let running = spawn(shell("exit 7"), Place::default()).unwrap();
        let status = running.wait(Duration::from_secs(10)).expect("ends at once");
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn dropping_kills_the_child() {
        let running = spawn(shell("exec sleep 1000"), Place::default()).unwrap();
        let pid = running.pid();
        assert_eq!(running.exit_status(), None);
        drop(running);
        assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    }

    #[test]
    fn a_child_outlives_the_thread_that_started_it_but_not_its_handle() {
        let running =
            thread::spawn(|| spawn(shell("exec sleep 1000"), Place::default())).join().unwrap().unwrap();
        assert_eq!(running.wait(Duration::from_millis(100)), None);
        running.kill();
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error() {
        let error = spawn(Command::new("/does/not/exist"), Place::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

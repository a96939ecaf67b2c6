//! Programs in a namespace at the other end of a cable.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far longer than anything takes: reached only when it will never happen.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A program at the other end of the pair.
pub(crate) struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Runs `script` with the addresses of the router, in `folder`.
    pub(crate) fn start(folder: TempDir, script: &str) -> Self {
        let addresses = "ip address add 192.0.2.1/24 dev peer0
             ip address add 2001:db8::1/64 dev peer0 nodad";
        Self::start_with(folder, addresses, script)
    }

    /// The same with what `addresses` sets up. FRR resets sessions as long as there is no link-local address.
    pub(crate) fn start_with(folder: TempDir, addresses: &str, script: &str) -> Self {
        let script = format!(
            "until ip link show peer0 >/dev/null 2>&1; do sleep 0.02; done
             {addresses}
             ip link set lo up
             ip link set peer0 up
             until ip address show dev peer0 scope link -tentative | grep -q fe80; do sleep 0.02; done
             {script}"
        );
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--net", "--pid", "--fork", "sh", "-c", &script])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", child.id()));
        wait_for("the namespace of the router", || {
            fs::read_link(&theirs).is_ok_and(|it| it != ours).then_some(())
        });
        ip(&format!("link set peer0 netns {}", child.id()));
        Self { child, folder }
    }

    /// Says what a program says in the namespace of the router.
    pub(crate) fn run(&self, command: &str) -> String {
        let network = format!("--net=/proc/{}/ns/net", self.child.id());
        let mut entering = Command::new("nsenter");
        let ran = entering.arg(network).args(command.split(' ')).current_dir(self.path()).output();
        String::from_utf8(ran.expect("the program nsenter").stdout).unwrap()
    }

    /// Gives the router the other end of the pair once more.
    pub(crate) fn plug(&self) {
        ip(&format!("link set peer0 netns {}", self.child.id()));
        self.run("ip link set peer0 up");
    }

    /// To the program that the script has ended in, and so to those that it has started before if it is to die.
    pub(crate) fn signal(&self, signal: Signal) {
        self.first().into_iter().for_each(|first| _ = kill(first, signal));
    }

    /// Gives the program that the script has ended in another priority.
    pub(crate) fn renice(&self, niceness: i32) {
        self.first().into_iter().for_each(|first| renice(first, niceness));
    }

    /// Whoever is first in a namespace of processes takes the others along. It would not end with its parent: FRR goes by
    /// another user, which makes the kernel forget that it should.
    fn first(&self) -> Option<Pid> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().find_map(|it| it.parse().ok()).map(Pid::from_raw)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.path().join("log")).unwrap_or_default());
        }
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }
}

pub(crate) fn renice(who: Pid, niceness: i32) {
    let arguments = ["-n", &niceness.to_string(), "-p", &who.to_string()];
    let output = Command::new("renice").args(arguments).output().expect("the program renice");
    assert!(output.status.success(), "renice: {}", output.status);
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "{what}: it took too long");
        sleep(Duration::from_millis(20));
    }
}

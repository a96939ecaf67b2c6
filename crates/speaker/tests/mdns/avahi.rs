//! avahi, without D-Bus: it is asked by the socket that `getent` uses (nss-mdns).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait_for;

/// A running avahi with a folder /run of its own.
pub(crate) struct Avahi {
    child: Child,
    pid: u32,
    folder: TempDir,
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
    assert!(status.success(), "ip {arguments}: {status}");
}

impl Avahi {
    /// In the namespace of this thread, by this name of the host, on this interface.
    pub(crate) fn here(host: &str, interface: &str) -> Self {
        Self::start(host, interface, &[], "")
    }

    /// In a namespace of its own, to which the interface is moved.
    pub(crate) fn on_another_host(host: &str, interface: &str) -> Self {
        let script = format!(
            "until ip link show {interface} >/dev/null 2>&1; do sleep 0.02; done
             ip address add 192.0.2.1/24 dev {interface}
             ip address add 2001:db8::1/64 dev {interface} nodad
             ip link set lo up
             ip link set {interface} up
             ip route add default dev {interface}"
        );
        Self::start(host, interface, &["--net"], &script)
    }

    fn start(host: &str, interface: &str, namespaces: &[&str], script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let configuration = format!(
            "[server]\nhost-name={host}\nallow-interfaces={interface}\nuse-ipv4=yes\nuse-ipv6=yes\nenable-dbus=no\n\
             [wide-area]\nenable-wide-area=no\n[publish]\npublish-workstation=no\npublish-hinfo=no\n"
        );
        let path = folder.path().join("avahi.conf");
        fs::write(&path, configuration).unwrap();
        let script = format!(
            "{script}
             mount -t tmpfs none /run && mkdir /run/avahi-daemon
             echo $$ >pid
             exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --file {}",
            path.display()
        );
        let log = File::create(folder.path().join("log")).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("unshare")
            .args(["--mount", "--kill-child", "--fork"])
            .args(namespaces)
            .args(["sh", "-c", &script])
            .env("PATH", format!("{path}:/usr/sbin"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        if !namespaces.is_empty() {
            let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
            let namespace = format!("/proc/{}/ns/net", child.id());
            wait_for("another namespace", || {
                fs::read_link(&namespace).is_ok_and(|it| it != ours).then_some(())
            });
            ip(&format!("link set {interface} netns {}", child.id()));
        }
        let pid_file = folder.path().join("pid");
        let pid = wait_for("the start of avahi", || fs::read_to_string(&pid_file).ok()?.trim().parse().ok());
        let avahi = Self { child, pid, folder };
        wait_for("avahi has its name", || {
            let log = fs::read_to_string(avahi.folder.path().join("log")).unwrap();
            log.contains("Server startup complete").then_some(())
        });
        avahi
    }

    /// What avahi says to a question for the address of a name, of the family of `like`.
    pub(crate) fn resolve(&self, name: &str, like: IpAddr) -> Result<String, String> {
        let family = if like.is_ipv4() { "IPV4" } else { "IPV6" };
        let path = PathBuf::from(format!("/proc/{}/root/run/avahi-daemon/socket", self.pid));
        let mut socket = UnixStream::connect(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        writeln!(socket, "RESOLVE-HOSTNAME-{family} {name}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        match answer.trim().strip_prefix('+') {
            Some(found) => Ok(found.rsplit(' ').next().unwrap_or_default().to_owned()),
            None => Err(answer),
        }
    }

    pub(crate) fn network_namespace(&self) -> File {
        File::open(format!("/proc/{}/ns/net", self.pid)).unwrap()
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

//! Where to listen, in clusters of either family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// How long an address may take to become usable: the kernel looks for duplicates of a new one of IPv6 first.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);
/// How often to try meanwhile.
const RETRY: Duration = Duration::from_millis(200);
/// Connections that wait to be accepted: as many as the kernel lets wait. One that finds no place tries again after a
/// second, which is too late for a probe.
const BACKLOG: i32 = 4096;
/// What the kernel keeps for a connection in either direction, before it doubles that: somebody who never reads an answer
/// is not to cost more.
const SEND_BUFFER: usize = 16 * 1024;
const RECEIVE_BUFFER: usize = 8 * 1024;

/// [`listen`], waiting some seconds for an address that this host does not have yet.
pub(super) async fn listen_soon(bind: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        match listen(bind) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && Instant::now() < deadline => {
                sleep(RETRY).await;
            }
            listening => return listening.with_context(|| format!("listening on {bind} (see {option})")),
        }
    }
}

/// Listens for TCP connections to an address, within a tokio runtime. `[::]` stands for all addresses of this host:
/// those of both families, whatever the kernel's default is (`net.ipv6.bindv6only`), and those of IPv4 where there is
/// no IPv6. Any other address is taken as it is.
pub fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(first_that_opens(bind, open)?)
}

fn first_that_opens<T>(bind: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match open(bind) {
        Err(error) if means_all(bind) && tells_of_no_ipv6(&error) => {
            open((Ipv4Addr::UNSPECIFIED, bind.port()).into())
        }
        opened => opened,
    }
}

fn means_all(bind: SocketAddr) -> bool {
    bind.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// A kernel without IPv6 makes no such socket; one where it is switched off may make one, and have no address for it.
fn tells_of_no_ipv6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

fn open(bind: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
    if means_all(bind) {
        socket.set_only_v6(false)?;
    }
    // Or a program that is started again waits until the connections of its predecessor are forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Those of the connections are made after it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&bind.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpStream;
    use std::process::Command;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    const ALL: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 7472);

    /// What is opened in turn where opening an address of IPv6 fails so.
    fn opened_where_ipv6_fails(bind: SocketAddr, errno: Errno) -> (Vec<String>, Result<(), Option<Errno>>) {
        let tried = RefCell::new(Vec::new());
        let result = first_that_opens(bind, |address| {
            tried.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(io::Error::from(errno)) } else { Ok(()) }
        });
        let errno = |error: io::Error| error.raw_os_error().map(Errno::from_raw);
        (tried.into_inner(), result.map_err(errno))
    }

    #[test]
    fn all_addresses_are_those_of_ipv4_where_there_is_no_ipv6() {
        for errno in [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL] {
            let tried = ["[::]:7472", "0.0.0.0:7472"].map(str::to_owned).to_vec();
            assert_eq!(opened_where_ipv6_fails(ALL, errno), (tried, Ok(())));
        }
    }

    #[test]
    fn another_trouble_or_another_address_is_an_error() {
        for errno in [Errno::EADDRINUSE, Errno::EACCES] {
            assert_eq!(opened_where_ipv6_fails(ALL, errno), (vec![ALL.to_string()], Err(Some(errno))));
        }
        for one in ["[::1]:7472", "[2001:db8::1]:7472"] {
            let (tried, result) = opened_where_ipv6_fails(one.parse().unwrap(), Errno::EADDRNOTAVAIL);
            assert_eq!((tried, result), (vec![one.to_owned()], Err(Some(Errno::EADDRNOTAVAIL))));
        }
    }

    /// Gives this thread a network of its own with these settings.
    fn with_network(settings: &[(&str, &str)]) {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace, which needs root");
        for (name, value) in settings {
            std::fs::write(format!("/proc/sys/net/ipv6/{name}"), value).unwrap();
        }
        ip("link set lo up");
    }

    fn ip(arguments: &str) {
        let status = Command::new("ip").args(arguments.split(' ')).status().expect("the program ip");
        assert!(status.success(), "ip {arguments}: {status}");
    }

    #[test]
    fn both_families_are_served_whatever_the_kernels_default_is() {
        with_network(&[("bindv6only", "1")]);
        let _listener = first_that_opens(ALL, open).unwrap();
        for place in ["127.0.0.1:7472", "[::1]:7472"] {
            TcpStream::connect(place).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    }

    #[test]
    fn ipv4_is_served_where_ipv6_is_switched_off() {
        with_network(&[("conf/all/disable_ipv6", "1")]);
        let _listener = first_that_opens(ALL, open).unwrap();
        TcpStream::connect("127.0.0.1:7472").unwrap();
        let taken = first_that_opens(ALL, open).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "nobody serves half of it in secret");
    }

    #[test]
    fn an_address_of_ipv4_serves_no_other_family() {
        with_network(&[]);
        let _listener = first_that_opens("0.0.0.0:7472".parse().unwrap(), open).unwrap();
        TcpStream::connect("127.0.0.1:7472").unwrap();
        assert!(TcpStream::connect("[::1]:7472").is_err());
    }

    #[test]
    fn an_address_that_the_kernel_still_tests_for_duplicates_is_waited_for() {
        with_network(&[]);
        ip("link add lan0 type veth peer name peer0");
        ip("link set peer0 up");
        ip("link set lan0 up");
        ip("address add 2001:db8::1/64 dev lan0");
        let place: SocketAddr = "[2001:db8::1]:7472".parse().unwrap();
        assert_eq!(open(place).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable, "it is tentative");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _listener = listen_soon(place, "--http-bind").await.unwrap();
            tokio::net::TcpStream::connect(place).await.unwrap();
        });
    }
}

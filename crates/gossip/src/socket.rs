//! A UDP socket that is there sooner or later, and survives whatever the network does.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// How often to try to bind.
const RETRY: Duration = Duration::from_millis(500);
/// Room for what everybody says at the same moment: when a partition heals, each of hundreds has something to say.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The socket, as far as there is one.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Where to listen; `None` while this host has no address for that.
    wanted: Option<SocketAddr>,
    state: State,
    warned: bool,
}

#[derive(Debug)]
enum State {
    /// With the address that it is bound to. Nobody waits to be able to write, and whoever did would be woken for each
    /// frame that has gone.
    Bound(AsyncFd<UdpSocket>, SocketAddr),
    /// To be tried again then.
    Unbound(Instant),
}

impl Socket {
    /// Not there yet.
    pub(crate) fn new(bind: SocketAddr) -> Self {
        Self { wanted: Some(bind), state: State::Unbound(Instant::now()), warned: false }
    }

    /// From now on listens there, or nowhere.
    pub(crate) fn listen_at(&mut self, address: Option<SocketAddr>) {
        if self.wanted == address {
            return;
        }
        if address.is_none() {
            warn!("gossip has no address to listen at, and waits for one");
            self.warned = true;
        }
        (self.wanted, self.state) = (address, State::Unbound(Instant::now()));
    }

    /// Waits until there may be something to receive, which takes for ever while the address is not there. Can be
    /// dropped at any time.
    pub(crate) async fn ready(&mut self) {
        loop {
            match (&self.state, self.wanted) {
                (State::Bound(socket, _), _) => match socket.readable().await {
                    Ok(mut guard) => return guard.retain_ready(),
                    Err(error) => self.fail(&error),
                },
                (State::Unbound(_), None) => pending().await,
                (State::Unbound(at), Some(wanted)) => {
                    sleep_until(*at).await;
                    match bind(wanted) {
                        Ok((socket, address)) => {
                            info!(%address, "gossip listens");
                            self.state = State::Bound(socket, address);
                            self.warned = false;
                            return;
                        }
                        Err(error) => self.fail(&error),
                    }
                }
            }
        }
    }

    /// Whether it cannot be had at present.
    pub(crate) fn is_refused(&self) -> bool {
        self.warned
    }

    /// What has arrived, if anything.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Option<(SocketAddr, &'a [u8])> {
        let State::Bound(socket, _) = &self.state else { return None };
        match socket.try_io(Interest::READABLE, |socket| socket.recv_from(buffer)) {
            Ok((length, from)) => Some((plain(from), &buffer[..length])),
            Err(error) if error.kind() == ErrorKind::WouldBlock || is_passing(&error) => None,
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// Sends, or does not: whoever has something important to say says it again.
    pub(crate) fn send(&self, to: SocketAddr, frame: &[u8]) -> io::Result<()> {
        match &self.state {
            State::Bound(socket, bound) => socket.get_ref().send_to(frame, on_wire(*bound, to)).map(drop),
            State::Unbound(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.warned {
            let address = self.wanted.map(|address| address.to_string()).unwrap_or_default();
            warn!(address, %error, "gossip cannot listen, and tries again");
            self.warned = true;
        }
        self.state = State::Unbound(Instant::now() + RETRY);
    }
}

/// Whether the same socket works again when the network does.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Interrupted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

/// Whether this stands for all addresses of both families.
fn means_all(bind: SocketAddr) -> bool {
    bind.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// An address as a socket for both families takes it.
fn on_wire(bound: SocketAddr, to: SocketAddr) -> SocketAddr {
    match to.ip() {
        IpAddr::V4(ip) if means_all(bound) => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
        _ => to,
    }
}

/// An address as the others write it, where a socket for both families gives one of IPv4 as one of IPv6.
fn plain(from: SocketAddr) -> SocketAddr {
    match from.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), from.port()),
        IpAddr::V6(_) => from,
    }
}

/// Binds to an address; where that means all and there is no IPv6, to all addresses of IPv4. Returns to which.
fn bind(address: SocketAddr) -> io::Result<(AsyncFd<UdpSocket>, SocketAddr)> {
    match open(address) {
        Err(error) if means_all(address) && tells_of_no_ipv6(&error) => {
            let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            Ok((open(all)?, all))
        }
        opened => Ok((opened?, address)),
    }
}

fn tells_of_no_ipv6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

#[expect(unsafe_code, reason = "registering a descriptor relies on its owner to keep it open")]
fn open(address: SocketAddr) -> io::Result<AsyncFd<UdpSocket>> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if means_all(address) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // The kernel gives what it may; less will do in most clusters.
    let _less = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    // SAFETY: the socket owns its descriptor, and `AsyncFd` owns the socket: nobody can close or replace
    // it while it is registered, and it always returns the same descriptor.
    Ok(unsafe { AsyncFd::register_with_interest(socket.into(), Interest::READABLE)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_for_both_families_is_spoken_to_in_its_own_and_a_peer_is_named_by_its_own() {
        let (both, one) = (at("[::]:7946"), at("[2001:db8::2]:7946"));
        let (v4, v6) = (at("192.0.2.1:7946"), at("[2001:db8::1]:7946"));
        assert_eq!(on_wire(both, v4), at("[::ffff:192.0.2.1]:7946"));
        assert_eq!([on_wire(both, v6), on_wire(one, v4), on_wire(one, v6)], [v6, v4, v6]);
        assert_eq!(on_wire(at("0.0.0.0:7946"), v4), v4);
        assert_eq!([plain(at("[::ffff:192.0.2.1]:7946")), plain(v4), plain(v6)], [v4, v4, v6]);
    }

    #[tokio::test]
    async fn all_addresses_are_heard_by_either_family() {
        let mut socket = Socket::new(at("[::]:0"));
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(peer) = tokio::net::UdpSocket::bind(loopback).await else { continue };
            let bound = loop {
                if let State::Bound(bound, _) = &socket.state {
                    break bound.get_ref().local_addr().unwrap();
                }
                let _not_yet = tokio::time::timeout(Duration::from_millis(10), socket.ready()).await;
            };
            let to = SocketAddr::new(at(loopback).ip(), bound.port());
            peer.send_to(b"hello", to).await.unwrap();
            let mut buffer = [0; 16];
            let from = loop {
                socket.ready().await;
                if let Some((from, frame)) = socket.receive(&mut buffer) {
                    assert_eq!(frame, b"hello");
                    break from;
                }
            };
            assert_eq!(from, peer.local_addr().unwrap());
            socket.send(from, b"here").unwrap();
            assert_eq!(peer.recv(&mut buffer).await.unwrap(), 4);
        }
    }
}
